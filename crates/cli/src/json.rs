//! The JSON documents: their members are the command's interface for programs.
//!
//! Registers and sets of bits are strings in lower-case hexadecimal, numbers of human size are numbers, features stand in
//! the order of their places and hosts in the order of their names.

use std::collections::BTreeMap;
use std::rc::Rc;

use selfsame_cpuid::{Leaves, Side, VALUES, Value, What, feature_at};
use selfsame_xstate::{Format, Geometry, Layout};
use serde::Serialize;

use crate::finding::Finding;
use crate::names::is_hex;
use crate::problem::Problem;
use crate::terminal::print;

/// The version of all documents.
pub(crate) const SCHEMA: u32 = 1;

/// Prints a document.
pub(crate) fn print_document(document: &(impl Serialize + ?Sized)) -> Result<(), Problem> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    print(&text)
}

/// A register or a set of bits.
pub(crate) fn hex(value: u64) -> String {
    format!("{value:#x}")
}

/// The names of the features of some leaves, in the order of their places.
pub(crate) fn feature_names(leaves: &Leaves) -> Vec<&'static str> {
    leaves.features().iter().filter_map(feature_at).map(|row| row.name).collect()
}

/// Family, model and stepping.
#[derive(Debug, Serialize)]
pub(crate) struct SignatureMember {
    pub(crate) family: u16,
    pub(crate) model: u8,
    pub(crate) stepping: u8,
}

impl SignatureMember {
    pub(crate) fn of(leaves: &Leaves) -> Self {
        let signature = leaves.signature();
        Self { family: signature.family, model: signature.model, stepping: signature.stepping }
    }
}

/// How large save areas are, and what lies in them.
#[derive(Debug, Serialize)]
pub(crate) struct XstateMember {
    /// For the maximum XCR0.
    pub(crate) standard_size: u32,
    /// For the maximum XCR0 and XSS.
    pub(crate) compacted_size: u32,
    pub(crate) components: Vec<ComponentMember>,
}

/// One component of a save area.
#[derive(Debug, Serialize)]
pub(crate) struct ComponentMember {
    pub(crate) name: String,
    pub(crate) index: u8,
    pub(crate) size: u32,
    /// In the standard format; 0 for supervisor components, which that format never holds.
    pub(crate) offset: u32,
    pub(crate) compacted_offset: u32,
    pub(crate) supervisor: bool,
    pub(crate) aligned64: bool,
    pub(crate) xfd: bool,
}

impl XstateMember {
    /// Lays the components out that some leaves enumerate: rows that a dump lost are those that all CPUs of the vendor have.
    pub(crate) fn of(leaves: &Leaves) -> Self {
        let geometry = leaves.geometry().usable(leaves.vendor().offsets());
        let user = geometry.user();
        Self {
            standard_size: geometry.standard_size(user).unwrap_or_default(),
            compacted_size: geometry.compacted_size(geometry.components()).unwrap_or_default(),
            components: components(&geometry),
        }
    }
}

fn components(geometry: &Geometry) -> Vec<ComponentMember> {
    let Ok(standard) = Layout::new(Format::Standard, geometry.user(), geometry) else { return Vec::new() };
    let Ok(compacted) = Layout::new(Format::Compacted, geometry.components(), geometry) else { return Vec::new() };
    let member = |(component, range): (selfsame_xstate::Component, std::ops::Range<u32>)| {
        let row = geometry.row(component);
        ComponentMember {
            name: component.to_string(),
            index: component.index(),
            size: range.end - range.start,
            offset: standard.offset_bytes(component).unwrap_or_default(),
            compacted_offset: range.start,
            supervisor: geometry.is_supervisor(component),
            aligned64: row.is_some_and(|row| row.is_aligned64),
            xfd: row.is_some_and(|row| row.has_xfd),
        }
    };
    compacted.places().map(member).collect()
}

/// One finding.
#[derive(Debug, Serialize)]
pub(crate) struct FindingMember {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    pub(crate) what: String,
    pub(crate) rule: &'static str,
    /// `warning` if it may change what guests get, else `notice`.
    pub(crate) severity: &'static str,
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
}

