//! What a CPU executed, counted.

use core::fmt;

use selfsame_switch::{
    Bitness, Cpu, Cr3, Cr4, DebugRegister, Entry, Gdtr, GuestSlot, L1Entry, Ldt, Msr, MsrWrite, Register, Segment,
    SegmentFault, Selector, XstateStep,
};
use selfsame_xstate::Xcr0;

macro_rules! operations {
    ($($name:ident $text:literal)*) => {
        /// A kind of privileged operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            $($name,)*
        }

        const NAMES: [&str; COUNT] = [$($text),*];
        const COUNT: usize = [$($text),*].len();
    };
}

operations! {
    Wrmsr "wrmsr"
    Rdmsr "rdmsr"
    Xsetbv "xsetbv"
    Save "save"
    Load "load"
    Lgdt "lgdt"
    Lldt "lldt"
    L1Entry "l1"
    Invlpg "invlpg"
    ControlRegister "cr"
    Segment "segment"
    Debug "debug"
}

/// How often each privileged operation was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; COUNT]);

impl Counts {
    /// How often one was.
    pub(crate) fn get(&self, operation: Operation) -> u64 {
        self.0.get(operation as usize).copied().unwrap_or_default()
    }

    fn add(&mut self, operation: Operation, count: u64) {
        if let Some(place) = self.0.get_mut(operation as usize) {
            *place += count;
        }
    }

    /// Counts what assembly does of an entry.
    pub(crate) fn entry(&mut self, entry: &Entry) {
        let count = |ordered: &[bool]| ordered.iter().map(|&is_ordered| u64::from(is_ordered)).sum::<u64>();
        if let Some(step) = entry.step() {
            self.add(Operation::Wrmsr, count(&[step.xss_save().is_some(), step.xss_final().is_some()]));
            self.add(Operation::Xsetbv, count(&[step.xcr0_wide().is_some(), step.xcr0_final().is_some()]));
            self.add(Operation::Save, count(&[step.save_area().is_some()]));
            self.add(Operation::Load, count(&[step.load_area().is_some()]));
        }
        let last = [entry.pl0_ssp().is_some(), entry.xfd_err().is_some(), entry.xfd().is_some()];
        self.add(Operation::Wrmsr, count(&last));
        self.add(Operation::ControlRegister, count(&[entry.sets_task_switched()]));
    }

    /// What was counted since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        self.with(before, u64::wrapping_sub)
    }

    /// The sum of both.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::wrapping_add)
    }

    fn with(&self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        let mut counts = *self;
        counts.0.iter_mut().zip(other.0).for_each(|(count, other)| *count = combine(*count, other));
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, count)) in NAMES.iter().zip(self.0).enumerate() {
            let separator = if place == 0 { "" } else { " " };
            write!(f, "{separator}{name} {count}")?;
        }
        Ok(())
    }
}

/// A CPU whose operations are counted.
#[derive(Debug)]
pub(crate) struct Counted<C> {
    cpu: C,
    pub(crate) counts: Counts,
}

impl<C> Counted<C> {
    pub(crate) fn new(cpu: C) -> Self {
        Self { cpu, counts: Counts::default() }
    }
}

impl<C: Cpu> Cpu for Counted<C> {
    fn wrmsr(&mut self, write: MsrWrite) {
        self.counts.add(Operation::Wrmsr, 1);
        self.cpu.wrmsr(write);
    }

    fn rdmsr(&mut self, msr: Msr) -> u64 {
        self.counts.add(Operation::Rdmsr, 1);
        self.cpu.rdmsr(msr)
    }

    fn read_base(&mut self, register: Register) -> u64 {
        self.cpu.read_base(register)
    }

    fn xsetbv(&mut self, xcr0: Xcr0) {
        self.counts.add(Operation::Xsetbv, 1);
        self.cpu.xsetbv(xcr0);
    }

    fn xstate_step(&mut self, step: &XstateStep) {
        self.cpu.xstate_step(step);
    }

    fn lgdt(&mut self, gdtr: Gdtr) {
        self.counts.add(Operation::Lgdt, 1);
        self.cpu.lgdt(gdtr);
    }

    fn write_ldt_descriptor(&mut self, bitness: Bitness, ldt: Ldt) {
        self.cpu.write_ldt_descriptor(bitness, ldt);
    }

    fn lldt(&mut self, selector: Selector) {
        self.counts.add(Operation::Lldt, 1);
        self.cpu.lldt(selector);
    }

    fn write_l1(&mut self, slot: GuestSlot, entry: L1Entry) {
        self.counts.add(Operation::L1Entry, 1);
        self.cpu.write_l1(slot, entry);
    }

    fn invlpg(&mut self, slot: GuestSlot) {
        self.counts.add(Operation::Invlpg, 1);
        self.cpu.invlpg(slot);
    }

    fn write_cr3(&mut self, cr3: Cr3) {
        self.counts.add(Operation::ControlRegister, 1);
        self.cpu.write_cr3(cr3);
    }

    fn write_cr4(&mut self, cr4: Cr4) {
        self.counts.add(Operation::ControlRegister, 1);
        self.cpu.write_cr4(cr4);
    }

    fn set_task_switched(&mut self) {
        self.counts.add(Operation::ControlRegister, 1);
        self.cpu.set_task_switched();
    }

    fn clear_task_switched(&mut self) {
        self.counts.add(Operation::ControlRegister, 1);
        self.cpu.clear_task_switched();
    }

    fn selector(&mut self, segment: Segment) -> Selector {
        self.cpu.selector(segment)
    }

    fn load_selector(&mut self, segment: Segment, selector: Selector) -> Result<(), SegmentFault> {
        self.counts.add(Operation::Segment, 1);
        self.cpu.load_selector(segment, selector)
    }

    fn read_debug(&mut self, register: DebugRegister) -> u64 {
        self.counts.add(Operation::Debug, 1);
        self.cpu.read_debug(register)
    }

    fn write_debug(&mut self, register: DebugRegister, value: u64) {
        self.counts.add(Operation::Debug, 1);
        self.cpu.write_debug(register, value);
    }
}
