//! What XRSTOR and XRSTORS fault on, by the manuals, and as XRSTOR does on an AMD Zen 3 with XCR0 7.

use selfsame_xstate::{ComponentSet, Fault, Header, MxcsrMask, Restore, hardware_fault};

const COMPACTED: u64 = 1 << 63;
const XCR0: ComponentSet = ComponentSet::from_bits(7);

fn xrstor(xstate_bv: u64, xcomp_bv: u64) -> Option<Fault> {
    hardware_fault(&Header { xstate_bv, xcomp_bv, reserved: [0; 6] }, 0x1F80, &Restore::xrstor(XCR0))
}

fn bits(bits: u64) -> ComponentSet {
    ComponentSet::from_bits(bits)
}

#[test]
fn bit_63_of_xstate_bv_faults_in_both_forms() {
    assert_eq!(xrstor(COMPACTED, 0), Some(Fault::NotEnabled { bits: bits(COMPACTED) }));
    assert_eq!(xrstor(COMPACTED, COMPACTED | 7), Some(Fault::NoPlace { bits: bits(COMPACTED) }));
}

#[test]
fn components_fault_whether_they_are_asked_for_or_not() {
    let nothing = Restore { requested: ComponentSet::EMPTY, ..Restore::xrstor(XCR0) };
    let header = Header { xstate_bv: 8, ..Header::default() };
    assert_eq!(hardware_fault(&header, 0x1F80, &nothing), Some(Fault::NotEnabled { bits: bits(8) }));
    let header = Header { xstate_bv: 4, xcomp_bv: COMPACTED | 3, ..Header::default() };
    assert_eq!(hardware_fault(&header, 0x1F80, &nothing), Some(Fault::NoPlace { bits: bits(4) }));
    assert_eq!(xrstor(0, COMPACTED | 15), Some(Fault::PlaceNotEnabled { bits: bits(8) }));
    assert_eq!(xrstor(0, COMPACTED), None, "a place for nothing");
}

#[test]
fn the_standard_form_looks_at_bytes_8_to_23_and_the_compacted_one_at_16_to_63() {
    for word in 0..6 {
        let mut header = Header::default();
        header.reserved[word] = 1;
        let expected = (word == 0).then_some(Fault::ReservedStandard);
        assert_eq!(hardware_fault(&header, 0x1F80, &Restore::xrstor(XCR0)), expected, "word {word}");
        header.xcomp_bv = COMPACTED;
        let expected = Some(Fault::ReservedCompacted);
        assert_eq!(hardware_fault(&header, 0x1F80, &Restore::xrstor(XCR0)), expected, "word {word}");
    }
    assert_eq!(xrstor(0, 1), Some(Fault::ReservedStandard));
}

#[test]
fn mxcsr_is_loaded_for_sse_or_avx_in_the_standard_form_and_for_sse_that_is_there_in_the_compacted_one() {
    let faults = |xstate_bv, xcomp_bv, requested| {
        let header = Header { xstate_bv, xcomp_bv, reserved: [0; 6] };
        let restore = Restore { requested: bits(requested), ..Restore::xrstor(XCR0) };
        hardware_fault(&header, u32::MAX, &restore).is_some()
    };
    for xstate_bv in 0..8 {
        for requested in 0..8 {
            assert_eq!(faults(xstate_bv, 0, requested), requested & 6 != 0);
            assert_eq!(faults(xstate_bv, COMPACTED | 7, requested), requested & xstate_bv & 2 != 0);
        }
    }
    let amd = Restore { mxcsr_mask: MxcsrMask::AMD, ..Restore::xrstor(XCR0) };
    assert_eq!(hardware_fault(&Header::default(), 0x2_1F80, &amd), None);
    assert_eq!(hardware_fault(&Header::default(), 0x1_1F80, &amd), Some(Fault::Mxcsr { mxcsr: 0x1_1F80 }));
}

#[test]
fn xrstors_takes_supervisor_components_and_no_standard_image() {
    let restore = Restore::xrstors(XCR0, bits(0x1800));
    let header = Header { xstate_bv: 0x1807, xcomp_bv: COMPACTED | 0x1807, reserved: [0; 6] };
    assert_eq!(hardware_fault(&header, 0x1F80, &restore), None);
    assert_eq!(hardware_fault(&Header::default(), 0x1F80, &restore), Some(Fault::NotCompacted));
    let supervisor = Some(Fault::PlaceNotEnabled { bits: bits(0x1800) });
    assert_eq!(hardware_fault(&header, 0x1F80, &Restore { xss: bits(0x1800), ..Restore::xrstor(XCR0) }), supervisor);
}

#[test]
fn a_cpu_without_the_compacted_format_faults_on_it() {
    let restore = Restore { has_xsavec: false, ..Restore::xrstor(XCR0) };
    let header = Header { xcomp_bv: COMPACTED | 7, ..Header::default() };
    assert_eq!(hardware_fault(&header, 0x1F80, &restore), Some(Fault::NoCompaction));
    assert_eq!(hardware_fault(&Header::default(), 0x1F80, &restore), None);
}

#[test]
fn xfd_traps_what_is_present_and_asked_for() {
    let tiles = bits(1 << 18);
    let restore = Restore { xfd: tiles, ..Restore::xrstor(bits(0x6_0007)) };
    let header = |xstate_bv| Header { xstate_bv, ..Header::default() };
    let fault = hardware_fault(&header(0x6_0000), 0x1F80, &restore).unwrap();
    assert_eq!((fault, fault.vector()), (Fault::Xfd { components: tiles }, 7));
    assert_eq!(hardware_fault(&header(0x2_0000), 0x1F80, &restore), None);
    assert_eq!(hardware_fault(&header(0x6_0000), 0x1F80, &Restore { requested: bits(7), ..restore }), None);
}
