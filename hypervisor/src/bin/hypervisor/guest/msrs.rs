//! A guest's MSRs: which it reaches without an exit, and what its exits read and write.

use selfsame_cpuid::Policy;
use selfsame_hypervisor::msr;
use selfsame_switch::{Content, Cpu, GuestXss, REGISTERS, Register, Switcher, VcpuKind, Virtualisation};
use selfsame_xstate::{COMPONENTS, wrmsr_xss};

use super::{Guest, low};
use crate::virtual_cpu::{Capabilities, ControlBlock};

const APIC_BASE: u32 = 0x1b;
const EFER: u32 = 0xc000_0080;
const XSS: u32 = 0xda0;

/// IA32_S_CET and IA32_INTERRUPT_SSP_TABLE_ADDR, which are in no component: a VMCS has them. A VMCB has them too, with SSP
/// (APM vol. 2, appendix B), but not every implementation of SVM takes them from there: under SVM they are the
/// hypervisor's to write.
const CET: [u32; 2] = [0x6a2, 0x6a8];

impl Guest {
    /// `None` is a #GP.
    pub(super) fn read_msr(&self) -> Option<u64> {
        /// The boot CPU's, with the APIC on and where it always is.
        const BOOT_APIC: u64 = 0xfee0_0900;
        let number = low(self.registers.rcx);
        match number {
            APIC_BASE => Some(BOOT_APIC),
            EFER => Some(self.control.mode().efer),
            XSS => match (self.permitted.xss, self.vcpu.extended.xss()) {
                (Some(_), GuestXss::Own(xss)) => Some(xss.bits()),
                _ => None,
            },
            _ => match self.cet_place(number).and_then(|place| self.cet.get(place)) {
                Some(&value) => Some(value),
                None => self.read_other_msr(number),
            },
        }
    }

    fn read_other_msr(&self, number: u32) -> Option<u64> {
        match self.switched_register(number) {
            Some(register) => Some(self.vcpu.registers.get(register)),
            None => self.policy.leaves.msr(number).filter(|&value| value != 0),
        }
    }

    /// The place of a register of CET that the hypervisor switches itself.
    fn cet_place(&self, number: u32) -> Option<usize> {
        let is_switched_here = self.capabilities.has_cet && matches!(self.control, ControlBlock::Svm(_));
        CET.iter().position(|&cet| cet == number).filter(|_| is_switched_here)
    }

    /// Writes the registers of CET that the hypervisor switches itself, when the vCPU has come to a CPU. They mean nothing to
    /// the hypervisor, whose CR4.CET is clear.
    pub(crate) fn put_on_cet(&mut self) {
        for (place, number) in CET.into_iter().enumerate() {
            if self.cet_place(number).is_some()
                && let Some(&value) = self.cet.get(place)
            {
                self.control.set_cet(place, value);
                // The value is one that the CPU took before.
                _ = write_cet(number, value);
            }
        }
    }

    /// `None` is a #GP.
    pub(super) fn write_msr(&mut self, switcher: &mut Switcher<'_>, cpu: &mut impl Cpu) -> Option<()> {
        const LME: u64 = 1 << 8;
        const LMA: u64 = 1 << 10;
        const PAGING: u64 = 1 << 31;
        let (number, value) = (low(self.registers.rcx), self.registers.edx_eax());
        match number {
            APIC_BASE => Some(()),
            EFER => {
                // LME does not change under paging (SDM vol. 3A, 4.1.2).
                let mode = self.control.mode();
                let is_frozen = mode.cr0 & PAGING != 0 && (value ^ mode.efer) & LME != 0;
                let is_legal = value & !self.policy.leaves.efer_bits() == 0 && !is_frozen;
                is_legal.then(|| self.control.set_efer(value & !LMA))
            }
            XSS => {
                let xss = wrmsr_xss(value, self.permitted.xss).ok()?;
                self.vcpu.extended.set_xss(GuestXss::Own(xss));
                Some(())
            }
            _ => {
                if let Some(place) = self.cet_place(number) {
                    write_cet(number, value)?;
                    *self.cet.get_mut(place)? = value;
                    self.control.set_cet(place, value);
                    return Some(());
                }
                let register = self.switched_register(number)?;
                let is_legal = register.row().is_legal(value, self.permitted.addresses);
                is_legal.then(|| switcher.write_register(cpu, &mut self.vcpu, register, value))
            }
        }
    }

    /// The register of this number that a switch takes along, if the guest has it and its accesses come here.
    fn switched_register(&self, number: u32) -> Option<Register> {
        let row = REGISTERS.iter().find(|row| row.number == number)?;
        row.is_on(&self.policy.leaves).then_some(row.register)
    }
}

/// Lets the guest reach what is switched without the hypervisor's help: what its entries and exits carry, what the switch
/// reads back, and the components that its policy has.
pub(super) fn pass_msrs(control: &mut ControlBlock, by: Virtualisation, policy: &Policy, capabilities: &Capabilities) {
    let occupancy = VcpuKind::Hvm.occupancy(by);
    for row in REGISTERS.iter().filter(|row| row.is_on(&policy.leaves)) {
        if matches!(row.content(occupancy), Content::Carried | Content::Live) {
            control.pass_msr(row.number);
        }
    }
    let states = policy.leaves.xcr0() | policy.leaves.xss();
    for row in COMPONENTS.iter().filter(|row| states.contains(row.component)) {
        row.msrs.iter().for_each(|&number| control.pass_msr(number));
    }
    if capabilities.has_cet && by == Virtualisation::Vmx {
        CET.into_iter().for_each(|number| control.pass_msr(number));
    }
}

/// Writes a register of CET; the CPU judges the value. `None` is a #GP.
fn write_cet(number: u32, value: u64) -> Option<()> {
    #[expect(unsafe_code, reason = "UNSAFETY: writes IA32_S_CET or IA32_INTERRUPT_SSP_TABLE_ADDR")]
    // SAFETY: CR4.CET is clear in the hypervisor: nothing here looks at them.
    unsafe { msr::write(number, value) }.ok()
}
