//! What XSETBV takes and refuses.

use selfsame_xstate::{ComponentSet, Xcr0Error, xcr0_faults};

fn is_legal(value: u64, supported: u64) -> bool {
    xcr0_faults(value, ComponentSet::from_bits(supported)).next().is_none()
}

#[test]
fn zen_4_takes_and_refuses_what_kvm_was_seen_to() {
    // Guest of a Zen 4 KVM host without PKU, supported 0xE7; the answers were verified by ioctl.
    for value in [1, 3, 7, 0xE7] {
        assert!(is_legal(value, 0xE7), "{value:#x}");
        assert_eq!(ComponentSet::from_xcr0(value), Ok(ComponentSet::from_bits(value)));
    }
    let refused = [0, 2, 4, 5, 6, 0x23, 0x27, 0x47, 0x87, 0xA7, 0xE3, 0xE5, 0x1B, 0x1F, 0x207];
    for value in refused.into_iter().chain([0x2_0007, 0x4_0007, 0x6_0007, 1 << 62, 1 << 63, 1 << 62 | 7, 1 << 63 | 7]) {
        assert!(!is_legal(value, 0xE7), "{value:#x}");
    }
}

#[test]
fn refusals_that_do_not_depend_on_the_cpu_are_those_of_from_xcr0() {
    for value in [0, 2, 4, 5, 6, 0x23, 0x27, 0x47, 0x87, 0xA7, 0xE3, 0xE5, 0x2_0007, 0x4_0007, 1 << 62, 1 << 63] {
        assert!(ComponentSet::from_xcr0(value).is_err(), "{value:#x}");
    }
    for value in [0x1B, 0x1F, 0x207, 0x2E7, 0x2FF, 0x6_0007, 0x6_02E7, 0x8_0003, 0x8_02E7, 1 << 62 | 7] {
        assert_eq!(ComponentSet::from_xcr0(value), Ok(ComponentSet::from_bits(value)), "{value:#x}");
    }
}

#[test]
fn a_set_with_its_partners_is_the_least_that_xcr0_takes() {
    let values = || (0..1 << 20).filter(|value| ComponentSet::from_bits(*value).is_subset_of(ComponentSet::USER));
    let legal: Vec<_> = values().filter_map(|value| ComponentSet::from_xcr0(value).ok()).collect();
    for set in values().map(ComponentSet::from_bits) {
        let whole = set.with_partners();
        let larger: Vec<_> = legal.iter().filter(|legal| set.is_subset_of(**legal)).collect();
        assert!(larger.iter().all(|larger| whole.is_subset_of(**larger)), "{set}: {whole}");
        // What no XCR0 has is APX next to MPX.
        assert_eq!(larger.is_empty(), ComponentSet::from_xcr0(whole.bits()).is_err(), "{set}: {whole}");
    }
}

#[test]
fn before_cpuid_is_set_only_x87_is_legal() {
    for value in 0..1 << 20 {
        assert_eq!(is_legal(value, 0), value == 1, "{value:#x}");
    }
}

#[test]
fn each_rule_is_named_with_its_data() {
    let (from, set) = (ComponentSet::from_xcr0, ComponentSet::from_bits);
    assert_eq!(from(6), Err(Xcr0Error::NoX87 { value: 6 }));
    assert_eq!(from(5), Err(Xcr0Error::AvxWithoutSse { value: 5 }));
    assert_eq!(from(0x27), Err(Xcr0Error::PartialAvx512 { value: 0x27, missing: set(0xC0) }));
    assert_eq!(from(0xE3), Err(Xcr0Error::PartialAvx512 { value: 0xE3, missing: set(4) }));
    assert_eq!(from(0xB), Err(Xcr0Error::PartialMpx { value: 0xB, missing: set(0x10) }));
    assert_eq!(from(0x4_0007), Err(Xcr0Error::PartialAmx { value: 0x4_0007, missing: set(0x2_0000) }));
    assert_eq!(from(0x8_001B), Err(Xcr0Error::ApxWithMpx { value: 0x8_001B }));
    assert_eq!(from(1 << 63 | 7), Err(Xcr0Error::Unsupported { value: 1 << 63 | 7, unsupported: set(1 << 63) }));
    assert_eq!(from(0x807), Err(Xcr0Error::Unsupported { value: 0x807, unsupported: set(0x800) }));
    assert_eq!(from(0x27).unwrap_err().to_string(), "xcr0 0x27 has avx-512 without zmm-hi256|hi16-zmm");
}

#[test]
fn a_value_that_breaks_every_rule_names_seven() {
    // APX, one half each of AMX and MPX, a third of AVX-512, AVX alone, no x87.
    let value = 0xA_002C;
    let faults = xcr0_faults(value, ComponentSet::from_bits(0x2FF)).collect::<Vec<_>>();
    assert_eq!(faults.len(), 7, "{faults:?}");
}

#[test]
fn supervisor_components_are_never_supported_in_xcr0() {
    for bit in [8, 10, 11, 12, 13, 14, 15, 16, 63] {
        let unsupported = ComponentSet::from_bits(1 << bit);
        let faults = xcr0_faults(1 | 1 << bit, ComponentSet::from_bits(u64::MAX));
        assert!(faults.eq([Xcr0Error::Unsupported { value: 1 | 1 << bit, unsupported }]), "bit {bit}");
    }
}

#[test]
fn every_value_of_twenty_bits_is_judged_as_by_the_rules_written_out() {
    let supports = [0x1, 0x3, 0x7, 0x1F, 0xE7, 0x207, 0x2E7, 0x2FF, 0x6_02E7, 0x8_0007, 0xE_02FF];
    for value in 0..1u64 << 20 {
        let has = |bit: u32| value >> bit & 1 == 1;
        let avx512 = [has(5), has(6), has(7)];
        let is_well_formed = has(0)
            && (!has(2) || has(1))
            && has(3) == has(4)
            && (avx512 == [false; 3] || avx512 == [true; 3] && has(2))
            && has(17) == has(18)
            && !(has(19) && has(3));
        for supported in supports {
            assert_eq!(is_legal(value, supported), is_well_formed && value & !supported == 0, "{value:#x}");
        }
    }
}

#[test]
fn more_support_never_refuses_more() {
    let supports = [0x1, 0x3, 0x7, 0xE7, 0x2E7, 0x6_02E7, 0xE_02E7];
    for value in 0..1 << 20 {
        assert!(supports.is_sorted_by_key(|&supported| is_legal(value, supported)), "{value:#x}");
    }
}
