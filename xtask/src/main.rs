//! The developer's tasks of this workspace, run as `cargo xtask`.
//!
//! `cargo xtask test` runs every step of [`step::STEPS`] and says at the end what passed, what failed and what was not
//! run and why. A step is one row of that table.
//!
//! `cargo xtask emulators` sets up what runs other CPUs than this machine's; see [`emulator`].

mod bare;
mod base;
mod boot;
mod capture_models;
mod command;
mod component;
mod emulator;
mod fuzz;
mod image;
mod link_check;
mod mutants;
mod oracle;
mod phase;
mod report;
mod step;
mod tier;
mod workspace;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anstyle::Style;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use selfsame_fuzz::{TARGETS, Target};

use crate::boot::{CpuWords, SCENARIOS};
use crate::capture_models::{CaptureModelsError, Payload, ROWS, Row};
use crate::emulator::{Emulators, Tools};
use crate::fuzz::{Budget, Fuzzers};
use crate::report::{Entry, Outcome, RED, Report, YELLOW, duration_text};
use crate::step::{NotPassed, STEPS, Step, Surroundings};
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
    /// Sets up Bochs and QEMU, without root and into a folder of their own, and shows what there is
    ///
    /// What is on PATH and new enough is used as it is. Otherwise Debian packages are unpacked below the target folder,
    /// or in the folder that SELFSAME_EMULATORS names, which several clones may share. They come from the mirror of
    /// this machine's apt, or from the one that SELFSAME_DEBIAN_MIRROR names. The status is 1 when one is missing.
    Emulators,
    /// Boots the reference hypervisor in an emulator, and shows what its guests and its counters say
    Boot(BootArgs),
    /// Boots the capture payload on CPU models of Bochs, and writes what it captures
    CaptureModels(CaptureModelsArgs),
    /// Runs a shell script on Xen: in the dom0 of a Xen that QEMU boots, as root, with `xl` and `xen-cpuid`
    ///
    /// The script comes on standard input, and what it says goes to standard output. QEMU and Xen are set up as
    /// emulators are.
    Xen,
    /// Fuzzes the parsers with libFuzzer, each for a minute
    ///
    /// It needs a nightly compiler beside this one. cargo-fuzz is installed below the target folder when it is not on
    /// PATH. What a run finds of new inputs is kept there, too, and the next run begins from it.
    Fuzz(FuzzArgs),
}

#[derive(Args)]
struct FuzzArgs {
    /// Fuzzes only this target; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(TARGETS.iter().map(|target| target.name)))]
    target: Vec<String>,
    /// How long to run each target
    #[arg(long, value_name = "N", default_value_t = 60, conflicts_with = "executions")]
    seconds: u64,
    /// How many inputs to give to each target, however long that takes
    #[arg(long, value_name = "N")]
    executions: Option<u64>,
}

impl FuzzArgs {
    fn targets(&self) -> Vec<&'static Target> {
        let is_asked_for =
            |target: &&Target| self.target.is_empty() || self.target.iter().any(|name| name == target.name);
        TARGETS.into_iter().filter(is_asked_for).collect()
    }

    fn budget(&self) -> Budget {
        self.executions.map_or(Budget::Seconds(self.seconds), Budget::Executions)
    }
}

#[derive(Args)]
struct CaptureModelsArgs {
    /// Only these captures; without any, all
    #[arg(value_name = "CAPTURE", value_parser = PossibleValuesParser::new(ROWS.iter().map(|row| row.name)))]
    names: Vec<String>,
    /// The folder to write into, each capture in the folder of its pool; by default this workspace's fixtures
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

#[derive(Args)]
struct BootArgs {
    /// The CPU: a model of Bochs with features, or qemu:MODEL; without, each scenario's own
    #[arg(long, value_name = "MODEL[,+FEATURE,-FEATURE]")]
    cpu: Option<CpuWords>,
    /// Only this scenario; without, all, or with --cpu two guests
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(SCENARIOS.iter().map(|row| row.name)))]
    scenario: Option<String>,
}

#[derive(Args)]
struct TestArgs {
    /// Also runs the tests that need an emulator
    #[arg(long)]
    emulators: bool,
    /// Also runs the fuzzers, each for a minute
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

