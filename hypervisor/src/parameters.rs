//! The text that a program is started with: its command line, and more where it wants more.
//!
//! Firmware, boot sectors and emulators hand text over each in a way of its own, or not at all. Here it is written into
//! the program's file, or into its image in memory, before it is started: whoever starts it looks for [`MARK`] and
//! writes behind it.
#![expect(unsafe_code, reason = "UNSAFETY: reads what was written into the program's image")]

use core::{iter, ptr};

use thiserror::Error;

/// What stands before the text, at a multiple of 16 bytes.
const MARK: [u8; 16] = *b"selfsame started";

/// How many bytes of text there is room for.
pub const MAX_TEXT_BYTES: usize = 48 << 10;

const BYTES: usize = MARK.len() + size_of::<u32>() + MAX_TEXT_BYTES;

/// The mark, the length of the text (little-endian), the text.
#[repr(C, align(16))]
struct Place([u8; BYTES]);

#[cfg_attr(bare, unsafe(link_section = ".parameters"))]
static PLACE: Place = Place(empty());

const fn empty() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let mut at = 0;
    while at < MARK.len() {
        bytes[at] = MARK[at];
        at += 1;
    }
    bytes
}

/// Why a text was not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The image is not one of a program of this package, or was cut.
    #[error("the program's image has no place for parameters")]
    NoPlace,
    /// The text is too long.
    #[error("{bytes} bytes of parameters; there is room for {MAX_TEXT_BYTES}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

/// Writes the text that a program is started with into its image, or into any file that holds it.
///
/// # Errors
///
/// When the image has no place for it, or it is too long; the image is as it was.
///
/// ```
/// use selfsame_hypervisor::{EmbedError, embed_parameters};
///
/// assert_eq!(embed_parameters(&mut [0; 4096], "rounds=3"), Err(EmbedError::NoPlace));
/// ```
pub fn embed_parameters(image: &mut [u8], text: &str) -> Result<(), EmbedError> {
    let len_bytes = u32::try_from(text.len()).ok().filter(|_| text.len() <= MAX_TEXT_BYTES);
    let len_bytes = len_bytes.ok_or(EmbedError::TooLong { bytes: text.len() })?;
    // The constant that a program looks for the mark with stands in its image as well, and nothing but text behind it:
    // the place alone is followed by room.
    let at = (0..image.len().saturating_sub(BYTES - 1)).step_by(4).find(|&at| is_place(image, at));
    let room = at.and_then(|at| image.get_mut(at + MARK.len()..at + BYTES)).ok_or(EmbedError::NoPlace)?;
    // What is left of a longer text goes.
    let written = len_bytes.to_le_bytes().into_iter().chain(text.bytes()).chain(iter::repeat(0));
    for (byte, value) in room.iter_mut().zip(written) {
        *byte = value;
    }
    Ok(())
}

/// Whether a place for parameters begins at `at`: the mark, a length that fits, and nothing behind the text.
fn is_place(image: &[u8], at: usize) -> bool {
    let Some((mark, rest)) = image.get(at..at + BYTES).and_then(|place| place.split_first_chunk()) else {
        return false;
    };
    if *mark != MARK {
        return false;
    }
    let Some((len_bytes, room)) = rest.split_first_chunk() else { return false };
    let len_bytes = usize::try_from(u32::from_le_bytes(*len_bytes)).unwrap_or(usize::MAX);
    room.get(len_bytes..).is_some_and(|behind| behind.iter().all(|&byte| byte == 0))
}

/// The text that the program was started with; empty if none was given.
///
/// # Errors
///
/// When what was written is not text in UTF-8.
pub fn parameters() -> Result<&'static str, core::str::Utf8Error> {
    // SAFETY: the place is there for good and nothing in the program writes it. The volatile read keeps the compiler
    // from taking the file's zeroes for what is there when the program runs.
    let place = unsafe { ptr::read_volatile(&raw const REFERENCE) };
    let rest = place.0.get(MARK.len()..).unwrap_or_default();
    let text = rest.split_first_chunk().and_then(|(len_bytes, room)| {
        let len_bytes = usize::try_from(u32::from_le_bytes(*len_bytes)).ok()?;
        room.get(..len_bytes)
    });
    core::str::from_utf8(text.unwrap_or_default())
}

/// Where the place is: read through this, it is memory that the compiler knows nothing of.
static REFERENCE: &Place = &PLACE;

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec;

    fn image() -> vec::Vec<u8> {
        let mut image = vec![0x5a; 64];
        image.extend(MARK);
        image.extend([0xff; 32]);
        image.extend(empty());
        image.extend([0x5a; 100]);
        image
    }

    #[test]
    fn the_text_goes_behind_the_mark_that_has_room() {
        let mut image = image();
        embed_parameters(&mut image, "rounds=3").unwrap();
        let at = 64 + 16 + 32 + 16;
        assert_eq!(image[at..at + 4], 8_u32.to_le_bytes());
        assert_eq!(&image[at + 4..at + 12], b"rounds=3");
        assert_eq!(image.len(), 64 + 16 + 32 + BYTES + 100);
        embed_parameters(&mut image, "x").unwrap();
        assert_eq!(image[at..at + 12], *b"\x01\0\0\0x\0\0\0\0\0\0\0");
    }

    #[test]
    fn a_text_that_is_too_long_or_an_image_without_a_place_stays_as_it_is() {
        let mut untouched = image();
        let text = String::from_utf8(vec![b'x'; MAX_TEXT_BYTES + 1]).unwrap();
        let bytes = text.len();
        assert_eq!(embed_parameters(&mut untouched, &text), Err(EmbedError::TooLong { bytes }));
        assert_eq!(untouched, image());
        assert_eq!(embed_parameters(&mut untouched[..300], "x"), Err(EmbedError::NoPlace));
    }

    #[test]
    fn a_program_that_was_given_nothing_has_no_text() {
        assert_eq!(parameters(), Ok(""));
    }
}
