//! `show`: what a host or a policy has.

use selfsame_cpuid::{Featureset, LevellingCapabilities, feature_at};
use selfsame_formats::{Source, XenGuests};

use crate::Verdict;
use crate::args::{Output, ShowArguments};
use crate::finding::Finding;
use crate::host::{Machine, Origin, brand, load, signature_text, vendor};
use crate::json::{
    FindingMember, SCHEMA, ShowDocument, SignatureMember, XstateMember, feature_names, hex, print_document,
};
use crate::names::{by_leaf, folded, numbers, own};
use crate::problem::Problem;
use crate::sources::Sources;
use crate::terminal::{Page, count, print};

/// How many findings are shown of each host unless all are asked for.
const FEW: usize = 5;

pub(crate) fn run(arguments: &ShowArguments) -> Result<Verdict, Problem> {
    let sources = Sources::of(&arguments.reading.sources)?;
    let pool = load(&arguments.files, arguments.reading.skip_bad, &sources)?;
    let Output { json, quiet, verbose } = arguments.output;
    if json {
        match &*pool.machines.iter().map(document).collect::<Vec<_>>() {
            [document] if pool.is_one_file => print_document(document)?,
            documents => print_document(documents)?,
        }
    } else if quiet {
        print(&pool.machines.iter().map(line).collect::<String>())?;
    } else {
        let mut page = Page::new();
        for machine in &pool.machines {
            show(&mut page, machine, verbose);
        }
        page.print()?;
    }
    Ok(Verdict::Done)
}

fn document(machine: &Machine) -> ShowDocument {
    let raw = &*machine.raw();
    let (kind, topology) = match machine.origin {
        Origin::Policy(kind, topology) => (Some(kind.name()), topology.map(|topology| topology.to_string())),
        _ => (None, None),
    };
    let pairs = machine.context.iter().filter_map(|pair| pair.split_once('='));
    ShowDocument {
        schema: SCHEMA,
        name: machine.name.clone(),
        source: machine.source(),
        kind,
        topology,
        vendor: vendor(raw),
        signature: SignatureMember::of(raw),
        brand: brand(raw),
        cpus: (machine.cpus() > 0).then_some(machine.cpus()),
        context: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        features: feature_names(raw),
        xcr0: hex(raw.xcr0().bits()),
        xss: hex(raw.xss().bits()),
        xstate: XstateMember::of(raw),
        levelling: levelling(machine),
        findings: machine.findings().map(FindingMember::of).collect(),
    }
}

/// The levelling hardware that was found by trying it, where the capture says so, else what the CPU's model is expected to
/// have; what a hypervisor offers says nothing of it.
fn levelling(machine: &Machine) -> Vec<String> {
    if !machine.is_derived() {
        return Vec::new();
    }
    if let Some(probed) = machine.context.iter().find_map(|pair| pair.strip_prefix("levelling=")) {
        return probed.split(',').filter(|word| *word != "none").map(str::to_owned).collect();
    }
    LevellingCapabilities::expected(&machine.raw()).iter().map(|capability| capability.to_string()).collect()
}

fn line(machine: &Machine) -> String {
    let features = machine.raw().features().iter().filter_map(feature_at).count();
    let (name, cpu, signature) = (&machine.name, machine.cpu(), signature_text(machine.signature()));
    let findings = count(machine.findings().len(), "finding");
    // A CPU without a name for itself is called by its signature.
    let signature = if cpu.contains(&signature) { String::new() } else { format!(", {signature}") };
    format!("{name}: {cpu}{signature}, {features} features, {findings}\n")
}

/// What a machine says of itself, in words.
fn origin(machine: &Machine) -> String {
    let cpus = count(machine.cpus(), "logical CPU");
    match machine.origin {
        Origin::Hardware(source) => format!("{cpus}, from {source}"),
        Origin::Offered(Source::Xen(XenGuests::Hvm)) => "what Xen offers to hvm guests".to_owned(),
        Origin::Offered(Source::Xen(XenGuests::Pv)) => "what Xen offers to pv guests".to_owned(),
        Origin::Offered(Source::Xen(XenGuests::Unsaid)) => "what Xen offers to guests".to_owned(),
        Origin::Offered(_) => "what KVM offers to guests".to_owned(),
        Origin::Policy(kind, _) => format!("a policy for {kind} guests"),
    }
}

