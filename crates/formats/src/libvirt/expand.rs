//! From what a `<cpu>` says to a CPU: its model's features, and those that it adds and takes away.

use selfsame_cpuid::Featureset;

use super::definition::{CpuDefinition, FeaturePolicy, Mode, NamedFeature};
use crate::by_name::{self, Identity, note_unknown};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::models::{Model, Models};
use crate::named::About;
use crate::spelling::Spelling;

/// Architectures whose CPUs are x86.
const ARCHITECTURES: [&str; 2] = ["i686", "x86_64"];

impl CpuDefinition {
    /// Whether the element says that the CPU is no x86.
    pub(super) fn is_of_other_architecture(&self) -> bool {
        self.architecture.as_deref().is_some_and(|name| !ARCHITECTURES.contains(&name))
    }

    /// The model that the element names.
    ///
    /// # Errors
    ///
    /// None of `models` has the name: what the CPU has is not known.
    pub(crate) fn named_model<'m>(&self, models: &'m Models) -> Result<Option<&'m Model>, ReadError> {
        let Some(name) = &self.model else { return Ok(None) };
        models.get(name).map(Some).ok_or_else(|| ReadError::UnknownModel {
            name: name.clone(),
            nearest: models.suggestion(name).map(str::to_owned),
        })
    }

    /// What is known of the CPU beside its features.
    pub(crate) fn identity(&self, models: &Models, findings: &mut Findings) -> Result<Identity, ReadError> {
        let model = self.named_model(models)?;
        let vendor = self.vendor_id.or_else(|| models.vendor(self.vendor.as_deref()?));
        if let (None, Some(name)) = (vendor, &self.vendor) {
            findings.note("vendor", None, format!("`{}` is not known: the CPU counts as any vendor's", shown(name)));
        }
        Ok(Identity {
            vendor,
            likeness: model.map(Model::vendor),
            signature: self.signature.or_else(|| model?.signature),
            physical_bits: self.physical_bits,
            brand: None,
        })
    }

    /// All that the element says of the CPU beside its own features.
    ///
    /// # Errors
    ///
    /// The element says nothing of the CPU, names a model that nobody knows, or is about another architecture.
    pub(crate) fn about(&self, models: &Models, context: &[(String, String)]) -> Result<About, ReadError> {
        if let Some(architecture) = self.architecture.as_deref().filter(|_| self.is_of_other_architecture()) {
            return Err(ReadError::OtherArchitecture { name: shown(architecture) });
        }
        if self.mode != Mode::Custom && self.model.is_none() {
            return Err(ReadError::Unexpanded { mode: self.mode.name() });
        }
        if self.model.is_none() && self.features.is_empty() {
            return Err(ReadError::NoCpuElement);
        }
        let mut findings = Findings::default();
        let identity = self.identity(models, &mut findings)?;
        for name in self.named_model(models)?.map_or(&[][..], |model| &model.unknown) {
            note_unknown(name, None, Spelling::Qemu, &mut findings);
        }
        let model = self.model.iter().map(|model| ("model".to_owned(), model.clone()));
        let context = context.iter().cloned().chain(model).collect();
        Ok(About { identity, context, findings: findings.into_vec() })
    }

    /// The features of the CPU that the element describes, with what it takes as it can and says so.
    ///
    /// # Errors
    ///
    /// The element names a model that nobody knows, or no feature that anybody knows.
    pub(crate) fn cpu_features(&self, models: &Models, findings: &mut Findings) -> Result<Featureset, ReadError> {
        let model = self.named_model(models)?;
        let mut is_known = model.is_some();
        let mut present = model.map_or(Featureset::EMPTY, |model| model.features);
        let mut optional: Option<Featureset> = None;
        for (feature, policy) in &self.features {
            let place = match feature {
                NamedFeature::Known(place) => *place,
                NamedFeature::Unknown(unknown) => match models.feature(&unknown.name) {
                    Some(place) => place,
                    None => {
                        note_unknown(&unknown.name, Some(unknown.line), Spelling::Qemu, findings);
                        continue;
                    }
                },
            };
            match policy {
                FeaturePolicy::Force | FeaturePolicy::Require => present.insert(place),
                FeaturePolicy::Disable | FeaturePolicy::Forbid => present.remove(place),
                FeaturePolicy::Optional => {
                    optional.get_or_insert(Featureset::EMPTY).insert(place);
                    continue;
                }
            }
            is_known = true;
        }
        if let Some(optional) = optional {
            let reason =
                format!("policy='optional' says nothing of this CPU: {} left as the model has it", optional.len());
            findings.note("features", None, reason);
        }
        if !is_known {
            return Err(ReadError::NoKnownFeature);
        }
        by_name::drop_unreadable(&mut present);
        Ok(present)
    }
}

/// Text of a file as a message has it.
pub(super) fn shown(text: &str) -> String {
    const LONG: usize = 64;
    text.chars().take(LONG).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
