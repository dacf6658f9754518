//! CPUID in ring 3, which CPUID faulting is about.
#![expect(unsafe_code, reason = "UNSAFETY: leaves ring 0 and comes back")]

use selfsame_cpuid::Regs;

use crate::fault::Fault;

#[cfg(bare)]
core::arch::global_asm!(
    include_str!("ring_3.s"),
    stack_pointer = const core::mem::offset_of!(crate::Cpu, ring_0_stack_pointer),
    regs = const core::mem::offset_of!(Left, regs),
    vector = const core::mem::offset_of!(Left, vector),
    error = const core::mem::offset_of!(Left, error),
    rip = const core::mem::offset_of!(Left, rip),
    code = const crate::segments::RING_3_CODE,
    data = const crate::segments::RING_3_DATA,
    ring_0_data = const crate::segments::DATA,
    page = const PAGE,
);

/// Where ring 3 sees its page; `entry.s` maps it there.
pub(crate) const PAGE: u64 = 4 << 30;

/// How ring 3 was left.
#[derive(Debug, Default)]
#[repr(C)]
struct Left {
    /// EAX, EBX, ECX, EDX.
    regs: [u32; 4],
    vector: u64,
    error: u64,
    rip: u64,
}

unsafe extern "C" {
    /// Executes CPUID and then HLT in ring 3, and writes down which of them left it, and how.
    fn enter_ring_3(leaf: u32, subleaf: u32, left: &mut Left);
}

/// Executes CPUID in ring 3.
///
/// # Errors
///
/// What ended ring 3 before CPUID had answered: #GP(0) where CPUID faulting is on.
pub fn cpuid_in_ring_3(leaf: u32, subleaf: u32) -> Result<Regs, Fault> {
    /// HLT lies behind CPUID, and raises #GP(0) in ring 3.
    const BY_HLT: (u64, u64) = (PAGE + 2, 13);
    let mut left = Left::default();
    // SAFETY: the routine keeps the registers that the ABI says, and ring 3 can touch nothing but its page, which is
    // read-only.
    unsafe { enter_ring_3(leaf, subleaf, &mut left) };
    let Left { regs, vector, error, rip } = left;
    if (rip, vector) == BY_HLT { Ok(regs.into()) } else { Err(Fault::of(vector, error)) }
}
