//! The three readings of a header, and what the strict one makes of whole images.

use proptest::prelude::*;
use selfsame_xstate::{
    CetControls, Component, ComponentSet, Configurations, Fault, Format, Header, HeaderFault, ImageFault, Layout,
    LayoutError, LinearAddresses, MXCSR_INITIAL, MxcsrMask, Reader, Restore, hardware_fault,
};

mod images;
mod machines;

use images::{Style, Words, random_image};

const AVX_PKRU: ComponentSet = ComponentSet::from_bits(0x207);
const CET: ComponentSet = ComponentSet::from_bits(0x1800);

/// Words at which the rules turn: mostly legal, with a bit or two wrong.
fn masks() -> impl Strategy<Value = u64> {
    let bit = (0u32..64).prop_map(|bit| 1u64 << bit);
    prop_oneof![
        (any::<u64>(), bit.clone()).prop_map(|(subset, _)| subset & 0x1A07),
        (any::<u64>(), bit.clone()).prop_map(|(subset, bit)| subset & 0x1A07 | bit),
        (any::<u64>(), bit).prop_map(|(subset, bit)| subset & 0x1A07 | bit | 1 << 63),
        any::<u64>(),
        Just(0),
    ]
}

fn headers() -> impl Strategy<Value = Header> {
    let reserved = prop_oneof![4 => Just(0u64), 1 => any::<u64>()];
    let xcomp_bv = prop_oneof![2 => Just(0u64), 1 => masks(), 2 => masks().prop_map(|mask| mask | 1 << 63)];
    (masks(), xcomp_bv, prop::array::uniform6(reserved)).prop_map(|(xstate_bv, xcomp_bv, reserved)| Header {
        xstate_bv,
        xcomp_bv,
        reserved,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_header_is_refused_exactly_where_a_rule_is_named(header in headers(), xcr0 in masks(), xss in masks()) {
        let (xcr0, xss) = (ComponentSet::from_bits(xcr0), ComponentSet::from_bits(xss));
        prop_assert_eq!(header.check(xcr0, xss), header.faults(xcr0, xss).next().map_or(Ok(()), Err));
        prop_assert_eq!(Header::from_bytes(&header.to_bytes()), header);
    }

    #[test]
    fn strict_refuses_all_that_hardware_refuses_and_names_what_is_more(
        header in headers(),
        mxcsr in prop_oneof![Just(MXCSR_INITIAL), any::<u32>()],
        requested in masks(),
        is_xrstors: bool,
    ) {
        let requested = ComponentSet::from_bits(requested);
        let restore = if is_xrstors { Restore::xrstors(AVX_PKRU, CET) } else { Restore::xrstor(AVX_PKRU) };
        let restore = Restore { requested, ..restore };
        // XRSTOR knows no supervisor state, and the reader for it none either.
        let xss = if is_xrstors { CET } else { ComponentSet::EMPTY };
        let geometry = machines::milan();
        let reader = Reader::new(&geometry, AVX_PKRU | xss);
        let mut bytes = vec![0; 4096];
        bytes[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        bytes[512..576].copy_from_slice(&header.to_bytes());
        let faults: Vec<ImageFault> = reader.faults(&bytes).collect();
        match hardware_fault(&header, mxcsr, &restore) {
            // Which format an instruction takes is not the image's fault: it is converted.
            Some(Fault::NotCompacted) => prop_assert_eq!(header.format(), Format::Standard),
            Some(fault) => prop_assert!(!faults.is_empty(), "hardware alone refuses: {fault}"),
            None => for fault in faults {
                let is_extra = match fault {
                    ImageFault::Header(HeaderFault::ReservedTail) => header.format() == Format::Standard,
                    ImageFault::Mxcsr { .. } => true,
                    _ => false,
                };
                prop_assert!(is_extra, "strict alone refuses: {fault}");
            },
        }
    }

    #[test]
    fn sanitising_takes_exactly_what_has_no_fault_that_cannot_be_mended(header in headers(), seed: u64, mxcsr: u32) {
        let geometry = machines::milan();
        let reader = Reader::new(&geometry, AVX_PKRU | CET);
        let mut bytes = vec![0; 1000 + (seed % 2000) as usize];
        Words::new(seed).fill(&mut bytes);
        bytes[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        bytes[512..576].copy_from_slice(&header.to_bytes());
        let faults: Vec<ImageFault> = reader.faults(&bytes).collect();
        prop_assert_eq!(reader.read(&bytes).map(|_| ()), faults.first().copied().map_or(Ok(()), Err));
        let lost = faults.iter().find(|fault| !fault.is_mendable()).copied();
        prop_assert_eq!(reader.sanitise(&bytes).map(|_| ()), lost.map_or(Ok(()), Err));
        let Ok(sanitised) = reader.sanitise(&bytes) else { return Ok(()) };
        prop_assert!(sanitised.mended().eq(faults));
        // What was taken is lawful: written, it is read strictly.
        let image = sanitised.image();
        let set = image.present() | ComponentSet::LEGACY;
        let layout = Layout::new(Format::Compacted, set, &geometry).unwrap();
        let mut out = vec![0; layout.size_bytes() as usize];
        prop_assert_eq!(image.write(&layout, &mut out), Ok(out.len()));
        prop_assert_eq!(reader.read(&out).map(|copy| (copy.present(), copy.mxcsr())), Ok((image.in_use(), image.mxcsr())));
    }

    #[test]
    fn sanitising_a_lawful_image_changes_nothing(seed: u64, is_compacted: bool) {
        let (geometry, mut words) = (machines::sapphire_rapids(), Words::new(seed));
        let reader = Reader::new(&geometry, geometry.components());
        let format = if is_compacted { Format::Compacted } else { Format::Standard };
        let set = words.subset(geometry.components());
        let bytes = random_image(&geometry, format, set, Style::Dirty, &mut words).unwrap();
        let (image, sanitised) = (reader.read(&bytes).unwrap(), reader.sanitise(&bytes).unwrap());
        prop_assert_eq!(sanitised.mended().next(), None);
        let same = sanitised.image();
        prop_assert_eq!((same.present(), same.mxcsr(), same.layout()), (image.present(), image.mxcsr(), image.layout()));
    }
}

/// The faults of a header where x87, SSE, AVX and PKRU are enabled, and CET in IA32_XSS.
fn faults(xstate_bv: u64, xcomp_bv: u64, reserved: [u64; 6]) -> Vec<HeaderFault> {
    Header { xstate_bv, xcomp_bv, reserved }.faults(AVX_PKRU, CET).collect()
}

#[test]
fn each_rule_for_headers_has_a_name_of_its_own() {
    use HeaderFault as F;
    let set = ComponentSet::from_bits;
    const COMPACTED: u64 = 1 << 63;
    let zero = [0; 6];
    assert_eq!(faults(0x207, 0, zero), []);
    assert_eq!(faults(0x1A07, COMPACTED | 0x1A07, zero), []);
    assert_eq!(faults(0, COMPACTED, zero), []);
    assert_eq!(faults(COMPACTED, 0, zero), [F::ReservedBit]);
    assert_eq!(faults(COMPACTED, COMPACTED, zero), [F::ReservedBit]);
    assert_eq!(faults(0xE7, 0, zero), [F::NotEnabled { components: set(0xE0) }]);
    assert_eq!(faults(0x800, 0, zero), [F::Supervisor { components: set(0x800) }]);
    assert_eq!(faults(0, 7, zero), [F::CompactionBits { xcomp_bv: 7 }]);
    assert_eq!(faults(0, COMPACTED | 0x100, zero), [F::PlaceNotEnabled { components: set(0x100) }]);
    assert_eq!(faults(4, COMPACTED | 3, zero), [F::NoPlace { components: set(4) }]);
    assert_eq!(faults(0, 0, [1, 0, 0, 0, 0, 0]), [F::Reserved]);
    assert_eq!(faults(0, 0, [0, 0, 0, 0, 0, 1]), [F::ReservedTail]);
    assert_eq!(faults(0, COMPACTED, [0, 1, 0, 0, 0, 0]), [F::ReservedTail]);
    let all = faults(COMPACTED | 0x820, 7, [1; 6]);
    let (not_enabled, supervisor) = (set(0x20), set(0x800));
    assert_eq!(
        all,
        [
            F::ReservedBit,
            F::NotEnabled { components: not_enabled },
            F::Supervisor { components: supervisor },
            F::CompactionBits { xcomp_bv: 7 },
            F::Reserved,
            F::ReservedTail
        ]
    );
}

/// An image of Milan's with this header, as long as its standard format for everything.
fn image(xstate_bv: u64, xcomp_bv: u64) -> Vec<u8> {
    let mut bytes = vec![0; 2440];
    bytes[24..28].copy_from_slice(&MXCSR_INITIAL.to_le_bytes());
    bytes[512..520].copy_from_slice(&xstate_bv.to_le_bytes());
    bytes[520..528].copy_from_slice(&xcomp_bv.to_le_bytes());
    bytes
}

#[test]
fn each_rule_for_images_has_a_name_of_its_own() {
    let geometry = machines::milan();
    let reader = Reader::new(&geometry, AVX_PKRU | CET);
    let faults = |bytes: &[u8]| reader.faults(bytes).collect::<Vec<_>>();
    assert_eq!(faults(&[0; 575]), [ImageFault::NoHeader { len_bytes: 575 }]);
    assert_eq!(faults(&image(0x200, 0)), []);
    assert_eq!(faults(&image(0x200, 0)[..2439]), [ImageFault::TooShort { len_bytes: 2439, needed_bytes: 2440 }]);
    assert_eq!(faults(&image(4, 0)[..832]), [], "bytes of what is absent need not be there");

    let mut bytes = image(0x800, 1 << 63 | 0x807);
    assert_eq!(faults(&bytes), []);
    bytes[832] = 0x40;
    assert_eq!(faults(&bytes), [ImageFault::Unlawful { components: Component::CET_U.into() }]);
    let mut bytes = image(2, 0);
    bytes[27] = 1;
    assert_eq!(faults(&bytes), [ImageFault::Mxcsr { mxcsr: 0x0100_1F80, mask: MxcsrMask::COMMON }]);

    let (places, components) = (1 << 63 | 0x20, ComponentSet::from_bits(0x20));
    let no_row = ImageFault::Layout(LayoutError::NoRow { component: Component::OPMASK });
    let header = HeaderFault::PlaceNotEnabled { components };
    assert_eq!(faults(&image(0, places)), [header.into(), no_row]);
}

#[test]
fn the_layout_of_an_image_is_that_of_its_places() {
    let geometry = machines::milan();
    let reader = Reader::new(&geometry, AVX_PKRU | CET);
    let bytes = image(0x800, 1 << 63 | 0x807);
    let layout = Layout::new(Format::Compacted, ComponentSet::from_bits(0x807), &geometry).unwrap();
    assert_eq!(reader.read(&bytes).unwrap().layout(), layout);
}

#[test]
fn bits_of_cet_belong_to_the_features_that_the_reader_is_told() {
    let geometry = machines::milan();
    let reader = Reader::new(&geometry, AVX_PKRU | CET);
    let mut bytes = image(0x800, 1 << 63 | 0x807);
    // ENDBR_EN, of indirect branch tracking, which AMD CPUs do not have.
    bytes[832] = 0b100;
    assert!(reader.read(&bytes).is_ok());
    let reader = reader.with_cet(CetControls::from_leaf_7([0, 0, 1 << 7, 0]));
    let unlawful = ImageFault::Unlawful { components: Component::CET_U.into() };
    assert_eq!(reader.read(&bytes).unwrap_err(), unlawful);
    assert_eq!(reader.sanitise(&bytes).unwrap().image().present(), ComponentSet::EMPTY);
    // SH_STK_EN and WR_SHSTK_EN.
    bytes[832] = 0b11;
    assert!(reader.read(&bytes).is_ok());
    assert_eq!(reader.with_cet(CetControls::from_leaf_7([0; 4])).read(&bytes).unwrap_err(), unlawful);
}

#[test]
fn the_width_of_addresses_and_the_bits_of_mxcsr_belong_to_the_reader() {
    let geometry = machines::milan();
    let reader = Reader::new(&geometry, AVX_PKRU | CET);
    let mut bytes = image(0x800, 1 << 63 | 0x807);
    bytes[846] = 1;
    assert!(reader.read(&bytes).is_err());
    assert!(reader.with_addresses(LinearAddresses::Bits57).read(&bytes).is_ok());
    let mut bytes = image(2, 0);
    bytes[26] = 2;
    assert!(reader.read(&bytes).is_err());
    assert_eq!(reader.with_mxcsr_mask(MxcsrMask::AMD).read(&bytes).unwrap().mxcsr(), 0x2_1F80);
}

#[test]
fn an_image_shows_what_is_present_and_nothing_stale() {
    let geometry = machines::milan();
    let mut bytes = image(0x204, 0);
    bytes[576] = 1;
    bytes[2432] = 4;
    bytes[160] = 9;
    let image = Reader::new(&geometry, AVX_PKRU | CET).read(&bytes).unwrap();
    assert_eq!((image.format(), image.present().bits()), (Format::Standard, 0x204));
    assert_eq!(image.component(Component::AVX).unwrap()[..2], [1, 0]);
    assert_eq!(image.component(Component::PKRU), Some(&[4, 0, 0, 0, 0, 0, 0, 0][..]));
    assert_eq!(image.component(Component::SSE), None);
    assert_eq!((image.mxcsr(), image.legacy()[160]), (MXCSR_INITIAL, 9));
}

#[test]
fn a_component_without_a_place_is_dropped_when_an_image_is_sanitised() {
    let geometry = machines::milan();
    let reader = Reader::new(&geometry, AVX_PKRU | CET);
    let bytes = image(0x207, 1 << 63 | 0x7);
    let sanitised = reader.sanitise(&bytes).unwrap();
    assert!(sanitised.mended().eq([HeaderFault::NoPlace { components: Component::PKRU.into() }.into()]));
    assert_eq!(sanitised.image().present().bits(), 0x7);
}

#[test]
fn what_was_taken_of_an_image_outlives_its_reader() {
    let (geometry, bytes) = (machines::milan(), image(0x207, 1 << 63 | 0x7));
    let host = Configurations::new(&geometry).unwrap();
    let reader = || Reader::new(&geometry, AVX_PKRU);
    let (sanitised, refusals) = (reader().sanitise(&bytes).unwrap(), reader().load_refusals(&bytes, &host));
    let fault = ImageFault::from(HeaderFault::NoPlace { components: Component::PKRU.into() });
    assert!(sanitised.mended().eq([fault]));
    assert!(refusals.eq([fault.into()]));
}

#[test]
fn a_supervisor_component_that_is_allowed_is_refused_in_a_standard_image() {
    let geometry = machines::milan();
    let reader = Reader::new(&geometry, AVX_PKRU | CET);
    let refused = HeaderFault::Supervisor { components: Component::CET_U.into() };
    assert_eq!(reader.read(&image(0x800, 0)).map(|_| ()), Err(refused.into()));
}
