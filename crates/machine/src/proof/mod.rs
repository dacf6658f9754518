//! Proofs of switch code.

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
