//! The parts of the toolchain that a step needs and that a toolchain may lack.

use thiserror::Error;

use crate::command::{CommandError, Invocation};
use crate::workspace::{Workspace, is_offline};

/// A part of the toolchain with the cargo subcommand it brings.
pub(crate) struct Component {
    /// The name that rustup knows.
    pub(crate) name: &'static str,
    /// The word after `cargo`.
    pub(crate) subcommand: &'static str,
}

/// Why a component is not there.
#[derive(Debug, Error)]
pub(crate) enum ComponentError {
    #[error("`{0}` is missing; run `rustup component add {0}`, or install it with the toolchain")]
    Missing(&'static str),
    #[error("`{name}` is missing, and adding it failed: {source}; install it with the toolchain")]
    NotAdded { name: &'static str, source: CommandError },
}

impl Component {
    /// Makes sure the component is there: adds it with rustup when it is missing and the network may be used.
    ///
    /// # Errors
    /// When it is missing and cannot be added.
    pub(crate) fn provide(&self, workspace: &Workspace) -> Result<(), ComponentError> {
        if self.is_there(workspace) {
            return Ok(());
        }
        let has_rustup = Invocation::new(workspace, "rustup").arg("--version").succeeds_quietly();
        if is_offline() || !has_rustup {
            return Err(ComponentError::Missing(self.name));
        }
        Invocation::new(workspace, "rustup")
            .args(["component", "add", self.name])
            .run(&[])
            .map_err(|source| ComponentError::NotAdded { name: self.name, source })?;
        if self.is_there(workspace) { Ok(()) } else { Err(ComponentError::Missing(self.name)) }
    }

    fn is_there(&self, workspace: &Workspace) -> bool {
        Invocation::cargo(workspace).args([self.subcommand, "--version"]).succeeds_quietly()
    }
}
