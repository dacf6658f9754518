//! The level as people read it.

use std::collections::BTreeMap;
use std::path::Path;

use selfsame_cpuid::{Rule, feature_at};

use crate::check::refusal_rows;
use crate::host::{Pool, vendor};
use crate::json::CostMember;
use crate::level::Level;
use crate::losses::Lost;
use crate::names::{by_leaf, folded, notable};
use crate::problem::shown;
use crate::show::{feature_count, finding_text, shown_numbers, states};
use crate::terminal::{BAD, DIM, GOOD, Page, WARNING, all_hosts, count, hosts, short};
use crate::why::{BY_WORDS, hypervisor};

/// How many names say what a host costs.
const FEW: usize = 6;
/// More hosts are shown only on request, the dearest first.
const MANY_HOSTS: usize = 16;
/// So many hosts of one finding are named.
const FEW_HOSTS: usize = 6;
/// More groups of losses are shown only on request.
const MANY_GROUPS: usize = 12;
/// What is never left out: people buy hosts for it.
const ALWAYS_SHOWN: [&str; 4] = ["avx512f", "amx-tile", "avx10", "avx2"];

/// The level in one line.
pub(crate) fn line(level: &Level<'_>) -> String {
    let pool = count(level.seen.len(), "host");
    let Some(stored) = &level.policy else {
        let what: Vec<&str> = level.refusals.iter().map(|refusal| &*refusal.what).collect();
        let verb = if what.len() == 1 { "differs" } else { "differ" };
        return format!("refused: {pool} cannot give one CPU to {} guests: {} {verb}\n", level.kind, what.join(", "));
    };
    let (features, signature) =
        (stored.policy.features().iter().filter_map(feature_at).count(), stored.policy.leaves.signature());
    let lost = level.lost.iter().filter(|lost| !lost.hosts.is_empty()).count();
    let vendor = vendor(&stored.policy.leaves);
    let vendor = if vendor.is_empty() { "any vendor's" } else { vendor.trim() };
    let level_text =
        format!("{features} features for {} guests on {pool}, {lost} lost: {vendor} {signature}", level.kind);
    if !level.refusals.is_empty() {
        let what: Vec<&str> = level.refusals.iter().map(|refusal| &*refusal.what).collect();
        return format!("refused: asked for and not in the level: {}; {level_text}\n", what.join(", "));
    }
    let refused = level.running.iter().filter(|(.., answer)| !answer.is_accepted()).count();
    if refused > 0 {
        let moves =
            if refused == 1 { "1 move of a running guest" } else { &*format!("{refused} moves of running guests") };
        return format!("refused: {moves} would fail; {level_text}\n");
    }
    format!("{level_text}\n")
}

/// The level as a page.
pub(crate) fn text(level: &Level<'_>, pool: &Pool, is_verbose: bool, written: Option<&Path>) -> String {
    let mut page = Page::new();
    head(&mut page, level);
    host_table(&mut page, level, is_verbose);
    refusals(&mut page, level, is_verbose);
    if let Some(stored) = &level.policy {
        let leaves = &stored.policy.leaves;
        let set = leaves.features();
        page.heading(format_args!("The level: {}", feature_count(&set)));
        for (title, names) in by_leaf(&set) {
            let names = folded(&names, is_verbose);
            page.labelled(&title, names.iter().map(String::as_str));
        }
        let numbers = shown_numbers(leaves);
        page.labelled("numbers", numbers.iter().map(String::as_str));
        states(&mut page, leaves);
        losses(&mut page, level, is_verbose);
        warnings(&mut page, level, is_verbose);
    }
    running(&mut page, level, is_verbose);
    findings(&mut page, pool, is_verbose);
    if let Some(path) = written {
        page.line(format_args!("\nThe level was written to {}.", shown(path)));
    }
    page.into_text()
}

