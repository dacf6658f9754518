//! The local APIC of the CPU that this runs on, in xAPIC mode: its timer, and interrupts for others.
#![expect(unsafe_code, reason = "UNSAFETY: speaks to the local APIC")]

use core::ptr;

use crate::port;

/// The vector of the timer, and of interrupts from other CPUs. Neither has anything to say but that it came: `traps.s`
/// ends it, and the CPU goes on behind HLT or behind the exit of a guest.
pub const INTERRUPT_VECTOR: u8 = 0xe0;
/// The vector of interrupts that were there no more when the CPU asked for them.
pub(crate) const SPURIOUS_INTERRUPT_VECTOR: u8 = 0xff;

/// The registers (SDM vol. 3A, 10.4.1), mapped to themselves and uncached.
pub(crate) const APIC: usize = 0xfee0_0000;
/// Written to end an interrupt; `traps.s` knows it too.
pub(crate) const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS_VECTOR: usize = 0xf0;
const COMMAND_LOW: usize = 0x300;
const COMMAND_HIGH: usize = 0x310;
const LOCAL_TIMER: usize = 0x320;
const INITIAL_COUNT: usize = 0x380;
const DIVIDE: usize = 0x3e0;

/// Of [`SPURIOUS_VECTOR`]: the APIC is on.
const APIC_ON: u32 = 1 << 8;
/// Of [`COMMAND_LOW`]: the command is on its way.
const IS_PENDING: u32 = 1 << 12;
/// Of [`COMMAND_LOW`]: asserted, edge-triggered, with a fixed vector.
const FIXED: u32 = 1 << 14;
/// Of [`LOCAL_TIMER`].
const PERIODIC: u32 = 1 << 17;
/// Of [`DIVIDE`]: every tick of the bus counts.
const BY_ONE: u32 = 0b1011;

/// Keeps the interrupts of the two 8259s away for good: the firmware has left its timer on, at a vector of a fault.
pub(crate) fn mask_legacy_interrupts() {
    for port in [0x21, 0xa1] {
        // SAFETY: what is masked is not waited for.
        unsafe { port::write(port, 0xff) };
    }
}

/// Turns the APIC on.
pub(crate) fn turn_on() {
    write(SPURIOUS_VECTOR, APIC_ON | u32::from(SPURIOUS_INTERRUPT_VECTOR));
}

/// Interrupts this CPU with [`INTERRUPT_VECTOR`] every `ticks` of its bus, from now on.
pub fn start_timer(ticks: u32) {
    turn_on();
    write(DIVIDE, BY_ONE);
    write(LOCAL_TIMER, PERIODIC | u32::from(INTERRUPT_VECTOR));
    write(INITIAL_COUNT, ticks);
}

/// Interrupts another CPU with [`INTERRUPT_VECTOR`].
pub fn interrupt(apic_id: u8) {
    command(apic_id, FIXED | u32::from(INTERRUPT_VECTOR));
}

/// Ends an interrupt that a guest's exit has acknowledged.
pub fn end_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Sends a command, and waits until it is on its way.
pub(crate) fn command(apic_id: u8, command: u32) {
    write(COMMAND_HIGH, u32::from(apic_id) << 24);
    write(COMMAND_LOW, command);
    while read(COMMAND_LOW) & IS_PENDING != 0 {
        core::hint::spin_loop();
    }
}

fn read(register: usize) -> u32 {
    let register = ptr::with_exposed_provenance::<u32>(APIC + register);
    // SAFETY: the local APIC is there in every CPU with 64-bit mode, and its registers are read without effect.
    unsafe { register.read_volatile() }
}

fn write(register: usize, value: u32) {
    let register = ptr::with_exposed_provenance_mut::<u32>(APIC + register);
    // SAFETY: the registers written here start other CPUs on the trampoline, or raise interrupts that `traps.s` ends.
    unsafe { register.write_volatile(value) };
}
