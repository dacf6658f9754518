//! `level`: the CPU that all hosts of a pool can give.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use selfsame_cpuid::{Disagreement, Host, Kind, Leveller, Policy, Rule, Trims, Value, What, feature_at};
use selfsame_formats::Kin;

use crate::Verdict;
use crate::args::LevelArguments;
use crate::check::{Answer, answer};
use crate::document::{StoredPolicy, read_policy};
use crate::export::Exported;
use crate::found::entries;
use crate::host::{Machine, Pool, Said, load, vendor};
use crate::json::{
    CostMember, FindingMember, LevelDocument, LevelRefusal, LostMember, RunningMember, SCHEMA, SideMember,
    SignatureMember, ValueOfHosts, WarningMember, XstateMember, feature_names, hex, print_document,
};
use crate::losses::{Lost, Unwarned, losses};
use crate::named::CommonToKin;
use crate::names::numbers;
use crate::output_file::{self, Over, Written, is_stdout};
use crate::problem::{Problem, shown};
use crate::sources::Sources;
use crate::terminal::note;
use crate::why::{Seen, alike};
use crate::words::trims;
use crate::{level_page, terminal};

/// A pool's level with all that is to be said about it.
#[derive(Debug)]
pub(crate) struct Level<'m> {
    /// The kind of guest.
    pub(crate) kind: Kind,
    /// The hosts.
    pub(crate) seen: Vec<Seen<'m>>,
    /// The level; none where the hosts disagree.
    pub(crate) policy: Option<StoredPolicy>,
    /// Why there is no level, or why it is not what was asked for.
    pub(crate) refusals: Vec<LevelRefusal>,
    /// What it lost.
    pub(crate) lost: Vec<Lost>,
    /// The warnings that it cannot carry.
    pub(crate) unwarned: Vec<Unwarned>,
    /// What hosts say to the guests that run already.
    pub(crate) running: Vec<(String, String, Answer)>,
}

pub(crate) fn run(arguments: &LevelArguments) -> Result<Verdict, Problem> {
    let trims = trims(&arguments.cpuid)?;
    let file = arguments.file.as_deref();
    let inputs = arguments.hosts.iter().chain(&arguments.running);
    output_file::guard(
        file,
        Written::policy(arguments.export),
        Over::forced(arguments.force),
        inputs,
        arguments.output.json,
    )?;
    let running = running_guests(&arguments.running, arguments.kind)?;
    let sources = Sources::of(&arguments.reading.sources)?.for_guests(arguments.kind);
    let pool = load(&arguments.hosts, arguments.reading.skip_bad, &sources)?;
    let name = arguments.name.as_deref().unwrap_or("level");
    let level = Level::of(&pool, arguments.kind, &trims, &running, name)?;
    let is_accepted = level.is_accepted();
    let accepted = level.policy.as_ref().filter(|_| is_accepted);
    let exported = match (accepted, arguments.export) {
        (Some(policy), Some(target)) => Some(Exported::of(policy, target, sources.models())?),
        _ => None,
    };
    if let Some(path) = file {
        match (accepted, &exported) {
            (_, Some(exported)) => output_file::write(path, exported.text())?,
            (Some(policy), None) => output_file::write(path, &policy.text())?,
            (None, None) => note(&format!("{}: not written, because of the refusal", shown(path))),
        }
    }
    let output = arguments.output;
    if output.json {
        let export = exported.as_ref().map(Exported::member);
        print_document(&LevelDocument { export, ..level.document(&pool) })?;
    } else {
        let text = if output.quiet {
            level_page::line(&level)
        } else {
            let written = file.filter(|path| is_accepted && !is_stdout(path));
            level_page::text(&level, &pool, output.verbose, written)
        };
        // A program reads the policy there: what people read goes beside it.
        let is_beside = file.map_or(exported.is_some(), is_stdout);
        if is_beside {
            terminal::print_beside(&text);
        } else {
            terminal::print(&text)?;
        }
        if let Some(exported) = &exported {
            exported.tell_notes();
            if file.is_none() {
                terminal::print(exported.text())?;
            }
        }
    }
    Ok(Verdict::of(is_accepted))
}

