//! `switch cost`: what a context switch writes, by our plan and by Xen's and KVM's.

use selfsame_cpuid::{Leaves, LevellingCapabilities};
use selfsame_switch::{
    Likeness, Msr, Operation, PerDomainArea, Platform, REGISTERS, Register, RegisterSet, STATES, Transition,
    Virtualisation, Visibility, play,
};
use selfsame_xstate::{ComponentSet, Configurations, SaveMethod, Xcr0, Xss};
use serde::Serialize;

use crate::Verdict;
use crate::args::{Side, SwitchCostArguments};
use crate::host::load_one;
use crate::json::{SCHEMA, print_document};
use crate::peers::{Range, Turn};
use crate::problem::Problem;
use crate::reference_cpu;
use crate::sources::Sources;
use crate::terminal::{Page, print};

#[derive(Debug, Serialize)]
struct CostDocument {
    schema: u32,
    cpu: String,
    from: &'static str,
    to: &'static str,
    virtualisation: &'static str,
    save: String,
    visibility: &'static str,
    writes: RangeMember,
    msr_reads: RangeMember,
    states: Vec<StateMember>,
    features: Vec<FeatureMember>,
}

/// Between vCPUs that are alike, and between those that differ in everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct RangeMember {
    least: usize,
    most: usize,
}

#[derive(Debug, Serialize)]
struct StateMember {
    state: &'static str,
    selfsame: RangeMember,
    xen: Option<RangeMember>,
    kvm: Option<RangeMember>,
    reason: &'static str,
}

/// What a feature adds at most.
#[derive(Debug, Serialize)]
struct FeatureMember {
    feature: String,
    writes: usize,
    msr_reads: usize,
}

impl From<Range> for RangeMember {
    fn from((least, most): Range) -> Self {
        Self { least, most }
    }
}

impl RangeMember {
    /// `1`, or `0-2`.
    fn text(self) -> String {
        let Self { least, most } = self;
        if least == most { least.to_string() } else { format!("{least}-{most}") }
    }

    fn words(self, thing: &str) -> String {
        let Self { least, most } = self;
        let plural = if most == 1 { "" } else { "s" };
        if least == most { format!("{least} {thing}{plural}") } else { format!("{least} to {most} {thing}{plural}") }
    }
}

pub(crate) fn run(arguments: &SwitchCostArguments) -> Result<Verdict, Problem> {
    let (name, raw) = match &arguments.cpu {
        Some(path) => {
            let machine = load_one(path, &Sources::default())?;
            (machine.name.clone(), machine.raw().into_owned())
        }
        None => (reference_cpu::NAME.to_owned(), reference_cpu::leaves().map_err(|_| Problem::NoPlatform)?),
    };
    let platform = platform(&raw)?;
    let document = document(name, &platform, arguments.from, arguments.to);
    let output = arguments.output;
    if output.json {
        print_document(&document)?;
    } else if output.quiet {
        print(&headline(&document))?;
    } else {
        page(&document, output.verbose)?;
    }
    Ok(Verdict::Done)
}

/// The platform whose CPUs answer `raw`, with the levelling hardware that is expected of the model.
fn platform(raw: &Leaves) -> Result<Platform, Problem> {
    let geometry = raw.geometry().usable(raw.vendor().offsets());
    let configurations = Configurations::new(&geometry).map_err(|_| Problem::NoPlatform)?;
    let virtualisation = if raw.vendor().is_amd_like() { Virtualisation::Svm } else { Virtualisation::Vmx };
    let visibility = Visibility::of(raw, LevellingCapabilities::expected(raw), |_| u64::MAX);
    let per_domain = PerDomainArea::new(0xFFFF_8200_0000_0000).ok_or(Problem::NoPlatform)?;
    Ok(Platform::new(raw, virtualisation, &configurations, visibility, per_domain))
}

/// What happens between two sides; nothing between idle and idle.
const fn transition(from: Side, to: Side) -> Option<Transition> {
    match (from.kind(), to.kind()) {
        (Some(from), Some(to)) => Some(Transition::Switch(from, to)),
        (None, Some(to)) => Some(Transition::Arrive(to)),
        (Some(from), None) => Some(Transition::Flush(from)),
        (None, None) => None,
    }
}

