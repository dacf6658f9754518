//! Xen with a Linux dom0, booted by QEMU: Xen's own tools read there what is written for them.
//!
//! Nothing is installed: hypervisor, kernel, and the files of dom0 come from unpacked packages, and dom0 lives in memory.
//! QEMU hands the kernel and the archive of those files to Xen as multiboot modules. Questions go in with the archive; the
//! answers come out of the second serial port, because the first has what Xen and Linux say.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::bounded::{self, Bounded, End, answer};
use super::cpio::Archive;
use super::packages::Set;
use super::program::{Program, script_word};
use super::qemu::{Boot, Clock, Qemu, Start};
use super::run_folder::RunFolder;
use super::version::Version;
use super::virsh::write_script;
use super::{Emulator, Machine, RunError, packages};
use crate::workspace::Workspace;

/// The oldest Xen that was tried: from 4.19 on `xl` knows every feature of the public header by name.
pub(crate) const LEAST: Version = Version { major: 4, minor: 20 };

/// How long a boot with its questions may take. Those of the tests take a minute on a quiet machine.
const LIMIT: Duration = Duration::from_secs(600);

/// How long unpacking a file may take.
const UNPACK_LIMIT: Duration = Duration::from_secs(30);

/// What answers are at most.
const ANSWERS_BYTES: u64 = 16 << 20;

/// The words of Xen's own command line.
const XEN_WORDS: &str = "console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning dom0_mem=512M,max:512M";

/// The words of dom0's kernel. QEMU ends when the machine would start again.
const LINUX_WORDS: &str = "console=hvc0 quiet panic=1";

/// Xen's programs that dom0 has.
const PROGRAMS: [&str; 5] = ["xenstored", "xenconsoled", "xen-init-dom0", "xl", "xen-cpuid"];

/// What a library opens by itself when a thread of `xl` ends.
const OPENED_LIBRARY: &str = "libgcc_s.so.1";

/// The modules that programs of dom0 need, below the kernel's folder of Xen's drivers.
const MODULES: [&str; 4] = ["xen-privcmd.ko.xz", "xen-evtchn.ko.xz", "xen-gntdev.ko.xz", "xenfs/xenfs.ko.xz"];

/// The folders of dom0. The loader and libraries are looked for where Debian has them.
const FOLDERS: [&str; 22] = [
    "bin",
    "dev",
    "etc",
    "etc/xen",
    "lib64",
    "modules",
    "proc",
    "run",
    "run/lock",
    "run/xen",
    "run/xenstored",
    "sys",
    "tmp",
    "usr",
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "var",
    "var/lib",
    "var/lib/xen",
    "var/lib/xenstored",
    "var/log",
    "var/log/xen",
];

/// A Xen that QEMU can boot.
#[derive(Debug)]
pub(crate) struct Xen {
    /// The shell of dom0, which also unpacks here.
    busybox: Program,
    root: PathBuf,
    version: Version,
    hypervisor: PathBuf,
    kernel: PathBuf,
    /// The folder of Xen's programs.
    programs: PathBuf,
    /// The folder of the kernel's drivers for Xen.
    drivers: PathBuf,
    runs_dir: PathBuf,
}

/// Why a script gave no answers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum XenError {
    #[error("Xen on {0}")]
    Run(#[from] RunError),
    #[error("the libraries of {} cannot be told", .0.display())]
    Libraries(PathBuf),
    /// A part of the packages, or what came out of the serial port.
    #[error("{} is cut off, or no gzip file", .0.display())]
    NotUnpacked(PathBuf),
    #[error("the answers are longer than {} MiB", ANSWERS_BYTES >> 20)]
    TooLong,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// For `map_err` on what was done to `path`.
fn file_error(path: &Path) -> impl FnOnce(io::Error) -> XenError {
    let path = path.to_owned();
    move |source| XenError::File { path, source }
}

impl Emulator for Xen {
    const SET: Set = packages::XEN;

    /// Of unpacked packages only: of a system's Xen nobody but root may read the parts.
    fn probe(program: Program, runs_dir: &Path) -> Option<Self> {
        let root = program.root()?.to_owned();
        let boot = root.join("boot");
        let hypervisor = only(&boot, "xen-", ".gz")?;
        Some(Self {
            version: Version::after(hypervisor.file_name()?.to_str()?, "xen-")?,
            kernel: only(&boot, "vmlinuz-", "")?,
            programs: only(&root.join("usr/lib"), "xen-", "")?.join("bin"),
            drivers: only(&root.join("usr/lib/modules"), "", "")?.join("kernel/drivers/xen"),
            busybox: Program::unpacked(&root, "busybox")?,
            root,
            hypervisor,
            runs_dir: runs_dir.to_owned(),
        })
    }

    fn version(&self) -> Version {
        self.version
    }

    fn lack(&self) -> Option<&'static str> {
        None
    }
}

/// The entry of a folder whose name begins and ends so; the first, should there be several.
fn only(folder: &Path, start: &str, end: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(start) && name.ends_with(end))
    };
    entries.filter(is_it).min()
}

impl fmt::Display for Xen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Xen {}, {}", self.version, self.hypervisor.display())
    }
}

