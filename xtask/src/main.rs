//! The developer's tasks of this workspace, run as `cargo xtask`.
//!
//! `cargo xtask test` runs every step of [`step::STEPS`] and says at the end what passed, what failed and what was not
//! run and why. A step is one row of that table.

mod command;
mod component;
mod link_check;
mod mutants;
mod report;
mod step;
mod tier;
mod workspace;

use std::process::ExitCode;
use std::time::Instant;

use anstyle::Style;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::report::{Entry, Outcome, RED, Report, duration_text};
use crate::step::{STEPS, Step};
use crate::tier::Tier;
use crate::workspace::Workspace;

/// The developer's tasks of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every test of the workspace: format, lints, documentation, tests, and the proof that pure crates need no std
    Test(TestArgs),
}

#[derive(Args)]
struct TestArgs {
    /// Also runs the tests that need an emulator
    #[arg(long)]
    emulators: bool,
    /// Also runs the fuzzers for a short while
    #[arg(long)]
    fuzz: bool,
    /// Also runs the tests against other projects' tools
    #[arg(long)]
    tools: bool,
    /// Also takes every protection of the context switch away, one by one, and looks whether a test notices
    #[arg(long)]
    mutants: bool,
    /// Runs only this step; may be given more than once
    #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(STEPS.iter().map(|step| step.word)))]
    only: Vec<String>,
}

impl TestArgs {
    fn is_asked_for(&self, tier: Tier) -> bool {
        match tier {
            Tier::Emulators => self.emulators,
            Tier::Fuzz => self.fuzz,
            Tier::Tools => self.tools,
            Tier::Mutants => self.mutants,
        }
    }

    fn is_left_out(&self, step: &Step) -> bool {
        !self.only.is_empty() && !self.only.iter().any(|word| word == step.word)
    }
}

fn main() -> ExitCode {
    let Cli { task: Task::Test(args) } = Cli::parse();
    let workspace = match Workspace::discover() {
        Ok(workspace) => workspace,
        Err(error) => {
            anstream::eprintln!("{RED}error{RED:#}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = test(&workspace, &args);
    anstream::print!("\n{report}");
    if report.has_failure() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs every step that `args` asks for, also after one has failed, so that one run shows all there is to mend.
fn test(workspace: &Workspace, args: &TestArgs) -> Report {
    let mut report = Report::new();
    for step in STEPS {
        if args.is_left_out(step) {
            report.add(Entry { word: step.word, outcome: Outcome::NotRun("left out by --only".to_owned()) });
        } else {
            report.add(Entry { word: step.word, outcome: run_step(workspace, step) });
        }
    }
    for tier in Tier::ALL {
        let outcome = match tier.step() {
            _ if !args.is_asked_for(tier) => Outcome::NotRun(format!("ask with --{}", tier.word())),
            Ok(step) => run_step(workspace, step),
            Err(reason) => Outcome::Skipped(reason.to_owned()),
        };
        report.add(Entry { word: tier.word(), outcome });
    }
    report
}

fn run_step(workspace: &Workspace, step: &Step) -> Outcome {
    let bold = Style::new().bold();
    anstream::println!("\n{bold}== {}: {}{bold:#}", step.word, step.claim);
    let start = Instant::now();
    let result = step.run(workspace);
    let took = start.elapsed();
    let outcome = match result {
        Ok(()) => Outcome::Passed(took),
        Err(error) => {
            anstream::println!("{RED}error{RED:#}: {error}");
            Outcome::Failed(took)
        }
    };
    anstream::println!("{bold}== {}: {} in {}{bold:#}", step.word, outcome.word(), duration_text(took));
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parsed(words: &[&str]) -> TestArgs {
        let Task::Test(args) = Cli::try_parse_from(["xtask", "test"].iter().chain(words)).unwrap().task;
        args
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_arguments_print_help() {
        let error = Cli::try_parse_from(["xtask"]).err().unwrap();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    }

    #[test]
    fn without_only_every_step_runs() {
        let args = parsed(&[]);
        assert!(STEPS.iter().all(|step| !args.is_left_out(step)));
    }

    #[test]
    fn only_leaves_out_every_other_step() {
        let args = parsed(&["--only", "fmt", "--only", "doc"]);
        let run: Vec<&str> = STEPS.iter().filter(|step| !args.is_left_out(step)).map(|step| step.word).collect();
        assert_eq!(run, ["fmt", "doc"]);
    }

    #[test]
    fn an_unknown_step_is_refused() {
        assert!(Cli::try_parse_from(["xtask", "test", "--only", "nonsense"]).is_err());
    }

    #[test]
    fn every_tier_is_asked_for_by_its_own_word() {
        for tier in Tier::ALL {
            let flag = format!("--{}", tier.word());
            let args = parsed(&[&flag]);
            for other in Tier::ALL {
                assert_eq!(args.is_asked_for(other), other == tier, "{flag}");
            }
        }
    }
}
