//! What was wrong with a file, and how it was taken.

use std::collections::BTreeSet;
use std::fmt;

/// Something wrong with a dump that did not keep it from being read.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Finding {
    /// What it is about: a leaf (`0000000d.2`), a bit (`00000001.ecx[31]`), an MSR (`msr:0000010a`) or a short subject.
    pub what: String,
    /// The first line that shows it, where one does.
    pub line: Option<usize>,
    /// What is wrong and how it was taken.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.what, self.reason)
    }
}

/// Findings, each once: what all CPUs of a machine share is not told for each.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    seen: BTreeSet<(String, String)>,
}

impl Findings {
    pub(crate) fn note(&mut self, what: impl Into<String>, line: Option<usize>, reason: impl Into<String>) {
        let (what, reason) = (what.into(), reason.into());
        if self.seen.insert((what.clone(), reason.clone())) {
            self.list.push(Finding { what, line, reason });
        }
    }

    /// All of them, in the order in which they were met.
    pub(crate) fn into_vec(self) -> Vec<Finding> {
        self.list
    }
}

/// Spells a leaf, `0000000d`.
pub(crate) fn leaf_place(leaf: u32) -> String {
    format!("{leaf:08x}")
}

/// Spells a subleaf, `0000000d.2`; in a leaf without subleaves, the leaf alone.
pub(crate) fn row_place(leaf: u32, subleaf: u32) -> String {
    if subleaf == 0 && !crate::subleaf::is_indexed(leaf) { leaf_place(leaf) } else { format!("{leaf:08x}.{subleaf:x}") }
}

/// Spells an MSR, `msr:0000010a`.
pub(crate) fn msr_place(index: u32) -> String {
    format!("msr:{index:08x}")
}
