//! `docs/switch.md` says what the code does: its tables are written from the table of registers and from switches.
//!
//! `SELFSAME_BLESS=1` rewrites them.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]
mod stage;

use std::fmt::Write;
use std::fs;

use selfsame_cpuid::{Leaves, LevellingCapabilities, Regs};
use selfsame_switch::{
    Likeness, Msr, Occupancy, Operation, Platform, REGISTERS, Register, STATES, Transition, VcpuKind, Visibility, play,
};
use stage::{barcelona, count, milan, sandy_bridge, sapphire_rapids};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/switch.md");

const TRANSITIONS: [(&str, Transition); 8] = [
    ("resume pv", Transition::Resume(VcpuKind::Pv64)),
    ("resume hvm", Transition::Resume(VcpuKind::Hvm)),
    ("pv→pv", Transition::Switch(VcpuKind::Pv64, VcpuKind::Pv64)),
    ("pv→hvm", Transition::Switch(VcpuKind::Pv64, VcpuKind::Hvm)),
    ("hvm→pv", Transition::Switch(VcpuKind::Hvm, VcpuKind::Pv64)),
    ("hvm→hvm", Transition::Switch(VcpuKind::Hvm, VcpuKind::Hvm)),
    ("flush pv", Transition::Flush(VcpuKind::Pv64)),
    ("flush hvm", Transition::Flush(VcpuKind::Hvm)),
];

/// Zen 3 whose faulting does not work.
fn masked_milan() -> Platform {
    let mut raw = Leaves::new();
    raw.set(0, 0, Regs::new(0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65)).unwrap();
    raw.set(1, 0, Regs::new(0x00a0_0f11, 0, 0, 0)).unwrap();
    Platform { visibility: Visibility::of(&raw, LevellingCapabilities::expected(&raw), |_| 0), ..milan() }
}

fn operations(platform: &Platform, transition: Transition, likeness: Likeness) -> Vec<Operation> {
    let mut operations = Vec::new();
    play(platform, transition, likeness, |operation| operations.push(operation)).unwrap();
    operations
}

fn is_write_of(operation: &Operation, register: Register) -> bool {
    matches!(operation, Operation::Wrmsr(write) if write.msr() == Msr::Switched(register))
}

fn cell(least: usize, most: usize) -> String {
    match (least, most) {
        (0, 0) => "·".to_owned(),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least}–{most}"),
    }
}

fn writes(platform: &Platform) -> String {
    let runs = TRANSITIONS.map(|(_, transition)| {
        [Likeness::Alike, Likeness::Different].map(|likeness| operations(platform, transition, likeness))
    });
    let mut out = format!("| | {} |\n", TRANSITIONS.map(|(name, _)| name).join(" | "));
    let _ = writeln!(out, "|---|{}", "--:|".repeat(TRANSITIONS.len()));
    let mut row = |name: &str, is: &dyn Fn(&Operation) -> bool| {
        let _ = write!(out, "| {name} |");
        for [alike, different] in &runs {
            let _ = write!(out, " {} |", cell(count(alike, is), count(different, is)));
        }
        out.push('\n');
    };
    for state in &STATES {
        row(state.name, &|operation| state.is_written_by(operation));
    }
    for register in &REGISTERS {
        row(register.name, &|operation| is_write_of(operation, register.register));
    }
    row("**all**", &|operation| operation.is_write());
    out
}

fn registers() -> String {
    let mut out = format!("| register | number | {} | reason |\n", Occupancy::ALL.map(Occupancy::name).join(" | "));
    out += "|---|---|---|---|---|---|---|\n";
    for row in &REGISTERS {
        let contents = Occupancy::ALL.map(|occupancy| row.content(occupancy).name());
        let _ = writeln!(out, "| {} | {:#x} | {} | {} |", row.name, row.number, contents.join(" | "), row.reason);
    }
    out
}

fn reasons() -> String {
    let mut out = "| | left out, or written |\n|---|---|\n".to_owned();
    for state in &STATES {
        let _ = writeln!(out, "| {} | {} |", state.name, state.reason);
    }
    out + "| registers of the table | the shadow has the wanted value |\n"
}

