//! Whether a host can run the CPU that a `<cpu>` asks for, as `virsh cpu-compare` asks it.

use selfsame_cpuid::{Check, Featureset, Host, Place, Policy, Refusal, Relation, Rule, Trims, What, feature_at};

use super::definition::{CpuDefinition, FeaturePolicy, Match, Mode, NamedFeature};
use super::expand::shown;
use crate::by_name::NamedCpu;
use crate::error::ReadError;
use crate::findings::Findings;
use crate::models::Models;
use crate::spelling::{Spelling, suggestion};
use crate::{Dump, Source};

/// How a host and the CPU that a guest asks for compare.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The answer in one word.
    pub fit: Fit,
    /// Why the host cannot run the guest; empty where it can.
    pub obstacles: Vec<Obstacle>,
    /// What the guest would see on the host.
    pub guest: Policy,
}

/// How a host and the CPU that a guest asks for compare, in one word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fit {
    /// The host has what is asked for, and nothing else.
    Identical,
    /// The host has what is asked for, and more.
    Superset,
    /// The host cannot run the guest.
    Incompatible,
}

impl Fit {
    /// The word, as `virsh cpu-compare` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Superset => "superset",
            Self::Incompatible => "incompatible",
        }
    }
}

/// One reason why a host cannot run a guest.
#[derive(Clone, Copy, Debug)]
pub enum Obstacle {
    /// The check refuses it.
    Refused(Refusal),
    /// The host has not even named a feature that the guest requires in vain, without what it needs.
    Missing(Place),
    /// The host has a feature that the guest forbids.
    Forbidden(Place),
    /// The host has a feature beyond what a guest with `match='strict'` asks for.
    Extra(Place),
    /// The guest is for CPUs of another architecture: of it nothing else is asked.
    Architecture,
}

/// Why nothing can be said about a guest's CPU. What a guest wants must be known in full, unlike what a host offers.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// The definition cannot be expanded.
    #[error(transparent)]
    Definition(#[from] ReadError),
    /// It asks for a vendor that nobody knows.
    #[error("no vendor is called `{name}`")]
    UnknownVendor {
        /// The name.
        name: String,
    },
    /// It names a feature that nobody knows.
    #[error(
        "line {line}: no feature is called `{name}`{}",
        nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default()
    )]
    UnknownFeature {
        /// The name.
        name: String,
        /// The line that has it.
        line: usize,
        /// The nearest name that there is.
        nearest: Option<String>,
    },
}

/// The features of a definition by what is to be done about them.
#[derive(Default)]
struct Wishes {
    require: Featureset,
    force: Featureset,
    optional: Featureset,
    disable: Featureset,
    forbid: Featureset,
}

