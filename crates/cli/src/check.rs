//! `check`: whether a guest can run on hosts.

use std::collections::BTreeMap;
use std::path::Path;

use selfsame_cpuid::{Check, Host, Kind, Place, Policy, Refusal, Rule, Trims, VALUES, What, WordSource, feature_at};
use selfsame_formats::Models;
use selfsame_formats::libvirt::{CpuDefinition, Fit, GuestError, Obstacle, compare};

use crate::Verdict;
use crate::args::CheckArguments;
use crate::document::{self, Document};
use crate::finding::Finding;
use crate::host::{Machine, Origin, load};
use crate::json::{CheckDocument, FindingMember, RefusalMember, SCHEMA, SideMember, print_document};
use crate::names::folded;
use crate::problem::{Problem, shown};
use crate::show::finding_line;
use crate::sources::Sources;
use crate::terminal::{BAD, DIM, GOOD, Page, count, hosts, print, short};
use crate::words::trims;

/// What a host says to a guest.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Why the guest cannot run there.
    pub(crate) refusals: Vec<RefusalMember>,
    /// What the host needs and the guest does not know of.
    pub(crate) unsafe_here: Vec<RefusalMember>,
    /// The word of `virsh cpu-compare`, where the guest is libvirt's.
    comparison: Option<Fit>,
}

