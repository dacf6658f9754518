//! From the sections of a file to the logical CPUs of a machine.
//!
//! A section is what one header opens. Subleaves without a tag are inferred within a section, then sections of the same
//! CPU are laid over each other.

use std::collections::{BTreeMap, BTreeSet};

use selfsame_cpuid::{Regs, Signature, Vendor};

use crate::dump::CpuDump;
use crate::error::ReadError;
use crate::findings::{Findings, leaf_place, msr_place, row_place};
use crate::{rotated, subleaf};

/// One CPUID row of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) leaf: u32,
    /// `None` where the file does not say it.
    pub(crate) subleaf: Option<u32>,
    pub(crate) regs: Regs,
    pub(crate) line: usize,
}

/// One MSR row of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MsrRow {
    pub(crate) index: u32,
    /// `None` where reading it faulted.
    pub(crate) value: Option<u64>,
    pub(crate) line: usize,
}

/// What one header of a file opens.
#[derive(Debug)]
pub(crate) struct Section {
    /// The logical CPU; `None` where the file does not say it.
    pub(crate) cpu: Option<u32>,
    /// The line that opens it.
    pub(crate) line: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) msrs: Vec<MsrRow>,
}

impl Section {
    pub(crate) const fn new(cpu: Option<u32>, line: usize) -> Self {
        Self { cpu, line, rows: Vec::new(), msrs: Vec::new() }
    }
}

/// Makes logical CPUs of sections, and names what was wrong with them.
///
/// # Errors
///
/// Refuses sections of which none has leaf 0, sections of different CPUs or machines, and a lone CPU that is cut short.
pub(crate) fn collect(sections: Vec<Section>, findings: &mut Findings) -> Result<Vec<CpuDump>, ReadError> {
    for section in &sections {
        rotated::refuse(&section.msrs)?;
    }
    let mut cpus = BTreeMap::new();
    let mut last = None;
    let mut unassigned = Vec::new();
    let mut failed = BTreeMap::new();
    let mut identities = Identities::new();
    let mut last_line = 0;
    let mut repeated = Repeated::default();
    for section in sections {
        note_failed(&section.msrs, &mut failed);
        let Some(number) = section.cpu else {
            unassigned.extend(section.msrs);
            continue;
        };
        if !section.rows.is_empty() {
            last = Some(number);
        }
        identify(number, &section.rows, &mut identities)?;
        last_line = section.rows.last().map_or(last_line, |row| row.line);
        let cpu = cpus.entry(number).or_insert_with(|| CpuDump::new(number));
        add_leaves(cpu, section.line, section.rows, findings);
        add_msrs(cpu, section.msrs, &mut repeated);
    }
    let mut cpus: Vec<CpuDump> = cpus.into_values().collect();
    cpus.retain(|cpu| {
        let has_leaf_0 = cpu.leaves.contains_key(&(0, 0));
        if !has_leaf_0 {
            findings.note(format!("cpu {}", cpu.number), None, "has no leaf 00000000: left out");
        }
        has_leaf_0
    });
    let is_one_of_many = cpus.len() > 1;
    let first = cpus.first_mut().ok_or(ReadError::NoCpu)?;
    if is_one_of_many && let Some(row) = unassigned.first() {
        let reason =
            format!("the file does not say which cpu they were read on; taken as those of cpu {}", first.number);
        findings.note("msrs", Some(row.line), reason);
    }
    add_msrs(first, unassigned, &mut repeated);
    same_machine(&cpus, &identities, findings)?;
    if let [cpu] = cpus.as_slice()
        && is_cut_short(cpu)
    {
        return Err(ReadError::CutOff { line: last_line });
    }
    repeated.note(findings);
    note_unread(&cpus, &failed, findings);
    if let Some(last) = last {
        note_cut(&cpus, last, findings);
    }
    Ok(cpus)
}

/// The rows of leaves 0 and 1 that came first for each CPU.
pub(crate) type Identities = BTreeMap<(u32, u32), Row>;

/// Refuses rows that are of another CPU than the first ones of the same number.
fn identify(number: u32, rows: &[Row], identities: &mut Identities) -> Result<(), ReadError> {
    for row in rows.iter().filter(|row| row.leaf <= 1 && row.subleaf.unwrap_or(0) == 0) {
        let first = identities.entry((number, row.leaf)).or_insert(*row).regs;
        let is_same = if row.leaf == 0 { first == row.regs } else { first.eax == row.regs.eax };
        if !is_same {
            return Err(ReadError::TwoCpus { line: row.line, cpu: number });
        }
    }
    Ok(())
}