impl FindingMember {
    pub(crate) fn of(finding: &Finding) -> Self {
        Self {
            host: None,
            what: finding.what.clone(),
            rule: finding.rule.name(),
            severity: if finding.is_loud { "warning" } else { "notice" },
            reason: finding.reason.clone(),
            line: finding.line,
        }
    }

    pub(crate) fn of_host(host: &str, finding: &Finding) -> Self {
        Self { host: Some(host.to_owned()), ..Self::of(finding) }
    }

    /// A file that was left out.
    pub(crate) fn of_skipped((path, reason): &(String, String)) -> Self {
        let finding = Finding::malformed("file", format!("left out: {reason}")).loud();
        Self::of_host(path, &finding)
    }
}

/// One reason why a guest cannot run on a host.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RefusalMember {
    pub(crate) what: String,
    pub(crate) rule: &'static str,
    pub(crate) guest: SideMember,
    pub(crate) host: SideMember,
    pub(crate) reason: String,
}

impl RefusalMember {
    pub(crate) fn of(refusal: &selfsame_cpuid::Refusal) -> Self {
        let row = match refusal.what {
            What::Value(name) => VALUES.iter().find(|row| row.name == name),
            _ => None,
        };
        let side = |side: &Side| match (row, side) {
            (Some(row), Side::Number(number)) => SideMember::number(row, *number),
            _ => SideMember::of(side),
        };
        Self {
            what: refusal.what.to_string(),
            rule: refusal.rule.name(),
            guest: side(&refusal.guest),
            host: side(&refusal.host),
            reason: refusal.reason.to_string(),
        }
    }
}

/// What one side has.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub(crate) enum SideMember {
    /// The reason lies in the guest alone.
    Nothing(()),
    /// A feature is there or not.
    Bit(bool),
    /// A number.
    Number(u32),
    /// A register, or a leaf's number.
    Hex(#[serde(serialize_with = "as_hex")] u32),
    /// A component's place.
    Place { size: u32, offset: u32 },
    /// A vendor or a kind.
    Text(String),
}

impl SideMember {
    fn of(side: &Side) -> Self {
        match *side {
            Side::Bit(is_there) => Self::Bit(is_there),
            Side::Number(number) => Self::Number(number),
            Side::Place { size_bytes, offset_bytes } => Self::Place { size: size_bytes, offset: offset_bytes },
            other => Self::Text(other.to_string()),
        }
    }

    /// A number as its row is read: leaves and what is wider than any count are hexadecimal.
    pub(crate) fn number(row: &Value, number: u32) -> Self {
        if is_hex(row) { Self::Hex(number) } else { Self::Number(number) }
    }

    /// Whether it is a number that is zero.
    pub(crate) const fn is_zero(&self) -> bool {
        matches!(self, Self::Number(0) | Self::Hex(0))
    }

    /// As people read it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Nothing(()) => String::new(),
            Self::Bit(true) => "yes".to_owned(),
            Self::Bit(false) => "no".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Hex(number) => format!("{number:#x}"),
            Self::Place { size, offset } => format!("{size} bytes at {offset:#x}"),
            Self::Text(text) => text.clone(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn as_hex<S: serde::Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:#x}"))
}

/// `show`
#[derive(Debug, Serialize)]
pub(crate) struct ShowDocument {
    pub(crate) schema: u32,
    pub(crate) name: String,
    pub(crate) source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topology: Option<String>,
    pub(crate) vendor: String,
    #[serde(flatten)]
    pub(crate) signature: SignatureMember,
    pub(crate) brand: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<usize>,
    pub(crate) context: BTreeMap<String, String>,
    pub(crate) features: Vec<&'static str>,
    pub(crate) xcr0: String,
    pub(crate) xss: String,
    pub(crate) xstate: XstateMember,
    /// What lets a hypervisor level guests whose CPUID does not exit: as it was probed, else as the CPU's model is expected to
    /// have it.
    pub(crate) levelling: Vec<String>,
    pub(crate) findings: Vec<FindingMember>,
}

/// `level`
#[derive(Debug, Serialize)]
pub(crate) struct LevelDocument {
    pub(crate) schema: u32,
    pub(crate) kind: &'static str,
    pub(crate) hosts: Vec<String>,
    pub(crate) costs: Vec<CostMember>,
    pub(crate) featureset: Option<String>,
    pub(crate) features: Vec<&'static str>,
    pub(crate) values: BTreeMap<&'static str, SideMember>,
    pub(crate) vendor: Option<String>,
    pub(crate) signature: Option<SignatureMember>,
    pub(crate) xcr0: Option<String>,
    pub(crate) xss: Option<String>,
    pub(crate) xstate: Option<XstateMember>,
    pub(crate) lost: Vec<LostMember>,
    pub(crate) kept_as_warning: Vec<WarningMember>,
    pub(crate) refusals: Vec<LevelRefusal>,
    pub(crate) findings: Vec<FindingMember>,
    pub(crate) policy: Option<String>,
    pub(crate) running: Vec<RunningMember>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) export: Option<ExportMember>,
}