fn head(page: &mut Page, level: &Level<'_>) {
    let kind = level.kind;
    let pool = all_hosts(level.seen.len());
    let Some(stored) = &level.policy else {
        page.prose(&format!("{BAD}No level{BAD:#}: {kind} guests cannot have one CPU on {pool}."));
        return;
    };
    let leaves = &stored.policy.leaves;
    let (vendor, signature) = (vendor(leaves), leaves.signature());
    let vendor = if vendor.is_empty() { "any vendor's" } else { vendor.trim() };
    page.prose(&format!("{GOOD}{vendor} {signature}{GOOD:#}: the CPU that {kind} guests can have on {pool}"));
}

fn host_table(page: &mut Page, level: &Level<'_>, is_verbose: bool) {
    page.line("");
    let row = |cost: &CostMember| {
        let alone = match cost.lost_alone.len() {
            0 => String::new(),
            number if is_verbose => format!("{number}: {}", cost.lost_alone.join(" ")),
            number => format!("{number}: {}", notable(&cost.lost_alone, FEW)),
        };
        let lost = if cost.lost == 0 { "-".to_owned() } else { cost.lost.to_string() };
        [short(&cost.host), cost.cpu.to_string(), cost.features.to_string(), lost, alone]
    };
    let mut costs = level.costs();
    let total = costs.len();
    if !is_verbose && total > MANY_HOSTS {
        // Who looks at a large pool wants to know which hosts to take out of it.
        costs.sort_by_key(|cost| std::cmp::Reverse((cost.lost_alone.len(), cost.lost)));
        costs.truncate(MANY_HOSTS);
    }
    let rows: Vec<_> = costs.iter().map(row).collect();
    if level.policy.is_none() || total == 1 {
        let rows: Vec<_> = rows.into_iter().map(|[host, cpu, features, ..]| [host, cpu, features]).collect();
        page.table(["host", "cpu", "features"], &rows);
    } else {
        page.table(["host", "cpu", "features", "costs", "alone"], &rows);
    }
    if costs.len() < total {
        page.line(format_args!("  ... and {}; --verbose lists them", count(total - costs.len(), "more host")));
    }
    if costs.iter().any(|cost| cost.lost > 0) {
        page.indented(&format!(
            "{DIM}costs: features that the level lacks because of the host; alone: because of no other host{DIM:#}"
        ));
    }
}

fn refusals(page: &mut Page, level: &Level<'_>, is_verbose: bool) {
    if level.refusals.is_empty() {
        return;
    }
    let is_request = level.policy.is_some();
    page.heading(if is_request { "Asked for and not in the level" } else { "What the hosts must agree on and do not" });
    let mut rows = Vec::new();
    for refusal in &level.refusals {
        let names = |list: &[String]| hosts(list.iter().map(String::as_str), level.seen.len(), is_verbose);
        let reason = || refusal.reason.clone();
        if refusal.values.is_empty() {
            rows.push([refusal.what.clone(), refusal.rule.to_owned(), String::new(), names(&refusal.hosts), reason()]);
        }
        for (i, value) in refusal.values.iter().enumerate() {
            let first = |text: &str| if i == 0 { text.to_owned() } else { String::new() };
            rows.push([
                first(&refusal.what),
                first(refusal.rule),
                value.value.text(),
                names(&value.hosts),
                first(&refusal.reason),
            ]);
        }
    }
    page.table(["what", "rule", "value", "hosts", "because"], &rows);
    if !is_request {
        page.line("");
        page.prose("Level the hosts of each value by themselves: guests cannot move between the groups.");
    }
}

/// What was lost by one rule to the same hosts.
#[derive(Default)]
struct Group {
    names: Vec<&'static str>,
    becauses: Vec<String>,
}

