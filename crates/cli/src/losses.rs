//! What a level lost, to which hosts, and why.

use std::collections::BTreeMap;

use selfsame_cpuid::{Feature, Member, Policy, Rule, blame, kept_as_warning};

use crate::terminal::count;
use crate::why::{BY_WORDS, Seen};

/// A feature that some host has and the level lacks.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The feature.
    pub(crate) feature: &'static Feature,
    /// By which rule.
    pub(crate) rule: Rule,
    /// The hosts that cost it, ascending; none where the hypervisor or the words do.
    pub(crate) hosts: Vec<usize>,
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
    let members: Vec<Member<'_>> =
        seen.iter().map(|seen| Member { name: &seen.machine.name, host: &seen.host }).collect();
    let place_of: BTreeMap<&str, usize> = members.iter().enumerate().map(|(i, member)| (member.name, i)).collect();
    let places = |names: &mut dyn Iterator<Item = &str>| -> Vec<usize> {
        names.filter_map(|name| place_of.get(name).copied()).collect()
    };
    let mut lost = Vec::new();
    blame(level, &members, |loss| {
        let feature = loss.feature;
        let mut hosts = places(&mut loss.hosts());
        let is_by_host = !hosts.is_empty();
        // What the words take away is no host's cost.
        hosts.retain(|&i| !seen.get(i).is_some_and(|seen| seen.is_trimmed(feature)));
        let (rule, because) = match loss.rule {
            Rule::NotOnHost if is_by_host && hosts.is_empty() => by_words(feature, seen),
            Rule::NotOnHost => (rule_on_hosts(feature, &hosts, seen), not_on_host(feature, &hosts, seen)),
            rule => (rule, loss.to_string()),
        };
        lost.push(Lost { feature, rule, hosts, because });
    });
    let mut unwarned = Vec::new();
    kept_as_warning(level, &members, |warning| {
        unwarned.push(Unwarned { feature: warning.feature, hosts: places(&mut warning.hosts()) });
    });
    (lost, unwarned)
}

/// Why the words cost a feature: they name it, or something that it needs.
fn by_words(feature: &Feature, seen: &[Seen<'_>]) -> (Rule, String) {
    match seen.iter().filter(|seen| seen.is_trimmed(feature)).find_map(|seen| seen.why_not(feature)) {
        Some(cause) => (cause.rule, cause.text),
        None => (Rule::OfferNever, BY_WORDS.to_owned()),
    }
}

/// The rule by which hosts cost a feature: one that has it and hides it does so by another than one that lacks it.
fn rule_on_hosts(feature: &Feature, hosts: &[usize], seen: &[Seen<'_>]) -> Rule {
    let mut rules = hosts.iter().filter_map(|&i| seen.get(i)).map(|seen| match seen.why_not(feature) {
        Some(cause) if seen.raw.contains(feature.place) => cause.rule,
        _ => Rule::NotOnHost,
    });
    let first = rules.next().unwrap_or(Rule::NotOnHost);
    if rules.all(|rule| rule == first) { first } else { Rule::NotOnHost }
}

/// Longer names of hosts make prose unreadable.
const LONG: usize = 16;

/// Why the hosts that cost a feature do not give it: each cause once, with its hosts where there are several.
fn not_on_host(feature: &Feature, hosts: &[usize], seen: &[Seen<'_>]) -> String {
    let mut causes: Vec<(String, Vec<&str>)> = Vec::new();
    for seen in hosts.iter().filter_map(|&i| seen.get(i)) {
        let text = match seen.why_not(feature) {
            Some(cause) if seen.raw.contains(feature.place) || !seen.machine.is_derived() => cause.text,
            _ => seen.lacks(feature.place).to_owned(),
        };
        match causes.iter_mut().find(|(known, _)| *known == text) {
            Some((_, names)) => names.push(&seen.machine.name),
            None => causes.push((text, vec![&seen.machine.name])),
        }
    }
    match &causes[..] {
        [] => "the host lacks it".to_owned(),
        [(text, _)] => text.clone(),
        _ => {
            let who = |names: &[&str]| {
                if names.len() > 2 || (names.len() == 2 && names.iter().any(|name| name.len() > LONG)) {
                    count(names.len(), "host")
                } else {
                    names.join(", ")
                }
            };
            let parts: Vec<String> = causes.iter().map(|(text, names)| format!("{}: {text}", who(names))).collect();
            parts.join("; ")
        }
    }
}