impl Answer {
    /// Whether the guest can run there.
    pub(crate) const fn is_accepted(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// Asks a host; what is impossible in the guest itself is refused everywhere.
pub(crate) fn answer(guest: &Policy, machine: &Machine, host: &Host, is_strict: bool) -> Answer {
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
    check.refusals(|refusal| refusals.push(refused(&refusal, machine)));
    let mut unsafe_here = Vec::new();
    // Against a host of another kind nothing but the kind means anything.
    if guest.kind == host.kind() {
        check.unsafe_here(|refusal| unsafe_here.push(RefusalMember::of(&refusal)));
    }
    if is_strict {
        refusals.append(&mut unsafe_here);
    }
    Answer { refusals, unsafe_here, comparison: None }
}

fn refused(refusal: &Refusal, machine: &Machine) -> RefusalMember {
    let mut member = RefusalMember::of(refusal);
    if let Some(index) = msr_of(refusal.what).filter(|&index| machine.misses_msr(index)) {
        // The library cannot know of the dump; to blame the host would be wrong.
        member.reason = format!("the host's dump lacks msr {index:#x}: what it tells of counts as absent");
    }
    member
}

/// Asks a host about a guest that libvirt defines: what it forces is not missed, what it forbids must not be there.
fn answer_definition(
    guest: &CpuDefinition,
    models: &Models,
    machine: &Machine,
    host: &Host,
    is_strict: bool,
) -> Result<Answer, GuestError> {
    let comparison = compare(host, guest, models)?;
    let mut answer = answer(&comparison.guest, machine, host, false);
    let feature = |place, is_wanted, reason: &str| RefusalMember {
        what: What::Feature(place).to_string(),
        rule: if is_wanted { Rule::NotOnHost } else { Rule::Equal }.name(),
        guest: SideMember::Bit(is_wanted),
        host: SideMember::Bit(!is_wanted),
        reason: reason.to_owned(),
    };
    let member = |obstacle: &Obstacle| match *obstacle {
        Obstacle::Refused(ref refusal) => refused(refusal, machine),
        Obstacle::Missing(place) => feature(place, true, Rule::NotOnHost.meaning()),
        Obstacle::Forbidden(place) => feature(place, false, "the guest's definition forbids it"),
        Obstacle::Extra(place) => {
            feature(place, false, "the guest is to have nothing less than the host (match='strict')")
        }
        Obstacle::Architecture => RefusalMember {
            what: "architecture".to_owned(),
            rule: Rule::Equal.name(),
            guest: SideMember::Nothing(()),
            host: SideMember::Nothing(()),
            reason: "the guest is for CPUs of another architecture".to_owned(),
        },
    };
    answer.refusals = comparison.obstacles.iter().map(member).collect();
    if is_strict {
        answer.refusals.append(&mut answer.unsafe_here);
    }
    Ok(Answer { comparison: Some(comparison.fit), ..answer })
}

/// The MSR that tells of a feature or number.
fn msr_of(what: What) -> Option<u32> {
    let word = match what {
        What::Feature(place) => place.word(),
        What::Word(word) => word,
        What::Value(name) => VALUES.iter().find(|row| row.name == name)?.word,
        _ => return None,
    };
    match word.source() {
        WordSource::Msr { index, .. } => Some(index),
        WordSource::Cpuid { .. } => None,
    }
}

pub(crate) fn run(arguments: &CheckArguments) -> Result<Verdict, Problem> {
    let trims = trims(&arguments.cpuid)?;
    let sources = Sources::of(&arguments.reading.sources)?.for_guests(arguments.kind.unwrap_or_default());
    let Guest { name, policy: guest, definition } = read_guest(&arguments.guest, arguments.kind, &sources)?;
    let sources = sources.for_guests(guest.kind);
    let pool = load(&arguments.hosts, arguments.reading.skip_bad, &sources)?;
    let mut answers = Vec::new();
    for machine in &pool.machines {
        let host = machine.host(guest.kind, &trims)?;
        let answer = match &definition {
            Some(definition) => answer_definition(definition, sources.models(), machine, &host, arguments.strict)
                .map_err(|source| Problem::Guest { path: arguments.guest.clone(), source })?,
            None => answer(&guest, machine, &host, arguments.strict),
        };
        answers.push((machine, answer));
    }
    let is_same_name = answers.iter().any(|(machine, _)| machine.name == name);
    let label = if is_same_name { format!("{name} ({})", shown(&arguments.guest)) } else { name.clone() };
    let is_accepted = answers.iter().all(|(_, answer)| answer.is_accepted());
    let output = arguments.output;
    if output.json {
        let documents = answers.iter().map(|(machine, answer)| document(&name, guest.kind, machine, answer));
        match &*documents.collect::<Vec<_>>() {
            [document] if pool.is_one_file => print_document(document)?,
            documents => print_document(documents)?,
        }
    } else if output.quiet {
        print(&line(&answers))?;
    } else {
        page((&name, &label), guest.kind, &answers, output.verbose)?;
    }
    Ok(Verdict::of(is_accepted))
}

/// What the hosts say, in one line.
fn line(answers: &[(&Machine, Answer)]) -> String {
    let reasons = |answer: &Answer| count(answer.refusals.len(), "reason");
    if let [(_, answer)] = answers {
        return if answer.is_accepted() { "accepted\n".to_owned() } else { format!("refused: {}\n", reasons(answer)) };
    }
    let refused: Vec<String> = answers
        .iter()
        .filter(|(_, answer)| !answer.is_accepted())
        .map(|(machine, answer)| format!("{} ({})", machine.name, reasons(answer)))
        .collect();
    let accepted = answers.len() - refused.len();
    let by = if refused.is_empty() { String::new() } else { format!("; refused by: {}", refused.join(", ")) };
    format!("accepted by {accepted} of {}{by}\n", count(answers.len(), "host"))
}

/// A guest, as a file tells of it.
struct Guest {
    name: String,
    /// What it sees.
    policy: Policy,
    /// What libvirt would ask of a host for it.
    definition: Option<CpuDefinition>,
}

/// The guest that a file tells of: its policy, the default policy of a host, or what libvirt defines.
fn read_guest(path: &Path, kind: Option<Kind>, sources: &Sources) -> Result<Guest, Problem> {
    if path.is_dir() {
        return Err(Problem::Directory { path: path.to_owned() });
    }
    let document = document::read(path, sources)?;
    let machine = Machine::one_of(path, &document)?;
    match document {
        Document::Policy(stored) => match kind {
            Some(wanted) if wanted != stored.policy.kind => {
                let (what, found) = ("this is a policy for", stored.policy.kind);
                Err(Problem::Kind { path: path.to_owned(), what, found, wanted })
            }
            _ => Ok(Guest { name: stored.name, policy: stored.policy, definition: None }),
        },
        Document::Machines(all) => {
            let host = machine.host(kind.unwrap_or_default(), &Trims::NONE)?;
            let definition = all.into_iter().find_map(|machines| machines.definition).map(|definition| *definition);
            Ok(Guest { name: machine.name.clone(), policy: host.default().clone(), definition })
        }
    }
}

fn document(guest: &str, kind: Kind, machine: &Machine, answer: &Answer) -> CheckDocument {
    let unsafe_here = answer.unsafe_here.iter().map(|refusal| FindingMember {
        host: None,
        what: refusal.what.clone(),
        rule: refusal.rule,
        severity: "warning",
        reason: refusal.reason.clone(),
        line: None,
    });
    CheckDocument {
        schema: SCHEMA,
        accepted: answer.is_accepted(),
        guest: guest.to_owned(),
        host: machine.name.clone(),
        path: shown(&machine.path),
        kind: kind.name(),
        derived: machine.is_derived(),
        comparison: answer.comparison.map(Fit::name),
        refusals: answer.refusals.clone(),
        findings: unsafe_here.chain(machine.findings().map(FindingMember::of)).collect(),
    }
}

fn page(
    (name, guest): (&str, &str),
    kind: Kind,
    answers: &[(&Machine, Answer)],
    is_verbose: bool,
) -> Result<(), Problem> {
    let mut page = Page::new();
    let total = answers.len();
    // Guest and host may have one name: their files tell them apart.
    let labels: BTreeMap<&str, String> =
        answers.iter().map(|(machine, _)| (&*machine.name, machine.label(name))).collect();
    let label = |machine: &Machine| labels.get(&*machine.name).cloned().unwrap_or_default();
    let names = |wanted: &dyn Fn(&Answer) -> bool| -> Vec<String> {
        answers.iter().filter(|(_, answer)| wanted(answer)).map(|(machine, _)| label(machine)).collect()
    };
    let text = |names: &[String]| hosts(names.iter().map(String::as_str), total, is_verbose);
    let refused = names(&|answer| !answer.is_accepted());
    let accepted = names(&Answer::is_accepted);
    if !refused.is_empty() {
        page.prose(&format!("{BAD}Refused{BAD:#}: {guest} cannot run on {}", text(&refused)));
    }
    if !accepted.is_empty() {
        page.prose(&format!("{GOOD}Accepted{GOOD:#}: {guest} can run on {}", text(&accepted)));
    }
    for (machine, answer) in answers.iter().filter(|(_, answer)| !answer.is_accepted()) {
        page.line("");
        refusal_rows(&mut page, &short(&label(machine)), &answer.refusals, is_verbose);
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
        page.prose(&format!("{DIM}What hosts give is derived from dumps of their hardware; {how}{DIM:#}"));
    }
    page.print()
}

fn findings(page: &mut Page, answers: &[(&Machine, Answer)], is_verbose: bool) {
    for (machine, _) in answers {
        let is_shown = |finding: &&Finding| is_verbose || finding.is_loud;
        let shown: Vec<&Finding> = machine.findings().filter(is_shown).collect();
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

/// The MSR of a bit that has no name.
fn unnamed_msr(what: &str) -> Option<u32> {
    let place: Place = what.parse().ok()?;
    if feature_at(place).is_some() { None } else { msr_of(What::Feature(place)) }
}

/// An MSR by its number and the name that its manual gives it.
fn msr_name(index: u32) -> String {
    const VMX: [&str; 18] = [
        "BASIC",
        "PINBASED_CTLS",
        "PROCBASED_CTLS",
        "EXIT_CTLS",
        "ENTRY_CTLS",
        "MISC",
        "CR0_FIXED0",
        "CR0_FIXED1",
        "CR4_FIXED0",
        "CR4_FIXED1",
        "VMCS_ENUM",
        "PROCBASED_CTLS2",
        "EPT_VPID_CAP",
        "TRUE_PINBASED_CTLS",
        "TRUE_PROCBASED_CTLS",
        "TRUE_EXIT_CTLS",
        "TRUE_ENTRY_CTLS",
        "VMFUNC",
    ];
    let vmx = index.checked_sub(0x480).and_then(|at| VMX.get(at as usize));
    match (index, vmx) {
        (_, Some(name)) => format!("msr {index:#x} (IA32_VMX_{name})"),
        (0x10a, _) => "msr 0x10a (IA32_ARCH_CAPABILITIES)".to_owned(),
        (0xcf, _) => "msr 0xcf (IA32_CORE_CAPABILITIES)".to_owned(),
        _ => format!("msr {index:#x}"),
    }
}

/// A table of what one host refuses: features first, then numbers; what is refused alike stands in one row.
pub(crate) fn refusal_rows(page: &mut Page, host: &str, refusals: &[RefusalMember], is_verbose: bool) {
    // Numbers of which the host has none come with a feature that it lacks: that one says more.
    let is_absent =
        |refusal: &RefusalMember| !is_verbose && matches!(refusal.host, SideMember::Number(0) | SideMember::Hex(0));
    let (unnamed, refusals): (Vec<&RefusalMember>, Vec<&RefusalMember>) =
        refusals.iter().partition(|refusal| !is_verbose && unnamed_msr(&refusal.what).is_some());
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
    rows.sort_by_key(|(_, first)| {
        (is_absent(first), matches!(first.guest, SideMember::Number(_) | SideMember::Hex(_)))
    });
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|(names, refusal)| {
            let is_summary = is_absent(refusal) && names.len() > 1;
            let guest = if is_summary { String::new() } else { refusal.guest.text() };
            let because = if is_summary { "the host has none of these" } else { &refusal.reason };
            let names = folded(&names, is_verbose).join(" ");
            [names, refusal.rule.to_owned(), guest, refusal.host.text(), because.to_owned()]
        })
        .collect();
    let of_msr = |refusal: &RefusalMember| unnamed_msr(&refusal.what);
    for group in unnamed.chunk_by(|a, b| (of_msr(a), a.rule, &a.reason) == (of_msr(b), b.rule, &b.reason)) {
        let Some(first) = group.first() else { continue };
        let bits = count(group.len(), "unnamed bit");
        let name = of_msr(first).map(msr_name).unwrap_or_default();
        rows.push([format!("{name}: {bits}"), first.rule.to_owned(), "yes".into(), "no".into(), first.reason.clone()]);
    }
    page.table([host, "rule", "guest", "host", "because"], &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unnamed_bits_of_one_msr_stand_in_one_row_with_its_name() {
        let refusal = |bit: u8| RefusalMember {
            what: format!("msr:0000048c[{bit}]"),
            rule: "not-on-host",
            guest: SideMember::Bit(true),
            host: SideMember::Bit(false),
            reason: "the host's dump lacks msr 0x48c".to_owned(),
        };
        let bits = (0..64).filter(|bit| unnamed_msr(&format!("msr:0000048c[{bit}]")).is_some());
        let refusals: Vec<RefusalMember> = bits.map(refusal).collect();
        assert!(refusals.len() > 1);
        let mut page = Page::new();
        refusal_rows(&mut page, "host", &refusals, false);
        let text = page.into_text();
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        assert!(text.contains("0x48c") && text.contains("(IA32_VMX_EPT_VPID_CAP)"), "{text}");
        assert!(text.contains("unnamed") && !text.contains("msr:0000048c["), "{text}");
    }
}
