//! What a person should know about a host's data, from wherever it was found.

use selfsame_cpuid::{Relation, Rule, What};
use selfsame_xstate::ComponentSet;

use crate::problem::printable;

/// Something odd about a host's data, though nothing is refused for it.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// What it is about.
    pub(crate) what: String,
    /// The rule of the closed list that it falls under.
    pub(crate) rule: Rule,
    /// What is odd and what was made of it.
    pub(crate) reason: String,
    /// The first line of the dump that shows it, where one does.
    pub(crate) line: Option<usize>,
    /// Whether it may change what guests get, so that it is always shown.
    pub(crate) is_loud: bool,
}

impl Finding {
    /// A finding about the input's form.
    pub(crate) fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), rule: Rule::Malformed, reason: reason.into(), line: None, is_loud: false }
    }

    /// The same, always shown.
    pub(crate) fn loud(self) -> Self {
        Self { is_loud: true, ..self }
    }

    /// What the reader of a dump found.
    pub(crate) fn of_dump(finding: &selfsame_formats::Finding) -> Self {
        let what = printable(&finding.what);
        // A guest's view, or an emulator's, is not what the hardware can give; what was not said, or is lost with the end of a
        // file, may cost a pool.
        let is_loud = matches!(&*what, "00000001.ecx[31]" | "vendor" | "maxphysaddr") || what.starts_with("cpu ");
        let reason = printable(&finding.reason);
        // An MSR that was not read is missing, not wrong.
        let rule = if what.starts_with("msr") { Rule::NotOnHost } else { Rule::Malformed };
        Self { rule, line: finding.line, is_loud, ..Self::malformed(what, reason) }
    }

    /// What the raw leaves of a host show.
    pub(crate) fn of_leaves(finding: selfsame_cpuid::Finding) -> Self {
        let what = finding.what();
        Self {
            what: what.to_string(),
            rule: finding.rule(),
            reason: finding.to_string(),
            line: None,
            is_loud: is_about_wide_vectors(what)
                || matches!(finding, selfsame_cpuid::Finding::StateWithoutXsave { .. }),
        }
    }
}

/// Whether a finding is about AVX-512 or AMX: large losses hang on one row of leaf 0xD.
fn is_about_wide_vectors(what: What) -> bool {
    match what {
        What::Feature(_) => {
            let name = what.to_string();
            ["avx512", "amx", "avx10"].iter().any(|prefix| name.starts_with(prefix))
        }
        What::Components(set) => !set.intersection(ComponentSet::AVX512.union(ComponentSet::AMX)).is_empty(),
        _ => false,
    }
}

/// The rule by which logical CPUs that differ in a number cost something.
pub(crate) const fn rule_of(relation: Relation) -> Rule {
    match relation {
        Relation::Min => Rule::Min,
        Relation::Max => Rule::Max,
        _ => Rule::Equal,
    }
}
