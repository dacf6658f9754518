//! From the firmware to Rust: the boot sector, the way into 64-bit mode, and what a CPU does first there.
#![expect(unsafe_code, reason = "UNSAFETY: takes CPUs over from the firmware")]

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use crate::apic::mask_legacy_interrupts;
use crate::cpu::{CPUS, Cpu, MAX_CPUS, STACK_BYTES};
use crate::exit::{Outcome, exit, halt};
use crate::ring_3::PAGE;
use crate::segments::{CODE_32, CODE_64, DATA_32, Segments};
use crate::serial::Serial;
use crate::{msr, traps};

global_asm!(include_str!("boot_sector.s"), options(raw));
global_asm!(include_str!("trampoline.s"), options(raw));
global_asm!(
    include_str!("entry.s"),
    cpus = sym CPUS,
    cpu_bytes = const size_of::<Cpu>(),
    stack_top = const offset_of!(Cpu, stack) + STACK_BYTES,
    max_cpus = const MAX_CPUS,
    start = sym start,
    code_64 = const CODE_64,
    data_32 = const DATA_32,
    code_32 = const CODE_32,
    ring_3_gib = const PAGE >> 30,
);

unsafe extern "Rust" {
    /// The program's main function, named by [`program!`](crate::program!).
    fn selfsame_program(cpu: &'static Cpu) -> Outcome;
}

const APIC_BASE: u32 = 0x1b;
/// Of [`APIC_BASE`]: this CPU booted.
const IS_BOOT_CPU: u64 = 1 << 8;

/// What every CPU does first in 64-bit mode, on its own stack. `index` is its local APIC ID; `entry.s` keeps away those
/// that have no area.
extern "C" fn start(index: u32) -> ! {
    let Some(cpu) = usize::try_from(index).ok().and_then(|index| CPUS.get(index)) else { halt() };
    let is_boot_cpu = msr::read(APIC_BASE).is_ok_and(|value| value & IS_BOOT_CPU != 0);
    if is_boot_cpu {
        mask_legacy_interrupts();
        traps::initialise();
        Serial::initialise();
    }
    // SAFETY: this CPU's own area, once, in the segments of `entry.s`.
    unsafe { Segments::load(cpu) };
    // SAFETY: the segments are loaded.
    unsafe { traps::load() };
    cpu.is_up.store(true, Ordering::Release);
    if is_boot_cpu {
        // SAFETY: `program!` gave the name to a function of this signature.
        exit(unsafe { selfsame_program(cpu) })
    }
    if let Some(work) = cpu.work.get() {
        work(cpu);
    }
    halt()
}
