//! What a person should know about a host's data, though nothing is refused for it.

use core::fmt;

use selfsame_xstate::{Component, ComponentSet, Defect};

use crate::place::{Place, Word};
use crate::rule::Rule;
use crate::table;

/// Something odd in what a host said, and what was made of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// Bits are set that no manual known here names; they are not given to guests.
    Unnamed {
        /// The word.
        word: Word,
        /// The bits.
        bits: u32,
    },
    /// A feature stands without one that it needs.
    Orphan {
        /// The feature.
        feature: Place,
        /// What it needs.
        needs: Place,
    },
    /// A feature uses extended state that leaf 0xD does not describe.
    NoState {
        /// The feature.
        feature: Place,
        /// The components without a row.
        components: ComponentSet,
    },
    /// Leaf 0xD enumerates state of which no feature speaks.
    StateAlone {
        /// The components.
        components: ComponentSet,
    },
    /// The row of a component was missing and is taken as every CPU of the vendor has it.
    RowFilled {
        /// The component.
        component: Component,
    },
    /// Leaf 0xD contradicts itself.
    Geometry(Defect),
    /// Leaf 0xD enumerates state, but the CPU has no XSAVE.
    StateWithoutXsave {
        /// The components.
        components: ComponentSet,
    },
    /// The CPU has VMX, but the MSRs that say what it can do are not known.
    VmxUnknown,
    /// SYSCALL is not shown, as Intel does outside 64-bit mode: the CPU has it.
    SyscallHidden,
}

impl Finding {
    /// The rule of the closed list that it falls under.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Unnamed { .. } => Rule::OfferNever,
            Self::VmxUnknown => Rule::NotOnHost,
            Self::SyscallHidden => Rule::Malformed,
            Self::Orphan { .. } => Rule::Prerequisite,
            _ => Rule::Layout,
        }
    }

    /// What it is about: the name of a feature or component, or a place.
    pub fn what(&self) -> What {
        match *self {
            Self::Unnamed { word, .. } => What::Word(word),
            Self::Orphan { feature, .. } | Self::NoState { feature, .. } => What::Feature(feature),
            Self::StateAlone { components } | Self::StateWithoutXsave { components } => What::Components(components),
            Self::RowFilled { component } => What::Components(ComponentSet::from_bits(1 << component.index())),
            Self::Geometry(_) => What::Name("leaf 0000000d"),
            Self::SyscallHidden => What::Name("syscall"),
            Self::VmxUnknown => What::Name("vmx"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unnamed { bits, .. } => write!(f, "bits {bits:#010x} have no name here and are not given to guests"),
            Self::Orphan { needs, .. } => {
                write!(f, "stands without {}, which it needs, and is not given to guests", What::Feature(needs))
            }
            Self::NoState { components, .. } => {
                write!(f, "leaf 0000000d has no row for its state ({components}); it is not given to guests")
            }
            Self::StateAlone { components } => {
                write!(f, "leaf 0000000d enumerates {components}, but no feature uses it; guests do not get the state")
            }
            Self::RowFilled { component } => {
                write!(f, "leaf 0000000d has no row for {component}; taken as every CPU of this vendor has it")
            }
            Self::Geometry(defect) => write!(f, "{defect}"),
            Self::StateWithoutXsave { components } => {
                write!(f, "leaf 0000000d enumerates {components}, but leaf 1 has no XSAVE; guests get neither")
            }
            Self::VmxUnknown => {
                f.write_str("MSRs 0x480 to 0x491 are not known, so nobody knows what it can do; not given to guests")
            }
            Self::SyscallHidden => {
                f.write_str("not shown because the dump was taken outside 64-bit mode; every Intel CPU with LM has it")
            }
        }
    }
}

/// The subject of a finding or refusal; prints as people name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// A feature, by the name of its row.
    Feature(Place),
    /// A field, by the name of its row.
    Value(&'static str),
    /// State components.
    Components(ComponentSet),
    /// A register or half an MSR.
    Word(Word),
    /// A leaf.
    Leaf(u32),
    /// Anything else.
    Name(&'static str),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Feature(place) => match table::feature_at(place) {
                Some(row) => f.write_str(row.name),
                None => write!(f, "{place}"),
            },
            Self::Value(name) | Self::Name(name) => f.write_str(name),
            Self::Components(set) => write!(f, "{set}"),
            Self::Word(word) => write!(f, "{word}"),
            Self::Leaf(leaf) => write!(f, "leaf {leaf:08x}"),
        }
    }
}
