//! What a level lost, to which hosts, and why.

use std::collections::BTreeMap;
use std::rc::Rc;

use selfsame_cpuid::{Feature, Member, Policy, Rule, blame, kept_as_warning};

use crate::terminal::count;
use crate::why::{BY_WORDS, Group, Seen, alike};

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

/// What a level lost of what its hosts have.
pub(crate) fn losses(level: &Policy, seen: &[Seen<'_>]) -> (Vec<Lost>, Vec<Unwarned>) {
    // Of hosts that are alike, one is blamed for all.
    let groups = alike(seen);
    let first = |group: &Group| seen.get(*group.first()?);
    let members: Vec<Member<'_>> =
        groups.iter().filter_map(first).map(|seen| Member { name: &seen.machine.name, host: &seen.host }).collect();
    let group_of: BTreeMap<&str, &Group> = members.iter().map(|member| member.name).zip(&groups).collect();
    let mut lost = Vec::new();
    // Few sets of hosts cost many features.
    let mut known: Vec<(Vec<&Group>, Rc<[usize]>)> = Vec::new();
    blame(level, &members, |loss| {
        let feature = loss.feature;
        let mut blamed: Vec<&Group> = loss.hosts().filter_map(|name| group_of.get(name).copied()).collect();
        let is_by_host = !blamed.is_empty();
        // What the words take away is no host's cost.
        blamed.retain(|group| !first(group).is_some_and(|seen| seen.is_trimmed(feature)));
        let hosts: Vec<&Seen<'_>> = blamed.iter().filter_map(|group| first(group)).collect();
        let (rule, because) = match loss.rule {
            Rule::NotOnHost if is_by_host && hosts.is_empty() => by_words(feature, seen),
            Rule::NotOnHost => (rule_on_hosts(feature, &hosts), not_on_host(feature, &blamed, seen)),
            rule => (rule, loss.to_string()),
        };
        let hosts = known.iter().find(|(groups, _)| is_same(groups, &blamed)).map(|(_, hosts)| Rc::clone(hosts));
        let hosts = hosts.unwrap_or_else(|| {
            let hosts: Rc<[usize]> = places(&blamed, seen.len()).into();
            known.push((blamed, Rc::clone(&hosts)));
            hosts
        });
        lost.push(Lost { feature, rule, hosts, because });
    });
    let mut unwarned = Vec::new();
    kept_as_warning(level, &members, |warning| {
        let groups: Vec<&Group> = warning.hosts().filter_map(|name| group_of.get(name).copied()).collect();
        unwarned.push(Unwarned { feature: warning.feature, hosts: places(&groups, seen.len()) });
    });
    (lost, unwarned)
}

/// Whether two lists are of the same groups.
fn is_same(a: &[&Group], b: &[&Group]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| std::ptr::eq(*a, *b))
}

/// The hosts of groups, of `count` in all, ascending.
fn places(groups: &[&Group], count: usize) -> Vec<usize> {
    let mut is_there = vec![false; count];
    for &host in groups.iter().copied().flatten() {
        if let Some(is_there) = is_there.get_mut(host) {
            *is_there = true;
        }
    }
    (0..).zip(is_there).filter(|(_, is_there)| *is_there).map(|(host, _)| host).collect()
}

/// Why the words cost a feature: they name it, or something that it needs.
fn by_words(feature: &Feature, seen: &[Seen<'_>]) -> (Rule, String) {
    match seen.iter().filter(|seen| seen.is_trimmed(feature)).find_map(|seen| seen.why_not(feature)) {
        Some(cause) => (cause.rule, cause.text),
        None => (Rule::OfferNever, BY_WORDS.to_owned()),
    }
}

/// The rule by which hosts cost a feature: one that has it and hides it does so by another than one that lacks it.
fn rule_on_hosts(feature: &Feature, hosts: &[&Seen<'_>]) -> Rule {
    let mut rules = hosts.iter().map(|seen| match seen.why_not(feature) {
        Some(cause) if seen.raw.contains(feature.place) => cause.rule,
        _ => Rule::NotOnHost,
    });
    let first = rules.next().unwrap_or(Rule::NotOnHost);
    if rules.all(|rule| rule == first) { first } else { Rule::NotOnHost }
}

/// Longer names of hosts make prose unreadable.
const LONG: usize = 16;

/// Why the hosts that cost a feature do not give it: each cause once, with its hosts where there are several.
fn not_on_host(feature: &Feature, groups: &[&Group], seen: &[Seen<'_>]) -> String {
    let mut causes: Vec<(String, Vec<&Group>)> = Vec::new();
    for group in groups {
        let Some(host) = group.first().and_then(|&i| seen.get(i)) else { continue };
        let text = match host.why_not(feature) {
            Some(cause) if host.raw.contains(feature.place) || !host.machine.is_derived() => cause.text,
            _ => host.lacks(feature.place).to_owned(),
        };
        match causes.iter_mut().find(|(known, _)| *known == text) {
            Some((_, groups)) => groups.push(group),
            None => causes.push((text, vec![group])),
        }
    }
    let who = |groups: &[&Group]| {
        let names = || places(groups, seen.len()).into_iter().filter_map(|i| Some(&*seen.get(i)?.machine.name));
        match groups.iter().map(|group| group.len()).sum() {
            1 => names().collect(),
            2 if names().all(|name| name.len() <= LONG) => names().collect::<Vec<_>>().join(", "),
            number => count(number, "host"),
        }
    };
    match &causes[..] {
        [] => "the host lacks it".to_owned(),
        [(text, _)] => text.clone(),
        _ => {
            let parts: Vec<String> = causes.iter().map(|(text, groups)| format!("{}: {text}", who(groups))).collect();
            parts.join("; ")
        }
    }
}
