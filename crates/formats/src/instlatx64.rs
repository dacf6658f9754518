//! The text that AIDA64 and EVEREST write, as collected by InstLatx64.
//!
//! A CPU is opened by one of three headers, or by a row of leaf 0 where there are none:
//!
//! ```text
//! ------[ CPUID Registers / Logical CPU #0 ]------
//! ------[ Logical CPU #0 ]------
//! CPUID Registers (CPU #1 Virtual):
//! CPUID 0000000D: 00000007-00000340-00000340-00000000 [SL 00] [x87]
//! MSR 0000010A: 0000-0000-2DA9-FDEB
//! ```
//!
//! Between the leaf and its registers stand a colon, a tab or spaces in any mixture; other headers open text.

use std::collections::BTreeSet;

use selfsame_cpuid::Regs;

use crate::collect::{self, MsrRow, Row, Section};
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::{Findings, msr_place};
use crate::ranges::CPU_LIMIT;
use crate::scan::{self, Line, after, begins_with_digit, skip, take_hex};

/// Whether a line is the beginning of a CPUID row.
pub(crate) fn is_row(text: &[u8]) -> bool {
    let leaf = text.strip_prefix(b"CPUID ").and_then(take_hex::<8>);
    leaf.is_some_and(|(_, rest)| !begins_with_digit(rest))
}

/// Reads a file of the format.
pub(crate) fn read(bytes: &[u8]) -> Result<Dump, ReadError> {
    let mut reader = Reader::default();
    for line in scan::lines(bytes) {
        reader.take(line)?;
    }
    let Reader { sections, mut findings, context, .. } = reader;
    let cpus = collect::collect(sections, &mut findings)?;
    let source = Source::Converted(Format::InstLatX64);
    Ok(Dump { name: String::new(), source, context, cpus, findings: findings.into_vec() })
}

/// What the lines at hand belong to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Within {
    /// Text, or the beginning of the file.
    #[default]
    Text,
    /// A CPU that a header opened: the last section.
    Header,
    /// A CPU that a row of leaf 0 opened: the last section.
    Leaf0,
    /// Nothing but MSRs: the last section.
    Msrs,
}

#[derive(Debug, Default)]
struct Reader {
    within: Within,
    sections: Vec<Section>,
    /// The number that the next CPU without a header has.
    announced: Option<u32>,
    next: u32,
    /// The numbers of the CPUs that a row of leaf 0 opened.
    opened: BTreeSet<u32>,
    context: Vec<(String, String)>,
    findings: Findings,
}

