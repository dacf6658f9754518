//! The context switch of a hypervisor: vCPUs on and off a physical CPU, with the fewest privileged writes that are correct.

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
pub use vcpu::{Kind, Vcpu};
pub use visibility::{MAX_MASKS, Mask, MaskWrites, Shown, Visibility, VisibilityWarning};
