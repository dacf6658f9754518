//! A CPU that remembers what it executed.

use selfsame_switch::{
    Bitness, Cpu, Cr3, Cr4, DebugRegister, Entry, Gdtr, GuestSlot, L1Entry, Ldt, Msr, MsrWrite, Operation, Register,
    Segment, SegmentFault, Selector, Trace, XstateStep,
};
use selfsame_xstate::Xcr0;

/// No transition is as long as this: two vCPUs that differ in everything take 39 writes (`docs/switch.md`).
const CAPACITY: usize = 96;

/// What was executed since it was last looked at.
#[derive(Debug)]
pub(crate) struct Log {
    operations: [Option<Operation>; CAPACITY],
    count: usize,
}

impl Log {
    pub(crate) const EMPTY: Self = Self { operations: [None; CAPACITY], count: 0 };

    pub(crate) fn add(&mut self, operation: Operation) {
        if let Some(place) = self.operations.get_mut(self.count) {
            *place = Some(operation);
        }
        self.count += 1;
    }

    /// The operations in their order, as many as there is room for.
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter().take(self.count).flatten()
    }

    /// Whether there were more than there is room for.
    pub(crate) const fn is_too_long(&self) -> bool {
        self.count > CAPACITY
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) const fn clear(&mut self) {
        self.count = 0;
    }
}

/// A CPU whose operations are remembered.
#[derive(Debug)]
pub(crate) struct Counted<C> {
    cpu: C,
    pub(crate) log: Log,
}

impl<C> Counted<C> {
    pub(crate) const fn new(cpu: C) -> Self {
        Self { cpu, log: Log::EMPTY }
    }

    /// Remembers what assembly does of an entry.
    pub(crate) fn enters(&mut self, entry: &Entry) {
        entry.execute(&mut Trace::new(|operation| self.log.add(operation)));
    }
}

impl<C: Cpu> Cpu for Counted<C> {
    fn wrmsr(&mut self, write: MsrWrite) {
        self.log.add(Operation::Wrmsr(write));
        self.cpu.wrmsr(write);
    }

    fn rdmsr(&mut self, msr: Msr) -> u64 {
        self.log.add(Operation::Rdmsr(msr));
        self.cpu.rdmsr(msr)
    }

    fn read_base(&mut self, register: Register) -> u64 {
        self.log.add(Operation::ReadBase(register));
        self.cpu.read_base(register)
    }

    fn xsetbv(&mut self, xcr0: Xcr0) {
        self.log.add(Operation::Xsetbv(xcr0));
        self.cpu.xsetbv(xcr0);
    }

    /// Not remembered: entries are executed by assembly.
    fn xstate_step(&mut self, step: &XstateStep) {
        self.cpu.xstate_step(step);
    }

    fn lgdt(&mut self, gdtr: Gdtr) {
        self.log.add(Operation::Lgdt(gdtr));
        self.cpu.lgdt(gdtr);
    }

    fn write_ldt_descriptor(&mut self, bitness: Bitness, ldt: Ldt) {
        self.log.add(Operation::LdtDescriptor(bitness, ldt));
        self.cpu.write_ldt_descriptor(bitness, ldt);
    }

    fn lldt(&mut self, selector: Selector) {
        self.log.add(Operation::Lldt(selector));
        self.cpu.lldt(selector);
    }

    fn write_l1(&mut self, slot: GuestSlot, entry: L1Entry) {
        self.log.add(Operation::L1(slot, entry));
        self.cpu.write_l1(slot, entry);
    }

    fn invlpg(&mut self, slot: GuestSlot) {
        self.log.add(Operation::Invlpg(slot));
        self.cpu.invlpg(slot);
    }

    fn write_cr3(&mut self, cr3: Cr3) {
        self.log.add(Operation::Cr3(cr3));
        self.cpu.write_cr3(cr3);
    }

    fn write_cr4(&mut self, cr4: Cr4) {
        self.log.add(Operation::Cr4(cr4));
        self.cpu.write_cr4(cr4);
    }

    fn set_task_switched(&mut self) {
        self.log.add(Operation::SetTaskSwitched);
        self.cpu.set_task_switched();
    }

    fn clear_task_switched(&mut self) {
        self.log.add(Operation::ClearTaskSwitched);
        self.cpu.clear_task_switched();
    }

    fn selector(&mut self, segment: Segment) -> Selector {
        self.log.add(Operation::ReadSelector(segment));
        self.cpu.selector(segment)
    }

    fn load_selector(&mut self, segment: Segment, selector: Selector) -> Result<(), SegmentFault> {
        self.log.add(Operation::LoadSelector(segment, selector));
        self.cpu.load_selector(segment, selector)
    }

    fn read_debug(&mut self, register: DebugRegister) -> u64 {
        self.log.add(Operation::ReadDebug(register));
        self.cpu.read_debug(register)
    }

    fn write_debug(&mut self, register: DebugRegister, value: u64) {
        self.log.add(Operation::WriteDebug(register, value));
        self.cpu.write_debug(register, value);
    }
}
