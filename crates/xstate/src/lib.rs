//! Extended processor state: its components, where a CPU keeps them, and how large a save area is.
//!
//! The XSAVE family of instructions saves state *components*: x87, SSE, AVX and so on, each with a fixed bit in XCR0 (user
//! components) or IA32_XSS (supervisor components). Three things decide how a set of components lies in memory:
//!
//! 1. **The set.** A [`ComponentSet`] is a plain mask; [`ComponentSet::from_xcr0`] is the door for a value that a guest wants
//!    in XCR0, and [`xcr0_faults`] names every rule such a value breaks.
//! 2. **The geometry.** A [`Geometry`] is what one CPU says in CPUID leaf 0xD: size, offset and alignment of each component.
//!    It differs between vendors (PKRU is at 0xA80 on Intel and at 0x980 on AMD), so it travels with the data. It is read
//!    through a closure: this crate never executes CPUID, and a dump from another machine serves as well as the CPU itself.
//!    Its numbers are not trusted: [`Geometry::defects`] lists what is wrong with them and [`Geometry::completed`] repairs a
//!    dump that lost rows.
//! 3. **The format.** XSAVE writes the *standard* format: fixed offsets, user components only, and index order is *not*
//!    offset order. XSAVEC and XSAVES write the *compacted* format: ascending index, no gaps but for alignment. A [`Layout`]
//!    puts a set in a format and answers for sizes and offsets.
//!
//! What the manuals say of each component stands in one table, [`COMPONENTS`].
//!
//! State that was saved is an [`Image`]: a [`Reader`] judges its bytes, strictly, and [`Image::write`] brings it into another
//! format or into another vendor's places, always in one canonical form. What hardware does with a header is another matter
//! ([`hardware_fault`]), and what KVM does a third ([`kvm_set_xsave`]).
//!
//! # Example
//!
//! ```
//! use selfsame_xstate::{Component, ComponentSet, Format, Geometry, Layout};
//!
//! // Leaf 0xD of a CPU with x87, SSE, AVX and PKRU, in EAX, EBX, ECX, EDX order; a VMM would execute CPUID here.
//! let geometry = Geometry::read(|subleaf| match subleaf {
//!     0 => [0x207, 0x240, 0x988, 0],
//!     1 => [0xF, 0x240, 0, 0],
//!     2 => [256, 576, 0, 0],
//!     9 => [8, 2432, 0, 0],
//!     _ => [0; 4],
//! });
//! assert_eq!(geometry.defects().count(), 0);
//!
//! let wanted = ComponentSet::from_xcr0(0x207)?;
//! assert_eq!(geometry.standard_size(wanted)?, 0x988);
//! assert_eq!(geometry.compacted_size(wanted)?, 0x348);
//!
//! let layout = Layout::new(Format::Compacted, wanted, &geometry)?;
//! assert_eq!(layout.offset_bytes(Component::PKRU), Some(832));
//!
//! // AVX without SSE makes XSETBV fault.
//! assert!(ComponentSet::from_xcr0(0x5).is_err());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! What a hypervisor keeps follows from a geometry. [`Configurations`] are what a host has for itself and for its guests;
//! an [`Area`] is the memory of one vCPU, as large as its policy needs; [`Permissions`] say who may have what is too large for
//! everyone; [`Xcr0`], [`Xss`] and [`Xfd`] are values that the registers can have. `docs/xstate.md` has all of it on a page.
//!
//! Manuals are cited as *SDM* (Intel 64 and IA-32 Architectures Software Developer's Manual) and *APM* (AMD64 Architecture
//! Programmer's Manual).

#![no_std]
#![forbid(unsafe_code)]

mod component;
mod contents;
mod defect;
mod geometry;
mod hardware_fault;
mod header;
mod image;
mod image_fault;
mod initial;
mod interface;
mod kvm_image;
mod kvm_xcrs;
mod layout;
mod load;
mod mxcsr;
mod reader;
mod set;
mod size;
mod twins;
mod write;
mod x87;
mod xcr0;

mod accumulated;
mod area;
mod area_mut;
mod configuration;
mod cross_check;
mod errno;
mod method;
mod owner;
mod permission;
mod step;
mod xfd;
mod xsetbv;
mod xss;

pub use component::{COMPONENTS, Class, Component, ComponentRow, Offsets};
pub use contents::{CetControls, LinearAddresses};
pub use defect::Defect;
pub use geometry::{Geometry, Row};
pub use hardware_fault::{Fault, Restore, RestoreInstruction, hardware_fault};
pub use header::{Header, HeaderFault};
pub use image::Image;
pub use image_fault::ImageFault;
pub use interface::InterfaceError;
pub use kvm_image::{KvmLoaded, KvmQuirk, KvmRefusal, KvmVcpu, kvm_host_mask, kvm_set_xsave};
pub use kvm_xcrs::{KvmXcrs, KvmXcrsRefusal, kvm_set_xcrs};
pub use layout::{EXTENDED_START_BYTES, Format, HEADER_BYTES, LEGACY_BYTES, Layout, LayoutError};
pub use load::LoadRefusal;
pub use mxcsr::{MXCSR_INITIAL, MxcsrMask};
pub use reader::{Reader, Sanitised};
pub use set::{ComponentSet, Components};
pub use size::size_bytes;
pub use write::WriteError;
pub use xcr0::{Xcr0, Xcr0Error, Xcr0Refusal, xcr0_faults};

pub use accumulated::AccumulatedXcr0;
pub use area::{AREA_ALIGN_BYTES, Area, AreaError};
pub use area_mut::{AreaMemoryError, AreaMut, ResizeError};
pub use configuration::{Configuration, ConfigurationError, Configurations};
pub use cross_check::{CrossCheck, ReportedSizes, SizeDisagreement, SizeField, cross_check};
pub use errno::Errno;
pub use method::SaveMethod;
pub use owner::{Occupant, Owner};
pub use permission::{
    EnableError, Enabled, GET_SUPPORTED_CODE, Holder, Permissions, RequestError, SignalStackTooSmall, SignalStacks,
    Task,
};
pub use step::{Step, XstateRegisters, steps};
pub use xfd::{Xfd, XfdErr, XfdFault, XfdWrites, wrmsr_xfd, wrmsr_xfd_err};
pub use xsetbv::{Exception, Readable, Xgetbv, Xsetbv, XsetbvFault};
pub use xss::{Xss, XssFault, wrmsr_xss};
