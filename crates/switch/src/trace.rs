//! A CPU of registers only, which tells what is done to it.

use selfsame_xstate::{ComponentSet, SaveMethod, Xcr0};

use crate::{
    AreaAddress, Bitness, Cpu, Cr3, Cr4, DebugRegister, DebugState, Gdtr, GuestSlot, L1Entry, Ldt, Msr, MsrWrite,
    Register, Registers, Segment, SegmentFault, Selector, Selectors, XstateStep,
};

/// One thing that was done to a CPU. A step of extended state is as many as it has parts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// WRMSR.
    Wrmsr(MsrWrite),
    /// RDMSR.
    Rdmsr(Msr),
    /// RDFSBASE, RDGSBASE, or RDGSBASE between two SWAPGS.
    ReadBase(Register),
    /// XSETBV.
    Xsetbv(Xcr0),
    /// XSAVES, XSAVE or FXSAVE.
    Save(SaveMethod, AreaAddress, ComponentSet),
    /// FNCLEX, FFREE, FILD.
    ClearFpPointers,
    /// XRSTORS, XRSTOR or FXRSTOR.
    Load(SaveMethod, AreaAddress, ComponentSet),
    /// LGDT.
    Lgdt(Gdtr),
    /// The descriptor of an LDT was written.
    LdtDescriptor(Bitness, Ldt),
    /// LLDT.
    Lldt(Selector),
    /// An entry of a page table was written.
    L1(GuestSlot, L1Entry),
    /// INVLPG.
    Invlpg(GuestSlot),
    /// MOV to CR3.
    Cr3(Cr3),
    /// MOV to CR4.
    Cr4(Cr4),
    /// CR0.TS was set.
    SetTaskSwitched,
    /// CLTS.
    ClearTaskSwitched,
    /// MOV from a segment register.
    ReadSelector(Segment),
    /// MOV to a segment register.
    LoadSelector(Segment, Selector),
    /// MOV from a debug register.
    ReadDebug(DebugRegister),
    /// MOV to a debug register.
    WriteDebug(DebugRegister, u64),
}

impl Operation {
    /// Tells whether the operation changes something, and does not only read.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::Rdmsr(_) | Self::ReadBase(_) | Self::ReadSelector(_) | Self::ReadDebug(_))
    }
}

/// A CPU that remembers what plans read back, calls `observe` for every operation, and does nothing else.
///
/// It tells what a switch costs. Whether a switch is right is another question: `selfsame-machine` answers that.
///
/// ```
/// use selfsame_switch::{Cpu, Operation, Segment, Selector, Trace};
///
/// let mut operations = 0;
/// let mut cpu = Trace::new(|_: Operation| operations += 1);
/// cpu.load_selector(Segment::Fs, Selector::NULL)?;
/// assert_eq!(operations, 1);
/// # Ok::<(), selfsame_switch::SegmentFault>(())
/// ```
#[derive(Debug)]
pub struct Trace<F> {
    observe: F,
    /// What the registers of [`REGISTERS`](crate::REGISTERS) hold. A guest may be played by changing them.
    pub registers: Registers,
    /// What the segment registers hold.
    pub selectors: Selectors,
    /// A selector that does not load.
    pub faulting_selector: Option<Selector>,
    /// What the debug registers hold.
    pub debug: DebugState,
    /// IA32_XFD.
    pub xfd: u64,
    /// IA32_XFD_ERR.
    pub xfd_err: u64,
}

impl<F: FnMut(Operation)> Trace<F> {
    /// Makes a CPU whose registers are as after RESET.
    pub const fn new(observe: F) -> Self {
        Self {
            observe,
            registers: Registers::RESET,
            selectors: Selectors::NULL,
            faulting_selector: None,
            debug: DebugState::RESET,
            xfd: 0,
            xfd_err: 0,
        }
    }

    fn note(&mut self, operation: Operation) {
        (self.observe)(operation);
    }
}

impl<F: FnMut(Operation)> Cpu for Trace<F> {
    fn wrmsr(&mut self, write: MsrWrite) {
        match write.msr() {
            Msr::Switched(register) => self.registers.set(register, write.value()),
            Msr::Xfd => self.xfd = write.value(),
            Msr::XfdErr => self.xfd_err = write.value(),
            _ => {}
        }
        self.note(Operation::Wrmsr(write));
    }

