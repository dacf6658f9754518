//! The CPUID instruction.
#![expect(unsafe_code, reason = "UNSAFETY: executes CPUID; its intrinsic is unsafe in the oldest supported Rust")]

use core::arch::x86_64::__cpuid_count;

use selfsame_cpuid::Regs;

/// Executes CPUID on the CPU that runs the caller.
///
/// Beyond the highest leaf, Intel CPUs repeat it and AMD CPUs read zero; [`selfsame_cpuid::walk`] knows where to stop.
/// Where leaves differ between logical CPUs (APIC IDs, hybrid cores), the caller stays on one CPU for as long as the
/// answers have to agree.
///
/// ```
/// use selfsame_x86::cpuid;
///
/// let highest_leaf = cpuid(0, 0).eax;
/// if highest_leaf >= 7 {
///     println!("AVX2: {}", cpuid(7, 0).ebx >> 5 & 1);
/// }
/// ```
pub fn cpuid(leaf: u32, subleaf: u32) -> Regs {
    #[allow(unused_unsafe, reason = "newer toolchains have made the intrinsic safe")]
    // SAFETY: every x86-64 CPU has CPUID, and it touches nothing but its four output registers.
    let answer = unsafe { __cpuid_count(leaf, subleaf) };
    Regs::new(answer.eax, answer.ebx, answer.ecx, answer.edx)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use selfsame_cpuid::{Vendor, VendorName};
    use std::io::Write;

    #[test]
    fn leaf_0_names_a_vendor() {
        let name = VendorName::of(cpuid(0, 0));
        assert_ne!(Vendor::of(cpuid(0, 0)), Vendor::Unknown, "{name:?}");
    }

    #[test]
    fn a_subleaf_is_selected() {
        const XSAVE: u32 = 1 << 26;
        if cpuid(1, 0).ecx & XSAVE == 0 {
            // Not `eprintln`: the harness keeps what a passing test prints, and a skip must not look like a pass.
            let _ = std::io::stderr().write_all(b"SKIPPED: this machine has no XSAVE\n");
            return;
        }
        assert_ne!(cpuid(0xd, 0), cpuid(0xd, 1));
    }
}
