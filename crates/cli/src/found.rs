//! Which files a command line names: files as they are, and those in directories that may be dumps.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use crate::problem::{Problem, shown};
use crate::terminal::note;

/// The files that a command line names, each once.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Each file, with the directory that it was found in.
    pub(crate) files: Vec<(PathBuf, Option<PathBuf>)>,
    pub(crate) has_directory: bool,
    /// Directories in which a dump must be.
    pub(crate) checked: Vec<PathBuf>,
    seen: BTreeMap<Identity, PathBuf>,
    pub(crate) problems: Vec<Problem>,
}

impl Found {
    /// Adds a file, or what is in a directory.
    ///
    /// # Errors
    ///
    /// A directory that cannot be read, unless it is to be skipped.
    pub(crate) fn add(&mut self, path: &Path, skip_bad: bool) -> Result<(), Problem> {
        if !path.is_dir() {
            self.add_file(path, None);
            return Ok(());
        }
        match entries(path) {
            Ok(paths) => {
                self.has_directory = true;
                self.checked.push(path.to_owned());
                for file in paths {
                    self.add_file(&file, Some(path));
                }
            }
            Err(problem) if skip_bad => self.problems.push(problem),
            Err(problem) => return Err(problem),
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, directory: Option<&Path>) {
        match self.seen.entry(identity(path)) {
            Entry::Vacant(entry) => {
                entry.insert(path.to_owned());
                self.files.push((path.to_owned(), directory.map(Path::to_owned)));
            }
            Entry::Occupied(entry) => {
                let first = entry.get();
                // A path that is written in two ways needs no word, a link may surprise.
                if !path.components().eq(first.components()) {
                    note(&format!("{}: the same file as {}: counts once", shown(path), shown(first)));
                }
                if let Some(directory) = directory {
                    // Its dumps were named before: they are not missed.
                    self.checked.retain(|other| other != directory);
                }
            }
        }
    }
}

/// What makes two paths one file: links of both kinds lead to the same.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Identity {
    /// A device and an inode.
    #[cfg(unix)]
    Inode(u64, u64),
    /// A path without links.
    Path(PathBuf),
}

/// The identity of a file.
pub(crate) fn identity(path: &Path) -> Identity {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path) {
        use std::os::unix::fs::MetadataExt as _;
        return Identity::Inode(metadata.dev(), metadata.ino());
    }
    Identity::Path(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
}

/// The files of a directory that may be dumps: regular ones, but for hidden files, notes and JSON.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, Problem> {
    let problem = |source| Problem::Read { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_other = name.starts_with('.') || name.ends_with(".md") || name.ends_with(".json");
        if !is_other && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
