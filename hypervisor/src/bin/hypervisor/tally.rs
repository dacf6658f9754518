//! What transitions executed, row by row of `docs/switch.md`, beside what it says of this machine.

use core::fmt;

use selfsame_switch::{Likeness, Msr, Operation, Platform, REGISTERS, STATES, SwitchError, Transition, VcpuKind, play};

use crate::counts::Log;

/// What happened between two guests, or between a guest and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// A guest goes on after an exit that asked for nothing of what is switched, or after idle time.
    Resume,
    /// A guest comes to a CPU that has none.
    Arrive,
    /// One guest comes in place of another.
    Switch,
    /// A guest is taken off, and none comes.
    Flush,
    /// A guest goes on after it wrote XCR0, CR4, an MSR or a debug register.
    Asked,
}

impl Case {
    const ALL: [Self; 5] = [Self::Resume, Self::Arrive, Self::Switch, Self::Flush, Self::Asked];

    const fn name(self) -> &'static str {
        match self {
            Self::Resume => "resume hvm",
            Self::Arrive => "arrive hvm",
            Self::Switch => "hvm→hvm",
            Self::Flush => "flush hvm",
            Self::Asked => "asked",
        }
    }

    /// The column of `docs/switch.md`; what a guest asks for has none.
    const fn transition(self) -> Option<Transition> {
        Some(match self {
            Self::Resume => Transition::Resume(VcpuKind::Hvm),
            Self::Arrive => Transition::Arrive(VcpuKind::Hvm),
            Self::Switch => Transition::Switch(VcpuKind::Hvm, VcpuKind::Hvm),
            Self::Flush => Transition::Flush(VcpuKind::Hvm),
            Self::Asked => return None,
        })
    }
}

/// The rows: those of the document, and RDMSR.
const ROWS: usize = STATES.len() + REGISTERS.len() + 1;
const RDMSR: usize = ROWS - 1;

/// The row that an operation belongs to. What else only reads has none.
fn row_of(operation: &Operation) -> Option<usize> {
    match operation {
        Operation::Rdmsr(_) => Some(RDMSR),
        Operation::Wrmsr(write) => match write.msr() {
            Msr::Switched(register) => {
                REGISTERS.iter().position(|row| row.register == register).map(|place| STATES.len() + place)
            }
            _ => STATES.iter().position(|state| state.is_written_by(operation)),
        },
        _ => STATES.iter().position(|state| state.is_written_by(operation)),
    }
}

fn name_of(row: usize) -> &'static str {
    let names = STATES.iter().map(|state| state.name).chain(REGISTERS.iter().map(|register| register.name));
    names.chain(["RDMSR"]).nth(row).unwrap_or_default()
}

/// How often each instruction was executed.
#[derive(Clone, Copy, Debug, Default)]
struct Instructions {
    xsetbv: u64,
    wrmsr: u64,
    save: u64,
    load: u64,
    lgdt: u64,
    l1: u64,
    cr: u64,
}

impl Instructions {
    const fn add(&mut self, operation: &Operation) {
        let count = match operation {
            Operation::Xsetbv(_) => &mut self.xsetbv,
            Operation::Wrmsr(_) => &mut self.wrmsr,
            Operation::Save(..) => &mut self.save,
            Operation::Load(..) => &mut self.load,
            Operation::Lgdt(_) => &mut self.lgdt,
            Operation::L1(..) => &mut self.l1,
            Operation::Cr3(_) | Operation::Cr4(_) | Operation::SetTaskSwitched | Operation::ClearTaskSwitched => {
                &mut self.cr
            }
            _ => return,
        };
        *count += 1;
    }

    const fn join(&mut self, other: &Self) {
        self.xsetbv += other.xsetbv;
        self.wrmsr += other.wrmsr;
        self.save += other.save;
        self.load += other.load;
        self.lgdt += other.lgdt;
        self.l1 += other.l1;
        self.cr += other.cr;
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { xsetbv, wrmsr, save, load, lgdt, l1, cr } = self;
        write!(f, "xsetbv {xsetbv}, wrmsr {wrmsr}, save {save}, load {load}, lgdt {lgdt}, l1 {l1}, cr {cr}")
    }
}

/// How often a row was executed in one transition: at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    least: u16,
    most: u16,
}

impl Cell {
    /// Of no transition yet.
    const NONE: Self = Self { least: u16::MAX, most: 0 };

