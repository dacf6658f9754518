//! `docs/switch.md` says what the code does: its tables are written from the table of registers and from switches.
//!
//! `SELFSAME_BLESS=1` rewrites them.
#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

mod stage;

use std::fmt::Write;
use std::fs;

use selfsame_cpuid::{Leaves, LevellingCapabilities, Regs};
use selfsame_switch::{
    DR7_RESET, DebugState, GuestXfd, GuestXss, Kind, Msr, Occupancy, Operation, Platform, REGISTERS, Register, Segment,
    Selector, Shown, Visibility,
};
use selfsame_xstate::{ComponentSet, Xss};
use stage::{Stage, milan, sapphire_rapids};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/switch.md");

/// One row: a state, how its writes are recognised, and when they are left out.
struct State {
    name: &'static str,
    is: fn(&Operation) -> bool,
    why: &'static str,
}

fn is_write_of(operation: &Operation, msr: Msr) -> bool {
    matches!(operation, Operation::Wrmsr(write) if write.msr() == msr)
}

/// What is switched beside the registers of the table.
const STATES: [State; 19] = [
    State {
        name: "XCR0",
        is: |operation| matches!(operation, Operation::Xsetbv(_)),
        why: "before the move only if it lacks a component of a mask; after it only if it is not the vCPU's own yet",
    },
    State {
        name: "IA32_XSS",
        is: |operation| is_write_of(operation, Msr::Xss),
        why: "up only if the leaving guest's lacks a component of a mask; down only if the arriving guest's is not there",
    },
    State {
        name: "save",
        is: |operation| matches!(operation, Operation::Save(..)),
        why: "only if another vCPU's state comes, or the vCPU leaves; the CPU leaves out what is initial or unchanged",
    },
    State {
        name: "load",
        is: |operation| matches!(operation, Operation::Load(..)),
        why: "only if the registers hold another vCPU's state, or the guest enabled what it never had",
    },
    State {
        name: "IA32_PL0_SSP",
        is: |operation| is_write_of(operation, Msr::Pl0Ssp),
        why: "only once an HVM guest's has been saved from there, and the hypervisor has shadow stacks",
    },
    State {
        name: "IA32_XFD_ERR",
        is: |operation| is_write_of(operation, Msr::XfdErr),
        why: "guests with XFD only: the guest's if it is not zero, zero if it has become another",
    },
    State {
        name: "IA32_XFD",
        is: |operation| is_write_of(operation, Msr::Xfd),
        why: "guests with XFD only: the guest's if it is not zero, zero if it is not",
    },
    State {
        name: "CR0.TS",
        is: |operation| matches!(operation, Operation::SetTaskSwitched | Operation::ClearTaskSwitched),
        why: "only for a PV guest that has it set: it goes in last and comes out first",
    },
    State {
        name: "slot 14",
        is: |operation| matches!(operation, Operation::L1(..)),
        why: "it still has this CPU's page of this bitness, since the vCPU was here last",
    },
    State {
        name: "INVLPG",
        is: |operation| matches!(operation, Operation::Invlpg(_)),
        why: "only after a write of slot 14",
    },
    State {
        name: "GDTR",
        is: |operation| matches!(operation, Operation::Lgdt(_)),
        why: "base and limit are the same: vCPUs of the same number, and HVM after HVM; twice where the default table bridges CR3",
    },
    State {
        name: "CR3",
        is: |operation| matches!(operation, Operation::Cr3(_)),
        why: "the same page tables of the same domain",
    },
    State {
        name: "CR4",
        is: |operation| matches!(operation, Operation::Cr4(_)),
        why: "the same value; twice between two PV guests without FSGSBASE, whose bases are read with it (XSA-293)",
    },
    State {
        name: "LDTR",
        is: |operation| matches!(operation, Operation::Lldt(_)),
        why: "the same address and limit; under HVM it stays, and a VM exit makes it null",
    },
    State {
        name: "DS, ES, FS, GS",
        is: |operation| matches!(operation, Operation::LoadSelector(..)),
        why: "null and null before; others select another descriptor in other tables. #VMEXIT needs null DS and ES",
    },
    State {
        name: "DR0–DR3, DR6, DR7",
        is: |operation| matches!(operation, Operation::WriteDebug(..)),
        why: "no breakpoint is on and the guest does not see the registers: DR7 is switched off, and no more",
    },
    State {
        name: "DR masks",
        is: |operation| matches!(operation, Operation::Wrmsr(write) if matches!(write.msr(), Msr::DrMask(_))),
        why: "with the addresses, wherever the CPU has them, known to the guest or not (XSA-444)",
    },
    State {
        name: "faulting or masks",
        is: |operation| {
            matches!(operation, Operation::Wrmsr(write)
                if matches!(write.msr(), Msr::MiscFeaturesEnables | Msr::Hwcr | Msr::CpuidMask(_)))
        },
        why: "equal guests; masks stay under HVM, whose CPUID exits; faulting is a guest's own choice there",
    },
    State {
        name: "IBPB",
        is: |operation| is_write_of(operation, Msr::PredCmd),
        why: "never for a vCPU that comes, whoever was here before (XSA-479); a vCPU that never left needs none",
    },
];

