//! Sets up packages in a folder, without root.
//!
//! A set is downloaded and unpacked beside its place and moved there when it is whole and its program has answered, so
//! that an interrupted call leaves nothing that looks whole. The next call goes on with what was downloaded.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use super::apt::{Apt, AptError, KEYRING};
use super::bounded::{self, Bounded, End, answer};
use super::packages::Set;
use super::program::Program;
use super::version::Version;
use crate::phase::Phase;
use crate::workspace::is_offline;

/// Names a Debian mirror; without it, the one that this machine's apt uses.
const MIRROR_VARIABLE: &str = "SELFSAME_DEBIAN_MIRROR";

/// The mirror where this machine's apt names none.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// How long unpacking one package may take.
const UNPACK_LIMIT: Duration = Duration::from_secs(120);

/// The programs without which nothing can be set up, each with what to do where it is missing.
const NEEDED: &[(&str, &str)] = &[
    ("setpriv", "install util-linux"),
    ("apt-get", OTHER_MEANS),
    ("apt-cache", OTHER_MEANS),
    ("dpkg-deb", OTHER_MEANS),
];

const OTHER_MEANS: &str = "install the emulator by other means and put it on PATH";

/// Sets up packages in one folder; nobody else does while this value lives.
#[derive(Debug)]
pub(crate) struct Installer {
    folder: PathBuf,
    mirror: String,
    /// The suites whose lists are fresh.
    updated: Vec<&'static str>,
    /// Why the mirror cannot be reached, so that it is not tried for each set.
    unreachable: Option<String>,
    _lock: File,
}

/// Why packages were not set up, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum InstallError {
    #[error("CARGO_NET_OFFLINE is set; run this once without it")]
    Offline,
    #[error("the packages are for Linux on x86-64; {OTHER_MEANS}")]
    OtherMachine,
    #[error("`{name}` is not on PATH; {remedy}")]
    NoProgram { name: &'static str, remedy: &'static str },
    #[error("{KEYRING} is missing; install the package debian-archive-keyring")]
    NoKeyring,
    #[error(
        "{mirror} cannot be reached: {why}; connect to the network, set http_proxy, or name a Debian mirror in \
         {MIRROR_VARIABLE}"
    )]
    Unreachable { mirror: String, why: String },
    #[error(
        "no suite of {mirror} has it ({}); {OTHER_MEANS}, or name another Debian mirror in {MIRROR_VARIABLE}",
        .refusals.join("; ")
    )]
    NoSuite { mirror: String, refusals: Vec<String> },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Why one suite did not do.
