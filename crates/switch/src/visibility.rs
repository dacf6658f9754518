//! What decides what CPUID shows a PV guest, whose CPUID does not exit.

use selfsame_cpuid::FaultingControl;

use crate::switcher::Switcher;
use crate::{Cpu, CpuidMask, Kind, Msr, MsrWrite, Vcpu};

/// How many masking MSRs a CPU has at most.
pub const MAX_MASKS: usize = 4;

/// The hardware that decides what CPUID shows PV guests, best first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Visibility {
    /// CPUID faults outside of ring 0, and the policy answers.
    Faulting(FaultingControl),
    /// Masking MSRs change what CPUID writes, vCPU by vCPU.
    Masks([Option<CpuidMask>; MAX_MASKS]),
    /// Nothing does: a guest that asks with the forced-emulation prefix or a hypercall sees its policy, and one that executes
    /// CPUID sees the machine.
    Emulated,
}

/// What CPUID has to show one vCPU, in terms of the machine's [`Visibility`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Shown {
    /// Whether CPUID faults: always for PV guests but the one that manages the machine; for an HVM guest, whose CPUID exits
    /// anyway, as it asked for itself.
    pub is_faulting: bool,
    /// What the masking MSRs hold, in the machine's order.
    pub masks: [u64; MAX_MASKS],
}

/// How often masking MSRs were written, and for how many switches to PV vCPUs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MaskWrites {
    /// Switches to PV vCPUs on hardware with masks.
    pub switches: u64,
    /// Writes of masking MSRs in them.
    pub writes: u64,
}

impl Switcher<'_> {
    /// Returns how often masking MSRs were written on this CPU.
    #[must_use]
    pub const fn mask_writes(&self) -> MaskWrites {
        self.mask_writes
    }

    /// Has CPUID show the arriving vCPU what it has to see.
    pub(crate) fn show(&mut self, cpu: &mut impl Cpu, to: &Vcpu) {
        match self.machine.visibility {
            Visibility::Faulting(control) => {
                let msr = if control == FaultingControl::AMD { Msr::Hwcr } else { Msr::MiscFeaturesEnables };
                let rest = self.own.faulting_register & !(1 << control.bit);
                self.shadows.is_faulting.update(to.shown.is_faulting, |is_faulting| {
                    cpu.wrmsr(MsrWrite::new(msr, rest | u64::from(is_faulting) << control.bit));
                });
            }
            // CPUID of an HVM guest exits, so that masks matter to PV guests only.
            Visibility::Masks(masks) if to.kind() != Kind::Hvm => {
                self.mask_writes.switches += 1;
                let values = to.shown.masks.into_iter().zip(&mut self.shadows.cpuid_masks);
                for (mask, (value, shadow)) in masks.into_iter().zip(values) {
                    let Some(mask) = mask else { continue };
                    let is_written =
                        shadow.update(value, |value| cpu.wrmsr(MsrWrite::new(Msr::CpuidMask(mask), value)));
                    self.mask_writes.writes += u64::from(is_written);
                }
            }
            Visibility::Masks(_) | Visibility::Emulated => {}
        }
    }
}
