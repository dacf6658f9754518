//! Images from one format and CPU to another, and back.

use selfsame_xstate::{ComponentSet, Format, Geometry, Image, Layout, LinearAddresses, MxcsrMask, Reader, WriteError};

use crate::bytes::Bytes;
use crate::{Target, geometries};

/// The target.
pub const TARGET: Target = Target { name: "image_conversion", run, seeds, words: &[], max_len_bytes: 3072 };

/// Reads a geometry, another one, and an image of the first.
pub fn run(bytes: &[u8]) {
    let mut input = Bytes::new(bytes);
    let here = geometries::usable(&mut input);
    let reader = geometries::reader(&here, &mut input);
    let there = geometries::usable(&mut input);
    let bytes = input.rest();
    let Ok(image) = reader.read(bytes) else { return };
    let compacted = written(&image, &here, Format::Compacted).expect("there is a place for all that is there");
    assert_comes_back(&compacted, &here, Format::Compacted, &compacted, &here);
    for (geometry, format) in [(&here, Format::Standard), (&there, Format::Compacted), (&there, Format::Standard)] {
        match written(&image, geometry, format) {
            Ok(other) => {
                assert_comes_back(&compacted, &here, Format::Compacted, &other, geometry);
                assert_comes_back(&other, geometry, format, &compacted, &here);
            }
            Err(error) => assert_is_founded(error, &image, geometry, format),
        }
    }
}

/// What can be held in a format.
fn places(geometry: &Geometry, format: Format) -> ComponentSet {
    match format {
        Format::Standard => geometry.user() | ComponentSet::LEGACY,
        Format::Compacted => geometry.components() | ComponentSet::LEGACY,
    }
}

/// Writes an image with a place for all that a geometry has.
fn written(image: &Image<'_>, geometry: &Geometry, format: Format) -> Result<Vec<u8>, WriteError> {
    let layout = Layout::new(format, places(geometry, format), geometry).expect("a usable geometry has a layout");
    let mut out = vec![0xA5; layout.size_bytes().max(576) as usize];
    assert_eq!(image.write(&layout, &mut out)?, out.len());
    Ok(out)
}

/// What was written is taken, and written as `expected` in the format and the places of that.
fn assert_comes_back(expected: &[u8], geometry: &Geometry, format: Format, bytes: &[u8], of: &Geometry) {
    let reader = Reader::new(of, of.components());
    let reader = reader.with_mxcsr_mask(MxcsrMask::AMD).with_addresses(LinearAddresses::Bits57);
    let image = reader.read(bytes).expect("an image of our own is read");
    assert_eq!(written(&image, geometry, format).as_deref(), Ok(expected));
}

/// An image is only refused for a component in use that has no place, or another size.
fn assert_is_founded(error: WriteError, image: &Image<'_>, geometry: &Geometry, format: Format) {
    let homeless = image.in_use().minus(places(geometry, format));
    match error {
        WriteError::NoPlace { components } => assert!(!components.is_empty() && components == homeless),
        WriteError::SizeDiffers { component, from_bytes, to_bytes } => {
            assert!(homeless.is_empty() && image.in_use().contains(component) && from_bytes != to_bytes);
        }
        _ => panic!("{error}"),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    // The other CPU is AMD's, with AVX-512, PKRU and CET.
    geometries::seeds(&[1, 0xE7, 2, 0, 0, 0, 0x18, 0, 0])
}
