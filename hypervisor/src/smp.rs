//! The other CPUs: started one at a time by the boot CPU, through their local APICs in xAPIC mode.
#![expect(unsafe_code, reason = "UNSAFETY: speaks to the local APIC and starts CPUs")]

use core::ptr;
use core::sync::atomic::Ordering;

use crate::cpu::{CPUS, Cpu};
use crate::delay::wait_microseconds;

unsafe extern "C" {
    /// The code of `trampoline.s` begins.
    static trampoline: u8;
    /// It ends.
    static trampoline_end: u8;
}

/// Where a started CPU begins: a page below 1 MiB that the firmware does not use, and the vector that names it.
const TRAMPOLINE_AT: usize = 0x8000;
const TRAMPOLINE_VECTOR: u32 = 0x8;

/// The local APIC's registers (SDM vol. 3A, 10.4.1), mapped to itself and uncached.
const APIC: usize = 0xfee0_0000;
const SPURIOUS_VECTOR: usize = 0xf0;
const COMMAND_LOW: usize = 0x300;
const COMMAND_HIGH: usize = 0x310;

/// Of [`SPURIOUS_VECTOR`]: the APIC is on, vector 0xff.
const APIC_ON: u32 = 0x1ff;
/// Of [`COMMAND_LOW`]: the command is on its way.
const IS_PENDING: u32 = 1 << 12;
/// Commands, asserted and edge-triggered (SDM vol. 3A, 10.6.1).
const INIT: u32 = 0x4500;
const START_UP: u32 = 0x4600;

/// How often a CPU is waited for, 200 microseconds each time.
const WAITS: u32 = 10;

/// Starts the CPU of a local APIC ID, once: it runs `work` and then halts. Returns it when it has begun; `None` if none
/// comes up within 2 milliseconds, or it was started before, or it booted.
///
/// The boot CPU starts one CPU after the other.
pub fn start(apic_id: u8, work: fn(&'static Cpu)) -> Option<&'static Cpu> {
    let cpu = CPUS.get(usize::from(apic_id)).filter(|cpu| !cpu.is_up.load(Ordering::Acquire))?;
    cpu.work.publish(work).ok()?;
    copy_trampoline();
    write(SPURIOUS_VECTOR, APIC_ON);
    // The 10 milliseconds that the manual has behind INIT are for CPUs older than 64-bit mode (Linux,
    // arch/x86/kernel/smpboot.c, smp_set_init_udelay).
    command(apic_id, INIT);
    for wait in 0..WAITS {
        // A second one is for CPUs that missed the first (SDM vol. 3A, 8.4.4.1).
        if wait < 2 {
            command(apic_id, START_UP | TRAMPOLINE_VECTOR);
        }
        wait_microseconds(200);
        if cpu.is_up.load(Ordering::Acquire) {
            return Some(cpu);
        }
    }
    None
}

fn copy_trampoline() {
    let len_bytes = (&raw const trampoline_end).addr() - (&raw const trampoline).addr();
    let to = ptr::with_exposed_provenance_mut(TRAMPOLINE_AT);
    // SAFETY: the code is there, and the page below 1 MiB is nobody's.
    unsafe { ptr::copy_nonoverlapping(&raw const trampoline, to, len_bytes) };
}

fn command(apic_id: u8, command: u32) {
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
    // SAFETY: the registers written here start other CPUs on the trampoline, and change nothing of this one's.
    unsafe { register.write_volatile(value) };
}
