//! Which feature a name means, in the spelling of the project that wrote it.
//!
//! One word may mean another bit elsewhere: `prefetchi` is AMD's bit for QEMU and Intel's for Xen, `ibrs` is a bit of the
//! vendor's own for Linux. A name is therefore resolved by who wrote it and by whose CPU it is about, here and nowhere
//! else.

use std::collections::HashMap;
use std::sync::LazyLock;

use selfsame_cpuid::{FEATURES, Feature, Relation, Vendor, feature};

use crate::nearest_name::NearestNames;

/// Whose names of features a file uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Spelling {
    /// QEMU and libvirt, which know each other's.
    Qemu,
    /// `/proc/cpuinfo`.
    Linux,
    /// Xen: its public header, `cpuid=` and `xen-cpuid`, in any case, with `-` or `_`.
    Xen,
}

/// What a name means.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    /// A bit that CPUID or an MSR shows.
    Feature(&'static Feature),
    /// Something that the project says of the machine and that no bit of CPUID shows: what it is.
    Software(&'static str),
}

/// Finds out what a name means where `spelling` is used, on a CPU of `vendor`.
///
/// ```
/// use selfsame_cpuid::Vendor;
/// use selfsame_formats::{Meaning, Spelling, meaning};
///
/// let place = |name, spelling, vendor| match meaning(name, spelling, vendor) {
///     Some(Meaning::Feature(row)) => row.place.to_string(),
///     other => format!("{other:?}"),
/// };
/// assert_eq!(place("prefetchi", Spelling::Qemu, Vendor::Amd), "80000021.eax[20]");
/// assert_eq!(place("PREFETCHI", Spelling::Xen, Vendor::Intel), "00000007.1.edx[14]");
/// assert_eq!(place("ibrs", Spelling::Linux, Vendor::Intel), "00000007.0.edx[26]");
/// assert_eq!(place("ibrs", Spelling::Linux, Vendor::Amd), "80000008.ebx[14]");
/// assert!(meaning("no-such-thing", Spelling::Linux, Vendor::Amd).is_none());
/// ```
pub fn meaning(name: &str, spelling: Spelling, vendor: Vendor) -> Option<Meaning> {
    match spelling {
        Spelling::Qemu => qemu_feature(name),
        Spelling::Linux => match LINUX.get(name)? {
            Flag::OfRow(row) => Some(*row),
            Flag::ByVendor { intel, amd } => Some(if vendor.is_amd_like() { *amd } else { *intel }),
            Flag::OfSoftware(what) => return Some(Meaning::Software(what)),
        },
        Spelling::Xen => XEN.get(&*name.to_ascii_lowercase().replace('_', "-")).copied(),
    }
    .map(Meaning::Feature)
}

/// The feature that QEMU or libvirt calls so; no name of theirs means another bit on another vendor's CPU.
pub(crate) fn qemu_feature(name: &str) -> Option<&'static Feature> {
    let dashed = || name.contains('_').then(|| name.replace('_', "-")).and_then(|name| QEMU.get(&*name));
    QEMU.get(name).or_else(dashed).copied()
}

/// The nearest name of the same spelling, for a name that means nothing.
pub fn suggestion(name: &str, spelling: Spelling) -> Option<String> {
    static IN_QEMU: LazyLock<NearestNames> = LazyLock::new(|| NearestNames::of(QEMU.keys().copied()));
    static IN_LINUX: LazyLock<NearestNames> =
        LazyLock::new(|| NearestNames::of(own_rows(|row| row.linux).map(|(flag, _)| flag)));
    static IN_XEN: LazyLock<NearestNames> = LazyLock::new(|| NearestNames::of(XEN.keys().map(String::as_str)));
    let names = match spelling {
        Spelling::Qemu => &IN_QEMU,
        Spelling::Linux => &IN_LINUX,
        Spelling::Xen => &IN_XEN,
    };
    names.find(name).map(str::to_owned)
}

type Names<K> = LazyLock<HashMap<K, &'static Feature>>;

