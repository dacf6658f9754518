//! The rows and sections of InstLatx64 dumps, in every variant that the corpus has.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

use selfsame_cpuid::Regs;
use selfsame_formats::{Dump, Finding, Format, ReadError, Source, read};

fn parse(text: impl AsRef<[u8]>) -> Dump {
    read(text.as_ref(), "host", Some(Format::InstLatX64)).unwrap()
}

fn found<'a>(dump: &'a Dump, what: &str) -> Vec<&'a Finding> {
    dump.findings.iter().filter(|finding| finding.what == what).collect()
}

fn numbers(dump: &Dump) -> Vec<u32> {
    dump.cpus.iter().map(|cpu| cpu.number).collect()
}

const LEAF_0: &str = "CPUID 00000000: 00000001-756E6547-6C65746E-49656E69 [GenuineIntel]\n";

/// One CPU with leaves 0 and 1; `id` tells it from others.
fn cpu(id: u32) -> String {
    format!("{LEAF_0}CPUID 00000001: 000106A5-{id:02X}100800-00000000-00000003\n")
}

/// The same with leaves up to D, and with what no CPU of that kind lacks.
fn modern_cpu(id: u32) -> String {
    cpu(id).replace("00000000: 00000001-", "00000000: 0000000D-")
        + "CPUID 00000007: 00000000-00000001-00000000-00000000\nCPUID 80000000: 80000000-00000000-00000000-00000000\n"
}

#[test]
fn every_form_of_a_row_reads_alike() {
    let rows = [
        "CPUID 00000005: 00000040-0000aB40-00000003-00001120",
        "CPUID 00000005:\t00000040-0000AB40-00000003-00001120",
        "CPUID 00000005  \t00000040-0000AB40-00000003-00001120",
        "CPUID 00000005 00000040-0000AB40-00000003-00001120",
        "CPUID 00000005 :00000040-0000AB40-00000003-00001120",
        "CPUID 00000005: 00000040 0000AB40 00000003 00001120",
        "  CPUID 00000005: 00000040-0000ab40-00000003-00001120   [C-states]  \r",
        "CPUID 00000005: 00000040-0000AB40-00000003-00001120 [SL 00] [caf\u{e9}]",
    ];
    for row in rows {
        let dump = parse(modern_cpu(0) + row + "\n");
        assert_eq!(dump.cpus[0].get(5, 0), Some(Regs::new(0x40, 0xab40, 3, 0x1120)), "{row}");
        assert_eq!(dump.source, Source::Converted(Format::InstLatX64));
    }
}

#[test]
fn a_tag_gives_the_subleaf_in_hexadecimal() {
    let dump = parse(modern_cpu(0) + "CPUID 0000000D: 00000080-00000340-00000000-00000000 [SL 3E] [LWP]\n");
    assert_eq!(dump.cpus[0].get(0xd, 0x3e), Some(Regs::new(0x80, 0x340, 0, 0)));
}

#[test]
fn headers_of_all_kinds_open_cpus_by_their_number() {
    let headers: [fn(u32) -> String; 4] = [
        |n| format!("------[ CPUID Registers / Logical CPU #{n} ]------\n\n"),
        |n| format!("------[ Logical CPU #{n} ]------\n\nallcpu: Package 0 / Core 0 / Thread 0: Valid\n"),
        |n| format!("CPUID Registers (CPU #{n}{}):\n", if n % 2 == 1 { " Virtual" } else { "" }),
        |n| format!("CPU#{n:03} AffMask: 0x{:016X}\n", 1 << n),
    ];
    for header in headers {
        let dump = parse(header(4) + &cpu(4) + &header(5) + &cpu(5));
        assert_eq!(numbers(&dump), [4, 5]);
        assert_eq!(dump.cpus[1].get(1, 0).unwrap().ebx >> 24, 5);
        assert_eq!(dump.findings, []);
    }
}

#[test]
fn without_headers_a_new_leaf_0_opens_the_next_cpu() {
    let dump = parse(cpu(0) + &cpu(1) + "\n" + &cpu(2));
    assert_eq!(numbers(&dump), [0, 1, 2]);
}

