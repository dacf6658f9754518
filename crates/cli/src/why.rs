//! Why a host does not give a feature.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use selfsame_cpuid::{
    Feature, Featureset, Gives, Host, Kind, Offer, Offer::*, PackedFeatures, Place, Relation, Rule, Trims, What,
    WordSource, feature_at,
};
use selfsame_xstate::{Class, ComponentSet};

use crate::host::{Machine, Origin, Said};
use crate::named::Named;
use crate::problem::Problem;

/// Why words cost a feature.
pub(crate) const BY_WORDS: &str = "taken away by cpuid= words";

/// Why a hypervisor's offer costs a feature.
pub(crate) const NOT_OFFERED: &str = "the host's hypervisor does not offer it";

/// Longer chains of prerequisites are cut.
const MAX_CHAIN: usize = 8;

/// A host with what it has and gives, ready to be asked.
#[derive(Debug)]
pub(crate) struct Seen<'m> {
    /// The host's file.
    pub(crate) machine: &'m Machine,
    kind: Kind,
    /// None where the names of the host's features tell it all.
    view: Option<Rc<View>>,
}

/// What guests of one kind meet on a host, and on all that are like it.
#[derive(Debug)]
struct View {
    host: Host,
    /// What a new guest sees there.
    default: Featureset,
    /// What a new guest would see without `cpuid=` words.
    untrimmed: Featureset,
}

/// Why something is not given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Cause {
    /// The rule.
    pub(crate) rule: Rule,
    /// The cause, down to its root.
    pub(crate) text: Cow<'static, str>,
}

/// Hosts that are alike, by their places in the pool, ascending.
pub(crate) type Group = Vec<usize>;

/// Hosts by what was seen of them, in the order of the first of each group.
pub(crate) fn alike(seen: &[Seen<'_>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<*const Said, usize> = HashMap::with_capacity(seen.len());
    for (i, seen) in seen.iter().enumerate() {
        let group = *known.entry(seen.machine.likeness()).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups
}

impl<'m> Seen<'m> {
    /// Sees a host as guests of one kind do.
    pub(crate) fn new(machine: &'m Machine, kind: Kind, trims: &Trims) -> Result<Self, Problem> {
        if machine.named().is_some() && *trims == Trims::NONE {
            return Ok(Self { machine, kind, view: None });
        }
        let host = machine.host(kind, trims)?;
        let default = host.default().features();
        let untrimmed =
            if *trims == Trims::NONE { default } else { machine.host(kind, &Trims::NONE)?.default().features() };
        Ok(Self { machine, kind, view: Some(Rc::new(View { default, untrimmed, host })) })
    }

    /// Sees all hosts of a pool as guests of one kind do; those that are alike, once.
    pub(crate) fn all(machines: &'m [Machine], kind: Kind, trims: &Trims) -> Result<Vec<Self>, Problem> {
        let mut views: BTreeMap<*const Said, Rc<View>> = BTreeMap::new();
        let is_untrimmed = *trims == Trims::NONE;
        let see = |machine: &'m Machine| {
            if machine.named().is_some() && is_untrimmed {
                return Ok(Self { machine, kind, view: None });
            }
            if let Some(view) = views.get(&machine.likeness()) {
                return Ok(Self { machine, kind, view: Some(Rc::clone(view)) });
            }
            let seen = Self::new(machine, kind, trims)?;
            if let Some(view) = &seen.view {
                views.insert(machine.likeness(), Rc::clone(view));
            }
            Ok(seen)
        };
        machines.iter().map(see).collect()
    }

    /// The host, as its guests meet it.
    pub(crate) fn host(&self) -> Cow<'_, Host> {
        match &self.view {
            Some(view) => Cow::Borrowed(&view.host),
            // Names of features come from VMMs.
            None => Cow::Owned(Host::from_vmm(&self.machine.raw(), self.kind, &Trims::NONE)),
        }
    }

    /// The names of its features, where they tell all that guests see.
    pub(crate) fn named(&self) -> Option<&'m Named> {
        self.machine.named().filter(|_| self.view.is_none())
    }

    /// What it has and gives.
    pub(crate) fn sets(&self) -> Sets<'_> {
        match (self.named(), &self.view) {
            (Some(named), _) => Sets::Named { has: named.machine.features(), gives: &named.given },
            (None, Some(view)) => Sets::Whole { has: view.host.raw(), gives: &view.default },
            (None, None) => Sets::Whole { has: &Featureset::EMPTY, gives: &Featureset::EMPTY },
        }
    }

    /// Whether a guest may have a feature here.
    pub(crate) fn may_give(&self, place: Place) -> bool {
        self.host().max().leaves.has(place)
    }

    /// How many features a new guest sees.
    pub(crate) fn given_count(&self) -> usize {
        match (self.named(), &self.view) {
            (Some(named), _) => named.given.len(),
            (_, Some(view)) => view.default.iter().filter_map(feature_at).count(),
            (None, None) => 0,
        }
    }

    /// Why new guests do not see a feature here; `None` if they do.
    pub(crate) fn why_not(&self, feature: &Feature) -> Option<Cause> {
        if self.gives(feature.place) {
            return None;
        }
        Some(self.cause(feature, MAX_CHAIN))
    }

    /// Whether the words alone take a feature away here.
    pub(crate) fn is_trimmed(&self, feature: &Feature) -> bool {
        let view = self.view.as_ref();
        view.is_some_and(|view| view.untrimmed.contains(feature.place) && !view.default.contains(feature.place))
    }

    fn cause(&self, feature: &Feature, chain: usize) -> Cause {
        let offer = feature.offer_to(self.kind);
        let cause = |rule, text: Cow<'static, str>| Cause { rule, text };
        match feature.relation {
            Relation::Dynamic => return cause(Rule::NotOnHost, "is answered from the state of each vCPU".into()),
            Relation::Derived => {
                return cause(Rule::NotOnHost, format!("follows from others: {}", feature.reason).into());
            }
            _ => {}
        }
        if !self.machine.is_derived() && !self.has(feature.place) {
            let text = match self.machine.origin {
                Origin::Policy(..) => "the policy does not have it",
                _ => NOT_OFFERED,
            };
            return cause(Rule::NotOnHost, text.into());
        }
        if offer == Never && self.machine.is_derived() {
            return cause(Rule::OfferNever, feature.reason.into());
        }
        if !self.has(feature.place) && offer != Made {
            return cause(Rule::NotOnHost, self.lacks(feature.place).into());
        }
        if offer == Request {
            let text = format!("only on request (--cpuid {}): {}", feature.name, feature.reason);
            return cause(Rule::OfferRequest, text.into());
        }
        if let Some(&needs) = feature.needs.iter().find(|&&needs| !self.gives(needs)) {
            let root = feature_at(needs).filter(|_| chain > 0).map(|row| self.cause(row, chain - 1).text);
            let text = format!("needs {}: {}", What::Feature(needs), root.unwrap_or_default());
            return cause(Rule::Prerequisite, text.into());
        }
        if self.view.as_ref().is_some_and(|view| view.untrimmed.contains(feature.place)) {
            return cause(Rule::OfferNever, BY_WORDS.into());
        }
        let missing = self.missing_states(feature);
        if !missing.is_empty() {
            return cause(Rule::Layout, format!("leaf 0000000d has no usable row for its state ({missing})").into());
        }
        if feature.name == "vmx" && self.machine.misses_msr(0x480) {
            return cause(Rule::NotOnHost, "its dump does not have the MSRs that tell of it".into());
        }
        let vendor = self.machine.cpu();
        cause(
            Rule::OfferNever,
            format!("the host has it, but is not to give it: a rule for its model ({vendor})").into(),
        )
    }

    /// How a host that lacks a bit lacks it.
    pub(crate) fn lacks(&self, place: Place) -> &'static str {
        match place.word().source() {
            WordSource::Msr { index, .. } if self.machine.misses_msr(index) => {
                "its dump does not have the MSR that tells of it"
            }
            _ => "the host lacks it",
        }
    }

    /// The user states of a feature for which the host has no room.
    fn missing_states(&self, feature: &Feature) -> ComponentSet {
        let raw = self.machine.raw();
        let offsets = raw.vendor().offsets();
        let room = raw.geometry().usable(offsets).components().union(ComponentSet::LEGACY);
        let is_user = |class: Option<Class>| class.is_some_and(|class| !class.is_supervisor());
        feature.components.minus(room).iter().filter(|component| is_user(component.class())).collect()
    }
}

