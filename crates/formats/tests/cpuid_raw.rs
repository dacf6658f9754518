//! The output of `cpuid -r`.

use selfsame_cpuid::Regs;
use selfsame_formats::{Format, ReadError, Source, detect, read};

const CPU: &str = "   0x00000000 0x00: eax=0x00000001 ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69
   0x00000001 0x00: eax=0x000106a5 ebx=0x00100800 ecx=0x00000000 edx=0x00000003
";

#[test]
fn cpus_have_the_numbers_of_their_headers() {
    let dump = read(format!("CPU 2:\n{CPU}CPU 7:\n{CPU}").as_bytes(), "host", None).unwrap();
    assert_eq!(dump.cpus.iter().map(|cpu| cpu.number).collect::<Vec<_>>(), [2, 7]);
    assert_eq!(dump.cpus[1].get(1, 0), Some(Regs::new(0x106a5, 0x0010_0800, 0, 3)));
    assert_eq!((dump.name.as_str(), dump.source), ("host", Source::Converted(Format::CpuidRaw)));
    assert_eq!(dump.findings, []);
}

#[test]
fn one_cpu_without_a_number_is_cpu_0() {
    let dump = read(format!("CPU:\r\n{CPU}").as_bytes(), "host", None).unwrap();
    assert_eq!((dump.cpus[0].number, dump.findings.len()), (0, 0));
}

#[test]
fn rows_before_any_header_and_other_text_are_named() {
    let dump = read(format!("$ cpuid -r\n{CPU}").as_bytes(), "host", None).unwrap();
    let named: Vec<_> = dump.findings.iter().map(|finding| (finding.what.as_str(), finding.line)).collect();
    assert_eq!(named, [("text", Some(1)), ("cpu 0", Some(2))]);
}

#[test]
fn rows_without_a_subleaf_get_theirs_inferred() {
    let text = format!("CPU:\n{CPU}").replace(" 0x00:", ":").replace("eax=0x00000001", "eax=0x00000004");
    let more = "   0x00000004: eax=0x04000121 ebx=0x0 ";
    assert!(read((text.clone() + more).as_bytes(), "", None).is_err());
    let row = |eax: u32| format!("   0x00000004: eax={eax:#010x} ebx=0x01c0003f ecx=0x0000003f edx=0x00000000\n");
    let dump = read((text + &row(0x0400_0121) + &row(0x0400_0122)).as_bytes(), "", None).unwrap();
    assert_eq!(dump.cpus[0].get(4, 1).unwrap().eax, 0x0400_0122);
}

#[test]
fn malformed_rows_are_refused_with_their_line() {
    let rows = [
        "   0x00000002 0x00: eax=0x00000000 ebx=0x00000000 ecx=0x00000000\n",
        "   0x00000002 0x100: eax=0x00000000 ebx=0x00000000 ecx=0x00000000 edx=0x00000000\n",
        "   0x00000002 0x00: eax=0x00000000 ebx=0x00000000 ecx=0x00000000 edx=0x000000000\n",
        "   0x0000002 0x00: eax=0x00000000 ebx=0x00000000 ecx=0x00000000 edx=0x00000000\n",
    ];
    for row in rows {
        let result = read(format!("CPU:\n{CPU}{row}CPU 1:\n{CPU}").as_bytes(), "", None);
        assert!(matches!(result, Err(ReadError::Line { line: 4, .. })), "{row}: {result:?}");
        let result = read(format!("CPU:\n{CPU}{}", row.trim_end()).as_bytes(), "", None);
        assert_eq!(result, Err(ReadError::CutOff { line: 4 }));
    }
    let result = read(format!("CPU 65536:\n{CPU}").as_bytes(), "", None);
    assert!(matches!(result, Err(ReadError::Line { line: 1, .. })));
}

#[test]
fn the_raw_rows_of_kcpuid_are_another_format() {
    assert_eq!(detect(b"0x00000000: EAX=0x0000000d, EBX=0x756e6547, ECX=0x6c65746e, EDX=0x49656e69\n"), None);
}

#[test]
fn two_machines_in_one_file_are_refused() {
    let other = CPU.replace("000106a5", "000206a7");
    let result = read(format!("CPU 0:\n{CPU}CPU 0:\n{other}").as_bytes(), "", None);
    assert_eq!(result, Err(ReadError::TwoCpus { line: 6, cpu: 0 }));
    let result = read(format!("{CPU}{other}").as_bytes(), "", None);
    assert_eq!(result, Err(ReadError::TwoCpus { line: 4, cpu: 0 }), "without any header");
}
