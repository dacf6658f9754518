//! What a level lost, to which host, by which rule.

use core::fmt;

use crate::feature::{Feature, Offer, Relation};
use crate::featureset::Featureset;
use crate::finding::What;
use crate::host::Host;
use crate::place::{Place, WordSource};
use crate::policy::Policy;
use crate::rule::Rule;
use crate::table::FEATURES;

/// A host of a pool, by its name.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What people call it.
    pub name: &'a str,
    /// The host.
    pub host: &'a Host,
}

/// A feature that some host has and the level lacks.
#[derive(Clone, Copy, Debug)]
pub struct Loss<'a> {
    /// The feature.
    pub feature: &'static Feature,
    /// By which rule it was lost.
    pub rule: Rule,
    /// For [`Rule::Prerequisite`]: the lost feature at the root of the chain, and the direct one.
    pub chain: Option<(Place, Place)>,
    members: &'a [Member<'a>],
}

impl<'a> Loss<'a> {
    /// The hosts that cost the pool the feature; none where the hypervisor's offer does.
    pub fn hosts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (rule, place) = (self.rule, self.chain.map_or(self.feature.place, |(root, _)| root));
        self.members
            .iter()
            .filter(move |member| match rule {
                Rule::OfferNever | Rule::OfferRequest => false,
                Rule::NotOnHost | Rule::Prerequisite => !member.host.default().leaves.has(place),
                _ => false,
            })
            .map(|member| member.name)
    }
}

impl fmt::Display for Loss<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rule, self.chain) {
            (Rule::Prerequisite, Some((root, direct))) if root == direct => {
                write!(f, "needs {}, which is lost", What::Feature(direct))
            }
            (Rule::Prerequisite, Some((root, direct))) => {
                write!(f, "needs {}, which is lost with {}", What::Feature(direct), What::Feature(root))
            }
            (Rule::OfferNever | Rule::OfferRequest, _) => f.write_str(self.feature.reason),
            _ if self.members.iter().any(|m| {
                m.host.raw().contains(self.feature.place) && !m.host.default().leaves.has(self.feature.place)
            }) =>
            {
                f.write_str("the host has it but does not give it (cpuid= words, lost state, or a rule for its model)")
            }
            _ => f.write_str("the host lacks it"),
        }
    }
}

/// Says what `level` lost of what its members have: calls `lost` for each feature, in the order of places.
///
/// A second pass over the pool: the level itself is computed without it.
pub fn blame<'a>(level: &Policy, members: &'a [Member<'a>], mut lost: impl FnMut(Loss<'a>)) {
    let kept = level.features();
    let anywhere = members.iter().fold(Featureset::EMPTY, |all, member| all | *member.host.raw());
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

fn rule_of(
    feature: &Feature,
    level: &Policy,
    kept: &Featureset,
    members: &[Member<'_>],
) -> (Rule, Option<(Place, Place)>) {
    let offer = feature.offer_to(level.kind);
    if offer == Offer::Never {
        return (Rule::OfferNever, None);
    }
    let is_given = |member: &Member<'_>| member.host.default().leaves.has(feature.place);
    // No host costs what nobody asked for.
    if offer == Offer::Request && !members.iter().any(is_given) {
        return (Rule::OfferRequest, None);
    }
    if members.iter().any(|member| !member.host.raw().contains(feature.place)) {
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
#[derive(Clone, Copy, Debug)]
pub struct Warning<'a> {
    /// The feature.
    pub feature: &'static Feature,
    members: &'a [Member<'a>],
}

impl<'a> Warning<'a> {
    /// The hosts that need the feature.
    pub fn hosts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let place = self.feature.place;
        self.members.iter().filter(move |member| member.host.default().leaves.is_set(place)).map(|member| member.name)
    }
}

/// Calls `warn` for each bit of relation [`Relation::Any`] that some member has and the level lacks.
pub fn kept_as_warning<'a>(level: &Policy, members: &'a [Member<'a>], mut warn: impl FnMut(Warning<'a>)) {
    for feature in FEATURES.iter().filter(|row| matches!(row.relation, Relation::Any)) {
        let is_needed = members.iter().any(|member| member.host.default().leaves.is_set(feature.place));
        if is_needed && !level.leaves.is_set(feature.place) {
            warn(Warning { feature, members });
        }
    }
}
