//! `explain`: what a feature is, who gets it, and why a host does not give it.

use std::collections::BTreeMap;

use selfsame_cpuid::{Feature, Gives as _, Kind, Relation, Rule, VALUES, Value, What};
use serde::Serialize;

use crate::Verdict;
use crate::args::ExplainArguments;
use crate::host::load;
use crate::json::{SCHEMA, SideMember, print_document};
use crate::problem::Problem;
use crate::sources::Sources;
use crate::terminal::{HEADING, Page, print, short};
use crate::why::{Seen, offer_text};
use crate::words::{find, no_such_feature, trims};

#[derive(Debug, Serialize)]
struct RulesDocument {
    schema: u32,
    rules: Vec<RuleMember>,
}

#[derive(Debug, Serialize)]
struct RuleMember {
    name: &'static str,
    meaning: &'static str,
}

/// A feature's row, and what hosts make of it.
#[derive(Debug, Serialize)]
struct FeatureDocument {
    schema: u32,
    name: &'static str,
    place: String,
    aliases: Vec<&'static str>,
    linux: Option<&'static str>,
    xen: Option<&'static str>,
    relation: &'static str,
    offers: BTreeMap<&'static str, &'static str>,
    needs: Vec<String>,
    components: Vec<String>,
    reason: &'static str,
    source: &'static str,
    kind: &'static str,
    hosts: Vec<FeatureOnHost>,
}

#[derive(Debug, Serialize)]
struct FeatureOnHost {
    name: String,
    raw: bool,
    max: bool,
    default: bool,
    rule: Option<&'static str>,
    because: Option<String>,
}

/// A number's row, and what hosts say.
#[derive(Debug, Serialize)]
struct ValueDocument {
    schema: u32,
    name: &'static str,
    place: String,
    relation: &'static str,
    offers: BTreeMap<&'static str, &'static str>,
    reason: &'static str,
    source: &'static str,
    kind: &'static str,
    hosts: Vec<ValueOnHost>,
}

#[derive(Debug, Serialize)]
struct ValueOnHost {
    name: String,
    raw: SideMember,
    max: SideMember,
    default: SideMember,
}

pub(crate) fn run(arguments: &ExplainArguments) -> Result<Verdict, Problem> {
    let Some(name) = &arguments.feature else { return rules(arguments) };
    let value = VALUES.iter().find(|row| row.name == name);
    let feature = if value.is_some() { None } else { find(name)? };
    if feature.is_none() && value.is_none() {
        return Err(no_such_feature(name));
    }
    let trims = trims(&arguments.cpuid)?;
    let sources = Sources::of(&arguments.reading.sources)?.for_guests(arguments.kind);
    let load = || load(&arguments.hosts, arguments.reading.skip_bad, &sources);
    let pool = if arguments.hosts.is_empty() { None } else { Some(load()?) };
    let machines = pool.as_ref().map(|pool| &*pool.machines).unwrap_or_default();
    let seen = Seen::all(machines, arguments.kind, &trims)?;
    match (feature, value) {
        (Some(row), _) => explain_feature(arguments, row, &seen)?,
        (None, Some(row)) => explain_value(arguments, row, &seen)?,
        (None, None) => {}
    }
    Ok(Verdict::Done)
}

fn rules(arguments: &ExplainArguments) -> Result<Verdict, Problem> {
    if arguments.output.json {
        let rules = Rule::ALL.iter().map(|rule| RuleMember { name: rule.name(), meaning: rule.meaning() }).collect();
        print_document(&RulesDocument { schema: SCHEMA, rules })?;
        return Ok(Verdict::Done);
    }
    let mut page = Page::new();
    for rule in Rule::ALL {
        page.labelled(rule.name(), rule.meaning().split(' '));
    }
    page.print()?;
    Ok(Verdict::Done)
}

fn offers(offer: impl Fn(Kind) -> selfsame_cpuid::Offer) -> BTreeMap<&'static str, &'static str> {
    Kind::ALL.into_iter().map(|kind| (kind.name(), offer(kind).name())).collect()
}

fn needs(row: &Feature) -> Vec<String> {
    row.needs.iter().map(|&place| What::Feature(place).to_string()).collect()
}

