//! Reads memory that is not mapped: what a trap that nothing foresaw comes to.
#![cfg_attr(bare, no_std)]
#![cfg_attr(bare, no_main)]

use selfsame_hypervisor::{Cpu, Outcome, program};

program!(run);

/// Beyond the 4 GiB that are mapped, and the page of ring 3.
const UNMAPPED: usize = 5 << 30;

#[expect(unsafe_code, reason = "UNSAFETY: reads what is not there")]
fn run(_: &'static Cpu) -> Outcome {
    // SAFETY: the read faults, and the fault ends the program.
    let byte = unsafe { core::ptr::with_exposed_provenance::<u8>(UNMAPPED).read_volatile() };
    if byte == 0 { Outcome::Success } else { Outcome::Failure }
}
