//! The CPUID instruction, with faulting and masking.

use selfsame_cpuid::{FaultingControl, MaskMeaning, Register, Regs, WordSource};
use selfsame_xstate::{ComponentSet, Format, Layout};

use crate::fault::{Exit, Fault, GpCause};
use crate::processor::{Cr4, Processor};

/// Leaf 1, ECX: CR4.OSXSAVE is set.
const OSXSAVE: u32 = 1 << 27;
/// Leaf 1, EDX: the local APIC is enabled.
const APIC: u32 = 1 << 9;
/// Leaf 7, ECX: CR4.PKE is set.
const OSPKE: u32 = 1 << 4;

impl Processor<'_> {
    /// CPUID.
    ///
    /// Masks change the words that they cover: those of Intel are ANDed with what the CPU would say, dynamic bits included;
    /// those of AMD replace it, and a dynamic bit is shown if it is set there (SDM has none of this; see
    /// [`selfsame_cpuid::MASKING_MSRS`] for the sources).
    ///
    /// # Errors
    ///
    /// #GP outside ring 0 with faulting on; a VM exit in a guest under VMX or SVM.
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> Result<Regs, Fault> {
        // The fault comes before the exit (SDM vol. 3, 26.1.1).
        if self.cpu.cpl != 0 && self.is_faulting_on() {
            return Err(Fault::GeneralProtection(GpCause::CpuidFaulting));
        }
        if self.cpu.is_non_root() {
            return Err(Fault::Exit(Exit::Cpuid));
        }
        let mut answer = self.hardware.leaves().get(leaf, subleaf);
        match (leaf, subleaf) {
            (1, _) => answer.ecx &= !OSXSAVE,
            (7, 0) => {
                let has_pke = self.cpu.cr4.contains(Cr4::PKE);
                answer.ecx = answer.ecx & !OSPKE | if has_pke { OSPKE } else { 0 };
            }
            (0xD, 0) => answer.ebx = self.size_bytes_of(Format::Standard, self.cpu.xcr0),
            (0xD, 1) if self.hardware.geometry().has_xsavec() => {
                answer.ebx = self.size_bytes_of(Format::Compacted, self.cpu.xcr0 | self.cpu.xss);
            }
            _ => {}
        }
        self.mask(leaf, subleaf, &mut answer);
        Ok(answer)
    }

    pub(crate) fn is_faulting_on(&self) -> bool {
        let on = |control: FaultingControl| self.cpu.msrs.get(control.index) >> control.bit & 1 == 1;
        self.hardware.faulting().is_some_and(on)
    }

    /// Applies the masks, then adds what is dynamic in leaf 1.
    fn mask(&self, leaf: u32, subleaf: u32, answer: &mut Regs) {
        let mut dynamic = Regs { ecx: if self.cpu.cr4.contains(Cr4::OSXSAVE) { OSXSAVE } else { 0 }, ..Regs::ZERO };
        dynamic.edx = self.hardware.leaves().get(1, 0).edx & APIC;
        if leaf == 1 {
            answer.ecx |= dynamic.ecx;
        }
        for (mask, &value) in self.hardware.masks().iter().zip(self.cpu.msrs.masks()) {
            let high = mask.high.map(|word| (word, value >> 32));
            for (word, value) in [Some((mask.low, value & u64::from(u32::MAX))), high].into_iter().flatten() {
                let WordSource::Cpuid { leaf: covered, subleaf: covered_subleaf, register } = word.source() else {
                    continue;
                };
                if covered != leaf || covered_subleaf.is_some_and(|covered| covered != subleaf) {
                    continue;
                }
                let (shown, value) = (answer.get(register), u32::try_from(value).unwrap_or_default());
                *answer.get_mut(register) = match mask.meaning {
                    MaskMeaning::And => shown & value,
                    MaskMeaning::Override if leaf == 1 => {
                        let forwarded = if register == Register::Ecx { OSXSAVE } else { APIC };
                        value & !forwarded | value & dynamic.get(register)
                    }
                    MaskMeaning::Override => value,
                };
            }
        }
    }

    fn size_bytes_of(&self, format: Format, set: ComponentSet) -> u32 {
        Layout::new(format, set, self.hardware.geometry()).map_or(0, |layout| layout.size_bytes())
    }
}
