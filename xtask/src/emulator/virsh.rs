//! virsh, with the libvirt that it brings: its test driver needs no daemon.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::bounded::answer;
use super::packages::Set;
use super::program::{Program, script_word};
use super::version::Version;
use super::{Emulator, packages};

/// The oldest libvirt whose names were measured.
pub(crate) const LEAST: Version = Version { major: 9, minor: 0 };

/// A virsh that can be asked.
#[derive(Debug)]
pub(crate) struct Virsh {
    program: Program,
    version: Version,
    runs_dir: PathBuf,
}

impl Emulator for Virsh {
    const SET: Set = packages::LIBVIRT;

    fn probe(program: Program, runs_dir: &Path) -> Option<Self> {
        let mut command = program.command();
        command.arg("--version");
        let version = Version::after(answer(command)?.trim(), "")?;
        Some(Self { program, version, runs_dir: runs_dir.to_owned() })
    }

    fn version(&self) -> Version {
        self.version
    }

    fn lack(&self) -> Option<&'static str> {
        None
    }
}

impl fmt::Display for Virsh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virsh {}, {}", self.version, self.program)
    }
}

impl Virsh {
    /// Writes a script that runs it as it is. It sees the files below `files`, and of other files only its own.
    ///
    /// libvirt looks for its models and its schema where it is installed and nowhere else: unpacked packages are made the
    /// root of the file system, in a namespace that ends with the program.
    ///
    /// # Errors
    /// When the script cannot be written.
    pub(crate) fn script(&self, files: &Path) -> io::Result<PathBuf> {
        let text = match self.program.root() {
            None => self.program.script(&[]),
            Some(root) => {
                let (root, files) = (script_word(root), script_word(files));
                format!(
                    "#!/bin/sh\n\
                     set -e\n\
                     mkdir -p {root}{files}\n\
                     exec unshare --map-root-user --mount sh -c '\n\
                     root=$1 files=$2; shift 2\n\
                     mount --bind \"$files\" \"$root$files\"\n\
                     exec chroot \"$root\" {loader} /usr/bin/virsh \"$@\"\n\
                     ' sh {root} {files} \"$@\"\n",
                    loader = Program::LOADER_BELOW_ROOT,
                )
            }
        };
        write_script(&self.runs_dir, "virsh", &text)
    }
}

/// Writes a script that can be run.
pub(super) fn write_script(dir: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
