//! Control registers that switch extended state on.
#![expect(unsafe_code, reason = "UNSAFETY: writes CR4 and XCR0")]

use core::arch::asm;

use crate::fault::{Fault, recoverable};
use crate::msr::halves;

/// A bit of CR4 (SDM vol. 3A, 2.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cr4 {
    /// XSAVE, XSETBV and XCR0; CPUID shows it as OSXSAVE.
    OsXsave,
    /// Protection keys for user pages; CPUID shows it as OSPKE.
    Pke,
    /// RDFSBASE and its kin.
    FsGsBase,
    /// VMX operation may be entered.
    Vmxe,
}

impl Cr4 {
    const fn mask(self) -> u64 {
        match self {
            Self::OsXsave => 1 << 18,
            Self::Pke => 1 << 22,
            Self::FsGsBase => 1 << 16,
            Self::Vmxe => 1 << 13,
        }
    }
}

/// Sets a bit of CR4 on this CPU.
///
/// # Errors
///
/// #GP: the CPU does not have what the bit stands for.
pub fn set_cr4(bit: Cr4) -> Result<(), Fault> {
    let before: u64;
    // SAFETY: reading CR4 in ring 0 changes nothing.
    unsafe { asm!("mov {}, cr4", out(reg) before, options(nomem, nostack, preserves_flags)) };
    let value = before | bit.mask();
    // SAFETY: neither bit changes anything for a program that is compiled without XSAVE and has no user pages with a
    // key.
    unsafe { recoverable!("mov cr4, rax", in("rax") value, options(nostack, preserves_flags)) }
}

/// Writes XCR0 on this CPU.
///
/// # Errors
///
/// #UD without [`Cr4::OsXsave`]; #GP if the CPU does not have the components, or not alone.
pub fn write_xcr0(value: u64) -> Result<(), Fault> {
    let (low, high) = halves(value);
    // SAFETY: what is compiled here uses no more state than SSE, which works whatever XCR0 holds.
    unsafe { recoverable!("xsetbv", in("ecx") 0, in("eax") low, in("edx") high, options(nostack, preserves_flags)) }
}