impl Xen {
    /// Writes a script that gives its standard input to [`run`](Self::run), by way of this program.
    ///
    /// # Errors
    /// When the script cannot be written.
    pub(crate) fn script(&self, workspace: &Workspace) -> io::Result<PathBuf> {
        let (package, target) = (workspace.root().join("xtask"), workspace.target_dir());
        let text = format!(
            "#!/bin/sh\nCARGO_MANIFEST_DIR={} CARGO_TARGET_DIR={} exec {} xen\n",
            script_word(&package),
            script_word(target),
            script_word(&env::current_exe()?)
        );
        write_script(&self.runs_dir, "xen", &text)
    }

    /// Boots Xen, runs a shell script as root in dom0, and returns what it says on either stream.
    ///
    /// # Errors
    /// When the machine does not come up, or is not done after ten minutes; with what Xen said last.
    pub(crate) fn run(&self, qemu: &Qemu, questions: &str) -> Result<Vec<u8>, XenError> {
        let folder = RunFolder::create(&self.runs_dir).map_err(file_error(&self.runs_dir))?;
        let copy = |from: &Path, name: &str| fs::copy(from, folder.file(name)).map_err(file_error(from));
        copy(&self.hypervisor, "xen.gz")?;
        copy(&self.kernel, "vmlinuz")?;
        let hypervisor = self.unpacked(&folder, "xen")?;
        let initrd = folder.file("initrd");
        fs::write(&initrd, self.archive(questions)?).map_err(file_error(&initrd))?;

        // QEMU splits these at spaces and commas: the folder's own name has none. It runs in a folder beside this one.
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy();
        let more = [
            "-serial".to_owned(),
            format!("file:../{name}/answers.gz"),
            "-append".to_owned(),
            XEN_WORDS.to_owned(),
            "-initrd".to_owned(),
            format!("../{name}/vmlinuz {LINUX_WORDS},../{name}/initrd"),
        ];
        let more = more.map(OsString::from);
        let machine = Machine { memory_mib: 1024, ..Machine::new("max") };
        qemu.run(Start { boot: Boot::Kernel(&hypervisor), clock: Clock::Host, more: &more }, &machine, LIMIT)?;

        let path = self.unpacked(&folder, "answers")?;
        let mut answers = Vec::new();
        let file = fs::File::open(&path).map_err(file_error(&path))?;
        file.take(ANSWERS_BYTES + 1).read_to_end(&mut answers).map_err(file_error(&path))?;
        if answers.len() as u64 > ANSWERS_BYTES { Err(XenError::TooLong) } else { Ok(answers) }
    }

    /// Unpacks `NAME.gz` of the folder.
    fn unpacked(&self, folder: &RunFolder, name: &str) -> Result<PathBuf, XenError> {
        let packed = folder.file(&format!("{name}.gz"));
        let mut command = bounded::command(self.busybox.path());
        command.arg("gunzip").arg(&packed);
        match Bounded::start(command).and_then(|process| process.wait(UNPACK_LIMIT)) {
            Ok(End::Exited(status)) if status.success() => Ok(folder.file(name)),
            _ => Err(XenError::NotUnpacked(packed)),
        }
    }

    /// All of dom0's files.
    fn archive(&self, questions: &str) -> Result<Vec<u8>, XenError> {
        let read = |path: &Path| fs::read(path).map_err(file_error(path));
        let mut archive = Archive::default();
        for name in FOLDERS {
            archive.folder(name);
        }
        archive.program("init", include_bytes!("xen/init.sh"));
        archive.program("bin/busybox", &read(self.busybox.path())?);
        let loader = Program::library_dir(&self.root).join("ld-linux-x86-64.so.2");
        archive.program("lib64/ld-linux-x86-64.so.2", &read(&loader)?);
        let mut libraries = vec![Program::library_dir(&self.root).join(OPENED_LIBRARY)];
        for name in PROGRAMS {
            let path = self.programs.join(name);
            archive.program(&format!("bin/{name}"), &read(&path)?);
            libraries.extend(self.libraries(&loader, &path)?);
        }
        libraries.sort();
        libraries.dedup();
        for path in libraries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            archive.file(&format!("usr/lib/x86_64-linux-gnu/{name}"), &read(&path)?);
        }
        // They are loaded in the order of their names.
        for (number, name) in MODULES.into_iter().enumerate() {
            archive.file(&format!("modules/{number}.ko.xz"), &read(&self.drivers.join(name))?);
        }
        archive.file("etc/xen/xl.conf", b"");
        archive.file("questions", questions.as_bytes());
        Ok(archive.finish())
    }

    /// The libraries of a program, as the loader finds them among the packages.
    fn libraries(&self, loader: &Path, program: &Path) -> Result<Vec<PathBuf>, XenError> {
        let mut command = bounded::command(loader);
        let dir = Program::library_dir(&self.root);
        command.arg("--library-path").arg(&dir).arg("--list").arg(program);
        let text = answer(command).unwrap_or_default();
        let is_library = |path: &PathBuf| path.starts_with(&dir) && path != loader;
        let libraries: Vec<PathBuf> = listed(&text).into_iter().filter(is_library).collect();
        if libraries.is_empty() { Err(XenError::Libraries(program.to_owned())) } else { Ok(libraries) }
    }
}

/// The paths in lines `NAME => PATH (ADDRESS)`.
fn listed(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| Some(PathBuf::from(line.split_once(" => ")?.1.rsplit_once(" (0x")?.0));
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_where_the_loader_says() {
        let text =
            "\tlinux-vdso.so.1 (0x00007fff)\n\tliba.so.1 => /a b/liba.so.1 (0x00007f01)\n\tlibb.so => not found\n";
        assert_eq!(listed(text), [PathBuf::from("/a b/liba.so.1")]);
    }
}
