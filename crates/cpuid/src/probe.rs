//! Probes what levelling hardware a CPU has, by what it does to CPUID.
//!
//! That an MSR can be written proves nothing: QEMU without KVM accepts any write and drops it, and so may a hypervisor
//! below. So each control is changed, read back, looked for in what CPUID answers, and put back. What the CPU's model
//! is expected to have ([`LevellingCapabilities::expected`]) is not asked for: a control that faults when it is read is
//! not there, and one that has the effect is there.

use crate::capabilities::{Capability, FaultingControl, LevellingCapabilities, MASKING_MSRS, MaskMeaning};
use crate::place::{Register, Word, WordSource};
use crate::regs::Regs;

/// A CPU that can be probed: what ring 0 can do on it.
///
/// No other code may run on the CPU meanwhile, nor on the other threads of its core, which may share its masks.
pub trait ProbedCpu {
    /// Executes CPUID in ring 0.
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Regs;

    /// Executes CPUID in ring 3; returns whether it faults there.
    fn cpuid_faults_in_ring_3(&mut self) -> bool;

    /// Reads an MSR, with [`K8_PASSCODE`](crate::MaskingMsr::K8_PASSCODE) in EDI; `None` where that faults.
    fn read_msr(&mut self, index: u32) -> Option<u64>;

    /// Writes an MSR, with [`K8_PASSCODE`](crate::MaskingMsr::K8_PASSCODE) in EDI; `None` where that faults.
    fn write_msr(&mut self, index: u32, value: u64) -> Option<()>;
}

/// Finds what levelling hardware a CPU has, and leaves every MSR as it was.
///
/// ```
/// use selfsame_cpuid::{ProbedCpu, Regs, probe};
///
/// /// Accepts what is written to any MSR, and does nothing.
/// struct Swallowing;
///
/// impl ProbedCpu for Swallowing {
///     fn cpuid(&mut self, _: u32, _: u32) -> Regs {
///         Regs::new(1, 1, 1, 1)
///     }
///     fn cpuid_faults_in_ring_3(&mut self) -> bool {
///         false
///     }
///     fn read_msr(&mut self, _: u32) -> Option<u64> {
///         Some(0)
///     }
///     fn write_msr(&mut self, _: u32, _: u64) -> Option<()> {
///         Some(())
///     }
/// }
///
/// assert!(probe(&mut Swallowing).is_empty());
/// ```
pub fn probe(cpu: &mut impl ProbedCpu) -> LevellingCapabilities {
    let mut found = LevellingCapabilities::EMPTY;
    if [FaultingControl::INTEL, FaultingControl::AMD].into_iter().any(|control| faults(cpu, control)) {
        found.insert(Capability::Faulting);
    }
    for row in &MASKING_MSRS {
        for (word, shift) in row.words().zip([0, u32::BITS]) {
            if masks(cpu, row.index, row.meaning, word, shift) {
                found.insert(Capability::Mask(word));
            }
        }
    }
    found
}

/// Whether CPUID faults in ring 3 exactly while the control is set.
fn faults(cpu: &mut impl ProbedCpu, control: FaultingControl) -> bool {
    let Some(before) = cpu.read_msr(control.index) else { return false };
    let bit = 1 << control.bit;
    let mut faults_with = |value| with(cpu, control.index, before, value, ProbedCpu::cpuid_faults_in_ring_3);
    faults_with(before | bit) == Some(true) && faults_with(before & !bit) == Some(false)
}

/// Whether the half of a masking MSR at `shift` decides one bit of `word`, and gives it back.
fn masks(cpu: &mut impl ProbedCpu, index: u32, meaning: MaskMeaning, word: Word, shift: u32) -> bool {
    let WordSource::Cpuid { leaf, subleaf, register } = word.source() else { return false };
    let shown = |cpu: &mut _| ProbedCpu::cpuid(cpu, leaf, subleaf.unwrap_or(0)).get(register);
    let Some(before) = cpu.read_msr(index) else { return false };
    let native = shown(cpu);
    // A bit that the MSR and CPUID agree on: where the MSR decides, they do.
    let agreed = match meaning {
        MaskMeaning::And => native & half(before, shift),
        MaskMeaning::Override => !(native ^ half(before, shift)),
    };
    let agreed = agreed & !dynamic(leaf, register);
    let bit = agreed & agreed.wrapping_neg();
    if bit == 0 {
        return false;
    }
    let changed = with(cpu, index, before, before ^ u64::from(bit) << shift, shown);
    changed == Some(native ^ bit) && shown(cpu) == native
}