fn losses(page: &mut Page, level: &Level<'_>, is_verbose: bool) {
    let (offers, by_hosts): (Vec<&Lost>, Vec<&Lost>) = level.lost.iter().partition(|lost| lost.hosts.is_empty());
    if !by_hosts.is_empty() {
        page.heading(format_args!("Lost to hosts: {}", count(by_hosts.len(), "feature")));
        let mut groups: BTreeMap<(usize, Rule, &[usize], &str), Group> = BTreeMap::new();
        for lost in &by_hosts {
            // Fewer hosts come first: to leave them out is the cheapest way to win the features back. What only follows
            // from other losses stands in one row.
            let apart = if lost.rule == Rule::Prerequisite { "" } else { &*lost.because };
            let group = groups.entry((lost.hosts.len(), lost.rule, &lost.hosts, apart)).or_default();
            group.names.push(lost.feature.name);
            if !group.becauses.contains(&lost.because) {
                group.becauses.push(lost.because.clone());
            }
        }
        let total = groups.len();
        let is_shown = |i: usize, group: &Group| {
            is_verbose || i < MANY_GROUPS || group.names.iter().any(|name| ALWAYS_SHOWN.contains(name))
        };
        let rows: Vec<_> = groups
            .into_iter()
            .enumerate()
            .filter(|(i, (_, group))| is_shown(*i, group))
            .map(|(_, ((_, rule, indices, _), group))| {
                let names = folded(&group.names, is_verbose).join(" ");
                let because = becauses(&group.becauses, is_verbose);
                [names, rule.to_string(), hosts(level.names(indices), level.seen.len(), is_verbose), because]
            })
            .collect();
        page.table(["features", "rule", "hosts", "because"], &rows);
        if rows.len() < total {
            page.line(format_args!("  ... and {}; --verbose lists them", count(total - rows.len(), "more group")));
        }
    }
    offered(page, level, &offers, is_verbose);
}

/// Several causes as one text: those of a chain share their beginning.
fn becauses(list: &[String], is_verbose: bool) -> String {
    const FEW: usize = 3;
    let needed: Vec<&str> = list
        .iter()
        .filter_map(|text| text.strip_prefix("needs ")?.split_once(", which is lost"))
        .map(|(name, _)| name)
        .collect();
    if list.len() > 1 && needed.len() == list.len() {
        let mut names = needed;
        names.dedup();
        return format!("need {}, which are lost", names.join(", "));
    }
    match list.get(..FEW) {
        Some(first) if list.len() > FEW && !is_verbose => {
            format!("{}; and {}", first.join("; "), count(list.len() - FEW, "other cause"))
        }
        _ => list.join("; "),
    }
}

/// What the hypervisor gives to nobody, or only to who asks.
fn offered(page: &mut Page, level: &Level<'_>, offers: &[&Lost], is_verbose: bool) {
    let hypervisor = hypervisor(level.kind);
    if offers.is_empty() {
        return;
    }
    let (by_words, offers): (Vec<&&Lost>, Vec<&&Lost>) =
        offers.iter().partition(|lost| lost.because == BY_WORDS || lost.rule == Rule::Prerequisite);
    let (on_request, never): (Vec<&Lost>, Vec<&Lost>) =
        offers.into_iter().partition(|lost| lost.rule == Rule::OfferRequest);
    page.heading("Not given, whatever the hosts");
    if !by_words.is_empty() {
        let names: Vec<&str> = by_words.iter().map(|lost| lost.feature.name).collect();
        page.prose(&format!("Taken away by cpuid= words, with what needs them: {}", names.join(" ")));
    }
    if !on_request.is_empty() {
        let names: Vec<&str> = on_request.iter().map(|lost| lost.feature.name).collect();
        let text = format!("{} gives only on request (--cpuid NAME): {}", hypervisor, names.join(" "));
        page.prose(&text);
    }
    if !never.is_empty() && !is_verbose {
        let text = format!(
            "{} of these hosts are never given to {} guests by {hypervisor}; --verbose lists them.",
            count(never.len(), "feature"),
            level.kind
        );
        page.prose(&text);
    } else if !never.is_empty() {
        let rows: Vec<_> = never.iter().map(|lost| [lost.feature.name.to_owned(), lost.because.clone()]).collect();
        page.table([&*format!("{hypervisor} never gives"), "because"], &rows);
    }
}