/// Refuses CPUs that no machine has together; other models and steppings are a finding.
pub(crate) fn same_machine(
    cpus: &[CpuDump],
    identities: &Identities,
    findings: &mut Findings,
) -> Result<(), ReadError> {
    let line = |cpu: &CpuDump, leaf| identities.get(&(cpu.number, leaf)).map(|row| row.line);
    let vendors = cpus.iter().filter_map(|cpu| Some((cpu, Regs { eax: 0, ..cpu.get(0, 0)? })));
    let mut vendors = vendors.filter(|(_, vendor)| !vendor.is_zero());
    if let Some((first, vendor)) = vendors.next()
        && let Some((cpu, _)) = vendors.find(|(_, other)| *other != vendor)
    {
        let (line, cpu, first) = (line(cpu, 0), cpu.number, first.number);
        return Err(ReadError::TwoMachines { line, cpu, first, what: "vendor" });
    }
    let signatures = cpus.iter().filter_map(|cpu| Some((cpu, cpu.get(1, 0)?.eax)));
    let mut signatures = signatures.filter(|(_, eax)| *eax != 0).map(|(cpu, eax)| (cpu, Signature::of(eax)));
    let Some((first, signature)) = signatures.next() else { return Ok(()) };
    for (cpu, other) in signatures.filter(|(_, other)| *other != signature) {
        let line = line(cpu, 1);
        if other.family != signature.family {
            let (cpu, first) = (cpu.number, first.number);
            return Err(ReadError::TwoMachines { line, cpu, first, what: "family" });
        }
        findings.note("signature", line, format!("the cpus are of several models or steppings: {signature}, {other}"));
    }
    Ok(())
}

/// Whether a CPU lacks what every CPU with leaf 7 answers, leaf 7 itself or the extended leaves.
fn is_cut_short(cpu: &CpuDump) -> bool {
    let has_leaf_7 = cpu.leaves.keys().any(|(leaf, _)| *leaf == 7);
    let has_extended = cpu.leaves.keys().any(|(leaf, _)| *leaf == 0x8000_0000);
    cpu.get(0, 0).is_some_and(|leaf_0| leaf_0.eax >= 7) && !(has_leaf_7 && has_extended)
}

/// Lays a section's rows over those that the CPU has already.
fn add_leaves(cpu: &mut CpuDump, line: usize, rows: Vec<Row>, findings: &mut Findings) {
    let resolved = resolve(rows, findings);
    if cpu.leaves.is_empty() {
        cpu.leaves = resolved.into_iter().map(|(key, regs, _)| (key, regs)).collect();
        return;
    }
    if !resolved.is_empty() {
        let what = format!("cpu {}", cpu.number);
        findings.note(what, Some(line), "has a further section: what the first does not have is added");
    }
    for (key, regs, line) in resolved {
        let kept = *cpu.leaves.entry(key).or_insert(regs);
        if kept != regs {
            note_twice(key, line, findings);
        }
    }
}

type Resolved = ((u32, u32), Regs, usize);

/// Gives every row its subleaf; ascending, each once.
fn resolve(mut rows: Vec<Row>, findings: &mut Findings) -> Vec<Resolved> {
    if !rows.is_sorted_by_key(|row| row.leaf) {
        rows.sort_by_key(|row| row.leaf);
    }
    let mut resolved: Vec<Resolved> = Vec::with_capacity(rows.len());
    for rows in rows.chunk_by(|a, b| a.leaf == b.leaf) {
        let Some(&Row { leaf, line, .. }) = rows.first() else { continue };
        let is_tagged = |row: &&Row| row.subleaf.is_some();
        let is_inferred = rows.len() > 1 && subleaf::is_indexed(leaf) && !rows.iter().all(|row| is_tagged(&row));
        if !is_inferred {
            resolved.extend(rows.iter().map(|row| ((leaf, row.subleaf.unwrap_or(0)), row.regs, row.line)));
            continue;
        }
        let tagged = rows.iter().filter(is_tagged);
        let taken: BTreeSet<u32> = tagged.clone().filter_map(|row| row.subleaf).collect();
        resolved.extend(tagged.map(|row| ((leaf, row.subleaf.unwrap_or(0)), row.regs, row.line)));
        let untagged: Vec<Row> = rows.iter().filter(|row| row.subleaf.is_none()).copied().collect();
        let regs: Vec<Regs> = untagged.iter().map(|row| row.regs).collect();
        let inferred = if taken.is_empty() { subleaf::infer(leaf, &regs) } else { subleaf::fill(&taken, regs.len()) };
        if let Some(doubt) = inferred.doubt {
            let reason = format!("subleaves are not given and not certain: {doubt}; taken as {}", inferred.list());
            findings.note(leaf_place(leaf), Some(line), reason);
        }
        let keyed = untagged.iter().zip(inferred.subleaves);
        resolved.extend(keyed.map(|(row, subleaf)| ((leaf, subleaf), row.regs, row.line)));
        if resolved.iter().any(|((_, subleaf), ..)| *subleaf > subleaf::MAX) {
            findings.note(
                leaf_place(leaf),
                Some(line),
                "has more rows than any leaf has subleaves: the rest is left out",
            );
            resolved.retain(|((_, subleaf), ..)| *subleaf <= subleaf::MAX);
        }
    }
    if !resolved.is_sorted_by_key(|(key, ..)| *key) {
        resolved.sort_by_key(|(key, ..)| *key);
    }
    resolved.dedup_by(|later, kept| {
        if later.0 == kept.0 && later.1 != kept.1 {
            note_twice(later.0, later.2, findings);
        }
        later.0 == kept.0
    });
    resolved
}

