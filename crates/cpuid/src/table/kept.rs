//! Leaves without named bits: what a policy does with each as a whole.

use crate::feature::Relation::{self, *};

/// The relation of the subleaves of a leaf that are only kept.
#[derive(Clone, Copy, Debug)]
pub struct KeptLeaf {
    /// The leaf.
    pub leaf: u32,
    /// [`Relation::Descriptive`], [`Relation::Derived`] or [`Relation::Local`].
    pub relation: Relation,
    /// Why.
    pub reason: &'static str,
    /// Where the manual defines the leaf.
    pub source: &'static str,
}

const fn kept(leaf: u32, relation: Relation, reason: &'static str, source: &'static str) -> KeptLeaf {
    KeptLeaf { leaf, relation, reason, source }
}

/// The kept leaves, ascending. Hypervisor leaves, from 0x40000000 on, are not listed: they are [`Relation::Local`].
pub static KEPT_LEAVES: [KeptLeaf; 31] = [
    kept(
        0x2,
        Descriptive,
        "cache and TLB descriptors; software tunes by them and stays correct without",
        "SDM vol. 2A, CPUID.02H",
    ),
    kept(0x3, Local, "a serial number belongs to one CPU", "SDM vol. 2A, CPUID.03H"),
    kept(
        0x4,
        Descriptive,
        "caches describe; who shares them is written from the guest's topology",
        "SDM vol. 2A, CPUID.04H",
    ),
    kept(0xb, Derived, "written from the guest's topology; the ids in it are the vCPU's", "SDM vol. 2A, CPUID.0BH"),
    kept(0xd, Derived, "rows of the components that the features use, rebuilt with them", "SDM vol. 1, 13.2"),
    kept(0x10, Local, "allocation classes are the host's to share out", "SDM vol. 3B, 18.19"),
    kept(0x12, Local, "enclave page cache sections are places in one host's memory", "SDM vol. 3D, 36.7.2"),
    kept(
        0x15,
        Local,
        "a clock ratio belongs to one CPU; a guest learns its TSC rate from its hypervisor",
        "SDM vol. 2A, CPUID.15H",
    ),
    kept(0x16, Local, "frequencies belong to one CPU", "SDM vol. 2A, CPUID.16H"),
    kept(0x17, Local, "names the system-on-chip of one machine", "SDM vol. 2A, CPUID.17H"),
    kept(
        0x18,
        Local,
        "neither KVM nor Xen shows it, and how many CPUs share a TLB is topology",
        "SDM vol. 2A, CPUID.18H",
    ),
    kept(0x1a, Local, "the type of one core; a vCPU moves between types", "SDM vol. 2A, CPUID.1AH"),
    kept(0x1b, Local, "memory encryption targets of one host", "SDM vol. 2A, CPUID.1BH"),
    kept(0x1f, Derived, "written from the guest's topology; the ids in it are the vCPU's", "SDM vol. 2A, CPUID.1FH"),
    kept(0x20, Local, "history reset belongs to one host's scheduler", "SDM vol. 2A, CPUID.20H"),
    kept(
        0x21,
        Local,
        "says that this is a TDX guest; its module answers it",
        "Intel TDX module specification, CPUID.21H",
    ),
    kept(0x27, Local, "monitoring of the host's caches", "SDM vol. 3B, 18.18"),
    kept(0x28, Local, "allocation classes are the host's to share out", "SDM vol. 3B, 18.19"),
    kept(0x8000_0002, Descriptive, "brand string, first part", "SDM vol. 2A, CPUID.80000002H; APM vol. 3, E.4.3"),
    kept(0x8000_0003, Descriptive, "brand string, second part", "SDM vol. 2A, CPUID.80000003H; APM vol. 3, E.4.3"),
    kept(0x8000_0004, Descriptive, "brand string, third part", "SDM vol. 2A, CPUID.80000004H; APM vol. 3, E.4.3"),
    kept(0x8000_0005, Descriptive, "first-level caches and TLBs describe", "APM vol. 3, E.4.4"),
    kept(
        0x8000_0006,
        Descriptive,
        "second- and third-level caches and TLBs describe",
        "APM vol. 3, E.4.5; SDM vol. 2A, CPUID.80000006H",
    ),
    kept(0x8000_0019, Descriptive, "TLBs for 1 GiB pages describe", "APM vol. 3, E.4.15"),
    kept(
        0x8000_001d,
        Descriptive,
        "caches describe; who shares them is written from the guest's topology",
        "APM vol. 3, E.4.19",
    ),
    kept(0x8000_001e, Derived, "written from the guest's topology; the ids in it are the vCPU's", "APM vol. 3, E.4.20"),
    kept(0x8000_0020, Local, "allocation classes are the host's to share out", "APM vol. 3, E.4.22"),
    kept(0x8000_0026, Derived, "written from the guest's topology; the ids in it are the vCPU's", "APM vol. 3, E.4.24"),
    kept(
        0x8086_0000,
        Local,
        "Transmeta leaves end with the family that had them",
        "Transmeta processor recognition, 2002",
    ),
    kept(
        0xc000_0000,
        Derived,
        "the highest Centaur leaf follows what is non-zero",
        "VIA PadLock programming guide, 2.3",
    ),
    kept(0xc000_0002, Local, "temperatures and ratios of one CPU", "VIA PadLock programming guide, 2.3"),
];

/// The relation of the kept subleaves of `leaf`; [`Relation::Local`] where no row says otherwise.
pub(crate) fn relation_of(leaf: u32) -> Relation {
    KEPT_LEAVES.iter().find(|row| row.leaf == leaf).map_or(Local, |row| row.relation)
}