#[test]
fn a_leaf_0_printed_twice_in_a_row_opens_no_cpu() {
    let dump = parse(format!("{LEAF_0}{}", cpu(0)));
    assert_eq!(numbers(&dump), [0]);
    assert_eq!(dump.findings, []);
}

#[test]
fn a_second_pass_under_one_header_is_not_another_cpu() {
    let header = "------[ Logical CPU #3 ]------\n";
    let dump = parse(header.to_owned() + &cpu(0) + &cpu(0));
    assert_eq!(numbers(&dump), [3]);
    assert!(found(&dump, "cpu 3")[0].reason.contains("further section"));
}

#[test]
fn text_blocks_are_passed_over_and_the_tool_is_kept() {
    let head = "------[ Versions ]------\n\nProgram Version : AIDA64 Extreme v1.2\nCPUID Revision : 000106A5h\n\n\
                ------[ CPU Info ]------\nCPUID Manufacturer: GenuineIntel\nCPUID CPU Name : Some CPU\n\
                CPU Type : 8 x 3 GHz\n  00  FF FF FF\n";
    let tail = "------[ All CPUs ]------\nCPU 0: APICID 0 / Package 0\nL1 Data Cache: 32 KB\n";
    let text = head.to_owned() + "------[ Logical CPU #0 ]------\n" + &cpu(0) + tail;
    let dump = parse(text);
    assert_eq!(dump.context, [("tool".to_owned(), "AIDA64_Extreme_v1.2".to_owned())]);
    assert_eq!((numbers(&dump), dump.findings), (vec![0], vec![]));
}

#[test]
fn rows_under_no_cpu_are_left_out_and_named() {
    let dump = parse(cpu(0) + "------[ All CPUs ]------\nCPUID 00000005: 00000001-00000000-00000000-00000000\n");
    assert_eq!(dump.cpus[0].get(5, 0), None);
    assert_eq!(found(&dump, "rows")[0].line, Some(4));
}

#[test]
fn msrs_belong_to_the_cpu_that_their_section_names() {
    let msrs =
        |n, value| format!("------[ MSR Registers / Logical CPU #{n} ]------\nMSR 0000010A: 0000-0001-2DA9-{value}\n");
    let dump = parse(cpu(0) + &cpu(1) + &msrs(1, "FDEB") + &msrs(0, "fde0"));
    assert_eq!(dump.cpus[0].msr(0x10a), Some(0x1_2da9_fde0));
    assert_eq!(dump.cpus[1].msr(0x10a), Some(0x1_2da9_fdeb));
    assert_eq!(dump.findings, []);
}

#[test]
fn msrs_without_a_cpu_are_taken_as_those_of_the_first_and_named() {
    let text = cpu(0) + &cpu(1) + "------[ MSR Registers ]------\nMSR 00000017: 0000-0000-0000-0007 [PlatID = 1]\n";
    let dump = parse(&text);
    assert_eq!((dump.cpus[0].msr(0x17), dump.cpus[1].msrs.len()), (Some(7), 0));
    assert_eq!(found(&dump, "msrs")[0].line, Some(6));
}

#[test]
fn an_msr_that_failed_on_many_cpus_is_named_once() {
    let text = cpu(0) + "MSR 00000480: < FAILED >\n" + &cpu(1) + "MSR 00000480: < FAILED >\nMSR 00000481: what?\n";
    let dump = parse(&text);
    assert_eq!(dump.cpus[1].msrs.get(&0x480), Some(&None));
    assert_eq!(found(&dump, "msr:00000480")[0].reason, "reading it failed on 2 of 2 cpus");
    assert_eq!(found(&dump, "msr:00000481")[0].reason, "not a value: left out");
    assert_eq!(dump.findings.len(), 2);
}

#[test]
fn an_msr_read_again_keeps_its_first_value() {
    let text =
        cpu(0) + "MSR 000000E7: 0000-0000-0000-0001\nMSR 000000E7: 0000-0000-0000-0002\nMSR 000000E7: < FAILED >\n";
    let dump = parse(&text);
    assert_eq!(dump.cpus[0].msr(0xe7), Some(1));
    assert_eq!(found(&dump, "msrs")[0].line, Some(4));
}