/// What is done between vCPUs that are alike, and between those that differ.
struct Played {
    alike: Vec<Operation>,
    different: Vec<Operation>,
}

impl Played {
    fn new(platform: &Platform, transition: Option<Transition>) -> Self {
        let play = |likeness| {
            let mut operations = Vec::new();
            if let Some(transition) = transition
                && play(platform, transition, likeness, |operation| operations.push(operation)).is_err()
            {
                // Played vCPUs are where the switches expect them.
                operations.clear();
            }
            operations
        };
        Self { alike: play(Likeness::Alike), different: play(Likeness::Different) }
    }

    fn count(&self, is: impl Fn(&Operation) -> bool) -> RangeMember {
        let of = |operations: &[Operation]| operations.iter().filter(|operation| is(operation)).count();
        RangeMember { least: of(&self.alike), most: of(&self.different) }
    }

    fn writes(&self) -> RangeMember {
        self.count(Operation::is_write)
    }

    fn msr_reads(&self) -> RangeMember {
        self.count(|operation| matches!(operation, Operation::Rdmsr(_)))
    }
}

fn document(cpu: String, platform: &Platform, from: Side, to: Side) -> CostDocument {
    let transition = transition(from, to);
    let played = Played::new(platform, transition);
    let masks = match platform.visibility {
        Visibility::Faulting(_) => None,
        Visibility::Masks(masks) => Some(masks.iter().flatten().count()),
        Visibility::Emulated => Some(0),
    };
    let turn = transition.map(|transition| Turn::new(transition, platform.virtualisation, masks));
    let peers = |name: &str| {
        let of = |range: Option<Range>| range.map(RangeMember::from);
        (of(turn.and_then(|turn| turn.xen(name))), of(turn.and_then(|turn| turn.kvm(name))))
    };
    let mut states = Vec::new();
    for state in &STATES {
        let (xen, kvm) = peers(state.name);
        let selfsame = played.count(|operation| state.is_written_by(operation));
        states.push(StateMember { state: state.name, selfsame, xen, kvm, reason: state.reason });
    }
    for row in REGISTERS.iter().filter(|row| platform.registers.contains(row.register)) {
        let (xen, kvm) = peers(row.name);
        let selfsame = played.count(|operation| is_write_of(operation, row.register));
        states.push(StateMember { state: row.name, selfsame, xen, kvm, reason: row.reason });
    }
    let zero = RangeMember { least: 0, most: 0 };
    let xen_reads = turn.map(|turn| turn.xen_reads().into());
    states.push(StateMember {
        state: "RDMSR",
        selfsame: played.msr_reads(),
        xen: xen_reads,
        kvm: turn.and_then(|turn| turn.kvm("XFD")).map(|_| RangeMember { most: 2, ..zero }),
        reason: "none in a switch; two in a run with XFD, whose guest writes it without an exit",
    });
    CostDocument {
        schema: SCHEMA,
        cpu,
        from: from.name(),
        to: to.name(),
        virtualisation: match platform.virtualisation {
            Virtualisation::Vmx => "vmx",
            Virtualisation::Svm => "svm",
        },
        save: platform.method.to_string(),
        visibility: match platform.visibility {
            Visibility::Faulting(_) => "faulting",
            Visibility::Masks(_) => "masks",
            Visibility::Emulated => "emulated",
        },
        writes: played.writes(),
        msr_reads: played.msr_reads(),
        states,
        features: features(platform, transition, &played),
    }
}

fn is_write_of(operation: &Operation, register: Register) -> bool {
    matches!(operation, Operation::Wrmsr(write) if write.msr() == Msr::Switched(register))
}

/// What each feature of the platform adds at most, most first.
fn features(platform: &Platform, transition: Option<Transition>, played: &Played) -> Vec<FeatureMember> {
    let mut features = Vec::new();
    for (feature, without) in without(platform) {
        let rest = Played::new(&without, transition);
        let member = FeatureMember {
            feature,
            writes: played.writes().most.saturating_sub(rest.writes().most),
            msr_reads: played.msr_reads().most.saturating_sub(rest.msr_reads().most),
        };
        if (member.writes, member.msr_reads) != (0, 0) {
            features.push(member);
        }
    }
    features.sort_by_key(|member| core::cmp::Reverse(member.writes + member.msr_reads));
    features
}

