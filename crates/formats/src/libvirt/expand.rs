//! From what a `<cpu>` says to a CPU: its model's features, and those that it adds and takes away.

use selfsame_cpuid::Featureset;

use super::definition::{CpuDefinition, FeaturePolicy, Mode, NamedFeature};
use crate::by_name::{Identity, NamedCpu};
use crate::dump::CpuDump;
use crate::error::ReadError;
use crate::findings::Findings;
use crate::models::{Model, Models};
use crate::spelling::Spelling;

/// Architectures whose CPUs are x86.
const ARCHITECTURES: [&str; 2] = ["i686", "x86_64"];

impl CpuDefinition {
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

    /// The CPU that the element describes, with what it takes as it can and says so.
    ///
    /// # Errors
    ///
    /// The element says nothing of the CPU, names a model that nobody knows, or is about another architecture.
    pub(crate) fn cpu(&self, models: &Models, findings: &mut Findings) -> Result<CpuDump, ReadError> {
        if let Some(architecture) = self.architecture.as_deref().filter(|name| !ARCHITECTURES.contains(name)) {
            return Err(ReadError::OtherArchitecture { name: shown(architecture) });
        }
        if self.mode != Mode::Custom && self.model.is_none() {
            return Err(ReadError::Unexpanded { mode: self.mode.name() });
        }
        if self.model.is_none() && self.features.is_empty() {
            return Err(ReadError::NoCpuElement);
        }
        let mut cpu = NamedCpu::new(Spelling::Qemu, self.identity(models, findings)?);
        if let Some(model) = self.named_model(models)? {
            cpu.add_all(&model.features);
            for name in &model.unknown {
                cpu.note_unknown(name, None, findings);
            }
        }
        let mut optional = Vec::new();
        for (feature, policy) in &self.features {
            let place = match feature {
                NamedFeature::Known(place) => *place,
                NamedFeature::Unknown(unknown) => match models.feature(&unknown.name) {
                    Some(place) => place,
                    None => {
                        cpu.note_unknown(&unknown.name, Some(unknown.line), findings);
                        continue;
                    }
                },
            };
            match policy {
                FeaturePolicy::Force | FeaturePolicy::Require => cpu.put(place, true),
                FeaturePolicy::Disable | FeaturePolicy::Forbid => cpu.put(place, false),
                FeaturePolicy::Optional => optional.push(place),
            }
        }
        if !optional.is_empty() {
            let names: Featureset = optional.into_iter().collect();
            let reason =
                format!("policy='optional' says nothing of this CPU: {} left as the model has it", names.len());
            findings.note("features", None, reason);
        }
        cpu.finish(0, findings)
    }
}

/// Text of a file as a message has it.
fn shown(text: &str) -> String {
    const LONG: usize = 64;
    text.chars().take(LONG).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
