//! The other CPUs: started one at a time by the boot CPU, through their local APICs in xAPIC mode.
#![expect(unsafe_code, reason = "UNSAFETY: puts code where other CPUs start")]

use core::ptr;
use core::sync::atomic::Ordering;

use crate::apic::{command, turn_on};
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
    turn_on();
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