    fn rdmsr(&mut self, msr: Msr) -> u64 {
        self.note(Operation::Rdmsr(msr));
        match msr {
            Msr::Switched(register) => self.registers.get(register),
            Msr::Xfd => self.xfd,
            Msr::XfdErr => self.xfd_err,
            _ => 0,
        }
    }

    fn read_base(&mut self, register: Register) -> u64 {
        self.note(Operation::ReadBase(register));
        self.registers.get(register)
    }

    fn xsetbv(&mut self, xcr0: Xcr0) {
        self.note(Operation::Xsetbv(xcr0));
    }

    fn xstate_step(&mut self, step: &XstateStep) {
        if let Some(xss) = step.xss_save() {
            self.note(Operation::Wrmsr(MsrWrite::new(Msr::Xss, xss.bits())));
        }
        if let Some(xcr0) = step.xcr0_wide() {
            self.xsetbv(xcr0);
        }
        if let Some(area) = step.save_area() {
            self.note(Operation::Save(step.method(), area, step.save_mask()));
        }
        if step.clears_fp_pointers() {
            self.note(Operation::ClearFpPointers);
        }
        if let Some(area) = step.load_area() {
            self.note(Operation::Load(step.method(), area, step.load_mask()));
        }
        if let Some(xcr0) = step.xcr0_final() {
            self.xsetbv(xcr0);
        }
        if let Some(xss) = step.xss_final() {
            self.note(Operation::Wrmsr(MsrWrite::new(Msr::Xss, xss.bits())));
        }
    }

    fn lgdt(&mut self, gdtr: Gdtr) {
        self.note(Operation::Lgdt(gdtr));
    }

    fn write_ldt_descriptor(&mut self, bitness: Bitness, ldt: Ldt) {
        self.note(Operation::LdtDescriptor(bitness, ldt));
    }

    fn lldt(&mut self, selector: Selector) {
        self.note(Operation::Lldt(selector));
    }

    fn write_l1(&mut self, slot: GuestSlot, entry: L1Entry) {
        self.note(Operation::L1(slot, entry));
    }

    fn invlpg(&mut self, slot: GuestSlot) {
        self.note(Operation::Invlpg(slot));
    }

    fn write_cr3(&mut self, cr3: Cr3) {
        self.note(Operation::Cr3(cr3));
    }

    fn write_cr4(&mut self, cr4: Cr4) {
        self.note(Operation::Cr4(cr4));
    }

    fn set_task_switched(&mut self) {
        self.note(Operation::SetTaskSwitched);
    }

    fn clear_task_switched(&mut self) {
        self.note(Operation::ClearTaskSwitched);
    }

    fn selector(&mut self, segment: Segment) -> Selector {
        self.note(Operation::ReadSelector(segment));
        self.selectors.get(segment)
    }

    fn load_selector(&mut self, segment: Segment, selector: Selector) -> Result<(), SegmentFault> {
        self.note(Operation::LoadSelector(segment, selector));
        if self.faulting_selector == Some(selector) {
            return Err(SegmentFault { segment, selector });
        }
        self.selectors.set(segment, selector);
        Ok(())
    }

    fn read_debug(&mut self, register: DebugRegister) -> u64 {
        self.note(Operation::ReadDebug(register));
        *self.debug_register(register)
    }

    fn write_debug(&mut self, register: DebugRegister, value: u64) {
        *self.debug_register(register) = value;
        self.note(Operation::WriteDebug(register, value));
    }
}

impl<F> Trace<F> {
    const fn debug_register(&mut self, register: DebugRegister) -> &mut u64 {
        let [dr0, dr1, dr2, dr3] = &mut self.debug.addresses;
        match register {
            DebugRegister::Dr0 => dr0,
            DebugRegister::Dr1 => dr1,
            DebugRegister::Dr2 => dr2,
            DebugRegister::Dr3 => dr3,
            DebugRegister::Dr6 => &mut self.debug.dr6,
            DebugRegister::Dr7 => &mut self.debug.dr7,
        }
    }
}
