//! Proofs of switch code: a machine with guests, which find their own state after every switch, or the proof fails.
//!
//! ```text
//! World::switch ─▶ leave the guest ─▶ Client::leave ─▶ Client::switch ─▶ Client::enter ─▶ enter the guest ─▶ look
//! World::act    ─▶ the guest executes something; what it needs its hypervisor for goes by Client::serve
//! ```
//!
//! The hypervisor of a proof is laid out as Xen and Selfsame are: a GDT of 16 pages whose 14th is the hypervisor's, PV guests
//! with tables at an address by the number of the vCPU, and one shadow stack a CPU.

mod action;
mod case;
mod check;
mod client;
mod guest;
mod home;
mod shape;
mod world;

pub use action::Action;
pub use case::{Case, Illegal, Reach};
pub use check::{Difference, Item};
pub use client::{Client, Edit, NewVcpu, Request};
pub use guest::{Guest, owned_msrs};
pub use home::{
    CODE_SELECTOR, DescriptorPage, FIRST_GUEST_SELECTOR, GDT_LIMIT, HYPERVISOR_PAGE, Home, LDT_SELECTOR,
    MARKER_SELECTOR, PER_DOMAIN, TSS_SELECTOR, base_of, gdt_of, ldt_of,
};
pub use shape::{GuestKind, GuestShape, Levelling, MachineShape, SaveInstructions};
pub use world::{Violation, World};
