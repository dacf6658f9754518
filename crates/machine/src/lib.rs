//! An architectural x86 machine on which the switch of vCPUs is proven.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod control_block;
mod cpuid;
mod extended;
mod fault;
mod hardware;
mod image;
mod ledger;
mod machine;
mod memory;
pub mod msr;
mod plan;
mod processor;
pub mod proof;
mod segment;
mod tag;
mod tlb;
mod xsave;

pub use control_block::{Carried, ControlBlock, Controls, carried_msrs};
pub use extended::{Contents, MXCSR_INIT};
pub use fault::{Exit, Fault, GpCause, HeaderCause, NmCause, SelectorCause, UdCause};
pub use hardware::{Hardware, Virtualisation, XfdErrUpdate};
pub use image::{Area, COMPACTED};
pub use ledger::{Event, Ledger, Selector, What};
pub use machine::Machine;
pub use memory::{DESCRIPTORS_IN_PAGE, Frame, Memory, PAGE_BYTES, Space};
pub use processor::{Cr4, LogicalCpu, Processor};
pub use segment::{Segment, TableRegister};
pub use tag::{Owner, Tag};