static QEMU: Names<&'static str> = LazyLock::new(|| {
    // What a name is to somebody else does not count, and a canonical name counts more than an alias.
    let aliases = FEATURES.iter().flat_map(|row| row.aliases.iter().map(move |alias| (*alias, row)));
    aliases.chain(FEATURES.iter().map(|row| (row.name, row))).collect()
});

/// What a flag of Linux stands for.
enum Flag {
    OfRow(&'static Feature),
    ByVendor { intel: &'static Feature, amd: &'static Feature },
    OfSoftware(&'static str),
}

static LINUX: LazyLock<HashMap<&'static str, Flag>> = LazyLock::new(|| {
    let of_rows = own_rows(|row| row.linux).map(|(flag, row)| (flag, Flag::OfRow(row)));
    let of_software = LINUX_SOFTWARE.iter().map(|(flag, what)| (*flag, Flag::OfSoftware(what)));
    let by_vendor = LINUX_BY_VENDOR
        .iter()
        .filter_map(|(flag, intel, amd)| Some((*flag, Flag::ByVendor { intel: feature(intel)?, amd: feature(amd)? })));
    of_rows.chain(of_software).chain(by_vendor).collect()
});

static XEN: Names<String> = LazyLock::new(|| {
    own_rows(|row| row.xen).map(|(name, row)| (name.to_ascii_lowercase().replace('_', "-"), row)).collect()
});

/// The rows that have a name; bits that only repeat others give way to those.
fn own_rows(name: fn(&Feature) -> &'static str) -> impl Iterator<Item = (&'static str, &'static Feature)> {
    let is_repeated = |row: &&Feature| matches!(row.relation, Relation::Derived);
    let rows = FEATURES.iter().filter(is_repeated).chain(FEATURES.iter().filter(move |row| !is_repeated(row)));
    rows.map(move |row| (name(row), row)).filter(|(name, _)| !name.is_empty())
}

/// Flags of Linux that stand for one bit on Intel's CPUs and those that follow Intel, and for another on AMD's, or for a
/// bit of another name: the flag, then both features (Linux arch/x86/kernel/cpu/common.c, init_speculation_control; resctrl by its own bits).
static LINUX_BY_VENDOR: [(&str, &str, &str); 6] = [
    ("ibpb", "spec-ctrl", "ibpb"),
    ("ibrs", "spec-ctrl", "ibrs"),
    ("mba", "mba", "amd-mba"),
    // One bit, which sets this flag and constant_tsc (arch/x86/kernel/cpu/intel.c and amd.c).
    ("nonstop_tsc", "invtsc", "invtsc"),
    ("ssbd", "ssbd", "amd-ssbd"),
    ("stibp", "stibp", "amd-stibp"),
];

