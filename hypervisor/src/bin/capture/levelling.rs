//! Probes this CPU's levelling hardware in ring 0.
#![expect(unsafe_code, reason = "UNSAFETY: writes masking MSRs and faulting controls")]

use selfsame_cpuid::{LevellingCapabilities, MaskingMsr, ProbedCpu, Regs, probe};
use selfsame_hypervisor::{cpuid_in_ring_3, msr};

/// What levelling hardware the CPU has that runs the caller.
pub(crate) fn probed() -> LevellingCapabilities {
    probe(&mut ThisCpu)
}

struct ThisCpu;

impl ProbedCpu for ThisCpu {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Regs {
        selfsame_x86::cpuid(leaf, subleaf)
    }

    fn cpuid_faults_in_ring_3(&mut self) -> bool {
        cpuid_in_ring_3(0, 0).is_err()
    }

    fn read_msr(&mut self, index: u32) -> Option<u64> {
        msr::read_with_passcode(index, MaskingMsr::K8_PASSCODE).ok()
    }

    fn write_msr(&mut self, index: u32, value: u64) -> Option<()> {
        // SAFETY: `probe` writes MSRs that decide what CPUID shows and where it faults, and nothing else; what is
        // compiled here asks CPUID for nothing.
        unsafe { msr::write_with_passcode(index, value, MaskingMsr::K8_PASSCODE) }.ok()
    }
}