impl Gives for Seen<'_> {
    fn has(&self, place: Place) -> bool {
        self.sets().has(place)
    }

    fn gives(&self, place: Place) -> bool {
        self.sets().gives(place)
    }

    fn add_to(&self, all: &mut Featureset) {
        self.sets().add_to(all);
    }
}

/// What a host has and gives, at hand: thousands of hosts are asked about hundreds of features.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sets<'s> {
    /// Of a host of which there is nothing but names.
    Named {
        /// What it has.
        has: &'s PackedFeatures,
        /// What a new guest sees there.
        gives: &'s PackedFeatures,
    },
    /// Of any other.
    Whole {
        /// What it has.
        has: &'s Featureset,
        /// What a new guest sees there.
        gives: &'s Featureset,
    },
}

impl Gives for Sets<'_> {
    fn has(&self, place: Place) -> bool {
        match self {
            Self::Named { has, .. } => has.contains(place),
            Self::Whole { has, .. } => has.contains(place),
        }
    }

    fn gives(&self, place: Place) -> bool {
        match self {
            Self::Named { gives, .. } => gives.contains(place),
            Self::Whole { gives, .. } => gives.contains(place),
        }
    }

    fn add_to(&self, all: &mut Featureset) {
        match self {
            Self::Named { has, .. } => has.add_to(all),
            Self::Whole { has, .. } => *all |= **has,
        }
    }
}

/// Who gives guests of a kind what they get.
pub(crate) const fn hypervisor(kind: Kind) -> &'static str {
    if kind.is_xen() { "Xen" } else { "KVM" }
}

/// What an offer means, in words.
pub(crate) const fn offer_text(offer: Offer) -> &'static str {
    match offer {
        Hardware => "where the host has it",
        Made => "on every host: the hypervisor makes it",
        Anywhere => "on every host if asked for, by default where the host has it",
        Request => "only on request, where the host has it",
        Never => "never",
    }
}
