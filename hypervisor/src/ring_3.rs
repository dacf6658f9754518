//! CPUID in ring 3, which CPUID faulting is about.
#![expect(unsafe_code, reason = "UNSAFETY: leaves ring 0 and comes back")]

use core::cell::UnsafeCell;

use selfsame_cpuid::Regs;

use crate::cpu::Cpu;
use crate::fault::Fault;

#[cfg(bare)]
core::arch::global_asm!(
    include_str!("ring_3.s"),
    stack_pointer = const RETURN_AT + core::mem::offset_of!(Return, stack_pointer),
    regs = const RETURN_AT + core::mem::offset_of!(Return, regs),
    vector = const RETURN_AT + core::mem::offset_of!(Return, vector),
    error = const RETURN_AT + core::mem::offset_of!(Return, error),
    rip = const RETURN_AT + core::mem::offset_of!(Return, rip),
    code = const crate::segments::RING_3_CODE,
    data = const crate::segments::RING_3_DATA,
    ring_0_data = const crate::segments::DATA,
    page = const PAGE,
);

/// Where the area has the way back.
const RETURN_AT: usize = core::mem::offset_of!(Cpu, ring_3);

/// Where ring 3 sees its page; `entry.s` maps it there.
pub(crate) const PAGE: u64 = 4 << 30;

/// How ring 3 was left, and where the stack of ring 0 was.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Return {
    stack_pointer: UnsafeCell<u64>,
    /// EAX, EBX, ECX, EDX.
    regs: UnsafeCell<[u32; 4]>,
    vector: UnsafeCell<u64>,
    error: UnsafeCell<u64>,
    rip: UnsafeCell<u64>,
}

impl Return {
    pub(crate) const fn new() -> Self {
        Self {
            stack_pointer: UnsafeCell::new(0),
            regs: UnsafeCell::new([0; 4]),
            vector: UnsafeCell::new(0),
            error: UnsafeCell::new(0),
            rip: UnsafeCell::new(0),
        }
    }
}

unsafe extern "C" {
    /// Executes CPUID and then HLT in ring 3, and returns how ring 3 was left.
    fn enter_ring_3(leaf: u32, subleaf: u32);
}

/// The place of the HLT behind CPUID, and what it raises in ring 3: #GP(0).
const BEHIND: (u64, u64) = (PAGE + 2, 13);

/// Executes CPUID in ring 3 on `cpu`, which is the CPU that runs the caller.
///
/// # Errors
///
/// What ended ring 3 before CPUID had answered: #GP(0) where CPUID faulting is on.
pub fn cpuid_in_ring_3(cpu: &'static Cpu, leaf: u32, subleaf: u32) -> Result<Regs, Fault> {
    // SAFETY: the routine keeps the registers that the ABI says, and ring 3 can touch nothing but its page, which is read-only.
    unsafe { enter_ring_3(leaf, subleaf) };
    let left = &cpu.ring_3;
    // SAFETY: the way back is written by this CPU's traps from ring 3 alone, and ring 3 has been left.
    let rip = unsafe { *left.rip.get() };
    // SAFETY: as above.
    let vector = unsafe { *left.vector.get() };
    // SAFETY: as above.
    let error = unsafe { *left.error.get() };
    if (rip, vector) != BEHIND {
        return Err(Fault::of(vector, error));
    }
    // SAFETY: as above.
    Ok(unsafe { *left.regs.get() }.into())
}