#[derive(Debug, Error)]
enum SuiteError {
    #[error("{0}")]
    Apt(#[from] AptError),
    #[error("it has no {0}")]
    NoPackage(&'static str),
    #[error("its {name} {found} is too old")]
    TooOld { name: &'static str, found: Version },
    #[error("{} cannot be unpacked", .0.display())]
    NotUnpacked(PathBuf),
    #[error("what was unpacked does not run")]
    NotRunning,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl Installer {
    /// Makes the folder and waits until nobody else sets up there.
    ///
    /// # Errors
    /// When something is missing without which there is no use in trying.
    pub(crate) fn begin(folder: &Path) -> Result<Self, InstallError> {
        if is_offline() {
            return Err(InstallError::Offline);
        }
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(InstallError::OtherMachine);
        }
        if let Some(&(name, remedy)) = NEEDED.iter().find(|(name, _)| Program::installed(name).is_none()) {
            return Err(InstallError::NoProgram { name, remedy });
        }
        if !Path::new(KEYRING).is_file() {
            return Err(InstallError::NoKeyring);
        }
        let in_folder = |source| InstallError::File { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(in_folder)?;
        let lock = lock(&folder.join("lock"))?;
        Ok(Self { folder: folder.to_owned(), mirror: mirror(), updated: Vec::new(), unreachable: None, _lock: lock })
    }

    /// Sets up `set` from the first suite that has it, new enough and so that `is_running` says yes to the folder.
    ///
    /// # Errors
    /// When the mirror cannot be reached, or no suite will do.
    pub(crate) fn set_up(&mut self, set: &Set, is_running: impl Fn(&Path) -> bool) -> Result<(), InstallError> {
        let mut refusals = Vec::new();
        for suite in set.suites {
            if self.unreachable.is_none() {
                match self.set_up_from(suite, set, &is_running) {
                    Ok(()) => return Ok(()),
                    Err(SuiteError::Apt(error)) if error.is_unreachable() => self.unreachable = Some(error.to_string()),
                    Err(error) => {
                        anstream::eprintln!("{} of Debian {suite} will not do: {error}", set.name);
                        refusals.push(format!("{suite}: {error}"));
                    }
                }
            }
        }
        let mirror = self.mirror.clone();
        match &self.unreachable {
            Some(why) => Err(InstallError::Unreachable { mirror, why: why.clone() }),
            None => Err(InstallError::NoSuite { mirror, refusals }),
        }
    }

    fn set_up_from(
        &mut self,
        suite: &'static str,
        set: &Set,
        is_running: impl Fn(&Path) -> bool,
    ) -> Result<(), SuiteError> {
        let name = set.name;
        let apt = Apt::prepare(&self.apt_dir().join(suite), &self.mirror, suite)?;
        if !self.updated.contains(&suite) {
            let phase = Phase::open_end(format!("Debian {suite}: lists"));
            apt.update(&phase)?;
            phase.done();
            self.updated.push(suite);
        }
        let found = apt.version(set.package).ok_or(SuiteError::NoPackage(set.package))?;
        if found < set.least {
            return Err(SuiteError::TooOld { name, found });
        }
        let phase = Phase::open_end(format!("{name} of Debian {suite}: choice of packages"));
        let plan = apt.plan(&set.packages())?;
        phase.done();
        let (count, bytes) = (plan.files().len(), plan.missing_bytes());
        if bytes > 0 {
            let phase = Phase::bytes(format!("{name}: download of {} MB", bytes.div_ceil(1_000_000)), bytes);
            apt.download(&set.packages(), &phase)?;
            phase.done();
        }

        let part = self.folder.join(format!("{}.part", set.word));
        remove_all(&part)?;
        let phase = Phase::pieces(format!("{name}: unpacking of {count} packages"), count as u64);
        for (number, file) in (1..).zip(plan.files()) {
            unpack(file, &part)?;
            phase.reach(number);
        }
        phase.done();
        if !is_running(&part) {
            return Err(SuiteError::NotRunning);
        }
        let place = self.folder.join(set.word);
        remove_all(&place)?;
        fs::rename(&part, &place).map_err(|source| SuiteError::File { path: place, source })
    }

    /// Removes what was only needed on the way.
    pub(crate) fn tidy(self) {
        // What cannot be removed is in nobody's way.
        let _ = fs::remove_dir_all(self.apt_dir());
    }

    fn apt_dir(&self) -> PathBuf {
        self.folder.join("apt")
    }
}

fn unpack(file: &Path, folder: &Path) -> Result<(), SuiteError> {
    let mut command = bounded::command("dpkg-deb");
    command.arg("-x").arg(file).arg(folder);
    match Bounded::start(command).and_then(|process| process.wait(UNPACK_LIMIT)) {
        Ok(End::Exited(status)) if status.success() => Ok(()),
        _ => Err(SuiteError::NotUnpacked(file.to_owned())),
    }
}

fn remove_all(path: &Path) -> Result<(), SuiteError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(SuiteError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Holds the file until it is dropped, or this process ends; waits for who holds it now.
fn lock(path: &Path) -> Result<File, InstallError> {
    let in_file = |source| InstallError::File { path: path.to_owned(), source };
    let file = File::create(path).map_err(in_file)?;
    let result = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            anstream::eprintln!("waiting for another call that sets up emulators in the same folder ...");
            flock(&file, FlockOperation::LockExclusive)
        }
        result => result,
    };
    result.map_err(|error| in_file(error.into()))?;
    Ok(file)
}

/// The mirror to use: named by the user, else the one from which this machine's apt takes its own release.
fn mirror() -> String {
    if let Some(mirror) = env::var(MIRROR_VARIABLE).ok().filter(|mirror| !mirror.is_empty()) {
        return mirror.trim_end_matches('/').to_owned();
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut command = bounded::command("apt-get");
    command.args(["--print-uris", "update"]);
    mirror_of(&release, &answer(command).unwrap_or_default()).unwrap_or_else(|| DEFAULT_MIRROR.to_owned())
}

/// The mirror in lines `'MIRROR/dists/CODENAME/…' …`, if the release is one of Debian.
fn mirror_of(release: &str, uris: &str) -> Option<String> {
    let field = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches('"'))
    };
    let place = format!("/dists/{}/", field("VERSION_CODENAME").filter(|_| field("ID") == Some("debian"))?);
    uris.lines().find_map(|line| Some(line.strip_prefix('\'')?.split_once(&place)?.0.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URIS: &str = "'http://other/repository/dists/any/InRelease' o 0 \n\
                        'http://mirror/debian-security/dists/bookworm-security/InRelease' s 0 \n\
                        'http://mirror/debian/dists/bookworm/InRelease' m 0 \n";

    #[test]
    fn the_mirror_is_where_the_machine_has_its_release_from() {
        let release = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(mirror_of(release, URIS), Some("http://mirror/debian".to_owned()));
        let quoted = "ID=\"debian\"\nVERSION_CODENAME=\"bookworm\"\n";
        assert_eq!(mirror_of(quoted, URIS), Some("http://mirror/debian".to_owned()));
    }

    #[test]
    fn the_mirror_of_another_distribution_is_not_used() {
        assert_eq!(mirror_of("ID=ubuntu\nVERSION_CODENAME=bookworm\n", URIS), None);
        assert_eq!(mirror_of("ID=debian\n", URIS), None);
        assert_eq!(mirror_of("", ""), None);
    }
}
