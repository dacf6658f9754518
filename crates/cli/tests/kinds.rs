//! What is said of one kind of guest is not taken for another.

mod command;

use command::{Ended, names, run_with};
use selfsame_cpuid::Regs;
use selfsame_formats::{CpuDump, Dump, Source, XenGuests, write_capture};

/// Features that are in sets of Xen's here by words 1d 1c e1d e1c Da1 7b0, as `xen-cpuid` prints them.
const COMMON: u32 = 0x0781_0051;
const VMX: u32 = 1 << 5;
const SMEP: u32 = 1 << 7;

/// A featureset behind its label.
fn words(label: &str, is_all: bool) -> String {
    let (ecx, ebx) = if is_all { (VMX | 1, SMEP | 1) } else { (1, 1) };
    format!("{label:<11} {COMMON:08x}:{ecx:08x}:20100800:00000001:00000000:{ebx:08x}\n")
}

/// A policy, leaf by leaf.
fn policy(label: &str, is_all: bool) -> String {
    let (ecx, ebx) = if is_all { (VMX | 1, SMEP | 1) } else { (1, 1) };
    let leaves = [
        "00000000:ffffffff -> 00000007:756e6547:6c65746e:49656e69".to_owned(),
        format!("00000001:ffffffff -> 000506e3:00000000:{ecx:08x}:{COMMON:08x}"),
        format!("00000007:00000000 -> 00000000:{ebx:08x}:00000000:00000000"),
        "80000000:ffffffff -> 80000001:00000000:00000000:00000000".to_owned(),
        "80000001:ffffffff -> 00000000:00000000:00000001:20100800".to_owned(),
    ];
    let rows: String = leaves.iter().map(|row| format!("  {row}\n")).collect();
    format!("{label} policy: {} leaves, 0 MSRs\n CPUID:\n{rows} MSRs:\n", leaves.len())
}

fn level(kind: &str, file: &str) -> Ended {
    run_with(&["level", "--json", "--kind", kind, "-"], file.as_bytes())
}

fn has(ended: &Ended, name: &str) -> bool {
    names(&ended.json()["features"], "").contains(&name)
}

#[test]
fn an_hvm_offer_is_no_pv_offer() {
    for file in [words("HVM Max", true), policy("HVM Max", true)] {
        let refused = level("pv", &file);
        assert_eq!((refused.status, &*refused.stdout), (2, ""), "{refused:?}");
        assert!(refused.stderr.contains("this is what Xen offers to hvm guests; it says nothing about pv guests"));
        assert!(has(&level("hvm", &file), "smep"));
    }
}

#[test]
fn the_pv_set_is_taken_for_pv() {
    for set in [words, policy] {
        let file = set("PV Max", false) + &set("HVM Max", true);
        assert!(has(&level("hvm", &file), "smep"));
        let pv = level("pv", &file);
        assert_eq!(pv.status, 0, "{}", pv.stderr);
        assert!(has(&pv, "pni") && !has(&pv, "vmx") && !has(&pv, "smep"), "{}", pv.stdout);
    }
    // A guest's policy says its kind.
    let file = words("PV Max", false) + &words("HVM Max", true);
    let guest = run_with(&["policy", "--kind", "pv", "--from", "-"], file.as_bytes());
    let path = command::scratch("pv-guest").join("pv.policy");
    std::fs::write(&path, guest.stdout).unwrap_or_else(|error| panic!("{error}"));
    let check = run_with(&["check", "--guest", &path.to_string_lossy(), "--host", "-"], file.as_bytes());
    assert_eq!(check.status, 0, "{check:?}");
}

#[test]
fn each_source_serves_the_kinds_that_it_tells_of() {
    const KINDS: [&str; 4] = ["kvm", "hvm", "hvm-shadow", "pv"];
    let capture = |source| {
        let mut cpu = CpuDump::new(0);
        cpu.leaves.insert((0, 0), Regs::new(1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69));
        cpu.leaves.insert((1, 0), Regs::new(0x506e3, 0, 1, COMMON));
        let name = "host".to_owned();
        write_capture(&Dump { name, source, context: Vec::new(), cpus: vec![cpu], findings: Vec::new() })
    };
    let kvm_json = "[{\"function\": 0, \"eax\": 1, \"ebx\": 1970169159, \"ecx\": 1818588270, \"edx\": 1231384169}]";
    let libvirt = "<cpu><arch>x86_64</arch><model>Nehalem</model><vendor>Intel</vendor></cpu>";
    for (file, served) in [
        (words("Raw", true), &KINDS[..]),
        (words("Host", true), &KINDS),
        (words("HVM Max", true), &["hvm"]),
        (words("HVM Default", true), &["hvm"]),
        (words("features_hvm ( MRO):", true), &["hvm"]),
        (words("PV Max", false), &["pv"]),
        (words("features_pv_host ( MRO):", false), &["pv"]),
        (words("", true), &KINDS[1..]),
        (words("Raw", true) + &words("HVM Max", true), &KINDS),
        (policy("Raw", true), &KINDS),
        (policy("Host", true), &KINDS),
        (policy("HVM Max", true), &["hvm"]),
        (policy("PV Default", false), &["pv"]),
        (policy("Domain 7", true), &KINDS[1..]),
        (capture(Source::Cpuid), &KINDS),
        (capture(Source::Kvm), &KINDS[..1]),
        (capture(Source::Xen(XenGuests::Hvm)), &["hvm"]),
        (capture(Source::Xen(XenGuests::Pv)), &["pv"]),
        (capture(Source::Xen(XenGuests::Unsaid)), &KINDS[1..]),
        (kvm_json.to_owned(), &KINDS[..1]),
        ("-cpu Nehalem-v1\n".to_owned(), &KINDS[..1]),
        (libvirt.to_owned(), &KINDS),
    ] {
        for kind in KINDS {
            let ended = level(kind, &file);
            let expected = if served.contains(&kind) { 0 } else { 2 };
            assert_eq!(ended.status, expected, "{kind}: {}\n{file}", ended.stderr);
            let told = format!("it says nothing about {kind} guests");
            assert!(expected == 0 || ended.stderr.contains(&told), "{}\n{file}", ended.stderr);
        }
    }
}
