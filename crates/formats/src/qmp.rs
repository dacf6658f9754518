//! QEMU's answer to `query-cpu-model-expansion`: JSON objects, one after another, as a QMP session or a log has them.
//!
//! ```text
//! {"return": {"model": {"name": "base", "props": {"vendor": "GenuineIntel", "avx2": true, "hle": false}}}}
//! ```

use selfsame_cpuid::Signature;
use serde_json::{Map, Value};

use crate::by_name::{Identity, NamedCpu};
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::spelling::{Meaning, Spelling, meaning};

/// Properties of QEMU's CPUs that are switches of the emulator, not features; so is what begins with one of [`KNOB_PREFIXES`].
const KNOBS: [&str; 25] = [
    "arch-cap-always-on",
    "check",
    "cpuid-0xb",
    "enforce",
    "fill-mtrr-mask",
    "full-cpuid-auto-level",
    "host-cache-info",
    "host-phys-bits",
    "hotpluggable",
    "hotplugged",
    "kvm",
    "kvm-no-smi-migration",
    "kvm-pv-enforce-cpuid",
    "l3-cache",
    "legacy-cache",
    "legacy-multi-node",
    "lmce",
    "migratable",
    "pmu",
    "realized",
    "start-powered-off",
    "tcg-cpuid",
    "vendor-cpuid-only",
    "vmware-cpuid-freq",
    "xen-vapic",
];

/// Hyper-V's interface and what QEMU keeps to itself.
const KNOB_PREFIXES: [&str; 2] = ["hv-", "x-"];

/// Reads a file of the format.
pub(crate) fn read(bytes: &[u8]) -> Result<Dump, ReadError> {
    let mut findings = Findings::default();
    let mut found = None;
    let mut models = 0;
    for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        let value = value.map_err(|error| json_error(&error))?;
        let Some(model) = model_of(&value) else {
            let what = if definitions_of(&value) { "`query-cpu-definitions`" } else { "json" };
            findings.note(what, None, "an answer without an expanded CPU model is left out");
            continue;
        };
        models += 1;
        found = found.or_else(|| Some(model.clone()));
    }
    let Some(props) = found else { return Err(ReadError::NoModelExpansion) };
    if models > 1 {
        findings.note("model", None, format!("the first of {models} expanded CPU models: give each a file of its own"));
    }
    let mut cpu = NamedCpu::new(Spelling::Qemu, identity(&props));
    for name in props.iter().filter(|(_, value)| **value == Value::Bool(true)).map(|(name, _)| name) {
        if !is_knob(name, &cpu) {
            cpu.add(name, None, &mut findings);
        }
    }
    let cpus = vec![cpu.finish(0, &mut findings)?];
    let source = Source::Converted(Format::Qmp);
    Ok(Dump { name: String::new(), source, context: Vec::new(), cpus, findings: findings.into_vec() })
}

/// Where a malformed text is broken.
pub(crate) fn json_error(error: &serde_json::Error) -> ReadError {
    if error.is_eof() {
        ReadError::CutOff { line: error.line() }
    } else {
        ReadError::Line { line: error.line(), reason: "not JSON" }
    }
}

/// The properties of an expanded model: of a whole answer, of what it returns, or of the model alone.
fn model_of(value: &Value) -> Option<&Map<String, Value>> {
    let value = value.get("return").unwrap_or(value);
    value.get("model").unwrap_or(value).get("props")?.as_object()
}

fn definitions_of(value: &Value) -> bool {
    value.get("return").is_some_and(Value::is_array)
}

fn is_knob(name: &str, cpu: &NamedCpu) -> bool {
    let is_feature = matches!(meaning(name, Spelling::Qemu, cpu.vendor()), Some(Meaning::Feature(_)));
    !is_feature && is_knob_name(name)
}

/// Whether a property that is no feature is a switch of the emulator.
pub(crate) fn is_knob_name(name: &str) -> bool {
    let name = name.replace('_', "-");
    KNOBS.contains(&&*name) || KNOB_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn identity(props: &Map<String, Value>) -> Identity {
    let number = |name: &str| props.get(name).and_then(Value::as_u64);
    let text = |name: &str| props.get(name).and_then(Value::as_str).map(str::trim);
    let small = |name| number(name).and_then(|value| u8::try_from(value).ok());
    let signature = match (number("family").and_then(|family| u16::try_from(family).ok()), small("model")) {
        (Some(family), Some(model)) => Some(Signature { family, model, stepping: small("stepping").unwrap_or(0) }),
        _ => None,
    };
    Identity {
        vendor: text("vendor").and_then(|vendor| vendor.as_bytes().try_into().ok()),
        likeness: None,
        signature,
        // 0 means that the machine decides.
        physical_bits: small("phys-bits").filter(|bits| *bits != 0),
        brand: text("model-id").filter(|brand| !brand.is_empty()).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_are_true_are_features_and_switches_are_not() {
        let text =
            br#"{"return": {"model": {"name": "base", "props": {"vendor": "AuthenticAMD", "family": 25, "model": 1,
            "stepping": 1, "phys-bits": 48, "avx2": true, "sse4_1": true, "svm": false, "hv-time": true, "check": true,
            "future-thing": true, "past-thing": false}}}, "id": "model-expansion"}"#;
        let dump = read(text).unwrap();
        let raw = dump.raw().leaves;
        assert_eq!(raw.signature(), Signature { family: 25, model: 1, stepping: 1 });
        assert!(raw.is_set("00000007.0.ebx[5]".parse().unwrap()) && raw.is_set("00000001.ecx[19]".parse().unwrap()));
        assert!(!raw.is_set("80000001.ecx[2]".parse().unwrap()));
        let about: Vec<&str> = dump.findings.iter().map(|finding| &*finding.what).collect();
        assert_eq!(about, ["`future-thing`"]);
    }

    #[test]
    fn answers_to_other_questions_are_named_and_left_out() {
        let text = b"{\"return\": [{\"name\": \"max\"}], \"id\": \"definitions\"}\n\n{\"props\": {\"avx\": true}}";
        assert_eq!(read(text).unwrap().findings[0].what, "`query-cpu-definitions`");
        assert_eq!(read(b"{\"return\": {}}"), Err(ReadError::NoModelExpansion));
    }

    #[test]
    fn text_that_is_cut_short_or_broken_is_refused_with_its_line() {
        assert_eq!(read(b"{\"return\":\n {\"model\": {"), Err(ReadError::CutOff { line: 2 }));
        assert!(matches!(read(b"{]"), Err(ReadError::Line { line: 1, .. })));
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).is_err());
    }
}
