//! The cases of Xen's own policy test (tools/tests/cpu-policy), replayed with this model's limits, and the defects that
//! reading Xen's policy library turned up.
//!
//! Cases that assert a limit of Xen alone, and what stands here instead:
//!
//! | Xen's case | here |
//! |---|---|
//! | serialise: 4, 8, 9, 11, 12, 15, 16, 18, 19 leaves for empty and partial leaves 4, 7, 0xB, 0xD | rows that are zero are not written: one form a policy |
//! | deserialise: leaf 0xE, 4\[6\], 7\[3\], 0xB\[2\], 0xD\[63\], 0x80000022 out of range | the same refusals at this model's ends: 8, 4\[8\], 7\[3\], 0xB\[4\], 0xD\[63\], 0x80000028 |
//! | MSR 0xCE value beyond 32 bits overflows | all MSRs are 64 bits wide |
//! | incompatible: the guest's highest leaf is above the host's | highest leaves follow from what is there, and what is there is compared |
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use selfsame_cpuid::{
    BinaryError, Check, EntryDefect, Host, Kind, Leaves, Place, Policy, Regs, Rule, Stored, Trims, Vendor, feature,
};

const NO_SUBLEAF: u32 = u32::MAX;

fn leaf(leaf: u32, subleaf: u32, value: u32) -> Vec<u8> {
    [leaf, subleaf, value, value, value, value].iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn msr(index: u32, flags: u32, value: u64) -> Vec<u8> {
    [&index.to_le_bytes()[..], &flags.to_le_bytes(), &value.to_le_bytes()].concat()
}

fn place(name: &str) -> Place {
    feature(name).unwrap().place
}

fn intel(max_leaf: u32) -> Leaves {
    let mut leaves = Leaves::new();
    leaves.set(0, 0, Regs::new(max_leaf, 0x756e_6547, 0x6c65_746e, 0x4965_6e69)).unwrap();
    leaves
}

fn refusals(guest: &Policy, host: &Host) -> Vec<(String, Rule)> {
    let mut refusals = Vec::new();
    Check::new(guest, host).refusals(|refusal| refusals.push((refusal.what.to_string(), refusal.rule)));
    refusals
}

#[test]
fn a_subleaf_where_none_is_selected_is_refused_and_named() {
    for number in [0x0, 0x4000_0000, 0x4000_0100, 0x8000_0000] {
        let error = Stored::read(&leaf(number, 0, 1), &[]).unwrap_err();
        let expected = BinaryError::Leaf { entry: 0, leaf: number, subleaf: 0, defect: EntryDefect::WrongForm };
        assert_eq!(error, expected);
    }
}

#[test]
fn leaves_beyond_the_model_are_refused_and_named() {
    for (number, subleaf) in [(0x8, NO_SUBLEAF), (0x4, 8), (0x7, 3), (0xb, 4), (0xd, 63), (0x8000_0028, NO_SUBLEAF)] {
        let error = Stored::read(&leaf(number, subleaf, 1), &[]).unwrap_err();
        let expected = BinaryError::Leaf { entry: 0, leaf: number, subleaf, defect: EntryDefect::OutsideModel };
        assert_eq!(error, expected);
    }
}

#[test]
fn msrs_beyond_the_model_and_flags_are_refused_and_named() {
    for (entry, index, defect) in
        [(msr(0xdead_c0de, 0, 1), 0xdead_c0de, EntryDefect::OutsideModel), (msr(0xce, 1, 1), 0xce, EntryDefect::Flags)]
    {
        let error = Stored::read(&[], &entry).unwrap_err();
        assert_eq!(error, BinaryError::Msr { entry: 0, msr: index, defect });
    }
}

#[test]
fn a_refused_second_entry_leaves_nothing_of_the_first() {
    let bytes = [leaf(0x1, NO_SUBLEAF, 1), leaf(0xe, NO_SUBLEAF, 1)].concat();
    let error = Stored::read(&bytes, &[]).unwrap_err();
    assert!(matches!(
        error,
        BinaryError::Leaf { entry: 1, defect: EntryDefect::WrongForm | EntryDefect::OutsideModel, .. }
    ));
}

#[test]
fn duplicate_and_unordered_leaves_are_refused() {
    for second in [leaf(0x6, NO_SUBLEAF, 2), leaf(0x1, NO_SUBLEAF, 2)] {
        let bytes = [leaf(0x6, NO_SUBLEAF, 1), second].concat();
        let error = Stored::read(&bytes, &[]).unwrap_err();
        assert!(matches!(error, BinaryError::Leaf { entry: 1, defect: EntryDefect::Unordered, .. }), "{error}");
    }
}

#[test]
fn what_lies_beyond_the_highest_leaf_is_not_the_cpus() {
    // Marker bits that every kind of guest is given: xsave behind a highest leaf of 0, AVX2, and so on.
    let cases = [(0, (0x1, 0)), (1, (0x7, 0)), (6, (0x7, 0)), (6, (0xd, 1)), (4, (0x6, 0))];
    for (max_leaf, (number, subleaf)) in cases {
        let mut raw = intel(max_leaf);
        raw.set(number, subleaf, Regs::new(u32::MAX, u32::MAX, u32::MAX, u32::MAX)).unwrap();
        let host = Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE);
        let made = Host::from_hardware(&intel(max_leaf), Kind::Kvm, &Trims::NONE);
        assert_eq!(host.default().features(), made.default().features(), "{number:#x} behind {max_leaf:#x}");
    }
    let mut raw = intel(1);
    raw.set(0x8000_0001, 0, Regs::new(0, 0, u32::MAX, u32::MAX)).unwrap();
    let host = Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE);
    assert!(!host.default().features().contains(place("lm")), "the highest extended leaf is 0");
    raw.set(0x8000_0000, 0, Regs::new(0x0001_0021, 0, 0, 0)).unwrap();
    let host = Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE);
    assert!(!host.default().features().contains(place("lm")), "a maximum without 0x8000 in front is none");
}

