//! `policy`: a policy file from a host, a pool or a level.

use selfsame_cpuid::{Host, Kind, Policy, Rule, Topology, Trims, feature};

use crate::Verdict;
use crate::args::PolicyArguments;
use crate::document::{self, Document, StoredPolicy};
use crate::export::Exported;
use crate::host::{Machine, load};
use crate::json::{FindingMember, LevelRefusal, PolicyDocument, SCHEMA, feature_names, print_document};
use crate::level::{Level, refused_requests};
use crate::output_file::{self, Over, Written};
use crate::problem::{Problem, printable, shown};
use crate::show::feature_count;
use crate::sources::Sources;
use crate::terminal::{complain, print};
use crate::why::{BY_WORDS, Seen};
use crate::words::trims;

/// A policy that may lack what was asked for.
struct Made {
    stored: Option<StoredPolicy>,
    kind: Kind,
    refusals: Vec<LevelRefusal>,
    findings: Vec<FindingMember>,
}

pub(crate) fn run(arguments: &PolicyArguments) -> Result<Verdict, Problem> {
    if let Some(word) = arguments.words.iter().find(|word| !word.starts_with("cpuid=")) {
        return Err(Problem::NotWords { word: printable(word) });
    }
    let inputs = std::slice::from_ref(&arguments.from);
    output_file::guard(
        arguments.file.as_deref(),
        Written::policy(arguments.export),
        Over::forced(arguments.force),
        inputs,
        arguments.output.json,
    )?;
    let words: Vec<String> = arguments.words.iter().chain(&arguments.cpuid).cloned().collect();
    let trims = trims(&words)?;
    let sources = Sources::of(&arguments.reading.sources)?.for_guests(arguments.kind.unwrap_or_default());
    let mut made = make(arguments, &trims, &sources)?;
    if let (Some(stored), Some(name)) = (&mut made.stored, &arguments.name) {
        stored.name.clone_from(name);
    }
    let is_accepted = made.refusals.is_empty() && made.stored.is_some();
    if !is_accepted && !arguments.output.json {
        complain(&refused(arguments, &made.refusals));
        return Ok(Verdict::Refused);
    }
    let accepted = made.stored.as_ref().filter(|_| is_accepted);
    let exported = match (accepted, arguments.export) {
        (Some(stored), Some(target)) => Some(Exported::of(stored, target, sources.models())?),
        _ => None,
    };
    let policy = accepted.map(StoredPolicy::text);
    let text = exported.as_ref().map(|exported| exported.text().to_owned()).or_else(|| policy.clone());
    if let Some(exported) = exported.as_ref().filter(|_| !arguments.output.json) {
        exported.tell_notes();
    }
    if let (Some(path), Some(text)) = (&arguments.file, &text) {
        output_file::write(path, text)?;
    }
    match (&made.stored, text) {
        (stored, _) if arguments.output.json => {
            let leaves = stored.as_ref().filter(|_| is_accepted).map(|stored| &stored.policy.leaves);
            print_document(&PolicyDocument {
                schema: SCHEMA,
                name: stored.as_ref().map(|stored| stored.name.clone()),
                kind: made.kind.name(),
                features: leaves.map(feature_names).unwrap_or_default(),
                refusals: made.refusals,
                findings: made.findings,
                policy,
                export: exported.as_ref().map(Exported::member),
            })?;
        }
        (Some(stored), Some(text)) => match arguments.file.as_ref().filter(|path| path.as_os_str() != "-") {
            None => print(&text)?,
            Some(path) => {
                let features = feature_count(&stored.policy.features());
                print(&format!("{}: {}, {features} for {} guests\n", shown(path), stored.name, made.kind))?;
            }
        },
        _ => {}
    }
    Ok(Verdict::of(is_accepted))
}

