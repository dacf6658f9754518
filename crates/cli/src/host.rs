//! Files to hosts.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use selfsame_cpuid::{Host, Kind, Leaves, Signature, Topology, Trims, feature};
use selfsame_formats::{self as file, Dump, Machines, NamedMachine, Source, XenGuests};

use crate::cpus;
use crate::document::{self, Document, StoredPolicy};
use crate::finding::Finding;
use crate::found::Found;
use crate::named::{self, Kindred, Named};
use crate::problem::{Problem, printable, shown};
use crate::progress::Progress;
use crate::sources::Sources;
use crate::terminal::{count, note};

/// A host, as a file tells of it: a name, and what is said of the host and of all that are like it in that file.
#[derive(Debug)]
pub(crate) struct Machine {
    /// What people call it: unique in its pool.
    pub(crate) name: String,
    said: Rc<Said>,
}

impl Deref for Machine {
    type Target = Said;

    fn deref(&self) -> &Said {
        &self.said
    }
}

/// What a file says of a host. A fleet has thousands of hosts of which the same is said: it is kept once.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its file.
    pub(crate) path: Rc<Path>,
    /// Who says it.
    pub(crate) origin: Origin,
    /// What else is known, as KEY=VALUE.
    pub(crate) context: Rc<[String]>,
    /// What is odd about its data and that of many others.
    common_findings: Rc<[Rc<Finding>]>,
    /// What is odd about its data alone.
    own_findings: Box<[Rc<Finding>]>,
    data: Data,
}

/// The CPU of a host.
#[derive(Debug)]
enum Data {
    /// By what CPUID answered.
    Leaves(Box<Answers>),
    /// By the names of its features.
    Names(Named),
}

/// What CPUID and MSRs answered.
#[derive(Debug)]
struct Answers {
    /// The level of all logical CPUs.
    raw: Leaves,
    /// How many logical CPUs there are; none in a policy.
    cpus: usize,
    /// The MSRs that the file has.
    msrs: BTreeSet<u32>,
}

/// Who says what a host has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// Its hardware, by itself or in another tool's dump.
    Hardware(Source),
    /// Its hypervisor.
    Offered(Source),
    /// A policy file.
    Policy(Kind, Option<Topology>),
}

impl Said {
    fn of_dump(path: &Rc<Path>, dump: &Dump) -> Self {
        let united = cpus::united(dump);
        let origin =
            if dump.source.is_hardware() { Origin::Hardware(dump.source) } else { Origin::Offered(dump.source) };
        let answers = Answers { raw: united.leaves, cpus: dump.cpus.len(), msrs: united.msrs };
        Self {
            path: Rc::clone(path),
            origin,
            context: named::context(&dump.context),
            common_findings: Rc::default(),
            own_findings: united.findings.into_iter().map(Rc::new).collect(),
            data: Data::Leaves(Box::new(answers)),
        }
    }

    fn of_names(path: &Rc<Path>, machine: NamedMachine, kindred: &mut Kindred) -> Self {
        let origin = Origin::Offered(machine.source());
        let (named, own_findings) = kindred.take(machine);
        Self {
            path: Rc::clone(path),
            origin,
            context: Rc::clone(&named.kin.context),
            common_findings: Rc::clone(&named.kin.findings),
            own_findings,
            data: Data::Names(named),
        }
    }

    fn of_policy(path: &Rc<Path>, stored: &StoredPolicy) -> Self {
        let StoredPolicy { context, policy, .. } = stored;
        let mut findings = Vec::new();
        policy.verify(|fault| {
            let finding = Finding::malformed(fault.what().to_string(), fault.to_string());
            findings.push(Finding { rule: fault.rule(), ..finding }.loud());
        });
        Self {
            path: Rc::clone(path),
            origin: Origin::Policy(policy.kind, policy.topology),
            context: context.iter().flat_map(|text| text.split_ascii_whitespace()).map(str::to_owned).collect(),
            common_findings: Rc::default(),
            own_findings: findings.into_iter().map(Rc::new).collect(),
            data: Data::Leaves(Box::new(Answers {
                raw: policy.leaves.clone(),
                cpus: 0,
                msrs: policy.leaves.msrs().map(|(index, _)| index).collect(),
            })),
        }
    }

