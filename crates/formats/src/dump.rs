//! What a file says about one machine.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use selfsame_cpuid::{Kind, Regs};

use crate::detect::Format;
use crate::error::UnknownSource;
use crate::findings::Finding;
use crate::xen_guests::XenGuests;

/// What a file says about one machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dump {
    /// What the machine is called.
    pub name: String,
    /// Who answered.
    pub source: Source,
    /// What else is known of the machine and of the dump: keys and values, in the file's order.
    pub context: Vec<(String, String)>,
    /// Its logical CPUs, ascending by number, each once.
    pub cpus: Vec<CpuDump>,
    /// What was wrong with the file and how it was taken.
    pub findings: Vec<Finding>,
}

/// What a file says about one logical CPU.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CpuDump {
    /// The CPU's number in the file.
    pub number: u32,
    /// What CPUID answered, by leaf and subleaf; the subleaf is 0 where ECX selects nothing. Absent means zero.
    pub leaves: BTreeMap<(u32, u32), Regs>,
    /// The MSRs that were read; `None` where reading faulted. Absent means that nobody looked.
    pub msrs: BTreeMap<u32, Option<u64>>,
}

impl CpuDump {
    /// A logical CPU of which nothing is known yet.
    pub fn new(number: u32) -> Self {
        Self { number, ..Self::default() }
    }

    /// What CPUID answered for a leaf, if the file has a row of it.
    pub fn get(&self, leaf: u32, subleaf: u32) -> Option<Regs> {
        self.leaves.get(&(leaf, subleaf)).copied()
    }

    /// An MSR's value, if the file has one.
    pub fn msr(&self, index: u32) -> Option<u64> {
        self.msrs.get(&index).copied().flatten()
    }
}

/// Who gave a dump's answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Source {
    /// The CPUID instruction.
    Cpuid,
    /// KVM: what it can give to a guest.
    Kvm,
    /// Xen: what it can give to its guests of one kind.
    Xen(XenGuests),
    /// A file of another tool.
    Converted(Format),
}

impl Source {
    /// Whether the answers claim to be the hardware's own, not a hypervisor's offer.
    pub const fn is_hardware(self) -> bool {
        match self {
            Self::Cpuid => true,
            Self::Kvm | Self::Xen(_) => false,
            Self::Converted(format) => format.is_hardware(),
        }
    }

    /// Whether the answers are names of features, all that there are: what has no name is not there.
    pub const fn is_by_name(self) -> bool {
        matches!(self, Self::Converted(format) if !format.is_hardware())
    }

    /// Whether the answers tell what guests of a kind can have. What a hypervisor offers to one kind says nothing about
    /// another; the hardware decides for all kinds, and libvirt does not say whose its `<cpu>` is.
    pub const fn serves(self, kind: Kind) -> bool {
        match self {
            Self::Kvm | Self::Converted(Format::KvmJson | Format::Qmp | Format::QemuCpu) => matches!(kind, Kind::Kvm),
            Self::Xen(guests) => guests.include(kind),
            Self::Cpuid | Self::Converted(_) => true,
        }
    }
}

/// A capture's context says whose an offer of Xen's is; its source does not.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpuid => f.write_str("cpuid"),
            Self::Kvm => f.write_str("kvm"),
            Self::Xen(_) => f.write_str("xen"),
            Self::Converted(format) => write!(f, "converted:{format}"),
        }
    }
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        match text {
            "cpuid" => Ok(Self::Cpuid),
            "kvm" => Ok(Self::Kvm),
            "xen" => Ok(Self::Xen(XenGuests::Unsaid)),
            _ => {
                let format = text.strip_prefix("converted:").and_then(|format| format.parse().ok());
                format.map(Self::Converted).ok_or(UnknownSource)
            }
        }
    }
}

#[test]
fn every_source_is_read_back_as_it_is_written() {
    let converted = Format::ALL.map(Source::Converted);
    for source in [Source::Cpuid, Source::Kvm, Source::Xen(XenGuests::Unsaid)].into_iter().chain(converted) {
        assert_eq!(source.to_string().parse(), Ok(source));
    }
    assert_eq!("converted:".parse::<Source>(), Err(UnknownSource));
}
