//! The context switch of a hypervisor: vCPUs on and off a physical CPU, with the fewest privileged writes that are correct.
//!
//! Three kinds of guests are known: 64-bit and 32-bit PV, whose kernels run outside of ring 0, and HVM, by VMX or SVM.
//!
//! * A [`Switcher`] belongs to one CPU. It has a [`Shadow`] of every register that it writes, and plans from them and from two
//!   [`Vcpu`]s what has to be written. What is there already is not written again; `docs/switch.md` tells of every register
//!   when it is written, when not, and why.
//! * It writes through the trait [`Cpu`]. What implements it may be a CPU, a model of one (the crate `selfsame-machine`), or a
//!   [`Trace`] that only counts.
//! * Extended state is moved by an [`XstateStep`], which is data, because it is executed last, in assembly: it is part of the
//!   [`Entry`] into a guest.
//! * What is switched by one rule stands in one table, [`REGISTERS`]: to switch another register, add a row.
//!
//! Beside the switch stand the rules that it depends on: descriptor tables ([`gdt`]) and the audit of what a PV guest puts
//! there ([`AuditedDescriptor`]), what decides what CPUID shows ([`Visibility`]), and where a vCPU's state is
//! ([`Residence`]).
//!
//! # Example
//!
//! ```
//! use selfsame_switch::{
//!     AreaAddress, CpuId, CpuTables, Cr3, Cr4, DomainId, Extended, Frame, GdtPage, VcpuKind, Own, PerDomainArea, Platform,
//!     Registers, Shown, Switcher, Trace, Vcpu, VcpuId, VcpuName, Virtualisation, Visibility,
//! };
//! use selfsame_cpuid::Leaves;
//! use selfsame_xstate::Configurations;
//!
//! // Once: what the CPUs have, from what CPUID says. (This one has nothing but FXSAVE.)
//! let raw = Leaves::new();
//! let geometry = raw.geometry();
//! let configurations = Configurations::new(&geometry)?;
//! let per_domain = PerDomainArea::new(0xffff_8200_0000_0000).ok_or("not aligned")?;
//! let platform = Platform::new(&raw, Virtualisation::Svm, &configurations, Visibility::Emulated, per_domain);
//!
//! // Once for each CPU: what is its own.
//! let page = |linear, frame| GdtPage::new(linear, Frame::new(frame)?);
//! let native = page(0xffff_82d0_0010_0000, 0x1000).ok_or("not a page")?;
//! let compat = page(0xffff_82d0_0020_0000, 0x1001).ok_or("not a page")?;
//! let own = Own {
//!     tables: CpuTables::new(CpuId::new(0), native, compat),
//!     cr3: Cr3::new(0x10_0000).ok_or("keeps the TLB")?,
//!     cr4: Cr4::of_hypervisor(0x6a0),
//!     pl0_ssp: None,
//!     registers: Registers::RESET,
//!     faulting_register: 0,
//! };
//! let mut cpu = Trace::new(|_| ()); // Ring 0 would be here.
//! let mut switcher = Switcher::bring_up(&platform, own, &mut cpu);
//!
//! // Once for each vCPU.
//! let name = VcpuName::new(DomainId::new(1), VcpuId::new(0).ok_or("too many")?);
//! let extended = Extended::new(AreaAddress::new(0x20_0000).ok_or("not aligned")?);
//! let cr3 = Cr3::new(0x30_0000).ok_or("keeps the TLB")?;
//! let mut vcpu = Vcpu::new(name, VcpuKind::Hvm, extended, cr3, Shown::default());
//!
//! // Its turn.
//! let _ = switcher.switch(&mut cpu, None, &mut vcpu)?;
//! switcher.enter(&vcpu)?.execute(&mut cpu);
//! // VMRUN is here, and #VMEXIT.
//! switcher.exited(&mut cpu, &mut vcpu)?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod breakpoints;
mod control;
mod cost;
mod cpu;
mod debug;
mod descriptor;
mod device_not_available;
mod enter;
mod entry;
mod extended;
pub mod gdt;
mod host;
mod leave;
mod msr;
mod name;
mod register;
mod residence;
mod segment;
mod segments;
mod shadow;
mod step;
mod switcher;
mod tables;
mod trace;
mod vcpu;
mod visibility;

pub use control::{Cr3, Cr4};
pub use cost::{Likeness, STATES, State, Transition, play};
pub use cpu::Cpu;
pub use debug::{BreakpointError, DR6_RESET, DR7_RESET, DebugRegister, DebugState};
pub use descriptor::{AuditedDescriptor, DescriptorError, DescriptorPlace, TableSizes};
pub use device_not_available::DeviceNotAvailable;
pub use entry::Entry;
pub use extended::{Extended, GuestXfd, GuestXss, xss_exiting_bitmap};
pub use gdt::{Bitness, CpuTables, Frame, GdtBase, GdtPage, Gdtr, GuestSlot, L1Entry, Ldt, PerDomainArea};
pub use host::{Own, Platform, Virtualisation};
pub use msr::{CpuidMask, DrMask, Msr, MsrWrite};
pub use name::{CpuId, DomainId, VcpuId, VcpuName};
pub use register::{Content, Occupancy, REGISTERS, Register, RegisterRow, RegisterSet, Registers};
pub use residence::{Residence, StillResident};
pub use segment::{Segment, SegmentFault, Selector, Selectors};
pub use shadow::Shadow;
pub use step::{AreaAddress, XstateStep};
pub use switcher::{SwitchError, Switched, Switcher};
pub use trace::{Operation, Trace};
pub use vcpu::{Vcpu, VcpuKind};
pub use visibility::{MAX_MASKS, Mask, MaskWrites, Shown, Visibility, VisibilityWarning};
