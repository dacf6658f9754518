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
//! Hexadecimal digits are lower case, what is absent is zero. A statement is spelled as [`TextWriter`] spells it, so that
//! equal statements are equal bytes. Below the first line, a line may be empty or a comment, which `#` begins; a comment
//! may follow a statement after a space, except `end`. [`Statements`] reads, [`TextWriter`]
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
    #[error("line 1: expected `selfsame 1 capture` or `selfsame 1 policy` (comments may follow it, not precede it)")]
    NoHead,
    /// The first line is almost the head.
    #[error("line 1: this looks like a damaged selfsame file: expected `selfsame 1 capture` or `selfsame 1 policy`")]
    DamagedHead,
    /// The file begins with a byte order mark.
    #[error("line 1: the file begins with a byte order mark (BOM): save it without one")]
    ByteOrderMark,
    /// A line ends with CR LF.
    #[error("line {line}: CRLF line endings; convert them to LF")]
    Crlf {
        /// The line.
        line: usize,
    },
    /// The file is of another version of the grammar.
    #[error("line 1: this is version {version} of the format; only version 1 is known here")]
    Version {
        /// The version that the file claims.
        version: u32,
    },
    /// A line is not UTF-8 text, or has a control character.
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
            if line == 1 && raw.starts_with(BYTE_ORDER_MARK) {
                return Err(TextError::ByteOrderMark);
            }
            if raw.ends_with(b"\r\n") {
                return Err(TextError::Crlf { line });
            }
            let text = raw.get(..newline).unwrap_or_default();
            if text.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
                return Err(TextError::NotText { line });
            }
            let text = core::str::from_utf8(text).map_err(|_| TextError::NotText { line })?;
            let (text, is_spelled) = without_comment(text);
            let (keyword, arguments) = text.split_once(' ').unwrap_or((text, ""));
            if keyword == "end" {
                let arguments = if raw.get(..newline) == Some(text.as_bytes()) { arguments } else { "" };
                return self.end(arguments).map(|()| None);
            }
            self.crc.update(raw);
            if line == 1 {
                let text = if is_spelled { text } else { "" };
                return head(text, raw).map(|document| Some((line, Statement::Head(document))));
            }
            // A line of blanks is neither empty nor a comment.
            if !text.is_empty() || raw.iter().all(|b| b" \t\n".contains(b)) && raw != b"\n" {
                let arguments = if is_spelled { arguments } else { "" };
                return Ok(Some((line, statement(line, keyword, arguments)?)));
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

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line's statement, and whether nothing but ` # comment` stands around it.
fn without_comment(line: &str) -> (&str, bool) {
    let (before, has_comment) = line.split_once('#').map_or((line, false), |(before, _)| (before, true));
    let text = before.trim_ascii();
    let after = before.strip_prefix(text);
    (text, if has_comment { after.is_some_and(|after| after.starts_with(' ')) } else { after == Some("") })
}

/// Whether a file is one of the grammar, perhaps a damaged one: by its first line or by its last.
///
/// ```
/// use selfsame_cpuid::text::looks_like;
///
/// assert!(looks_like(b"elfsame 1 policy\nname a\n"));
/// assert!(!looks_like(b"CPUID 00000000: 00000001-756E6547-6C65746E-49656E69\n"));
/// ```
pub fn looks_like(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let first = bytes.split(|&b| b == b'\n').next().unwrap_or_default().trim_ascii();
    if first.starts_with(b"selfsame ") || is_almost_a_head(first) {
        return true;
    }
    let is_check = |last: &[u8]| {
        last.strip_prefix(b"end ").is_some_and(|check| check.len() == 8 && check.iter().all(u8::is_ascii_hexdigit))
    };
    let last = bytes.trim_ascii_end().rsplit(|&b| b == b'\n').next().unwrap_or_default();
    is_check(last) && bytes.split(|&b| b == b'\n').any(|line| line.starts_with(b"leaf "))
}

fn is_almost_a_head(line: &[u8]) -> bool {
    HEADS.iter().any(|(head, _)| is_within_two_edits(line, head.as_bytes()))
}

const HEADS: [(&str, Document); 2] =
    [("selfsame 1 capture", Document::Capture), ("selfsame 1 policy", Document::Policy)];

/// Whether at most two bytes inserted, deleted or replaced make one of the other.
fn is_within_two_edits(a: &[u8], b: &[u8]) -> bool {
    fn go(a: &[u8], b: &[u8], left: u32) -> bool {
        match (a, b) {
            ([x, a @ ..], [y, b @ ..]) if x == y => go(a, b, left),
            ([], []) => true,
            _ if left == 0 => false,
            ([], [_, rest @ ..]) | ([_, rest @ ..], []) => go(&[], rest, left - 1),
            ([_, a_rest @ ..], [_, b_rest @ ..]) => {
                go(a_rest, b_rest, left - 1) || go(a_rest, b, left - 1) || go(a, b_rest, left - 1)
            }
        }
    }
    a.len().abs_diff(b.len()) <= 2 && go(a, b, 2)
}

/// Reads the first line, whose bytes are `raw`.
fn head(text: &str, raw: &[u8]) -> Result<Document, TextError> {
    if let Some((_, document)) = HEADS.into_iter().find(|(head, _)| *head == text) {
        return Ok(document);
    }
    let version = text.strip_prefix("selfsame ").and_then(|rest| rest.split(' ').next());
    match version.and_then(|version| version.parse().ok()) {
        Some(version) if version != VERSION => Err(TextError::Version { version }),
        _ if is_almost_a_head(raw.trim_ascii()) => Err(TextError::DamagedHead),
        _ => Err(TextError::NoHead),
    }
}

fn statement<'a>(line: usize, keyword: &'a str, arguments: &'a str) -> Result<Statement<'a>, TextError> {
    let text = |expected, is_spelled: fn(&str) -> bool| {
        let is_text = !arguments.is_empty() && arguments.trim_ascii() == arguments;
        let is_text = is_text && !arguments.contains(char::is_control) && is_spelled(arguments);
        if is_text { Ok(arguments) } else { Err(TextError::Arguments { line, expected }) }
    };
    Ok(match keyword {
        "name" => Statement::Name(text("name TEXT", |_| true)?),
        "kind" => Statement::Kind(text("kind KIND", is_words)?),
        "source" => Statement::Source(text("source SOURCE", is_words)?),
        "context" => Statement::Context(text("context KEY=VALUE ...", is_words)?),
        "topology" => Statement::Topology(text("topology KEY=NUMBER ...", is_numbers)?),
        "cpu" => Statement::Cpu(text("cpu RANGES", is_words)?),
        "leaf" => leaf(arguments).ok_or(TextError::Arguments {
            line,
            expected: "leaf LEAF SUBLEAF  EAX EBX ECX EDX, lower-case hexadecimal",
        })?,
        "msr" => msr(arguments)
            .ok_or(TextError::Arguments { line, expected: "msr  INDEX  VALUE, lower-case hexadecimal, or `fault`" })?,
        _ => return Err(TextError::Keyword { line }),
    })
}

/// Whether one space stands between each two words.
fn is_words(text: &str) -> bool {
    !text.contains("  ")
}

/// Whether a text is `KEY=NUMBER ...`, each number without a sign or a zero before it.
fn is_numbers(text: &str) -> bool {
    let is_number = |number: &str| {
        number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() && (number == "0" || !number.starts_with('0'))
    };
    text.split(' ').all(|word| word.split_once('=').is_some_and(|(_, number)| is_number(number)))
}

/// Reads what follows `leaf `: `LEAF SUBLEAF  EAX EBX ECX EDX`.
fn leaf<'a>(arguments: &str) -> Option<Statement<'a>> {
    let mut words = arguments.split(' ');
    let leaf = low(hex(words.next()?, 8)?);
    let subleaf = match words.next()? {
        "--" => None,
        text => Some(low(hex(text, 2)?)),
    };
    words.next().filter(|gap| gap.is_empty())?;
    let mut registers = [0; 4];
    for register in &mut registers {
        *register = low(hex(words.next()?, 8)?);
    }
    words.next().is_none().then_some(Statement::Leaf(leaf, subleaf, registers.into()))
}

/// Reads what follows `msr `: ` INDEX  VALUE`.
fn msr<'a>(arguments: &str) -> Option<Statement<'a>> {
    let (index, value) = arguments.strip_prefix(' ')?.split_once("  ")?;
    let index = low(hex(index, 8)?);
    let value = if value == "fault" { None } else { Some(hex(value, 16)?) };
    Some(Statement::Msr(index, value))
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
mod tests;
