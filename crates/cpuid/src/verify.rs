//! Whether a policy is possible at all, whatever the host.

use core::fmt;

use selfsame_xstate::{ComponentSet, Xcr0Error, xcr0_faults};

use crate::apic_id::ApicId;
use crate::closure::{Lack, lacks};
use crate::finding::What;
use crate::leaves::Leaves;
use crate::model;
use crate::place::{Place, Register, Word, WordSource};
use crate::policy::Policy;
use crate::rebuild::{Floor, rebuild};
use crate::rule::Rule;
use crate::table::{self, leaf_01};
use crate::vendor::VendorName;

/// Why a policy is impossible.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// A feature stands without one that it needs.
    Orphan {
        /// The feature.
        feature: Place,
        /// What it needs.
        needs: Place,
    },
    /// A feature stands without the state that it uses.
    NoState {
        /// The feature.
        feature: Place,
        /// The components.
        components: ComponentSet,
    },
    /// XCR0's maximum is not a value that XCR0 can have.
    Xcr0(Xcr0Error),
    /// Leaf 0xD has states that no feature of the policy uses.
    StateAlone {
        /// The components.
        components: ComponentSet,
    },
    /// Leaf 0xD contradicts itself.
    Geometry(selfsame_xstate::Defect),
    /// The size in leaf 0xD is not that of the components.
    Size {
        /// What the leaf says.
        said_bytes: u32,
        /// What the components need.
        needed_bytes: u32,
    },
    /// A highest leaf does not cover what lies under it.
    MaxLeaf {
        /// The leaf whose EAX says it: 0, 7 or 0x80000000.
        leaf: u32,
        /// What it says.
        said: u32,
        /// What is needed.
        needed: u32,
    },
    /// A register that follows from the rest of the policy holds something else.
    NotDerived {
        /// The word.
        word: Word,
        /// What it holds.
        said: u32,
        /// What follows.
        needed: u32,
    },
    /// A leaf means nothing without a feature that the policy lacks, and is not zero.
    Shut {
        /// The leaf.
        leaf: u32,
    },
    /// A part of the vendor's name is zero and the rest is not. A policy without any name says nothing about its vendor.
    Vendor {
        /// The name.
        name: VendorName,
    },
    /// Bits that no manual names.
    Unnamed {
        /// The word.
        word: Word,
        /// The bits.
        bits: u32,
    },
    /// A feature that says whether a package has several logical processors says the opposite of the topology.
    TopologyFeature {
        /// The feature.
        feature: Place,
        /// Whether the topology needs it, or rules it out.
        is_needed: bool,
    },
    /// A leaf does not tell what follows from the topology.
    TopologyLeaf {
        /// The leaf.
        leaf: u32,
    },
    /// A leaf that the policy shows has no room for its topology.
    TopologyBeyond {
        /// The leaf.
        leaf: u32,
    },
    /// The topology has APIC ids that only x2APIC can address, and the policy lacks it.
    ApicIdsWithoutX2apic {
        /// The greatest id.
        last: ApicId,
    },
}

impl Fault {
    /// The rule that the policy breaks.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Orphan { .. } => Rule::Prerequisite,
            Self::TopologyFeature { .. }
            | Self::TopologyLeaf { .. }
            | Self::TopologyBeyond { .. }
            | Self::ApicIdsWithoutX2apic { .. } => Rule::Topology,
            Self::Vendor { .. }
            | Self::MaxLeaf { .. }
            | Self::Unnamed { .. }
            | Self::NotDerived { .. }
            | Self::Shut { .. } => Rule::Malformed,
            _ => Rule::Layout,
        }
    }

    /// What it is about.
    pub const fn what(&self) -> What {
        match *self {
            Self::Orphan { feature, .. } | Self::NoState { feature, .. } | Self::TopologyFeature { feature, .. } => {
                What::Feature(feature)
            }
            Self::ApicIdsWithoutX2apic { .. } => What::Feature(leaf_01::X2APIC),
            Self::StateAlone { components } => What::Components(components),
            Self::Vendor { .. } => What::Name("vendor"),
            Self::Xcr0(_) => What::Name("xcr0"),
            Self::Geometry(_) | Self::Size { .. } => What::Name("leaf 0000000d"),
            Self::MaxLeaf { leaf: 0, .. } => What::Value("max-leaf"),
            Self::MaxLeaf { leaf: 7, .. } => What::Value("leaf-7-max-subleaf"),
            Self::MaxLeaf { .. } => What::Value("max-extended-leaf"),
            Self::Unnamed { word, .. } | Self::NotDerived { word, .. } => What::Word(word),
            Self::Shut { leaf } | Self::TopologyLeaf { leaf } | Self::TopologyBeyond { leaf } => What::Leaf(leaf),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Orphan { needs, .. } => write!(f, "stands without {}, which it needs", What::Feature(needs)),
            Self::NoState { components, .. } => write!(f, "leaf 0000000d has no row for its state ({components})"),
            Self::Xcr0(error) => write!(f, "the maximum in leaf 0000000d is no value of xcr0: {error}"),
            Self::StateAlone { components } => {
                write!(f, "leaf 0000000d enumerates {components}, but no feature of the policy uses it")
            }
            Self::Geometry(defect) => write!(f, "{defect}"),
            Self::Size { said_bytes, needed_bytes } => {
                write!(f, "says that the area is {said_bytes} bytes; its components need {needed_bytes}")
            }
            Self::MaxLeaf { said, needed, .. } => write!(f, "is {said:#x}, but the policy has {needed:#x}"),
            Self::NotDerived { said, needed, .. } => {
                write!(f, "holds {said:#010x}, but {needed:#010x} follows from the rest of the policy")
            }
            Self::Shut { .. } => f.write_str("means nothing without a feature that the policy lacks, and is not zero"),
            Self::Vendor { name } => write!(f, "is \"{name}\", of which a part is zero"),
            Self::Unnamed { bits, .. } => write!(f, "bits {bits:#010x} have no name here"),
            Self::TopologyFeature { is_needed: true, .. } => {
                f.write_str("is missing, but a socket of the topology has several logical processors")
            }
            Self::TopologyFeature { is_needed: false, .. } => {
                f.write_str("contradicts the topology: a socket has one logical processor, or the vendor no such bit")
            }
            Self::TopologyLeaf { .. } => f.write_str("contradicts the topology of the policy"),
            Self::TopologyBeyond { .. } => f.write_str("has no room for the topology of the policy"),
            Self::ApicIdsWithoutX2apic { last } => {
                write!(f, "is missing, but the topology has APIC ids up to {last}, and without it 254 is the last")
            }
        }
    }
}

