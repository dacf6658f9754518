//! Images at an interface.

use selfsame_xstate::{Format, InterfaceError, LinearAddresses, MxcsrMask, Reader, WriteError};

use crate::bytes::Bytes;
use crate::{Target, geometries};

/// The target.
pub const TARGET: Target = Target { name: "image_interface", run, seeds, words: &[], max_len_bytes: 3072 };

/// Reads a geometry and an image: what is taken is written in one form, of the size that was told, which is taken again.
pub fn run(bytes: &[u8]) {
    let mut input = Bytes::new(bytes);
    let geometry = geometries::usable(&mut input);
    let reader = geometries::reader(&geometry, &mut input);
    let Ok(image) = reader.read_interface(input.rest()) else { return };
    let size_bytes = image.interface_size_bytes().expect("a usable geometry has a layout");
    let mut out = vec![0xA5; size_bytes as usize];

    let (_, cut) = out.split_last_mut().expect("an image has a header");
    let too_small = WriteError::TooSmall { needed_bytes: size_bytes, len_bytes: cut.len() };
    assert_eq!(image.write_interface(cut), Err(InterfaceError::Write(too_small)));
    assert!(cut.iter().all(|byte| *byte == 0xA5));

    assert_eq!(image.write_interface(&mut out), Ok(out.len()));
    let any_cpu = Reader::new(&geometry, geometry.components());
    let any_cpu = any_cpu.with_mxcsr_mask(MxcsrMask::AMD).with_addresses(LinearAddresses::Bits57);
    let copy = any_cpu.read_interface(&out).expect("an image of our own is read");
    assert_eq!(copy.format(), Format::Compacted);
    assert_eq!((copy.present(), copy.in_use(), copy.mxcsr()), (image.in_use(), image.in_use(), image.mxcsr()));
    let mut again = vec![0; out.len()];
    assert_eq!(copy.write_interface(&mut again), Ok(again.len()));
    assert_eq!(again, out);
}

fn seeds() -> Vec<Vec<u8>> {
    geometries::seeds(&[])
}
