//! An architectural x86 machine: CPUs, memory, faults, and guests whose state is looked at after every switch.
//!
//! A context switch that forgets a register works until two guests meet that both use it. This machine finds such faults
//! before: it executes what a switch does as the manuals say, and knows at every moment whose each register's contents are.
//! There are two layers.
//!
//! 1. **The machine.** A [`Machine`] has CPUs of one kind, which [`Hardware`] reads from CPUID answers, and [`Memory`]. On
//!    each, a [`Processor`] executes instructions, one method each, which do what the manuals say or return the [`Fault`]:
//!    * extended state with XCR0, IA32_XSS, XFD and both optimisations of XSAVES, so that an image that is edited, moved or too
//!      small has the consequences it has on a CPU;
//!    * descriptor tables that are read through page tables and a TLB, which keeps what is stale until it is flushed;
//!    * MSRs, CPUID with faulting and masks, breakpoints, branch predictors that remember who trained them;
//!    * VM entry and VM exit, with what they carry and what they leave ([`ControlBlock`]).
//!
//!    A [`Ledger`] has every privileged access. [`Processor`] also implements [`selfsame_switch::Cpu`].
//! 2. **The proof.** A [`proof::World`] runs guests on a machine by somebody's switch code, a [`proof::Client`], remembers what
//!    each guest has put into its registers, and compares it after every entry with what the guest finds. [`proof::Case`]
//!    enumerates every transition of a CPU from one occupant to another.
//!
//! The tests of this crate prove `selfsame-switch` so. To prove code of your own, implement [`proof::Client`] for it: the
//! example `own_switch` does that for the simplest switch that is correct.
//!
//! # What is not modelled
//!
//! Instructions are as coarse as a switch needs. A component's registers are one number, so that WRMSR of IA32_U_CET stands for
//! all of CET_U and WRMSR of IA32_PL0_SSP for all of CET_S; images are a header and such numbers, and their layout counts for
//! their size only. There is no interrupt between two instructions, but [`Processor::deliver_nmi`] tells whether one could be
//! delivered. Nested paging, instruction timing and memory ordering are left out.
//!
//! # Example
//!
//! ```
//! use selfsame_machine::{Fault, Machine, NmCause, msr};
//! use selfsame_machine::proof::{Levelling, MachineShape, SaveInstructions};
//! use selfsame_machine::{Area, Cr4, Virtualisation};
//! use selfsame_xstate::{Component, ComponentSet};
//!
//! let shape = MachineShape {
//!     virtualisation: Virtualisation::Vmx,
//!     save: SaveInstructions::Xsaves,
//!     levelling: Levelling::Faulting,
//!     has_amx: true,
//!     has_cet: false,
//!     has_pku: false,
//! };
//! let mut machine = Machine::new(shape.hardware(), 1);
//! machine.memory().insert_area(0x1000, Area::new(1 << 14));
//! let mut cpu = machine.on(0).ok_or("no CPU")?;
//! cpu.set_cr4(Cr4::OSXSAVE)?;
//! cpu.xsetbv(0, shape.user().bits())?;
//!
//! // XSAVES under a guest's XFD takes its tiles for initial: the data is lost.
//! let tiles = ComponentSet::from(Component::XTILEDATA);
//! cpu.write_component(Component::XTILEDATA, 42)?;
//! cpu.wrmsr(msr::XFD, tiles.bits())?;
//! cpu.xsaves(0x1000, u64::MAX)?;
//! assert!(!cpu.memory().area(0x1000).ok_or("no area")?.in_use().contains(Component::XTILEDATA));
//!
//! let fault = cpu.read_component(Component::XTILEDATA);
//! assert_eq!(fault, Err(Fault::DeviceNotAvailable(NmCause::Disabled(tiles))));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

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
