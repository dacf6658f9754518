//! Closing a set of features under their prerequisites.

use selfsame_xstate::ComponentSet;

use crate::feature::{Feature, Relation};
use crate::featureset::Featureset;
use crate::model::{WORDS, small};
use crate::packed::HELD;
use crate::place::{Place, Word};
use crate::table::{FEATURES, feature_at};

/// Why a feature cannot stay in a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lack {
    /// A feature that it needs is not in the set.
    Feature(Place),
    /// State that it uses has no place in the save area.
    State(ComponentSet),
}

/// The features of `set` that cannot stay in it for want of something, each with the first thing that it wants.
///
/// `states` are the components that there is room for; of supervisor components only [`ComponentSet::GUEST_SUPERVISOR`] are
/// asked for, because no hypervisor gives guests the others through XSS.
pub(crate) fn lacks<'a>(
    set: &'a Featureset,
    states: ComponentSet,
) -> impl Iterator<Item = (&'static Feature, Lack)> + 'a {
    let mut wanting = [0; WORDS];
    for word in &WANTING {
        wanting[usize::from(word.index)] = word.lacking(set, states);
    }
    rows_of(wanting).filter_map(move |row| {
        if let Some(&needs) = row.needs.iter().find(|&&needs| !set.contains(needs)) {
            return Some((row, Lack::Feature(needs)));
        }
        let missing = asked_states(row).minus(states);
        (!missing.is_empty()).then_some((row, Lack::State(missing)))
    })
}

/// Removes from `set`, again and again, what wants something.
pub(crate) fn close(set: &mut Featureset, states: ComponentSet) {
    loop {
        let mut removed = 0;
        for word in &WANTING {
            let lacking = word.lacking(set, states);
            set.array_mut()[usize::from(word.index)] &= !lacking;
            removed |= lacking;
        }
        if removed == 0 {
            return;
        }
    }
}

/// The state that a feature cannot do without.
pub(crate) const fn asked_states(row: &Feature) -> ComponentSet {
    row.components.intersection(ComponentSet::USER.union(ComponentSet::GUEST_SUPERVISOR))
}

/// Bits that follow from others want nothing themselves.
const fn is_asked(row: &Feature) -> bool {
    !matches!(row.relation, Relation::Derived | Relation::Dynamic | Relation::Local)
}

/// All components that the features of `set` use.
pub(crate) fn states_of(set: &Featureset) -> ComponentSet {
    let mut words = STATEFUL;
    for (word, bits) in words.iter_mut().zip(set.words()) {
        *word &= bits;
    }
    rows_of(words).fold(ComponentSet::EMPTY, |states, row| states.union(asked_states(row)))
}

/// The features of one word that want the same: a feature, or room for state.
#[derive(Clone, Copy)]
struct Want {
    /// The feature that they need, as a word and its bit; no bit where they want state.
    needs: (u16, u32),
    /// The state that they need room for; empty where they want a feature.
    states: ComponentSet,
    word: u16,
    mask: u32,
}

impl Want {
    #[inline]
    const fn is_met(&self, set: &Featureset, states: ComponentSet) -> bool {
        let (word, bit) = self.needs;
        set.array()[word as usize] & bit == bit && self.states.is_subset_of(states)
    }

    const fn is_like(&self, other: &Self) -> bool {
        self.needs.0 == other.needs.0
            && self.needs.1 == other.needs.1
            && self.states.bits() == other.states.bits()
            && self.word == other.word
    }
}

/// All that features want, and how much of the memory that takes.
const ALL_WANTS: ([Want; 1024], usize) = {
    let mut wants = [Want { needs: (0, 0), states: ComponentSet::EMPTY, word: 0, mask: 0 }; 1024];
    let (mut count, mut first_of_word, mut i) = (0, 0, 0);
    while i < FEATURES.len() {
        let row = &FEATURES[i];
        let word = small(row.place.word().index());
        // The rows of a word follow each other.
        if count > 0 && wants[count - 1].word != word {
            first_of_word = count;
        }
        // Behind its needs, the state.
        let mut n = 0;
        while is_asked(row) && n <= row.needs.len() {
            let (needs, states) = if n < row.needs.len() {
                ((small(row.needs[n].word().index()), row.needs[n].mask()), ComponentSet::EMPTY)
            } else {
                ((0, 0), asked_states(row))
            };
            let want = Want { needs, states, word, mask: 0 };
            let mut at = first_of_word;
            while at < count && !wants[at].is_like(&want) {
                at += 1;
            }
            if n < row.needs.len() || !states.is_empty() {
                if at == count {
                    wants[count] = want;
                    count += 1;
                }
                wants[at].mask |= row.place.mask();
            }
            n += 1;
        }
        i += 1;
    }
    (wants, count)
};

/// One word with features that want something.
#[derive(Clone, Copy)]
struct WantingWord {
    index: u16,
    /// Those features.
    mask: u32,
    /// What they want: a part of [`WANTS`].
    first: u16,
    end: u16,
}

impl WantingWord {
    /// The features of a set that lack something of what they want.
    #[inline]
    fn lacking(&self, set: &Featureset, states: ComponentSet) -> u32 {
        let bits = set.array()[usize::from(self.index)];
        // Most words are empty.
        if bits & self.mask == 0 {
            return 0;
        }
        let wants = WANTS.get(usize::from(self.first)..usize::from(self.end)).unwrap_or_default();
        bits & wants.iter().filter(|want| !want.is_met(set, states)).fold(0, |lacking, want| lacking | want.mask)
    }
}

/// The words with features that want something.
const ALL_WANTING: ([WantingWord; WORDS], usize) = {
    let mut words = [WantingWord { index: 0, mask: 0, first: 0, end: 0 }; WORDS];
    let (mut count, mut i) = (0, 0);
    while i < ALL_WANTS.1 {
        let want = &ALL_WANTS.0[i];
        if count == 0 || words[count - 1].index != want.word {
            words[count] = WantingWord { index: want.word, mask: 0, first: small(i), end: 0 };
            count += 1;
        }
        words[count - 1].mask |= want.mask;
        words[count - 1].end = small(i + 1);
        i += 1;
    }
    (words, count)
};

static WANTING: [WantingWord; ALL_WANTING.1] = match ALL_WANTING.0.first_chunk() {
    Some(words) => *words,
    None => unreachable!(),
};

static WANTS: [Want; ALL_WANTS.1] = match ALL_WANTS.0.first_chunk() {
    Some(wants) => *wants,
    None => unreachable!(),
};

/// The features that use state.
static STATEFUL: [u32; WORDS] = {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < FEATURES.len() {
        if !asked_states(&FEATURES[i]).is_empty() {
            words[FEATURES[i].place.word().index()] |= FEATURES[i].place.mask();
        }
        i += 1;
    }
    words
};

/// The rows of features, by their words, in the order of their places.
fn rows_of(words: [u32; WORDS]) -> impl Iterator<Item = &'static Feature> {
    // Most words have no feature, and most others are empty: the word is named when it is not.
    let words = HELD.iter().map(move |&at| (usize::from(at), words[usize::from(at)]));
    words.filter(|(_, bits)| *bits != 0).flat_map(|(index, mut bits)| {
        let word = Word::from_index(index);
        core::iter::from_fn(move || {
            let bit = u8::try_from(bits.trailing_zeros()).ok().and_then(|bit| Place::new(word, bit))?;
            bits &= bits - 1;
            feature_at(bit)
        })
    })
}