/// What happens to a CPU.
#[derive(Clone, Copy)]
enum Transition {
    Resume(Kind),
    Switch(Kind, Kind),
    Flush(Kind),
}

const TRANSITIONS: [(&str, Transition); 8] = [
    ("resume pv", Transition::Resume(Kind::Pv64)),
    ("resume hvm", Transition::Resume(Kind::Hvm)),
    ("pv→pv", Transition::Switch(Kind::Pv64, Kind::Pv64)),
    ("pv→hvm", Transition::Switch(Kind::Pv64, Kind::Hvm)),
    ("hvm→pv", Transition::Switch(Kind::Hvm, Kind::Pv64)),
    ("hvm→hvm", Transition::Switch(Kind::Hvm, Kind::Hvm)),
    ("flush pv", Transition::Flush(Kind::Pv64)),
    ("flush hvm", Transition::Flush(Kind::Hvm)),
];

/// Zen 3 whose faulting does not work.
fn masked_milan() -> Platform {
    let mut raw = Leaves::new();
    raw.set(0, 0, Regs::new(0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65)).unwrap();
    raw.set(1, 0, Regs::new(0x00a0_0f11, 0, 0, 0)).unwrap();
    Platform { visibility: Visibility::of(&raw, LevellingCapabilities::expected(&raw), |_| 0), ..milan() }
}

/// A CPU with two vCPUs, of which the first is in its guest and out again.
fn stage(platform: Platform, kinds: [Kind; 2], are_alike: Likeness) -> Stage {
    let has_xfd = platform.has_xfd;
    let mut stage = Stage::with_own(platform, |own| own.pl0_ssp = Some(0xFFFF_82D0_0000_0FF8));
    let numbers = [(1, 0), (2, if are_alike == Likeness::Alike { 0 } else { 1 })];
    let vcpus = [0, 1].map(|at| stage.add(kinds[at], numbers[at].0, numbers[at].1));
    match are_alike {
        Likeness::Alike => {
            for vcpu in vcpus {
                stage.xsetbv(vcpu, 0x7);
                stage.vcpus[vcpu].registers = selfsame_switch::Registers::RESET;
                let xss = Xss::new(stage.platform.xss.bits(), stage.platform.xss.components()).unwrap();
                stage.vcpus[vcpu].extended.set_xss(GuestXss::Own(xss));
            }
        }
        Likeness::Different => differ(&mut stage, vcpus, has_xfd),
    }
    stage
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Likeness {
    Alike,
    Different,
}

/// Makes two vCPUs that have nothing in common.
fn differ(stage: &mut Stage, vcpus: [usize; 2], has_xfd: bool) {
    for (at, vcpu) in vcpus.into_iter().enumerate() {
        let far = u64::try_from(at).unwrap() + 1;
        // Each has had what the other has, and neither has it now: both masks need more than either XCR0.
        stage.xsetbv(vcpu, 0x207);
        stage.xsetbv(vcpu, if at == 0 { 0x3 } else { 0x7 });
        let xss = Xss::new([0, 0x800][at], ComponentSet::from_bits(0x1800)).unwrap();
        stage.vcpus[vcpu].extended.set_xss(GuestXss::Own(xss));
        if has_xfd && stage.vcpus[vcpu].kind() == Kind::Hvm {
            let tiles = ComponentSet::from_bits(1 << 18);
            stage.give_xfd(vcpu, GuestXfd { xfd: tiles, xfd_err: tiles, ..GuestXfd::new(false) });
        }
        let the_vcpu = &mut stage.vcpus[vcpu];
        the_vcpu.guest_cr4 = 0;
        the_vcpu.has_task_switched = true;
        the_vcpu.ldt_descriptors = u16::try_from(far).unwrap();
        the_vcpu.shown = Shown { is_faulting: at == 0, masks: [far; 4] };
        for segment in Segment::ALL {
            the_vcpu.selectors.set(segment, Selector::new(0x2B + u16::try_from(at).unwrap() * 8));
        }
        let debug = DebugState {
            addresses: [far, far + 8, far + 16, far + 24],
            masks: [u32::try_from(far).unwrap(); 4],
            dr6: 0xFFFF_0FF0 | far,
            dr7: DR7_RESET | 0x55,
        };
        stage.change(vcpu, |the_vcpu| the_vcpu.with_debug(debug));
    }
}

/// What a transition does to a CPU.
fn operations(platform: Platform, transition: Transition, likeness: Likeness) -> Vec<Operation> {
    let (from, to) = match transition {
        Transition::Resume(kind) | Transition::Flush(kind) => (kind, kind),
        Transition::Switch(from, to) => (from, to),
    };
    let mut stage = stage(platform, [from, to], likeness);
    let (a, b) = (0, 1);
    if likeness == Likeness::Alike {
        stage.run(0, b);
    } else {
        // It has not been here, but the CPU has saved it before.
        stage.run(1, b);
        stage.flush(1, b);
    }
    stage.run(0, a);
    match transition {
        Transition::Resume(_) => stage.run(0, a),
        Transition::Switch(..) => stage.run(0, b),
        Transition::Flush(_) => stage.flush(0, a),
    }
}

fn cell(least: usize, most: usize) -> String {
    match (least, most) {
        (0, 0) => "·".to_owned(),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least}–{most}"),
    }
}

