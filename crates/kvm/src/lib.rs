//! Policies, areas and records on a VMM's own KVM file descriptors.
//!
//! [`offered`] says what this host's KVM can give to guests; [`request_permission`] comes before it where guests may get
//! state that the kernel hands out on request only (AMX tile data). Elsewhere than on Linux on x86-64 the crate is empty.
//!
//! ```
//! use selfsame_kvm::kvm_ioctls::Kvm;
//!
//! if let Ok(kvm) = Kvm::new() {
//!     let offered = selfsame_kvm::offered(&kvm)?;
//!     println!("{} rows, {} msrs", offered.rows.len(), offered.msrs.len());
//! }
//! # Ok::<(), selfsame_kvm::OfferedError>(())
//! ```
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod offered;
mod permission;

pub use kvm_ioctls;
pub use offered::{Ioctl, Offered, OfferedError, offered};
pub use permission::request_permission;
