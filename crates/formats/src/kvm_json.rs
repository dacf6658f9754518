//! `kvm_cpuid_entry2` entries as JSON: what a VMM logs or keeps of `KVM_GET_SUPPORTED_CPUID` and `KVM_GET_CPUID2`.
//!
//! ```text
//! [{"function": 7, "index": 0, "flags": 1, "eax": 2, "ebx": "0xf1bf07ab", "ecx": 0, "edx": 0}]
//! ```
//!
//! The list may stand alone or in a field of an object (`entries`, `cpuid`); MSRs may stand beside it (`msrs`, as objects of
//! `index` and `data`). Numbers are decimal, or strings that begin with `0x`.

use selfsame_cpuid::Regs;
use serde_json::Value;

use crate::collect::{self, MsrRow, Row, Section};
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::qmp::json_error;
use crate::scan::hexadecimal;

/// `KVM_CPUID_FLAG_SIGNIFCANT_INDEX` (Linux, Documentation/virt/kvm/api.rst, 4.46).
const SIGNIFICANT_INDEX: u32 = 1;

/// Reads a file of the format.
pub(crate) fn read(bytes: &[u8]) -> Result<Dump, ReadError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| json_error(&error))?;
    let entries = list(&value, &["entries", "cpuid"]).ok_or(ReadError::NoEntries)?;
    let mut section = Section::new(Some(0), 1);
    for (entry, value) in entries.iter().enumerate() {
        let field = |name| number(value.get(name)).and_then(|number| u32::try_from(number).ok());
        let register = |name| field(name).ok_or(ReadError::Entry { entry, field: name });
        let flags = field("flags").unwrap_or(0);
        let index = field("index").unwrap_or(0);
        let regs = Regs::new(register("eax")?, register("ebx")?, register("ecx")?, register("edx")?);
        let subleaf = if index != 0 || flags & SIGNIFICANT_INDEX != 0 { Some(index) } else { None };
        section.rows.push(Row { leaf: register("function")?, subleaf, regs, line: entry });
    }
    for (entry, value) in list(&value, &["msrs"]).unwrap_or_default().iter().enumerate() {
        let field = |name| number(value.get(name)).ok_or(ReadError::Entry { entry, field: name });
        let index = u32::try_from(field("index")?).map_err(|_| ReadError::Entry { entry, field: "index" })?;
        section.msrs.push(MsrRow { index, value: Some(field("data")?), line: entry });
    }
    let mut findings = Findings::default();
    let cpus = collect::collect(vec![section], &mut findings)?;
    // Entries have no lines.
    let findings = findings.into_vec().into_iter().map(|finding| crate::Finding { line: None, ..finding }).collect();
    Ok(Dump { name: String::new(), source: Source::Kvm, context: Vec::new(), cpus, findings })
}

/// Whether a JSON text is of this format.
pub(crate) fn is_list(value: &Value) -> bool {
    let first = list(value, &["entries", "cpuid"]).and_then(|list| list.first());
    first.is_some_and(|entry| entry.get("function").is_some())
}

fn list<'a>(value: &'a Value, names: &[&str]) -> Option<&'a [Value]> {
    let fields = names.iter().filter_map(|name| value.get(name));
    let alone = if names.contains(&"entries") { value.as_array() } else { None };
    fields.filter_map(Value::as_array).next().or(alone).map(Vec::as_slice)
}

fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => hexadecimal(text.strip_prefix("0x")?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF_0: &str = r#"{"function": 0, "index": 0, "flags": 0, "eax": 1, "ebx": 1970169159, "ecx": "0x6c65746e", "edx": "0x49656e69"}"#;

    #[test]
    fn entries_are_rows_and_their_flag_tells_whether_they_have_a_subleaf() {
        let entries = format!(
            r#"{{"entries": [{LEAF_0}, {{"function": 1, "eax": 5, "ebx": 0, "ecx": 0, "edx": 1}}],
            "msrs": [{{"index": 266, "data": "0x8000000000000001"}}]}}"#
        );
        let dump = read(entries.as_bytes()).unwrap();
        assert_eq!(dump.source, Source::Kvm);
        assert_eq!(dump.cpus[0].get(1, 0).unwrap().eax, 5);
        assert_eq!(dump.cpus[0].msr(0x10a), Some(1 << 63 | 1));
        assert!(read(format!("[{LEAF_0}]").as_bytes()).is_ok());
    }

    #[test]
    fn an_entry_that_lacks_a_register_or_has_no_number_there_is_named() {
        let entries = format!(r#"[{LEAF_0}, {{"function": 1, "eax": 5}}]"#);
        assert_eq!(read(entries.as_bytes()), Err(ReadError::Entry { entry: 1, field: "ebx" }));
        let signed = LEAF_0.replace("0x6c65746e", "0x+5");
        assert_eq!(read(format!("[{signed}]").as_bytes()), Err(ReadError::Entry { entry: 0, field: "ecx" }));
        assert_eq!(read(b"{}"), Err(ReadError::NoEntries));
        assert_eq!(read(b"[{\"function\": 4294967296}]"), Err(ReadError::Entry { entry: 0, field: "eax" }));
    }
}
