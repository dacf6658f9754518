//! The `selfsame` command: what CPU a virtual machine can be given on every host of a pool, and why.
#![forbid(unsafe_code)]

mod args;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod capture;
mod capture_command;
mod check;
mod cpus;
mod diff;
mod document;
mod explain;
mod export;
mod finding;
mod found;
mod host;
mod json;
mod level;
mod level_page;
mod losses;
mod named;
mod names;
mod output_file;
mod peers;
mod policy;
mod problem;
mod progress;
mod reference_cpu;
mod shell;
mod show;
mod sources;
mod switch_cost;
mod terminal;
mod why;
mod words;
mod xstate;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, SwitchCommand};
use problem::Problem;
use xstate::XstateCommand;

/// How a command ended that could be carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// Done, or accepted.
    Done,
    /// Refused.
    Refused,
}

impl Verdict {
    const fn of(is_accepted: bool) -> Self {
        if is_accepted { Self::Done } else { Self::Refused }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.command) {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Refused) => ExitCode::from(1),
        Err(problem) => {
            terminal::complain(&problem.to_string());
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> Result<Verdict, Problem> {
    match command {
        Command::Show(arguments) => show::run(arguments),
        Command::Level(arguments) => level::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Policy(arguments) => policy::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Capture(arguments) => capture_command::run(arguments),
        Command::Switch(arguments) => match &arguments.command {
            SwitchCommand::Cost(arguments) => switch_cost::run(arguments),
        },
        Command::Xstate(arguments) => match &arguments.command {
            XstateCommand::Show(arguments) => xstate::show(arguments),
            XstateCommand::Convert(arguments) => xstate::convert(arguments),
            XstateCommand::Check(arguments) => xstate::check(arguments),
        },
        Command::Completions(arguments) => shell::completions(arguments.shell),
        Command::Man(arguments) => shell::man(arguments.command.as_deref()),
    }
}