    /// What CPUID answers, or would answer: the level of all logical CPUs.
    pub(crate) fn raw(&self) -> Cow<'_, Leaves> {
        match &self.data {
            Data::Leaves(answers) => Cow::Borrowed(&answers.raw),
            Data::Names(named) => Cow::Owned(named.machine.dump("").raw().leaves),
        }
    }

    /// The features of a host of which there is nothing but names.
    pub(crate) fn named(&self) -> Option<&Named> {
        match &self.data {
            Data::Leaves(_) => None,
            Data::Names(named) => Some(named),
        }
    }

    /// How many logical CPUs there are; none in a policy.
    pub(crate) fn cpus(&self) -> usize {
        match &self.data {
            Data::Leaves(answers) => answers.cpus,
            Data::Names(_) => 1,
        }
    }

    /// What is odd about its data.
    pub(crate) fn findings(&self) -> impl ExactSizeIterator<Item = &Finding> + Clone {
        let findings: Vec<&Finding> = self.common_findings.iter().chain(&self.own_findings).map(|rc| &**rc).collect();
        findings.into_iter()
    }
}

impl Machine {
    /// Takes what a file holds as hosts.
    pub(crate) fn all_of(path: &Path, document: Document) -> Vec<Self> {
        let (path, mut kindred) = (&Rc::from(path), Kindred::default());
        match document {
            Document::Machines(all) => {
                all.into_iter().flat_map(|same| Self::all_alike(path, same, &mut kindred)).collect()
            }
            Document::Policy(policy) => {
                vec![Self { name: policy.name.clone(), said: Rc::new(Said::of_policy(path, &policy)) }]
            }
        }
    }

    fn all_alike(path: &Rc<Path>, same: Machines, kindred: &mut Kindred) -> impl Iterator<Item = Self> + use<> {
        let said = Rc::new(match same.said {
            file::Said::Dump(dump) => Said::of_dump(path, &dump),
            file::Said::Names(machine) => Said::of_names(path, machine, kindred),
        });
        same.names.into_iter().map(move |name| Self { name: printable(&name), said: Rc::clone(&said) })
    }

    /// Takes what a file holds as the one host that is asked for.
    ///
    /// # Errors
    ///
    /// The file tells of several.
    pub(crate) fn one_of(path: &Path, document: &Document) -> Result<Self, Problem> {
        let [machine] = <[Self; 1]>::try_from(Self::all_of(path, document.clone()))
            .map_err(|all| Problem::SeveralMachines { path: path.to_owned(), count: all.len() })?;
        Ok(machine)
    }

    /// What two hosts have in common if one file says the same of both, and no others have.
    pub(crate) fn likeness(&self) -> *const Said {
        Rc::as_ptr(&self.said)
    }

    /// The host as guests of one kind meet it.
    ///
    /// # Errors
    ///
    /// What a hypervisor offers to one kind of guest says nothing about another kind.
    pub(crate) fn host(&self, kind: Kind, trims: &Trims) -> Result<Host, Problem> {
        let refused = |what, found| Problem::Kind { path: self.path.to_path_buf(), what, found, wanted: kind };
        match self.origin {
            Origin::Hardware(_) => Ok(Host::from_hardware(&self.raw(), kind, trims)),
            Origin::Offered(source) if !source.serves(kind) => Err(match source {
                Source::Xen(XenGuests::Hvm) => refused("this is what Xen offers to", Kind::Hvm),
                Source::Xen(XenGuests::Pv) => refused("this is what Xen offers to", Kind::Pv),
                Source::Xen(XenGuests::Unsaid) => refused("this is what Xen offers to pv or", Kind::Hvm),
                Source::Kvm => refused("this is what KVM offers to", Kind::Kvm),
                _ => refused("this is what QEMU gives to", Kind::Kvm),
            }),
            Origin::Offered(source) if source.is_by_name() => Ok(Host::from_vmm(&self.raw(), kind, trims)),
            Origin::Offered(_) => Ok(Host::from_offered(&self.raw(), kind, trims)),
            Origin::Policy(found, _) if found != kind => Err(refused("this is a policy for", found)),
            // How the CPUs of a policy without a topology hang together is for its guests to say.
            Origin::Policy(_, None) => Ok(Host::from_vmm(&self.raw(), kind, trims)),
            Origin::Policy(_, topology) => {
                let mut policy = Host::from_vmm(&self.raw(), kind, trims).default().clone();
                policy.set_topology(topology);
                Ok(Host::from_policy(&policy))
            }
        }
    }

