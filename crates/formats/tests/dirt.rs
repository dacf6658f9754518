//! Answers that no CPU of the kind gives are named, and taken out where they are out of range.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

use selfsame_cpuid::Regs;
use selfsame_formats::{CpuDump, Dump, Finding, Source, examine};

fn leaf_0(max: u32, vendor: &[u8; 12]) -> Regs {
    let word = |at: usize| u32::from_le_bytes(vendor[at..at + 4].try_into().unwrap());
    Regs::new(max, word(0), word(8), word(4))
}

fn dump(source: Source, rows: &[((u32, u32), Regs)]) -> Dump {
    let cpu = CpuDump { leaves: rows.iter().copied().collect(), ..CpuDump::new(0) };
    Dump { name: "host".into(), source, context: Vec::new(), cpus: vec![cpu], findings: Vec::new() }
}

const SOME: Regs = Regs::new(1, 2, 3, 4);

/// Findings and the leaves that are left, for a CPU of `vendor` with `rows` besides leaf 0.
fn examined(vendor: &[u8; 12], rows: &[((u32, u32), Regs)]) -> (Vec<Finding>, Vec<u32>) {
    let mut dump = dump(Source::Cpuid, rows);
    dump.cpus[0].leaves.insert((0, 0), leaf_0(0xd, vendor));
    let findings = examine(&mut dump);
    (findings, dump.cpus[0].leaves.keys().map(|(leaf, _)| *leaf).skip(1).collect())
}

fn named(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.what.as_str()).collect()
}

#[test]
fn leaves_beyond_the_highest_of_their_kind_are_named_and_taken_out() {
    let extended = ((0x8000_0000, 0), Regs::new(0x8000_0008, 0, 0, 0));
    let rows = [
        ((0xb, 0), SOME),
        ((0x14, 0), SOME),
        ((0x14, 1), SOME),
        extended,
        ((0x8000_0008, 0), SOME),
        ((0x8000_0009, 0), SOME),
    ];
    let (findings, leaves) = examined(b"GenuineIntel", &rows);
    assert_eq!(leaves, [0xb, 0x8000_0000, 0x8000_0008]);
    assert_eq!(named(&findings), ["00000014", "80000009"]);
    assert!(findings[1].reason.contains("80000008"));
}

#[test]
fn an_answer_that_repeats_the_highest_basic_leaf_is_recognised() {
    let rows = [
        ((0xd, 0), SOME),
        ((0x2000_0000, 0), SOME),
        ((0x8086_0000, 0), SOME),
        ((0xc000_0000, 0), Regs::new(9, 0, 0, 0)),
    ];
    let (findings, leaves) = examined(b"GenuineIntel", &rows);
    assert_eq!(leaves, [0xd]);
    assert!(findings[..2].iter().all(|finding| finding.reason.contains("repeats the highest basic leaf, 0000000d")));
    assert!(findings[2].reason.contains("no leaves of its kind"));
}

#[test]
fn leaves_out_of_range_that_are_zero_go_without_a_word() {
    let (findings, leaves) =
        examined(b"AuthenticAMD", &[((0x2000_0000, 0), Regs::ZERO), ((0x8086_0000, 0), Regs::ZERO)]);
    assert_eq!((findings, leaves), (vec![], vec![]));
}

#[test]
fn leaves_of_a_vendor_are_that_vendors_alone() {
    let rows =
        [((0x8086_0000, 0), Regs::new(0x8086_0003, 0, 0, 0)), ((0xc000_0000, 0), Regs::new(0xc000_0004, 0, 0, 0))];
    assert_eq!(examined(b"GenuineTMx86", &rows).1, [0x8086_0000]);
    assert_eq!(examined(b"CentaurHauls", &rows).1, [0xc000_0000]);
    assert_eq!(examined(b"  Shanghai  ", &rows).1, [0xc000_0000]);
    assert_eq!(examined(b"GenuineIntel", &rows).1, [0_u32; 0]);
}

