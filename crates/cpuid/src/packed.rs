//! Sets of features in little memory.

use core::fmt;

use crate::featureset::Featureset;
use crate::model::{WORDS, small};
use crate::place::Place;
use crate::table::NAMED;

/// A set of features of the table, in a quarter of a [`Featureset`]'s memory: bits without a row have no room in it.
///
/// ```
/// use selfsame_cpuid::{Featureset, PackedFeatures, feature};
///
/// let (avx, mmx) = (feature("avx").unwrap().place, feature("mmx").unwrap().place);
/// let set: Featureset = [avx].into_iter().collect();
/// let packed = PackedFeatures::from(&set);
/// assert!(packed.contains(avx) && !packed.contains(mmx));
/// assert_eq!(Featureset::from(&packed), set);
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct PackedFeatures([u32; COUNT]);

/// How many words have a feature.
const COUNT: usize = {
    let (mut count, mut word) = (0, 0);
    while word < WORDS {
        count += (NAMED[word] != 0) as usize;
        word += 1;
    }
    count
};

/// The words that have a feature, ascending.
pub(crate) static HELD: [u16; COUNT] = {
    let mut held = [0; COUNT];
    let (mut at, mut word) = (0, 0);
    while word < WORDS {
        if NAMED[word] != 0 {
            held[at] = small(word);
            at += 1;
        }
        word += 1;
    }
    held
};

/// The bits of those words that have a row.
static HELD_BITS: [u32; COUNT] = {
    let mut bits = [0; COUNT];
    let mut at = 0;
    while at < COUNT {
        bits[at] = NAMED[HELD[at] as usize];
        at += 1;
    }
    bits
};

/// Where each word is held; beyond the end where it is not.
static HELD_AT: [u16; WORDS] = {
    let mut held_at = [small(COUNT); WORDS];
    let mut at = 0;
    while at < COUNT {
        held_at[HELD[at] as usize] = small(at);
        at += 1;
    }
    held_at
};

impl PackedFeatures {
    /// Whether the feature at `place` is in the set.
    #[inline]
    pub fn contains(&self, place: Place) -> bool {
        let at = HELD_AT.get(place.word().index()).and_then(|at| self.0.get(usize::from(*at)));
        at.is_some_and(|bits| bits & place.mask() != 0)
    }

    /// Adds the set to another.
    pub fn add_to(&self, set: &mut Featureset) {
        let words = set.array_mut();
        for (at, bits) in HELD.iter().zip(self.0) {
            words[usize::from(*at)] |= bits;
        }
    }

    /// Keeps the features that are in `other` too.
    pub fn keep(&mut self, other: &Self) {
        for (bits, others) in self.0.iter_mut().zip(other.0) {
            *bits &= others;
        }
    }

    /// Adds the features of `other`.
    pub fn add(&mut self, other: &Self) {
        for (bits, others) in self.0.iter_mut().zip(other.0) {
            *bits |= others;
        }
    }

    /// How many features the set has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Whether the set has no feature.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&Featureset> for PackedFeatures {
    fn from(set: &Featureset) -> Self {
        let mut packed = HELD_BITS;
        for (bits, word) in packed.iter_mut().zip(&HELD) {
            *bits &= set.array()[usize::from(*word)];
        }
        Self(packed)
    }
}

impl From<&PackedFeatures> for Featureset {
    fn from(packed: &PackedFeatures) -> Self {
        let mut words = [0; WORDS];
        for (at, bits) in HELD.iter().zip(packed.0) {
            words[usize::from(*at)] = bits;
        }
        Self::from_words(words)
    }
}

impl fmt::Debug for PackedFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Featureset::from(self).fmt(f)
    }
}
