//! What a level lost, to which hosts, and why.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use selfsame_cpuid::{Feature, Gives as _, Member, Policy, Rule, blame, kept_as_warning};

use crate::terminal::count;
use crate::why::{BY_WORDS, Group, NOT_OFFERED, Seen, Sets};

/// A feature that some host has and the level lacks.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The feature.
    pub(crate) feature: &'static Feature,
    /// By which rule.
    pub(crate) rule: Rule,
    /// The hosts that cost it, ascending; none where the hypervisor or the words do.
    pub(crate) hosts: Rc<[usize]>,
    /// Why.
    pub(crate) because: String,
}

/// A warning that some host needs and the level cannot carry.
#[derive(Debug)]
pub(crate) struct Unwarned {
    /// The feature.
    pub(crate) feature: &'static Feature,
    /// The hosts that need it.
    pub(crate) hosts: Vec<usize>,
}

/// What a level lost of what its hosts have. Of each of `groups`, hosts that are alike, one is blamed for all.
pub(crate) fn losses(level: &Policy, seen: &[Seen<'_>], groups: &[Group]) -> (Vec<Lost>, Vec<Unwarned>) {
    let firsts: Vec<Alike<'_>> =
        (0..).zip(groups).filter_map(|(number, group)| Alike::of(number, group, seen)).collect();
    let members: Vec<Member<'_, Sets<'_>>> =
        firsts.iter().map(|alike| Member { name: &alike.first.machine.name, host: &alike.sets }).collect();
    // Hosts that are known by names alone are not subject to words.
    let has_words = firsts.iter().any(|alike| matches!(alike.sets, Sets::Whole { .. }));
    let mut lost = Vec::new();
    // Few sets of hosts cost many features.
    let mut known: HashMap<Box<[u64]>, Rc<[usize]>> = HashMap::new();
    let mut blamed: Vec<&Alike<'_>> = Vec::with_capacity(firsts.len());
    blame(level, &members, |loss| {
        let feature = loss.feature;
        blamed.clear();
        loss.places().for_each(|at| blamed.extend(firsts.get(at)));
        let is_by_host = !blamed.is_empty();
        // What the words take away is no host's cost.
        if has_words {
            blamed.retain(|alike| !alike.first.is_trimmed(feature));
        }
        // What thousands of hosts say in the same words is not asked of each.
        let is_unoffered = |alike: &&Alike<'_>| alike.is_offered && !alike.sets.has(feature.place);
        let (rule, because) = match loss.rule {
            Rule::NotOnHost if is_by_host && blamed.is_empty() => by_words(feature, seen),
            Rule::NotOnHost if blamed.iter().all(is_unoffered) => (Rule::NotOnHost, NOT_OFFERED.to_owned()),
            Rule::NotOnHost => (rule_on_hosts(feature, &blamed), not_on_host(feature, &blamed, seen)),
            rule => (rule, loss.to_string()),
        };
        let hosts = known.entry(bits(&blamed, groups.len())).or_insert_with(|| places(&blamed, seen.len()).into());
        lost.push(Lost { feature, rule, hosts: Rc::clone(hosts), because });
    });
    let mut unwarned = Vec::new();
    kept_as_warning(level, &members, |warning| {
        let groups: Vec<&Alike<'_>> = warning.places().filter_map(|at| firsts.get(at)).collect();
        unwarned.push(Unwarned { feature: warning.feature, hosts: places(&groups, seen.len()) });
    });
    (lost, unwarned)
}

/// Hosts that are alike.
struct Alike<'s> {
    /// Which group it is.
    number: usize,
    hosts: &'s Group,
    first: &'s Seen<'s>,
    sets: Sets<'s>,
    is_offered: bool,
}

impl<'s> Alike<'s> {
    fn of(number: usize, hosts: &'s Group, seen: &'s [Seen<'s>]) -> Option<Self> {
        let first = seen.get(*hosts.first()?)?;
        Some(Self { number, hosts, first, sets: first.sets(), is_offered: first.machine.is_offered() })
    }
}

/// Which of `count` groups these are, a bit each.
fn bits(groups: &[&Alike<'_>], count: usize) -> Box<[u64]> {
    let mut bits = vec![0u64; count.div_ceil(64)];
    for alike in groups {
        if let Some(bits) = bits.get_mut(alike.number / 64) {
            *bits |= 1 << (alike.number % 64);
        }
    }
    bits.into()
}

/// The hosts of groups, of `count` in all, ascending.
fn places(groups: &[&Alike<'_>], count: usize) -> Vec<usize> {
    let mut is_there = vec![false; count];
    groups.iter().flat_map(|alike| alike.hosts).for_each(|&host| {
        if let Some(is_there) = is_there.get_mut(host) {
            *is_there = true;
        }
    });
    let mut hosts = Vec::with_capacity(count);
    (0..).zip(is_there).filter(|(_, is_there)| *is_there).for_each(|(host, _)| hosts.push(host));
    hosts
}

/// Why the words cost a feature: they name it, or something that it needs.
fn by_words(feature: &Feature, seen: &[Seen<'_>]) -> (Rule, String) {
    match seen.iter().filter(|seen| seen.is_trimmed(feature)).find_map(|seen| seen.why_not(feature)) {
        Some(cause) => (cause.rule, cause.text.into_owned()),
        None => (Rule::OfferNever, BY_WORDS.to_owned()),
    }
}

/// The rule by which hosts cost a feature: one that has it and hides it does so by another than one that lacks it.
fn rule_on_hosts(feature: &Feature, hosts: &[&Alike<'_>]) -> Rule {
    let mut rules = hosts.iter().map(|alike| {
        let cause = alike.sets.has(feature.place).then(|| alike.first.why_not(feature)).flatten();
        cause.map_or(Rule::NotOnHost, |cause| cause.rule)
    });
    let first = rules.next().unwrap_or(Rule::NotOnHost);
    if rules.all(|rule| rule == first) { first } else { Rule::NotOnHost }
}

/// Longer names of hosts make prose unreadable.
const LONG: usize = 16;

/// Why the hosts that cost a feature do not give it: each cause once, with its hosts where there are several.
fn not_on_host(feature: &Feature, blamed: &[&Alike<'_>], seen: &[Seen<'_>]) -> String {
    let mut causes: Vec<(Cow<'static, str>, Vec<&Alike<'_>>)> = Vec::new();
    for &alike in blamed {
        let host = alike.first;
        let text = match host.why_not(feature) {
            Some(cause) if alike.sets.has(feature.place) || !host.machine.is_derived() => cause.text,
            _ => host.lacks(feature.place).into(),
        };
        match causes.iter_mut().find(|(known, _)| *known == text) {
            Some((_, groups)) => groups.push(alike),
            None => causes.push((text, vec![alike])),
        }
    }
    let who = |groups: &[&Alike<'_>]| {
        let names = || places(groups, seen.len()).into_iter().filter_map(|i| Some(&*seen.get(i)?.machine.name));
        match groups.iter().map(|alike| alike.hosts.len()).sum() {
            1 => names().collect(),
            2 if names().all(|name| name.len() <= LONG) => names().collect::<Vec<_>>().join(", "),
            number => count(number, "host"),
        }
    };
    match &causes[..] {
        [] => "the host lacks it".to_owned(),
        [(text, _)] => text.clone().into_owned(),
        _ => {
            let parts: Vec<String> = causes.iter().map(|(text, groups)| format!("{}: {text}", who(groups))).collect();
            parts.join("; ")
        }
    }
}