fn writes(platform: Platform) -> String {
    let runs = TRANSITIONS.map(|(_, transition)| {
        [Likeness::Alike, Likeness::Different].map(|likeness| operations(platform, transition, likeness))
    });
    let mut out = format!("| | {} |\n", TRANSITIONS.map(|(name, _)| name).join(" | "));
    let _ = writeln!(out, "|---|{}", "--:|".repeat(TRANSITIONS.len()));
    let mut row = |name: &str, is: &dyn Fn(&Operation) -> bool| {
        let _ = write!(out, "| {name} |");
        for [alike, different] in &runs {
            let _ = write!(out, " {} |", cell(stage::count(alike, is), stage::count(different, is)));
        }
        out.push('\n');
    };
    for state in &STATES {
        row(state.name, &state.is);
    }
    for register in &REGISTERS {
        row(register.name, &|operation| is_write_of(operation, Msr::Switched(register.register)));
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
        let _ = writeln!(out, "| {} | {} |", state.name, state.why);
    }
    out + "| registers of the table | the shadow has the wanted value |\n"
}

#[test]
fn docs_switch_md_is_what_the_code_does() {
    let mut text = fs::read_to_string(FILE).unwrap();
    let found = text.clone();
    let blocks = [
        ("registers", registers()),
        ("vmx", writes(sapphire_rapids())),
        ("svm", writes(masked_milan())),
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

#[test]
fn every_write_of_every_transition_has_a_row() {
    for platform in [sapphire_rapids(), masked_milan()] {
        for (name, transition) in TRANSITIONS {
            for likeness in [Likeness::Alike, Likeness::Different] {
                for operation in operations(platform, transition, likeness) {
                    let is_register =
                        Register::ALL.into_iter().any(|register| is_write_of(&operation, Msr::Switched(register)));
                    let is_of_ldtr = matches!(operation, Operation::LdtDescriptor(..));
                    let rows = STATES.iter().filter(|state| (state.is)(&operation)).count();
                    let has_row = rows == 1 || is_register || is_of_ldtr || !operation.is_write();
                    assert!(has_row, "{operation:?} of {name}");
                }
            }
        }
    }
}

#[test]
fn the_bounds_hold_in_every_transition() {
    for platform in [sapphire_rapids(), masked_milan()] {
        for (name, transition) in TRANSITIONS {
            for likeness in [Likeness::Alike, Likeness::Different] {
                let done = operations(platform, transition, likeness);
                let of = |is: fn(&Operation) -> bool| stage::count(&done, is);
                assert!(of(|operation| matches!(operation, Operation::Xsetbv(_))) <= 2, "{name}");
                assert!(of(|operation| is_write_of(operation, Msr::Xss)) <= 2, "{name}");
                assert!(of(|operation| matches!(operation, Operation::Rdmsr(_))) <= 2, "{name}: a run with XFD");
                if matches!(transition, Transition::Resume(_)) && likeness == Likeness::Alike {
                    assert_eq!(done.iter().filter(|operation| operation.is_write()).count(), 0, "{name}");
                }
                let is_pv_to_pv = matches!(transition, Transition::Switch(Kind::Pv64, Kind::Pv64));
                if is_pv_to_pv && likeness == Likeness::Alike {
                    assert_eq!(of(|operation| matches!(operation, Operation::Lgdt(_) | Operation::L1(..))), 0);
                    assert_eq!(
                        of(|operation| {
                            matches!(operation, Operation::Wrmsr(write) if matches!(write.msr(), Msr::CpuidMask(_)))
                        }),
                        0
                    );
                }
            }
        }
    }
}