#[test]
fn stale_rows_in_a_hole_of_leaf_0xd_do_not_survive() {
    let mut raw = intel(0xd);
    raw.set(0x1, 0, Regs::new(0x50654, 0, 1 << 28 | 1 << 26, 1 << 26 | 1 << 25 | 1 << 24 | 1)).unwrap();
    raw.set(0xd, 0, Regs::new(0x207, 0x240, 0x340, 0)).unwrap();
    raw.set(0xd, 2, Regs::new(256, 576, 0, 0)).unwrap();
    raw.set(0xd, 5, Regs::new(64, 1088, 0, 0)).unwrap();
    let host = Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE);
    assert_eq!(host.default().leaves.get(0xd, 2).eax, 256);
    assert_eq!(host.default().leaves.get(0xd, 5), Regs::ZERO);
}

#[test]
fn a_guest_with_every_bit_is_refused_by_an_empty_host_with_every_reason() {
    let host = Host::from_hardware(&intel(0xd), Kind::Pv, &Trims::NONE);
    let mut guest = Policy::empty(Kind::Pv);
    guest.leaves.set(0, 0, Regs::new(0x7, 0x756e_6547, 0x6c65_746e, 0x4965_6e69)).unwrap();
    guest.leaves.set(1, 0, Regs::new(0, 0, u32::MAX, 0)).unwrap();
    guest.leaves.set(7, 0, Regs::new(0, u32::MAX, 0, 0)).unwrap();
    guest.leaves.set(0x8000_0008, 0, Regs::new(52, 0, 0, 0)).unwrap();
    guest.leaves.set_msr(0x10a, u64::MAX).unwrap();
    assert!(!Check::new(&guest, &host).is_accepted());
    let refusals = refusals(&guest, &host);
    for name in ["avx", "xsave", "avx512f", "rdctl-no", "maxphysaddr"] {
        assert!(refusals.iter().any(|(what, _)| what == name), "{name}: {refusals:?}");
    }
    assert!(refusals.len() > 90, "{}", refusals.len());
    assert!(!guest.verify(|_| {}), "and it is impossible in itself");
}

