//! Other projects' tools as oracles of what this one writes for them.

use std::env;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::command::{CommandError, Invocation};
use crate::emulator::{Qemu, Virsh, Xen};
use crate::step::NotPassed;
use crate::workspace::Workspace;

/// Names the folder with the dumps that pools are made of; without it, the one beside the workspace.
const SHARED_VARIABLE: &str = "SELFSAME_SHARED";

/// Why an oracle could not be asked, or disagrees.
#[derive(Debug, Error)]
pub(crate) enum OracleError {
    #[error("a script that runs the tool cannot be written: {0}")]
    Script(#[from] std::io::Error),
    #[error("the path of {} is no UTF-8", .0.display())]
    Path(PathBuf),
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Asks QEMU what it makes of lines for random pools.
///
/// # Errors
/// When a line means something else to it, it does not start with one, or there is no corpus.
pub(crate) fn ask_qemu(workspace: &Workspace, qemu: &Qemu) -> Result<(), NotPassed> {
    anstream::println!("{qemu}\n  {}", qemu.program());
    let script = qemu.script().map_err(OracleError::Script)?;
    ask(workspace, "SELFSAME_QEMU", &script, "qemu_oracle", "qemu")
}

/// Asks libvirt what it makes of definitions for random pools.
///
/// # Errors
/// When its schema refuses one, a name in one is unknown to it, or there is no corpus.
pub(crate) fn ask_libvirt(workspace: &Workspace, virsh: &Virsh) -> Result<(), NotPassed> {
    anstream::println!("{virsh}");
    let script = virsh.script(workspace.target_dir()).map_err(OracleError::Script)?;
    ask(workspace, "SELFSAME_VIRSH", &script, "qemu_oracle", "libvirt")
}

/// Asks Xen what it makes of lines for random pools, and of policies of its own host.
///
/// # Errors
/// When it cannot read a line, a domain has another policy than the line is for, or there is no corpus.
pub(crate) fn ask_xen(workspace: &Workspace, xen: &Xen) -> Result<(), NotPassed> {
    anstream::println!("{xen}");
    let script = xen.script(workspace).map_err(OracleError::Script)?;
    ask(workspace, "SELFSAME_XEN", &script, "xen_oracle", "xen")
}

fn ask(workspace: &Workspace, variable: &str, script: &Path, target: &str, tests: &str) -> Result<(), NotPassed> {
    let shared = env::var_os(SHARED_VARIABLE).map_or_else(|| workspace.root().join("../shared"), PathBuf::from);
    let corpus = shared.join("corpus");
    if !corpus.is_dir() {
        return Err(NotPassed::Skipped(format!("there is no {}", corpus.display())));
    }
    let script = script.to_str().ok_or_else(|| OracleError::Path(script.to_owned()))?;
    let arguments = ["test", "--package", "selfsame-formats", "--test", target, "--", tests];
    Ok(Invocation::cargo(workspace).args(arguments).run(&[(variable, script)]).map_err(OracleError::Command)?)
}
