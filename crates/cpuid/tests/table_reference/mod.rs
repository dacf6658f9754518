//! Reference data that lies beside the project, read where it lies, and what the tests of the table ask of both.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use selfsame_cpuid::{FEATURES, Feature, Place, feature_at};

/// The path of a file of reference data; `None`, and a line on standard error that cannot be missed, where it is not
/// there. `SELFSAME_SHARED` names the directory; without it, it is `shared` beside the workspace.
pub(crate) fn shared_path(test: &str, name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = env::var_os("SELFSAME_SHARED").map_or(beside, PathBuf::from).join(name);
    if path.is_file() {
        return Some(path);
    }
    skipped(test, &format!("{} is not there; SELFSAME_SHARED names its directory", path.display()));
    None
}

/// Says past the test harness, which hides what passing tests print, that `test` did not run.
pub(crate) fn skipped(test: &str, why: &str) {
    let _ = writeln!(io::stderr(), "\nSKIPPED: {test}: {why}");
}

/// The rows of a file of comma-separated values, without comments and without the first row, which names the columns.
pub(crate) fn shared_csv(test: &str, name: &str) -> Option<Vec<Vec<String>>> {
    let path = shared_path(test, name)?;
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(text.lines().filter(|line| !line.starts_with('#')).skip(1).map(split_csv).collect())
}

/// Splits a line at its commas, those between quotes excepted.
fn split_csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match (c, fields.last_mut()) {
            ('"', _) => is_quoted = !is_quoted,
            (',', _) if !is_quoted => fields.push(String::new()),
            (_, Some(field)) => field.push(c),
            (_, None) => {}
        }
    }
    fields
}

/// The row of the canonical name `name`.
pub(crate) fn named(name: &str) -> &'static Feature {
    FEATURES.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("the table has no {name}"))
}

/// Everything that a feature needs, directly or not.
pub(crate) fn flattened(feature: &Feature) -> BTreeSet<Place> {
    let mut all = BTreeSet::new();
    let mut open = feature.needs.to_vec();
    while let Some(place) = open.pop() {
        if all.insert(place) {
            let row = feature_at(place).unwrap_or_else(|| panic!("{} needs {place}, which has no row", feature.name));
            open.extend(row.needs);
        }
    }
    all
}

/// Compares what differs with what is listed as differing, both as lines of text.
pub(crate) fn assert_all_listed(what: &str, differing: &BTreeSet<String>, listed: &BTreeSet<String>) {
    let unlisted: Vec<_> = differing.difference(listed).collect();
    let outdated: Vec<_> = listed.difference(differing).collect();
    assert!(
        unlisted.is_empty() && outdated.is_empty(),
        "{what}\nnot listed as a deliberate difference: {unlisted:#?}\nlisted, but no difference any more: {outdated:#?}"
    );
}
