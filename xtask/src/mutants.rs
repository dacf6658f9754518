//! Mutants of the context switch: each takes one protection away, and the machine's tests have to notice.
//!
//! The packages of the workspace are copied to the target folder, where one row of [`MUTANTS`] after the other is applied.
//! A mutant *dies* if a test fails or hangs; one that survives shows a protection that no test is about.

mod copy;
mod table;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anstyle::Style;
use thiserror::Error;

use self::copy::copy_packages;
use self::table::MUTANTS;
use crate::report::{RED, duration_text};
use crate::workspace::Workspace;

/// The tests of the machine that are about the plans, fast ones first: most mutants are dead after the first.
///
/// What is over in no time is not optimised: to compile it is all the work.
const TESTS: [Test; 6] = [
    Test { name: "advisories", optimisation: "0" },
    Test { name: "moves", optimisation: "0" },
    Test { name: "runs", optimisation: "0" },
    Test { name: "descriptors", optimisation: "0" },
    Test { name: "exhaustive", optimisation: "1" },
    Test { name: "random", optimisation: "1" },
];
/// A test hangs that takes so many times as long as all of them took without a mutant, and longer than [`LEAST_LIMIT`].
const HANGS_AFTER: u32 = 3;
/// What a busy machine may make of a test that takes seconds.
const LEAST_LIMIT: Duration = Duration::from_secs(300);

/// A file of tests.
#[derive(Clone, Copy)]
struct Test {
    name: &'static str,
    /// The `opt-level` that it is compiled with, and what it tests.
    optimisation: &'static str,
}

/// One change of one line.
#[derive(Debug)]
pub(crate) struct Mutant {
    /// What goes missing.
    name: &'static str,
    /// The file, in `crates/switch/src`.
    file: &'static str,
    /// A text that the file has once.
    text: &'static str,
    /// What is put in its place.
    replacement: &'static str,
}

