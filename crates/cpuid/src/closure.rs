//! Closing a set of features under their prerequisites.

use selfsame_xstate::ComponentSet;

use crate::feature::{Feature, Relation};
use crate::featureset::Featureset;
use crate::place::Place;
use crate::table::FEATURES;

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
    FEATURES.iter().filter(|row| set.contains(row.place) && is_asked(row)).filter_map(move |row| {
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
        for (row, lack) in lacks(&before, states) {
            set.remove(row.place);
            removed(row, lack);
        }
        if *set == before {
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
    FEATURES
        .iter()
        .filter(|row| set.contains(row.place))
        .fold(ComponentSet::EMPTY, |states, row| states.union(asked_states(row)))
}
