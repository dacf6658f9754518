//! CPUID policies: what CPU a guest may see, on one host and on many.
//!
//! * **What CPUs say** is held by [`Leaves`]: every leaf and MSR of the model, dense, reached in constant time. [`walk`] asks a
//!   CPU, or whatever answers for one, each leaf by its own rule; [`unite`] makes one host of CPUs that differ.
//! * **What the bits mean** stands in one table, [`FEATURES`] and [`VALUES`]: names, how hosts combine ([`Relation`]), what a
//!   hypervisor offers to which [`Kind`] of guest ([`Offer`]), what needs what, and why. `docs/levelling.md` is made of it.
//! * **A host**, [`Host`], is what a guest of one kind *may* have there ([`Host::max`]) and what a new one sees
//!   ([`Host::default`]). It comes from hardware, from what a hypervisor offers, or from a VMM; [`Trims`] are the
//!   administrator's words.
//! * **The level** of a pool is what a [`Leveller`] makes of the hosts' defaults; [`blame`] says what each host cost, and by
//!   which [`Rule`]. [`Check`] says whether a guest may come to a host, with every reason why not.
//! * **A policy**, [`Policy`], is what one guest sees. [`Policy::cpuid`] answers its exits, and never falls through to the CPU;
//!   [`Policy::verify`] says what no CPU would say; [`PolicyFile`] is its text, and [`Frozen`] its bytes in a record.
//!
//! Nothing here executes CPUID, allocates on the way to an answer, or panics on what it is given.
//!
//! ```
//! use selfsame_cpuid::{ApicId, Check, Host, Kind, Leaves, Leveller, Regs, Trims, VcpuView};
//!
//! let with_leaf_7 = |ebx| {
//!     let mut raw = Leaves::new();
//!     raw.set(0x0, 0, Regs::new(7, 0x6874_7541, 0x444d_4163, 0x6974_6e65))?;
//!     raw.set(0x1, 0, Regs::new(0x00a0_0f11, 0, 0, 1))?;
//!     raw.set(0x7, 0, Regs::new(0, ebx, 0, 0))?;
//!     Ok::<Leaves, selfsame_cpuid::OutsideModel>(raw)
//! };
//! let hosts = [("old", with_leaf_7(1 << 9)?), ("new", with_leaf_7(1 << 9 | 1 << 18)?)]
//!     .map(|(name, raw)| (name, Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE)));
//! let mut leveller = Leveller::new(Kind::Kvm);
//! for (name, host) in &hosts {
//!     leveller.add(name, host.default());
//! }
//! let level = leveller.finish()?;
//! assert_eq!(level.cpuid(0x7, 0, &VcpuView::new(ApicId::new(0))).ebx, 1 << 9, "erms without rdseed");
//!
//! // A guest that booted on the new host can stay there, and not come to the old one.
//! let [old, new] = &hosts;
//! let check = Check::new(new.1.default(), &old.1);
//! assert!(!check.is_accepted());
//! check.refusals(|refusal| println!("{refusal}")); // rdseed: the guest has a feature that the host lacks: ...
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod apic_id;
mod binary;
mod blame;
mod capabilities;
mod check;
mod closure;
mod control;
mod crc;
mod exit;
mod feature;
mod featureset;
mod finding;
mod host;
mod leaves;
mod level;
mod model;
mod named;
mod packed;
mod place;
mod policy;
mod policy_file;
mod probe;
mod quirk;
mod rebuild;
mod regs;
mod rule;
mod states;
mod table;
pub mod text;
mod topology;
mod topology_leaves;
mod trim;
mod unite;
mod value;
mod vcpu_view;
mod vendor;
mod verify;
mod walk;
mod xen;

pub use apic_id::ApicId;
pub use binary::{BinaryError, EntryDefect, Frozen, LEAF_ENTRY_BYTES, MSR_ENTRY_BYTES, Stored};
pub use blame::{Gives, Loss, Member, Warning, blame, kept_as_warning};
pub use capabilities::{Capability, FaultingControl, LevellingCapabilities, MASKING_MSRS, MaskMeaning, MaskingMsr};
pub use check::{Check, Reason, Refusal, Side};
pub use control::{CR4_BITS, ControlBit, EFER_BITS};
pub use feature::{Feature, Kind, KindError, Offer, Relation};
pub use featureset::Featureset;
pub use finding::{Finding, What};
pub use host::{Host, examine};
pub use leaves::{Leaves, OutsideModel};
pub use level::{Disagreement, Leveller};
pub use named::NamedHost;
pub use packed::PackedFeatures;
pub use place::{Place, PlaceError, Register, Word, WordSource};
pub use policy::Policy;
pub use policy_file::PolicyFile;
pub use probe::{ProbedCpu, probe};
pub use rebuild::Floor;
pub use regs::Regs;
pub use rule::Rule;
pub use table::{FEATURES, KEPT_LEAVES, KeptLeaf, VALUES, feature, feature_at};
pub use topology::{Topology, TopologyCounts, TopologyError, TopologyLevel, VcpuPosition};
pub use trim::{TrimError, TrimReason, Trims};
pub use unite::unite;
pub use value::Value;
pub use vcpu_view::VcpuView;
pub use vendor::{Signature, Vendor, VendorName};
pub use verify::Fault;
pub use walk::{CAPTURED_MSRS, walk};
pub use xen::{XEN_WORDS, XenWords};