/// Reads the policies of guests that run; a directory means every file in it.
fn running_guests(paths: &[PathBuf], kind: Kind) -> Result<Vec<StoredPolicy>, Problem> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(entries(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let mut guests = Vec::new();
    for path in files {
        let guest = read_policy(&path)?;
        let found = guest.policy.kind;
        if found != kind {
            return Err(Problem::Kind { path, what: "this is a policy for", found, wanted: kind });
        }
        guests.push(guest);
    }
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(guests)
}

impl<'m> Level<'m> {
    /// Levels a pool; the guests that run are of the kind.
    pub(crate) fn of(
        pool: &'m Pool,
        kind: Kind,
        trims: &Trims,
        running: &[StoredPolicy],
        name: &str,
    ) -> Result<Self, Problem> {
        let seen = Seen::all(&pool.machines, kind, trims)?;
        let mut leveller = Leveller::new(kind);
        for guest in running {
            leveller.keep_leaves_of(&guest.policy);
        }
        // Hosts that are alike count once, by the name that comes first, and kin by what all and any of them give.
        let groups = alike(&seen);
        let mut families: BTreeMap<*const CommonToKin, (&str, Kin)> = BTreeMap::new();
        for seen in groups.iter().filter_map(|group| seen.get(*group.first()?)) {
            let Some(named) = seen.named() else {
                leveller.add(&seen.machine.name, seen.host().default());
                continue;
            };
            match families.entry(Rc::as_ptr(&named.kin)) {
                Entry::Occupied(entry) => entry.into_mut().1.add(&named.given),
                Entry::Vacant(entry) => {
                    entry.insert((&seen.machine.name, Kin::new(&named.machine, &named.given)));
                }
            }
        }
        for (name, kin) in families.values() {
            for leaves in kin.leaves() {
                leveller.add(name, Host::from_vmm(&leaves, kind, &Trims::NONE).default());
            }
        }
        let finished = leveller.finish();
        let (policy, refusals) = match finished {
            Ok(policy) => {
                let refusals = refused_requests(trims, &policy, &seen);
                (Some(policy), refusals)
            }
            Err(disagreement) => (None, disagreements(&disagreement, &seen)),
        };
        let (lost, unwarned) = policy.as_ref().map(|policy| losses(policy, &seen, &groups)).unwrap_or_default();
        let context = Some(format!("hosts={}", seen.len()));
        let stored = |policy| StoredPolicy { name: name.to_owned(), source: Some("level".to_owned()), context, policy };
        let running = answers(&seen, running);
        Ok(Self { kind, seen, policy: policy.map(stored), refusals, lost, unwarned, running })
    }

    /// Whether there is a level, as it was asked for, and every running guest survives.
    pub(crate) fn is_accepted(&self) -> bool {
        self.policy.is_some()
            && self.refusals.is_empty()
            && self.running.iter().all(|(.., answer)| answer.is_accepted())
    }

    /// The names of some hosts.
    pub(crate) fn names<'a>(&'a self, hosts: &'a [usize]) -> impl ExactSizeIterator<Item = &'a str> {
        hosts.iter().map(|&i| self.seen.get(i).map_or("", |seen| &*seen.machine.name))
    }

    /// What each host brings and costs.
    pub(crate) fn costs(&self) -> Vec<CostMember> {
        let mut costs: Vec<CostMember> = Vec::with_capacity(self.seen.len());
        let mut known: HashMap<*const Said, usize> = HashMap::with_capacity(self.seen.len());
        let mut before: Option<&Machine> = None;
        for (i, seen) in self.seen.iter().enumerate() {
            let machine = seen.machine;
            // Hosts of one file come together, mostly.
            let is_beside = |other: &Machine| Rc::ptr_eq(&other.path, &machine.path) && other.origin == machine.origin;
            let (path, source) = match costs.last() {
                Some(cost) if before.is_some_and(is_beside) => (Rc::clone(&cost.path), Rc::clone(&cost.source)),
                _ => (shown(&machine.path).into(), machine.source().into()),
            };
            let first = *known.entry(machine.likeness()).or_insert(i);
            let (cpu, features) = match costs.get(first) {
                Some(alike) => (Rc::clone(&alike.cpu), alike.features),
                None => (machine.cpu(), seen.given_count()),
            };
            let host = machine.name.clone();
            costs.push(CostMember { host, path, source, cpu, features, lost: 0, lost_alone: Vec::new() });
            before = Some(machine);
        }
        for lost in &self.lost {
            for &host in &*lost.hosts {
                let Some(cost) = costs.get_mut(host) else { continue };
                cost.lost += 1;
                if lost.hosts.len() == 1 {
                    cost.lost_alone.push(lost.feature.name);
                }
            }
        }
        costs
    }

    fn document(&self, pool: &Pool) -> LevelDocument {
        let owned = |hosts: &[usize]| -> Vec<String> { self.names(hosts).map(str::to_owned).collect() };
        let leaves = self.policy.as_ref().map(|stored| &stored.policy.leaves);
        let value = |row: &'static Value| Some((row.name, SideMember::number(row, row.get(leaves?.word(row.word)))));
        let findings = pool
            .machines
            .iter()
            .flat_map(|machine| machine.findings().map(|finding| FindingMember::of_host(&machine.name, finding)));
        LevelDocument {
            schema: SCHEMA,
            kind: self.kind.name(),
            hosts: self.seen.iter().map(|seen| seen.machine.name.clone()).collect(),
            costs: self.costs(),
            featureset: leaves.map(|leaves| leaves.features().to_xen().to_string()),
            features: leaves.map(feature_names).unwrap_or_default(),
            values: numbers().filter_map(value).filter(|(_, value)| !value.is_zero()).collect(),
            vendor: leaves.map(vendor),
            signature: leaves.map(SignatureMember::of),
            xcr0: leaves.map(|leaves| hex(leaves.xcr0().bits())),
            xss: leaves.map(|leaves| hex(leaves.xss().bits())),
            xstate: leaves.map(XstateMember::of),
            lost: self
                .lost
                .iter()
                .map(|lost| LostMember {
                    feature: lost.feature.name,
                    hosts: owned(&lost.hosts),
                    rule: lost.rule.name(),
                    because: lost.because.clone(),
                })
                .collect(),
            kept_as_warning: self
                .unwarned
                .iter()
                .map(|unwarned| WarningMember {
                    feature: unwarned.feature.name,
                    hosts: owned(&unwarned.hosts),
                    because: unwarned.feature.reason.to_owned(),
                })
                .collect(),
            refusals: self.refusals.clone(),
            findings: findings.chain(pool.skipped.iter().map(FindingMember::of_skipped)).collect(),
            policy: self.policy.as_ref().map(StoredPolicy::text),
            export: None,
            running: self
                .running
                .iter()
                .map(|(name, host, answer)| RunningMember {
                    name: name.clone(),
                    host: host.clone(),
                    accepted: answer.is_accepted(),
                    refusals: answer.refusals.clone(),
                })
                .collect(),
        }
    }
}

/// What every host says to every guest that runs already.
fn answers(seen: &[Seen<'_>], running: &[StoredPolicy]) -> Vec<(String, String, Answer)> {
    if running.is_empty() {
        return Vec::new();
    }
    let hosts: Vec<(&Machine, Cow<'_, Host>)> = seen.iter().map(|seen| (seen.machine, seen.host())).collect();
    let mut answers = Vec::new();
    for guest in running {
        for (machine, host) in &hosts {
            answers.push((guest.name.clone(), machine.name.clone(), answer(&guest.policy, machine, host, false)));
        }
    }
    answers
}

/// The features that were asked for and are not in a policy.
pub(crate) fn refused_requests(trims: &Trims, policy: &Policy, seen: &[Seen<'_>]) -> Vec<LevelRefusal> {
    let missing = trims.requested(policy.kind) - policy.features();
    let refusal = |place| {
        let row = feature_at(place);
        let causes: Vec<_> = seen
            .iter()
            .filter_map(|seen| Some((&seen.machine.name, row.map(|row| seen.why_not(row))?)))
            .filter_map(|(name, cause)| Some((name, cause?)))
            .collect();
        let mut texts: Vec<&str> = causes.iter().map(|(_, cause)| &*cause.text).collect();
        texts.dedup();
        let (rule, reason) = match causes.first() {
            Some((_, cause)) => (cause.rule, texts.join("; ")),
            None if row.is_none() => (Rule::OfferNever, "no manual known here names this bit".to_owned()),
            None => (Rule::Prerequisite, "the level lacks something that it needs".to_owned()),
        };
        LevelRefusal {
            what: What::Feature(place).to_string(),
            rule: rule.name(),
            hosts: causes.iter().map(|(name, _)| (*name).clone()).collect(),
            values: Vec::new(),
            reason,
        }
    };
    missing.iter().map(refusal).collect()
}

/// What the hosts must agree on and do not, with who says what.
fn disagreements(disagreement: &Disagreement, seen: &[Seen<'_>]) -> Vec<LevelRefusal> {
    let refusal = |what: String, rule: Rule, reason: &str, value: &dyn Fn(&Policy) -> Option<SideMember>| {
        let mut values: BTreeMap<SideMember, Vec<String>> = BTreeMap::new();
        for seen in seen {
            if let Some(value) = value(seen.host().default()) {
                values.entry(value).or_default().push(seen.machine.name.clone());
            }
        }
        let mut hosts: Vec<String> = values.values().flatten().cloned().collect();
        hosts.sort();
        let values = values.into_iter().map(|(value, hosts)| ValueOfHosts { value, hosts }).collect();
        LevelRefusal { what, rule: rule.name(), hosts, values, reason: reason.to_owned() }
    };
    let mut refusals = Vec::new();
    let (vendors, values): (Vec<&Value>, Vec<&Value>) =
        disagreement.values().partition(|row| row.name.starts_with("vendor-"));
    if let Some(row) = vendors.first() {
        let name = |policy: &Policy| Some(SideMember::Text(vendor(&policy.leaves)));
        refusals.push(refusal("vendor".to_owned(), Rule::Equal, row.reason, &name));
    }
    for row in values {
        let value = |policy: &Policy| Some(SideMember::number(row, row.get(policy.leaves.word(row.word))));
        refusals.push(refusal(row.name.to_owned(), Rule::Equal, row.reason, &value));
    }
    for component in disagreement.states() {
        let place = |policy: &Policy| {
            let regs = policy.leaves.get(0xd, u32::from(component.index()));
            (regs.eax != 0).then_some(SideMember::Place { size: regs.eax, offset: regs.ebx })
        };
        refusals.push(refusal(component.to_string(), Rule::Layout, Rule::Layout.meaning(), &place));
    }
    if disagreement.do_topologies_differ() {
        let topology = |policy: &Policy| policy.topology.map(|topology| SideMember::Text(topology.to_string()));
        refusals.push(refusal("topology".to_owned(), Rule::Topology, Rule::Topology.meaning(), &topology));
    }
    refusals
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use selfsame_cpuid::FEATURES;
    use selfsame_formats::{Machines, Models, Reading, Said as FileSays, read_all};

    use super::*;
    use crate::document::Document;

    /// The hosts of a file, each kept by the names of its features, or laid out as leaves.
    fn pool(all: Vec<Machines>) -> Pool {
        let machines = Machine::all_of(Path::new("hosts.xml"), Document::Machines(all));
        Pool { machines, skipped: Vec::new(), is_one_file: false }
    }

    fn laid_out(all: &[Machines]) -> Vec<Machines> {
        let mut laid_out = all.to_vec();
        for same in &mut laid_out {
            same.said = FileSays::Dump(Box::new(same.dump().into_owned()));
        }
        laid_out
    }

    /// All that a level says, as text.
    fn told(pool: &Pool, kind: Kind) -> Vec<String> {
        let level = Level::of(pool, kind, &Trims::NONE, &[], "level").unwrap();
        let document = level.document(pool);
        let costs = document.costs.iter().map(|cost| format!("{cost:?}"));
        let lost = level.lost.iter().map(|lost| format!("{lost:?}"));
        let unwarned = level.unwarned.iter().map(|unwarned| format!("{unwarned:?}"));
        let refusals = level.refusals.iter().map(|refusal| format!("{refusal:?}"));
        let mut findings: Vec<String> = document.findings.iter().map(|finding| format!("{finding:?}")).collect();
        findings.sort();
        let policy = level.policy.iter().map(StoredPolicy::text);
        costs.chain(lost).chain(unwarned).chain(refusals).chain(findings).chain(policy).collect()
    }

    fn element() -> impl Strategy<Value = String> {
        let models: Vec<String> = Models::known().iter().map(|(name, _)| name.to_owned()).collect();
        let model = prop_oneof![
            4 => prop::sample::select(models).prop_map(|name| format!("<model>{name}</model>")),
            2 => Just("<model>Skylake-Server</model>".to_owned()),
            2 => Just("<model>SapphireRapids</model>".to_owned()),
            1 => Just(String::new()),
        ];
        let names: Vec<&str> = FEATURES.iter().map(|row| row.name).collect();
        let often = [
            "pae", "pse36", "xsave", "avx", "avx2", "vmx", "xsaves", "shstk", "ibt", "pcid", "amx-tile", "lm",
            "syscall",
        ];
        let name = prop_oneof![prop::sample::select(names), prop::sample::select(often.to_vec()), Just("unheard-of")];
        let policy = prop::sample::select(vec!["require", "force", "disable", "forbid", "optional"]);
        let feature = (name, policy).prop_map(|(name, policy)| format!("<feature policy='{policy}' name='{name}'/>"));
        let rest = prop::sample::select(vec![
            "<vendor>Intel</vendor>",
            "<vendor>Intel</vendor><maxphysaddr mode='emulate' bits='46'/>",
            "<vendor>AMD</vendor>",
            "<signature family='6' model='85' stepping='4'/>",
            "",
        ]);
        (model, rest, prop::collection::vec(feature, 1..24)).prop_map(|(model, rest, features)| {
            format!("<cpu><arch>x86_64</arch>{model}{rest}<feature name='fpu'/>{}</cpu>", features.concat())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn hosts_by_name_level_as_their_leaves_do(
            elements in prop::collection::vec(element(), 1..8),
            kind in prop::sample::select(Kind::ALL.to_vec()),
        ) {
            let text = elements.concat();
            let all = read_all(text.as_bytes(), "hosts", &Reading::default()).unwrap();
            let laid_out = laid_out(&all);
            let (named, laid_out) = (pool(all), pool(laid_out));
            for (named, laid_out) in named.machines.iter().zip(&laid_out.machines) {
                prop_assert!(named.cpu() == laid_out.cpu() && named.context == laid_out.context);
                prop_assert!(named.raw() == laid_out.raw(), "{}", named.name);
            }
            let (named, laid_out) = (told(&named, kind), told(&laid_out, kind));
            for (named, laid_out) in named.iter().zip(&laid_out) {
                prop_assert_eq!(named, laid_out);
            }
            prop_assert_eq!(named.len(), laid_out.len());
        }
    }
}