fn note_twice((leaf, subleaf): (u32, u32), line: usize, findings: &mut Findings) {
    findings.note(row_place(leaf, subleaf), Some(line), "given twice with different values; the first is kept");
}

/// MSRs with more than one value for one CPU: counters, mostly, which tools read several times.
#[derive(Default)]
struct Repeated {
    count: usize,
    line: Option<usize>,
}

impl Repeated {
    fn note(&self, findings: &mut Findings) {
        if self.line.is_some() {
            let reason = format!("{} values follow another one of the same msr and cpu; the first is kept", self.count);
            findings.note("msrs", self.line, reason);
        }
    }
}

fn add_msrs(cpu: &mut CpuDump, rows: Vec<MsrRow>, repeated: &mut Repeated) {
    if cpu.msrs.is_empty() && rows.is_sorted_by(|a, b| a.index < b.index) {
        cpu.msrs = rows.into_iter().map(|row| (row.index, row.value)).collect();
        return;
    }
    for MsrRow { index, value, line } in rows {
        let kept = cpu.msrs.entry(index).or_insert(value);
        if kept.is_none() {
            *kept = value;
        } else if value.is_some() && *kept != value {
            repeated.count += 1;
            repeated.line.get_or_insert(line);
        }
    }
}

fn note_failed(rows: &[MsrRow], failed: &mut BTreeMap<u32, usize>) {
    for row in rows.iter().filter(|row| row.value.is_none()) {
        failed.entry(row.index).or_insert(row.line);
    }
}

/// Names each MSR that could not be read, once.
fn note_unread(cpus: &[CpuDump], failed: &BTreeMap<u32, usize>, findings: &mut Findings) {
    for (&index, &line) in failed {
        let count = cpus.iter().filter(|cpu| cpu.msrs.get(&index) == Some(&None)).count();
        if count > 0 {
            let reason = format!("reading it failed on {count} of {} cpus", cpus.len());
            findings.note(msr_place(index), Some(line), reason);
        }
    }
}

/// Names a file whose last CPU ends before the others do, or before the leaves that it claims.
fn note_cut(cpus: &[CpuDump], last: u32, findings: &mut Findings) {
    let end = |cpu: &CpuDump| cpu.leaves.last_key_value().map_or(0, |((leaf, _), _)| *leaf);
    let Some(cpu) = cpus.iter().find(|cpu| cpu.number == last) else { return };
    let ends = end(cpu);
    let others = cpus.iter().filter(|cpu| cpu.number != last).map(end).min().unwrap_or(0);
    let claimed = |leaf| cpu.get(leaf, 0).map_or(0, |regs| regs.eax);
    // What is no number of an extended leaf says nothing about the end.
    let extended = Some(claimed(0x8000_0000)).filter(|max| (0x8000_0001..0x8001_0000).contains(max)).unwrap_or(0);
    // All of AMD's CPUs have extended leaves, whatever their basic ones end at.
    let least = if Vendor::of(cpu.get(0, 0).unwrap_or_default()).is_amd_like() { 0x8000_0000 } else { 0 };
    let goes_on_to = others.max(extended).max(claimed(0)).max(least);
    if ends < goes_on_to {
        let reason = format!("ends at leaf {ends:08x} instead of {goes_on_to:08x}: the file may be cut off");
        findings.note(format!("cpu {last}"), None, reason);
    }
}
