//! Whatever the bytes are, reading them ends with a dump or a reason.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

use proptest::prelude::*;
use selfsame_formats::{Format, ReadError, read};

const INSTLATX64: &str = "\
------[ Versions ]------
Program Version : AIDA64 v1
------[ CPUID Registers / Logical CPU #0 ]------
CPUID 00000000: 0000000D-756E6547-6C65746E-49656E69 [GenuineIntel]
CPUID 00000001: 000106A5-00100800-80000000-00000003
CPUID 00000004: 1C004121-01C0003F-0000003F-00000000
CPUID 00000004: 1C004122-01C0003F-0000003F-00000000
CPUID 00000007: 00000002-00000001-00000000-20000000
CPUID 00000007: 00000010-00000000-00000000-00000000 [SL 02]
CPUID 0000000B: 00000001-00000002-00000100-00000000
CPUID 0000000B: 00000004-00000008-00000201-00000000
CPUID 0000000D: 000002E7-00000340-00000340-40000000
CPUID 0000000D: 0000000F-00000000-00000100-00000000
CPUID 0000000D: 00000100-00000240-00000000-00000000
CPUID 0000000D: 00000400-00000680-00000000-00000000
CPUID 00000010: 00000000-0000000A-00000000-00000000
CPUID 00000010: 00000059-00000000-00000004-00000007
CPUID 80000000: 80000008-00000000-00000000-00000000
CPU#001 AffMask: 0x2
CPUID 00000000: 0000000D-756E6547-6C65746E-49656E69
------[ MSR Registers / Logical CPU #1 ]------
MSR 0000010A: 0000-0000-2DA9-FDEB
MSR 0000010B: < FAILED >
------[ MSR Registers ]------
MSR 0000010A: 0000-0000-2DA9-FDEC
";

const CPUID_RAW: &str = "\
CPU 0:
   0x00000000 0x00: eax=0x0000000d ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69
   0x00000004: eax=0x1c004121 ebx=0x01c0003f ecx=0x0000003f edx=0x00000000
   0x00000004: eax=0x1c004122 ebx=0x01c0003f ecx=0x0000003f edx=0x00000000
CPU 1:
   0x00000000 0x00: eax=0x0000000d ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69
   0x20000000 0x00: eax=0x0000000d ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69
";

const CPUINFO: &str = "\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
flags\t\t: fpu sse avx xsave pku
address sizes\t: 46 bits physical, 48 bits virtual
";

const XEN_FEATURESETS: &str = "\
Raw      178bfbff:feda3223:2fd3fbff:75c237ff:0000000f:219c91a9:00400684
features_hvm ( MRO): 178bfbff-feda3223-2fd3fbff-75c237ff-0000000f-219c91a9-00400684
";

const XEN_POLICY: &str = "\
Raw policy: 2 leaves, 1 MSRs
 CPUID:
  00000000:ffffffff -> 00000001:756e6547:6c65746e:49656e69
  00000001:ffffffff -> 000506e3:00000000:00000000:00000001
 MSRs:
  000000ce -> 0000000080000000
";

const QMP: &str = r#"{"return": {"model": {"props": {"vendor": "GenuineIntel", "family": 6, "model": 85, "avx2": true, "vmx": true}}}}"#;

const KVM_JSON: &str = r#"{"entries": [{"function": 0, "index": 0, "flags": 0, "eax": 1, "ebx": "0x756e6547", "ecx": 5, "edx": 6},
{"function": 13, "index": 62, "flags": 1, "eax": 1, "ebx": 4294967295, "ecx": 5, "edx": 6}], "msrs": [{"index": 266, "data": 1}]}"#;

const QEMU_LINE: &str = "qemu-system-x86_64 -m 4G \\\n  -cpu \"Skylake-Server-v4,+vmx,-hle,pku=off,vendor=GenuineIntel,\
phys-bits=46,model=0x55,avx10-version=2,enforce\" \\\n  -smp 4\n";

fn samples() -> Vec<String> {
    let dump = read(INSTLATX64.as_bytes(), "host", None).unwrap();
    let texts = [INSTLATX64, CPUID_RAW, CPUINFO, XEN_FEATURESETS, XEN_POLICY, QMP, KVM_JSON, QEMU_LINE];
    texts.map(str::to_owned).into_iter().chain([selfsame_formats::write_capture(&dump)]).collect()
}

