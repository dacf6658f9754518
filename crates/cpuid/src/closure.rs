//! Closing a set of features under their prerequisites.

use selfsame_xstate::ComponentSet;

use crate::feature::{Feature, Relation};
use crate::featureset::Featureset;
use crate::model::WORDS;
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
/// `states` are the components that there is room for; only supervisor components among [`GIVEN_SUPERVISOR`] are asked
/// for, because no hypervisor gives guests the others through XSS.
pub(crate) fn lacks<'a>(
    set: &'a Featureset,
    states: ComponentSet,
) -> impl Iterator<Item = (&'static Feature, Lack)> + 'a {
    rows_of(set, &WANTING).filter_map(move |row| {
        if let Some(&needs) = row.needs.iter().find(|&&needs| !set.contains(needs)) {
            return Some((row, Lack::Feature(needs)));
        }
        let missing = asked_states(row).minus(states);
        (!missing.is_empty()).then_some((row, Lack::State(missing)))
    })
}

/// Removes from `set`, again and again, what wants something; calls `removed` for each.
pub(crate) fn close(set: &mut Featureset, states: ComponentSet, mut removed: impl FnMut(&'static Feature, Lack)) {
    loop {
        let before = *set;
        let mut is_closed = true;
        for (row, lack) in lacks(&before, states) {
            is_closed = false;
            set.remove(row.place);
            removed(row, lack);
        }
        if is_closed {
            return;
        }
    }
}

/// Supervisor components that hypervisors switch for guests through IA32_XSS: shadow stacks. PT, LBR, PASID and UINTR
/// state is switched by other means or not at all (Linux `KVM_SUPPORTED_XSS`).
pub(crate) const GIVEN_SUPERVISOR: ComponentSet = ComponentSet::from_bits(1 << 11 | 1 << 12);

/// Components that live in XCR0 by the manuals.
const USER: ComponentSet = ComponentSet::from_bits(0x4000_0000_000e_02ff);

/// The state that a feature cannot do without.
pub(crate) const fn asked_states(row: &Feature) -> ComponentSet {
    row.components.intersection(USER.union(GIVEN_SUPERVISOR))
}

/// Bits that follow from others want nothing themselves.
const fn is_asked(row: &Feature) -> bool {
    !matches!(row.relation, Relation::Derived | Relation::Dynamic | Relation::Local)
}

/// All components that the features of `set` use.
pub(crate) fn states_of(set: &Featureset) -> ComponentSet {
    rows_of(set, &STATEFUL).fold(ComponentSet::EMPTY, |states, row| states.union(asked_states(row)))
}

/// The features that cannot do without something.
static WANTING: [u32; WORDS] = {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < FEATURES.len() {
        let row = &FEATURES[i];
        if is_asked(row) && !(row.needs.is_empty() && asked_states(row).is_empty()) {
            words[row.place.word().index()] |= row.place.mask();
        }
        i += 1;
    }
    words
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

/// The rows of those features of `set` that are in `mask`, in the order of their places.
fn rows_of<'a>(set: &'a Featureset, mask: &'static [u32; WORDS]) -> impl Iterator<Item = &'static Feature> + 'a {
    // Most words have no feature, and most others are empty: the word is named when it is not.
    let words = HELD.iter().map(|&at| (usize::from(at), set.words()[usize::from(at)] & mask[usize::from(at)]));
    words.filter(|(_, bits)| *bits != 0).flat_map(|(index, mut bits)| {
        let word = Word::from_index(index);
        core::iter::from_fn(move || {
            let bit = u8::try_from(bits.trailing_zeros()).ok().and_then(|bit| Place::new(word, bit))?;
            bits &= bits - 1;
            feature_at(bit)
        })
    })
}
