//! Where the table deliberately says otherwise than Xen c447b7308b.

use super::{EdgeDifference, RowDifference, edge};

const fn row(xen: &'static str, theirs: &'static str, ours: &'static str, why: &'static str) -> RowDifference {
    RowDifference { xen, theirs, ours, why }
}

/// Features whose relation or offers are not what the letters of Xen's public header say, in the order of their places.
pub(crate) static XEN_ROWS: [RowDifference; 21] = [
    row(
        "X2APIC",
        "!S",
        "all, made made never",
        "Xen's code adds it to every HVM guest, whose local APIC is emulated, and to PV's max policy; so do we",
    ),
    row("OSXSAVE", "!", "dynamic, hardware hardware hardware", "answered at the exit from CR4, as Xen does by hand"),
    row("HYPERVISOR", "!A", "all, made made made", "Xen's code sets it for every guest; no hardware has it"),
    row(
        "APIC",
        "!A",
        "all, made made hardware",
        "Xen's code adds it to every HVM guest; the answer follows APIC_BASE at the exit",
    ),
    row(
        "HTT",
        "!A",
        "all, anywhere anywhere anywhere",
        "Xen's code adds it to every max policy: topology is the guest's",
    ),
    row(
        "FDP_EXCP_ONLY",
        "!",
        "any, anywhere anywhere anywhere",
        "Xen overwrites it with this host's value under a running guest; one host that keeps no FDP is enough for all",
    ),
    row("ERMS", "A", "all, anywhere anywhere anywhere", "Xen's code adds it to every max policy: a hint about speed"),
    row(
        "NO_FPU_SEL",
        "!",
        "any, anywhere anywhere anywhere",
        "Xen overwrites it with this host's value under a running guest; one host that saves no selectors is enough",
    ),
    row("OSPKE", "!", "dynamic, hardware never never", "answered at the exit from CR4, for kinds that are given PKU"),
    row(
        "MD_CLEAR",
        "!A|",
        "any, anywhere anywhere anywhere",
        "Xen's code adds it to every Intel max policy and takes the host's value for the default; so do we",
    ),
    row(
        "RTM_ALWAYS_ABORT",
        "!",
        "all, hardware hardware hardware",
        "Xen's code adds it to the max policy where RTM is, and to the default where RTM is disabled; so do we",
    ),
    row("ARCH_CAPS", "!A", "all, made made made", "Xen's code adds it to every policy of an Intel host: it is data"),
    row(
        "CMP_LEGACY",
        "!A",
        "all, anywhere anywhere anywhere",
        "Xen's code adds it to every max policy: it says how to count cores, which are the guest's",
    ),
    row(
        "NO_LMSL",
        "S|",
        "any, made made never",
        "Xen's code adds it to every HVM policy, for it never lets EFER.LMSLE be set",
    ),
    row(
        "VIRT_SSBD",
        "!",
        "all, hardware hardware never",
        "Xen's code adds it to HVM's max policy where it can make it, and to the default where there is no AMD_SSBD; so do we",
    ),
    row(
        "FS_GS_NS",
        "S|",
        "any, hardware hardware never",
        "Xen's rule for pools is OR, yet no max policy of a host without it would take the result: levels by AND, and \
         the hosts that need it are named in a warning",
    ),
    row(
        "VERW_CLEAR",
        "!A|",
        "any, anywhere anywhere anywhere",
        "Xen's code adds it to every AMD max policy and takes the host's value for the default; so do we",
    ),
    row(
        "RSBA",
        "!",
        "any, anywhere anywhere anywhere",
        "Xen's code adds it to every Intel max policy, and to the default where the host has RSBA or RRSBA and the guest \
         sees no EIBRS; so do we",
    ),
    row(
        "FB_CLEAR",
        "!A|",
        "any, anywhere anywhere anywhere",
        "Xen's code adds it to every Intel max policy and takes the host's value for the default; so do we",
    ),
    row(
        "RRSBA",
        "!",
        "any, anywhere anywhere anywhere",
        "Xen's code adds it to every Intel max policy, and to the default where the host has RSBA or RRSBA and the guest \
         sees EIBRS; so do we",
    ),
    row(
        "RFDS_CLEAR",
        "!A|",
        "any, anywhere anywhere anywhere",
        "Xen's code adds it to every Intel max policy and takes the host's value for the default; so do we",
    ),
];

/// Prerequisites that Xen keeps and the table does not, by Xen's names.
pub(crate) static XEN_EDGES: [EdgeDifference; 4] = [
    edge("STIBP", "IBRSB", "KVM makes the Intel bit from AMD's own alone, on Zen 2 and 3"),
    edge("SSBD", "IBRSB", "KVM makes the Intel bit from AMD's own alone (EPYC-7502)"),
    edge("AMD_STIBP", "IBRS", "Dali, an early Rome and QEMU's EPYC-Rome have it without IBRS"),
    edge("AMD_SSBD", "IBRS", "two Zen 2 dumps and KVM offers of the corpus have it without IBRS"),
];

/// How many features with a Xen name go when a key of Xen's table goes.
pub(crate) struct Lost {
    /// The key, by Xen's name.
    pub(crate) key: &'static str,
    /// How many go in Xen.
    pub(crate) theirs: usize,
    /// How many go here.
    pub(crate) ours: usize,
    /// Why the numbers differ.
    pub(crate) why: &'static str,
}

const fn lost(key: &'static str, theirs: usize, ours: usize, why: &'static str) -> Lost {
    Lost { key, theirs, ours, why }
}

/// The keys with which the table loses another number of features than Xen.
pub(crate) static LOST_WITH: [Lost; 10] = [
    lost("FPU", 5, 93, "fxsr needs fpu (Linux), and with it go SSE and XSAVE"),
    lost("FXSR", 30, 87, "xsave needs fxsr (Linux), and with it goes all extended state; f16c needs sse2 (Linux)"),
    lost("IBRS", 9, 6, "no edge to AMD_STIBP and AMD_SSBD, so STIBP_ALWAYS stays as well"),
    lost("IBRSB", 8, 7, "no edge to STIBP and SSBD; DDP_CTRL is a bit of SPEC_CTRL"),
    lost(
        "LM",
        14,
        25,
        "fsgsbase, la57, lam, lass, fred (and nmi-src), uintr (and uiret-uif), pks, msrlist exist in 64-bit mode only; \
         ospke follows pku",
    ),
    lost("NX", 1, 2, "lass needs smap"),
    lost("PAE", 17, 28, "as LM, which needs it"),
    lost("SSE", 28, 40, "as LM, which needs sse2, and f16c (Linux)"),
    lost("SSE2", 26, 38, "as LM, which needs it, and f16c (Linux)"),
    lost(
        "XSAVE",
        47,
        54,
        "shstk (and cet-sss), enqcmd and xfd need xsaves; osxsave and ospke answer for xsave and pku",
    ),
];
