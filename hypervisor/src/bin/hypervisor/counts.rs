//! What a CPU executed, counted.

use core::fmt;

use selfsame_switch::{
    Bitness, Cpu, Cr3, Cr4, DebugRegister, Entry, Gdtr, GuestSlot, L1Entry, Ldt, Msr, MsrWrite, Register, Segment,
    SegmentFault, Selector, XstateStep,
};
use selfsame_xstate::Xcr0;

/// How often each privileged operation was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) wrmsr: u64,
    pub(crate) rdmsr: u64,
    pub(crate) xsetbv: u64,
    pub(crate) saves: u64,
    pub(crate) loads: u64,
    pub(crate) lgdt: u64,
    pub(crate) lldt: u64,
    pub(crate) l1_entries: u64,
    pub(crate) invlpg: u64,
    pub(crate) cr: u64,
    pub(crate) segments: u64,
    pub(crate) debug: u64,
}

impl Counts {
    /// Counts what assembly does of an entry.
    pub(crate) fn entry(&mut self, entry: &Entry) {
        if let Some(step) = entry.step() {
            let is_done = |wanted: bool| u64::from(wanted);
            self.wrmsr += is_done(step.xss_save().is_some()) + is_done(step.xss_final().is_some());
            self.xsetbv += is_done(step.xcr0_wide().is_some()) + is_done(step.xcr0_final().is_some());
            self.saves += is_done(step.save_area().is_some());
            self.loads += is_done(step.load_area().is_some());
        }
        let last = [entry.pl0_ssp().is_some(), entry.xfd_err().is_some(), entry.xfd().is_some()];
        self.wrmsr += last.into_iter().map(u64::from).sum::<u64>();
        self.cr += u64::from(entry.sets_task_switched());
    }

    /// The sum of both.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            wrmsr: self.wrmsr + other.wrmsr,
            rdmsr: self.rdmsr + other.rdmsr,
            xsetbv: self.xsetbv + other.xsetbv,
            saves: self.saves + other.saves,
            loads: self.loads + other.loads,
            lgdt: self.lgdt + other.lgdt,
            lldt: self.lldt + other.lldt,
            l1_entries: self.l1_entries + other.l1_entries,
            invlpg: self.invlpg + other.invlpg,
            cr: self.cr + other.cr,
            segments: self.segments + other.segments,
            debug: self.debug + other.debug,
        }
    }

    /// What was counted since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            wrmsr: self.wrmsr - before.wrmsr,
            rdmsr: self.rdmsr - before.rdmsr,
            xsetbv: self.xsetbv - before.xsetbv,
            saves: self.saves - before.saves,
            loads: self.loads - before.loads,
            lgdt: self.lgdt - before.lgdt,
            lldt: self.lldt - before.lldt,
            l1_entries: self.l1_entries - before.l1_entries,
            invlpg: self.invlpg - before.invlpg,
            cr: self.cr - before.cr,
            segments: self.segments - before.segments,
            debug: self.debug - before.debug,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wrmsr, rdmsr, xsetbv, saves, loads, lgdt, lldt, l1_entries, invlpg, cr, segments, debug } = self;
        write!(f, "wrmsr {wrmsr} rdmsr {rdmsr} xsetbv {xsetbv} save {saves} load {loads} lgdt {lgdt} lldt {lldt}")?;
        write!(f, " l1 {l1_entries} invlpg {invlpg} cr {cr} segment {segments} debug {debug}")
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
        self.counts.wrmsr += 1;
        self.cpu.wrmsr(write);
    }

    fn rdmsr(&mut self, msr: Msr) -> u64 {
        self.counts.rdmsr += 1;
        self.cpu.rdmsr(msr)
    }

    fn read_base(&mut self, register: Register) -> u64 {
        self.cpu.read_base(register)
    }

    fn xsetbv(&mut self, xcr0: Xcr0) {
        self.counts.xsetbv += 1;
        self.cpu.xsetbv(xcr0);
    }

    fn xstate_step(&mut self, step: &XstateStep) {
        self.cpu.xstate_step(step);
    }

    fn lgdt(&mut self, gdtr: Gdtr) {
        self.counts.lgdt += 1;
        self.cpu.lgdt(gdtr);
    }

    fn write_ldt_descriptor(&mut self, bitness: Bitness, ldt: Ldt) {
        self.cpu.write_ldt_descriptor(bitness, ldt);
    }

    fn lldt(&mut self, selector: Selector) {
        self.counts.lldt += 1;
        self.cpu.lldt(selector);
    }

    fn write_l1(&mut self, slot: GuestSlot, entry: L1Entry) {
        self.counts.l1_entries += 1;
        self.cpu.write_l1(slot, entry);
    }

    fn invlpg(&mut self, slot: GuestSlot) {
        self.counts.invlpg += 1;
        self.cpu.invlpg(slot);
    }

    fn write_cr3(&mut self, cr3: Cr3) {
        self.counts.cr += 1;
        self.cpu.write_cr3(cr3);
    }

    fn write_cr4(&mut self, cr4: Cr4) {
        self.counts.cr += 1;
        self.cpu.write_cr4(cr4);
    }

    fn set_task_switched(&mut self) {
        self.counts.cr += 1;
        self.cpu.set_task_switched();
    }

    fn clear_task_switched(&mut self) {
        self.counts.cr += 1;
        self.cpu.clear_task_switched();
    }

    fn selector(&mut self, segment: Segment) -> Selector {
        self.cpu.selector(segment)
    }

    fn load_selector(&mut self, segment: Segment, selector: Selector) -> Result<(), SegmentFault> {
        self.counts.segments += 1;
        self.cpu.load_selector(segment, selector)
    }

    fn read_debug(&mut self, register: DebugRegister) -> u64 {
        self.counts.debug += 1;
        self.cpu.read_debug(register)
    }

    fn write_debug(&mut self, register: DebugRegister, value: u64) {
        self.counts.debug += 1;
        self.cpu.write_debug(register, value);
    }
}