/// Holds the CPU that a guest asks for against a host, by the same check that holds policies against hosts.
///
/// What the guest will see (its model, what it requires and forces, and optional features that the host has) is checked
/// against the host; what it forces is not missed, what it forbids is refused where the host has it.
///
/// # Errors
///
/// The definition names a model, vendor or feature that nobody knows, or says only where its CPU comes from.
pub fn compare(host: &Host, guest: &CpuDefinition, models: &Models) -> Result<Comparison, GuestError> {
    if guest.mode != Mode::Custom && guest.model.is_none() {
        return Err(ReadError::Unexpanded { mode: guest.mode.name() }.into());
    }
    if guest.is_of_other_architecture() {
        let guest = Policy::empty(host.kind());
        return Ok(Comparison { fit: Fit::Incompatible, obstacles: vec![Obstacle::Architecture], guest });
    }
    // What a host says of its vendor may be new; what a guest asks for must be known.
    if let Some(name) = guest.vendor.as_deref().filter(|name| models.vendor(name).is_none()) {
        return Err(GuestError::UnknownVendor { name: shown(name) });
    }
    let wishes = wishes(guest, models)?;
    let given = host.max().features();
    let seen = (wishes.require | wishes.force | wishes.optional & given) - wishes.disable;
    let policy = policy(guest, models, &seen, host)?;
    let mut obstacles = Vec::new();
    Check::new(&policy, host).refusals(|refusal| {
        let is_forced = matches!(refusal.what, What::Feature(place) if wishes.force.contains(place));
        if !is_forced && !is_about_forced_state(&refusal, &wishes.force) {
            obstacles.push(Obstacle::Refused(refusal));
        }
    });
    // What the guest requires without its prerequisites is not in its policy, and may still be asked of the host.
    let vain = wishes.require - policy.leaves.features() - *host.raw();
    let vain = vain.iter().filter(|place| relation(*place) == Relation::All);
    obstacles.extend(vain.map(Obstacle::Missing));
    obstacles.extend((wishes.forbid & given).iter().map(Obstacle::Forbidden));
    let asked = wishes.require | wishes.optional | wishes.force | wishes.disable;
    let is_own = |place: &Place| matches!(relation(*place), Relation::All | Relation::Any);
    let extra: Featureset = (host.default().leaves.features() - asked).iter().filter(is_own).collect();
    if guest.matching == Match::Strict {
        obstacles.extend(extra.iter().map(Obstacle::Extra));
    }
    let fit = match (obstacles.is_empty(), extra.is_empty()) {
        (false, _) => Fit::Incompatible,
        (true, true) => Fit::Identical,
        (true, false) => Fit::Superset,
    };
    Ok(Comparison { fit, obstacles, guest: policy })
}

fn wishes(guest: &CpuDefinition, models: &Models) -> Result<Wishes, GuestError> {
    let mut wishes = Wishes::default();
    if let Some(model) = guest.named_model(models)? {
        wishes.require = model.features;
    }
    for (feature, policy) in &guest.features {
        let place = match feature {
            NamedFeature::Known(place) => *place,
            NamedFeature::Unknown(unknown) => {
                models.feature(&unknown.name).ok_or_else(|| GuestError::UnknownFeature {
                    name: unknown.name.clone(),
                    line: unknown.line,
                    nearest: suggestion(&unknown.name, Spelling::Qemu),
                })?
            }
        };
        wishes.require.remove(place);
        match policy {
            FeaturePolicy::Force => wishes.force.insert(place),
            FeaturePolicy::Require => wishes.require.insert(place),
            FeaturePolicy::Optional => wishes.optional.insert(place),
            FeaturePolicy::Disable => wishes.disable.insert(place),
            FeaturePolicy::Forbid => {
                wishes.forbid.insert(place);
                wishes.disable.insert(place);
            }
        }
    }
    Ok(wishes)
}

/// What the guest will see on the host.
fn policy(guest: &CpuDefinition, models: &Models, seen: &Featureset, host: &Host) -> Result<Policy, GuestError> {
    let mut findings = Findings::default();
    let mut identity = guest.identity(models, &mut findings)?;
    // A guest that names no vendor sees the host's.
    identity.likeness = Some(host.max().leaves.vendor());
    let mut cpu = NamedCpu::new(Spelling::Qemu, identity);
    cpu.add_all(seen);
    let cpu = cpu.finish(0, &mut findings)?;
    let source = Source::Converted(crate::Format::LibvirtCpu);
    let dump = Dump { name: String::new(), source, context: Vec::new(), cpus: vec![cpu], findings: Vec::new() };
    let offered = Host::from_vmm(&dump.raw().leaves, host.kind(), &Trims::NONE);
    Ok(offered.default().clone())
}

fn relation(place: Place) -> Relation {
    feature_at(place).map_or(Relation::Local, |row| row.relation)
}

/// Whether a host is refused for state that only forced features use: the guest is told of it as of them.
fn is_about_forced_state(refusal: &Refusal, force: &Featureset) -> bool {
    let What::Components(missing) = refusal.what else { return false };
    let uses = |place: Place| feature_at(place).is_some_and(|row| missing.is_subset_of(row.components));
    matches!(refusal.rule, Rule::NotOnHost | Rule::XssBeyondHost) && force.iter().any(uses)
}
