//! The steps of `cargo xtask test`, as one table.

use thiserror::Error;

use crate::command::{CommandError, Invocation};
use crate::component::{Component, ComponentError};
use crate::link_check::{self, LinkCheckError};
use crate::mutants::{self, MutantsError};
use crate::workspace::Workspace;

/// One step.
pub(crate) struct Step {
    /// The word for `--only` and for the report.
    pub(crate) word: &'static str,
    /// What holds when the step passes.
    pub(crate) claim: &'static str,
    work: Work,
}

enum Work {
    Cargo(CargoStep),
    LinkCheck,
    Mutants,
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
    Mutants(#[from] MutantsError),
}

const NO_EXTRAS: CargoStep = CargoStep { args: &[], tail: &[], env: &[], lock: Lock::Kept, component: None };

/// Every step, cheapest first.
pub(crate) const STEPS: &[Step] = &[
    Step {
        word: "fmt",
        claim: "every file is formatted",
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
        work: Work::Cargo(CargoStep {
            args: &["clippy", "--workspace", "--all-targets"],
            tail: &["-D", "warnings"],
            component: Some(Component { name: "clippy", subcommand: "clippy" }),
            ..NO_EXTRAS
        }),
    },
    Step {
        word: "doc",
        claim: "the documentation builds without a warning",
        work: Work::Cargo(CargoStep {
            args: &["doc", "--workspace", "--no-deps"],
            env: &[("RUSTDOCFLAGS", "-D warnings")],
            ..NO_EXTRAS
        }),
    },
    Step {
        word: "test",
        claim: "every test passes, with overflow checks and debug assertions",
        work: Work::Cargo(CargoStep { args: &["test", "--workspace", "--no-fail-fast"], ..NO_EXTRAS }),
    },
    Step {
        word: "test-release",
        claim: "every test passes as optimised for users",
        work: Work::Cargo(CargoStep { args: &["test", "--workspace", "--no-fail-fast", "--release"], ..NO_EXTRAS }),
    },
    Step { word: "link-check", claim: "the pure crates need no std", work: Work::LinkCheck },
];

/// The step of the tier of mutants.
pub(crate) static MUTANTS: Step =
    Step { word: "mutants", claim: "no protection of the context switch can go unnoticed", work: Work::Mutants };

impl Step {
    /// Runs the step; what it does is shown on this terminal.
    ///
    /// # Errors
    /// When its claim does not hold, or something it needs is missing.
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<(), StepError> {
        match &self.work {
            Work::Cargo(step) => step.run(workspace),
            Work::LinkCheck => Ok(link_check::run(workspace)?),
            Work::Mutants => Ok(mutants::run(workspace)?),
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