impl Policy {
    /// Checks that the policy is one that a CPU could have: prerequisites, extended state, sizes, highest leaves,
    /// and, where it has a topology, the leaves that tell of it.
    ///
    /// `fault` is called for every reason why it is not; returns whether there was none.
    ///
    /// ```
    /// use selfsame_cpuid::{Kind, Policy, Regs, Rule};
    ///
    /// let mut policy = Policy::empty(Kind::Kvm);
    /// policy.leaves.set(0, 0, Regs::new(7, 0, 0, 0))?;
    /// policy.leaves.set(7, 0, Regs::new(0, 1 << 5, 0, 0))?; // AVX2 alone
    /// let mut rules = Vec::new();
    /// assert!(!policy.verify(|fault| rules.push(fault.rule())));
    /// assert!(rules.contains(&Rule::Prerequisite));
    /// # Ok::<(), selfsame_cpuid::OutsideModel>(())
    /// ```
    pub fn verify(&self, mut fault: impl FnMut(Fault)) -> bool {
        let mut is_possible = true;
        self.for_each_fault(&mut |found| {
            is_possible = false;
            fault(found);
        });
        is_possible
    }

    fn for_each_fault(&self, fault: &mut dyn FnMut(Fault)) {
        let leaves = &self.leaves;
        for (word, known) in Word::all().zip(&table::KNOWN) {
            let bits = leaves.word(word) & !known;
            if bits != 0 {
                fault(Fault::Unnamed { word, bits });
            }
        }
        if leaves.get(0, 0).has_half_a_vendor() {
            fault(Fault::Vendor { name: leaves.vendor_name() });
        }
        let set = self.features();
        let states = leaves.xcr0().union(leaves.xss());
        for (row, lack) in lacks(&set, states.union(ComponentSet::LEGACY)) {
            fault(match lack {
                Lack::Feature(needs) => Fault::Orphan { feature: row.place, needs },
                Lack::State(components) => Fault::NoState { feature: row.place, components },
            });
        }
        let geometry = leaves.geometry();
        for defect in geometry.defects() {
            fault(Fault::Geometry(defect));
        }
        if set.contains(leaf_01::XSAVE) {
            for error in xcr0_faults(leaves.xcr0().bits(), leaves.xcr0()) {
                fault(Fault::Xcr0(error));
            }
        }
        let mut settled = leaves.clone();
        rebuild(&mut settled, &set, &geometry, Floor::default());
        compare_states(leaves, &settled, fault);
        compare_maxima(leaves, &settled, fault);
        compare_the_rest(leaves, &settled, fault);
        self.for_each_topology_fault(fault);
    }
}

fn compare_states(leaves: &Leaves, settled: &Leaves, fault: &mut dyn FnMut(Fault)) {
    let alone = leaves.xcr0().union(leaves.xss()).minus(settled.xcr0().union(settled.xss()));
    if !alone.is_empty() {
        fault(Fault::StateAlone { components: alone });
        return;
    }
    let (said_bytes, needed_bytes) = (leaves.get(0xd, 0).ecx, settled.get(0xd, 0).ecx);
    if said_bytes != needed_bytes {
        fault(Fault::Size { said_bytes, needed_bytes });
    }
}

fn compare_maxima(leaves: &Leaves, settled: &Leaves, fault: &mut dyn FnMut(Fault)) {
    for leaf in [0, 7, 0x8000_0000] {
        let (said, needed) = (leaves.get(leaf, 0).eax, settled.get(leaf, 0).eax);
        if said < needed {
            fault(Fault::MaxLeaf { leaf, said, needed });
        }
    }
}

/// Compares what neither states nor highest leaves have told: copies, gated leaves, address widths, basic VMX controls.
fn compare_the_rest(leaves: &Leaves, settled: &Leaves, fault: &mut dyn FnMut(Fault)) {
    for word in Word::all() {
        let (said, needed) = (leaves.word(word), settled.word(word));
        let is_told = matches!(
            word.source(),
            WordSource::Cpuid { leaf: 0xd, .. }
                | WordSource::Cpuid { leaf: 0 | 7 | 0x8000_0000, register: Register::Eax, .. }
        );
        if said != needed && !is_told {
            fault(Fault::NotDerived { word, said, needed });
        }
    }
    let kept = model::slots().filter(|&(leaf, _, slot)| slot >= model::FIRST_KEPT && leaf != 0xd);
    for (leaf, _, _) in kept.filter(|&(_, _, slot)| leaves.slot(slot) != settled.slot(slot)) {
        fault(Fault::Shut { leaf });
    }
}