    fn join(&mut self, other: Self) {
        *self = Self { least: self.least.min(other.least), most: self.most.max(other.most) };
    }

    const fn is_within(self, other: Self) -> bool {
        self.least >= other.least && self.most <= other.most
    }
}

/// As in `docs/switch.md`.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (0, 0) => f.write_str("·"),
            (least, most) if least == most => write!(f, "{least}"),
            (least, most) => write!(f, "{least}–{most}"),
        }
    }
}

/// What one case executed.
#[derive(Clone, Copy, Debug)]
struct Column {
    times: u64,
    ticks: u64,
    instructions: Instructions,
    /// What was executed where anything was.
    cells: [Cell; ROWS],
    /// Whether nothing was, once.
    has_empty: bool,
    /// How often more was executed at once than a log has room for.
    too_long: u64,
}

impl Column {
    const EMPTY: Self = Self {
        times: 0,
        ticks: 0,
        instructions: Instructions { xsetbv: 0, wrmsr: 0, save: 0, load: 0, lgdt: 0, l1: 0, cr: 0 },
        cells: [Cell::NONE; ROWS],
        has_empty: false,
        too_long: 0,
    };

    fn add(&mut self, log: &Log) {
        self.times += 1;
        if log.is_empty() {
            self.has_empty = true;
            return;
        }
        let mut counts = [0; ROWS];
        for operation in log.operations() {
            self.instructions.add(operation);
            if let Some(count) = row_of(operation).and_then(|row| counts.get_mut(row)) {
                *count += 1;
            }
        }
        self.too_long += u64::from(log.is_too_long());
        self.cells.iter_mut().zip(counts).for_each(|(cell, count)| cell.join(Cell { least: count, most: count }));
    }

    fn join(&mut self, other: &Self) {
        self.times += other.times;
        self.ticks += other.ticks;
        self.instructions.join(&other.instructions);
        self.cells.iter_mut().zip(other.cells).for_each(|(cell, other)| cell.join(other));
        self.has_empty |= other.has_empty;
        self.too_long += other.too_long;
    }

    fn cell(&self, row: usize) -> Cell {
        let mut cell = self.cells.get(row).copied().unwrap_or(Cell::NONE);
        if self.has_empty {
            cell.join(Cell { least: 0, most: 0 });
        }
        cell
    }
}

/// What was executed, by case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally([Column; Case::ALL.len()]);

impl Tally {
    pub(crate) const EMPTY: Self = Self([Column::EMPTY; Case::ALL.len()]);

    /// What `docs/switch.md` says of a machine: the same transitions between two guests that are alike, and between two that
    /// differ in everything.
    pub(crate) fn foreseen(platform: &Platform) -> Result<Self, SwitchError> {
        let mut foreseen = Self::EMPTY;
        for (case, column) in Case::ALL.into_iter().zip(&mut foreseen.0) {
            let Some(transition) = case.transition() else { continue };
            for likeness in [Likeness::Alike, Likeness::Different] {
                let mut log = Log::EMPTY;
                play(platform, transition, likeness, |operation| log.add(operation))?;
                column.add(&log);
            }
        }
        Ok(foreseen)
    }

    /// Takes down what a case executed; the log is empty afterwards.
    pub(crate) fn add(&mut self, case: Case, log: &mut Log) {
        if let Some(column) = self.0.get_mut(case as usize) {
            column.add(log);
        }
        log.clear();
    }

    /// Takes down how long a case took until its last orders were given to assembly.
    pub(crate) fn add_ticks(&mut self, case: Case, ticks: u64) {
        if let Some(column) = self.0.get_mut(case as usize) {
            column.ticks += ticks;
        }
    }

