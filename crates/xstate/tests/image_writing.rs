//! Images in other formats and places.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use proptest::prelude::*;
use selfsame_xstate::{
    COMPONENTS, Component, ComponentSet, Format, Geometry, Image, Layout, MXCSR_INITIAL, MxcsrMask, Reader, WriteError,
};

mod images;
mod machines;

use images::{Style, Words, random_image};

const FORMATS: [Format; 2] = [Format::Standard, Format::Compacted];

fn geometries() -> [Geometry; 6] {
    use machines as m;
    [m::milan(), m::genoa(), m::skylake(), m::sapphire_rapids(), m::with_apx(), m::bulldozer()]
}

fn reader(geometry: &Geometry) -> Reader<'_> {
    Reader::new(geometry, geometry.components()).with_mxcsr_mask(MxcsrMask::AMD)
}

fn write(image: &Image<'_>, format: Format, set: ComponentSet, geometry: &Geometry) -> Vec<u8> {
    let layout = Layout::new(format, set, geometry).unwrap();
    let mut out = vec![0xA5; layout.size_bytes() as usize];
    assert_eq!(image.write(&layout, &mut out), Ok(out.len()));
    out
}

/// Rewrites an image in the same format and set.
fn canonical(geometry: &Geometry, set: ComponentSet, bytes: &[u8]) -> Vec<u8> {
    let image = reader(geometry).read(bytes).unwrap();
    write(&image, image.format(), set, geometry)
}