#[test]
fn docs_switch_md_is_what_the_code_does() {
    let mut text = fs::read_to_string(FILE).unwrap();
    let found = text.clone();
    let blocks = [
        ("registers", registers()),
        ("vmx", writes(&sapphire_rapids())),
        ("svm", writes(&masked_milan())),
        ("reasons", reasons()),
    ];
    for (name, block) in blocks {
        let begin = format!("<!-- {name}: written by crates/switch/tests/switch_doc.rs -->\n");
        let end = format!("<!-- {name}: end -->\n");
        let (before, rest) = text.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        text = format!("{before}{begin}{block}{end}{after}");
    }
    if std::env::var_os("SELFSAME_BLESS").is_some() {
        fs::write(FILE, text).unwrap();
        return;
    }
    let difference = found.lines().zip(text.lines()).find(|(found, wanted)| found != wanted);
    assert!(
        found == text,
        "SELFSAME_BLESS=1 cargo test -p selfsame-switch --test switch_doc rewrites it, from {difference:?}"
    );
}

/// Every transition between kinds, on every platform, alike and different.
fn all() -> Vec<(String, Transition, Likeness, Vec<Operation>)> {
    let kinds = [VcpuKind::Pv64, VcpuKind::Pv32, VcpuKind::Hvm];
    let mut transitions: Vec<Transition> = kinds
        .into_iter()
        .flat_map(|kind| [Transition::Resume(kind), Transition::Arrive(kind), Transition::Flush(kind)])
        .collect();
    transitions.extend(kinds.into_iter().flat_map(|from| kinds.map(|to| Transition::Switch(from, to))));
    let mut all = Vec::new();
    for (host, platform) in [
        ("sapphire rapids", sapphire_rapids()),
        ("milan", milan()),
        ("milan with masks", masked_milan()),
        ("sandy bridge", sandy_bridge()),
        ("barcelona", barcelona()),
    ] {
        for &transition in &transitions {
            for likeness in [Likeness::Alike, Likeness::Different] {
                let name = format!("{transition:?} of {likeness:?} on {host}");
                all.push((name, transition, likeness, operations(&platform, transition, likeness)));
            }
        }
    }
    all
}

#[test]
fn every_write_belongs_to_one_state_or_register() {
    for (name, .., operations) in all() {
        for operation in operations {
            let states = STATES.iter().filter(|state| state.is_written_by(&operation)).count();
            let registers = Register::ALL.into_iter().filter(|&register| is_write_of(&operation, register)).count();
            assert_eq!(states + registers, usize::from(operation.is_write()), "{operation:?} of {name}");
        }
    }
}

#[test]
fn two_xsetbv_one_way_up_and_one_down_and_no_rdmsr_but_for_a_run_with_xfd() {
    for (name, _, likeness, operations) in all() {
        assert!(count(&operations, |operation| matches!(operation, Operation::Xsetbv(_))) <= 2, "{name}");
        let xss =
            count(&operations, |operation| matches!(operation, Operation::Wrmsr(write) if write.msr() == Msr::Xss));
        assert!(xss <= if likeness == Likeness::Alike { 0 } else { 2 }, "{name}");
        let reads = count(&operations, |operation| matches!(operation, Operation::Rdmsr(_)));
        let has_xfd = name.contains("sapphire") && likeness == Likeness::Different;
        assert!(reads == 0 || has_xfd && reads == 2, "{name}");
    }
}

#[test]
fn alike_vcpus_that_resume_cost_nothing_and_pv_ones_of_one_number_no_table_and_no_mask() {
    for (name, transition, likeness, operations) in all() {
        if likeness == Likeness::Different {
            continue;
        }
        match transition {
            Transition::Resume(_) => assert_eq!(operations, [], "{name}"),
            Transition::Switch(from, to) if from == to => {
                let is_avoided = |operation: &Operation| {
                    let is_mask =
                        matches!(operation, Operation::Wrmsr(write) if matches!(write.msr(), Msr::CpuidMask(_)));
                    is_mask || matches!(operation, Operation::Lgdt(_) | Operation::L1(..) | Operation::Invlpg(_))
                };
                assert_eq!(count(&operations, is_avoided), 0, "{name}");
            }
            Transition::Switch(..) | Transition::Arrive(_) | Transition::Flush(_) => {}
        }
    }
}
