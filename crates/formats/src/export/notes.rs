//! What an export cannot say.

use std::fmt;

use selfsame_cpuid::{Feature, Kind, Offer, Policy, Relation, VALUES, feature};

use crate::models::is_vmx;

/// Something of a policy that a target cannot express, or that not every version of it understands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// Names of features or of numbers, or a short subject.
    pub what: Vec<String>,
    /// Why, and what guests see instead.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what.join(", "), self.reason)
    }
}

/// Notes in the order in which they come up; things of one reason are one note.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    pub(super) fn note(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        let (what, reason) = (what.into(), reason.into());
        match self.0.iter_mut().find(|note| note.reason == reason) {
            Some(note) => note.what.push(what),
            None => self.0.push(Note { what: vec![what], reason }),
        }
    }

    pub(super) fn into_vec(self) -> Vec<Note> {
        self.0
    }

    /// Notes the numbers of a policy, but for those that are `said`, and those that follow from features.
    pub(super) fn numbers(&mut self, policy: &Policy, said: &[&str], reason: &str) {
        for row in VALUES.iter().filter(|row| {
            let is_number = matches!(row.relation, Relation::Min | Relation::Max | Relation::Equal);
            is_number && row.offers.get(policy.kind as usize) != Some(&Offer::Never)
        }) {
            let is_fixed = FIXED.iter().any(|prefix| row.name.starts_with(prefix));
            if !is_fixed && !said.contains(&row.name) && row.get(policy.leaves.word(row.word)) != 0 {
                self.note(row.name, reason);
            }
        }
    }

    /// Notes the processor tree of a policy where the target has no word for it.
    pub(super) fn topology(&mut self, policy: &Policy, reason: &str) {
        if policy.topology.is_some() {
            self.note("topology", reason);
        }
    }
}

/// Numbers that every x86-64 hypervisor gives alike where it gives the feature: cache lines of 64 bytes, AMX's one palette.
/// The vendor is part of every target, or of what the target runs on.
const FIXED: [&str; 4] = ["amx-", "clflush-size", "tmul-", "vendor-"];

/// The features of a policy that somebody has to be told: not those that repeat others or follow the guest's state.
///
/// A policy without KVM's own leaves says nothing of its paravirtual features: they stay as the VMM has them. Without VMX
/// no guest can read its MSRs, and what a dump has there says nothing.
pub(super) fn said(policy: &Policy) -> impl Iterator<Item = &'static Feature> {
    let features = policy.features();
    let (is_kvms, has_vmx) = (says_paravirtual(policy), has_vmx(policy));
    tellable().filter(move |row| {
        features.contains(row.place) && (is_kvms || !is_paravirtual(row)) && (has_vmx || !is_vmx(row.place))
    })
}

/// Whether a guest may be a hypervisor by VMX.
pub(super) fn has_vmx(policy: &Policy) -> bool {
    feature("vmx").is_some_and(|row| policy.features().contains(row.place))
}

/// The features that a target can be told at all.
pub(super) fn tellable() -> impl Iterator<Item = &'static Feature> {
    let is_followed = |row: &&Feature| {
        matches!(row.relation, Relation::Derived | Relation::Dynamic | Relation::Local | Relation::Descriptive)
    };
    selfsame_cpuid::FEATURES.iter().filter(move |row| !is_followed(row))
}

/// Whether a policy says which of KVM's paravirtual features its guests have.
pub(super) fn says_paravirtual(policy: &Policy) -> bool {
    policy.kind == Kind::Kvm && !policy.leaves.get(0x4000_0000, 0).is_zero()
}

/// Whether KVM makes the feature in software, in its leaf 0x40000001.
pub(super) fn is_paravirtual(row: &Feature) -> bool {
    use selfsame_cpuid::WordSource::Cpuid;
    matches!(row.place.word().source(), Cpuid { leaf: 0x4000_0001, .. })
}
