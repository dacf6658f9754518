//! Where the workspace lies, and which cargo works on it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The workspace this program was started in.
pub(crate) struct Workspace {
    root: PathBuf,
    target_dir: PathBuf,
    cargo: OsString,
}

/// Why the workspace was not found.
#[derive(Debug, Error)]
pub(crate) enum DiscoverError {
    #[error("CARGO_MANIFEST_DIR is not set; start this program as `cargo xtask`")]
    NotStartedByCargo,
    #[error("{} has no Cargo.toml; start this program as `cargo xtask` inside the workspace", .0.display())]
    NoManifest(PathBuf),
    #[error("the current directory cannot be told: {0}; change to a directory that exists")]
    NoCurrentDirectory(std::io::Error),
}

impl Workspace {
    /// Finds the workspace through what `cargo run` sets in the environment.
    ///
    /// # Errors
    /// When cargo did not start this program, or the folder above this package has no manifest.
    pub(crate) fn discover() -> Result<Self, DiscoverError> {
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or(DiscoverError::NotStartedByCargo)?;
        let root = package.parent().ok_or(DiscoverError::NotStartedByCargo)?.to_owned();
        if !root.join("Cargo.toml").is_file() {
            return Err(DiscoverError::NoManifest(root));
        }
        // A relative CARGO_TARGET_DIR is relative to where the user stands, while every command runs at the root.
        let target_dir = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => std::path::absolute(dir).map_err(DiscoverError::NoCurrentDirectory)?,
            None => root.join("target"),
        };
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Ok(Self { root, target_dir, cargo })
    }

    /// The folder of the workspace's manifest.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The absolute path of the folder for what is built.
    pub(crate) fn target_dir(&self) -> &Path {
        &self.target_dir
    }

    /// The path as short as it can be for a command, which runs at the root.
    pub(crate) fn as_seen_from_root<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// The cargo that started this program, so that every step uses the same toolchain.
    pub(crate) fn cargo(&self) -> &OsString {
        &self.cargo
    }

    /// Returns whether there is a Cargo.lock that the steps have to keep.
    pub(crate) fn has_lock_file(&self) -> bool {
        self.lock_file().is_file()
    }

    /// The path of the workspace's Cargo.lock.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.root.join("Cargo.lock")
    }

    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), target_dir: root.join("target"), cargo: "cargo".into() }
    }
}

/// Returns whether the user has told cargo to stay off the network.
pub(crate) fn is_offline() -> bool {
    env::var("CARGO_NET_OFFLINE").is_ok_and(|value| value == "true" || value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_root_are_shortened() {
        let workspace = Workspace::at(Path::new("/tree"));
        assert_eq!(workspace.as_seen_from_root(Path::new("/tree/target/x")), Path::new("target/x"));
        assert_eq!(workspace.as_seen_from_root(Path::new("/trees/x")), Path::new("/trees/x"));
    }
}
