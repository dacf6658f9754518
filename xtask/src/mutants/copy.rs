//! A copy of the workspace's packages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where an operation failed, and why.
type Failure = (PathBuf, io::Error);

/// Copies the packages below `root/crates`, with a manifest for a workspace of them alone.
///
/// A file is written only if it differs, so that cargo builds anew only what has changed since the last time.
pub(super) fn copy_packages(root: &Path, copy: &Path) -> Result<(), Failure> {
    for file in ["Cargo.lock", "clippy.toml"] {
        copy_file(&root.join(file), &copy.join(file))?;
    }
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|source| (manifest, source))?;
    write(&copy.join("Cargo.toml"), without_xtask(&text).as_bytes())?;
    copy_folder(&root.join("crates"), &copy.join("crates"))
}

/// The workspace's manifest without the member that is not copied.
fn without_xtask(manifest: &str) -> String {
    manifest.replace(r#"members = ["crates/*", "xtask"]"#, r#"members = ["crates/*"]"#)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    let failure = |source| (from.to_owned(), source);
    for entry in fs::read_dir(from).map_err(failure)? {
        let entry = entry.map_err(failure)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(failure)?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Failure> {
    let bytes = fs::read(from).map_err(|source| (from.to_owned(), source))?;
    write(to, &bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failure = |source| (path.to_owned(), source);
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failure)?;
    }
    fs::write(path, bytes).map_err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_of_this_workspace_loses_xtask_alone() {
        let manifest = include_str!("../../../Cargo.toml");
        let copied = without_xtask(manifest);
        assert!(!copied.contains("\"xtask\""));
        assert_eq!(copied.len() + r#", "xtask""#.len(), manifest.len());
    }
}