    /// Why the step is not run, if it is not: what `--only` names is asked for, whatever its tier.
    fn why_not(&self, step: &Step) -> Option<String> {
        let is_named = self.only.iter().any(|word| word == step.word);
        match step.tier {
            _ if is_named => None,
            _ if !self.only.is_empty() => Some("left out by --only".to_owned()),
            Some(tier) if !self.is_asked_for(tier) => Some(how_to_ask(tier)),
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    let Cli { task } = Cli::parse();
    let workspace = match Workspace::discover() {
        Ok(workspace) => workspace,
        Err(error) => {
            anstream::eprintln!("{RED}error{RED:#}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let has_succeeded = match task {
        Task::Test(args) => {
            let report = test(&workspace, &args);
            anstream::print!("\n{report}");
            !report.has_failure()
        }
        Task::Emulators => emulators(&workspace),
        Task::Boot(args) => {
            let emulators = Emulators::provide(&workspace);
            match boot::boot(&workspace, &emulators, args.scenario.as_deref(), args.cpu.as_ref()) {
                Ok(()) => true,
                Err(error) => {
                    anstream::eprintln!("{RED}error{RED:#}: {error}");
                    false
                }
            }
        }
        Task::CaptureModels(args) => match capture_models(&workspace, &args) {
            Ok(()) => true,
            Err(error) => {
                anstream::eprintln!("{RED}error{RED:#}: {error}");
                false
            }
        },
        Task::Xen => match xen(&workspace) {
            Ok(()) => true,
            Err(error) => {
                anstream::eprintln!("{RED}error{RED:#}: {error}");
                false
            }
        },
        Task::Fuzz(args) => match fuzz(&workspace, &args) {
            Ok(()) => true,
            Err(error) => {
                anstream::eprintln!("{RED}error{RED:#}: {error}");
                false
            }
        },
    };
    if has_succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every step that `args` asks for, also after one has failed, so that one run shows all there is to mend.
fn test(workspace: &Workspace, args: &TestArgs) -> Report {
    let surroundings = Surroundings::new(workspace);
    let mut report = Report::new();
    for step in STEPS {
        let outcome = match args.why_not(step) {
            Some(why) => Outcome::NotRun(why),
            None => run_step(&surroundings, step),
        };
        report.add(Entry { word: step.word, outcome });
    }
    report
}

/// Sets up the emulators and shows what there is; returns whether all are there.
fn emulators(workspace: &Workspace) -> bool {
    let emulators = Emulators::provide(workspace);
    match emulators.bochs() {
        Ok(bochs) => anstream::println!("{bochs}, {} CPU models\n  {}", bochs.models().len(), bochs.program()),
        Err(missing) => anstream::println!("{YELLOW}Bochs: skipped{YELLOW:#}, because {missing}"),
    }
    match emulators.qemu() {
        Ok(qemu) => anstream::println!("{qemu}\n  {}", qemu.program()),
        Err(missing) => anstream::println!("{YELLOW}QEMU: skipped{YELLOW:#}, because {missing}"),
    }
    emulators.bochs().is_ok() && emulators.qemu().is_ok()
}

/// Captures the models that `args` asks for.
fn capture_models(workspace: &Workspace, args: &CaptureModelsArgs) -> Result<(), String> {
    let rows: Vec<&Row> =
        ROWS.iter().filter(|row| args.names.is_empty() || args.names.iter().any(|name| name == row.name)).collect();
    let emulators = Emulators::provide(workspace);
    let bochs = emulators.bochs().map_err(ToString::to_string)?;
    let told = |error: CaptureModelsError| error.to_string();
    let payload = Payload::build(workspace).map_err(told)?;
    let folder = args.into.clone().unwrap_or_else(|| capture_models::fixtures(workspace));
    capture_models::write(&payload, bochs, &rows, &folder).map_err(told)
}

/// Runs the script of standard input on Xen.
fn xen(workspace: &Workspace) -> Result<(), String> {
    let script = io::read_to_string(io::stdin()).map_err(|error| format!("standard input: {error}"))?;
    let tools = Tools::new(workspace);
    let (qemu, xen) = (tools.qemu().map_err(ToString::to_string)?, tools.xen().map_err(ToString::to_string)?);
    let answers = xen.run(qemu, &script).map_err(|error| error.to_string())?;
    io::stdout().write_all(&answers).map_err(|error| format!("standard output: {error}"))
}

/// Fuzzes the targets that `args` asks for.
fn fuzz(workspace: &Workspace, args: &FuzzArgs) -> Result<(), String> {
    let fuzzers = Fuzzers::provide(workspace).map_err(|missing| missing.to_string())?;
    fuzzers.run(&args.targets(), args.budget()).map_err(|error| error.to_string())
}

fn how_to_ask(tier: Tier) -> String {
    format!("ask with --{}", tier.word())
}

fn run_step(surroundings: &Surroundings<'_>, step: &Step) -> Outcome {
    let bold = Style::new().bold();
    anstream::println!("\n{bold}== {}: {}{bold:#}", step.word, step.claim);
    let start = Instant::now();
    let result = step.run(surroundings);
    let took = start.elapsed();
    let outcome = match result {
        Ok(()) => Outcome::Passed(took),
        Err(NotPassed::Skipped(why)) => Outcome::Skipped(why),
        Err(NotPassed::Failed(error)) => {
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
        let task = Cli::try_parse_from(["xtask", "test"].iter().chain(words)).unwrap().task;
        let Task::Test(args) = task else { panic!("another task") };
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

    fn run(words: &[&str]) -> Vec<&'static str> {
        let args = parsed(words);
        STEPS.iter().filter(|step| args.why_not(step).is_none()).map(|step| step.word).collect()
    }

    #[test]
    fn without_arguments_every_step_outside_the_tiers_runs() {
        let steps: Vec<&str> = STEPS.iter().filter(|step| step.tier.is_none()).map(|step| step.word).collect();
        assert_eq!(run(&[]), steps);
    }

    #[test]
    fn every_tier_together_runs_every_step() {
        let steps: Vec<&str> = STEPS.iter().map(|step| step.word).collect();
        let flags = Tier::ALL.map(|tier| format!("--{}", tier.word()));
        assert_eq!(run(&flags.each_ref().map(String::as_str)), steps);
    }

    #[test]
    fn only_leaves_out_every_other_step() {
        assert_eq!(run(&["--only", "fmt", "--only", "doc", "--emulators"]), ["fmt", "doc"]);
    }

    #[test]
    fn only_reaches_into_a_tier() {
        assert_eq!(run(&["--only", "bochs"]), ["bochs"]);
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
