//! Traps: recovered from where that was foreseen, reported where it was not.
#![expect(unsafe_code, reason = "UNSAFETY: loads the interrupt descriptor table")]

use core::arch::asm;
use core::fmt::Write;

use crate::cpu::TrapStack;
use crate::exit::{Outcome, exit};
use crate::fault::Fault;
use crate::published::Published;
use crate::segments::{CODE, TablePointer};
use crate::serial::Serial;

#[cfg(bare)]
core::arch::global_asm!(
    include_str!("traps.s"),
    with_error_code = const crate::fault::WITH_ERROR_CODE,
    recoverable = const crate::fault::RECOVERABLE,
    unexpected = sym unexpected,
    ring_3_page = const crate::ring_3::PAGE,
    interrupt = const crate::apic::INTERRUPT_VECTOR,
    spurious_interrupt = const crate::apic::SPURIOUS_INTERRUPT_VECTOR,
    end_of_interrupt = const crate::apic::APIC + crate::apic::END_OF_INTERRUPT,
);

unsafe extern "C" {
    /// The stubs of `traps.s`, by vector.
    static trap_stubs: [[u8; STUB_BYTES]; VECTORS];
}

const VECTORS: usize = 256;
const STUB_BYTES: usize = 16;

/// The table of all CPUs.
static IDT: Published<[Gate; VECTORS]> = Published::new();

/// A gate in 64-bit mode (SDM vol. 3A, 6.14.1), low half first.
type Gate = [u64; 2];

/// Makes the table. The boot CPU does it before any CPU loads it.
pub(crate) fn initialise() {
    let stubs = (&raw const trap_stubs).addr() as u64;
    let gates = core::array::from_fn(|vector| {
        let handler = stubs + (vector * STUB_BYTES) as u64;
        gate(handler, u8::try_from(vector).map_or(TrapStack::Ordinary, TrapStack::of))
    });
    // A second table would be the same.
    let _ = IDT.publish(gates);
}

/// Where the table is; 0 before there is one.
pub(crate) fn table_address() -> u64 {
    IDT.get().map_or(0, |gates| core::ptr::from_ref(gates).addr() as u64)
}

/// Loads the table on this CPU.
///
/// # Safety
///
/// The CPU's segments are loaded: the gates use their code segment and the task state's stacks.
pub(crate) unsafe fn load() {
    let Some(gates) = IDT.get() else { return };
    let pointer = TablePointer::new(gates);
    // SAFETY: the table is there for good, and the caller's promise is what its gates need.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}

/// An interrupt gate of ring 0.
fn gate(handler: u64, stack: TrapStack) -> Gate {
    let kind = 0x8e00 | stack as u64;
    let low = handler & 0xffff | u64::from(CODE) << 16 | kind << 32 | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// What the stubs and the CPU leave on the stack, lowest address first.
#[derive(Debug)]
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Reports a trap that nothing foresaw, and ends the program.
extern "C" fn unexpected(frame: &Frame) -> ! {
    let fault = Fault::of(frame.vector, frame.error);
    let cr2: u64;
    // SAFETY: reading CR2 in ring 0 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack, preserves_flags)) };
    let Frame { rip, cs, rflags, rsp, ss, .. } = frame;
    // Writing to the serial port does not fail.
    let _ = writeln!(
        Serial::com1(),
        "\ntrap: {fault} at {cs:02x}:{rip:016x}, stack {ss:02x}:{rsp:016x}, rflags {rflags:x}, cr2 {cr2:x}"
    );
    exit(Outcome::Failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gates_parts_are_where_the_manual_has_them() {
        let [low, high] = gate(0x0123_4567_89ab_cdef, TrapStack::MachineCheck);
        assert_eq!(low & 0xffff | (low >> 48) << 16 | high << 32, 0x0123_4567_89ab_cdef);
        assert_eq!(low >> 16 & 0xffff, u64::from(CODE));
        assert_eq!((low >> 32 & 7, low >> 40 & 0xff), (4, 0x8e), "stack 4; present, ring 0, interrupt gate");
    }

    #[test]
    fn only_double_faults_nmis_and_machine_checks_have_a_stack_alone() {
        let alone: std::vec::Vec<u8> =
            (0..=255).filter(|&vector| TrapStack::of(vector) != TrapStack::Ordinary).collect();
        assert_eq!(alone, [2, 8, 18]);
    }
}
