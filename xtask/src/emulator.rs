//! Emulators: other CPUs than this machine's, which run images in ring 0.
//!
//! [`Emulators::provide`] looks for what is there, sets up what is missing, and gives a value that has each emulator or
//! the reason why not. An emulator runs an image on a [`Machine`] and returns what it wrote to its first serial port;
//! the image ends the run itself, and tells by its last line how it came out.
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
//!
//! What is on PATH and new enough is used. Otherwise Debian packages are unpacked below the target folder, or in the
//! folder that `SELFSAME_EMULATORS` names; nothing else of the system is touched. `SELFSAME_DEBIAN_MIRROR` names
//! another mirror than the one of this machine's apt, and with `CARGO_NET_OFFLINE` nothing is fetched. The packages are
//! rows of a table, `emulator/packages.rs`.

mod apt;
mod bochs;
mod bounded;
mod claims;
mod cpio;
mod install;
mod machine;
mod packages;
mod program;
mod qemu;
mod run_error;
mod run_folder;
mod serial;
mod tiny;
mod version;
mod virsh;
mod xen;

use std::cell::OnceCell;
use std::env;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub(crate) use self::bochs::Bochs;
pub(crate) use self::claims::ClaimsError;
pub(crate) use self::machine::Machine;
pub(crate) use self::qemu::{Boot, Clock, Qemu, Start};
pub(crate) use self::run_error::{Reason, RunError};
pub(crate) use self::serial::Serial;
pub(crate) use self::virsh::Virsh;
pub(crate) use self::xen::Xen;

use self::install::{InstallError, Installer};
use self::packages::Set;
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

/// Other projects' tools that say what a text of ours means to them, or why they are not there. Each is looked for, and
/// set up, when it is first asked for.
#[derive(Debug)]
pub(crate) struct Tools {
    place: Place,
    qemu: OnceCell<Result<Qemu, Missing>>,
    virsh: OnceCell<Result<Virsh, Missing>>,
    xen: OnceCell<Result<Xen, Missing>>,
}

/// Why an emulator is not there, and what to do about it; to be shown as the reason for a skip.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum Missing {
    #[error("there is no {name} {least} or later{}; run `cargo xtask emulators`", seen(found))]
    NotFound { name: &'static str, least: Version, found: Vec<String> },
    #[error("there is no {name} {least} or later{}, and it cannot be set up: {source}", seen(found))]
    NotSetUp { name: &'static str, least: Version, found: Vec<String>, source: InstallError },
}

fn seen(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(" ({})", found.join(", ")) }
}

/// A program that runs images, as it is found and set up.
trait Emulator: Sized {
    /// Its packages.
    const SET: Set;

    /// Asks the program what it is; nothing when it does not answer as this emulator does.
    fn probe(program: Program, runs_dir: &Path) -> Option<Self>;

    /// Its version.
    fn version(&self) -> Version;

    /// What it lacks that runs need, whatever its version.
    fn lack(&self) -> Option<&'static str>;
}

impl Emulators {
    /// Looks for emulators on PATH and in the folder, and sets up what is missing, which takes half a minute and a
    /// network.
    pub(crate) fn provide(workspace: &Workspace) -> Self {
        let place = Place::of(workspace);
        let mut installer = None;
        let emulators = Self { bochs: place.provide(&mut installer), qemu: place.provide(&mut installer) };
        if let (Some(installer), Ok(_), Ok(_)) = (installer, &emulators.bochs, &emulators.qemu) {
            installer.tidy();
        }
        emulators
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

impl Tools {
    /// The folder of the emulators, in which nothing is looked for yet.
    pub(crate) fn new(workspace: &Workspace) -> Self {
        let (qemu, virsh, xen) = Default::default();
        Self { place: Place::of(workspace), qemu, virsh, xen }
    }

    /// QEMU, which expands a `-cpu` and runs Xen.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn qemu(&self) -> Result<&Qemu, &Missing> {
        self.qemu.get_or_init(|| self.place.provide_alone()).as_ref()
    }

    /// virsh, which knows libvirt's schema and its names.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn virsh(&self) -> Result<&Virsh, &Missing> {
        self.virsh.get_or_init(|| self.place.provide_alone()).as_ref()
    }

    /// Xen with its `xl`, which QEMU runs.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn xen(&self) -> Result<&Xen, &Missing> {
        self.xen.get_or_init(|| self.place.provide_alone()).as_ref()
    }
}

/// Where emulators are set up, and where they run.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    runs_dir: PathBuf,
}

impl Place {
    fn of(workspace: &Workspace) -> Self {
        let folder = match env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()) {
            Some(folder) => workspace.root().join(folder),
            None => workspace.target_dir().join("emulators"),
        };
        Self { folder, runs_dir: workspace.target_dir().join("emulator-runs") }
    }

    /// The first program that will do: on PATH, else in the folder.
    fn find<E: Emulator>(&self) -> Result<E, Missing> {
        let names = E::SET.programs.iter();
        let installed = names.clone().filter_map(|name| Program::installed(name));
        let root = self.folder.join(E::SET.word);
        let unpacked = names.filter_map(|name| Program::unpacked(&root, name));
        let mut found = Vec::new();
        for program in installed.chain(unpacked) {
            let path = program.to_string();
            match self.probe(program) {
                Ok(emulator) => return Ok(emulator),
                Err(why) => found.push(format!("{path} {why}")),
            }
        }
        Err(Missing::NotFound { name: E::SET.name, least: E::SET.least, found })
    }

    /// The emulator that the program is, or why it will not do.
    fn probe<E: Emulator>(&self, program: Program) -> Result<E, String> {
        let emulator = E::probe(program, &self.runs_dir).ok_or("does not tell its version")?;
        match emulator.lack() {
            _ if emulator.version() < E::SET.least => Err(format!("is {}", emulator.version())),
            Some(lack) => Err(format!("lacks {lack}")),
            None => Ok(emulator),
        }
    }

    /// The same as [`find`](Self::find), and sets it up when there is none.
    fn provide<E: Emulator>(&self, installer: &mut Option<Installer>) -> Result<E, Missing> {
        let (name, least, found) = match self.find() {
            Err(Missing::NotFound { name, least, found }) => (name, least, found),
            result => return result,
        };
        match self.set_up::<E>(installer) {
            Ok(()) => self.find(),
            Err(source) => Err(Missing::NotSetUp { name, least, found, source }),
        }
    }

    /// The same as [`provide`](Self::provide) for one alone, with nothing left behind of the way.
    fn provide_alone<E: Emulator>(&self) -> Result<E, Missing> {
        let mut installer = None;
        let result = self.provide(&mut installer);
        if let (Some(installer), Ok(_)) = (installer, &result) {
            installer.tidy();
        }
        result
    }

    fn set_up<E: Emulator>(&self, installer: &mut Option<Installer>) -> Result<(), InstallError> {
        let installer = match installer {
            Some(installer) => installer,
            None => installer.insert(Installer::begin(&self.folder)?),
        };
        // Another call may have set it up while this one waited for the folder.
        if self.find::<E>().is_ok() {
            return Ok(());
        }
        let program = |root: &Path| E::SET.programs.iter().find_map(|name| Program::unpacked(root, name));
        installer.set_up(&E::SET, |root| program(root).is_some_and(|program| self.probe::<E>(program).is_ok()))
    }
}
