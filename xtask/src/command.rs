//! A command: shown as a line that can be repeated by hand, then run with its output on this terminal.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Command, ExitStatus, Stdio};

use anstyle::Style;
use thiserror::Error;

use crate::workspace::Workspace;

/// A program with its arguments, to be run at the root of the workspace.
pub(crate) struct Invocation {
    /// What the user would type, which for cargo is not the path of the binary.
    name: String,
    command: Command,
}

/// Why a command did not succeed.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("`{name}` cannot be started: {source}; install it, or put it on PATH")]
    NotStarted { name: String, source: io::Error },
    #[error("`{line}` failed ({status}); its output is above")]
    Failed { line: String, status: ExitStatus },
}

impl Invocation {
    /// A program, by its path or found on PATH.
    pub(crate) fn new(workspace: &Workspace, program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        Self::with_program(workspace, &program.to_string_lossy(), program)
    }

    /// The cargo that started this program.
    pub(crate) fn cargo(workspace: &Workspace) -> Self {
        let mut cargo = Self::with_program(workspace, "cargo", workspace.cargo());
        if std::env::var_os("CARGO_TARGET_DIR").is_some_and(|dir| !dir.is_empty()) {
            cargo.command.env("CARGO_TARGET_DIR", workspace.target_dir());
        }
        cargo
    }

    fn with_program(workspace: &Workspace, name: &str, program: &OsStr) -> Self {
        let mut command = Command::new(program);
        command.current_dir(workspace.root());
        Self { name: name.to_owned(), command }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Takes a variable out of the environment, one that a user's shell has not either.
    pub(crate) fn without_variable(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Shows the command with `env` before its name, and runs it; its output goes straight to this terminal.
    ///
    /// # Errors
    /// When the program cannot be started, or ends with another status than success.
    pub(crate) fn run(mut self, env: &[(&str, &str)]) -> Result<(), CommandError> {
        let line = line(env, &self.name, self.command.get_args());
        let dimmed = Style::new().dimmed();
        anstream::println!("{dimmed}$ {line}{dimmed:#}");
        self.command.envs(env.iter().copied());
        let status =
            self.command.status().map_err(|source| CommandError::NotStarted { name: self.name.clone(), source })?;
        if status.success() { Ok(()) } else { Err(CommandError::Failed { line, status }) }
    }

    /// Runs the command without showing anything, and returns whether it succeeded.
    pub(crate) fn succeeds_quietly(mut self) -> bool {
        let status = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

fn line<'a>(env: &[(&str, &str)], name: &str, args: impl Iterator<Item = &'a OsStr>) -> String {
    let mut words: Vec<String> = env.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    words.push(quoted(name));
    words.extend(args.map(|arg| quoted(&OsString::from(arg).to_string_lossy())));
    words.join(" ")
}

/// The word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn shell(script: &str) -> Invocation {
        Invocation::new(&Workspace::at(Path::new("/")), "sh").args(["-c", script])
    }

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let args = ["doc", "--no-deps", "it's", "", "$HOME"].map(OsStr::new);
        assert_eq!(
            line(&[("RUSTDOCFLAGS", "-D warnings")], "cargo", args.into_iter()),
            r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'it'\''s' '' '$HOME'"
        );
    }

    #[test]
    fn another_status_than_success_is_an_error_with_the_line() {
        let error = shell("exit 3").run(&[]).unwrap_err().to_string();
        assert!(error.contains("sh -c 'exit 3'") && error.contains('3'), "{error}");
    }

    #[test]
    fn the_environment_reaches_the_program() {
        assert!(shell("test \"$CLAIM\" = held").run(&[("CLAIM", "held")]).is_ok());
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let workspace = Workspace::at(Path::new("/"));
        let error = Invocation::new(&workspace, "no-such-program-here").run(&[]).unwrap_err().to_string();
        assert!(error.contains("`no-such-program-here` cannot be started"), "{error}");
    }
}
