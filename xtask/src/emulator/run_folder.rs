//! A private folder for one run.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A folder of one run, which goes away with this value.
///
/// Its name begins with the id of this process. What a process left behind that was ended in the middle of a run is
/// removed by the next one.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a folder in `parent`, which is made too.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn create(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        remove_orphans(parent);
        let process = std::process::id();
        let mut number = 0_u32;
        loop {
            let path = parent.join(format!("{process}-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number = number.saturating_add(1),
                Err(error) => return Err(error),
            }
        }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Copies `source` here as `name`, writable, filled up with zeros to a multiple of `unit_bytes`.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn copy_in(&self, source: &Path, name: &str, unit_bytes: u64) -> io::Result<()> {
        let mut copy = File::create_new(self.file(name))?;
        let len_bytes = io::copy(&mut File::open(source)?, &mut copy)?;
        copy.set_len(len_bytes.next_multiple_of(unit_bytes))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Nothing can be done here, and the next process tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of processes that are no more.
fn remove_orphans(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.split_once('-')).and_then(|(id, _)| id.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("selfsame-run-folder-{name}-{}", std::process::id()))
    }

    #[test]
    fn two_runs_have_two_folders_and_both_go_away() {
        let parent = parent("two");
        let (a, b) = (RunFolder::create(&parent).unwrap(), RunFolder::create(&parent).unwrap());
        assert_ne!(a.path(), b.path());
        drop((a, b));
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);
        fs::remove_dir(&parent).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_is_removed() {
        let parent = parent("dead");
        // No process has this id: it is above the kernel's own limit of 2^22.
        let orphan = parent.join("4194305-0");
        fs::create_dir_all(&orphan).unwrap();
        drop(RunFolder::create(&parent).unwrap());
        assert!(!orphan.exists());
        fs::remove_dir(&parent).unwrap();
    }

    #[test]
    fn a_copy_is_filled_up_and_the_source_is_left_alone() {
        let parent = parent("copy");
        let folder = RunFolder::create(&parent).unwrap();
        let source = folder.file("source");
        fs::write(&source, b"12345").unwrap();
        folder.copy_in(&source, "copy", 4).unwrap();
        assert_eq!(fs::read(folder.file("copy")).unwrap(), b"12345\0\0\0");
        assert_eq!(fs::read(&source).unwrap(), b"12345");
        drop(folder);
        fs::remove_dir(&parent).unwrap();
    }
}