fn show(page: &mut Page, machine: &Machine, is_verbose: bool) {
    let raw = &*machine.raw();
    page.heading(&machine.name);
    page.labelled("cpu", machine.cpu().split(' '));
    let said = [vendor(raw).trim().to_owned(), signature_text(machine.signature())];
    let said: Vec<&str> = said.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    if !said.is_empty() {
        page.labelled("vendor", said.join(", ").split(' '));
    }
    page.labelled("source", origin(machine).split(' '));
    if let Origin::Policy(_, Some(topology)) = machine.origin {
        let (vcpus, last) = (count(topology.vcpus() as usize, "vCPU"), topology.last_apic_id());
        page.labelled("topology", format!("{topology}; {vcpus}, APIC ids up to {last}").split(' '));
    }
    if !machine.context.is_empty() {
        page.labelled("context", machine.context.iter().map(String::as_str));
    }
    states(page, raw);
    let shown: Vec<String> = shown_numbers(raw);
    page.labelled("numbers", shown.iter().map(String::as_str));
    let levelling = levelling(machine);
    if !levelling.is_empty() {
        page.labelled("levelling", levelling.iter().map(String::as_str));
    }
    let set = raw.features();
    let whose = match machine.origin {
        Origin::Hardware(_) => "guests get only some of what the hardware has",
        Origin::Offered(_) => "guests can have all of them",
        Origin::Policy(..) => "guests see all of them",
    };
    page.labelled("features", format!("{}; {whose}", feature_count(&set)).split(' '));
    for (title, names) in by_leaf(&set) {
        let names = folded(&names, is_verbose);
        page.labelled(&title, names.iter().map(String::as_str));
    }
    findings(page, machine, is_verbose);
}

/// How many features a set has: programs get all of them, the lists for people leave out those that follow from others.
pub(crate) fn feature_count(set: &Featureset) -> String {
    let (own, all) = (own(set).count(), set.iter().filter_map(feature_at).count());
    match all - own {
        0 => count(own, "feature"),
        more => format!("{} and {more} that follow from them", count(own, "feature")),
    }
}

/// The numbers of some leaves that are not zero.
pub(crate) fn shown_numbers(leaves: &selfsame_cpuid::Leaves) -> Vec<String> {
    numbers()
        .map(|row| (row, row.get(leaves.word(row.word))))
        .filter(|&(_, value)| value != 0)
        .map(|(row, value)| format!("{}={}", row.name, crate::names::number(row, value)))
        .collect()
}

/// The extended state of some leaves.
pub(crate) fn states(page: &mut Page, leaves: &selfsame_cpuid::Leaves) {
    let (xcr0, xss) = (leaves.xcr0(), leaves.xss());
    if xcr0.is_empty() && xss.is_empty() {
        page.labelled("state", ["none", "beyond", "FXSAVE"]);
        return;
    }
    let text = format!("xcr0 {:#x} ({xcr0}), xss {:#x} ({xss})", xcr0.bits(), xss.bits());
    page.labelled("state", text.split(' '));
    let XstateMember { standard_size, compacted_size, .. } = XstateMember::of(leaves);
    let text = format!("{standard_size} bytes in the standard format, {compacted_size} compacted");
    page.labelled("save area", text.split(' '));
}

fn findings(page: &mut Page, machine: &Machine, is_verbose: bool) {
    let (loud, mut quiet): (Vec<&Finding>, Vec<&Finding>) = machine.findings().partition(|finding| finding.is_loud);
    // Tools try MSRs by the dozen: that one cannot be read says least.
    quiet.sort_by_key(|finding| finding.what.starts_with("msr"));
    let few = if is_verbose { quiet.len() } else { FEW.saturating_sub(loud.len()).min(quiet.len()) };
    for finding in loud.iter().copied().chain(quiet.iter().copied().take(few)) {
        finding_line(page, finding);
    }
    if quiet.len() > few {
        page.labelled(
            "",
            [format!("{} of lesser weight; --verbose shows them", count(quiet.len() - few, "more finding")).as_str()],
        );
    }
}

/// One finding, marked where it may change what guests get.
pub(crate) fn finding_line(page: &mut Page, finding: &Finding) {
    let Finding { what, reason, line, .. } = finding;
    let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    finding_text(page, &format!("{line}{what}: {reason}"), finding.is_loud);
}

/// The same with another text.
pub(crate) fn finding_text(page: &mut Page, text: &str, is_loud: bool) {
    if is_loud {
        page.warned("finding", text.split(' '));
    } else {
        page.labelled("finding", text.split(' '));
    }
}
