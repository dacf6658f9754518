//! `check`: whether a guest can run on hosts.

use std::path::Path;

use selfsame_cpuid::{Check, Host, Kind, Policy, Trims};

use crate::Verdict;
use crate::args::CheckArguments;
use crate::document::{self, Document};
use crate::finding::Finding;
use crate::host::{Machine, Origin, load};
use crate::json::{CheckDocument, FindingMember, RefusalMember, SCHEMA, SideMember, print_document};
use crate::names::folded;
use crate::problem::Problem;
use crate::show::finding_line;
use crate::terminal::{BAD, DIM, GOOD, Page, count, hosts, print};
use crate::words::trims;

/// What a host says to a guest.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Why the guest cannot run there.
    pub(crate) refusals: Vec<RefusalMember>,
    /// What the host needs and the guest does not know of.
    pub(crate) unsafe_here: Vec<RefusalMember>,
}

impl Answer {
    /// Whether the guest can run there.
    pub(crate) const fn is_accepted(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// Asks a host; what is impossible in the guest itself is refused everywhere.
pub(crate) fn answer(guest: &Policy, host: &Host, is_strict: bool) -> Answer {
    let mut refusals = Vec::new();
    guest.verify(|fault| {
        refusals.push(RefusalMember {
            what: fault.what().to_string(),
            rule: fault.rule().name(),
            guest: SideMember::Nothing(()),
            host: SideMember::Nothing(()),
            reason: fault.to_string(),
        });
    });
    let check = Check::new(guest, host);
    check.refusals(|refusal| refusals.push(RefusalMember::of(&refusal)));
    let mut unsafe_here = Vec::new();
    // Against a host of another kind nothing but the kind means anything.
    if guest.kind == host.kind() {
        check.unsafe_here(|refusal| unsafe_here.push(RefusalMember::of(&refusal)));
    }
    if is_strict {
        refusals.append(&mut unsafe_here);
    }
    Answer { refusals, unsafe_here }
}

pub(crate) fn run(arguments: &CheckArguments) -> Result<Verdict, Problem> {
    let trims = trims(&arguments.cpuid)?;
    let (name, guest) = read_guest(&arguments.guest, arguments.kind)?;
    let pool = load(&arguments.hosts, arguments.reading.skip_bad)?;
    let mut answers = Vec::new();
    for machine in &pool.machines {
        let host = machine.host(guest.kind, &trims)?;
        answers.push((machine, answer(&guest, &host, arguments.strict)));
    }
    let is_accepted = answers.iter().all(|(_, answer)| answer.is_accepted());
    let output = arguments.output;
    if output.json {
        let mut documents: Vec<_> =
            answers.iter().map(|(machine, answer)| document(&name, guest.kind, machine, answer)).collect();
        match documents.pop().filter(|_| answers.len() == 1) {
            Some(document) => print_document(&document)?,
            None => {
                let all = answers.iter().map(|(machine, answer)| document(&name, guest.kind, machine, answer));
                print_document(&all.collect::<Vec<_>>())?;
            }
        }
    } else if output.quiet {
        let reasons: usize = answers.iter().map(|(_, answer)| answer.refusals.len()).sum();
        let line = if is_accepted { "accepted".to_owned() } else { format!("refused: {}", count(reasons, "reason")) };
        print(&format!("{line}\n"))?;
    } else {
        page(&name, guest.kind, &answers, output.verbose)?;
    }
    Ok(Verdict::of(is_accepted))
}

/// The guest that a file tells of: its policy, or the default policy of a host.
fn read_guest(path: &Path, kind: Option<Kind>) -> Result<(String, Policy), Problem> {
    if path.is_dir() {
        return Err(Problem::Directory { path: path.to_owned() });
    }
    let document = document::read(path)?;
    let machine = Machine::of(path, &document);
    match document {
        Document::Policy(stored) => match kind {
            Some(wanted) if wanted != stored.policy.kind => {
                let (what, found) = ("this is a policy for", stored.policy.kind);
                Err(Problem::Kind { path: path.to_owned(), what, found, wanted })
            }
            _ => Ok((stored.name, stored.policy)),
        },
        Document::Dump(_) => {
            let host = machine.host(kind.unwrap_or_default(), &Trims::NONE)?;
            Ok((machine.name, host.default().clone()))
        }
    }
}

fn document(guest: &str, kind: Kind, machine: &Machine, answer: &Answer) -> CheckDocument {
    let unsafe_here = answer.unsafe_here.iter().map(|refusal| FindingMember {
        host: None,
        what: refusal.what.clone(),
        rule: refusal.rule,
        reason: refusal.reason.clone(),
        line: None,
    });
    CheckDocument {
        schema: SCHEMA,
        accepted: answer.is_accepted(),
        guest: guest.to_owned(),
        host: machine.name.clone(),
        kind: kind.name(),
        derived: machine.is_derived(),
        refusals: answer.refusals.clone(),
        findings: unsafe_here.chain(machine.findings.iter().map(FindingMember::of)).collect(),
    }
}

fn page(guest: &str, kind: Kind, answers: &[(&Machine, Answer)], is_verbose: bool) -> Result<(), Problem> {
    let mut page = Page::new();
    let total = answers.len();
    let names = |wanted: &dyn Fn(&Answer) -> bool| -> Vec<&str> {
        answers.iter().filter(|(_, answer)| wanted(answer)).map(|(machine, _)| &*machine.name).collect()
    };
    let refused = names(&|answer| !answer.is_accepted());
    let accepted = names(&Answer::is_accepted);
    if !refused.is_empty() {
        page.line(format_args!("{BAD}Refused{BAD:#}: {guest} cannot run on {}", hosts(&refused, total, is_verbose)));
    }
    if !accepted.is_empty() {
        page.line(format_args!("{GOOD}Accepted{GOOD:#}: {guest} can run on {}", hosts(&accepted, total, is_verbose)));
    }
    for (machine, answer) in answers.iter().filter(|(_, answer)| !answer.is_accepted()) {
        page.line("");
        refusal_rows(&mut page, &machine.name, &answer.refusals, is_verbose);
    }
    for (machine, answer) in answers.iter().filter(|(_, answer)| !answer.unsafe_here.is_empty()) {
        page.heading(format_args!("What {} needs and {guest} does not know of (--strict refuses it)", machine.name));
        let rows = answer.unsafe_here.iter().map(|refusal| [refusal.what.clone(), refusal.reason.clone()]);
        page.table(["what", "because"], &rows.collect::<Vec<_>>());
    }
    findings(&mut page, answers, is_verbose);
    if answers.iter().any(|(machine, _)| machine.is_derived()) {
        let how = if kind.is_xen() {
            "what Xen gives on a host depends on its command line too."
        } else {
            "`selfsame capture --kvm` on a host tells what its KVM really gives."
        };
        page.line("");
        page.line(format_args!("{DIM}What hosts give is derived from dumps of their hardware;{DIM:#}"));
        page.line(format_args!("{DIM}{how}{DIM:#}"));
    }
    page.print()
}

fn findings(page: &mut Page, answers: &[(&Machine, Answer)], is_verbose: bool) {
    for (machine, _) in answers {
        let is_shown = |finding: &&Finding| is_verbose || finding.is_loud;
        let shown: Vec<&Finding> = machine.findings.iter().filter(is_shown).collect();
        // Why a policy is impossible was said already.
        if shown.is_empty() || matches!(machine.origin, Origin::Policy(..)) {
            continue;
        }
        page.heading(format_args!("About the data of {}", machine.name));
        for finding in shown {
            finding_line(page, finding);
        }
    }
}

/// A table of what one host refuses: features first, then numbers; what is refused alike stands in one row.
pub(crate) fn refusal_rows(page: &mut Page, host: &str, refusals: &[RefusalMember], is_verbose: bool) {
    // Numbers of which the host has none come with a feature that it lacks: that one says more.
    let is_absent = |refusal: &RefusalMember| !is_verbose && refusal.host == SideMember::Number(0);
    let mut rows: Vec<(Vec<&str>, &RefusalMember)> = Vec::new();
    for refusal in refusals {
        let is_alike = |other: &RefusalMember| {
            let is_same = (&other.reason, &other.guest) == (&refusal.reason, &refusal.guest);
            (other.rule, &other.host) == (refusal.rule, &refusal.host) && (is_same || is_absent(other))
        };
        match rows.iter_mut().find(|(_, first)| is_alike(first)) {
            Some((names, _)) => names.push(&refusal.what),
            None => rows.push((vec![&refusal.what], refusal)),
        }
    }
    rows.sort_by_key(|(_, first)| (is_absent(first), matches!(first.guest, SideMember::Number(_))));
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(names, refusal)| {
            let is_summary = is_absent(refusal) && names.len() > 1;
            let guest = if is_summary { String::new() } else { refusal.guest.text() };
            let because = if is_summary { "the host has none of these" } else { &refusal.reason };
            let names = folded(&names, is_verbose).join(" ");
            [names, refusal.rule.to_owned(), guest, refusal.host.text(), because.to_owned()]
        })
        .collect();
    page.table([host, "rule", "guest", "host", "because"], &rows);
}