#[test]
fn faulting_is_refused_only_where_the_guest_has_it_and_the_host_not() {
    for (guest_has, host_has, is_accepted) in
        [(false, false, true), (false, true, true), (true, true, true), (true, false, false)]
    {
        let faulting = |has| if has { 1 << 31 } else { 0 };
        let mut raw = intel(1);
        raw.set_msr(0xce, faulting(host_has)).unwrap();
        let host = Host::from_hardware(&raw, Kind::Pv, &Trims::NONE);
        let mut guest = host.default().clone();
        guest.leaves.set_msr(0xce, faulting(guest_has)).unwrap();
        assert_eq!(Check::new(&guest, &host).is_accepted(), is_accepted, "guest {guest_has} host {host_has}");
    }
}

#[test]
fn vendors_must_agree_even_where_nobody_knows_them() {
    let unknown = |ebx| {
        let mut raw = Leaves::new();
        raw.set(0, 0, Regs::new(1, ebx, 0x444d_4163, 0x6974_6e65)).unwrap();
        assert_eq!(raw.vendor(), Vendor::Unknown);
        Host::from_hardware(&raw, Kind::Hvm, &Trims::NONE)
    };
    let (a, b) = (unknown(0x6874_7542), unknown(0x6874_7543));
    assert!(Check::new(a.default(), &a).is_accepted());
    assert_eq!(refusals(a.default(), &b), [("vendor".to_owned(), Rule::Equal)]);
}

#[test]
fn a_host_that_makes_more_of_itself_does_not_refuse_what_it_gave_before() {
    // Ice Lake has leaf 7 subleaf 2, Cascade Lake has not: a levelled guest shows neither (Xen a2330b51df).
    let icelake = {
        let mut raw = intel(0x7);
        raw.set(0x7, 0, Regs::new(2, 1 << 5, 0, 0)).unwrap();
        raw.set(0x7, 2, Regs::new(0, 0, 0, 1 << 5)).unwrap();
        Host::from_hardware(&raw, Kind::Hvm, &Trims::NONE)
    };
    let cascadelake = {
        let mut raw = intel(0x7);
        raw.set(0x7, 0, Regs::new(0, 1 << 5, 0, 0)).unwrap();
        Host::from_hardware(&raw, Kind::Hvm, &Trims::NONE)
    };
    let mut leveller = selfsame_cpuid::Leveller::new(Kind::Hvm);
    leveller.add("icelake", icelake.default());
    leveller.add("cascadelake", cascadelake.default());
    let level = leveller.finish().unwrap();
    assert_eq!(level.leaves.get(0x7, 0).eax, 0);
    assert!(Check::new(&level, &icelake).is_accepted() && Check::new(&level, &cascadelake).is_accepted());
}

#[test]
fn x2apic_comes_with_leaf_0xb() {
    let host = Host::from_hardware(&intel(1), Kind::Hvm, &Trims::NONE);
    assert!(host.default().features().contains(place("x2apic")));
    assert!(host.default().leaves.get(0, 0).eax >= 0xb, "Xen fa2d831803");
}

#[test]
fn the_microcode_size_of_amd_does_not_leak() {
    let mut raw = Leaves::new();
    raw.set(0, 0, Regs::new(1, 0x6874_7541, 0x444d_4163, 0x6974_6e65)).unwrap();
    raw.set(0x8000_0000, 0, Regs::new(0x8000_0021, 0, 0, 0)).unwrap();
    raw.set(0x8000_0021, 0, Regs::new(1 << 2, 0x0020_015c, 0, 0)).unwrap();
    for kind in Kind::ALL {
        let host = Host::from_hardware(&raw, kind, &Trims::NONE);
        assert_eq!(host.max().leaves.get(0x8000_0021, 0).ebx, 0, "Xen 10dc35c516, {kind}");
    }
}
