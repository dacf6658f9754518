//! The x86 instructions that Selfsame executes.
//!
//! The other crates compute; this one asks the CPU. On other architectures than x86-64 it is empty.
//!
//! ```
//! # #[cfg(target_arch = "x86_64")] {
//! let basic = selfsame_x86::cpuid(0, 0);
//! let vendor = [basic.ebx, basic.edx, basic.ecx].map(u32::to_le_bytes).concat();
//! println!("{}: basic leaves up to {:#x}", String::from_utf8_lossy(&vendor), basic.eax);
//! # }
//! ```
#![no_std]

#[cfg(target_arch = "x86_64")]
mod cpuid;

#[cfg(target_arch = "x86_64")]
pub use cpuid::cpuid;