#[test]
fn untagged_rows_get_the_subleaves_that_they_can_only_have() {
    let rows = "CPUID 00000004: 1C004121-01C0003F-0000003F-00000000\n\
                CPUID 00000004: 1C004122-01C0003F-0000003F-00000000\n\
                CPUID 0000000B: 00000001-00000002-00000100-00000000\n\
                CPUID 0000000B: 00000004-00000008-00000201-00000000\n\
                CPUID 0000000D: 00000007-00000340-00000340-00000000\n\
                CPUID 0000000D: 00000100-00000240-00000000-00000000\n";
    let dump = parse(modern_cpu(0) + rows);
    let keys: Vec<_> = dump.cpus[0].leaves.keys().copied().filter(|(leaf, _)| [4, 0xb, 0xd].contains(leaf)).collect();
    assert_eq!(keys, [(4, 0), (4, 1), (0xb, 0), (0xb, 1), (0xd, 0), (0xd, 2)]);
    assert_eq!(dump.findings, []);
}

#[test]
fn a_doubtful_subleaf_is_named_once_for_all_cpus() {
    let rows =
        "CPUID 00000007: 00000002-00000001-00000000-00000000\nCPUID 00000007: 00000010-00000000-00000000-00000000\n";
    let dump = parse((cpu(0) + rows + &cpu(1) + rows).replace("00000000: 00000001-", "00000000: 0000000D-"));
    let findings = found(&dump, "00000007");
    assert_eq!((findings.len(), findings[0].line), (1, Some(3)));
    assert!(findings[0].reason.ends_with("taken as 0, 1"), "{}", findings[0].reason);
}

#[test]
fn a_row_given_twice_with_other_values_keeps_the_first_and_is_named() {
    let rows =
        "CPUID 00000005: 00000001-00000000-00000000-00000000\nCPUID 00000005: 00000002-00000000-00000000-00000000\n";
    let dump = parse(modern_cpu(0) + rows);
    assert_eq!(dump.cpus[0].get(5, 0).unwrap().eax, 1);
    assert_eq!(found(&dump, "00000005")[0].line, Some(6));
}

#[test]
fn a_section_without_leaf_0_is_left_out_and_named() {
    let header = |n| format!("------[ Logical CPU #{n} ]------\n");
    let text = header(0) + &cpu(0) + &header(1) + "CPUID 00000001: 000106A5-01100800-00000000-00000003\n";
    let dump = parse(&text);
    assert_eq!(numbers(&dump), [0]);
    assert!(found(&dump, "cpu 1")[0].reason.contains("left out"));
    assert_eq!(read(header(1).as_bytes(), "", Some(Format::InstLatX64)), Err(ReadError::NoCpu));
}

#[test]
fn a_last_cpu_that_ends_early_is_named() {
    let more = "CPUID 80000000: 80000000-00000000-00000000-00000000\n";
    let dump = parse(cpu(0) + more + &cpu(1));
    assert!(found(&dump, "cpu 1")[0].reason.contains("may be cut off"));
    assert!(found(&parse(cpu(0) + more), "cpu 0").is_empty());
    let claim = |max: &str| cpu(0).replace("00000000: 00000001-", &format!("00000000: {max}-"));
    assert!(!found(&parse(claim("00000005")), "cpu 0").is_empty(), "leaf 0 goes on to leaf 5");
    assert!(!found(&parse(claim("00000005") + &claim("00000005")), "cpu 1").is_empty(), "all cpus end early");
    let more = "CPUID 80000000: 80000008-00000000-00000000-00000000\n";
    assert!(!found(&parse(cpu(0) + more), "cpu 0").is_empty(), "leaf 80000000 goes on to leaf 80000008");
}