proptest! {
    #[test]
    fn writing_an_image_twice_changes_nothing(machine in 0usize..6, format in 0usize..2, seed: u64) {
        let (geometry, format, mut words) = (&geometries()[machine], FORMATS[format], Words::new(seed));
        let set = words.subset(geometry.components()) | ComponentSet::LEGACY;
        let bytes = random_image(geometry, format, set, Style::Dirty, &mut words).unwrap();
        let once = canonical(geometry, set, &bytes);
        prop_assert_eq!(canonical(geometry, set, &once), once);
    }

    #[test]
    fn what_nobody_defines_does_not_show(machine in 0usize..6, format in 0usize..2, seed: u64) {
        // The same words choose the same state, and differ in what surrounds it.
        let (geometry, format) = (&geometries()[machine], FORMATS[format]);
        let set = Words::new(seed).subset(geometry.components()) | ComponentSet::LEGACY;
        let clean = random_image(geometry, format, set, Style::Clean, &mut Words::new(seed)).unwrap();
        let mut dirty = vec![0; clean.len()];
        Words::new(!seed).fill(&mut dirty);
        let image = reader(geometry).read(&clean).unwrap();
        dirty[24..28].copy_from_slice(&clean[24..28]);
        dirty[512..576].copy_from_slice(&clean[512..576]);
        for component in image.present() {
            let range = image.layout().range_bytes(component).unwrap();
            let range = range.start as usize..range.end as usize;
            let used = COMPONENTS.iter().find(|row| row.component == component).unwrap().used_bytes;
            let range = range.start..used.map_or(range.end, |used| range.start + used as usize);
            if component == Component::X87 {
                dirty[..24].copy_from_slice(&clean[..24]);
                (0..8).for_each(|st| dirty[32 + 16 * st..42 + 16 * st].copy_from_slice(&clean[32 + 16 * st..42 + 16 * st]));
                dirty[5] = 0xFF;
            } else {
                dirty[range.clone()].copy_from_slice(&clean[range]);
            }
        }
        prop_assert_eq!(canonical(geometry, set, &dirty), canonical(geometry, set, &clean));
    }

    #[test]
    fn an_image_that_is_already_canonical_stays(machine in 0usize..6, format in 0usize..2, seed: u64) {
        let (geometry, format, mut words) = (&geometries()[machine], FORMATS[format], Words::new(seed));
        let set = words.subset(geometry.components()) | ComponentSet::LEGACY;
        let mut clean = random_image(geometry, format, set, Style::Clean, &mut words).unwrap();
        // Every component of a clean image is in use, but SSE may be there for MXCSR alone.
        let written = canonical(geometry, set, &clean);
        if written[512] & 2 == 0 {
            clean[512] &= !2;
        }
        prop_assert_eq!(written, clean);
    }

    #[test]
    fn components_keep_their_bytes_across_formats_and_vendors(from in 0usize..6, to in 0usize..6, seed: u64) {
        let (geometries, mut words) = (geometries(), Words::new(seed));
        let (from, to) = (&geometries[from], &geometries[to]);
        let common = from.components() & to.components();
        let common = common - from.conflicts_of_size(to);
        let set = words.subset(common) | ComponentSet::LEGACY;
        for source in FORMATS {
            let Some(bytes) = random_image(from, source, set, Style::Dirty, &mut words) else { continue };
            let image = reader(from).read(&bytes).unwrap();
            for target in FORMATS {
                let layout = Layout::new(target, set, to).unwrap();
                let mut out = vec![0xA5; layout.size_bytes() as usize];
                let homeless = image.in_use() - layout.components();
                if !homeless.is_empty() {
                    prop_assert_eq!(image.write(&layout, &mut out), Err(WriteError::NoPlace { components: homeless }));
                    prop_assert!(out.iter().all(|byte| *byte == 0xA5));
                    continue;
                }
                prop_assert_eq!(image.write(&layout, &mut out), Ok(out.len()));
                let copy = reader(to).read(&out).unwrap();
                prop_assert_eq!(copy.present(), image.in_use());
                prop_assert_eq!(copy.in_use(), image.in_use());
                prop_assert_eq!(copy.mxcsr(), image.mxcsr());
                for component in copy.present() - ComponentSet::LEGACY {
                    let used = component.described().and_then(|row| row.used_bytes).map_or(usize::MAX, |used| used as usize);
                    let (copied, original) = (copy.component(component).unwrap(), image.component(component).unwrap());
                    let used = used.min(original.len());
                    prop_assert_eq!(&copied[..used], &original[..used]);
                    prop_assert!(copied[used..].iter().all(|byte| *byte == 0));
                }
            }
        }
    }

    #[test]
    fn a_layout_writes_the_same_whether_or_not_it_knows_the_places(
        machine in 0usize..7, from in 0usize..2, to in 0usize..2, seed: u64,
    ) {
        let mut words = Words::new(seed);
        let many: Vec<_> = (2..=24).map(|index| (index, 64, 576 + 64 * (24 - index), 2 * (index % 2))).collect();
        let many = machines::machine(576 + 23 * 64, &many);
        let geometry = geometries().get(machine).cloned().unwrap_or(many);
        let set = words.subset(geometry.components()) | ComponentSet::LEGACY;
        let held = words.subset(set);
        let held = if words.once_in(2) { set } else { held | ComponentSet::LEGACY };
        let bytes = random_image(&geometry, FORMATS[from], held, Style::Dirty, &mut words).unwrap();
        let image = reader(&geometry).read(&bytes).unwrap();
        let copy = geometry.clone();
        let [known, unknown] = [&geometry, &copy].map(|geometry| {
            let layout = Layout::new(FORMATS[to], set, geometry).unwrap();
            let mut out = vec![0xA5; layout.size_bytes() as usize];
            (image.write(&layout, &mut out), out)
        });
        prop_assert_eq!(known, unknown);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_told_the_size_and_left_alone(seed: u64, short in 1usize..600) {
        let (geometry, mut words) = (machines::sapphire_rapids(), Words::new(seed));
        let bytes = random_image(&geometry, Format::Compacted, geometry.components(), Style::Dirty, &mut words).unwrap();
        let image = reader(&geometry).read(&bytes).unwrap();
        let layout = Layout::new(Format::Compacted, geometry.components(), &geometry).unwrap();
        let mut out = vec![0xA5; layout.size_bytes() as usize - short];
        let len_bytes = out.len();
        let needed_bytes = layout.size_bytes();
        prop_assert_eq!(image.write(&layout, &mut out), Err(WriteError::TooSmall { needed_bytes, len_bytes }));
        prop_assert!(out.iter().all(|byte| *byte == 0xA5));
    }
}

/// What two geometries agree to hold, but in different sizes.
trait ConflictsOfSize {
    fn conflicts_of_size(&self, other: &Self) -> ComponentSet;
}

impl ConflictsOfSize for Geometry {
    fn conflicts_of_size(&self, other: &Self) -> ComponentSet {
        let size = |geometry: &Self, component| geometry.row(component).map(|row| row.size_bytes);
        let differs = |component: &Component| size(self, *component) != size(other, *component);
        (self.components() - ComponentSet::LEGACY).iter().filter(differs).collect()
    }
}

/// An image of Genoa's with these bytes, in its standard format.
fn genoa_image(xstate_bv: u64, bytes: &[(usize, u8)]) -> Vec<u8> {
    let mut image = vec![0; 2440];
    image[24..28].copy_from_slice(&MXCSR_INITIAL.to_le_bytes());
    image[512..520].copy_from_slice(&xstate_bv.to_le_bytes());
    bytes.iter().for_each(|&(index, byte)| image[index] = byte);
    image
}

#[test]
fn mxcsr_makes_sse_present_so_that_the_compacted_form_keeps_it() {
    let geometry = machines::genoa();
    // XSAVE leaves XSTATE_BV bit 1 clear while the XMM registers are in their initial configuration.
    let bytes = genoa_image(0b100, &[(25, 0x3F), (576, 1)]);
    let image = reader(&geometry).read(&bytes).unwrap();
    assert_eq!((image.mxcsr(), image.in_use().bits()), (0x3F80, 0b110));
    for format in FORMATS {
        let copy = write(&image, format, geometry.user(), &geometry);
        let copy = reader(&geometry).read(&copy).unwrap();
        assert_eq!((copy.mxcsr(), copy.present().bits()), (0x3F80, 0b110));
    }
}

#[test]
fn mxcsr_of_a_compacted_image_without_sse_is_initial() {
    let geometry = machines::genoa();
    let mut bytes = genoa_image(0, &[(25, 0x3F), (527, 0x80)]);
    let image = reader(&geometry).read(&bytes).unwrap();
    assert_eq!((image.mxcsr(), image.in_use()), (MXCSR_INITIAL, ComponentSet::EMPTY));
    let copy = write(&image, Format::Standard, geometry.user(), &geometry);
    assert_eq!(copy[24..28], MXCSR_INITIAL.to_le_bytes());
    (bytes[512], bytes[520]) = (0b10, 0b10);
    assert_eq!(reader(&geometry).read(&bytes).unwrap().mxcsr(), 0x3F80);
}

#[test]
fn initial_configurations_that_are_not_zero_are_known() {
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [0x3, 576, 576, 0],
        1 => [0xF, 576, 1 << 13 | 1 << 16, 0],
        _ => [8, 0, 1, 0],
    });
    let mut bytes = vec![0; 592];
    bytes[24..28].copy_from_slice(&MXCSR_INITIAL.to_le_bytes());
    bytes[512..520].copy_from_slice(&(1u64 << 13 | 1 << 16).to_le_bytes());
    bytes[520..528].copy_from_slice(&(1u64 << 13 | 1 << 16 | 1 << 63).to_le_bytes());
    let in_use = |bytes: &[u8]| reader(&geometry).read(bytes).unwrap().in_use();
    assert_eq!(in_use(&bytes), geometry.supervisor(), "zero is not where these two begin");
    bytes[576..584].copy_from_slice(&1u64.to_le_bytes());
    bytes[584..592].copy_from_slice(&0x8000_FF01u64.to_le_bytes());
    assert_eq!(in_use(&bytes), ComponentSet::EMPTY);
}

