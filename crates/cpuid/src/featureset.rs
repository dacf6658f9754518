//! Sets of features, and their algebra.

use core::fmt;
use core::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, BitXor, Sub, SubAssign};

use crate::model::WORDS;
use crate::place::{Place, Word};
use crate::xen::XenWords;

/// A set of feature bits: one 32-bit word for each [`Word`] of the model.
///
/// ```
/// use selfsame_cpuid::{Featureset, feature};
///
/// let avx = feature("avx").unwrap().place;
/// let mut some = Featureset::EMPTY;
/// some.insert(avx);
/// assert!(some.is_subset_of(&(some | Featureset::EMPTY)));
/// assert_eq!((some - some), Featureset::EMPTY);
/// ```
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Featureset([u32; WORDS]);

impl Featureset {
    /// The set without features.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// The set of the bits that are set in `words`, which lie as [`Word::index`] says.
    pub(crate) const fn from_words(words: [u32; WORDS]) -> Self {
        Self(words)
    }

    /// The words, as [`Word::index`] says.
    pub const fn words(&self) -> &[u32] {
        &self.0
    }

    /// The words in their array.
    pub(crate) const fn array(&self) -> &[u32; WORDS] {
        &self.0
    }

    /// The words in their array, to be changed.
    pub(crate) const fn array_mut(&mut self) -> &mut [u32; WORDS] {
        &mut self.0
    }

    /// One word.
    pub const fn word(&self, word: Word) -> u32 {
        self.0[word.index()]
    }

    /// Whether the bit at `place` is in the set.
    pub const fn contains(&self, place: Place) -> bool {
        self.0[place.word().index()] & place.mask() != 0
    }

    /// Adds a bit.
    pub const fn insert(&mut self, place: Place) {
        self.0[place.word().index()] |= place.mask();
    }

    /// Takes a bit away.
    pub const fn remove(&mut self, place: Place) {
        self.0[place.word().index()] &= !place.mask();
    }

    /// Whether every bit of this set is in `other`.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |missing, (a, b)| missing | (a & !b)) == 0
    }

    /// Whether the set has no bit.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// How many bits the set has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The bits of the set in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        let set = self.0.iter().enumerate().filter(|(_, bits)| **bits != 0);
        set.flat_map(|(index, &bits)| {
            let word = Word::from_index(index);
            (0..32).filter(move |bit| bits >> bit & 1 == 1).filter_map(move |bit| Place::new(word, bit))
        })
    }

    /// The set in the form in which Xen and its toolstacks exchange it: words that Xen has, in Xen's order.
    pub const fn to_xen(&self) -> XenWords<'_> {
        XenWords::new(self)
    }

    fn zip(mut self, other: &Self, combine: impl Fn(u32, u32) -> u32) -> Self {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a = combine(*a, *b);
        }
        self
    }
}

impl BitAnd for Featureset {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.zip(&other, |a, b| a & b)
    }
}

impl BitAndAssign for Featureset {
    fn bitand_assign(&mut self, other: Self) {
        *self = *self & other;
    }
}

impl BitOr for Featureset {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.zip(&other, |a, b| a | b)
    }
}

impl BitOrAssign for Featureset {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// The symmetric difference.
impl BitXor for Featureset {
    type Output = Self;

    fn bitxor(self, other: Self) -> Self {
        self.zip(&other, |a, b| a ^ b)
    }
}

/// The features of the left set that the right one lacks.
impl Sub for Featureset {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.zip(&other, |a, b| a & !b)
    }
}

impl SubAssign for Featureset {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Default for Featureset {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl FromIterator<Place> for Featureset {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        let mut set = Self::EMPTY;
        for place in places {
            set.insert(place);
        }
        set
    }
}

impl fmt::Debug for Featureset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
