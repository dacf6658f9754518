//! What seeds are made of: the captures in `fixtures/`, and what guests see on these machines.

use std::fs;
use std::path::{Path, PathBuf};

use selfsame_cpuid::{FEATURES, Feature, Host, Kind, Policy, Regs, Trims, feature_at};
use selfsame_formats::export::{Target, export};
use selfsame_formats::{Dump, Models, read};

/// The texts of the captures, in the order of their paths.
pub(crate) fn captures() -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    find_captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures"), &mut paths);
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a capture")).collect()
}

fn find_captures(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder of the fixtures") {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() {
            find_captures(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "capture") {
            paths.push(path);
        }
    }
}

/// The captured machines.
pub(crate) fn machines() -> Vec<Dump> {
    captures().iter().map(|text| read(text, "host", None).expect("a capture of our own is read")).collect()
}

/// How many rows there are of each machine in a text that is written by [`rows`].
const ROWS: usize = 16;

/// One text for each machine, with a line for each of some rows: those that every CPU has and a few more, from leaf 0 on.
pub(crate) fn rows(line: impl Fn(u32, u32, Regs) -> String) -> Vec<String> {
    let of_machine = |dump: &Dump| -> String {
        let leaves = dump.cpus.first().map(|cpu| &cpu.leaves).into_iter().flatten();
        let is_told = |leaf| matches!(leaf, 0..=1 | 7 | 0xb | 0xd | 0x4000_0000 | 0x8000_0000..=0x8000_0001);
        let rows = leaves.filter(|((leaf, _), _)| is_told(*leaf)).take(ROWS);
        rows.map(|(&(leaf, subleaf), &regs)| line(leaf, subleaf, regs)).collect()
    };
    machines().iter().map(of_machine).collect()
}

/// What a guest of a kind sees on each machine.
pub(crate) fn policies(kind: Kind) -> Vec<Policy> {
    let policy = |dump: &Dump| Host::from_hardware(&dump.raw().leaves, kind, &Trims::NONE).default().clone();
    machines().iter().map(policy).collect()
}

/// The features of each such guest.
pub(crate) fn features(kind: Kind) -> Vec<Vec<&'static Feature>> {
    let features = |policy: &Policy| policy.features().iter().filter_map(feature_at).collect();
    policies(kind).iter().map(features).collect()
}

/// What is written of each such guest for somebody else.
pub(crate) fn exports(kind: Kind, target: Target) -> Vec<Vec<u8>> {
    let text = |policy: &Policy| Some(export(policy, "guest", target, Models::known()).ok()?.text.into_bytes());
    policies(kind).iter().filter_map(text).collect()
}

/// The names of some features.
pub(crate) fn names() -> Vec<Vec<u8>> {
    FEATURES.iter().step_by(9).flat_map(|row| [row.name, row.linux, row.xen]).map(|name| name.into()).collect()
}
