//! Images of extended state in memory.

use selfsame_xstate::ComponentSet;

use crate::extended::Contents;

/// XCOMP_BV bit 63: the image is compacted.
pub const COMPACTED: u64 = 1 << 63;

/// An XSAVE area in memory and the image in it.
///
/// The image is abstract: a header as the architecture has it, and the value of each component. Where its bytes would lie
/// only matters for the size, which the CPU checks against `capacity_bytes` by the layout of the machine's geometry: an
/// instruction that would leave the area raises #PF, as if a page that is not there followed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Area {
    /// How large the area is.
    pub capacity_bytes: u32,
    /// XSTATE_BV of the header.
    pub xstate_bv: u64,
    /// XCOMP_BV of the header; with bit 63 the image is compacted.
    pub xcomp_bv: u64,
    /// The bytes: what an instruction does not write stays as it was, in use or not.
    pub contents: Contents,
}

impl Area {
    /// An area of zeros, but for MXCSR: what XRSTOR takes for the initial state.
    #[must_use]
    pub const fn new(capacity_bytes: u32) -> Self {
        Self { capacity_bytes, xstate_bv: 0, xcomp_bv: 0, contents: Contents::INIT }
    }

    /// An area with a compacted image of the initial state, which XRSTORS accepts.
    #[must_use]
    pub const fn compacted(capacity_bytes: u32, components: ComponentSet) -> Self {
        Self { xcomp_bv: COMPACTED | components.bits(), ..Self::new(capacity_bytes) }
    }

    /// Whether the image is compacted.
    #[must_use]
    pub const fn is_compacted(&self) -> bool {
        self.xcomp_bv & COMPACTED != 0
    }

    /// The components that the image has a place for; in the standard format, all.
    #[must_use]
    pub const fn components(&self) -> ComponentSet {
        let all = if self.is_compacted() { self.xcomp_bv & !COMPACTED } else { u64::MAX };
        ComponentSet::from_bits(all).intersection(ComponentSet::ALL)
    }

    /// The components that are not in their initial configuration.
    #[must_use]
    pub const fn in_use(&self) -> ComponentSet {
        ComponentSet::from_bits(self.xstate_bv).intersection(ComponentSet::ALL)
    }
}