#[test]
fn reserved_bytes_of_pkru_are_not_in_use() {
    let geometry = machines::genoa();
    let bytes = genoa_image(0x200, &[(2436, 0xFF)]);
    assert_eq!(reader(&geometry).read(&bytes).unwrap().in_use(), ComponentSet::EMPTY);
}

#[test]
fn a_component_in_use_without_a_place_is_refused_and_an_initial_one_is_not() {
    let geometry = machines::genoa();
    let avx_only = Layout::new(Format::Standard, ComponentSet::from_bits(7), &geometry).unwrap();
    let bytes = genoa_image(0x204, &[(576, 1), (2432, 4)]);
    let image = reader(&geometry).read(&bytes).unwrap();
    let refused = Err(WriteError::NoPlace { components: Component::PKRU.into() });
    assert_eq!(image.write(&avx_only, &mut [0; 832]), refused);
    let bytes = genoa_image(0x204, &[(576, 1)]);
    let image = reader(&geometry).read(&bytes).unwrap();
    assert_eq!(image.write(&avx_only, &mut [0; 832]), Ok(832));
}

#[test]
fn supervisor_state_never_goes_into_a_standard_image() {
    let geometry = machines::genoa();
    let mut bytes = vec![0; 616];
    bytes[24..28].copy_from_slice(&MXCSR_INITIAL.to_le_bytes());
    bytes[512..520].copy_from_slice(&0x1800u64.to_le_bytes());
    bytes[520..528].copy_from_slice(&(0x1800u64 | 1 << 63).to_le_bytes());
    bytes[592] = 8;
    let image = reader(&geometry).read(&bytes).unwrap();
    let standard = Layout::new(Format::Standard, geometry.components(), &geometry).unwrap();
    let refused = Err(WriteError::NoPlace { components: Component::CET_S.into() });
    assert_eq!(image.write(&standard, &mut [0; 4096]), refused);
}

