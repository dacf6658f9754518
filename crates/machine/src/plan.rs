//! The CPU that plans of `selfsame-switch` write to.

use selfsame_switch::gdt::{CPU_MARKER_SELECTOR, FIRST_HYPERVISOR_SELECTOR, LDT_SELECTOR};
use selfsame_switch::{
    Bitness, Cpu, Cr3, Cr4 as PlannedCr4, DebugRegister, Gdtr, GuestSlot, L1Entry, Ldt, Msr, MsrWrite, Register,
    Segment, SegmentFault, Selector as PlannedSelector, XstateStep,
};
use selfsame_xstate::{SaveMethod, Xcr0};

use crate::fault::Fault;
use crate::ledger::{Selector, What};
use crate::memory::Space;
use crate::msr;
use crate::processor::{Cr4, Processor};
use crate::segment::TableRegister;
use crate::tag::{Owner, Tag};

/// Where every table has the hypervisor's code segment.
const CODE_SELECTOR: u16 = FIRST_HYPERVISOR_SELECTOR + 8;
const PRESENT_LDT: u64 = 0x82 << 40;

/// Plans cannot see faults: they are collected in [`LogicalCpu::faults`](crate::LogicalCpu::faults), as a hypervisor whose
/// instruction faults crashes. After each operation the machine looks whether an NMI could be delivered.
impl Cpu for Processor<'_> {
    fn wrmsr(&mut self, write: MsrWrite) {
        let result = Processor::wrmsr(self, write.msr().number(), write.value());
        self.note(result);
    }

    fn rdmsr(&mut self, msr: Msr) -> u64 {
        let result = Processor::rdmsr(self, msr.number());
        self.note(result).unwrap_or_default()
    }

    fn read_base(&mut self, register: Register) -> u64 {
        let number = register.row().number;
        if self.cpu.cr4.contains(Cr4::FSGSBASE) {
            self.cpu.msrs.get(number)
        } else {
            let result = Processor::rdmsr(self, number);
            self.note(result).unwrap_or_default()
        }
    }

    fn xsetbv(&mut self, xcr0: Xcr0) {
        let result = Processor::xsetbv(self, 0, xcr0.bits());
        self.note(result);
    }

    fn xstate_step(&mut self, step: &XstateStep) {
        let result = self.execute_step(step);
        self.note(result);
    }

    fn lgdt(&mut self, gdtr: Gdtr) {
        let result = Processor::lgdt(self, TableRegister { base: gdtr.base().linear(), limit: gdtr.limit() });
        self.note(result);
    }

    fn write_ldt_descriptor(&mut self, bitness: Bitness, ldt: Ldt) {
        let Some([native, compat]) = self.cpu.descriptor_pages else { return };
        let frame = if bitness == Bitness::Native { native } else { compat };
        let index = usize::from(LDT_SELECTOR & 0xFFF) / 8;
        let (base, limit) = (ldt.base(), u64::from(ldt.limit()));
        let low = limit | (base & 0xFF_FFFF) << 16 | PRESENT_LDT | (base >> 24 & 0xFF) << 56;
        self.cpu.ledger.record(What::Descriptor, self.memory.descriptor(frame, index), low);
        self.memory.set_descriptor(frame, index, low);
        self.memory.set_descriptor(frame, index + 1, base >> 32);
    }

    fn lldt(&mut self, selector: PlannedSelector) {
        let result = Processor::lldt(self, selector.value());
        self.note(result);
    }

    fn write_l1(&mut self, slot: GuestSlot, entry: L1Entry) {
        let space = Space::Domain(slot.domain().number());
        let result = self.store_l1_entry(space, slot.linear(), entry.bits());
        self.note(result);
    }

    fn invlpg(&mut self, slot: GuestSlot) {
        let result = Processor::invlpg(self, slot.linear());
        self.note(result);
    }

    fn write_cr3(&mut self, cr3: Cr3) {
        let result = self.set_cr3(cr3.bits());
        self.note(result);
    }

    fn write_cr4(&mut self, cr4: PlannedCr4) {
        let result = self.set_cr4(Cr4(cr4.bits()));
        self.note(result);
    }

    fn set_task_switched(&mut self) {
        let result = Processor::set_task_switched(self, true);
        self.note(result);
    }

    fn clear_task_switched(&mut self) {
        let result = Processor::set_task_switched(self, false);
        self.note(result);
    }

    fn selector(&mut self, segment: Segment) -> PlannedSelector {
        let [ds, es, fs, gs] = self.cpu.selectors;
        PlannedSelector::new(match segment {
            Segment::Ds => ds,
            Segment::Es => es,
            Segment::Fs => fs,
            Segment::Gs => gs,
        })
    }

    fn load_selector(&mut self, segment: Segment, selector: PlannedSelector) -> Result<(), SegmentFault> {
        let register = match segment {
            Segment::Ds => Selector::Ds,
            Segment::Es => Selector::Es,
            Segment::Fs => Selector::Fs,
            Segment::Gs => Selector::Gs,
        };
        // The plan recovers from these faults.
        Processor::load_selector(self, register, selector.value()).map_err(|_| SegmentFault { segment, selector })
    }

    fn read_debug(&mut self, register: DebugRegister) -> u64 {
        let [dr0, dr1, dr2, dr3] = self.cpu.breakpoints;
        match register {
            DebugRegister::Dr0 => dr0,
            DebugRegister::Dr1 => dr1,
            DebugRegister::Dr2 => dr2,
            DebugRegister::Dr3 => dr3,
            DebugRegister::Dr6 => self.cpu.dr6,
            DebugRegister::Dr7 => self.cpu.dr7,
        }
    }

    fn write_debug(&mut self, register: DebugRegister, value: u64) {
        let number = match register {
            DebugRegister::Dr0 => 0,
            DebugRegister::Dr1 => 1,
            DebugRegister::Dr2 => 2,
            DebugRegister::Dr3 => 3,
            DebugRegister::Dr6 => 6,
            DebugRegister::Dr7 => 7,
        };
        let result = self.set_debug_register(number, value);
        self.note(result);
    }
}

