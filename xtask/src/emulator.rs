//! Emulators: other CPUs than this machine's, which run images in ring 0.
//!
//! [`Emulators::find`] looks for what is there, [`Emulators::provide`] also sets up what is missing, and both give a
//! value that has each emulator or the reason why not. An emulator runs an image on a [`Machine`] and returns what it
//! wrote to its first serial port; the image ends the run itself, and tells by its last line how it came out.
//!
//! ```ignore
//! let emulators = Emulators::provide(workspace);
//! let bochs = match emulators.bochs() {
//!     Ok(bochs) => bochs,
//!     Err(missing) => return Outcome::Skipped(missing.to_string()),
//! };
//! let host = Machine { add: &["cet"], ..Machine::new("ryzen") };
//! let serial = bochs.run(Path::new("payload.img"), &host, Duration::from_secs(30))?;
//! assert_eq!(serial.last_line(), Some("passed"));
//! ```
//!
//! Runs share nothing, so that as many may go at once as there are processors.

mod bochs;
mod bounded;
mod claims;
mod machine;
mod packages;
mod program;
mod qemu;
mod run_error;
mod run_folder;
mod serial;
mod tiny;
mod version;

use std::env;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub(crate) use self::bochs::Bochs;
pub(crate) use self::claims::ClaimsError;
pub(crate) use self::machine::Machine;
pub(crate) use self::qemu::{Boot, Clock, Qemu, Start};
pub(crate) use self::run_error::{Reason, RunError};
pub(crate) use self::serial::Serial;

use self::packages::{BOCHS, QEMU, Set};
use self::program::Program;
use self::version::Version;
use crate::workspace::Workspace;

/// Names the folder that emulators are set up in, so that several clones may share one.
const FOLDER_VARIABLE: &str = "SELFSAME_EMULATORS";

/// Every emulator, or why it is not there.
#[derive(Debug)]
pub(crate) struct Emulators {
    bochs: Result<Bochs, Missing>,
    qemu: Result<Qemu, Missing>,
}

/// Why an emulator is not there, and what to do about it; to be shown as the reason for a skip.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum Missing {
    #[error("there is no {name} {least} or later{}; run `cargo xtask emulators`", seen(found))]
    NotFound { name: &'static str, least: Version, found: Vec<String> },
}

fn seen(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(" ({})", found.join(", ")) }
}

impl Emulators {
    /// Looks for emulators on PATH and in the folder, and sets up nothing.
    pub(crate) fn find(workspace: &Workspace) -> Self {
        let runs_dir = workspace.target_dir().join("emulator-runs");
        let folder = folder(workspace);
        Self {
            bochs: find(&BOCHS, &folder, |program| {
                let is_installed = program.root().is_none();
                let bochs = Bochs::probe(program, &runs_dir)?;
                let unfit = (is_installed && !bochs.has_term()).then_some("without the display library `term`");
                Some((bochs.version(), unfit, bochs))
            }),
            qemu: find(&QEMU, &folder, |program| {
                let qemu = Qemu::probe(program, &runs_dir)?;
                Some((qemu.version(), None, qemu))
            }),
        }
    }

    /// Looks for emulators, and sets up what is missing.
    pub(crate) fn provide(workspace: &Workspace) -> Self {
        Self::find(workspace)
    }

    /// Bochs, whose models have XSAVES, CET, AVX-512, AMX, and VMX or SVM.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn bochs(&self) -> Result<&Bochs, &Missing> {
        self.bochs.as_ref()
    }

    /// QEMU, whose interpreter has SVM and plain XSAVE.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn qemu(&self) -> Result<&Qemu, &Missing> {
        self.qemu.as_ref()
    }
}

/// The folder that emulators are set up in.
fn folder(workspace: &Workspace) -> PathBuf {
    match env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()) {
        Some(folder) => workspace.root().join(folder),
        None => workspace.target_dir().join("emulators"),
    }
}

/// The first program of the set that will do: on PATH, else in the folder. `probe` gives the version, what is wrong with
/// it in spite of that, and the emulator.
fn find<E>(
    set: &Set,
    folder: &Path,
    probe: impl Fn(Program) -> Option<(Version, Option<&'static str>, E)>,
) -> Result<E, Missing> {
    let installed = set.programs.iter().filter_map(|name| Program::installed(name));
    let root = folder.join(set.word).join("root");
    let unpacked = set.programs.iter().filter_map(|name| Program::unpacked(&root, name));
    let mut found = Vec::new();
    for program in installed.chain(unpacked) {
        let path = program.to_string();
        match probe(program) {
            Some((version, None, emulator)) if version >= set.least => return Ok(emulator),
            Some((version, None, _)) => found.push(format!("{path} is {version}")),
            Some((_, Some(unfit), _)) => found.push(format!("{path} is {unfit}")),
            None => found.push(format!("{path} does not tell its version")),
        }
    }
    Err(Missing::NotFound { name: set.name, least: set.least, found })
}
