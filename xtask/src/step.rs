//! The steps of `cargo xtask test`, as one table.

use std::cell::OnceCell;

use selfsame_fuzz::TARGETS;
use thiserror::Error;

use crate::bare;
use crate::base::{self, BaseError};
use crate::boot::{self, BootError, Vehicle};
use crate::capture_models::{self, CaptureModelsError, Payload};
use crate::command::{CommandError, Invocation};
use crate::component::{Component, ComponentError};
use crate::emulator::{ClaimsError, Emulators, Missing, Tools};
use crate::fuzz::{Budget, FuzzError, Fuzzers, MissingTool};
use crate::link_check::{self, LinkCheckError};
use crate::mutants::{self, MutantsError};
use crate::oracle::{self, OracleError};
use crate::tier::Tier;
use crate::workspace::Workspace;

/// One step.
pub(crate) struct Step {
    /// The word for `--only` and for the report.
    pub(crate) word: &'static str,
    /// What holds when the step passes.
    pub(crate) claim: &'static str,
    /// The tier that has to be asked for; without one, the step is part of every run.
    pub(crate) tier: Option<Tier>,
    work: Work,
}

enum Work {
    Cargo(CargoStep),
    LinkCheck,
    Fuzz,
    Mutants,
    Emulators(fn(&Workspace, &Emulators) -> Result<(), NotPassed>),
    Tools(fn(&Workspace, &Tools) -> Result<(), NotPassed>),
}

/// What steps work with. Emulators are set up when the first step wants them.
pub(crate) struct Surroundings<'a> {
    workspace: &'a Workspace,
    emulators: OnceCell<Emulators>,
    tools: OnceCell<Tools>,
}

struct CargoStep {
    /// Subcommand and options.
    args: &'static [&'static str],
    /// What comes after `--`.
    tail: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    lock: Lock,
    component: Option<Component>,
}

/// What a subcommand does with Cargo.lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// It reads it, and may not change it.
    Kept,
    /// It does not look at it, and knows no `--locked`.
    Unread,
}

/// Why a step did not pass.
#[derive(Debug)]
pub(crate) enum NotPassed {
    /// It could not run here, because of this.
    Skipped(String),
    Failed(StepError),
}