/// The platform without one feature after the other.
fn without(platform: &Platform) -> Vec<(String, Platform)> {
    let mut all = Vec::new();
    let mut add = |feature: String, without: Platform| all.push((feature, without));
    if platform.has_xfd {
        let states = platform.xcr0.components() - ComponentSet::AMX;
        if let Ok(xcr0) = Xcr0::new(states.bits(), states) {
            add("AMX with XFD".to_owned(), Platform { xcr0, has_xfd: false, ..*platform });
        }
    }
    if platform.method == SaveMethod::Xsaves && !platform.supervisor.is_empty() {
        let rest = platform.xss.components() - platform.supervisor;
        if let Ok(xss) = Xss::new(rest.bits(), rest) {
            let feature = format!("supervisor states ({})", platform.supervisor);
            add(feature, Platform { xss, supervisor: ComponentSet::EMPTY, ..*platform });
        }
    }
    for row in REGISTERS.iter().filter(|row| !row.features.is_empty() && platform.registers.contains(row.register)) {
        let registers = platform.registers.minus(RegisterSet::EMPTY.with(row.register));
        let has = format!("{} ({})", row.name, row.features.join(", "));
        add(has, Platform { registers, ..*platform });
    }
    if platform.has_dr_masks {
        add("DR masks (bpext)".to_owned(), Platform { has_dr_masks: false, ..*platform });
    }
    if platform.has_ibpb {
        add("IBPB".to_owned(), Platform { has_ibpb: false, ..*platform });
    }
    if platform.visibility != Visibility::Emulated {
        add("levelled CPUID".to_owned(), Platform { visibility: Visibility::Emulated, ..*platform });
    }
    all
}

fn headline(document: &CostDocument) -> String {
    let CostDocument { cpu, from, to, writes, msr_reads, virtualisation, save, visibility, .. } = document;
    let (writes, reads) = (writes.words("write"), msr_reads.words("MSR read"));
    format!("{from} to {to} on {cpu} ({virtualisation}, {save}, {visibility}): {writes}, {reads}\n")
}

fn page(document: &CostDocument, is_verbose: bool) -> Result<(), Problem> {
    let mut page = Page::new();
    page.line(headline(document).trim_end());
    page.indented(
        "The first number is between vCPUs that are alike, the second between those that differ in everything.",
    );
    if document.from == Side::IDLE || document.to == Side::IDLE {
        page.indented(
            "Idle time by itself costs nothing: a CPU keeps its last vCPU until another one needs the place.",
        );
    }
    page.heading("Writes");
    let text = |range: &Option<RangeMember>| range.map_or_else(|| "?".to_owned(), RangeMember::text);
    let is_shown = |state: &&StateMember| {
        let is_zero = |range: RangeMember| range.most == 0;
        is_verbose || !is_zero(state.selfsame) || state.xen.is_some_and(|range| !is_zero(range))
    };
    let has_kvm = document.states.iter().any(|state| state.kvm.is_some());
    let rows: Vec<[String; 5]> = document
        .states
        .iter()
        .filter(is_shown)
        .map(|state| {
            let kvm = if has_kvm { text(&state.kvm) } else { String::new() };
            let reason = if is_verbose { state.reason.to_owned() } else { String::new() };
            [state.state.to_owned(), state.selfsame.text(), text(&state.xen), kvm, reason]
        })
        .collect();
    page.table(["", "selfsame", "xen", "kvm", "written, or left out"], &rows);
    page.indented("?: its source was not read for it. Xen is 4.23-dev of 2026-08-20, KVM that of Linux 7.3-rc7.");
    if !document.features.is_empty() {
        page.heading("What a feature adds at most");
        let row =
            |member: &FeatureMember| [member.feature.clone(), member.writes.to_string(), member.msr_reads.to_string()];
        page.table(["feature", "writes", "MSR reads"], &document.features.iter().map(row).collect::<Vec<_>>());
    }
    page.print()
}
