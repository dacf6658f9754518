//! Taking a vCPU off: what its guest changed without an exit is read back.

use crate::debug::DR7_RESET;
use crate::switcher::{CARRIED, Current, LIVE, Switcher};
use crate::{Cpu, Cr4, Entry, GdtBase, Gdtr, Occupancy, Segment, Selector, SwitchError, Vcpu, VcpuKind};

impl Switcher<'_> {
    /// Takes a vCPU off this CPU, extended state included, and puts nobody in its place: because another CPU wants it, because
    /// somebody wants to look at its state, because it ends, before the machine sleeps. A vCPU that ends is flushed like any
    /// other: this CPU would take the next one of its name for it.
    ///
    /// When what is returned has been executed, its state is in memory, and its residence ends.
    ///
    /// # Errors
    ///
    /// Refuses a vCPU that is not on this CPU.
    pub fn flush(&mut self, cpu: &mut impl Cpu, vcpu: &mut Vcpu) -> Result<&Entry, SwitchError> {
        let is_here = vcpu.residence.cpu() == Some(self.own.tables.cpu());
        let is_current = is_here && self.current() == Some(vcpu.name());
        let is_owner = is_here && self.owner.is_some_and(|owner| owner.name == vcpu.name());
        if !is_current && !is_owner {
            return Err(SwitchError::NotCurrent { current: self.current() });
        }
        if is_current {
            self.leave(cpu, vcpu, self.own.cr4);
            self.note_exits();
            self.current = None;
            self.take_off_tables(cpu);
            self.turn_breakpoints_off(cpu);
            self.write_own(cpu, Occupancy::Idle);
        }
        self.entry = if is_owner { self.save_owner() } else { Entry::default() };
        Ok(&self.entry)
    }

    /// Reads back what the guest changed. `next_cr4` is what CR4 will be.
    pub(crate) fn leave(&mut self, cpu: &mut impl Cpu, vcpu: &mut Vcpu, next_cr4: Cr4) {
        let Some(&Current { occupancy, has_run: true, .. }) = self.current.as_ref() else {
            self.release_unless_owner(vcpu);
            return;
        };
        // A #DB that does not exit leaves its cause there, whether the guest sees the register or not.
        self.shadows.dr6.forget();
        match vcpu.kind() {
            VcpuKind::Pv64 | VcpuKind::Pv32 => self.take_off_segments(cpu, vcpu, next_cr4),
            VcpuKind::Hvm => {
                self.has_unnoted_exit = true;
                let live = LIVE.at(occupancy).intersection(self.platform.registers);
                live.for_each(|register| {
                    let value = cpu.read_base(register);
                    vcpu.registers.set(register, value);
                    self.shadows.registers[register.index()].found(value);
                });
                self.take_off_breakpoints(cpu, vcpu, occupancy);
            }
        }
        self.release_unless_owner(vcpu);
    }

    /// Ends the residence of a vCPU that never came to an entry: nothing of it is on the CPU any more.
    #[inline]
    fn release_unless_owner(&self, vcpu: &Vcpu) {
        if self.owner.is_none_or(|owner| owner.name != vcpu.name()) {
            vcpu.residence.release();
        }
    }

    /// Notes what the ways out of HVM guests have put into registers.
    pub(crate) fn note_exits(&mut self) {
        if !self.has_unnoted_exit {
            return;
        }
        self.has_unnoted_exit = false;
        let occupancy = VcpuKind::Hvm.occupancy(self.platform.virtualisation);
        CARRIED.at(occupancy).intersection(self.platform.registers).for_each(|register| {
            self.shadows.registers[register.index()].found(self.own.registers.get(register));
        });
        self.shadows.ldtr.found(None);
        self.shadows.dr7.found(DR7_RESET);
        // VMLOAD brings FS and GS of the hypervisor, which are null; #VMEXIT brings back GDTR, DS and ES as they were at VMRUN
        // (APM vol. 2, 15.5.1 and 15.6).
        let mut nulls: &[Segment] = &[Segment::Fs, Segment::Gs];
        if occupancy == Occupancy::Vmx {
            // The host-state area of the VMCS has no limit for GDTR, and its selectors are null (SDM vol. 3C, 28.5.2).
            self.shadows.gdtr.found(Gdtr::after_vmx_exit(GdtBase::of_cpu(&self.own.tables)));
            nulls = &Segment::ALL;
        }
        for &segment in nulls {
            self.shadows.selectors[segment as usize].found(Selector::NULL);
        }
    }
}