/// A policy in the form that another stack takes.
#[derive(Debug, Serialize)]
pub(crate) struct ExportMember {
    pub(crate) target: &'static str,
    pub(crate) text: String,
    pub(crate) notes: Vec<NoteMember>,
}

/// What that form does not say.
#[derive(Debug, Serialize)]
pub(crate) struct NoteMember {
    pub(crate) what: Vec<String>,
    pub(crate) reason: String,
}

/// What one host brings to a level, and what it costs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CostMember {
    pub(crate) host: String,
    // Thousands of hosts may have these in common.
    pub(crate) path: Rc<str>,
    pub(crate) source: Rc<str>,
    pub(crate) cpu: Rc<str>,
    /// How many features it gives.
    pub(crate) features: usize,
    /// Features that the level lacks because of it, maybe among others.
    pub(crate) lost: usize,
    /// Features that the level lacks because of it alone.
    pub(crate) lost_alone: Vec<&'static str>,
}

/// A feature that the level lacks.
#[derive(Debug, Serialize)]
pub(crate) struct LostMember {
    pub(crate) feature: &'static str,
    pub(crate) hosts: Vec<String>,
    pub(crate) rule: &'static str,
    pub(crate) because: String,
}

/// A warning that the level lacks.
#[derive(Debug, Serialize)]
pub(crate) struct WarningMember {
    pub(crate) feature: &'static str,
    pub(crate) hosts: Vec<String>,
    pub(crate) because: String,
}

/// Why hosts have no level.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LevelRefusal {
    pub(crate) what: String,
    pub(crate) rule: &'static str,
    pub(crate) hosts: Vec<String>,
    pub(crate) values: Vec<ValueOfHosts>,
    pub(crate) reason: String,
}

/// A value, and the hosts that have it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ValueOfHosts {
    pub(crate) value: SideMember,
    pub(crate) hosts: Vec<String>,
}

/// What a host says to a guest that runs already.
#[derive(Debug, Serialize)]
pub(crate) struct RunningMember {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) accepted: bool,
    pub(crate) refusals: Vec<RefusalMember>,
}

/// `check`
#[derive(Debug, Serialize)]
pub(crate) struct CheckDocument {
    pub(crate) schema: u32,
    pub(crate) accepted: bool,
    pub(crate) guest: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) kind: &'static str,
    /// Whether what the host gives was derived from its hardware by the table.
    pub(crate) derived: bool,
    /// What `virsh cpu-compare` would say, where the guest is libvirt's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparison: Option<&'static str>,
    pub(crate) refusals: Vec<RefusalMember>,
    pub(crate) findings: Vec<FindingMember>,
}

/// `policy`
#[derive(Debug, Serialize)]
pub(crate) struct PolicyDocument {
    pub(crate) schema: u32,
    pub(crate) name: Option<String>,
    pub(crate) kind: &'static str,
    pub(crate) features: Vec<&'static str>,
    pub(crate) refusals: Vec<LevelRefusal>,
    pub(crate) findings: Vec<FindingMember>,
    pub(crate) policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) export: Option<ExportMember>,
}