#[test]
fn a_malformed_row_is_refused_with_its_line() {
    let rows = [
        "CPUID 00000005: 00000040-0000AB40-00000003\n",
        "CPUID 00000005: 00000040-0000AB40-00000003-0000112G\n",
        "CPUID 00000005: 00000040-0000AB40-00000003-000011200\n",
        "CPUID 00000005: 00000040-0000AB40-00000003-00001120 [SL 0]\n",
        "CPUID 0000005: 00000040-0000AB40-00000003-00001120\n",
        "CPUID 00000005: 0000004000-00AB40-00000003-00001120\n",
    ];
    for row in rows {
        let result = read((cpu(0) + row + &cpu(1)).as_bytes(), "", None);
        assert!(matches!(result, Err(ReadError::Line { line: 3, .. })), "{row}: {result:?}");
    }
    let result = read(b"------[ Logical CPU #99999 ]------\n", "", Some(Format::InstLatX64));
    assert!(matches!(result, Err(ReadError::Line { line: 1, .. })));
}

#[test]
fn a_file_cut_within_a_row_is_refused() {
    let row = "CPUID 0000000D: 00000100-00000240-00000000-00000000 [SL 02]";
    for len in "CPUID 0".len()..row.len() {
        let is_whole_without_tag = ["00000000", "00000000 "].iter().any(|end| row[..len].ends_with(end)) && len >= 51;
        let result = read((cpu(0) + &row[..len]).as_bytes(), "", None);
        assert_eq!(result == Err(ReadError::CutOff { line: 3 }), !is_whole_without_tag, "{}", &row[..len]);
    }
    let msr = cpu(0) + "MSR 0000010A: 0000-0000-2DA9-F";
    assert_eq!(read(msr.as_bytes(), "", None), Err(ReadError::CutOff { line: 3 }));
}

#[test]
fn a_lone_cpu_without_leaf_7_or_extended_leaves_that_it_must_have_is_cut_off() {
    let whole = cpu(0).replace("00000000: 00000001-", "00000000: 00000007-");
    let leaf_7 = "CPUID 00000007: 00000000-00000001-00000000-00000000\n";
    let extended = "CPUID 80000000: 80000000-00000000-00000000-00000000\n";
    assert_eq!(read(whole.as_bytes(), "", None), Err(ReadError::CutOff { line: 2 }));
    assert_eq!(read((whole.clone() + leaf_7).as_bytes(), "", None), Err(ReadError::CutOff { line: 3 }));
    assert_eq!(read((whole.clone() + extended).as_bytes(), "", None), Err(ReadError::CutOff { line: 3 }));
    assert_eq!(parse(whole + leaf_7 + extended).findings, []);
    assert_eq!(numbers(&parse(cpu(0))), [0], "old CPUs have neither");
}

#[test]
fn a_cpu_that_is_described_twice_as_different_cpus_is_refused() {
    let header = "------[ Logical CPU #0 ]------\n";
    let file = |second: String| header.to_owned() + &cpu(0) + header + &second;
    assert_eq!(numbers(&parse(file(cpu(0)))), [0]);
    let refused = |second: String| read(file(second).as_bytes(), "", None);
    assert_eq!(refused(cpu(0).replace("000106A5", "000106A4")), Err(ReadError::TwoCpus { line: 6, cpu: 0 }));
    assert_eq!(refused(cpu(0).replace("756E6547", "68747541")), Err(ReadError::TwoCpus { line: 5, cpu: 0 }));
    let reason = refused(cpu(0).replace("000106A5", "000106A4")).unwrap_err().to_string();
    assert!(reason.starts_with("line 6: cpu 0 is described twice, as different CPUs"), "{reason}");
}

#[test]
fn cpus_of_two_vendors_or_families_are_no_machine_and_of_two_steppings_are_named() {
    let refused = |second: String| read((cpu(0) + &second).as_bytes(), "", None).unwrap_err();
    let two = |line, what| ReadError::TwoMachines { line: Some(line), cpu: 1, first: 0, what };
    assert_eq!(refused(cpu(1).replace("756E6547", "68747541")), two(3, "vendor"));
    assert_eq!(refused(cpu(1).replace("000106A5", "00800F12")), two(4, "family"));
    for mixed in ["000106A4", "000106E5"] {
        let dump = parse(cpu(0) + &cpu(1).replace("000106A5", mixed));
        assert_eq!(found(&dump, "signature")[0].line, Some(4));
    }
}