/// Why not all mutants died.
#[derive(Debug, Error)]
pub(crate) enum MutantsError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{file} has the text of the mutant \"{name}\" {count} times instead of once: {text}")]
    NotOnce { name: &'static str, file: &'static str, text: &'static str, count: usize },
    #[error("{} cannot be started: {source}", program.display())]
    NotStarted { program: PathBuf, source: io::Error },
    #[error("{what} does not compile; `{command}` shows why")]
    NotCompiled { what: &'static str, command: String },
    #[error("the tests fail without any mutant: {0}")]
    Unmutated(String),
    #[error("{} of {} mutants survive: {}", .0.len(), MUTANTS.len(), .0.join(", "))]
    Survivors(Vec<&'static str>),
}

/// How the tests ended.
#[derive(Debug, PartialEq)]
enum End {
    Passed,
    Failed { test: String },
    Hung,
}

/// Applies every mutant in turn and tells whether all die.
///
/// # Errors
/// When one survives, its row does not fit the code, or the tests fail without any.
pub(crate) fn run(workspace: &Workspace) -> Result<(), MutantsError> {
    let mut copy = Copy::make(workspace)?;
    let start = Instant::now();
    match copy.judge("the code without mutants")? {
        End::Passed => show("[ 0] none", "nothing fails", start),
        End::Failed { test } => return Err(MutantsError::Unmutated(test)),
        End::Hung => return Err(MutantsError::Unmutated("one hangs".to_owned())),
    }
    copy.limit = (start.elapsed() * HANGS_AFTER).max(LEAST_LIMIT);
    let mut survivors = Vec::new();
    for (number, mutant) in (1..).zip(MUTANTS) {
        let start = Instant::now();
        let verdict = match copy.end_of(mutant)? {
            End::Passed => {
                survivors.push(mutant.name);
                format!("{RED}survives{RED:#}")
            }
            End::Failed { test } => format!("dies by {test}"),
            End::Hung => "dies: a test hangs".to_owned(),
        };
        show(&format!("[{number:2}/{}] {}", MUTANTS.len(), mutant.name), &verdict, start);
    }
    if survivors.is_empty() { Ok(()) } else { Err(MutantsError::Survivors(survivors)) }
}

fn show(what: &str, verdict: &str, start: Instant) {
    let dimmed = Style::new().dimmed();
    anstream::println!("{what}: {verdict} {dimmed}{}{dimmed:#}", duration_text(start.elapsed()));
}

/// The workspace's packages, copied so that they can be changed.
struct Copy<'w> {
    workspace: &'w Workspace,
    root: PathBuf,
    /// How long a test may take.
    limit: Duration,
}

impl<'w> Copy<'w> {
    fn make(workspace: &'w Workspace) -> Result<Self, MutantsError> {
        let root = workspace.target_dir().join("mutants");
        copy_packages(workspace.root(), &root).map_err(|(path, source)| MutantsError::File { path, source })?;
        Ok(Self { workspace, root, limit: Duration::MAX })
    }

    /// Applies a mutant, runs the tests, and puts the file back.
    fn end_of(&self, mutant: &Mutant) -> Result<End, MutantsError> {
        let path = self.root.join("crates/switch/src").join(mutant.file);
        let file_error = |source| MutantsError::File { path: path.clone(), source };
        let original = fs::read_to_string(&path).map_err(file_error)?;
        fs::write(&path, mutant.apply(&original)?).map_err(file_error)?;
        let end = self.judge(mutant.name);
        fs::write(&path, original).map_err(file_error)?;
        end
    }

    /// Builds and runs one of [`TESTS`] after the other, up to the first failure.
    fn judge(&self, what: &'static str) -> Result<End, MutantsError> {
        for test in TESTS {
            let end = self.run_bounded(&self.build(what, test)?)?;
            if end != End::Passed {
                return Ok(end);
            }
        }
        Ok(End::Passed)
    }

    /// Builds a test and returns its program.
    fn build(&self, what: &'static str, test: Test) -> Result<PathBuf, MutantsError> {
        let cargo = self.workspace.cargo();
        let args = ["test", "--offline", "--package", "selfsame-machine", "--no-run", "--test", test.name];
        let mut command = Command::new(cargo);
        command.args(args).current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.join("target"));
        // Nobody debugs these, and linking is most of the work.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_OPT_LEVEL", test.optimisation);
        let output = command.output().map_err(|source| MutantsError::NotStarted { program: cargo.into(), source })?;
        let log = String::from_utf8_lossy(&output.stderr);
        match program(&log) {
            Some(program) if output.status.success() => Ok(self.root.join(program)),
            _ => {
                let command = format!("cd {} && cargo {}", self.root.display(), args.join(" "));
                Err(MutantsError::NotCompiled { what, command })
            }
        }
    }

    /// Runs a test program until one of its tests fails, and for no longer than the limit.
    fn run_bounded(&self, program: &Path) -> Result<End, MutantsError> {
        let log = self.root.join("tests.log");
        let output = File::create(&log).map_err(|source| MutantsError::File { path: log.clone(), source })?;
        let not_started = |source| MutantsError::NotStarted { program: program.to_owned(), source };
        let mut command = Command::new(program);
        command.current_dir(self.root.join("crates/machine")).stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
        let mut child = command.spawn().map_err(not_started)?;
        let start = Instant::now();
        let end = loop {
            let status = child.try_wait().map_err(not_started)?;
            if let Some(test) = fs::read_to_string(&log).ok().and_then(|log| failed_test(&log)) {
                break End::Failed { test };
            }
            match status {
                Some(status) if status.success() => break End::Passed,
                Some(_) => break End::Failed { test: program.display().to_string() },
                None if start.elapsed() > self.limit => break End::Hung,
                None => thread::sleep(Duration::from_millis(50)),
            }
        };
        // What is over cannot be killed, and need not be.
        _ = child.kill();
        child.wait().map_err(not_started)?;
        Ok(end)
    }
}

impl Mutant {
    /// Changes the text of its file.
    fn apply(&self, original: &str) -> Result<String, MutantsError> {
        let Self { name, file, text, replacement } = *self;
        let count = original.matches(text).count();
        if count == 1 {
            Ok(original.replace(text, replacement))
        } else {
            Err(MutantsError::NotOnce { name, file, text, count })
        }
    }
}

/// The program that cargo says it has built.
fn program(log: &str) -> Option<&str> {
    log.lines().find_map(|line| line.trim_start().strip_prefix("Executable ")?.split_once('(')?.1.strip_suffix(')'))
}

/// The name of the first test that failed, from what the tests print.
fn failed_test(log: &str) -> Option<String> {
    let line = log.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    line.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_mutant_has_a_name_of_its_own_and_changes_something() {
        let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
        assert!(MUTANTS.iter().all(|mutant| mutant.text != mutant.replacement));
    }

    /// A row whose text is gone is about nothing: whoever changes the line changes the row.
    #[test]
    fn every_mutant_finds_its_text_once() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/switch/src");
        for mutant in MUTANTS {
            let original = fs::read_to_string(source.join(mutant.file)).unwrap();
            mutant.apply(&original).unwrap();
        }
    }

    #[test]
    fn the_program_is_read_from_what_cargo_prints() {
        let log = "    Finished `test` profile\n  Executable tests/a.rs (target/debug/deps/a-1)\n";
        assert_eq!(program(log), Some("target/debug/deps/a-1"));
        assert_eq!(program("error: could not compile"), None);
    }

    #[test]
    fn the_failed_test_is_named() {
        let log = "running 2 tests\ntest a_claim ... ok\ntest another ... FAILED\n";
        assert_eq!(failed_test(log).as_deref(), Some("another"));
        assert_eq!(failed_test("error: no tests"), None);
    }
}