    /// Takes over what another CPU did.
    pub(crate) fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(column, other)| column.join(other));
    }

    /// How often a guest came to a CPU.
    pub(crate) fn switches(&self) -> u64 {
        self.column(Case::Arrive).times + self.column(Case::Switch).times
    }

    /// How often extended state was saved though no other guest came.
    pub(crate) fn saves_without_switch(&self) -> u64 {
        self.column(Case::Resume).instructions.save + self.column(Case::Asked).instructions.save
    }

    fn column(&self, case: Case) -> &Column {
        self.0.get(case as usize).unwrap_or(&Column::EMPTY)
    }

    /// Writes what was executed: how often each instruction, then the table of `docs/switch.md`. Where a cell is not what the
    /// document says of this machine, that follows in brackets. Returns whether every transition was within what it says.
    pub(crate) fn report(&self, foreseen: &Self, out: &mut impl fmt::Write) -> Result<bool, fmt::Error> {
        let mut is_as_foreseen = true;
        for case in Case::ALL {
            let Column { times, ticks, instructions, too_long, .. } = self.column(case);
            is_as_foreseen &= *too_long == 0;
            if let Some(each) = ticks.checked_div(*times) {
                write!(out, "executed by {} {times} times: {instructions}", case.name())?;
                if each > 0 { writeln!(out, "; {each} ticks each")? } else { out.write_str("\n")? }
            }
        }
        let cases = || Case::ALL.into_iter().filter(|case| case.transition().is_some());
        out.write_str("|")?;
        cases().try_for_each(|case| write!(out, " | {}", case.name()))?;
        out.write_str(" |\n")?;
        for row in 0..ROWS {
            let cells = || cases().map(|case| (self.column(case).cell(row), foreseen.column(case).cell(row)));
            if cells().all(|(found, foreseen)| found.most == 0 && foreseen.most == 0) {
                continue;
            }
            write!(out, "| {}", name_of(row))?;
            for (found, foreseen) in cells() {
                match found {
                    Cell::NONE => out.write_str(" |")?,
                    found if found == foreseen => write!(out, " | {found}")?,
                    found => write!(out, " | {found} ({foreseen})")?,
                }
                is_as_foreseen &= found == Cell::NONE || found.is_within(foreseen);
            }
            out.write_str(" |\n")?;
        }
        Ok(is_as_foreseen)
    }
}

#[cfg(test)]
mod tests {
    use selfsame_cpuid::Leaves;
    use selfsame_switch::{AreaAddress, PerDomainArea, Virtualisation, Visibility};
    use selfsame_xstate::{ComponentSet, Configurations, SaveMethod, Xcr0};

    use super::*;

    fn foreseen() -> Tally {
        let raw = Leaves::new();
        let geometry = raw.geometry();
        let configurations = Configurations::new(&geometry).unwrap();
        let per_domain = PerDomainArea::new(0xffff_8200_0000_0000).unwrap();
        let platform = Platform::new(&raw, Virtualisation::Vmx, &configurations, Visibility::Emulated, per_domain);
        Tally::foreseen(&platform).unwrap()
    }

    fn told(case: Case, operations: &[Operation]) -> (bool, String) {
        let mut tally = Tally::EMPTY;
        let mut log = Log::EMPTY;
        operations.iter().for_each(|&operation| log.add(operation));
        tally.add(case, &mut log);
        assert!(log.is_empty());
        let mut text = String::new();
        (tally.report(&foreseen(), &mut text).unwrap(), text)
    }

    const XSETBV: Operation = Operation::Xsetbv(Xcr0::RESET);

    fn save() -> Operation {
        Operation::Save(SaveMethod::Fxsave, AreaAddress::new(0x1000).unwrap(), ComponentSet::LEGACY)
    }

    #[test]
    fn what_the_document_foresees_is_what_it_says() {
        let foreseen = foreseen();
        let mut text = String::new();
        assert!(foreseen.report(&foreseen, &mut text).unwrap());
        assert!(text.contains("\n| save | · | · | 1 | 1 |\n"), "{text}");
    }

    #[test]
    fn a_save_without_a_switch_is_told_and_one_that_a_guest_asked_for_is_counted() {
        let (is_as_foreseen, text) = told(Case::Resume, &[save()]);
        assert!(!is_as_foreseen && text.contains("| save | 1 (·) | | | |"), "{text}");
        assert!(told(Case::Resume, &[]).0);

        let mut log = Log::EMPTY;
        log.add(save());
        let mut tally = Tally::EMPTY;
        tally.add(Case::Asked, &mut log);
        assert_eq!(tally.saves_without_switch(), 1);
    }

    #[test]
    fn a_switch_that_does_not_save_or_writes_too_much_is_told() {
        let (is_as_foreseen, text) = told(Case::Switch, &[]);
        assert!(!is_as_foreseen && text.contains("· (1)"), "{text}");
        let (is_as_foreseen, text) = told(Case::Flush, &[save(), XSETBV]);
        assert!(!is_as_foreseen && text.contains("| XCR0 | | | | 1 (·) |"), "{text}");
    }

    #[test]
    fn what_is_too_long_to_be_remembered_is_no_pass() {
        assert!(!told(Case::Asked, &[XSETBV; 1000]).0);
    }
}
