//! A private apt for one suite: its own lists, its own archives, and an empty database of what is installed.
//!
//! With the empty database apt resolves the whole closure of a package, libc included, so that the unpacked folder
//! stands alone. The machine's proxy settings stay in force; its pins and hooks do not. Nothing outside the folder is
//! written, and no root is needed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::bounded::{self, End, answer};
use super::version::Version;
use crate::phase::Phase;

/// The keys of every suite that is tried.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How long nothing may come. It bounds what apt's own time limit does not, the look-up of names above all.
const PATIENCE: Duration = Duration::from_secs(25);

/// How long the choice of packages may take, for which nothing comes.
const CHOICE_LIMIT: Duration = Duration::from_secs(120);

/// How often what has come is measured.
const MEASURE: Duration = Duration::from_millis(100);

/// An apt that works in a folder of its own.
#[derive(Debug)]
pub(crate) struct Apt {
    dir: PathBuf,
}

/// Packages with all that they depend on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Each package's file, in the archives once it is downloaded, and its size.
    files: Vec<(PathBuf, u64)>,
}

/// Why apt did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum AptError {
    #[error("nothing came for {} s", PATIENCE.as_secs())]
    Stalled,
    #[error("{0}")]
    Unreachable(String),
    #[error("the mirror has no such suite")]
    NoSuite,
    #[error("{KEYRING} lacks its key; upgrade the package debian-archive-keyring")]
    UnknownKey,
    /// Other errors of its own.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    #[error("apt cannot be started: {0}")]
    NotStarted(io::Error),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl AptError {
    /// The error behind what apt wrote before it gave up.
    fn of(text: &str) -> Self {
        let errors = || text.lines().filter_map(|line| line.strip_prefix("E: ")).map(str::trim);
        // This is the first file of all.
        let unreachable = errors().find(|line| line.contains("Failed to fetch") && line.contains("/InRelease"));
        if let Some(line) = unreachable {
            Self::Unreachable(line.to_owned())
        } else if text.contains("NO_PUBKEY") {
            Self::UnknownKey
        } else if errors().any(|line| line.contains("does not have a Release file")) {
            Self::NoSuite
        } else {
            Self::Refused(errors().map(str::to_owned).collect())
        }
    }

    /// Returns whether the mirror could not be reached, so that no other suite is worth a trial.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Stalled | Self::Unreachable(_))
    }
}

impl Apt {
    /// Writes the configuration for a suite of a mirror into `dir`. What an earlier call has downloaded is kept.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn prepare(dir: &Path, mirror: &str, suite: &str) -> Result<Self, AptError> {
        for name in ["lists/partial", "archives/partial", "empty"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(|source| AptError::File { path, source })?;
        }
        let source = format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n");
        for (name, text) in [("status", String::new()), ("sources.list", source), ("apt.conf", configuration(dir))] {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|source| AptError::File { path, source })?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Fetches the lists of the suite.
    ///
    /// # Errors
    /// When the mirror cannot be reached, has no such suite, or its key is unknown.
    pub(crate) fn update(&self, phase: &Phase) -> Result<(), AptError> {
        let mut command = self.command("apt-get");
        command.args(["-qq", "update"]);
        fetch(command, &self.dir.join("lists"), phase)
    }

    /// The version of a package that would be installed, if the suite has the package.
    pub(crate) fn version(&self, package: &str) -> Option<Version> {
        let mut command = self.command("apt-cache");
        command.args(["show", "--no-all-versions", package]);
        let text = answer(command)?;
        package_version(text.lines().find_map(|line| line.strip_prefix("Version: "))?)
    }

    /// All that packages depend on.
    ///
    /// # Errors
    /// When the suite lacks one of them.
    pub(crate) fn plan(&self, packages: &[&str]) -> Result<Plan, AptError> {
        let mut command = self.command("apt-get");
        // With an empty folder for archives, those that are there are named too.
        let no_archives = format!("Dir::Cache::archives={}", self.dir.join("empty").display());
        command.args(["-qq", "--print-uris", "-o", &no_archives, "install"]).args(packages);
        let start = Instant::now();
        let text = run(command, || start.elapsed() < CHOICE_LIMIT)?;
        Ok(Plan::read(&text, &self.archives_dir()))
    }

    /// Downloads what is planned for `packages` and not there yet.
    ///
    /// # Errors
    /// When the mirror does not deliver.
    pub(crate) fn download(&self, packages: &[&str], phase: &Phase) -> Result<(), AptError> {
        let mut command = self.command("apt-get");
        command.args(["-qq", "--download-only", "install"]).args(packages);
        fetch(command, &self.archives_dir(), phase)
    }

    fn archives_dir(&self) -> PathBuf {
        self.dir.join("archives")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = bounded::command(program);
        command.env("LC_ALL", "C").arg("-c").arg(self.dir.join("apt.conf"));
        command
    }
}

/// Runs apt as long as `has_patience`, and returns what it said.
fn run(command: Command, has_patience: impl FnMut() -> bool) -> Result<String, AptError> {
    match bounded::output(command, has_patience).map_err(AptError::NotStarted)? {
        (End::Exited(status), text) if status.success() => Ok(text),
        (End::Exited(_), text) => Err(AptError::of(&text)),
        (End::Killed, _) => Err(AptError::Stalled),
    }
}