fn explain_feature(arguments: &ExplainArguments, row: &'static Feature, seen: &[Seen<'_>]) -> Result<(), Problem> {
    let on_host = |seen: &Seen<'_>| {
        let cause = seen.why_not(row);
        FeatureOnHost {
            name: seen.machine.name.clone(),
            raw: seen.has(row.place),
            max: seen.may_give(row.place),
            default: seen.gives(row.place),
            rule: cause.as_ref().map(|cause| cause.rule.name()),
            because: cause.map(|cause| cause.text.into_owned()),
        }
    };
    let hosts: Vec<FeatureOnHost> = seen.iter().map(on_host).collect();
    let output = arguments.output;
    if output.json {
        let some = |name: &'static str| (!name.is_empty()).then_some(name);
        return print_document(&FeatureDocument {
            schema: SCHEMA,
            name: row.name,
            place: row.place.to_string(),
            aliases: row.aliases.to_vec(),
            linux: some(row.linux),
            xen: some(row.xen),
            relation: row.relation.name(),
            offers: offers(|kind| row.offer_to(kind)),
            needs: needs(row),
            components: row.components.iter().map(|component| component.to_string()).collect(),
            reason: row.reason,
            source: row.source,
            kind: arguments.kind.name(),
            hosts,
        });
    }
    if output.quiet {
        let given = hosts.iter().filter(|host| host.default).count();
        let pool = if hosts.is_empty() { String::new() } else { format!("; {given} of {} hosts give it", hosts.len()) };
        let (kind, offer) = (arguments.kind, offer_text(row.offer_to(arguments.kind)));
        return print(&format!("{} {}: {kind} guests have it {offer}{pool}\n", row.name, row.place));
    }
    let mut page = Page::new();
    page.line(format_args!("{HEADING}{}{HEADING:#}  {}", row.name, row.place));
    if !row.aliases.is_empty() {
        page.labelled("also", row.aliases.iter().copied());
    }
    for (label, name) in [("in Linux", row.linux), ("in Xen", row.xen)] {
        if !name.is_empty() {
            page.labelled(label, [name]);
        }
    }
    page.labelled("hosts combine", relation_text(row.relation).split(' '));
    page_offers(&mut page, |kind| row.offer_to(kind));
    if !row.needs.is_empty() {
        page.labelled("needs", needs(row).iter().map(String::as_str));
    }
    if !row.components.is_empty() {
        page.labelled("state", [row.components.to_string().as_str()]);
    }
    page.labelled("why", row.reason.split(' '));
    page.labelled("defined in", row.source.split(' '));
    if !hosts.is_empty() {
        page.heading(format_args!("For {} guests", arguments.kind));
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let rows: Vec<_> = hosts
            .into_iter()
            .map(|host| {
                let rule = host.rule.unwrap_or_default().to_owned();
                [
                    short(&host.name),
                    yes(host.raw),
                    yes(host.max),
                    yes(host.default),
                    rule,
                    host.because.unwrap_or_default(),
                ]
            })
            .collect();
        page.table(["host", "has it", "may give it", "gives it", "rule", "because"], &rows);
    }
    page.print()
}

fn page_offers(page: &mut Page, offer: impl Fn(Kind) -> selfsame_cpuid::Offer) {
    if Kind::ALL.iter().all(|&kind| offer(kind) == offer(Kind::Kvm)) {
        page.labelled("offered", format!("to every kind of guest {}", offer_text(offer(Kind::Kvm))).split(' '));
        return;
    }
    for kind in Kind::ALL {
        page.labelled(&format!("to {kind}"), offer_text(offer(kind)).split(' '));
    }
}

fn explain_value(arguments: &ExplainArguments, row: &'static Value, seen: &[Seen<'_>]) -> Result<(), Problem> {
    let offer = |kind: Kind| row.offers.get(kind as usize).copied().unwrap_or(selfsame_cpuid::Offer::Never);
    let on_host = |seen: &Seen<'_>| {
        let get = |leaves: &selfsame_cpuid::Leaves| SideMember::number(row, row.get(leaves.word(row.word)));
        ValueOnHost {
            name: seen.machine.name.clone(),
            raw: get(&seen.machine.raw()),
            max: get(&seen.host().max().leaves),
            default: get(&seen.host().default().leaves),
        }
    };
    let hosts: Vec<ValueOnHost> = seen.iter().map(on_host).collect();
    let last_bit = row.shift + row.width_bits - 1;
    let place = format!("{}[{}:{last_bit}]", row.word, row.shift);
    if arguments.output.json {
        return print_document(&ValueDocument {
            schema: SCHEMA,
            name: row.name,
            place,
            relation: row.relation.name(),
            offers: offers(offer),
            reason: row.reason,
            source: row.source,
            kind: arguments.kind.name(),
            hosts,
        });
    }
    if arguments.output.quiet {
        return print(&format!("{} {place}: {}\n", row.name, relation_text(row.relation)));
    }
    let mut page = Page::new();
    page.line(format_args!("{HEADING}{}{HEADING:#}  {place}", row.name));
    page.labelled("hosts combine", relation_text(row.relation).split(' '));
    page_offers(&mut page, offer);
    page.labelled("why", row.reason.split(' '));
    page.labelled("defined in", row.source.split(' '));
    if !hosts.is_empty() {
        page.heading(format_args!("For {} guests", arguments.kind));
        let rows: Vec<_> = hosts
            .into_iter()
            .map(|host| [short(&host.name), host.raw.text(), host.max.text(), host.default.text()])
            .collect();
        page.table(["host", "has", "may give", "gives"], &rows);
    }
    page.print()
}

/// What a relation means, in words.
const fn relation_text(relation: Relation) -> &'static str {
    match relation {
        Relation::All => "all: every host must have it, or no guest of the pool does",
        Relation::Any => "any: one host that has it is enough for guests to need it",
        Relation::Min => "min: the least of all hosts counts",
        Relation::Max => "max: the greatest of all hosts counts",
        Relation::Equal => "equal: hosts that differ have no level",
        Relation::Derived => "derived: follows from the rest",
        Relation::Descriptive => "descriptive: taken from the first host that has it",
        Relation::Dynamic => "dynamic: answered from the state of each vCPU",
        Relation::Local => "local: belongs to one machine, no guest has it",
    }
}