#[test]
fn hypervisor_leaves_need_the_hypervisor_bit_or_a_hypervisor_as_source() {
    let leaves =
        [((0x4000_0000, 0), Regs::new(0x4000_0001, 1, 2, 3)), ((0x4000_0001, 0), SOME), ((0x4000_0005, 0), SOME)];
    assert_eq!(examined(b"GenuineIntel", &leaves).1, [0_u32; 0]);
    let mut rows = vec![((1, 0), Regs::new(0, 0, 1 << 31, 0))];
    rows.extend(leaves);
    let (findings, left) = examined(b"GenuineIntel", &rows);
    assert_eq!(left, [1, 0x4000_0000, 0x4000_0001]);
    assert_eq!(named(&findings), ["00000001.ecx[31]", "40000005"]);
    assert!(findings[0].reason.contains("a guest's view, not the hardware's"));
    let mut offered = dump(Source::Kvm, &leaves);
    offered.cpus[0].leaves.insert((0, 0), leaf_0(0xd, b"GenuineIntel"));
    assert_eq!(named(&examine(&mut offered)), ["40000005"]);
}

#[test]
fn leaf_1_out_of_range_says_nothing_about_a_hypervisor() {
    let mut guest = dump(Source::Cpuid, &[((0, 0), leaf_0(0, b"AuthenticAMD")), ((1, 0), Regs::new(0, 0, 1 << 31, 0))]);
    guest.cpus[0].leaves.insert((0x4000_0000, 0), Regs::new(0x4000_0001, 1, 2, 3));
    assert_eq!(named(&examine(&mut guest)), ["00000001", "40000000"]);
    assert_eq!(examine(&mut guest), []);
}

#[test]
fn extended_leaves_stay_where_their_highest_is_unknown() {
    assert_eq!(examined(b"GenuineIntel", &[((0x8000_0001, 0), SOME)]), (vec![], vec![0x8000_0001]));
}

#[test]
fn a_vendor_near_a_known_one_is_named_and_kept() {
    let reason = |vendor| examined(vendor, &[]).0.first().map(|finding| finding.reason.clone());
    assert_eq!(reason(b"GenuineIotel").unwrap(), "`GenuineIotel` is one letter off `GenuineIntel`; kept as it is");
    assert_eq!(reason(b"AuthentikAMd").unwrap(), "`AuthentikAMd` is two letters off `AuthenticAMD`; kept as it is");
    assert_eq!(reason(b"\0enuinXXntel").unwrap(), "`\\x00enuinXXntel` is not known; kept as it is");
    assert!(reason(b"Virtual CPU ").unwrap().contains("emulator"));
    for vendor in [b"GenuineIntel", b"AuthenticAMD", b"CentaurHauls", b"  Shanghai  ", b"HygonGenuine", b"GenuineTMx86"]
    {
        assert_eq!(reason(vendor), None);
    }
}

#[test]
fn components_of_xcr0_without_a_row_are_named_and_not_invented() {
    let rows = [
        ((0xd, 0), Regs::new(0x207, 0, 0, 1 << 30)),
        ((0xd, 2), Regs::new(0x100, 0x240, 0, 0)),
        ((0xd, 9), Regs::ZERO),
    ];
    let (findings, leaves) = examined(b"AuthenticAMD", &rows);
    assert_eq!(named(&findings), ["0000000d.9", "0000000d.3e"]);
    assert!(findings[0].reason.contains("all zero") && findings[1].reason.contains("missing"));
    assert_eq!(leaves, [0xd, 0xd, 0xd]);
}

#[test]
fn arch_capabilities_are_missed_only_where_no_cpu_has_them() {
    let mut dump =
        dump(Source::Cpuid, &[((0, 0), leaf_0(0xd, b"GenuineIntel")), ((7, 0), Regs::new(0, 0, 0, 1 << 29))]);
    dump.cpus.push(CpuDump { number: 1, ..dump.cpus[0].clone() });
    dump.cpus[0].msrs.insert(0x10a, None);
    assert_eq!(named(&examine(&mut dump)), ["msr:0000010a"]);
    dump.cpus[1].msrs.insert(0x10a, Some(0));
    assert_eq!(examine(&mut dump), []);
}

#[test]
fn what_all_cpus_share_is_named_once() {
    let mut dump = dump(Source::Cpuid, &[((0, 0), leaf_0(1, b"GenuineIotel")), ((2, 0), SOME)]);
    dump.cpus = (0..64).map(|number| CpuDump { number, ..dump.cpus[0].clone() }).collect();
    assert_eq!(named(&examine(&mut dump)), ["vendor", "00000002"]);
    assert!(dump.cpus.iter().all(|cpu| cpu.leaves.len() == 1));
}
