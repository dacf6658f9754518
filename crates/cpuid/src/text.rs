//! The text grammar that captures and policies share: one statement a line, checked by the last line.
//!
//! ```text
//! selfsame 1 policy
//! name bnode3
//! kind kvm
//! leaf 00000007 00  00000002 f1bf07ab 00415f4e bc814410
//! msr  0000010a  000000002de9fdeb
//! end 1a2b3c4d
//! ```
//!
//! Hexadecimal digits are lower case, `#` begins a comment, what is absent is zero. [`Statements`] reads, [`TextWriter`]
//! writes; what a file may contain and in which order is the reader's of that file.

use core::fmt::{self, Write};

use crate::crc::Crc;
use crate::regs::Regs;

/// The version of the grammar that this crate writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// What a file of the grammar holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Document {
    /// What the CPUs of one machine answered.
    Capture,
    /// What one guest sees.
    Policy,
}

impl Document {
    /// The word in the first line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Policy => "policy",
        }
    }
}

/// One line's statement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Statement<'a> {
    /// `selfsame 1 capture`: always the first.
    Head(Document),
    /// `name TEXT`.
    Name(&'a str),
    /// `kind KIND`.
    Kind(&'a str),
    /// `source SOURCE`.
    Source(&'a str),
    /// `context KEY=VALUE ...`.
    Context(&'a str),
    /// `topology KEY=NUMBER ...`.
    Topology(&'a str),
    /// `cpu 0-63,128`: the CPUs that the following rows are of.
    Cpu(&'a str),
    /// `leaf LEAF SUBLEAF  EAX EBX ECX EDX`; the subleaf is `None` where it is written `--`.
    Leaf(u32, Option<u32>, Regs),
    /// `msr  INDEX  VALUE`; `None` where reading it faulted.
    Msr(u32, Option<u64>),
}

/// Why a text is not of the grammar. Lines count from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The first line is not `selfsame 1 capture` or `selfsame 1 policy`.
    #[error("line 1: expected `selfsame 1 capture` or `selfsame 1 policy`")]
    NoHead,
    /// The file is of another version of the grammar.
    #[error("line 1: this is version {version} of the format; only version 1 is known here")]
    Version {
        /// The version that the file claims.
        version: u32,
    },
    /// A line is not UTF-8 text.
    #[error("line {line}: not text")]
    NotText {
        /// The line.
        line: usize,
    },
    /// A line begins with no keyword of the grammar.
    #[error("line {line}: unknown keyword")]
    Keyword {
        /// The line.
        line: usize,
    },
    /// A keyword's arguments are malformed.
    #[error("line {line}: expected `{expected}`")]
    Arguments {
        /// The line.
        line: usize,
        /// The shape of the statement.
        expected: &'static str,
    },
    /// A statement is not allowed here, or stands a second time.
    #[error("line {line}: `{keyword}` is not allowed here")]
    Misplaced {
        /// The line.
        line: usize,
        /// Its keyword.
        keyword: &'static str,
    },
    /// A row does not follow the one before it.
    #[error("line {line}: rows must ascend, each once")]
    Unordered {
        /// The line.
        line: usize,
    },
    /// The model has no such leaf, subleaf or MSR.
    #[error("line {line}: no policy holds this leaf, subleaf or msr")]
    OutsideModel {
        /// The line.
        line: usize,
    },
    /// The check of the last line does not agree with the lines above it.
    #[error("line {line}: the lines above were changed: their check is {computed:08x}, written is {written:08x}")]
    Check {
        /// The line.
        line: usize,
        /// What the lines give.
        computed: u32,
        /// What the file says.
        written: u32,
    },
    /// There is no `end`: the file was cut off.
    #[error("line {line}: the file is cut off: no `end` line")]
    NoEnd {
        /// The last line there is.
        line: usize,
    },
    /// Something follows `end`.
    #[error("line {line}: nothing may follow `end`")]
    AfterEnd {
        /// The line.
        line: usize,
    },
}

/// Reads the statements of a file, one by one; yields each with its line.
///
/// After the last statement it yields `None` only if the `end` line was there and agreed.
///
/// ```
/// use selfsame_cpuid::text::{Document, Statement, Statements};
///
/// let text = b"selfsame 1 policy\nname a\nend 00000000\n";
/// let mut statements = Statements::new(text);
/// assert_eq!(statements.next(), Some(Ok((1, Statement::Head(Document::Policy)))));
/// assert_eq!(statements.next(), Some(Ok((2, Statement::Name("a")))));
/// assert!(statements.next().unwrap().is_err(), "the check does not agree");
/// ```
#[derive(Clone, Debug)]
pub struct Statements<'a> {
    rest: &'a [u8],
    line: usize,
    crc: Crc,
    is_done: bool,
}

impl<'a> Statements<'a> {
    /// Reads from the beginning of a file.
    pub const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, line: 0, crc: Crc::new(), is_done: false }
    }

    fn read(&mut self) -> Result<Option<(usize, Statement<'a>)>, TextError> {
        loop {
            let Some(newline) = self.rest.iter().position(|&b| b == b'\n') else {
                return Err(if self.line == 0 { TextError::NoHead } else { TextError::NoEnd { line: self.line } });
            };
            let (raw, rest) = self.rest.split_at(newline + 1);
            self.rest = rest;
            self.line += 1;
            let line = self.line;
            let text = core::str::from_utf8(raw).map_err(|_| TextError::NotText { line })?;
            let text = text.split('#').next().unwrap_or_default().trim_ascii();
            let (keyword, arguments) = text.split_once(' ').unwrap_or((text, ""));
            if keyword == "end" {
                return self.end(arguments).map(|()| None);
            }
            self.crc.update(raw);
            if line == 1 {
                return head(text).map(|document| Some((line, Statement::Head(document))));
            }
            if !text.is_empty() {
                return Ok(Some((line, statement(line, keyword, arguments.trim_ascii_start())?)));
            }
        }
    }

    fn end(&self, arguments: &str) -> Result<(), TextError> {
        let line = self.line;
        if line == 1 {
            return Err(TextError::NoHead);
        }
        let written = hex(arguments, 8).ok_or(TextError::Arguments { line, expected: "end CHECK" })?;
        let computed = self.crc.value();
        if u64::from(computed) != written {
            return Err(TextError::Check { line, computed, written: low(written) });
        }
        if self.rest.is_empty() { Ok(()) } else { Err(TextError::AfterEnd { line: line + 1 }) }
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = Result<(usize, Statement<'a>), TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let item = self.read().transpose();
        self.is_done = !matches!(item, Some(Ok(_)));
        item
    }
}

fn head(text: &str) -> Result<Document, TextError> {
    let mut words = text.split(' ');
    if words.next() != Some("selfsame") {
        return Err(TextError::NoHead);
    }
    let version: u32 = words.next().and_then(|v| v.parse().ok()).ok_or(TextError::NoHead)?;
    if version != VERSION {
        return Err(TextError::Version { version });
    }
    match (words.next(), words.next()) {
        (Some("capture"), None) => Ok(Document::Capture),
        (Some("policy"), None) => Ok(Document::Policy),
        _ => Err(TextError::NoHead),
    }
}

fn statement<'a>(line: usize, keyword: &'a str, arguments: &'a str) -> Result<Statement<'a>, TextError> {
    let some =
        |expected| if arguments.is_empty() { Err(TextError::Arguments { line, expected }) } else { Ok(arguments) };
    Ok(match keyword {
        "name" => Statement::Name(some("name TEXT")?),
        "kind" => Statement::Kind(some("kind KIND")?),
        "source" => Statement::Source(some("source SOURCE")?),
        "context" => Statement::Context(some("context KEY=VALUE ...")?),
        "topology" => Statement::Topology(some("topology KEY=NUMBER ...")?),
        "cpu" => Statement::Cpu(some("cpu RANGES")?),
        "leaf" => leaf(arguments).ok_or(TextError::Arguments {
            line,
            expected: "leaf LEAF SUBLEAF  EAX EBX ECX EDX, lower-case hexadecimal",
        })?,
        "msr" => msr(arguments)
            .ok_or(TextError::Arguments { line, expected: "msr  INDEX  VALUE, lower-case hexadecimal, or `fault`" })?,
        _ => return Err(TextError::Keyword { line }),
    })
}

fn leaf<'a>(arguments: &str) -> Option<Statement<'a>> {
    let mut words = arguments.split_ascii_whitespace();
    let leaf = low(hex(words.next()?, 8)?);
    let subleaf = match words.next()? {
        "--" => None,
        text => Some(low(hex(text, 2)?)),
    };
    let mut registers = [0; 4];
    for register in &mut registers {
        *register = low(hex(words.next()?, 8)?);
    }
    words.next().is_none().then_some(Statement::Leaf(leaf, subleaf, registers.into()))
}

fn msr<'a>(arguments: &str) -> Option<Statement<'a>> {
    let mut words = arguments.split_ascii_whitespace();
    let index = low(hex(words.next()?, 8)?);
    let value = match words.next()? {
        "fault" => None,
        text => Some(hex(text, 16)?),
    };
    words.next().is_none().then_some(Statement::Msr(index, value))
}

/// Reads exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u64> {
    let is_hex = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u64::from_str_radix(text, 16).ok() } else { None }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn low(value: u64) -> u32 {
    value as u32
}

/// Writes a file of the grammar line by line and keeps its check.
#[derive(Debug)]
pub struct TextWriter<W> {
    sink: W,
    crc: Crc,
}

impl<W: Write> TextWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// Those of `sink`, here and in the other methods.
    pub fn begin(sink: W, document: Document) -> Result<Self, fmt::Error> {
        let mut writer = Self { sink, crc: Crc::new() };
        writeln!(writer, "selfsame {VERSION} {}", document.name())?;
        Ok(writer)
    }

    /// Writes one statement.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn statement(&mut self, statement: &Statement<'_>) -> fmt::Result {
        match *statement {
            Statement::Head(document) => writeln!(self, "selfsame {VERSION} {}", document.name()),
            Statement::Name(text) => writeln!(self, "name {text}"),
            Statement::Kind(text) => writeln!(self, "kind {text}"),
            Statement::Source(text) => writeln!(self, "source {text}"),
            Statement::Context(text) => writeln!(self, "context {text}"),
            Statement::Topology(text) => writeln!(self, "topology {text}"),
            Statement::Cpu(text) => writeln!(self, "cpu {text}"),
            Statement::Leaf(leaf, subleaf, Regs { eax, ebx, ecx, edx }) => match subleaf {
                Some(subleaf) => {
                    writeln!(self, "leaf {leaf:08x} {subleaf:02x}  {eax:08x} {ebx:08x} {ecx:08x} {edx:08x}")
                }
                None => writeln!(self, "leaf {leaf:08x} --  {eax:08x} {ebx:08x} {ecx:08x} {edx:08x}"),
            },
            Statement::Msr(index, Some(value)) => writeln!(self, "msr  {index:08x}  {value:016x}"),
            Statement::Msr(index, None) => writeln!(self, "msr  {index:08x}  fault"),
        }
    }

    /// Ends the file with its check and returns the sink.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn end(mut self) -> Result<W, fmt::Error> {
        let check = self.crc.value();
        writeln!(self.sink, "end {check:08x}")?;
        Ok(self.sink)
    }
}

impl<W: Write> Write for TextWriter<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.crc.update(text.as_bytes());
        self.sink.write_str(text)
    }
}

#[cfg(test)]
mod tests {
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
}
