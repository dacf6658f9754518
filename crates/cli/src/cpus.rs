//! One host from its logical CPUs.

use std::collections::BTreeSet;

use selfsame_cpuid::{Leaves, Place, Relation, Rule, VALUES, What, examine, feature, feature_at};
use selfsame_formats::Dump;

use crate::finding::{Finding, rule_of};

/// What a dump says of its machine.
#[derive(Debug)]
pub(crate) struct United {
    /// The level of the logical CPUs.
    pub(crate) leaves: Leaves,
    /// The MSRs whose values the dump has.
    pub(crate) msrs: BTreeSet<u32>,
    /// What is odd.
    pub(crate) findings: Vec<Finding>,
}

/// Unites the logical CPUs of a dump, and says what is odd in them.
pub(crate) fn united(dump: &Dump) -> United {
    let mut findings: Vec<Finding> = dump.findings.iter().map(Finding::of_dump).collect();
    let raw = dump.raw();
    let outside: BTreeSet<u32> =
        raw.outside.iter().filter(|&&(leaf, subleaf)| !is_meaningless(leaf, subleaf)).map(|&(leaf, _)| leaf).collect();
    findings.extend(
        outside
            .into_iter()
            .map(|leaf| (format!("leaf {leaf:08x}"), "is not in the model: guests read zero there"))
            .map(|(what, reason)| Finding { rule: Rule::OfferNever, ..Finding::malformed(what, reason) }),
    );
    findings.extend(raw.differences.iter().map(|&what| difference(what, dump, &raw.cpus)));
    if !dump.source.is_by_name() {
        missing_msrs(&raw.leaves, &raw.msrs, dump, &mut findings);
    }
    examine(&raw.leaves, |finding| findings.push(Finding::of_leaves(finding)));
    United { leaves: raw.leaves, msrs: raw.msrs, findings }
}

/// Which CPUs are as a test says.
type Those<'a> = dyn Fn(&dyn Fn(&Leaves) -> bool) -> Vec<u32> + 'a;

/// Whether everybody knows that a row tells nothing of the CPU: what a hypervisor says of itself, AMD's greeting, levels
/// of topology and caches beyond those of the model, which are ends of lists.
const fn is_meaningless(leaf: u32, subleaf: u32) -> bool {
    matches!(leaf, 0x4000_0000..=0x4fff_ffff | 0x8fff_fffe | 0x8fff_ffff)
        || subleaf > 0 && matches!(leaf, 0x4 | 0xb | 0x1f | 0x8000_001d | 0x8000_0026)
}

fn difference(what: What, dump: &Dump, cpus: &[Leaves]) -> Finding {
    let numbers: Vec<u32> = dump.cpus.iter().map(|cpu| cpu.number).collect();
    let those = |is_one: &dyn Fn(&Leaves) -> bool| -> Vec<u32> {
        dump.cpus.iter().zip(cpus).filter(|(_, leaves)| is_one(leaves)).map(|(cpu, _)| cpu.number).collect()
    };
    let (rule, reason) = match what {
        What::Feature(place) => {
            let some = those(&|leaves| leaves.is_set(place));
            (Rule::NotOnHost, format!("only on {} of {}", cpu_names(&some), ranges(&numbers)))
        }
        _ => number_difference(&what.to_string(), &those, cpus),
    };
    // Who has vmx-* or pmu bits on some CPUs only wants to know of it; more so of what every guest uses.
    let is_loud = matches!(what, What::Feature(place) if is_given(place));
    Finding { rule, is_loud, ..Finding::malformed(what.to_string(), reason) }
}

fn is_given(place: Place) -> bool {
    feature_at(place)
        .is_some_and(|row| row.relation == Relation::All && row.offers != [selfsame_cpuid::Offer::Never; 4])
}

fn number_difference(name: &str, those: &Those<'_>, cpus: &[Leaves]) -> (Rule, String) {
    let Some(row) = VALUES.iter().find(|row| row.name == name) else {
        return (Rule::Equal, "the logical CPUs differ".to_owned());
    };
    let get = |leaves: &Leaves| row.get(leaves.word(row.word));
    let values: BTreeSet<u32> = cpus.iter().map(get).collect();
    let parts: Vec<String> = values
        .into_iter()
        .map(|value| format!("{value} on {}", cpu_names(&those(&|leaves| get(leaves) == value))))
        .collect();
    let taken = match row.relation {
        Relation::Min => "the least",
        Relation::Max => "the greatest",
        _ => "that of the first",
    };
    (rule_of(row.relation), format!("{}; {taken} is taken", parts.join(", ")))
}

/// Names logical CPUs: `#cpu3` or `cpu 0-7,12`.
fn cpu_names(numbers: &[u32]) -> String {
    match numbers {
        [number] => format!("#cpu{number}"),
        _ => format!("cpu {}", ranges(numbers)),
    }
}

/// Writes ascending numbers as `0-7,12`.
fn ranges(numbers: &[u32]) -> String {
    let runs =
        numbers.chunk_by(|a, b| b.checked_sub(*a) == Some(1)).filter_map(|run| Some((run.first()?, run.last()?)));
    let runs: Vec<String> =
        runs.map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") }).collect();
    runs.join(",")
}

/// Names MSRs that the CPU has and the dump has not: what they tell of counts as absent, which costs a pool features for
/// no reason but the dump.
fn missing_msrs(leaves: &Leaves, msrs: &BTreeSet<u32>, dump: &Dump, findings: &mut Vec<Finding>) {
    const GATES: [(&str, u32, &str); 3] = [
        ("arch-capabilities", 0x10a, "msr:0000010a"),
        ("core-capability", 0xcf, "msr:000000cf"),
        ("vmx", 0x480, "msr:00000480"),
    ];
    for (name, index, what) in GATES {
        let has = feature(name).is_some_and(|row| leaves.is_set(row.place));
        if has && !msrs.contains(&index) {
            let more = if index == 0x480 { "msrs 480 to 491 are" } else { "it is" };
            let reason = if dump.cpus.iter().any(|cpu| cpu.msrs.contains_key(&index)) {
                format!("the CPU has {name}, but reading the msr faults: what would be read there counts as absent")
            } else {
                format!(
                    "the CPU has {name}, but {more} not in the dump: what would be read there counts as absent; capture as root"
                )
            };
            // The reader of the dump may have said the same without its consequence.
            findings.retain(|finding| finding.what != what);
            findings.push(Finding { rule: Rule::NotOnHost, ..Finding::malformed(what, reason).loud() });
        }
    }
}