    /// Whether what guests get is derived from the hardware by the table, and not what a hypervisor said.
    pub(crate) fn is_derived(&self) -> bool {
        matches!(self.origin, Origin::Hardware(_))
    }

    /// Whether a hypervisor, or a file of one, says what guests get.
    pub(crate) fn is_offered(&self) -> bool {
        matches!(self.origin, Origin::Offered(_))
    }

    /// Whether a dump lacks an MSR that the CPU has: what it tells of counts as absent, and may be there.
    pub(crate) fn misses_msr(&self, index: u32) -> bool {
        let gate = match index {
            0x10a => "arch-capabilities",
            0xcf => "core-capability",
            0x480..=0x493 => "vmx",
            _ => "",
        };
        let Data::Leaves(answers) = &self.data else { return false };
        let has_it = gate.is_empty() || feature(gate).is_some_and(|row| answers.raw.is_set(row.place));
        let is_whole = match self.origin {
            Origin::Hardware(source) | Origin::Offered(source) => source.is_by_name(),
            Origin::Policy(..) => true,
        };
        !is_whole && has_it && !answers.msrs.contains(&index)
    }

    /// The name with the file, where another has the same name.
    pub(crate) fn label(&self, other: &str) -> String {
        if self.name == other { format!("{} ({})", self.name, shown(&self.path)) } else { self.name.clone() }
    }

    /// The name of the source in JSON.
    pub(crate) fn source(&self) -> String {
        match self.origin {
            Origin::Hardware(source) | Origin::Offered(source) => source.to_string(),
            Origin::Policy(..) => "policy".to_owned(),
        }
    }

    /// The CPU's own name for itself, else that of its model, else its signature.
    pub(crate) fn cpu(&self) -> Rc<str> {
        if let Some(named) = self.named() {
            return Rc::clone(&named.kin.cpu);
        }
        let raw = self.raw();
        let brand = brand(&raw);
        let model = || self.context.iter().find_map(|pair| pair.strip_prefix("model="));
        match (brand.is_empty(), model()) {
            (false, _) => brand.into(),
            (true, model) => cpu_text(model, &vendor(&raw), self.signature()),
        }
    }

    /// Family, model and stepping.
    pub(crate) fn signature(&self) -> Signature {
        self.named().map_or_else(|| self.raw().signature(), |named| named.machine.signature())
    }
}

/// What a CPU without a name for itself is called.
pub(crate) fn cpu_text(model: Option<&str>, vendor: &str, signature: Signature) -> Rc<str> {
    let signature = signature_text(signature);
    match (model, vendor.trim(), &*signature) {
        (Some(model), _, "") => model.into(),
        (Some(model), ..) => format!("{model} ({signature})").into(),
        (None, "", "") => "unknown CPU".into(),
        (None, "", said) | (None, said, "") => said.into(),
        (None, vendor, _) => format!("{vendor} {signature}").into(),
    }
}

/// Family, model and stepping; empty where nobody says them.
pub(crate) fn signature_text(signature: Signature) -> String {
    if signature == Signature::default() { String::new() } else { signature.to_string() }
}

/// The brand string of leaves 0x80000002 to 0x80000004.
pub(crate) fn brand(leaves: &Leaves) -> String {
    let regs = [0x8000_0002, 0x8000_0003, 0x8000_0004].map(|leaf| leaves.get(leaf, 0).to_array());
    let bytes: Vec<u8> = regs.as_flattened().iter().flat_map(|register| register.to_le_bytes()).collect();
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    let words: Vec<String> = String::from_utf8_lossy(text).split_whitespace().map(printable).collect();
    words.join(" ")
}

/// The vendor's twelve bytes as text, without the NULs at its end.
pub(crate) fn vendor(leaves: &Leaves) -> String {
    let leaf_0 = leaves.get(0, 0);
    vendor_text([leaf_0.ebx, leaf_0.edx, leaf_0.ecx].map(u32::to_le_bytes).as_flattened())
}

