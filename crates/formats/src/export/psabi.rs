//! The levels of the x86-64 ABI.

use selfsame_cpuid::{Featureset, Policy, feature_at};

use super::notes::Notes;
use crate::models::Models;

/// The levels, least first, as [`Models`] have them (x86-64 psABI, 3.1.1, table 3.1).
const LEVELS: [&str; 4] = ["x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"];

/// The highest level whose features a policy has, and of the next one those that it has not.
pub(super) fn level(policy: &Policy, notes: &mut Notes) -> Result<String, Vec<&'static str>> {
    let features = policy.features();
    let mut reached = None;
    for level in LEVELS {
        let lacks = Models::known().get(level).map_or(Featureset::EMPTY, |model| model.features) - features;
        if lacks.is_empty() {
            reached = Some(level);
            continue;
        }
        let names = lacks.iter().filter_map(feature_at).map(|row| row.name);
        if reached.is_none() {
            return Err(names.collect());
        }
        names.for_each(|name| notes.note(name, format!("missing for {level}")));
        break;
    }
    Ok(format!("{}\n", reached.unwrap_or_default()))
}
