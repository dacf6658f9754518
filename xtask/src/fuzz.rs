//! Fuzzers: each target of `selfsame-fuzz` under libFuzzer, one after another.
//!
//! All that they need and make lies in the folder `fuzz` of the target folder: the tool, the binaries, the inputs found so
//! far, from which the next run begins, and the inputs that broke something.

mod one;
mod tools;

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anstyle::Style;
use selfsame_fuzz::Target;
use thiserror::Error;

pub(crate) use self::one::{Budget, Run};
pub(crate) use self::tools::MissingTool;

use self::tools::Tools;
use crate::command::CommandError;
use crate::report::RED;
use crate::workspace::Workspace;

/// The package of the binaries, outside of the workspace.
const PACKAGE: &str = "fuzz/libfuzzer";

/// Why fuzzing failed.
#[derive(Debug, Error)]
pub(crate) enum FuzzError {
    #[error(transparent)]
    Build(#[from] CommandError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} cannot be started: {source}", program.display())]
    NotStarted { program: PathBuf, source: io::Error },
    #[error("broken: {}; what they say is above", .0.join(", "))]
    Broken(Vec<String>),
}

/// What is needed to fuzz.
pub(crate) struct Fuzzers<'w> {
    workspace: &'w Workspace,
    tools: Tools,
    folder: PathBuf,
}

impl<'w> Fuzzers<'w> {
    /// Finds the nightly compiler and cargo-fuzz, which is installed privately when it is not on PATH.
    ///
    /// # Errors
    /// When one is missing.
    pub(crate) fn provide(workspace: &'w Workspace) -> Result<Self, MissingTool> {
        let folder = workspace.target_dir().join("fuzz");
        let tools = Tools::provide(workspace, &folder.join("tools"))?;
        Ok(Self { workspace, tools, folder })
    }

    /// Builds all targets and runs some, each with the same budget, also after one has broken; then shows how much was run.
    ///
    /// # Errors
    /// When they do not build or run, or a target breaks.
    pub(crate) fn run(&self, targets: &[&'static Target], budget: Budget) -> Result<(), FuzzError> {
        let binaries = self.folder.join("build");
        // What has no unsafe code needs no sanitizer; checks of overflow and assertions are on. Tracing comparisons finds
        // nothing more here, where seeds and words are given, and takes two thirds of the time.
        let args = ["build", "--fuzz-dir", PACKAGE, "--sanitizer", "none", "--no-trace-compares", "--target-dir"];
        self.tools.cargo_fuzz(self.workspace).args(args).arg(&binaries).run(&[])?;
        let binaries = binaries.join(&self.tools.host).join("release");

        let mut runs = Vec::new();
        let mut broken = Vec::new();
        for target in targets {
            let run = Run::of(target, &binaries, &self.folder, budget)?;
            if let Some(input) = &run.broken_by {
                let shown = |path: &Path| self.workspace.as_seen_from_root(path).display().to_string();
                let (name, program, input) = (target.name, shown(&binaries.join(target.name)), shown(input));
                anstream::println!("{}\n{RED}{name} breaks{RED:#}; again by `{program} {input}`", run.last_words);
                broken.push(format!("{name} by {input}"));
            }
            runs.push(run);
        }
        anstream::print!("\n{}", table(&runs));
        if broken.is_empty() { Ok(()) } else { Err(FuzzError::Broken(broken)) }
    }
}

/// What was run, for people.
fn table(runs: &[Run]) -> String {
    let bold = Style::new().bold();
    let mut table = format!("{bold}{:<18} {:>12} {:>10} {:>7}{bold:#}\n", "target", "executions", "a second", "inputs");
    for run in runs {
        let Run { name, executions, inputs, .. } = run;
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{name:<18} {executions:>12} {:>10} {inputs:>7}", run.executions_a_second());
    }
    table
}

fn create_folder(path: &Path) -> Result<(), FuzzError> {
    fs::create_dir_all(path).map_err(|source| FuzzError::File { path: path.to_owned(), source })
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FuzzError> {
    fs::write(path, bytes).map_err(|source| FuzzError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_table_tells_of_each_target_how_much_was_run() {
        let run = Run {
            name: "qmp",
            executions: 1_000_000,
            inputs: 321,
            took: Duration::from_secs(50),
            broken_by: None,
            last_words: String::new(),
        };
        let text = anstream::adapter::strip_str(&table(&[run])).to_string();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows,
            [vec!["target", "executions", "a", "second", "inputs"], vec!["qmp", "1000000", "20000", "321"]]
        );
    }
}
