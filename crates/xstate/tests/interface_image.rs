//! Images at an interface.

use proptest::prelude::*;
use selfsame_xstate::{
    Component, ComponentSet, Format, ImageFault, InterfaceError, Layout, MxcsrMask, Reader, WriteError,
};

mod images;
mod machines;

use images::{Style, Words, random_image};

proptest! {
    #[test]
    fn all_state_goes_through_an_interface(seed: u64, is_compacted: bool) {
        let (geometry, mut words) = (machines::sapphire_rapids(), Words::new(seed));
        let reader = Reader::new(&geometry, geometry.components()).with_mxcsr_mask(MxcsrMask::AMD);
        let format = if is_compacted { Format::Compacted } else { Format::Standard };
        let set = words.subset(geometry.components());
        let bytes = random_image(&geometry, format, set, Style::Dirty, &mut words).unwrap();
        let image = reader.read_interface(&bytes).unwrap();

        let size_bytes = image.interface_size_bytes().unwrap() as usize;
        let mut out = vec![0xA5; size_bytes + 8];
        prop_assert_eq!(image.write_interface(&mut out), Ok(size_bytes));
        prop_assert_eq!(&out[size_bytes..], &[0xA5; 8]);

        let copy = reader.read_interface(&out[..size_bytes]).unwrap();
        prop_assert_eq!(copy.format(), Format::Compacted);
        prop_assert_eq!((copy.present(), copy.mxcsr()), (image.in_use(), image.mxcsr()));
        prop_assert_eq!(copy.layout().components(), image.in_use() | ComponentSet::LEGACY);
        // It holds nothing but what is in use: the same again comes out.
        let mut again = vec![0; size_bytes];
        prop_assert_eq!(copy.write_interface(&mut again), Ok(size_bytes));
        prop_assert_eq!(&again, &out[..size_bytes]);
    }

    #[test]
    fn a_reader_with_another_vendors_offsets_reads_the_same(seed: u64) {
        let (intel, amd, mut words) = (machines::skylake(), machines::genoa(), Words::new(seed));
        let set = words.subset(amd.user());
        let bytes = random_image(&amd, Format::Standard, set, Style::Clean, &mut words).unwrap();
        let image = Reader::new(&amd, amd.user()).read(&bytes).unwrap();
        let mut out = vec![0; image.interface_size_bytes().unwrap() as usize];
        prop_assert_eq!(image.write_interface(&mut out), Ok(out.len()));
        let copy = Reader::new(&intel, amd.user()).read_interface(&out).unwrap();
        let layout = Layout::new(Format::Standard, amd.user(), &amd).unwrap();
        let (mut here, mut there) = (vec![0; 2440], vec![0; 2440]);
        prop_assert_eq!(image.write(&layout, &mut here), copy.write(&layout, &mut there));
        prop_assert_eq!(here, there);
    }
}

#[test]
fn an_idle_guest_needs_the_legacy_region_and_the_header_alone() {
    let geometry = machines::sapphire_rapids();
    let reader = Reader::new(&geometry, geometry.components());
    let mut bytes = vec![0; 11008];
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    let image = reader.read(&bytes).unwrap();
    assert_eq!(image.interface_size_bytes(), Ok(576));
    let mut out = [0; 576];
    image.write_interface(&mut out).unwrap();
    assert_eq!(out[520..528], (1u64 << 63 | 3).to_le_bytes());
}

#[test]
fn growth_between_query_and_read_is_told_with_the_new_size() {
    let geometry = machines::sapphire_rapids();
    let reader = Reader::new(&geometry, geometry.components());
    let mut bytes = vec![0; 11008];
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    let size_bytes = reader.read(&bytes).unwrap().interface_size_bytes().unwrap();
    // The guest loads a tile.
    (bytes[514], bytes[2816]) = (0b100, 7);
    let image = reader.read(&bytes).unwrap();
    let mut out = vec![0xA5; size_bytes as usize];
    let needed_bytes = 576 + 8192;
    let grown = InterfaceError::Write(WriteError::TooSmall { needed_bytes, len_bytes: 576 });
    assert_eq!(image.write_interface(&mut out), Err(grown));
    assert_eq!(out, [0xA5; 576]);
    assert_eq!(image.interface_size_bytes(), Ok(needed_bytes));
}

#[test]
fn bytes_behind_a_compacted_image_are_refused_and_those_behind_a_standard_one_are_stale() {
    let geometry = machines::genoa();
    let reader = Reader::new(&geometry, geometry.components());
    let mut bytes = vec![0; 4096];
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    assert!(reader.read_interface(&bytes).is_ok());
    bytes[520..528].copy_from_slice(&(1u64 << 63 | 7).to_le_bytes());
    let refused = ImageFault::TooLong { len_bytes: 4096, needed_bytes: 832 };
    assert_eq!(reader.read_interface(&bytes).map(|_| ()), Err(refused));
    assert!(reader.read_interface(&bytes[..832]).is_ok());
    assert!(reader.read(&bytes).is_ok(), "an area may be larger than its image");
}

#[test]
fn supervisor_state_goes_through_where_the_standard_format_would_lose_it() {
    let geometry = machines::genoa();
    let reader = Reader::new(&geometry, geometry.components());
    let mut bytes = vec![0; 616];
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    bytes[512..520].copy_from_slice(&0x1800u64.to_le_bytes());
    bytes[520..528].copy_from_slice(&(0x1800u64 | 1 << 63).to_le_bytes());
    (bytes[576], bytes[592]) = (1, 8);
    let image = reader.read(&bytes).unwrap();
    let mut out = [0; 616];
    image.write_interface(&mut out).unwrap();
    let copy = reader.read_interface(&out).unwrap();
    assert_eq!(copy.component(Component::CET_U).map(|bytes| bytes[0]), Some(1));
    assert_eq!(copy.component(Component::CET_S).map(|bytes| bytes[0]), Some(8));
}