impl Reader {
    fn take(&mut self, line: Line<'_>) -> Result<(), ReadError> {
        let text = line.text;
        match text.first() {
            Some(b'C') => self.take_cpu_line(line),
            Some(b'M') => text.strip_prefix(b"MSR ").map_or(Ok(()), |rest| self.take_msr(rest, line)),
            Some(b'-') => self.take_header(line),
            Some(b'P') => {
                self.take_tool(text);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_cpu_line(&mut self, line: Line<'_>) -> Result<(), ReadError> {
        if let Some(rest) = line.text.strip_prefix(b"CPUID ") {
            let is_row = matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
            if is_row || (line.is_open && begins_with_digit(rest)) {
                let row = row(rest, line).ok_or_else(|| malformed(line, ROW))?;
                self.add(row)?;
            } else if let Some(rest) = rest.strip_prefix(b"Registers (CPU #") {
                self.open(Within::Header, Some(cpu_number(rest, line)?), line.number);
            }
        } else if let Some(rest) = line.text.strip_prefix(b"CPU#")
            && after(rest, b"AffMask").is_some()
        {
            self.within = Within::Text;
            self.announced = Some(cpu_number(rest, line)?);
        }
        Ok(())
    }

    fn take_header(&mut self, line: Line<'_>) -> Result<(), ReadError> {
        let Some(title) = after(line.text, b"[ ") else { return Ok(()) };
        let number = || after(title, b"CPU #").map(|rest| cpu_number(rest, line)).transpose();
        if title.starts_with(b"MSR Registers") {
            self.open(Within::Msrs, number()?, line.number);
        } else if (title.starts_with(b"CPUID Registers") || title.starts_with(b"Logical CPU"))
            && let Some(number) = number()?
        {
            self.open(Within::Header, Some(number), line.number);
        } else {
            self.within = Within::Text;
        }
        Ok(())
    }

    fn open(&mut self, within: Within, cpu: Option<u32>, line: usize) {
        self.within = within;
        self.sections.push(Section::new(cpu, line));
        self.next = self.next.max(cpu.map_or(0, |cpu| cpu + 1));
    }

    /// Opens a CPU that has no header, with the number that was announced or the next one.
    fn open_at_leaf_0(&mut self, line: usize) -> Result<(), ReadError> {
        let mut cpu = self.next;
        match self.announced.take() {
            Some(announced) if self.opened.contains(&announced) => {
                let reason = format!("is announced twice: the second one is taken as cpu {cpu}");
                self.findings.note(format!("cpu {announced}"), Some(line), reason);
            }
            Some(announced) => cpu = announced,
            None => {}
        }
        if cpu >= CPU_LIMIT {
            return Err(ReadError::Line { line, reason: "more cpus than any machine has: at most 65536" });
        }
        self.opened.insert(cpu);
        self.open(Within::Leaf0, Some(cpu), line);
        Ok(())
    }

    fn add(&mut self, row: Row) -> Result<(), ReadError> {
        let previous = self.sections.last().and_then(|section| section.rows.last());
        let begins_anew = row.leaf == 0 && previous.is_some_and(|previous| previous.leaf != 0);
        match self.within {
            Within::Text | Within::Msrs if row.leaf != 0 => {
                self.findings.note("rows", Some(row.line), "cpuid rows outside of a cpu's section are left out");
                return Ok(());
            }
            Within::Text | Within::Msrs => self.open_at_leaf_0(row.line)?,
            Within::Leaf0 if begins_anew => self.open_at_leaf_0(row.line)?,
            // One header, one CPU: a second pass over its leaves is a section of its own.
            Within::Header if begins_anew => {
                let cpu = self.sections.last().and_then(|section| section.cpu);
                self.open(Within::Header, cpu, row.line);
            }
            Within::Leaf0 | Within::Header => {}
        }
        if let Some(section) = self.sections.last_mut() {
            section.rows.push(row);
        }
        Ok(())
    }

    fn take_msr(&mut self, text: &[u8], line: Line<'_>) -> Result<(), ReadError> {
        let Some((index, rest)) = take_hex::<8>(text) else {
            let is_cut = line.is_open && begins_with_digit(text);
            return if is_cut { Err(ReadError::CutOff { line: line.number }) } else { Ok(()) };
        };
        let rest = skip(rest, b" \t:");
        let value = match msr_value(rest) {
            Some(value) => Some(value),
            None if after(rest, b"FAILED").is_some() => None,
            None if line.is_open => return Err(ReadError::CutOff { line: line.number }),
            None => {
                self.findings.note(msr_place(index), Some(line.number), "not a value: left out");
                return Ok(());
            }
        };
        if self.within == Within::Text {
            self.open(Within::Msrs, None, line.number);
        }
        if let Some(section) = self.sections.last_mut() {
            section.msrs.push(MsrRow { index, value, line: line.number });
        }
        Ok(())
    }

    fn take_tool(&mut self, text: &[u8]) {
        let Some(rest) = text.strip_prefix(b"Program Version") else { return };
        let version = String::from_utf8_lossy(skip(rest, b" \t:"));
        let words: Vec<&str> = version.split_whitespace().collect();
        if !words.is_empty() && self.context.is_empty() {
            self.context.push(("tool".into(), words.join("_")));
        }
    }
}

const ROW: &str = "expected `CPUID LEAF: EAX-EBX-ECX-EDX`, eight hexadecimal digits each, perhaps `[SL nn]`";

const fn malformed(line: Line<'_>, reason: &'static str) -> ReadError {
    if line.is_open { ReadError::CutOff { line: line.number } } else { ReadError::Line { line: line.number, reason } }
}

fn cpu_number(text: &[u8], line: Line<'_>) -> Result<u32, ReadError> {
    scan::take_cpu_number(text)
        .map(|(number, _)| number)
        .ok_or_else(|| malformed(line, "expected the number of a cpu, below 65536"))
}

/// Reads a row after the word `CPUID`.
fn row(text: &[u8], line: Line<'_>) -> Option<Row> {
    let (leaf, rest) = take_hex::<8>(text)?;
    let (eax, rest) = separated(rest, b" \t:")?;
    let (ebx, rest) = separated(rest, b"- \t")?;
    let (ecx, rest) = separated(rest, b"- \t")?;
    let (edx, rest) = separated(rest, b"- \t")?;
    if begins_with_digit(rest) {
        return None;
    }
    let is_cut = line.is_open && rest.iter().rev().find(|b| matches!(b, b'[' | b']')) == Some(&b'[');
    if is_cut {
        return None;
    }
    let subleaf = match after(rest, b"[SL ") {
        Some(tag) => Some(take_hex::<2>(tag).filter(|(_, rest)| rest.starts_with(b"]"))?.0),
        None => None,
    };
    Some(Row { leaf, subleaf, regs: Regs { eax, ebx, ecx, edx }, line: line.number })
}

/// Takes a register after at least one separator.
fn separated<'a>(text: &'a [u8], separators: &[u8]) -> Option<(u32, &'a [u8])> {
    let rest = skip(text, separators);
    if rest.len() < text.len() { take_hex::<8>(rest) } else { None }
}

/// Reads the four groups of an MSR's value.
fn msr_value(text: &[u8]) -> Option<u64> {
    let (mut value, mut rest) = (0, text);
    for _ in 0..4 {
        let (group, after) = take_hex::<4>(skip(rest, b"- "))?;
        value = value << 16 | u64::from(group);
        rest = after;
    }
    (!begins_with_digit(rest)).then_some(value)
}
