//! A copy of the workspace's packages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where an operation failed, and why.
type Failure = (PathBuf, io::Error);

/// The members of the copied workspace.
const MEMBERS: &str = r#"members = ["crates/*"]"#;

/// Copies the packages below `root/crates`, with a manifest for a workspace of them alone.
///
/// A file is written only if it differs, so that cargo builds anew only what has changed since the last time.
pub(super) fn copy_packages(root: &Path, copy: &Path) -> Result<(), Failure> {
    for file in ["Cargo.lock", "clippy.toml"] {
        copy_file(&root.join(file), &copy.join(file))?;
    }
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|source| (manifest, source))?;
    write(&copy.join("Cargo.toml"), of_packages_alone(&text).as_bytes())?;
    copy_folder(&root.join("crates"), &copy.join("crates"))
}

/// The workspace's manifest without the members that are not copied.
fn of_packages_alone(manifest: &str) -> String {
    let lines = manifest.lines().map(|line| if line.starts_with("members = ") { MEMBERS } else { line });
    lines.flat_map(|line| [line, "\n"]).collect()
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
    fn the_manifest_of_this_workspace_keeps_its_packages_alone() {
        let manifest = include_str!("../../../Cargo.toml");
        let copied = of_packages_alone(manifest);
        let changed: Vec<&str> = copied.lines().filter(|line| !manifest.lines().any(|there| there == *line)).collect();
        assert_eq!(changed, [MEMBERS]);
        assert_eq!(copied.lines().count(), manifest.lines().count());
    }
}