/// Runs apt as long as `dir` grows, and shows how far it is.
fn fetch(command: Command, dir: &Path, phase: &Phase) -> Result<(), AptError> {
    let len_before = len_bytes(dir);
    let (mut len, mut grown, mut measured) = (len_before, Instant::now(), Instant::now());
    let has_patience = || {
        if measured.elapsed() >= MEASURE {
            measured = Instant::now();
            let now = len_bytes(dir);
            if now != len {
                (len, grown) = (now, measured);
            }
            phase.reach(len.saturating_sub(len_before));
        }
        grown.elapsed() < PATIENCE
    };
    run(command, has_patience).map(drop)
}

/// The bytes in the files of a folder and of its `partial`.
fn len_bytes(dir: &Path) -> u64 {
    let entries = [dir.to_owned(), dir.join("partial")].into_iter().flat_map(fs::read_dir).flatten().flatten();
    entries.flat_map(|entry| entry.metadata()).filter(|file| file.is_file()).map(|file| file.len()).sum()
}

/// A version of Debian, `[EPOCH:]UPSTREAM[-REVISION]`.
fn package_version(text: &str) -> Option<Version> {
    Version::after(text, if text.contains(':') { ":" } else { "" })
}

impl Plan {
    /// Reads lines `'ADDRESS' FILE BYTES HASH`.
    fn read(text: &str, archives_dir: &Path) -> Self {
        let parse = |line: &str| {
            let mut words = line.strip_prefix('\'')?.split(' ').skip(1);
            Some((archives_dir.join(words.next()?), words.next()?.parse().ok()?))
        };
        Self { files: text.lines().filter_map(parse).collect() }
    }

    /// The files.
    pub(crate) fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// The size of what is not downloaded yet.
    pub(crate) fn missing_bytes(&self) -> u64 {
        self.files.iter().filter(|(path, _)| !path.exists()).map(|(_, bytes)| bytes).sum()
    }
}

/// The configuration of apt that keeps it to `dir`.
///
/// `#clear` drops hooks of the machine's own configuration. Dates are not checked, so that mirrors of the past will do.
/// The time limit is for one connection.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "{dir}/empty";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{dir}/empty";
Dir::State::lists "{dir}/lists";
Dir::State::status "{dir}/status";
Dir::State::extended_states "{dir}/extended_states";
Dir::Cache "{dir}";
Dir::Cache::archives "{dir}/archives";
Dir::Cache::pkgcache "{dir}/pkgcache.bin";
Dir::Cache::srcpkgcache "{dir}/srcpkgcache.bin";
Dir::Log "{dir}";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Keep-Downloaded-Packages "true";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
Acquire::Retries "1";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
Debug::NoLocking "true";
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_a_file_and_a_size_a_line() {
        let text =
            "'http://a/x%2b1_all.deb' x+1_all.deb 37280 MD5Sum:06\n'http://a/y.deb' y.deb 20 MD5Sum:79\nW: other\n";
        let plan = Plan::read(text, Path::new("/no/such/folder"));
        let files: Vec<&Path> = plan.files().collect();
        assert_eq!(files, ["/no/such/folder/x+1_all.deb", "/no/such/folder/y.deb"].map(Path::new));
        assert_eq!(plan.missing_bytes(), 37_300);
    }

    #[test]
    fn the_epoch_is_no_part_of_the_version() {
        assert_eq!(package_version("1:11.1.2+ds-3"), Some(Version { major: 11, minor: 1 }));
        assert_eq!(package_version("3.1+dfsg-1"), Some(Version { major: 3, minor: 1 }));
        assert_eq!(package_version("unknown"), None);
    }

    #[test]
    fn errors_of_apt_are_told_apart() {
        let unreachable = "E: Failed to fetch http://mirror/dists/forky/InRelease  Could not connect to mirror:80\n\
                           E: Some index files failed to download.\n";
        let told = "Failed to fetch http://mirror/dists/forky/InRelease  Could not connect to mirror:80";
        assert!(matches!(AptError::of(unreachable), AptError::Unreachable(line) if line == told));
        let no_suite = "E: The repository 'http://mirror forky Release' does not have a Release file.\n";
        assert!(matches!(AptError::of(no_suite), AptError::NoSuite));
        let unknown_key = "W: GPG error: http://mirror forky InRelease: NO_PUBKEY 6ED0E7B82643E131\n\
                           E: The repository 'http://mirror forky InRelease' is not signed.\n";
        assert!(matches!(AptError::of(unknown_key), AptError::UnknownKey));
        let gone = "E: Failed to fetch http://mirror/pool/b.deb  404  Not Found\n";
        let told = "Failed to fetch http://mirror/pool/b.deb  404  Not Found";
        assert!(matches!(AptError::of(gone), AptError::Refused(lines) if lines == [told]));
    }

    #[test]
    fn only_a_mirror_that_cannot_be_reached_ends_the_search() {
        let (unreachable, refused) = (AptError::Unreachable(String::new()), AptError::Refused(Vec::new()));
        assert!(AptError::Stalled.is_unreachable() && unreachable.is_unreachable());
        assert!(!AptError::NoSuite.is_unreachable() && !AptError::UnknownKey.is_unreachable());
        assert!(!refused.is_unreachable());
    }
}
