//! What Todd Allen's `cpuid -r` writes.
//!
//! ```text
//! CPU 0:
//!    0x00000000 0x00: eax=0x0000001c ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65
//! ```
//!
//! `cpuid -1r` writes one CPU under `CPU:`.

use selfsame_cpuid::Regs;

use crate::collect::{self, Row, Section};
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::scan::{self, Line, begins_with_digit, skip, take_hex};

/// Whether a line is the beginning of a row.
pub(crate) fn is_row(text: &[u8]) -> bool {
    row_place(text).is_some_and(|(_, _, rest)| skip(rest, b" \t").starts_with(b"eax="))
}

/// Reads a file of the format.
pub(crate) fn read(bytes: &[u8]) -> Result<Dump, ReadError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut findings = Findings::default();
    for line in scan::lines(bytes) {
        let Line { number, text, .. } = line;
        if let Some(cpu) = header(text) {
            let cpu = cpu.ok_or_else(|| malformed(line, "expected `CPU:` or `CPU N:`, the number below 65536"))?;
            sections.push(Section::new(Some(cpu), number));
        } else if text.starts_with(b"0x") {
            let row = row(text, number).ok_or_else(|| malformed(line, ROW))?;
            if sections.is_empty() {
                findings.note(
                    "cpu 0",
                    Some(number),
                    "the file has rows before any `CPU` line: taken as those of cpu 0",
                );
                sections.push(Section::new(Some(0), number));
            }
            if let Some(section) = sections.last_mut() {
                section.rows.push(row);
            }
        } else if !text.is_empty() {
            findings.note("text", Some(number), "lines that are neither rows nor `CPU` lines are left out");
        }
    }
    let cpus = collect::collect(sections, &mut findings)?;
    let source = Source::Converted(Format::CpuidRaw);
    Ok(Dump { name: String::new(), source, context: Vec::new(), cpus, findings: findings.into_vec() })
}

const ROW: &str = "expected `0xLEAF 0xSUBLEAF: eax=0x... ebx=0x... ecx=0x... edx=0x...`, the subleaf of two digits";

const fn malformed(line: Line<'_>, reason: &'static str) -> ReadError {
    if line.is_open { ReadError::CutOff { line: line.number } } else { ReadError::Line { line: line.number, reason } }
}

/// Reads `CPU:` or `CPU N:`; the inner `None` is a number that no CPU has.
fn header(text: &[u8]) -> Option<Option<u32>> {
    let inner = text.strip_prefix(b"CPU")?.strip_suffix(b":")?.trim_ascii();
    if inner.is_empty() {
        return Some(Some(0));
    }
    inner.iter().all(u8::is_ascii_digit).then(|| scan::take_cpu_number(inner).map(|(number, _)| number))
}

/// Reads `0xLEAF 0xSUBLEAF:`; tools of old left the subleaf out.
fn row_place(text: &[u8]) -> Option<(u32, Option<u32>, &[u8])> {
    let (leaf, rest) = take_hex::<8>(text.strip_prefix(b"0x")?)?;
    let rest = skip(rest, b" \t");
    if let Some(rest) = rest.strip_prefix(b":") {
        return Some((leaf, None, rest));
    }
    let (subleaf, rest) = take_hex::<2>(rest.strip_prefix(b"0x")?)?;
    Some((leaf, Some(subleaf), rest.strip_prefix(b":")?))
}

fn row(text: &[u8], line: usize) -> Option<Row> {
    let (leaf, subleaf, mut rest) = row_place(text)?;
    let mut registers = [0; 4];
    for (register, name) in registers.iter_mut().zip([b"eax=0x", b"ebx=0x", b"ecx=0x", b"edx=0x"]) {
        let (value, after) = take_hex::<8>(skip(rest, b" \t").strip_prefix(name)?)?;
        (*register, rest) = (value, after);
    }
    (!begins_with_digit(rest)).then_some(Row { leaf, subleaf, regs: Regs::from(registers), line })
}
