//! The x86 instructions that Selfsame executes.
//!
//! The other crates compute; this one asks the CPU. On other architectures than x86-64 it is empty.
//!
//! * [`cpuid`] says what the CPU is.
//! * [`xsave`], [`xsavec`], [`xsaves`], [`xrstor`], [`xrstors`], [`fxsave`], [`fxrstor`] save and load extended state, with
//!   [`xgetbv`], [`write_xcr0`] and [`rdpkru`] for the registers that go with it.
//! * [`Ring0`] executes what a context switch plans (`selfsame-switch`), and [`step`] what is left of it right before a guest:
//!   the move of extended state, in assembly.
//! * [`Oracle`] puts images through the registers in user mode and leaves nothing loaded.
//!
//! ```
//! # #[cfg(target_arch = "x86_64")] {
//! let basic = selfsame_x86::cpuid(0, 0);
//! let vendor = [basic.ebx, basic.edx, basic.ecx].map(u32::to_le_bytes).concat();
//! println!("{}: basic leaves up to {:#x}", String::from_utf8_lossy(&vendor), basic.eax);
//! # }
//! ```
//!
//! The crate needs no std. Feature `user` adds what only a program on Linux can do: [`Oracle`] then also tells on which
//! images the CPU faults.
#![no_std]

#[cfg(target_arch = "x86_64")]
mod cpuid;
#[cfg(target_arch = "x86_64")]
mod oracle;
#[cfg(all(feature = "user", target_os = "linux", target_arch = "x86_64"))]
mod oracle_fault;
#[cfg(target_arch = "x86_64")]
mod ring0;
#[cfg(target_arch = "x86_64")]
mod step;
#[cfg(target_arch = "x86_64")]
mod xsave;

#[cfg(target_arch = "x86_64")]
pub use cpuid::cpuid;
#[cfg(target_arch = "x86_64")]
pub use oracle::{AREA_BYTES, Oracle, Saved, ThroughError};
#[cfg(all(feature = "user", target_os = "linux", target_arch = "x86_64"))]
pub use oracle_fault::TryError;
#[cfg(target_arch = "x86_64")]
pub use ring0::{DescriptorTables, Ring0};
#[cfg(target_arch = "x86_64")]
pub use step::{Orders, step};
#[cfg(target_arch = "x86_64")]
pub use xsave::{fxrstor, fxsave, rdpkru, write_xcr0, xgetbv, xrstor, xrstors, xsave, xsavec, xsaves};
