//! The area of each CPU: its stacks, its segments and what its traps leave for it.

use core::cell::UnsafeCell;
use core::sync::atomic::AtomicBool;

use crate::published::Published;
use crate::segments::Segments;

/// How many CPUs there may be: their local APIC IDs are below.
pub const MAX_CPUS: usize = 4;

/// The areas, by local APIC ID.
pub(crate) static CPUS: [Cpu; MAX_CPUS] = [const { Cpu::new() }; MAX_CPUS];

/// One CPU. While a program runs on it, its GS base is the address of this area.
///
/// Interrupted code may keep values below its stack pointer (the red zone), so no trap runs on the stack it interrupts.
/// What can come while another trap is handled has a stack alone: double faults, NMIs and machine checks; all else
/// shares one.
#[derive(Debug)]
#[repr(C)]
pub struct Cpu {
    /// The stack pointer of ring 0 while ring 3 runs; `ring_3.s` reads and writes it through GS.
    pub(crate) ring_0_stack_pointer: UnsafeCell<u64>,
    pub(crate) segments: Segments,
    /// What a CPU other than the boot CPU is to run.
    pub(crate) work: Published<fn(&'static Self)>,
    /// Whether it has reached Rust.
    pub(crate) is_up: AtomicBool,
    pub(crate) trap_stacks: [Stack<TRAP_STACK_BYTES>; TrapStack::COUNT],
    /// The stack of the program.
    pub(crate) stack: Stack<STACK_BYTES>,
}

pub(crate) const STACK_BYTES: usize = 128 << 10;
pub(crate) const TRAP_STACK_BYTES: usize = 16 << 10;

/// Which of its trap stacks a CPU takes for a vector: the entries of the TSS's interrupt stack table, from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum TrapStack {
    Ordinary = 1,
    DoubleFault = 2,
    Nmi = 3,
    MachineCheck = 4,
}

impl TrapStack {
    pub(crate) const COUNT: usize = 4;

    pub(crate) const fn of(vector: u8) -> Self {
        match vector {
            2 => Self::Nmi,
            8 => Self::DoubleFault,
            18 => Self::MachineCheck,
            _ => Self::Ordinary,
        }
    }
}

/// Memory that only the CPU's stack pointer points into.
#[derive(Debug)]
#[repr(C, align(16))]
pub(crate) struct Stack<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

impl<const BYTES: usize> Stack<BYTES> {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; BYTES]))
    }

    /// The address behind its last byte, where an empty stack begins.
    pub(crate) fn top(&self) -> usize {
        self.0.get().addr() + BYTES
    }
}

#[expect(unsafe_code, reason = "UNSAFETY: shares the areas between CPUs")]
// SAFETY: stacks, segments and the stack pointer are written by the area's own CPU alone; the rest is made for
// sharing.
unsafe impl Sync for Cpu {}

impl Cpu {
    const fn new() -> Self {
        Self {
            ring_0_stack_pointer: UnsafeCell::new(0),
            segments: Segments::new(),
            work: Published::new(),
            is_up: AtomicBool::new(false),
            trap_stacks: [const { Stack::new() }; TrapStack::COUNT],
            stack: Stack::new(),
        }
    }

    /// Which CPU it is: its local APIC ID, below [`MAX_CPUS`].
    pub fn index(&self) -> usize {
        (core::ptr::from_ref(self).addr() - CPUS.as_ptr().addr()) / size_of::<Self>()
    }
}
