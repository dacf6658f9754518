//! Debug registers and their address masks, put on and taken off.

use crate::debug::DR7_RESET;
use crate::switcher::{SwitchError, Switcher};
use crate::{Cpu, DebugRegister, DrMask, Msr, MsrWrite, Occupancy, Vcpu, VcpuKind};

impl Switcher<'_> {
    /// Gives an HVM guest the debug registers: from here on its MOVs to and from them need not exit. A vCPU starts without, as
    /// most never touch them, and gets them at the first MOV. Until then #DB exits under VMX, which leaves DR6 as it was
    /// (SDM vol. 3C, 28.1), and the hypervisor keeps the cause in the vCPU's [`DebugState::dr6`](crate::DebugState::dr6): nothing
    /// else does.
    ///
    /// # Errors
    ///
    /// Refuses a vCPU that is not on this CPU.
    pub fn grant_debug_access(&mut self, cpu: &mut impl Cpu, vcpu: &mut Vcpu) -> Result<(), SwitchError> {
        self.check_current(Some(vcpu))?;
        if vcpu.kind() == VcpuKind::Hvm && !vcpu.has_debug_access {
            vcpu.has_debug_access = true;
            self.put_on_breakpoints(cpu, vcpu);
        }
        Ok(())
    }

    /// Loads breakpoints, where the guest has some on or can see the registers.
    ///
    /// The order is off, addresses and masks, on: no breakpoint is ever a mixture of two guests'. Masks are loaded wherever
    /// the CPU has them: a guest that does not know of them must find them zero (XSA-444). DR7 of an HVM guest is in its VMCS
    /// or VMCB.
    pub(crate) fn put_on_breakpoints(&mut self, cpu: &mut impl Cpu, to: &Vcpu) {
        let occupancy = to.kind().occupancy(self.platform.virtualisation);
        let (is_wanted, dr7) = match to.kind() {
            VcpuKind::Pv64 | VcpuKind::Pv32 => (to.debug.is_active(), to.debug.dr7),
            VcpuKind::Hvm => (to.has_debug_access, DR7_RESET),
        };
        if !is_wanted {
            self.turn_breakpoints_off(cpu);
            return;
        }
        if !self.has_breakpoints_of(to) {
            self.turn_breakpoints_off(cpu);
            let values = to.debug.addresses.into_iter().zip(&mut self.shadows.dr);
            for (register, (value, shadow)) in DebugRegister::ADDRESSES.into_iter().zip(values) {
                shadow.update(value, |value| cpu.write_debug(register, value));
            }
            if self.platform.has_dr_masks {
                let values = to.debug.masks.into_iter().zip(&mut self.shadows.dr_masks);
                for (mask, (value, shadow)) in DrMask::ALL.into_iter().zip(values) {
                    shadow.update(value, |value| cpu.wrmsr(MsrWrite::new(Msr::DrMask(mask), u64::from(value))));
                }
            }
        }
        if occupancy == Occupancy::Vmx {
            self.shadows.dr6.update(to.debug.dr6, |dr6| cpu.write_debug(DebugRegister::Dr6, dr6));
        }
        self.shadows.dr7.update(dr7, |dr7| cpu.write_debug(DebugRegister::Dr7, dr7));
    }

    /// Tells whether addresses and masks are the vCPU's already.
    fn has_breakpoints_of(&self, to: &Vcpu) -> bool {
        let has_addresses = to.debug.addresses.iter().zip(&self.shadows.dr).all(|(&value, dr)| dr.holds(value));
        let has_masks = to.debug.masks.iter().zip(&self.shadows.dr_masks).all(|(&value, mask)| mask.holds(value));
        has_addresses && (has_masks || !self.platform.has_dr_masks)
    }

    pub(crate) fn turn_breakpoints_off(&mut self, cpu: &mut impl Cpu) {
        self.shadows.dr7.update(DR7_RESET, |dr7| cpu.write_debug(DebugRegister::Dr7, dr7));
    }

    /// Reads back what an HVM guest with access has put into DR0 to DR3, and into DR6 where no control block has it.
    pub(crate) fn take_off_breakpoints(&mut self, cpu: &mut impl Cpu, from: &mut Vcpu, occupancy: Occupancy) {
        if !from.has_debug_access {
            return;
        }
        let places = from.debug.addresses.iter_mut().zip(&mut self.shadows.dr);
        for (register, (value, shadow)) in DebugRegister::ADDRESSES.into_iter().zip(places) {
            *value = cpu.read_debug(register);
            shadow.found(*value);
        }
        if occupancy == Occupancy::Vmx {
            from.debug.dr6 = cpu.read_debug(DebugRegister::Dr6);
            self.shadows.dr6.found(from.debug.dr6);
        }
    }
}
