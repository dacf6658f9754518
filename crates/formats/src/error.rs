//! Why a file is refused.

use selfsame_cpuid::text::TextError;

use crate::detect::Format;

/// Why a file is not taken as a dump. Lines count from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing is in the file.
    #[error("the file is empty: dump the machine again")]
    Empty,
    /// The file is not text.
    #[error("not a text file: byte {offset} is zero; if it is UTF-16, convert it to UTF-8, if it is packed, unpack it")]
    Binary {
        /// Where the first zero byte is.
        offset: usize,
    },
    /// No row of a known format is in the file.
    #[error("no row of a known format ({}): is it a dump?", format_names())]
    UnknownFormat,
    /// A line is malformed.
    #[error("line {line}: {reason}")]
    Line {
        /// The line.
        line: usize,
        /// What is wrong with it, or what was expected.
        reason: &'static str,
    },
    /// The last row is cut short, or rows that every such CPU has do not follow it.
    #[error("line {line}: the file is cut off here: copy the whole file again")]
    CutOff {
        /// The last line.
        line: usize,
    },
    /// One CPU number has two descriptions, which are not of one CPU.
    #[error("line {line}: cpu {cpu} is described twice, as different CPUs: are these two files in one?")]
    TwoCpus {
        /// The line that contradicts the first description.
        line: usize,
        /// The number of the CPU.
        cpu: u32,
    },
    /// The CPUs are not of one machine: no machine has CPUs of two vendors or families.
    #[error("{}cpu {cpu} is of another {what} than cpu {first}: are these two machines in one file?", at(*.line))]
    TwoMachines {
        /// The line of the CPU's leaf, where it is known.
        line: Option<usize>,
        /// The number of the CPU.
        cpu: u32,
        /// The number of the first CPU.
        first: u32,
        /// `vendor` or `family`.
        what: &'static str,
    },
    /// No logical CPU has leaf 0.
    #[error("no logical cpu with leaf 00000000: the file says nothing about a machine")]
    NoCpu,
    /// A file that tells of features by name has no name that is known here.
    #[error("none of the features that it names is known here: is it about an x86 CPU?")]
    NoKnownFeature,
    /// A JSON text has no expanded CPU model.
    #[error("no expanded CPU model: ask QEMU with `query-cpu-model-expansion`, type `full`")]
    NoModelExpansion,
    /// A JSON text has no list of CPUID entries.
    #[error("no list of CPUID entries, alone or as `entries`")]
    NoEntries,
    /// An entry of a list lacks a number, or has one that is too large. Entries count from 0.
    #[error("entry {entry}: `{field}` is missing or no number of its size")]
    Entry {
        /// The entry.
        entry: usize,
        /// The field.
        field: &'static str,
    },
    /// No `<cpu>` element is in the file, or one without model and features.
    #[error("no <cpu> element that says what a CPU has")]
    NoCpuElement,
    /// A `<cpu>` element cannot be taken.
    #[error("line {line}: {error}")]
    Element {
        /// The line of its tag.
        line: usize,
        /// Why.
        error: Box<ReadError>,
    },
    /// A `<cpu>` or a `-cpu` names a model that nobody knows here.
    #[error(
        "no CPU model is called `{name}`{}; --cpu-map DIR takes the models of a newer libvirt",
        nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default()
    )]
    UnknownModel {
        /// The name.
        name: String,
        /// The nearest name that there is.
        nearest: Option<String>,
    },
    /// QEMU's model is whatever the host has.
    #[error("-cpu {name} does not say what the CPU has: ask that QEMU with `query-cpu-model-expansion`, type `full`")]
    HostsOwnModel {
        /// The model.
        name: String,
    },
    /// A `<cpu>` says only where the guest's CPU comes from.
    #[error(
        "<cpu mode='{mode}'> does not say what the CPU has: give the host's `virsh capabilities` or \
         `virsh domcapabilities`, or `virsh dumpxml` of the running guest"
    )]
    Unexpanded {
        /// The mode.
        mode: &'static str,
    },
    /// The CPU is no x86.
    #[error("this is a CPU of architecture {name}: only x86 is known here")]
    OtherArchitecture {
        /// The architecture, in libvirt's spelling.
        name: String,
    },
    /// Values of MSRs are not what the CPU said: they repeat another MSR's bytes, rotated.
    #[error(
        "{count} VMX MSRs repeat msr {origin:#x} with its bytes rotated (first {first:#x}): they were read through a \
         buffered file and are not the CPU's; dump the MSRs again with `rdmsr` or `selfsame capture`"
    )]
    RotatedMsrs {
        /// The MSR whose value is repeated.
        origin: u32,
        /// The first VMX MSR that repeats it.
        first: u32,
        /// How many do.
        count: usize,
    },
    /// The file tells of several machines where one is asked for.
    #[error("the file tells of {count} machines, where one is asked for: give each a file of its own")]
    SeveralMachines {
        /// How many there are.
        count: usize,
    },
    /// The file is a policy.
    #[error("this is a policy, not a dump of a machine: give it where a policy is asked for")]
    Policy,
    /// A capture breaks the grammar that captures and policies share.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl ReadError {
    /// The name of the model that nobody knows, if that is why the file is refused.
    pub fn unknown_model(&self) -> Option<&str> {
        match self {
            Self::UnknownModel { name, .. } => Some(name),
            Self::Element { error, .. } => error.unknown_model(),
            _ => None,
        }
    }
}

/// The names of all formats.
fn format_names() -> String {
    Format::ALL.map(Format::name).join(", ")
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

/// A name is not that of a [`Format`](crate::Format).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown format: known are {}", format_names())]
pub struct UnknownFormat;

/// A name is not that of a [`Source`](crate::Source).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown source: known are cpuid, kvm, xen and converted:FORMAT")]
pub struct UnknownSource;
