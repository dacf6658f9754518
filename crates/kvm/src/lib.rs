//! What `/dev/kvm` offers, permissions for it, and policies as the entries that a vCPU is given.
//!
//! [`offered`] says what this host's KVM can give to guests; [`request_permission`] comes before it where guests may get
//! state that the kernel hands out on request only (AMX tile data). [`entries`] makes of a policy what `KVM_SET_CPUID2`
//! takes, on a VMM's own file descriptors. Elsewhere than on Linux on x86-64 the crate is empty.
//!
//! ```
//! use selfsame_cpuid::{ApicId, Host, Kind, Trims};
//! use selfsame_kvm::kvm_bindings::CpuId;
//! use selfsame_kvm::kvm_ioctls::Kvm;
//!
//! # let Ok(kvm) = Kvm::new() else { return Ok(()) };
//! let host = Host::from_offered(&selfsame_kvm::offered(&kvm)?.leaves(), Kind::Kvm, &Trims::NONE);
//! let entries = selfsame_kvm::entries(host.default(), ApicId::ZERO);
//! let vcpu = kvm.create_vm()?.create_vcpu(0)?;
//! vcpu.set_cpuid2(&CpuId::from_entries(&entries)?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod entries;
mod offered;
mod permission;

pub use entries::entries;
pub use kvm_bindings;
pub use kvm_ioctls;
pub use offered::{Ioctl, Offered, OfferedError, offered};
pub use permission::request_permission;
