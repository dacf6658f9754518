//! Captures: the canonical form, and what is refused.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

use proptest::prelude::*;
use selfsame_cpuid::Regs;
use selfsame_cpuid::text::{Document, Statement, TextError, TextWriter};
use selfsame_formats::{CpuDump, Dump, Format, ReadError, Source, XenGuests, read, write_capture};

fn intel(max: u32) -> Regs {
    Regs::new(max, 0x756e_6547, 0x6c65_746e, 0x4965_6e69)
}

fn machine(cpus: u32) -> Dump {
    let cpu = |number: u32| {
        let leaves = [
            ((0, 0), intel(0xb)),
            ((1, 0), Regs::new(0x806f8, number << 24, 0, 1)),
            ((0xb, 0), Regs::new(1, 2, 0x100, number)),
        ];
        CpuDump { leaves: leaves.into(), msrs: [(0x10a, Some(7)), (0x48b, None)].into(), ..CpuDump::new(number) }
    };
    let context = vec![("kernel".into(), "6.1.0".into()), ("build".into(), "a b".into())];
    Dump {
        name: "bnode3".into(),
        source: Source::Cpuid,
        context,
        cpus: (0..cpus).map(cpu).collect(),
        findings: Vec::new(),
    }
}

/// A file of these statements, with its check.
fn file(document: Document, statements: &[Statement<'_>]) -> String {
    let mut writer = TextWriter::begin(String::new(), document).unwrap();
    for statement in statements {
        writer.statement(statement).unwrap();
    }
    writer.end().unwrap()
}

fn refused(statements: &[Statement<'_>]) -> ReadError {
    read(file(Document::Capture, statements).as_bytes(), "host", None).unwrap_err()
}

const SOURCE: Statement<'static> = Statement::Source("cpuid");
const LEAF_0: Statement<'static> = Statement::Leaf(0, None, Regs::new(1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69));

#[test]
fn a_capture_has_one_form() {
    let mut dump = machine(2);
    dump.cpus[0].leaves.insert((4, 1), Regs::ZERO);
    dump.cpus[1].leaves.insert((8, 0), Regs::ZERO);
    let expected = "\
selfsame 1 capture
name bnode3
source cpuid
context kernel=6.1.0 build=a_b
cpu 0-1
leaf 00000000 --  0000000b 756e6547 6c65746e 49656e69
msr  0000010a  0000000000000007
msr  0000048b  fault
cpu 0
leaf 00000001 --  000806f8 00000000 00000000 00000001
leaf 0000000b 00  00000001 00000002 00000100 00000000
cpu 1
leaf 00000001 --  000806f8 01000000 00000000 00000001
leaf 0000000b 00  00000001 00000002 00000100 00000001
end ";
    let written = write_capture(&dump);
    assert_eq!(written.get(..expected.len()), Some(expected));
    let back = read(written.as_bytes(), "", None).unwrap();
    assert_eq!((back.name.as_str(), back.source, back.context.len()), ("bnode3", Source::Cpuid, 2));
    assert_eq!(back.findings, []);
}

#[test]
fn cpus_that_differ_in_their_ids_alone_share_the_rest() {
    let written = write_capture(&machine(128));
    assert_eq!(written.lines().filter(|line| line.starts_with("leaf 00000000")).count(), 1);
    assert_eq!(read(written.as_bytes(), "", None).unwrap().cpus, machine(128).cpus);
}

#[test]
fn a_cpu_without_rows_is_kept() {
    let mut dump = machine(2);
    dump.cpus[1].leaves.clear();
    dump.cpus[1].msrs.clear();
    let back = read(write_capture(&dump).as_bytes(), "", None).unwrap();
    assert_eq!(back.cpus, dump.cpus);
    assert_eq!(back.findings[0].what, "cpu 1");
}

#[test]
fn what_the_grammar_cannot_spell_is_replaced_or_left_out() {
    let mut dump = machine(1);
    dump.name = " a#b\nc ".into();
    dump.context = vec![("k=#".into(), "v w\u{7}".into()), (String::new(), String::new())];
    dump.cpus[0].leaves.insert((4, 0x100), Regs::new(1, 1, 1, 1));
    dump.cpus.push(dump.cpus[0].clone());
    dump.cpus.push(CpuDump { number: 65536, ..dump.cpus[0].clone() });
    let written = write_capture(&dump);
    let back = read(written.as_bytes(), "", None).unwrap();
    assert_eq!((back.name.as_str(), back.cpus.len()), ("a_b_c", 1));
    assert_eq!(back.context, [("k__".into(), "v_w_".into()), ("_".into(), String::new())]);
    assert_eq!(write_capture(&back), written);
}

#[test]
fn a_capture_without_a_name_takes_the_one_given() {
    let text = file(Document::Capture, &[SOURCE, Statement::Cpu("3"), LEAF_0]);
    assert_eq!(read(text.as_bytes(), "stem", Some(Format::Capture)).unwrap().name, "stem");
    assert_eq!(read(text.as_bytes(), "", None).unwrap().name, "unnamed");
}

#[test]
fn a_cpu_may_stand_in_many_sections() {
    let leaf_1 = Statement::Leaf(1, None, Regs::new(0x806f8, 0, 0, 1));
    let text = file(Document::Capture, &[SOURCE, Statement::Cpu("0-2,4"), LEAF_0, Statement::Cpu("1,4"), leaf_1]);
    let dump = read(text.as_bytes(), "", None).unwrap();
    let rows: Vec<_> = dump.cpus.iter().map(|cpu| (cpu.number, cpu.leaves.len())).collect();
    assert_eq!(rows, [(0, 1), (1, 2), (2, 1), (4, 2)]);
}

#[test]
fn a_row_given_twice_for_one_cpu_is_refused() {
    let refusal = refused(&[SOURCE, Statement::Cpu("0-2"), LEAF_0, Statement::Cpu("2-3"), LEAF_0]);
    assert!(matches!(refusal, ReadError::Line { line: 6, .. }), "{refusal}");
    let msr = Statement::Msr(0x10a, None);
    let refusal = refused(&[SOURCE, Statement::Cpu("0-2"), msr, Statement::Cpu("0"), msr]);
    assert!(matches!(refusal, ReadError::Line { line: 6, .. }), "{refusal}");
}

#[test]
fn rows_of_a_section_ascend_and_msrs_come_last() {
    let cpu = Statement::Cpu("0");
    let leaf = |leaf, subleaf| Statement::Leaf(leaf, Some(subleaf), Regs::ZERO);
    let unordered = ReadError::Text(TextError::Unordered { line: 5 });
    assert_eq!(refused(&[SOURCE, cpu, leaf(4, 1), leaf(4, 1)]), unordered);
    assert_eq!(refused(&[SOURCE, cpu, leaf(4, 1), leaf(4, 0)]), unordered);
    assert_eq!(refused(&[SOURCE, cpu, leaf(7, 0), leaf(4, 0)]), unordered);
    assert_eq!(refused(&[SOURCE, cpu, Statement::Msr(1, None), leaf(4, 0)]), unordered);
}

#[test]
fn statements_out_of_place_are_refused() {
    let cpu = Statement::Cpu("0");
    let misplaced = |line, keyword| ReadError::Text(TextError::Misplaced { line, keyword });
    assert_eq!(refused(&[SOURCE, Statement::Kind("kvm"), cpu]), misplaced(3, "kind"));
    assert_eq!(refused(&[SOURCE, Statement::Topology("cores=2"), cpu]), misplaced(3, "topology"));
    assert_eq!(refused(&[SOURCE, Statement::Name("a")]), misplaced(3, "name"));
    assert_eq!(refused(&[SOURCE, cpu, SOURCE]), misplaced(4, "source"));
    assert_eq!(refused(&[SOURCE, LEAF_0]), misplaced(3, "leaf"));
    assert_eq!(refused(&[SOURCE]), ReadError::NoCpu);
    assert!(matches!(refused(&[cpu]), ReadError::Line { line: 2, .. }));
    assert!(matches!(refused(&[Statement::Source("vmware")]), ReadError::Line { line: 2, .. }));
    assert!(matches!(
        refused(&[SOURCE, Statement::Context("kernel")]),
        ReadError::Text(TextError::Arguments { line: 3, .. })
    ));
}

#[test]
fn a_policy_is_refused_as_one() {
    let text = file(Document::Policy, &[Statement::Name("p"), Statement::Kind("kvm")]);
    assert_eq!(read(text.as_bytes(), "", None), Err(ReadError::Policy));
}

#[test]
fn a_small_file_that_asks_for_much_memory_is_refused() {
    let leaf = |leaf| Statement::Leaf(leaf, None, Regs::new(1, 0, 0, 0));
    let mut statements = vec![SOURCE, Statement::Cpu("0-65535")];
    statements.extend((0..100).map(leaf));
    assert!(matches!(refused(&statements), ReadError::Line { line: 67, .. }));
    let sections = vec![Statement::Cpu("0-65535"); 100];
    assert!(matches!(refused(&[vec![SOURCE], sections].concat()), ReadError::Line { .. }));
    assert!(matches!(refused(&[SOURCE, Statement::Cpu("0-65536")]), ReadError::Line { line: 3, .. }));
}

/// Rows in range; few values, so that CPUs share some.
fn leaves() -> impl Strategy<Value = Vec<((u32, u32), Regs)>> {
    let leaf = prop_oneof![2..0x20u32, 0x8000_0001..0x8000_0022u32];
    let regs = prop_oneof![Just(Regs::ZERO), Just(Regs::new(1, 2, 3, 4)), any::<[u32; 4]>().prop_map(Regs::from)];
    proptest::collection::vec(((leaf, 0..=0xffu32), regs), 0..12)
}

fn cpus() -> impl Strategy<Value = Vec<CpuDump>> {
    let msrs = proptest::collection::btree_map(0..0x500u32, proptest::option::of(0..3u64), 0..6);
    let numbers = proptest::collection::btree_set(prop_oneof![0..8u32, 0..65536u32], 1..6);
    (numbers, proptest::collection::vec((leaves(), msrs), 6)).prop_map(|(numbers, contents)| {
        let cpu = |(number, (leaves, msrs)): (u32, (Vec<_>, _))| {
            let mut cpu = CpuDump { leaves: leaves.into_iter().collect(), msrs, ..CpuDump::new(number) };
            cpu.leaves.insert((0, 0), intel(0x20));
            cpu.leaves.insert((0x8000_0000, 0), Regs::new(0x8000_0021, 0, 0, 0));
            cpu
        };
        numbers.into_iter().zip(contents).map(cpu).collect()
    })
}

#[test]
fn a_capture_of_cpus_of_two_machines_is_refused() {
    let mut dump = machine(2);
    dump.cpus[1].leaves.insert((1, 0), Regs::new(0x80_0f12, 0, 0, 1));
    let refusal = read(write_capture(&dump).as_bytes(), "", None).unwrap_err();
    assert_eq!(refusal.to_string(), "cpu 1 is of another family than cpu 0: are these two machines in one file?");
}

#[test]
fn damaged_captures_are_refused_as_captures_with_their_line() {
    let written = write_capture(&machine(1));
    let refused = |text: String| read(text.as_bytes(), "", None);
    let text = |error| Err(ReadError::Text(error));
    assert_eq!(refused(written.replacen('s', "", 1)), text(TextError::DamagedHead));
    assert_eq!(refused(written.replacen("selfsame 1 capture", "# lost", 1)), text(TextError::NoHead));
    assert_eq!(refused(written.replace("bnode3", "bno\0e3")), text(TextError::NotText { line: 2 }));
    assert_eq!(refused(written.replace('\n', "\r\n")), text(TextError::Crlf { line: 1 }));
    assert_eq!(refused(String::from("\u{feff}") + &written), text(TextError::ByteOrderMark));
}

proptest! {
    #[test]
    fn writing_reading_and_writing_give_the_same_bytes(
        name in any::<String>(),
        context in proptest::collection::vec(any::<(String, String)>(), 0..3),
        cpus in cpus(),
        guests in proptest::sample::select(vec![XenGuests::Hvm, XenGuests::Pv, XenGuests::Unsaid]),
    ) {
        let dump = Dump { name, source: Source::Xen(guests), context, cpus, findings: Vec::new() };
        let written = write_capture(&dump);
        let back = read(written.as_bytes(), "other", None).unwrap();
        prop_assert_eq!(write_capture(&back), written);
        prop_assert_eq!(back.source, dump.source);
        prop_assert_eq!(back.cpus.len(), dump.cpus.len());
        for (back, cpu) in back.cpus.iter().zip(&dump.cpus) {
            prop_assert_eq!(&back.msrs, &cpu.msrs);
            prop_assert!(back.leaves.iter().eq(cpu.leaves.iter().filter(|(_, regs)| !regs.is_zero())));
        }
    }

    #[test]
    fn the_order_of_cpus_and_findings_do_not_show_in_a_capture(cpus in cpus().prop_shuffle()) {
        let mut sorted = cpus.clone();
        sorted.sort_by_key(|cpu| cpu.number);
        let dump = |cpus| Dump { cpus, ..machine(0) };
        prop_assert_eq!(write_capture(&dump(cpus)), write_capture(&dump(sorted)));
    }
}
