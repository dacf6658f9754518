//! Policies: what one guest sees.

use crate::feature::Kind;
use crate::featureset::Featureset;
use crate::leaves::Leaves;
use crate::topology::Topology;

/// What a guest of one kind sees: every leaf and MSR of the model, and its topology.
///
/// A policy is frozen when its guest first boots: nothing that the table learns later changes what it answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The kind of guest.
    pub kind: Kind,
    /// The guest's processor tree, where it was decided. [`Policy::set_topology`] sets it with the leaves that tell of it;
    /// [`Policy::verify`] refuses leaves that contradict it.
    pub topology: Option<Topology>,
    /// The leaves and MSRs.
    pub leaves: Leaves,
}

impl Policy {
    /// A policy that answers zero to everything.
    pub const fn empty(kind: Kind) -> Self {
        Self { kind, topology: None, leaves: Leaves::new() }
    }

    /// The named features that the guest sees.
    pub fn features(&self) -> Featureset {
        self.leaves.features()
    }
}