fn warnings(page: &mut Page, level: &Level<'_>, is_verbose: bool) {
    if level.unwarned.is_empty() {
        return;
    }
    page.heading(format_args!("{WARNING}Warnings that guests of this level will not see{WARNING:#}"));
    let rows: Vec<_> = level
        .unwarned
        .iter()
        .map(|unwarned| {
            let names = hosts(level.names(&unwarned.hosts), level.seen.len(), is_verbose);
            [unwarned.feature.name.to_owned(), names, unwarned.feature.reason.to_owned()]
        })
        .collect();
    page.table(["warning", "needed on", "because"], &rows);
}

fn running(page: &mut Page, level: &Level<'_>, is_verbose: bool) {
    if level.running.is_empty() {
        return;
    }
    page.heading("Running guests");
    let mut guests: Vec<&str> = level.running.iter().map(|(guest, ..)| &**guest).collect();
    guests.dedup();
    for guest in guests {
        let of_guest = level.running.iter().filter(|(name, ..)| name == guest);
        let refused: Vec<_> = of_guest.filter(|(.., answer)| !answer.is_accepted()).collect();
        if refused.is_empty() {
            page.line(format_args!("  {GOOD}{guest}{GOOD:#} survives on {}", all_hosts(level.seen.len())));
        } else {
            let names: Vec<&str> = refused.iter().map(|(_, host, _)| &**host).collect();
            let names = hosts(names.iter().copied(), level.seen.len(), is_verbose);
            page.indented(&format!("{BAD}{guest}{BAD:#} would not survive on {names}"));
        }
        for (_, host, answer) in refused {
            page.line("");
            refusal_rows(page, &short(host), &answer.refusals, is_verbose);
        }
    }
}

/// The hosts' findings: those that may cost features in full, of the rest how many there are.
fn findings(page: &mut Page, pool: &Pool, is_verbose: bool) {
    let total: usize = pool.machines.iter().map(|machine| machine.findings().len()).sum();
    if total + pool.skipped.len() == 0 {
        return;
    }
    page.heading("About the hosts' data");
    for (file, reason) in &pool.skipped {
        page.warned("left out", format!("{file}: {reason}").split(' '));
    }
    let mut hidden = 0;
    // Dumps of one tool have the same defects: each is told once, with its hosts.
    let mut groups: Vec<((&str, &str), bool, Vec<&str>)> = Vec::new();
    let mut known: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for machine in &pool.machines {
        for finding in machine.findings() {
            if !is_verbose && !finding.is_loud {
                hidden += 1;
                continue;
            }
            let key = (&*finding.what, &*finding.reason);
            let at = *known.entry(key).or_insert(groups.len());
            match groups.get_mut(at) {
                Some((.., names)) if names.last() == Some(&&*machine.name) => {}
                Some((.., names)) => names.push(&machine.name),
                None => groups.push((key, finding.is_loud, vec![&machine.name])),
            }
        }
    }
    for (key, is_loud, names) in groups {
        let who = match names.get(..FEW_HOSTS) {
            Some(first) if names.len() > FEW_HOSTS && !is_verbose => {
                let first: Vec<String> = first.iter().map(|name| short(name)).collect();
                format!("{} and {} more", first.join(", "), names.len() - FEW_HOSTS)
            }
            _ => names.iter().map(|name| short(name)).collect::<Vec<_>>().join(", "),
        };
        finding_text(page, &format!("{}: {} ({who})", key.0, key.1), is_loud);
    }
    if hidden > 0 {
        page.line(format_args!("  {} of lesser weight; --verbose shows them", count(hidden, "finding")));
    }
}