fn make(arguments: &PolicyArguments, trims: &Trims, sources: &Sources) -> Result<Made, Problem> {
    let path = &arguments.from;
    if path.is_dir() {
        return level_of(arguments, trims, sources);
    }
    let document = document::read(path, sources)?;
    if document.machine_count() > 1 {
        return level_of(arguments, trims, sources);
    }
    let kind = arguments.kind.unwrap_or_default();
    let machine = Machine::one_of(path, &document)?;
    let findings = machine.findings().map(FindingMember::of).collect();
    match document {
        Document::Policy(stored) => {
            let kind = arguments.kind.unwrap_or(stored.policy.kind);
            let seen = Seen::new(&machine, kind, trims)?;
            let mut topology = arguments.topology;
            let mut changed = *stored;
            // Without words the policy stays as it is: its guests may have booted with it.
            if *trims != Trims::NONE {
                topology = topology.or(changed.policy.topology);
                changed.policy = seen.host().default().clone();
            }
            let seen = std::slice::from_ref(&seen);
            let mut refusals = refused_requests(trims, &changed.policy, seen);
            if let Some(topology) = topology {
                refusals.extend(shape(&mut changed.policy, topology, seen));
            }
            Ok(Made { stored: Some(changed), kind, refusals, findings })
        }
        Document::Machines(_) => {
            let seen = Seen::new(&machine, kind, trims)?;
            let mut policy = Host::default(&seen.host()).clone();
            let seen = std::slice::from_ref(&seen);
            let mut refusals = refused_requests(trims, &policy, seen);
            if let Some(topology) = arguments.topology {
                refusals.extend(shape(&mut policy, topology, seen));
            }
            let (name, source) = (machine.name.clone(), Some(machine.source()));
            let stored = StoredPolicy { name, source, context: None, policy };
            Ok(Made { stored: Some(stored), kind, refusals, findings })
        }
    }
}

/// Gives a policy of some hosts its topology; says why it cannot have it.
fn shape(policy: &mut Policy, topology: Topology, seen: &[Seen<'_>]) -> Vec<LevelRefusal> {
    policy.set_topology(Some(topology));
    let refusal = |what: String, reason: String| LevelRefusal {
        what,
        rule: Rule::Topology.name(),
        hosts: Vec::new(),
        values: Vec::new(),
        reason,
    };
    let mut refusals = Vec::new();
    policy.verify(|fault| {
        if fault.rule() == Rule::Topology {
            refusals.push(refusal(fault.what().to_string(), fault.to_string()));
        }
    });
    // Every host may show them, unless words forbid it.
    for row in ["ht", "cmp-legacy"].into_iter().filter_map(feature) {
        if policy.features().contains(row.place) && seen.iter().any(|seen| !seen.may_give(row.place)) {
            refusals.push(refusal(row.name.to_owned(), format!("the topology needs it, and it is {BY_WORDS}")));
        }
    }
    refusals
}

/// Makes the level of the hosts of a directory, or of a file that tells of several.
fn level_of(arguments: &PolicyArguments, trims: &Trims, sources: &Sources) -> Result<Made, Problem> {
    let kind = arguments.kind.unwrap_or_default();
    let pool = load(std::slice::from_ref(&arguments.from), arguments.reading.skip_bad, sources)?;
    let mut level = Level::of(&pool, kind, trims, &[], "level")?;
    if let (Some(stored), Some(topology)) = (&mut level.policy, arguments.topology) {
        level.refusals.extend(shape(&mut stored.policy, topology, &level.seen));
    }
    let findings = pool
        .machines
        .iter()
        .flat_map(|machine| machine.findings().map(|finding| FindingMember::of_host(&machine.name, finding)))
        .chain(pool.skipped.iter().map(FindingMember::of_skipped))
        .collect();
    Ok(Made { kind, refusals: level.refusals, findings, stored: level.policy })
}

/// Why there is no policy, in one message.
fn refused(arguments: &PolicyArguments, refusals: &[LevelRefusal]) -> String {
    let mut text = format!("refused: {} cannot give what was asked for:", shown(&arguments.from));
    for LevelRefusal { what, rule, values, reason, hosts } in refusals {
        let who = if hosts.len() > 1 { format!(" ({})", hosts.join(", ")) } else { String::new() };
        text.push_str(&format!("\n  {what}: {rule}: {reason}{who}"));
        for value in values {
            text.push_str(&format!("\n    {}: {}", value.value.text(), value.hosts.join(", ")));
        }
    }
    text
}
