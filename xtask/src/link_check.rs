//! The proof that the pure crates need no std: each is linked, whole, into a static program without std and libc.
//!
//! For every pure crate a small package is written below the target folder. It depends on that crate alone, with
//! `default-features = false`, and brings the few symbols that `core` wants from its surroundings (`runtime.rs`).
//! It is built as a static library, which holds all that the crate pulls in, and linked with `--whole-archive`, so that
//! every function is linked and not only those that something calls. What is caught: std (a second `panic_impl`), an
//! allocator (there is none), C functions (undefined symbols).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::command::{CommandError, Invocation};
use crate::workspace::Workspace;

/// The pure crates, by their folders in `crates/`.
const PURE_CRATES: &[&str] = &["xstate", "cpuid", "switch"];

const RUNTIME: &str = include_str!("link_check/runtime.rs");

/// Why the proof failed.
#[derive(Debug, Error)]
pub(crate) enum LinkCheckError {
    #[error("{0}")]
    Refused(Refusals),
    #[error("cannot write {}: {source}; make the target folder writable", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Every pure crate that is not pure, with the reason.
#[derive(Debug)]
pub(crate) struct Refusals(Vec<Refusal>);

/// One pure crate that is not pure.
#[derive(Debug, Error)]
enum Refusal {
    #[error(
        "selfsame-{folder} does not build without std: {source}\n  where it says `duplicate lang item`, the note names \
         the crate that depends on std: give that dependency `default-features = false`, or do without it"
    )]
    Build { folder: &'static str, source: CommandError },
    #[error(
        "selfsame-{folder} does not link without std: {source}\n  an undefined reference is a function that std or \
         libc would have brought: do without what calls it"
    )]
    Link { folder: &'static str, source: CommandError },
}

impl std::fmt::Display for Refusals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, refusal) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{refusal}")?;
        }
        Ok(())
    }
}

/// Checks every pure crate that is in the tree, also after one has failed.
///
/// # Errors
/// When a pure crate does not build or link without std, or the packages cannot be written.
pub(crate) fn run(workspace: &Workspace) -> Result<(), LinkCheckError> {
    let mut refusals = Vec::new();
    for &folder in PURE_CRATES {
        if !crate_dir(workspace, folder).join("Cargo.toml").is_file() {
            anstream::println!("selfsame-{folder}: skipped, because crates/{folder} is not in this tree");
            continue;
        }
        let package = Package::write(workspace, folder)?;
        match package.check(workspace) {
            Ok(()) => anstream::println!("selfsame-{folder} links whole without std"),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(LinkCheckError::Refused(Refusals(refusals))) }
}

fn crate_dir(workspace: &Workspace, folder: &str) -> PathBuf {
    workspace.root().join("crates").join(folder)
}

/// The package written for one pure crate.
struct Package {
    folder: &'static str,
    dir: PathBuf,
}

impl Package {
    /// Writes the package. It starts from the workspace's Cargo.lock, so that it needs no other versions than the
    /// workspace does and builds without network.
    fn write(workspace: &Workspace, folder: &'static str) -> Result<Self, LinkCheckError> {
        let dir = workspace.target_dir().join("link-check").join(folder);
        let source_dir = dir.join("src");
        fs::create_dir_all(&source_dir).map_err(|source| LinkCheckError::Write { path: source_dir.clone(), source })?;
        write(&dir.join("Cargo.toml"), &manifest(folder, &crate_dir(workspace, folder)))?;
        write(&source_dir.join("lib.rs"), &library(folder))?;
        if workspace.has_lock_file() {
            let path = dir.join("Cargo.lock");
            fs::copy(workspace.lock_file(), &path).map_err(|source| LinkCheckError::Write { path, source })?;
        }
        Ok(Self { folder, dir })
    }

    fn check(&self, workspace: &Workspace) -> Result<(), Refusal> {
        let build_dir = workspace.target_dir().join("link-check").join("build");
        let library = build_dir.join("debug").join(format!("liblink_check_{}.a", self.folder));
        Invocation::cargo(workspace)
            .args(["build", "--quiet", "--manifest-path"])
            .arg(workspace.as_seen_from_root(&self.dir.join("Cargo.toml")))
            .arg("--target-dir")
            .arg(workspace.as_seen_from_root(&build_dir))
            .run(&[])
            .map_err(|source| Refusal::Build { folder: self.folder, source })?;
        Invocation::new(workspace, "cc")
            .args(["-nostdlib", "-static", "-no-pie", "-Wl,--whole-archive"])
            .arg(workspace.as_seen_from_root(&library))
            .arg("-o")
            .arg(workspace.as_seen_from_root(&self.dir.join("linked")))
            .run(&[])
            .map_err(|source| Refusal::Link { folder: self.folder, source })
    }
}

fn write(path: &Path, text: &str) -> Result<(), LinkCheckError> {
    fs::write(path, text).map_err(|source| LinkCheckError::Write { path: path.to_owned(), source })
}

fn manifest(folder: &str, crate_dir: &Path) -> String {
    let path = toml_string(&crate_dir.to_string_lossy());
    format!(
        r#"[package]
name = "link-check-{folder}"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[lib]
name = "link_check_{folder}"
crate-type = ["staticlib"]

[dependencies]
selfsame-{folder} = {{ path = {path}, default-features = false }}

[profile.dev]
panic = "abort"
opt-level = 1
"#
    )
}

fn library(folder: &str) -> String {
    format!("{RUNTIME}\nextern crate selfsame_{folder} as _;\n")
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_stays_one_string() {
        assert_eq!(toml_string(r#"/a "b"\c"#), r#""/a \"b\"\\c""#);
    }

    #[test]
    fn the_package_asks_for_no_default_features() {
        let manifest = manifest("xstate", Path::new("/tree/crates/xstate"));
        let dependency = r#"selfsame-xstate = { path = "/tree/crates/xstate", default-features = false }"#;
        assert!(manifest.lines().any(|line| line == dependency), "{manifest}");
    }

    #[test]
    fn the_library_pulls_the_crate_in() {
        assert!(library("cpuid").ends_with("\nextern crate selfsame_cpuid as _;\n"));
    }
}