/// What `look` sees while an MSR holds `value`; `None` if it does not take it. The MSR gets `before` back.
fn with<C: ProbedCpu, T>(
    cpu: &mut C,
    index: u32,
    before: u64,
    value: u64,
    look: impl FnOnce(&mut C) -> T,
) -> Option<T> {
    cpu.write_msr(index, value)?;
    let seen = (cpu.read_msr(index) == Some(value)).then(|| look(cpu));
    cpu.write_msr(index, before)?;
    seen
}

/// The bits that show the CPU's state (APIC, OSXSAVE), not what a mask left of its features.
fn dynamic(leaf: u32, register: Register) -> u32 {
    match (leaf, register) {
        (1, Register::Ecx) => 1 << 27,
        (1 | 0x8000_0001, Register::Edx) => 1 << 9,
        _ => 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "one half is meant")]
const fn half(value: u64, shift: u32) -> u32 {
    (value >> shift) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::string::ToString;
    use std::vec::Vec;

    /// What becomes of a write to an MSR that the CPU has.
    #[derive(Clone, Copy, PartialEq)]
    enum Writes {
        Kept,
        Swallowed,
        Faulting,
    }

    struct FakeCpu {
        /// What CPUID answers without masks, by word.
        native: BTreeMap<Word, u32>,
        msrs: BTreeMap<u32, u64>,
        writes: Writes,
        /// Whether what is in the MSRs does what it says.
        is_effective: bool,
        /// Whether CPUID faults in ring 3 whatever the controls say.
        always_faults: bool,
        written: Vec<u32>,
    }

    const LEAF_1_ECX: Word = Word::leaf(1, Register::Ecx);
    const LEAF_1_EDX: Word = Word::leaf(1, Register::Edx);

    impl FakeCpu {
        fn new(native: &[(Word, u32)], msrs: &[(u32, u64)]) -> Self {
            Self {
                native: native.iter().copied().collect(),
                msrs: msrs.iter().copied().collect(),
                writes: Writes::Kept,
                is_effective: true,
                always_faults: false,
                written: Vec::new(),
            }
        }

        /// Every word has bits, every MSR has all bits.
        fn with_everything() -> Self {
            let words: Vec<_> = MASKING_MSRS.iter().flat_map(|row| row.words()).map(|word| (word, 0x1234)).collect();
            let msrs: Vec<_> = MASKING_MSRS
                .iter()
                .map(|row| match row.meaning {
                    MaskMeaning::And => (row.index, u64::MAX),
                    MaskMeaning::Override => (row.index, 0x1234_0000_1234),
                })
                .collect();
            Self::new(&words, &msrs)
        }

        fn probed(&mut self) -> std::string::String {
            let before = self.msrs.clone();
            let found = probe(self).to_string();
            assert_eq!(self.msrs, before, "every MSR is put back");
            found
        }

        fn mask(&self, word: Word, native: u32) -> u32 {
            let rows = MASKING_MSRS.iter().filter(|row| self.msrs.contains_key(&row.index));
            rows.flat_map(|row| row.words().zip([0, 32]).map(move |(own, shift)| (row, own, shift)))
                .filter(|(_, own, _)| *own == word)
                .fold(native, |value, (row, _, shift)| match row.meaning {
                    MaskMeaning::And => value & half(self.msrs[&row.index], shift),
                    MaskMeaning::Override => half(self.msrs[&row.index], shift),
                })
        }
    }

    impl ProbedCpu for FakeCpu {
        fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Regs {
            let mut regs = Regs::ZERO;
            for register in Register::ALL {
                let word = Word::find(leaf, subleaf, register).unwrap();
                let native = self.native.get(&word).copied().unwrap_or(0);
                *regs.get_mut(register) = if self.is_effective { self.mask(word, native) } else { native };
            }
            regs
        }

        fn cpuid_faults_in_ring_3(&mut self) -> bool {
            let is_set = |control: FaultingControl| {
                self.msrs.get(&control.index).is_some_and(|value| value >> control.bit & 1 == 1)
            };
            self.always_faults || self.is_effective && (is_set(FaultingControl::INTEL) || is_set(FaultingControl::AMD))
        }

        fn read_msr(&mut self, index: u32) -> Option<u64> {
            self.msrs.get(&index).copied()
        }

        fn write_msr(&mut self, index: u32, value: u64) -> Option<()> {
            self.written.push(index);
            match (self.writes, self.msrs.get_mut(&index)) {
                (_, None) | (Writes::Faulting, _) => None,
                (Writes::Swallowed, _) => Some(()),
                (Writes::Kept, Some(own)) => {
                    *own = value;
                    Some(())
                }
            }
        }
    }

    #[test]
    fn a_cpu_without_the_msrs_has_nothing_and_nothing_is_written() {
        let mut cpu = FakeCpu::new(&[(LEAF_1_ECX, 1)], &[]);
        assert_eq!(cpu.probed(), "");
        assert_eq!(cpu.written, []);
    }

    #[test]
    fn writes_that_are_swallowed_prove_nothing() {
        let every_msr = MASKING_MSRS.iter().map(|row| row.index).chain([0x140, 0xc001_0015]);
        let msrs: Vec<_> = every_msr.map(|index| (index, 0)).collect();
        let mut cpu =
            FakeCpu { writes: Writes::Swallowed, is_effective: false, ..FakeCpu::new(&[(LEAF_1_ECX, 9)], &msrs) };
        assert_eq!(cpu.probed(), "");
    }

    #[test]
    fn msrs_that_keep_what_is_written_and_do_nothing_are_no_levelling_hardware() {
        let mut cpu = FakeCpu { is_effective: false, ..FakeCpu::with_everything() };
        cpu.msrs.extend([(0x140, 0), (0xc001_0015, 0)]);
        assert_eq!(cpu.probed(), "");
        assert!(!cpu.written.is_empty());
    }

    #[test]
    fn writes_that_fault_prove_that_nothing_is_there() {
        let mut cpu = FakeCpu { writes: Writes::Faulting, ..FakeCpu::with_everything() };
        cpu.msrs.insert(0x140, 0);
        assert_eq!(cpu.probed(), "");
    }

    #[test]
    fn masks_that_hide_are_found_word_by_word() {
        let native = [(LEAF_1_ECX, 0x0800_0021), (LEAF_1_EDX, 0x200)];
        let mut cpu = FakeCpu::new(&native, &[(0x132, u64::MAX)]);
        assert_eq!(cpu.probed(), "mask:00000001.ecx", "of EDX only the dynamic APIC bit is there to be hidden");
        cpu.native.insert(LEAF_1_EDX, 0x210);
        assert_eq!(cpu.probed(), "mask:00000001.ecx mask:00000001.edx");
    }

    #[test]
    fn a_mask_that_already_hides_every_bit_is_not_found() {
        let mut cpu = FakeCpu::new(&[(LEAF_1_ECX, 1)], &[(0x132, 0xffff_ffff_0000_0000)]);
        assert_eq!(cpu.probed(), "");
    }

    #[test]
    fn overrides_are_found_where_no_bit_is_set_too() {
        let highest_subleaf = Word::subleaf(7, 0, Register::Eax);
        let features = Word::subleaf(7, 0, Register::Ebx);
        let mut cpu = FakeCpu::new(&[(highest_subleaf, 0), (features, 0x219c_07a9)], &[(0xc001_1002, 0x219c_07a9)]);
        assert_eq!(cpu.probed(), "mask:00000007.0.eax mask:00000007.0.ebx");
    }

    #[test]
    fn an_override_whose_apic_bit_is_dynamic_is_found_by_another_bit() {
        let mut cpu = FakeCpu::new(&[(LEAF_1_EDX, u32::MAX)], &[(0xc001_1004, u64::from(u32::MAX))]);
        assert_eq!(cpu.probed(), "mask:00000001.ecx mask:00000001.edx");
    }

    #[test]
    fn every_masking_msr_is_found_alone() {
        let all = FakeCpu::with_everything();
        for row in &MASKING_MSRS {
            let mut cpu = FakeCpu::with_everything();
            cpu.msrs.retain(|&index, _| index == row.index);
            let mut expected = LevellingCapabilities::EMPTY;
            row.words().for_each(|word| expected.insert(Capability::Mask(word)));
            assert_eq!(cpu.probed(), expected.to_string(), "{:#x}", row.index);
        }
        assert_eq!(all.msrs.len(), MASKING_MSRS.len());
    }

    #[test]
    fn faulting_is_found_by_either_control_set_or_not() {
        for control in [FaultingControl::INTEL, FaultingControl::AMD] {
            for value in [0, 0x10, 1 << control.bit] {
                let mut cpu = FakeCpu::new(&[], &[(control.index, value)]);
                assert_eq!(cpu.probed(), "faulting", "{control:?} {value:#x}");
            }
        }
    }

    #[test]
    fn cpuid_that_faults_whatever_the_controls_say_is_no_faulting() {
        let mut cpu = FakeCpu { always_faults: true, ..FakeCpu::new(&[], &[(0x140, 0), (0xc001_0015, 0)]) };
        assert_eq!(cpu.probed(), "");
    }
}