#[test]
fn every_sample_is_read_without_a_word_about_its_format() {
    for sample in samples() {
        assert!(read(sample.as_bytes(), "host", None).is_ok(), "{sample}");
    }
}

fn read_as_all(bytes: &[u8]) {
    let formats = Format::ALL.map(Some).into_iter().chain([None]);
    for result in formats.map(|format| read(bytes, "host", format)) {
        match result {
            Ok(dump) => assert!(!dump.cpus.is_empty() && !dump.name.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read_as_all(&bytes);
    }

    #[test]
    fn random_text_of_the_formats_never_panics(text in "(CPUID |MSR |CPU|0x|leaf |-----\\[ |[0-9a-f]{1,8}|[-: \\[\\]#\n]|SL ){0,200}") {
        read_as_all(text.as_bytes());
    }

    #[test]
    fn mutated_samples_never_panic(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        for sample in samples() {
            let mut bytes = sample.into_bytes();
            for (at, value) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            read_as_all(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            read_as_all(&bytes);
        }
    }

    #[test]
    fn lines_in_any_order_never_panic(order in Just((0..25usize).collect::<Vec<_>>()).prop_shuffle(), count in 0..25usize) {
        let lines: Vec<&str> = INSTLATX64.lines().collect();
        let text: Vec<&str> = order.iter().take(count).map(|&at| lines[at]).collect();
        read_as_all(text.join("\n").as_bytes());
    }
}

#[test]
fn files_that_are_no_dumps_are_refused_with_what_they_are() {
    assert_eq!(read(b"", "", None), Err(ReadError::Empty));
    assert_eq!(read(b"\xef\xbb\xbf \r\n", "", None), Err(ReadError::Empty));
    assert_eq!(read(b"C\0P\0U\0", "", None), Err(ReadError::Binary { offset: 1 }));
    assert_eq!(read(b"processor : 0\n", "", None), Err(ReadError::NoCpu));
    assert_eq!(read(b"once upon a time\n", "", None), Err(ReadError::UnknownFormat));
    assert_eq!(read(b"processor : 0\n", "", Some(Format::CpuidRaw)), Err(ReadError::NoCpu));
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert!(read(&[b"\xef\xbb\xbf", CPUID_RAW.as_bytes()].concat(), "", None).is_ok());
}

/// Megabytes of one thing over and over: what takes a square of its time would not end while anybody waits.
#[test]
fn repetitions_without_end_are_read_to_the_end() {
    let leaf_0 = "CPUID 00000000: 0000000D-756E6547-6C65746E-49656E69\n";
    let lines = [
        leaf_0.to_owned(),
        "CPUID 00000004: 1C004121-01C0003F-0000003F-00000000\n".to_owned(),
        "CPUID 00000004: 1C004121-01C0003F-0000003F-00000000 [SL 01]\nCPUID 00000004: 1C004121-01C0003F-0000003F-00000000\n".to_owned(),
        format!("CPU#000 AffMask: 0x1\n{leaf_0}CPUID 00000001: 000106A5-00100800-80000000-00000003\n"),
        "------[ Logical CPU #7 ]------\nCPUID 00000001: 000106A5-00100800-80000000-00000003\n".to_owned(),
        "MSR 0000010A: 0000-0000-2DA9-FDEB\nMSR 00000109: 0000-0000-2DA9-FDEB\n".to_owned(),
        "MSR 00000109: [\n".to_owned(),
    ];
    for line in lines {
        let text = format!("------[ Logical CPU #0 ]------\n{leaf_0}{}", line.repeat(3_000_000 / line.len()));
        let _ = read(text.as_bytes(), "", None);
        let _ = read(text.split_once('\n').unwrap().1.as_bytes(), "", None);
    }
}

/// For each name that nobody knows, one that is near is looked for.
#[test]
fn names_that_nobody_knows_are_read_to_the_end() {
    let many: String = (0..20_000).map(|number| format!(" avx{number}_x")).collect();
    let long = format!(" {}", "avx512".repeat(200_000));
    for names in [many, long] {
        let text = format!("processor : 0\nvendor_id : GenuineIntel\nflags : fpu{names}\n");
        assert_eq!(read(text.as_bytes(), "", None).unwrap().cpus.len(), 1);
        let line = format!("-cpu EPYC{}\n", names.replace(' ', ",+"));
        let _ = read(line.as_bytes(), "", None);
        let _ = read(format!("-cpu {}\n", names.trim()).as_bytes(), "", None);
    }
}