/// The same of the twelve bytes.
pub(crate) fn vendor_text(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default().escape_ascii().to_string()
}

/// The hosts that a command line names.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The hosts by name.
    pub(crate) machines: Vec<Machine>,
    /// Files that were left out, and why.
    pub(crate) skipped: Vec<(String, String)>,
    /// Whether exactly one file of one host was named and no directory: JSON is an object then, not an array.
    pub(crate) is_one_file: bool,
}

/// Reads the hosts that `paths` name: files, directories of dumps, or `-`.
///
/// # Errors
///
/// Any file that cannot be used, unless they are to be skipped; a directory without a dump.
pub(crate) fn load(paths: &[PathBuf], skip_bad: bool, sources: &Sources) -> Result<Pool, Problem> {
    let mut found = Found::default();
    for path in paths {
        found.add(path, skip_bad)?;
    }
    let total = found.files.len() + found.problems.len();
    let mut progress = Progress::new("reading hosts", found.files.len());
    let mut machines = Vec::new();
    let mut dumps_of: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut policies = Vec::new();
    for (path, directory) in found.files {
        match document::read(&path, sources) {
            Ok(Document::Policy(_)) if directory.is_some() => policies.push(path),
            Ok(document) => {
                machines.extend(Machine::all_of(&path, document));
                if let Some(directory) = directory {
                    *dumps_of.entry(directory).or_default() += 1;
                }
            }
            Err(problem) => found.problems.push(problem),
        }
        progress.step();
    }
    drop(progress);
    if !found.problems.is_empty() && !skip_bad {
        return Err(match <[Problem; 1]>::try_from(found.problems) {
            Ok([problem]) => problem,
            Err(problems) => Problem::Several { problems, total },
        });
    }
    let skipped = skipped(&found.problems);
    for directory in &found.checked {
        if !dumps_of.contains_key(directory) {
            let here = policies.iter().filter(|path| path.parent() == Some(directory)).count();
            let hint = (here > 0).then(|| format!("; it has {}: name the files", count(here, "policy file")));
            return Err(Problem::NoDump { path: directory.clone(), hint });
        }
    }
    for path in &policies {
        note(&format!("{}: a policy, not a dump: left out (name it to take it as a host)", shown(path)));
    }
    if machines.is_empty() {
        return Err(Problem::NothingLeft { total });
    }
    name_apart(&mut machines);
    machines.sort_by(|a, b| a.name.cmp(&b.name));
    let is_one_file = paths.len() == 1 && !found.has_directory && machines.len() == 1;
    Ok(Pool { machines, skipped, is_one_file })
}

/// Reads one file as a host.
pub(crate) fn load_one(path: &Path, sources: &Sources) -> Result<Machine, Problem> {
    if path.is_dir() {
        return Err(Problem::Directory { path: path.to_owned() });
    }
    Machine::one_of(path, &document::read(path, sources)?)
}

fn skipped(problems: &[Problem]) -> Vec<(String, String)> {
    let mut skipped = Vec::new();
    for problem in problems {
        let text = problem.to_string();
        note(&format!("left out: {text}"));
        let (path, reason) = text.split_once(": ").unwrap_or((&text, ""));
        skipped.push((path.to_owned(), reason.to_owned()));
    }
    skipped
}

/// Gives hosts of the same name a number, by the order of their paths.
fn name_apart(machines: &mut [Machine]) {
    // Hosts of one file keep its order.
    machines.sort_by(|a, b| if Rc::ptr_eq(&a.path, &b.path) { Ordering::Equal } else { a.path.cmp(&b.path) });
    let mut taken: HashSet<String> = HashSet::with_capacity(machines.len());
    for machine in machines {
        if taken.insert(machine.name.clone()) {
            continue;
        }
        let mut name = machine.name.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{} ({number})", machine.name);
            number += 1;
        }
        if name != machine.name {
            note(&format!(
                "another host is called {} too: that of {} is {name} here",
                machine.name,
                shown(&machine.path)
            ));
        }
        machine.name = name;
    }
}
