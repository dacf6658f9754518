//! What the grammar accepts, refuses and writes.

use super::*;
use std::string::String;
use std::vec::Vec;

fn sample() -> String {
    let mut writer = TextWriter::begin(String::new(), Document::Capture).unwrap();
    for statement in SAMPLE {
        writer.statement(&statement).unwrap();
    }
    writer.end().unwrap()
}

const SAMPLE: [Statement<'static>; 5] = [
    Statement::Name("a b"),
    Statement::Cpu("0-63"),
    Statement::Leaf(7, Some(0), Regs::new(2, 0xf1bf_07ab, 0, 1)),
    Statement::Msr(0x10a, Some(0x2de9_fdeb)),
    Statement::Msr(0x10b, None),
];

#[test]
fn statements_are_read_back_as_they_were_written() {
    let text = sample();
    let read: Vec<_> = Statements::new(text.as_bytes()).map(|s| s.unwrap().1).skip(1).collect();
    assert_eq!(read, SAMPLE);
}

#[test]
fn every_changed_byte_is_refused() {
    let text = sample();
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            assert!(Statements::new(&bytes).any(|s| s.is_err()), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let text = sample();
    for len in 0..text.len() {
        assert!(Statements::new(&text.as_bytes()[..len]).any(|s| s.is_err()), "{len}");
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    let text = sample() + "\n";
    assert_eq!(Statements::new(text.as_bytes()).last(), Some(Err(TextError::AfterEnd { line: 8 })));
}

/// What is refused in a file of one statement, whose check agrees.
fn refused(head: &str, line: &str) -> Option<TextError> {
    let mut crc = Crc::new();
    let above = std::format!("{head}\n{line}\n");
    crc.update(above.as_bytes());
    let text = std::format!("{above}end {:08x}\n", crc.value());
    Statements::new(text.as_bytes()).find_map(Result::err)
}

#[test]
fn a_statement_has_one_spelling() {
    let spelled = [
        "name a  b",
        "topology sockets=1 dies=10",
        "cpu 0-63",
        "leaf 00000007 00  00000002 f1bf07ab 00000000 00000001",
        "leaf 00000001 --  00000002 f1bf07ab 00000000 00000001 # why",
        "msr  0000010a  000000002de9fdeb",
        "msr  0000010a  fault  # why",
        "# leaf",
        "  # indented",
        "",
    ];
    for line in spelled {
        assert_eq!(refused("selfsame 1 capture", line), None, "{line}");
    }
    let misspelled = [
        "name a ",
        " name a",
        "name  a",
        "name\ta",
        "name a#b",
        "name a\t# b",
        "kind kvm\t",
        "context a=b  c=d",
        "topology sockets=01",
        "topology sockets=+1",
        "topology sockets=1  dies=1",
        "leaf 00000007 00 00000002 f1bf07ab 00000000 00000001",
        "leaf  00000007 00  00000002 f1bf07ab 00000000 00000001",
        "leaf 00000007 00  00000002 f1bf07ab 00000000  00000001",
        "leaf 00000007 00  00000002 F1bf07ab 00000000 00000001",
        "leaf 00000007 00  00000002\tf1bf07ab 00000000 00000001",
        "leaf 00000007 00  00000002 f1bf07ab 00000000 00000001 ",
        "leaf 00000007 00  00000002 f1bf07ab 00000000 00000001# why",
        "msr 0000010a  000000002de9fdeb",
        "msr  0000010a 000000002de9fdeb",
        "msr  0000010A  000000002de9fdeb",
        " ",
        "\t\t",
    ];
    for line in misspelled {
        let refusal = refused("selfsame 1 capture", line);
        let has_line = matches!(refusal, Some(TextError::Arguments { line: 2, .. } | TextError::Keyword { line: 2 }));
        assert!(has_line, "{line}: {refusal:?}");
    }
}

#[test]
fn the_end_has_one_spelling() {
    let text = sample();
    for (from, to) in [("\nend ", "\n end "), ("\nend ", "\nend  ")] {
        let refusal = Statements::new(text.replace(from, to).as_bytes()).find_map(Result::err);
        assert!(matches!(refusal, Some(TextError::Arguments { line: 7, .. })), "{refusal:?}");
    }
    for tail in [" \n", " # why\n"] {
        let refusal = Statements::new((String::from(text.trim_end()) + tail).as_bytes()).find_map(Result::err);
        assert!(matches!(refusal, Some(TextError::Arguments { line: 7, .. })), "{refusal:?}");
    }
}

#[test]
fn a_head_that_is_almost_right_is_called_damaged() {
    for head in
        ["elfsame 1 policy", "selfsame 1 polic", "Selfsame 1 capturf", "selfsame 01 policy", "selfsame 1 policy "]
    {
        assert_eq!(refused(head, ""), Some(TextError::DamagedHead), "{head}");
        assert!(looks_like(head.as_bytes()), "{head}");
    }
    assert_eq!(refused("selfsame 2 policy", ""), Some(TextError::Version { version: 2 }));
    for head in ["# why", "", "selfish 1", "processor : 0"] {
        assert_eq!(refused(head, "selfsame 1 policy"), Some(TextError::NoHead), "{head}");
    }
    assert_eq!(refused("selfsame 1 policy # why", ""), None);
    assert!(looks_like(sample().split_once('\n').unwrap().1.as_bytes()), "the head is lost");
    assert!(!looks_like(b"leaf 1\nend"));
}

#[test]
fn crlf_byte_order_marks_and_nul_bytes_are_named() {
    let refusal = |text: &str| Statements::new(text.as_bytes()).find_map(Result::err);
    let text = sample();
    assert_eq!(refusal(&text.replace('\n', "\r\n")), Some(TextError::Crlf { line: 1 }));
    assert_eq!(refusal(&text.replace("0-63\n", "0-63\r\n")), Some(TextError::Crlf { line: 3 }));
    assert_eq!(refusal(&(String::from("\u{feff}") + &text)), Some(TextError::ByteOrderMark));
    assert_eq!(refusal(&text.replace("0-63", "0\x0063")), Some(TextError::NotText { line: 3 }));
}
