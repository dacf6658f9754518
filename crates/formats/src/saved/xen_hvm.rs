//! The context of a Xen HVM guest: records one after the other, each with type, instance and length.
//!
//! `xen/include/public/hvm/save.h` and `xen/include/public/arch-x86/hvm/save.h`. The first record tells that it is one; those
//! of type 16 have a vCPU's extended state behind a mask that nobody reads, XCR0, and all that XCR0 ever had. Xen up to 4.3
//! wrote longer records, with zeros at the end.

use selfsame_xstate::ComponentSet;

use super::fields::{bytes_at, u16_at, u32_at, u64_at};
use super::{SavedError, SavedState};

/// Types of records.
const END: u16 = 0;
const HEADER: u16 = 1;
const CPU_XSAVE: u16 = 16;
/// Type, instance and length.
const DESCRIPTOR_BYTES: usize = 8;
/// The first field of the header, and the only version there is.
const MAGIC: u32 = 0x5438_1286;
const VERSION: u32 = 1;
/// What is before the image in a record of type 16.
const BEFORE_IMAGE_BYTES: usize = 24;

/// Whether a file begins with the header of a context.
pub(super) fn is_context(bytes: &[u8]) -> bool {
    u16_at(bytes, 0) == Some(HEADER) && u32_at(bytes, DESCRIPTOR_BYTES) == Some(MAGIC)
}

/// Reads the states of all vCPUs of a context that begins at `base` of its file.
pub(super) fn read(bytes: &[u8], base: usize) -> Result<Vec<SavedState<'_>>, SavedError> {
    let malformed = |at: usize, reason| SavedError::Malformed { offset: base.saturating_add(at), reason };
    if !is_context(bytes) {
        return Err(malformed(0, "no header of a Xen HVM context"));
    }
    if u32_at(bytes, DESCRIPTOR_BYTES + 4) != Some(VERSION) {
        return Err(malformed(DESCRIPTOR_BYTES + 4, "a version of Xen's HVM context that is not known here"));
    }
    let (mut states, mut at) = (Vec::new(), 0);
    loop {
        let cut = || malformed(at, "the record is cut off");
        let descriptor = bytes_at(bytes, at, DESCRIPTOR_BYTES).ok_or_else(cut)?;
        let (kind, instance) = (u16_at(descriptor, 0), u16_at(descriptor, 2).unwrap_or_default());
        if kind == Some(END) {
            break;
        }
        let len = u32_at(descriptor, 4).and_then(|len| usize::try_from(len).ok()).ok_or_else(cut)?;
        let record = bytes_at(bytes, at + DESCRIPTOR_BYTES, len).ok_or_else(cut)?;
        if kind == Some(CPU_XSAVE) {
            let (Some(image), Some(xcr0), Some(accumulated)) =
                (record.get(BEFORE_IMAGE_BYTES..), u64_at(record, 8), u64_at(record, 16))
            else {
                return Err(malformed(at, "the record of a vCPU's extended state is too short"));
            };
            states.push(SavedState {
                number: u32::from(instance),
                image,
                xcr0: Some(ComponentSet::from_bits(xcr0)),
                accumulated_xcr0: Some(ComponentSet::from_bits(accumulated)),
            });
        }
        // It ends within the file.
        at += DESCRIPTOR_BYTES + len;
    }
    if states.is_empty() {
        return Err(SavedError::NoState { missing: "a record CPU_XSAVE" });
    }
    Ok(states)
}
