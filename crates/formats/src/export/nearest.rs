//! The named model that is nearest to a policy, and what is to be added to it and taken from it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use selfsame_cpuid::{Feature, Featureset, Offer, Policy, feature_at};

use super::known_names::{Namer, Since};
use super::notes::{Notes, has_vmx, is_paravirtual, said, says_paravirtual, tellable};
use crate::models::{Model, Models, is_vmx};

/// A policy as a named model with differences.
#[derive(Debug)]
pub(super) struct Nearest<'m> {
    /// The model's name.
    pub(super) name: &'m str,
    pub(super) model: &'m Model,
    /// What the policy has and the model has not.
    pub(super) added: Featureset,
    /// What the model has and the policy has not.
    pub(super) removed: Featureset,
    /// All that the policy has and the namer can name.
    pub(super) all: Featureset,
}

impl<'m> Nearest<'m> {
    /// Finds the model; `None` where there is none of the policy's vendor. What the namer cannot name is noted.
    ///
    /// `features_of` says what a model means to the namer, and `is_allowed` which names may be used.
    pub(super) fn of(
        policy: &Policy,
        models: &'m Models,
        namer: Namer,
        features_of: fn(&Model) -> Featureset,
        is_allowed: fn(&str) -> bool,
        notes: &mut Notes,
    ) -> Option<Self> {
        let all = named(policy, namer, notes);
        let comparable = comparable(policy, namer);
        let leaf_0 = policy.leaves.get(0, 0);
        let is_custom = !std::ptr::eq(models, Models::known());
        let mut candidates: BTreeMap<*const Model, (Rank<'m>, Self)> = BTreeMap::new();
        for (name, model) in models.iter() {
            let since = namer.model(name);
            let is_vendors = model.vendor.is_some_and(|bytes| {
                let regs = crate::by_name::vendor_regs(bytes);
                (regs.ebx, regs.ecx, regs.edx) == (leaf_0.ebx, leaf_0.ecx, leaf_0.edx)
            });
            if !is_vendors || (since == Since::Never && !is_custom) || !is_allowed(name) {
                continue;
            }
            let features = features_of(model) & comparable;
            let (added, removed) = (all - features, features - all);
            let rank = Rank {
                differences: added.len() + removed.len(),
                removed: removed.len(),
                signature: Reverse(model.signature.unwrap_or_default()),
                is_recent: since != Since::Always,
                is_other_form: is_version(name) != (namer == Namer::Qemu),
                name,
            };
            let nearest = Self { name, model, added, removed, all };
            let best = candidates.entry(std::ptr::from_ref(model));
            let slot = best.or_insert_with(|| (rank, Self { ..nearest }));
            if rank < slot.0 {
                *slot = (rank, Self { name, model, added, removed, all });
            }
        }
        let (_, nearest) = candidates.into_values().min_by(|a, b| a.0.cmp(&b.0))?;
        note_versions(&nearest, namer, notes);
        Some(nearest)
    }
}

/// What makes a model nearer, the least being the nearest.
///
/// The names of one model differ in the last three alone: one that old versions know goes first; then QEMU's own
/// versions, which machine types do not change, for QEMU, and the old names for libvirt.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rank<'m> {
    differences: usize,
    removed: usize,
    signature: Reverse<selfsame_cpuid::Signature>,
    is_recent: bool,
    is_other_form: bool,
    name: &'m str,
}

/// Whether a name ends with a version, `-v4`.
pub(super) fn is_version(name: &str) -> bool {
    name.rsplit_once("-v").is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The features of a policy that a namer can name. The others, and those that not every version can, are noted.
pub(super) fn named(policy: &Policy, namer: Namer, notes: &mut Notes) -> Featureset {
    let (_, newest) = namer.measured();
    let mut set = Featureset::EMPTY;
    for row in said(policy) {
        match namer.feature(row) {
            Since::Never => {
                let result = match row.offer_to(policy.kind) {
                    Offer::Made => "KVM gives it unasked",
                    _ => "guests do not see it",
                };
                notes.note(row.name, format!("{} {newest} has no name for it: {result}", namer.name()));
                continue;
            }
            Since::Version(version) => note_version(namer.spelling(row), namer, version, notes),
            Since::Always => {}
        }
        set.insert(row.place);
    }
    set
}

/// The features in which a policy can differ from a model.
fn comparable(policy: &Policy, namer: Namer) -> Featureset {
    let has_vmx = has_vmx(policy);
    let is_kvms = says_paravirtual(policy);
    let is_comparable = |row: &&Feature| {
        // Without VMX nobody reads its MSRs, and without KVM's leaf the VMM decides.
        namer.feature(row) != Since::Never && (has_vmx || !is_vmx(row.place)) && (is_kvms || !is_paravirtual(row))
    };
    tellable().filter(is_comparable).map(|row| row.place).collect()
}

/// Notes names of the model, and of what is taken from it, that not every version knows.
fn note_versions(nearest: &Nearest<'_>, namer: Namer, notes: &mut Notes) {
    if let Since::Version(version) = namer.model(nearest.name) {
        note_version(format!("model {}", nearest.name), namer, version, notes);
    }
    for row in nearest.removed.iter().filter_map(feature_at) {
        if let Since::Version(version) = namer.feature(row) {
            note_version(namer.spelling(row), namer, version, notes);
        }
    }
}

fn note_version(what: impl Into<String>, namer: Namer, version: &str, notes: &mut Notes) {
    let (oldest, _) = namer.measured();
    notes.note(what, format!("known to {} {version}, not to {oldest}", namer.name()));
}

/// The names of features in the order of their places, as a namer spells them.
pub(super) fn spelled(set: &Featureset, namer: Namer) -> impl Iterator<Item = &'static str> + '_ {
    set.iter().filter_map(feature_at).map(move |row| namer.spelling(row))
}
