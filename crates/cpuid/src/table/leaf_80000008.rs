//! Leaf 0x80000008, EBX: AMD's extended features, with its speculation controls.

use super::leaf_01::{CLFLUSH, FPU, PCID};
use super::leaf_80000001::LM;
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Register, Word};

const EBX: Word = Word::leaf(0x8000_0008, Register::Ebx);

pub(crate) const INVLPGB: Place = EBX.bit(3);
pub(crate) const AMD_MBA: Place = EBX.bit(6);
pub(crate) const IBPB: Place = EBX.bit(12);
pub(crate) const IBRS: Place = EBX.bit(14);
pub(crate) const AMD_STIBP: Place = EBX.bit(15);
pub(crate) const AMD_NO_SSB: Place = EBX.bit(26);
pub(crate) const CPPC: Place = EBX.bit(27);
pub(crate) const AMD_IBPB_RET: Place = EBX.bit(30);
pub(crate) const AMD_PSFD: Place = EBX.bit(28);
pub(crate) const AMD_SSBD: Place = EBX.bit(24);
pub(crate) const VIRT_SSBD: Place = EBX.bit(25);

/// The rows.
pub(crate) static ROWS: [Feature; 27] = [
    row(EBX.bit(0), "clzero")
        .linux("clzero")
        .xen("CLZERO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[CLFLUSH])
        .because(
            "zeroes a cache line; two Zen machines of the corpus ran QEMU from before it had the name",
            "APM vol. 3, app. E, Fn8000_0008:EBX",
        ),
    row(EBX.bit(1), "irperf")
        .linux("irperf")
        .because("instructions-retired MSR, not virtualised", "APM vol. 3, app. E, Fn8000_0008:EBX"),
    row(EBX.bit(2), "xsaveerptr")
        .linux("xsaveerptr")
        .xen("RSTR_FP_ERR_PTRS")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[FPU])
        .because(
            "XRSTOR always restores the error pointers, so a guest may skip clearing them; older QEMU had no name",
            "APM vol. 3, app. E, Fn8000_0008:EBX",
        ),
    row(INVLPGB, "invlpgb").linux("invlpgb").needs(&[PCID]).because(
        "broadcast flush by ASID, which is the hypervisor's (Linux edge)",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(EBX.bit(4), "rdpru")
        .linux("rdpru")
        .because("reads APERF and MPERF of the host in user mode", "APM vol. 3, app. E, Fn8000_0008:EBX"),
    row(AMD_MBA, "amd-mba").linux("mba").because(
        "memory bandwidth limits by class of service belong to the host",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(EBX.bit(8), "mcommit").because(
        "commits stores with error report; needs an EFER bit that KVM and Xen refuse",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(EBX.bit(9), "wbnoinvd").linux("wbnoinvd").xen("WBNOINVD").offer(Hardware, Never, Never, Never).because(
        "write back without invalidate; decodes as WBINVD where missing, KVM makes it a no-op",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(IBPB, "ibpb").linux("amd_ibpb").xen("IBPB").offer(Hardware, Hardware, Hardware, Hardware).because(
        "PRED_CMD barrier; KVM and Xen make it for Intel guests out of spec-ctrl",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(EBX.bit(13), "wbinvd-int")
        .because("WBINVD can be interrupted; of no use where it exits", "APM vol. 3, app. E, Fn8000_0008:EBX"),
    row(IBRS, "ibrs").linux("amd_ibrs").xen("IBRS").offer(Hardware, Hardware, Hardware, Never).because(
        "SPEC_CTRL.IBRS; the one corpus machine ran QEMU without its name; Xen not for PV, which has no IBRS",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(AMD_STIBP, "amd-stibp").linux("amd_stibp").xen("AMD_STIBP").offer(Hardware, Hardware, Hardware, Never).because(
        "SPEC_CTRL.STIBP; Dali and QEMU's EPYC-Rome model have it without ibrs, so Xen's edge is left out",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(EBX.bit(16), "ibrs-always").xen("IBRS_ALWAYS").offer(Never, Hardware, Hardware, Never).needs(&[IBRS]).because(
        "says to leave IBRS set, always; no dump has it and KVM does not list it",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(EBX.bit(17), "stibp-always-on")
        .linux("amd_stibp_always_on")
        .xen("STIBP_ALWAYS")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[AMD_STIBP])
        .because(
            "says to leave STIBP set, always; one-way advice, Xen only for HVM",
            "APM vol. 3, app. E, Fn8000_0008:EBX",
        ),
    row(EBX.bit(18), "ibrs-fast").xen("IBRS_FAST").offer(Never, Hardware, Hardware, Never).needs(&[IBRS]).because(
        "IBRS is cheaper than retpoline; one early Rome reports it without ibrs; KVM does not list it",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(EBX.bit(19), "amd-ibrs-same-mode")
        .linux("amd_ibrs_same_mode")
        .xen("IBRS_SAME_MODE")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[IBRS])
        .because(
            "IBRS guards same-mode branches too; one early Rome reports it without ibrs; KVM since 6.15",
            "APM vol. 3, app. E, Fn8000_0008:EBX",
        ),
    row(EBX.bit(20), "efer-lmsle-mbz")
        .linux("efer_lmsle_mbz")
        .xen("NO_LMSL")
        .relation(Any)
        .offer(Hardware, Made, Made, Never)
        .needs(&[LM])
        .because(
            "EFER.LMSLE faults: one such host is enough for guests to do without; Xen HVM never lets it be set",
            "APM vol. 3, app. E, Fn8000_0008:EBX",
        ),
    row(EBX.bit(21), "tlb-flush-nested")
        .needs(&[INVLPGB])
        .because("INVLPGB reaches nested guests; not virtualised", "APM vol. 3, app. E, Fn8000_0008:EBX"),
    row(EBX.bit(23), "amd-ppin")
        .linux("amd_ppin")
        .xen("AMD_PPIN")
        .because("serial number of the host's package", "APM vol. 3, app. E, Fn8000_0008:EBX"),
    row(AMD_SSBD, "amd-ssbd").linux("amd_ssbd").xen("AMD_SSBD").offer(Hardware, Hardware, Hardware, Never).because(
        "SPEC_CTRL.SSBD; two Zen 2 dumps and the KVM offers of the corpus lack ibrs beside it, so no edge",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(VIRT_SSBD, "virt-ssbd").linux("virt_ssbd").xen("VIRT_SSBD").offer(Hardware, Hardware, Hardware, Never).because(
        "made by hypervisors over LS_CFG or SPEC_CTRL, never raw; Xen leaves new guests with amd-ssbd to that",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(AMD_NO_SSB, "amd-no-ssb")
        .linux("amd_ssb_no")
        .xen("SSB_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "not open to speculative store bypass; a guest that skips SSBD must not leave such hosts",
            "APM vol. 3, app. E, Fn8000_0008:EBX",
        ),
    row(CPPC, "cppc")
        .linux("cppc")
        .xen("CPPC")
        .because("performance requests belong to the host", "APM vol. 3, app. E, Fn8000_0008:EBX"),
    row(AMD_PSFD, "amd-psfd")
        .linux("amd_psfd")
        .xen("PSFD")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[IBRS])
        .because("SPEC_CTRL.PSFD; no CPU has it without ibrs", "APM vol. 3, app. E, Fn8000_0008:EBX"),
    row(EBX.bit(29), "btc-no").linux("btc_no").xen("BTC_NO").offer(Never, Hardware, Hardware, Hardware).because(
        "not open to branch type confusion; Xen passes it, KVM's list leaves it out",
        "APM vol. 3, app. E, Fn8000_0008:EBX",
    ),
    row(AMD_IBPB_RET, "amd-ibpb-ret")
        .linux("amd_ibpb_ret")
        .xen("IBPB_RET")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[IBPB])
        .because(
            "IBPB flushes the return predictor too; KVM passes it since 6.13",
            "APM vol. 3, app. E, Fn8000_0008:EBX",
        ),
    row(EBX.bit(31), "brs")
        .linux("brs")
        .because("branch sampling of Zen 3, for the host's perf", "APM vol. 3, app. E, Fn8000_0008:EBX"),
];
