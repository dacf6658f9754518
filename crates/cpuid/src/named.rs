//! Hosts of which a VMM names features and nothing else: what follows for guests, without a leaf.
//!
//! A fleet has thousands of such hosts. The features of each guest's default policy, and what is odd about them, are
//! those of [`Host::from_vmm`](crate::Host::from_vmm) and [`examine`](crate::examine) over leaves that say the same.

use selfsame_xstate::ComponentSet;

use crate::closure::{self, Lack, close, states_of};
use crate::feature::Relation;
use crate::featureset::Featureset;
use crate::finding::Finding;
use crate::model::WORDS;
use crate::packed::HELD;
use crate::place::{Place, Register, Word};
use crate::rebuild::{COMMON_E1D, SHUT_BY};
use crate::states;
use crate::table::{self, leaf_0d, leaf_01, leaf_80000001};
use crate::vendor::Vendor;

/// The features that a VMM names of one host.
///
/// ```
/// use selfsame_cpuid::{Featureset, NamedHost, Vendor, feature};
/// use selfsame_xstate::ComponentSet;
///
/// let place = |name| feature(name).unwrap().place;
/// // AVX2 without AVX is of no use.
/// let features: Featureset = ["fpu", "mmx", "avx2"].into_iter().map(place).collect();
/// let host = NamedHost { features: &features, vendor: Vendor::Intel, states: ComponentSet::EMPTY };
/// assert!(host.default_features().contains(place("mmx")));
/// assert!(!host.default_features().contains(place("avx2")));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NamedHost<'a> {
    /// The features, as leaves would show them.
    pub features: &'a Featureset,
    /// Whose CPU it is.
    pub vendor: Vendor,
    /// The state components that the leaves would describe.
    pub states: ComponentSet,
}

/// The bits of features that a policy takes from a host.
static TAKEN: [u32; WORDS] = {
    const APART: [[u32; WORDS]; 3] = [
        table::covered_by(Relation::Local),
        table::covered_by(Relation::Dynamic),
        table::covered_by(Relation::Derived),
    ];
    let mut words = table::NAMED;
    let mut i = 0;
    while i < WORDS {
        words[i] &= !(APART[0][i] | APART[1][i] | APART[2][i]);
        i += 1;
    }
    // What the hypervisor says of itself is its offer.
    words[HYPERVISOR.index()] = table::NAMED[HYPERVISOR.index()];
    words
};

const HYPERVISOR: Word = Word::leaf(0x4000_0001, Register::Eax);
const COMMON: [Word; 2] = [Word::leaf(0x1, Register::Edx), Word::leaf(0x8000_0001, Register::Edx)];

impl NamedHost<'_> {
    /// What a new guest sees: the features of the host's default policy.
    pub fn default_features(&self) -> Featureset {
        let mut words = [0; WORDS];
        for ((word, bits), taken) in words.iter_mut().zip(self.features.words()).zip(&TAKEN) {
            *word = bits & taken;
        }
        let mut set = Featureset::from_words(words);
        close(&mut set, self.room());
        self.settle(&mut set);
        set
    }

    fn room(&self) -> ComponentSet {
        self.states.union(ComponentSet::LEGACY)
    }

    /// Drops what lies in leaves that are not read, and adds the bits that repeat others: states in XCR0 and XSS, and AMD's
    /// copies of leaf 1.
    fn settle(&self, set: &mut Featureset) {
        let states = if set.contains(leaf_01::XSAVE) { states_of(set) } else { ComponentSet::EMPTY };
        let given = states.intersection(self.room());
        let is_supervisor = |class: Option<selfsame_xstate::Class>| class.is_some_and(|class| class.is_supervisor());
        let supervisor: ComponentSet = given.iter().filter(|component| is_supervisor(component.class())).collect();
        let shown = if set.contains(leaf_0d::XSAVES) { supervisor } else { ComponentSet::EMPTY };
        let mut words = *set.array();
        for index in HELD.map(usize::from) {
            if words[index] != 0 && SHUT_BY[index].is_shut(set) {
                words[index] = 0;
            }
        }
        for (word, value) in states::words(given.minus(supervisor), shown) {
            words[word.index()] = value & table::NAMED[word.index()];
        }
        let common = if self.vendor.is_amd_like() { words[COMMON[0].index()] & COMMON_E1D } else { 0 };
        let copies = &mut words[COMMON[1].index()];
        *copies = (*copies & !COMMON_E1D | common) & table::NAMED[COMMON[1].index()];
        *set = Featureset::from_words(words);
    }

    /// What is odd in the features, and what deriving a host makes of it.
    ///
    /// `found` is called for each finding, in no promised order.
    pub fn examine(&self, mut found: impl FnMut(Finding)) {
        let unnamed = |(bits, known): (&u32, &u32)| bits & !known;
        let words = || self.features.words().iter().zip(&table::KNOWN);
        // Nearly always there is none.
        if words().map(unnamed).fold(0, |any, bits| any | bits) != 0 {
            for (word, bits) in Word::all().zip(words().map(unnamed)).filter(|(_, bits)| *bits != 0) {
                found(Finding::Unnamed { word, bits });
            }
        }
        let mut set = *self.features;
        let (lm, syscall) = (leaf_80000001::LM, leaf_80000001::SYSCALL);
        if self.vendor.is_intel_like() && set.contains(lm) && !set.contains(syscall) {
            found(Finding::SyscallHidden);
            set.insert(syscall);
        }
        lacks(&set, self.room(), found);
    }
}

/// Tells of each feature that lacks something.
pub(crate) fn lacks(set: &Featureset, room: ComponentSet, mut found: impl FnMut(Finding)) {
    for (row, lack) in closure::lacks(set, room) {
        let feature: Place = row.place;
        found(match lack {
            Lack::Feature(needs) => Finding::Orphan { feature, needs },
            Lack::State(components) => Finding::NoState { feature, components },
        });
    }
}
