//! What a level lost, to which host, by which rule.

use core::fmt;

use crate::feature::{Feature, Offer, Relation};
use crate::featureset::Featureset;
use crate::finding::What;
use crate::host::Host;
use crate::place::{Place, WordSource};
use crate::policy::Policy;
use crate::quirk;
use crate::rule::Rule;
use crate::table::FEATURES;

/// What a host has and gives, feature by feature.
pub trait Gives {
    /// Whether the host has the feature, by its hardware or by what was offered.
    fn has(&self, place: Place) -> bool;

    /// Whether a new guest sees the feature there.
    fn gives(&self, place: Place) -> bool;

    /// Adds all that the host has to a set.
    fn add_to(&self, all: &mut Featureset);
}

impl Gives for Host {
    fn has(&self, place: Place) -> bool {
        self.raw().contains(place)
    }

    fn gives(&self, place: Place) -> bool {
        self.default().leaves.has(place)
    }

    fn add_to(&self, all: &mut Featureset) {
        *all |= *self.raw();
    }
}

/// A host of a pool, by its name.
#[derive(Debug)]
pub struct Member<'a, H = Host> {
    /// What people call it.
    pub name: &'a str,
    /// The host.
    pub host: &'a H,
}

/// A feature that some host has and the level lacks.
#[derive(Debug)]
pub struct Loss<'a, H = Host> {
    /// The feature.
    pub feature: &'static Feature,
    /// By which rule it was lost.
    pub rule: Rule,
    /// For [`Rule::Prerequisite`]: the lost feature at the root of the chain, and the direct one.
    pub chain: Option<(Place, Place)>,
    members: &'a [Member<'a, H>],
}

impl<'a, H: Gives> Loss<'a, H> {
    /// The hosts that cost the pool the feature; none where the hypervisor's offer does.
    pub fn hosts(&self) -> impl Iterator<Item = &'a str> + use<'a, H> {
        let members = self.members;
        self.places().filter_map(|at| Some(members.get(at)?.name))
    }

    /// The places of those hosts among the members.
    pub fn places(&self) -> impl Iterator<Item = usize> + use<'a, H> {
        let place = self.chain.map_or(self.feature.place, |(root, _)| root);
        let members = match self.rule {
            Rule::NotOnHost | Rule::Prerequisite => self.members,
            _ => &[],
        };
        members.iter().enumerate().filter(move |(_, member)| !member.host.gives(place)).map(|(at, _)| at)
    }
}

impl<H: Gives> fmt::Display for Loss<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rule, self.chain) {
            (Rule::Prerequisite, Some((root, direct))) if root == direct => {
                write!(f, "needs {}, which is lost", What::Feature(direct))
            }
            (Rule::Prerequisite, Some((root, direct))) => {
                write!(f, "needs {}, which is lost with {}", What::Feature(direct), What::Feature(root))
            }
            (Rule::OfferNever | Rule::OfferRequest, _) => f.write_str(self.feature.reason),
            _ if self.members.iter().any(|m| m.host.has(self.feature.place) && !m.host.gives(self.feature.place)) => {
                f.write_str("the host has it but does not give it (cpuid= words, lost state, or a rule for its model)")
            }
            _ => f.write_str("the host lacks it"),
        }
    }
}

/// Says what `level` lost of what its members have: calls `lost` for each feature, in the order of places.
///
/// A second pass over the pool: the level itself is computed without it.
pub fn blame<'a, H: Gives>(level: &Policy, members: &'a [Member<'a, H>], mut lost: impl FnMut(Loss<'a, H>)) {
    let kept = level.features();
    let mut anywhere = Featureset::EMPTY;
    for member in members {
        member.host.add_to(&mut anywhere);
    }
    for feature in FEATURES.iter().filter(|row| matches!(row.relation, Relation::All)) {
        // What a hypervisor says of itself is not a host's to lose.
        let is_hypervisors = matches!(feature.place.word().source(), WordSource::Cpuid { leaf: 0x4000_0001, .. });
        if is_hypervisors || kept.contains(feature.place) || !anywhere.contains(feature.place) {
            continue;
        }
        let (rule, chain) = rule_of(feature, level, &kept, members);
        lost(Loss { feature, rule, chain, members });
    }
}

fn rule_of<H: Gives>(
    feature: &Feature,
    level: &Policy,
    kept: &Featureset,
    members: &[Member<'_, H>],
) -> (Rule, Option<(Place, Place)>) {
    let offer = feature.offer_to(level.kind);
    if offer == Offer::Never {
        return (Rule::OfferNever, None);
    }
    let is_given = |member: &Member<'_, H>| member.host.gives(feature.place);
    // No host costs what nobody asked for.
    if offer == Offer::Request && !members.iter().any(is_given) {
        return (Rule::OfferRequest, None);
    }
    if members.iter().any(|member| !member.host.has(feature.place)) {
        return (Rule::NotOnHost, None);
    }
    match feature.needs.iter().find(|&&needs| !kept.contains(needs)) {
        Some(&direct) => (Rule::Prerequisite, Some((root_of(direct, kept), direct))),
        None => (Rule::NotOnHost, None),
    }
}

/// The first lost feature of a chain of prerequisites.
fn root_of(mut place: Place, kept: &Featureset) -> Place {
    // No chain is longer than the table.
    for _ in 0..FEATURES.len() {
        let needs = crate::table::feature_at(place).and_then(|row| row.needs.iter().find(|&&p| !kept.contains(p)));
        match needs {
            Some(&next) => place = next,
            None => break,
        }
    }
    place
}

/// A warning that one host needs and that the level cannot carry to the others.
#[derive(Debug)]
pub struct Warning<'a, H = Host> {
    /// The feature.
    pub feature: &'static Feature,
    members: &'a [Member<'a, H>],
}

impl<'a, H: Gives> Warning<'a, H> {
    /// The hosts that need the feature.
    pub fn hosts(&self) -> impl Iterator<Item = &'a str> + use<'a, H> {
        let members = self.members;
        self.places().filter_map(|at| Some(members.get(at)?.name))
    }

    /// The places of those hosts among the members.
    pub fn places(&self) -> impl Iterator<Item = usize> + use<'a, H> {
        let place = self.feature.place;
        self.members.iter().enumerate().filter(move |(_, member)| member.host.gives(place)).map(|(at, _)| at)
    }
}

/// Calls `warn` for each bit of relation [`Relation::Any`] that some member has and the level lacks.
pub fn kept_as_warning<'a, H: Gives>(
    level: &Policy,
    members: &'a [Member<'a, H>],
    mut warn: impl FnMut(Warning<'a, H>),
) {
    for feature in FEATURES.iter().filter(|row| matches!(row.relation, Relation::Any)) {
        let is_needed = members.iter().any(|member| member.host.gives(feature.place));
        if is_needed && !level.leaves.is_set(feature.place) && !quirk::is_told_otherwise(feature.place, level) {
            warn(Warning { feature, members });
        }
    }
}
