//! Model-specific registers. An MSR that is not there, or does not take a value, is a [`Fault`].
#![expect(unsafe_code, reason = "UNSAFETY: executes RDMSR and WRMSR")]

use crate::fault::{Fault, recoverable};

/// Reads an MSR.
///
/// # Errors
///
/// #GP: the CPU has no such MSR.
pub fn read(index: u32) -> Result<u64, Fault> {
    read_with_passcode(index, 0)
}

/// Reads an MSR with a passcode in EDI, which some MSRs of AMD's K8 want
/// ([`K8_PASSCODE`](selfsame_cpuid::MaskingMsr::K8_PASSCODE)) and all others ignore.
///
/// # Errors
///
/// #GP: the CPU has no such MSR.
pub fn read_with_passcode(index: u32, passcode: u32) -> Result<u64, Fault> {
    let (low, high): (u32, u32);
    // SAFETY: RDMSR touches no memory, and no MSR changes what Rust relies on by being read. Where it faults, EAX and
    // EDX hold what they held, and are not used.
    let outcome = unsafe {
        recoverable!(
            "rdmsr",
            in("ecx") index, in("edi") passcode, inlateout("eax") 0 => low, inlateout("edx") 0 => high,
            options(nostack, preserves_flags)
        )
    };
    outcome.map(|()| u64::from(high) << 32 | u64::from(low))
}

/// Writes an MSR.
///
/// # Errors
///
/// #GP: the CPU has no such MSR, or it does not take the value.
///
/// # Safety
///
/// The value changes nothing that the running program relies on: its segments, its address space, its execution mode.
pub unsafe fn write(index: u32, value: u64) -> Result<(), Fault> {
    // SAFETY: the caller's.
    unsafe { write_with_passcode(index, value, 0) }
}

/// Writes an MSR with a passcode in EDI, as [`read_with_passcode`].
///
/// # Errors
///
/// #GP: the CPU has no such MSR, or it does not take the value.
///
/// # Safety
///
/// As for [`write()`].
pub unsafe fn write_with_passcode(index: u32, value: u64, passcode: u32) -> Result<(), Fault> {
    let (low, high) = halves(value);
    // SAFETY: the caller's. Memory counts as touched: an MSR may change how it is seen.
    unsafe {
        recoverable!(
            "wrmsr",
            in("ecx") index, in("edi") passcode, in("eax") low, in("edx") high, options(nostack, preserves_flags)
        )
    }
}

/// EAX and EDX for a value of 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
pub(crate) const fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}
