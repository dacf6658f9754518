//! Reads the project's own captures.
//!
//! ```text
//! selfsame 1 capture
//! name bnode3
//! source cpuid
//! context kernel=6.1.0-28 microcode=0x2b000590
//! cpu 0-63
//! leaf 00000007 00  00000002 f1bf07ab 00415f4e bc814410
//! msr  0000010a  000000002de9fdeb
//! end 1a2b3c4d
//! ```
//!
//! A row is that of all CPUs of its section; a CPU may be in many sections, with other rows in each. The context of what Xen
//! offers begins with `guests=hvm` or `guests=pv`, where it is known to whom.

use std::collections::BTreeMap;

use selfsame_cpuid::Regs;
use selfsame_cpuid::text::{Document, Statement, Statements, TextError};

use crate::capture_text::{GUESTS, name_of};
use crate::collect;
use crate::dump::{CpuDump, Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::ranges;
use crate::xen_guests::XenGuests;

/// How many rows a capture may give to its CPUs in all: a machine of 8192 CPUs with 500 rows each.
const MAX_ROWS: usize = 1 << 22;

/// Reads a capture; the name is empty where the file has none.
pub(crate) fn read(bytes: &[u8]) -> Result<Dump, ReadError> {
    let mut reader = Reader::default();
    for statement in Statements::new(bytes) {
        let (line, statement) = statement?;
        reader.take(line, statement)?;
    }
    let Reader { name, source, mut context, cpus, .. } = reader;
    let (Some(mut source), false) = (source, cpus.is_empty()) else { return Err(ReadError::NoCpu) };
    if let Source::Xen(guests) = &mut source
        && let Some(said) = guests_of(&context)
    {
        *guests = said;
        context.remove(0);
    }
    let cpus: Vec<CpuDump> = cpus.into_values().collect();
    let mut findings = Findings::default();
    collect::same_machine(&cpus, &collect::Identities::new(), &mut findings)?;
    Ok(Dump { name, source, context, cpus, findings: findings.into_vec() })
}

/// To whom Xen makes an offer, as the context begins with it.
fn guests_of(context: &[(String, String)]) -> Option<XenGuests> {
    let (_, word) = context.first().filter(|(key, _)| key == GUESTS)?;
    [XenGuests::Hvm, XenGuests::Pv].into_iter().find(|guests| guests.word() == Some(word))
}

/// What was read last; statements come in this order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
enum Stage {
    #[default]
    Head,
    Name,
    Source,
    Context,
    Cpu,
    /// A row of the section, by its place.
    Leaf(u32, u32),
    Msr(u32),
}

#[derive(Debug, Default)]
struct Reader {
    stage: Stage,
    name: String,
    source: Option<Source>,
    context: Vec<(String, String)>,
    cpus: BTreeMap<u32, CpuDump>,
    /// The CPUs of the section at hand.
    section: Vec<u32>,
    rows: usize,
}

impl Reader {
    fn take(&mut self, line: usize, statement: Statement<'_>) -> Result<(), ReadError> {
        match statement {
            Statement::Head(Document::Capture) => Ok(()),
            Statement::Head(Document::Policy) => Err(ReadError::Policy),
            Statement::Name(text) => {
                self.advance(line, "name", Stage::Name)?;
                self.name = name_of(text);
                Ok(())
            }
            Statement::Source(text) => {
                self.advance(line, "source", Stage::Source)?;
                let reason = "unknown source: known are cpuid, kvm, xen and converted:FORMAT";
                self.source = Some(text.parse().map_err(|_| ReadError::Line { line, reason })?);
                Ok(())
            }
            Statement::Context(text) => {
                self.advance(line, "context", Stage::Context)?;
                self.take_context(line, text)
            }
            Statement::Cpu(text) => self.take_cpus(line, text),
            Statement::Leaf(leaf, subleaf, regs) => self.take_leaf(line, leaf, subleaf.unwrap_or(0), regs),
            Statement::Msr(index, value) => self.take_msr(line, index, value),
            Statement::Kind(_) => Err(misplaced(line, "kind")),
            Statement::Topology(_) => Err(misplaced(line, "topology")),
            _ => Err(TextError::Keyword { line }.into()),
        }
    }

    /// Goes to the next stage of the head of the file.
    fn advance(&mut self, line: usize, keyword: &'static str, stage: Stage) -> Result<(), ReadError> {
        if self.stage >= stage {
            return Err(misplaced(line, keyword));
        }
        self.stage = stage;
        Ok(())
    }

    fn take_context(&mut self, line: usize, text: &str) -> Result<(), ReadError> {
        for word in text.split_ascii_whitespace() {
            let pair = word.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, value) = pair.ok_or(TextError::Arguments { line, expected: "context KEY=VALUE ..." })?;
            self.context.push((key.into(), value.into()));
        }
        Ok(())
    }

    fn take_cpus(&mut self, line: usize, text: &str) -> Result<(), ReadError> {
        if self.source.is_none() {
            return Err(ReadError::Line { line, reason: "expected `source SOURCE` before the first cpu" });
        }
        let reason = "expected `cpu RANGES`, such as `cpu 0-3,8`: numbers ascend and are below 65536";
        self.section = ranges::parse(text).ok_or(ReadError::Line { line, reason })?;
        self.count(line)?;
        for &number in &self.section {
            self.cpus.entry(number).or_insert_with(|| CpuDump::new(number));
        }
        self.stage = Stage::Cpu;
        Ok(())
    }

    /// Bounds what a small file can ask of memory and time.
    fn count(&mut self, line: usize) -> Result<(), ReadError> {
        self.rows += self.section.len();
        let reason = "more rows than any machine has: the sections give over 4194304 rows to their cpus";
        if self.rows > MAX_ROWS { Err(ReadError::Line { line, reason }) } else { Ok(()) }
    }

    fn take_leaf(&mut self, line: usize, leaf: u32, subleaf: u32, regs: Regs) -> Result<(), ReadError> {
        self.follow(line, "leaf", Stage::Leaf(leaf, subleaf))?;
        self.give(line, |cpu| cpu.leaves.insert((leaf, subleaf), regs).is_none())
    }

    fn take_msr(&mut self, line: usize, index: u32, value: Option<u64>) -> Result<(), ReadError> {
        self.follow(line, "msr", Stage::Msr(index))?;
        self.give(line, |cpu| cpu.msrs.insert(index, value).is_none())
    }

    /// Goes to the next row of a section.
    fn follow(&mut self, line: usize, keyword: &'static str, row: Stage) -> Result<(), ReadError> {
        if self.stage < Stage::Cpu {
            return Err(misplaced(line, keyword));
        }
        if self.stage >= row {
            return Err(TextError::Unordered { line }.into());
        }
        self.stage = row;
        self.count(line)
    }

    /// Gives a row to all CPUs of the section; `insert` tells whether it is the first of its place.
    fn give(&mut self, line: usize, insert: impl Fn(&mut CpuDump) -> bool) -> Result<(), ReadError> {
        for number in &self.section {
            let is_first = self.cpus.get_mut(number).is_some_and(&insert);
            if !is_first {
                return Err(ReadError::Line {
                    line,
                    reason: "a section above has this row for one of these cpus already",
                });
            }
        }
        Ok(())
    }
}

fn misplaced(line: usize, keyword: &'static str) -> ReadError {
    TextError::Misplaced { line, keyword }.into()
}