#[test]
fn a_component_of_another_size_is_refused() {
    let lbr = |size: u32| machines::machine(576, &[(15, size, 0, 3)]);
    let (one, another) = (lbr(808), lbr(408));
    let mut bytes = vec![0; 576 + 808];
    bytes[24..28].copy_from_slice(&MXCSR_INITIAL.to_le_bytes());
    bytes[512..520].copy_from_slice(&(1u64 << 15).to_le_bytes());
    bytes[520..528].copy_from_slice(&(1u64 << 15 | 1 << 63).to_le_bytes());
    bytes[576] = 1;
    let image = reader(&one).read(&bytes).unwrap();
    let layout = Layout::new(Format::Compacted, another.components(), &another).unwrap();
    let refused = WriteError::SizeDiffers { component: Component::LBR, from_bytes: 808, to_bytes: 408 };
    assert_eq!(image.write(&layout, &mut [0; 2000]), Err(refused));
}

#[test]
fn a_geometry_that_overwrites_itself_is_refused_where_it_matters() {
    // Both lie at byte 576, and a third within the header.
    let overlapping = machines::machine(1000, &[(2, 256, 576, 0), (5, 64, 600, 0), (9, 8, 512, 0)]);
    let sane = machines::genoa();
    let layout = Layout::new(Format::Standard, overlapping.components(), &overlapping).unwrap();
    let mut out = [0xA5; 1000];
    for (xstate_bv, component) in [(0x24, Component::AVX), (0x204, Component::PKRU)] {
        let bytes = genoa_image(xstate_bv, &[(576, 1), (832, 1), (2432, 4)]);
        let image = reader(&sane).read(&bytes).unwrap();
        assert_eq!(image.write(&layout, &mut out), Err(WriteError::Overlap { component }));
        assert_eq!(out, [0xA5; 1000]);
    }
    let bytes = genoa_image(0x4, &[(576, 1)]);
    assert_eq!(reader(&sane).read(&bytes).unwrap().write(&layout, &mut out), Ok(832));
    // Its own images are no better.
    let bytes = genoa_image(0x24, &[(576, 1), (600, 1)]);
    let overwritten = reader(&overlapping).read(&bytes).unwrap().write(&layout, &mut out);
    assert_eq!(overwritten, Err(WriteError::Overlap { component: Component::AVX }));
}

#[test]
fn one_bit_anywhere_is_in_use() {
    let geometry = machines::genoa();
    for component in geometry.user() - ComponentSet::LEGACY {
        let row = geometry.row(component).unwrap();
        let used = component.described().and_then(|known| known.used_bytes).unwrap_or(row.size_bytes);
        for byte in row.offset_bytes..row.offset_bytes + used {
            let bytes = genoa_image(ComponentSet::from(component).bits(), &[(byte as usize, 0x80)]);
            assert_eq!(reader(&geometry).read(&bytes).unwrap().in_use(), component.into(), "byte {byte}");
        }
    }
}

#[test]
fn components_below_their_number_are_written_in_place() {
    // APX, number 19, lies where MPX was: before components with lower numbers.
    let geometry = machines::with_apx();
    let mut words = Words::new(1);
    for seed in 0..200 {
        words = Words::new(seed ^ words.next());
        let set = ComponentSet::from_bits(0xE_02E7);
        let bytes = random_image(&geometry, Format::Compacted, set, Style::Dirty, &mut words).unwrap();
        let image = reader(&geometry).read(&bytes).unwrap();
        let standard = write(&image, Format::Standard, set, &geometry);
        let copy = reader(&geometry).read(&standard).unwrap();
        assert!(set.iter().skip(1).all(|component| {
            let bytes = |image: &Image<'_>| Some(image.component(component)?[..4].to_vec());
            !image.in_use().contains(component) || bytes(&copy) == bytes(&image)
        }));
    }
}

#[test]
fn fxrstor_gets_the_initial_configuration_in_full() {
    let geometry = machines::genoa();
    let bytes = genoa_image(0b10, &[(0, 0xFF), (160, 7)]);
    let legacy = reader(&geometry).read(&bytes).unwrap().to_fxsave().unwrap();
    assert_eq!((&legacy[..4], &legacy[24..28], legacy[160]), (&[0x7F, 0x03, 0, 0][..], &[0x80, 0x1F, 0, 0][..], 7));
    let bytes = genoa_image(0b100, &[(576, 7)]);
    let refused = Err(WriteError::NoPlace { components: Component::AVX.into() });
    assert_eq!(reader(&geometry).read(&bytes).unwrap().to_fxsave(), refused);
}
