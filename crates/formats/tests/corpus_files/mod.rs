//! The dumps of the shared corpus, read where they lie.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]
#![allow(dead_code, reason = "not every test reads every kind")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The corpus: `$SELFSAME_SHARED/corpus`, else `shared/corpus` beside the workspace; `None`, loudly, where it is absent.
pub(crate) fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("SELFSAME_SHARED").map_or(beside, PathBuf::from);
    let corpus = shared.join("corpus");
    if !corpus.is_dir() {
        // Not `eprintln`: the harness keeps what a passing test prints, and a skip must not look like a pass.
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let line = format!("SKIPPED: {test}: {} is not there; SELFSAME_SHARED names its directory\n", corpus.display());
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    }
    Some(corpus)
}

/// Name and bytes of every InstLatx64 dump, in name order.
pub(crate) fn instlatx64() -> Vec<(String, Vec<u8>)> {
    let Some(corpus) = corpus() else { return Vec::new() };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("instlatx64-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let archive = corpus.join("instlatx64.tar.xz");
    let status = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(&folder).status().unwrap();
    assert!(status.success(), "tar could not unpack {}", archive.display());
    let mut dumps = Vec::new();
    for vendor in std::fs::read_dir(folder.join("instlatx64")).unwrap() {
        for file in std::fs::read_dir(vendor.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            dumps.push((name, std::fs::read(&path).unwrap()));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    dumps.sort();
    dumps
}