impl Processor<'_> {
    /// Does a step in the order that [`XstateStep`] gives.
    fn execute_step(&mut self, step: &XstateStep) -> Result<(), Fault> {
        if let Some(xss) = step.xss_save() {
            Processor::wrmsr(self, msr::XSS, xss.bits())?;
        }
        if let Some(xcr0) = step.xcr0_wide() {
            Processor::xsetbv(self, 0, xcr0.bits())?;
        }
        if let Some(area) = step.save_area() {
            let (linear, mask) = (area.get(), step.save_mask().bits());
            match step.method() {
                SaveMethod::Xsaves => self.xsaves(linear, mask)?,
                SaveMethod::Xsave => self.xsave(linear, mask)?,
                SaveMethod::Fxsave => self.fxsave(linear)?,
            }
        }
        if let Some(area) = step.load_area() {
            if step.clears_fp_pointers() {
                self.replace_fp_pointers(Tag::new(Owner::Cpu(self.cpu.number), 0).bits())?;
            }
            let (linear, mask) = (area.get(), step.load_mask().bits());
            match step.method() {
                SaveMethod::Xsaves => self.xrstors(linear, mask)?,
                SaveMethod::Xsave => self.xrstor(linear, mask)?,
                SaveMethod::Fxsave => self.fxrstor(linear)?,
            }
        }
        if let Some(xcr0) = step.xcr0_final() {
            Processor::xsetbv(self, 0, xcr0.bits())?;
        }
        if let Some(xss) = step.xss_final() {
            Processor::wrmsr(self, msr::XSS, xss.bits())?;
        }
        Ok(())
    }

    /// Takes a fault down, and the one that an NMI right now would raise.
    fn note<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        if let Err(fault) = self.deliver_nmi(CODE_SELECTOR, CPU_MARKER_SELECTOR) {
            self.cpu.faults.push(fault);
        }
        result.map_err(|fault| self.cpu.faults.push(fault)).ok()
    }
}