/// Why a step failed.
#[derive(Debug, Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error(transparent)]
    LinkCheck(#[from] LinkCheckError),
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    #[error(transparent)]
    CaptureModels(#[from] CaptureModelsError),
    #[error(transparent)]
    Fuzz(#[from] FuzzError),
    #[error(transparent)]
    Mutants(#[from] MutantsError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error(transparent)]
    Oracle(#[from] OracleError),
}

impl<E: Into<StepError>> From<E> for NotPassed {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<&Missing> for NotPassed {
    fn from(missing: &Missing) -> Self {
        Self::Skipped(missing.to_string())
    }
}

impl From<MissingTool> for NotPassed {
    fn from(missing: MissingTool) -> Self {
        Self::Skipped(missing.to_string())
    }
}

impl<'a> Surroundings<'a> {
    /// The workspace and nothing else yet.
    pub(crate) fn new(workspace: &'a Workspace) -> Self {
        Self { workspace, emulators: OnceCell::new(), tools: OnceCell::new() }
    }

    fn emulators(&self) -> &Emulators {
        self.emulators.get_or_init(|| Emulators::provide(self.workspace))
    }

    fn tools(&self) -> &Tools {
        self.tools.get_or_init(|| Tools::new(self.workspace))
    }
}

const NO_EXTRAS: CargoStep = CargoStep { args: &[], tail: &[], env: &[], lock: Lock::Kept, component: None };

/// Every step, cheapest first.
pub(crate) const STEPS: &[Step] = &[
    Step {
        word: "fmt",
        claim: "every file is formatted",
        tier: None,
        work: Work::Cargo(CargoStep {
            args: &["fmt", "--all", "--check"],
            lock: Lock::Unread,
            component: Some(Component { name: "rustfmt", subcommand: "fmt" }),
            ..NO_EXTRAS
        }),
    },
    Step {
        word: "clippy",
        claim: "no target has a warning",
        tier: None,
        work: Work::Cargo(CargoStep {
            args: &["clippy", "--workspace", "--all-targets"],
            tail: &["-D", "warnings"],
            component: Some(Component { name: "clippy", subcommand: "clippy" }),
            ..NO_EXTRAS
        }),
    },
    Step {
        word: "clippy-bare",
        claim: "no program for bare metal has a warning, as it is built for that",
        tier: None,
        work: Work::Cargo(CargoStep {
            args: &["clippy", "--package", bare::PACKAGE, "--target", bare::TARGET, "--profile", bare::PROFILE],
            tail: &["-D", "warnings"],
            env: bare::ENV,
            component: Some(Component { name: "clippy", subcommand: "clippy" }),
            ..NO_EXTRAS
        }),
    },
    Step {
        word: "doc",
        claim: "the documentation builds without a warning",
        tier: None,
        work: Work::Cargo(CargoStep {
            args: &["doc", "--workspace", "--no-deps"],
            env: &[("RUSTDOCFLAGS", "-D warnings")],
            ..NO_EXTRAS
        }),
    },
    Step {
        word: "test",
        claim: "every test passes, with overflow checks and debug assertions",
        tier: None,
        work: Work::Cargo(CargoStep { args: &["test", "--workspace", "--no-fail-fast"], ..NO_EXTRAS }),
    },
    Step {
        word: "test-release",
        claim: "what has no std, and what has unsafe code, passes its tests as optimised for users",
        tier: None,
        // What optimising can break: arithmetic that wraps instead of panicking, and promises to the compiler. The other
        // packages have neither, and building their tests twice takes as long as all else together.
        work: Work::Cargo(CargoStep {
            args: &[
                "test",
                "--no-fail-fast",
                "--release",
                "--package=selfsame-xstate",
                "--package=selfsame-cpuid",
                "--package=selfsame-switch",
                "--package=selfsame-machine",
                "--package=selfsame-x86",
                "--package=selfsame-kvm",
            ],
            ..NO_EXTRAS
        }),
    },
    Step { word: "link-check", claim: "the pure crates need no std", tier: None, work: Work::LinkCheck },
    Step {
        word: "bochs",
        claim: "Bochs runs images on its models, and refuses or ends what does not run",
        tier: Some(Tier::Emulators),
        work: Work::Emulators(|_, emulators| Ok(emulators.bochs()?.check_claims()?)),
    },
    Step {
        word: "qemu",
        claim: "QEMU runs images, and refuses or ends what does not run",
        tier: Some(Tier::Emulators),
        work: Work::Emulators(|_, emulators| Ok(emulators.qemu()?.check_claims()?)),
    },
    Step {
        word: "base-bochs",
        claim: "the base of bare-metal programs keeps its promises on Bochs",
        tier: Some(Tier::Emulators),
        work: Work::Emulators(|workspace, emulators| Ok(base::on_bochs(workspace, emulators.bochs()?)?)),
    },
    Step {
        word: "base-qemu",
        claim: "the base of bare-metal programs keeps its promises on QEMU",
        tier: Some(Tier::Emulators),
        work: Work::Emulators(|workspace, emulators| Ok(base::on_qemu(workspace, emulators.qemu()?)?)),
    },
    Step {
        word: "captures",
        claim: "the captures of CPU models in fixtures/ are what the payload prints, each time",
        tier: Some(Tier::Emulators),
        work: Work::Emulators(|workspace, emulators| {
            let (bochs, folder) = (emulators.bochs()?, capture_models::fixtures(workspace));
            if let Some(other) = capture_models::other_emulator(bochs, &folder) {
                let here = bochs.word();
                let why =
                    format!("they were made on {other}, and here is {here}; `cargo xtask capture-models` makes them");
                return Err(NotPassed::Skipped(why));
            }
            Ok(capture_models::compare(&Payload::build(workspace)?, bochs, &folder)?)
        }),
    },
    Step {
        word: "levelling-qemu",
        claim: "on QEMU, which swallows writes to MSRs, the payload finds no levelling hardware",
        tier: Some(Tier::Emulators),
        work: Work::Emulators(|workspace, emulators| {
            let qemu = emulators.qemu()?;
            Ok(Payload::build(workspace)?.finds_no_levelling(qemu)?)
        }),
    },
    Step {
        word: "boot-bochs",
        claim: "the reference hypervisor runs every scenario on Bochs: its guests find their own state",
        tier: Some(Tier::Emulators),
        work: Work::Emulators(|workspace, emulators| {
            emulators.bochs()?;
            Ok(boot::on(workspace, emulators, Vehicle::Bochs)?)
        }),
    },
    Step {
        word: "boot-qemu",
        claim: "the reference hypervisor runs its scenarios on QEMU: its guests find their own state",
        tier: Some(Tier::Emulators),
        work: Work::Emulators(|workspace, emulators| {
            emulators.qemu()?;
            Ok(boot::on(workspace, emulators, Vehicle::Qemu)?)
        }),
    },
    Step {
        word: "fuzz",
        claim: "every parser takes whatever libFuzzer thinks up in a minute",
        tier: Some(Tier::Fuzz),
        work: Work::Fuzz,
    },
    Step {
        word: "tool-qemu",
        claim: "QEMU means by a `-cpu` of ours what we mean, for random pools of the corpus, and starts with it",
        tier: Some(Tier::Tools),
        work: Work::Tools(|workspace, tools| oracle::ask_qemu(workspace, tools.qemu()?)),
    },
    Step {
        word: "tool-libvirt",
        claim: "libvirt's schema accepts each `<cpu>` of ours, and libvirt knows every name in it",
        tier: Some(Tier::Tools),
        work: Work::Tools(|workspace, tools| oracle::ask_libvirt(workspace, tools.virsh()?)),
    },
    Step {
        word: "tool-xen",
        claim: "Xen reads each `cpuid` line of ours, and its domains have what a policy of ours says",
        tier: Some(Tier::Tools),
        work: Work::Tools(|workspace, tools| {
            tools.qemu()?;
            oracle::ask_xen(workspace, tools.xen()?)
        }),
    },
    Step {
        word: "mutants",
        claim: "no protection of the context switch can go unnoticed",
        tier: Some(Tier::Mutants),
        work: Work::Mutants,
    },
];

impl Step {
    /// Runs the step; what it does is shown on this terminal.
    ///
    /// # Errors
    /// When its claim does not hold, or something it needs is missing.
    pub(crate) fn run(&self, surroundings: &Surroundings<'_>) -> Result<(), NotPassed> {
        match &self.work {
            Work::Cargo(step) => Ok(step.run(surroundings.workspace)?),
            Work::LinkCheck => Ok(link_check::run(surroundings.workspace)?),
            Work::Fuzz => Ok(Fuzzers::provide(surroundings.workspace)?.run(&TARGETS, Budget::Seconds(60))?),
            Work::Mutants => Ok(mutants::run(surroundings.workspace)?),
            Work::Emulators(run) => run(surroundings.workspace, surroundings.emulators()),
            Work::Tools(run) => run(surroundings.workspace, surroundings.tools()),
        }
    }
}

impl CargoStep {
    fn run(&self, workspace: &Workspace) -> Result<(), StepError> {
        if let Some(component) = &self.component {
            component.provide(workspace)?;
        }
        let args = self.arguments(workspace.has_lock_file());
        Ok(Invocation::cargo(workspace).args(args).run(self.env)?)
    }

    fn arguments(&self, has_lock_file: bool) -> Vec<&'static str> {
        let mut args = self.args.to_vec();
        if self.lock == Lock::Kept && has_lock_file {
            args.push("--locked");
        }
        if !self.tail.is_empty() {
            args.push("--");
            args.extend(self.tail);
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn arguments(word: &str, has_lock_file: bool) -> String {
        let step = STEPS.iter().find(|step| step.word == word).unwrap();
        let Work::Cargo(cargo) = &step.work else { panic!("{word} is not a cargo step") };
        cargo.arguments(has_lock_file).join(" ")
    }

    #[test]
    fn every_step_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = STEPS.iter().map(|step| step.word).collect();
        assert_eq!(words.len(), STEPS.len());
    }

    #[test]
    fn locked_goes_before_the_tail() {
        assert_eq!(arguments("clippy", true), "clippy --workspace --all-targets --locked -- -D warnings");
    }

    #[test]
    fn without_a_lock_file_nothing_is_locked() {
        assert_eq!(arguments("test", false), "test --workspace --no-fail-fast");
    }

    #[test]
    fn fmt_is_never_locked() {
        assert_eq!(arguments("fmt", true), "fmt --all --check");
    }
}
