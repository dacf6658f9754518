//! The base of programs that run on bare metal, in ring 0 and without an operating system.
//!
//! It takes a CPU from the firmware's hands to Rust and back: a boot sector, the way into 64-bit mode, traps that a
//! program can recover from, the other CPUs, a serial port to speak through and a way out. A program is a `no_std`
//! binary of this package that names its main function with [`program!`]:
//!
//! ```text
//! #![cfg_attr(bare, no_std, no_main)]
//!
//! use core::fmt::Write;
//!
//! use selfsame_hypervisor::{Cpu, Outcome, Serial, program};
//!
//! fn run(_: &'static Cpu) -> Outcome {
//!     writeln!(Serial::com1(), "hello").map_or(Outcome::Failure, |()| Outcome::Success)
//! }
//!
//! program!(run);
//! ```
//!
//! `cargo xtask` builds such programs with `--cfg bare` and profile `bare`; one ELF file is started by QEMU's `-kernel`
//! (PVH) and, behind the boot sector, from a disk. Without that cfg they build as programs of the host that say so and
//! end: lints, documentation and tests of what is computed need no emulator.
//!
//! # What holds while a program runs
//!
//! * 64-bit mode in ring 0, interrupts off; the first 4 GiB are mapped to themselves, in ring 0 only, the fourth of
//!   them uncached.
//! * Every vector has a stack of its own class ([`Cpu`]): the target's ABI has a red zone, and `core` is compiled with
//!   it.
//! * SSE is on, since `core` is compiled with it, too; no other extended state is.
//! * A fault is recovered from where it can be expected ([`Fault`]). Any other trap ends the program with a report.
#![no_std]
#![cfg(target_arch = "x86_64")]
#![cfg_attr(not(bare), allow(dead_code, reason = "on a host, nothing enters what the assembly does"))]

#[cfg(not(bare))]
extern crate std;

pub mod apic;
pub mod attempt;
mod control;
mod cpu;
mod delay;
#[cfg(bare)]
mod entry;
mod exit;
mod fault;
pub mod guest_ports;
mod lock;
#[cfg(bare)]
mod memory;
pub mod msr;
pub mod pages;
#[cfg(bare)]
mod panic;
mod parameters;
mod port;
mod program;
mod published;
mod ring_3;
mod segments;
mod serial;
mod smp;
mod traps;
mod windows;

pub use control::{Cr4, set_cr4, write_xcr0};
pub use cpu::{Cpu, MAX_CPUS};
pub use exit::{Outcome, exit, halt};
pub use fault::Fault;
pub use lock::{Guard, Lock};
pub use parameters::{EmbedError, MAX_TEXT_BYTES, embed_parameters, parameters};
pub use published::Published;
pub use ring_3::cpuid_in_ring_3;
pub use segments::HostSegments;
pub use serial::Serial;
pub use smp::start;
pub use windows::map_tables;

#[cfg(not(bare))]
#[doc(hidden)]
pub use program::host_main;
