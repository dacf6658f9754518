//! Files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::problem::Problem;
use crate::terminal::print;

/// Writes a file; `-` is standard output.
///
/// The text is written beside the file and moved over it: who reads it meanwhile has the old text or the new one. Where
/// this fails, nothing is left.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Problem> {
    if path.as_os_str() == "-" {
        return print(text);
    }
    replace(path, text.as_bytes()).map_err(|source| Problem::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays one, and what it names is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let existing = fs::metadata(&target).ok();
    if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name a file in it"));
    }
    if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        // A device or a pipe: there is nothing to replace.
        return OpenOptions::new().write(true).open(&target)?.write_all(bytes);
    }
    let temporary = beside(&target)?;
    let result = write_new(&temporary, bytes, existing.as_ref()).and_then(|()| fs::rename(&temporary, &target));
    if result.is_err() {
        // It may never have come to be.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn beside(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let name = format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id());
    Ok(target.with_file_name(name))
}

fn write_new(path: &Path, bytes: &[u8], existing: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    if let Some(metadata) = existing {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}
