//! Writes captures, in one form only: equal dumps are equal bytes.
//!
//! Rows that the same CPUs share stand in one section, so that a capture of 128 CPUs which differ in their APIC ids
//! alone stays about as long as one of a single CPU.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use selfsame_cpuid::Regs;
use selfsame_cpuid::text::{Document, Statement, TextWriter};

use crate::dump::{CpuDump, Dump, Source};
use crate::{ranges, subleaf};

/// The first word of the context of what Xen offers, where it is known to whom.
pub(crate) const GUESTS: &str = "guests";

/// Writes a dump as a capture; its findings and rows that are all zero are left out.
///
/// What the grammar cannot spell is left out, too, or replaced: CPUs numbered 65536 and up, a second CPU of the same
/// number, subleaves above 0xff; white space and `#` within the context, control characters and `#` within the name.
pub fn write_capture(dump: &Dump) -> String {
    // Writing to a string cannot fail.
    try_write(dump).unwrap_or_default()
}

fn try_write(dump: &Dump) -> Result<String, fmt::Error> {
    let mut writer = TextWriter::begin(String::new(), Document::Capture)?;
    writer.statement(&Statement::Name(&name_of(&dump.name)))?;
    writer.statement(&Statement::Source(&dump.source.to_string()))?;
    let guests = if let Source::Xen(guests) = dump.source { guests.word() } else { None };
    let guests = guests.map(|word| context_word(GUESTS, word));
    let words = dump.context.iter().map(|(key, value)| context_word(key, value));
    let words: Vec<String> = guests.into_iter().chain(words).collect();
    if !words.is_empty() {
        writer.statement(&Statement::Context(&words.join(" ")))?;
    }
    for (ranges, rows) in sections(&dump.cpus) {
        writer.statement(&Statement::Cpu(&ranges))?;
        for row in rows {
            writer.statement(&row.statement())?;
        }
    }
    writer.end()
}

/// What a section may hold, in the order in which it does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
enum Row {
    Leaf(u32, u32, Regs),
    Msr(u32, Option<u64>),
}

impl Row {
    fn statement(self) -> Statement<'static> {
        match self {
            Self::Leaf(leaf, subleaf, regs) => {
                let is_plain = subleaf == 0 && !subleaf::is_indexed(leaf);
                Statement::Leaf(leaf, if is_plain { None } else { Some(subleaf) }, regs)
            }
            Self::Msr(index, value) => Statement::Msr(index, value),
        }
    }
}

/// All rows of one CPU that a capture can hold.
fn rows(cpu: &CpuDump) -> impl Iterator<Item = Row> {
    let is_kept = |((_, subleaf), regs): &(&(u32, u32), &Regs)| *subleaf <= subleaf::MAX && !regs.is_zero();
    let leaves = cpu.leaves.iter().filter(is_kept).map(|(&(leaf, subleaf), &regs)| Row::Leaf(leaf, subleaf, regs));
    leaves.chain(cpu.msrs.iter().map(|(&index, &value)| Row::Msr(index, value)))
}

/// The rows of all CPUs, grouped by the exact set of CPUs that have them: the largest set first, then by the first CPU.
fn sections(cpus: &[CpuDump]) -> Vec<(String, Vec<Row>)> {
    let mut numbered = BTreeMap::new();
    for cpu in cpus.iter().filter(|cpu| cpu.number < ranges::CPU_LIMIT) {
        numbered.entry(cpu.number).or_insert(cpu);
    }
    let mut owners: BTreeMap<Row, Vec<u32>> = BTreeMap::new();
    let mut without = Vec::new();
    for (&number, cpu) in &numbered {
        let mut rows = rows(cpu).peekable();
        if rows.peek().is_none() {
            without.push(number);
        }
        for row in rows {
            owners.entry(row).or_default().push(number);
        }
    }
    let mut groups: BTreeMap<Vec<u32>, Vec<Row>> = BTreeMap::new();
    for (row, owners) in owners {
        groups.entry(owners).or_default().push(row);
    }
    if !without.is_empty() {
        groups.insert(without, Vec::new());
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_cached_key(|(owners, _)| (Reverse(owners.len()), owners.first().copied(), ranges::format(owners)));
    groups.into_iter().map(|(owners, rows)| (ranges::format(&owners), rows)).collect()
}

/// Makes a name of the grammar of any text.
pub(crate) fn name_of(text: &str) -> String {
    let name: String = text.trim_ascii().chars().map(|c| if c.is_control() || c == '#' { '_' } else { c }).collect();
    if name.is_empty() { "unnamed".into() } else { name }
}

fn context_word(key: &str, value: &str) -> String {
    let is_barred = |c: char| c.is_ascii_whitespace() || c.is_control() || c == '#';
    let key = key.replace(|c| is_barred(c) || c == '=', "_");
    let value = value.replace(is_barred, "_");
    let key = if key.is_empty() { "_" } else { &key };
    format!("{key}={value}")
}
