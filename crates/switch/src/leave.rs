//! Taking a vCPU off: what its guest changed without an exit is read back.

use crate::debug::DR7_RESET;
use crate::switcher::{CARRIED, LIVE, Switcher};
use crate::{
    Cpu, Cr4, DebugRegister, Entry, GdtBase, Gdtr, Kind, Occupancy, Register, Segment, Selector, SwitchError, Vcpu,
};

impl Switcher<'_> {
    /// Takes the vCPU that is on the CPU off it, extended state included, and puts nobody in its place: because another CPU
    /// wants it, because somebody wants to look at its state, because it ends, before the machine sleeps.
    ///
    /// When what is returned has been executed, its state is in memory.
    ///
    /// # Errors
    ///
    /// Refuses a vCPU that is not on this CPU.
    pub fn flush(&mut self, cpu: &mut impl Cpu, from: &mut Vcpu) -> Result<Entry, SwitchError> {
        let is_current = self.current() == Some(from.name());
        let is_owner = self.owner.is_some_and(|owner| owner.name == from.name());
        if !is_current && !is_owner {
            return Err(SwitchError::NotCurrent { current: self.current() });
        }
        if is_current {
            self.leave(cpu, from, self.own.cr4);
            self.current = None;
            self.take_off_tables(cpu);
            self.write_own(cpu, Occupancy::Idle);
        }
        Ok(if is_owner { self.save_owner() } else { Entry::default() })
    }

    /// Reads back what the guest changed. `next_cr4` is what CR4 will be.
    pub(crate) fn leave(&mut self, cpu: &mut impl Cpu, from: &mut Vcpu, next_cr4: Cr4) {
        let Some(current) = self.current else { return };
        if current.has_run {
            self.note_exit(current.occupancy);
        }
        match from.kind() {
            Kind::Pv64 | Kind::Pv32 => self.take_off_segments(cpu, from, next_cr4),
            Kind::Hvm if current.has_run => {
                for register in self.registers(LIVE, current.occupancy).iter() {
                    let value = cpu.read_base(register);
                    from.registers.set(register, value);
                    self.shadows.registers[register.index()].found(value);
                }
                self.take_off_debug(cpu, from, current.occupancy);
            }
            Kind::Hvm => {}
        }
        if self.owner.is_none_or(|owner| owner.name != from.name()) {
            // It never came to an entry: nothing of it but what has just been read was on the CPU.
            from.residence.release();
        }
    }

    /// Notes what the way out of an HVM guest has put into registers.
    fn note_exit(&mut self, occupancy: Occupancy) {
        for register in self.registers(CARRIED, occupancy).iter() {
            self.shadows.registers[register.index()].found(self.own.registers.get(register));
        }
        match occupancy {
            // The host-state area of the VMCS has no limits, no LDTR and no DR7 (SDM vol. 3C, 28.5).
            Occupancy::Vmx => {
                let base = GdtBase::of_cpu(&self.own.tables);
                self.shadows.gdtr.found(Gdtr::after_vmx_exit(base));
                self.shadows.ldtr.found(None);
                for segment in Segment::ALL {
                    self.shadows.selectors[segment as usize].found(Selector::NULL);
                }
                self.shadows.dr7.found(DR7_RESET);
            }
            // VMRUN saved GDTR, DS and ES, and #VMEXIT brought them back; VMLOAD did it with LDTR, FS and GS
            // (APM vol. 2, 15.5 and 15.6).
            Occupancy::Svm => {
                self.shadows.ldtr.found(None);
                self.shadows.selectors[Segment::Fs as usize].found(Selector::NULL);
                self.shadows.selectors[Segment::Gs as usize].found(Selector::NULL);
                self.shadows.dr7.found(DR7_RESET);
            }
            Occupancy::Pv | Occupancy::Idle => {}
        }
    }

    /// Reads DR0 to DR3 of a guest that writes them without an exit, and DR6 where nothing carries it.
    fn take_off_debug(&mut self, cpu: &mut impl Cpu, from: &mut Vcpu, occupancy: Occupancy) {
        if !from.has_debug_access {
            return;
        }
        let places = from.debug.addresses.iter_mut().zip(&mut self.shadows.dr);
        for (register, (recorded, shadow)) in DebugRegister::ADDRESSES.into_iter().zip(places) {
            *recorded = cpu.read_debug(register);
            shadow.found(*recorded);
        }
        if occupancy == Occupancy::Vmx {
            from.debug.dr6 = cpu.read_debug(DebugRegister::Dr6);
            self.shadows.dr6.found(from.debug.dr6);
        }
    }

    /// Reads the segments of a PV guest, and the bases of a 64-bit one.
    fn take_off_segments(&mut self, cpu: &mut impl Cpu, from: &mut Vcpu, next_cr4: Cr4) {
        for segment in Segment::ALL {
            let selector = cpu.selector(segment);
            from.selectors.set(segment, selector);
            self.shadows.selectors[segment as usize].found(selector);
        }
        if from.kind() == Kind::Pv32 {
            // Its bases are those of its descriptors.
            self.shadows.registers[Register::FsBase.index()].forget();
            self.shadows.registers[Register::GsBase.index()].forget();
            return;
        }
        // A guest without FSGSBASE still changes bases, by loading selectors; but its CR4 does not let us read them.
        if self.own.cr4.has_fsgsbase() && !self.shadows.cr4.get().is_some_and(Cr4::has_fsgsbase) {
            let cr4 = if next_cr4.has_fsgsbase() { next_cr4 } else { self.own.cr4 };
            self.shadows.cr4.update(cr4, |cr4| cpu.write_cr4(cr4));
        }
        for register in [Register::FsBase, Register::GsBase] {
            let base = cpu.read_base(register);
            from.registers.set(register, base);
            self.shadows.registers[register.index()].found(base);
        }
    }
}