/// Flags that Linux makes itself, of what it found out in other ways than by a bit that CPUID shows under this name (Linux
/// arch/x86/include/asm/cpufeatures.h), and what each says. Those of VMX say too little of its MSRs to make them.
static LINUX_SOFTWARE: [(&str, &str); 61] = [
    ("acc_power", "the accumulated power counter, by family"),
    ("always", "true everywhere"),
    ("amd_dcm", "several nodes in one package"),
    ("arch_perfmon", "leaf 0xA counts"),
    ("art", "the crystal clock of leaf 0x15"),
    ("bp_spec_reduce", "a mitigation's MSR bit"),
    ("bts", "branch trace store works"),
    ("centaur_mcr", "MTRRs of another kind"),
    ("constant_tsc", "the TSC's rate does not follow the clock"),
    ("cpuid", "CPUID exists"),
    ("cpuid_dep", "a note about other flags"),
    ("cxmmx", "Cyrix's MMX"),
    ("cyrix_arr", "MTRRs of another kind"),
    ("entry_ibpb", "a mitigation in use"),
    ("ept", "VMX: nested paging"),
    ("ept_ad", "VMX: accessed and dirty bits"),
    ("extd_apicid", "APIC ids of eight bits"),
    ("flexpriority", "VMX: APIC access page"),
    ("hetero_core", "cores of several kinds"),
    ("ibpb_exit_to_user", "a mitigation in use"),
    ("ibrs_enhanced", "a mitigation in use"),
    ("ibrs_exit", "a mitigation in use"),
    ("invpcid_single", "INVPCID of one address, once"),
    ("k6_mtrr", "MTRRs of another kind"),
    ("k8", "by family"),
    ("mfence_rdtsc", "what orders RDTSC"),
    ("msr_spec_ctrl", "IA32_SPEC_CTRL exists"),
    ("nonstop_tsc_s3", "the TSC runs on in S3"),
    ("nopl", "long NOPs work"),
    ("pebs", "precise sampling works"),
    ("pti", "a mitigation in use"),
    ("rapl", "energy counters exist"),
    ("rep_good", "string moves are fast, by family"),
    ("retpoline", "a mitigation in use"),
    ("retpoline_amd", "a mitigation in use"),
    ("retpoline_lfence", "a mitigation in use"),
    ("ring3mwait", "MWAIT in user mode, by MSR"),
    ("rsb_ctxsw", "a mitigation in use"),
    ("sev_es_msrs", "software's"),
    ("split_lock_detect", "split locks trap"),
    ("ssbd_force", "a mitigation in use"),
    ("stuff_rsb", "a mitigation in use"),
    ("swapgs_fence", "a mitigation in use"),
    ("syscall32", "SYSCALL from 32-bit code"),
    ("sysenter32", "SYSENTER from 32-bit code"),
    ("tdx_guest", "runs under TDX"),
    ("tdx_host_platform", "TDX is initialised"),
    ("tpr_shadow", "VMX: TPR shadow"),
    ("tsc_known_freq", "the hypervisor tells the TSC's rate"),
    ("tsc_reliable", "the TSC needs no watchdog"),
    ("up", "one CPU"),
    ("use_ibpb", "a mitigation in use"),
    ("use_ibrs_fw", "a mitigation in use"),
    ("user_shstk", "shadow stacks of user code are in use"),
    ("vcpupreempt", "the hypervisor tells of preempted CPUs"),
    ("vmmcall", "hypercalls are by VMMCALL"),
    ("vpid", "VMX: tagged TLB"),
    ("xcompacted", "XSAVES or XSAVEC is in use"),
    ("xenpv", "a PV guest of Xen"),
    ("xtopology", "leaf 0xB is in use"),
    ("zen5", "by family"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_canonical_name_means_its_own_row() {
        for row in &FEATURES {
            let Some(Meaning::Feature(found)) = meaning(row.name, Spelling::Qemu, Vendor::Unknown) else {
                panic!("{}", row.name)
            };
            assert_eq!(found.place, row.place, "{}", row.name);
        }
    }

    #[test]
    fn every_name_of_linux_and_xen_means_one_row_that_has_it() {
        for row in &FEATURES {
            for (name, spelling) in [(row.linux, Spelling::Linux), (row.xen, Spelling::Xen)] {
                let by_vendor = LINUX_BY_VENDOR.iter().any(|(flag, ..)| *flag == name);
                if name.is_empty() || by_vendor {
                    continue;
                }
                let Some(Meaning::Feature(found)) = meaning(name, spelling, Vendor::Intel) else { panic!("{name}") };
                assert_eq!(found.place, row.place, "{name}");
            }
        }
        for (flag, intel, amd) in LINUX_BY_VENDOR {
            assert!(feature(intel).is_some() && feature(amd).is_some(), "{flag}");
        }
    }

    #[test]
    fn the_nearest_name_is_one_of_the_same_spelling() {
        assert_eq!(suggestion("avx521f", Spelling::Qemu).as_deref(), Some("avx512f"));
        assert_eq!(suggestion("sse4_3", Spelling::Linux).as_deref(), Some("sse4_1"));
        assert_eq!(suggestion("bogus", Spelling::Qemu), None);
    }
}
