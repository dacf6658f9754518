//! CPUID policies: what CPU a guest may see, on one host and on many.
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
