//! What builds fuzzers: a nightly compiler, a C++ compiler for libFuzzer itself, and cargo-fuzz.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use thiserror::Error;

use crate::command::{CommandError, Invocation};
use crate::workspace::{Workspace, is_offline};

/// The version that is installed where there is none.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// What is missing, and what to do about it.
#[derive(Debug, Error)]
pub(crate) enum MissingTool {
    #[error("there is no nightly compiler; run `rustup toolchain install nightly`")]
    Nightly,
    #[error("there is no C++ compiler, of which libFuzzer is built; install g++ or clang++ as c++")]
    Compiler,
    #[error("there is no cargo-fuzz, and CARGO_NET_OFFLINE is set; run `cargo install cargo-fuzz` once without it")]
    Offline,
    #[error("there is no cargo-fuzz, and it cannot be installed: {0}")]
    NotInstalled(#[from] CommandError),
}

/// The tools.
pub(crate) struct Tools {
    nightly: Nightly,
    cargo_fuzz: OsString,
    /// What the nightly compiler builds for.
    pub(crate) host: String,
}

/// Where a nightly compiler is.
#[derive(Clone, Copy)]
enum Nightly {
    /// The compiler that this program was built with.
    Own,
    /// rustup has it beside others.
    OfRustup,
}

impl Tools {
    /// Finds the tools; installs cargo-fuzz below `folder` when it is neither on PATH nor there.
    ///
    /// # Errors
    /// When one is missing.
    pub(crate) fn provide(workspace: &Workspace, folder: &Path) -> Result<Self, MissingTool> {
        let (nightly, host) = Nightly::find(workspace).ok_or(MissingTool::Nightly)?;
        if !Invocation::new(workspace, "c++").arg("--version").succeeds_quietly() {
            return Err(MissingTool::Compiler);
        }
        let own = folder.join("bin/cargo-fuzz").into_os_string();
        let found = [OsString::from("cargo-fuzz"), own.clone()];
        let is_there = |program: &&OsString| nightly.invocation(workspace, program).arg("--version").succeeds_quietly();
        if let Some(cargo_fuzz) = found.iter().find(is_there) {
            return Ok(Self { nightly, cargo_fuzz: cargo_fuzz.clone(), host });
        }
        if is_offline() {
            return Err(MissingTool::Offline);
        }
        let args = ["install", "cargo-fuzz", "--version", CARGO_FUZZ_VERSION, "--locked", "--root"];
        Invocation::cargo(workspace).args(args).arg(folder).run(&[])?;
        Ok(Self { nightly, cargo_fuzz: own, host })
    }

    /// The command `cargo fuzz` of the nightly compiler.
    pub(crate) fn cargo_fuzz(&self, workspace: &Workspace) -> Invocation {
        self.nightly.invocation(workspace, &self.cargo_fuzz)
    }
}

impl Nightly {
    /// Finds a nightly compiler, and what it builds for.
    fn find(workspace: &Workspace) -> Option<(Self, String)> {
        let own = answer(Command::new(workspace.cargo()).arg("--version").arg("--verbose"));
        let of_rustup = || answer(Command::new("rustup").args(["run", "nightly", "cargo", "--version", "--verbose"]));
        let host = |answer: &str| answer.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned));
        match own {
            Some(own) if own.contains("nightly") => Some((Self::Own, host(&own)?)),
            _ => Some((Self::OfRustup, host(&of_rustup()?)?)),
        }
    }

    /// A program that calls cargo and the compiler, with the nightly ones.
    fn invocation(self, workspace: &Workspace, program: &OsStr) -> Invocation {
        match self {
            Self::Own => Invocation::new(workspace, program),
            // `cargo run` has named its own cargo in the environment.
            Self::OfRustup => {
                Invocation::new(workspace, "rustup").args(["run", "nightly"]).arg(program).without_variable("CARGO")
            }
        }
    }
}

/// What a command writes, if it succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
