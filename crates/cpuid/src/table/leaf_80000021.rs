//! Leaf 0x80000021: AMD's newer features, with its mitigations.

use super::leaf_07_0_ebx::AVX512BW;
use super::leaf_80000001::LM;
use super::leaf_80000008::{AMD_PSFD, IBPB, IBRS};
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::leaf(0x8000_0021, Register::Eax);
const ECX: Word = Word::leaf(0x8000_0021, Register::Ecx);

pub(crate) const LFENCE_ALWAYS_SERIALIZING: Place = EAX.bit(2);
pub(crate) const VERW_CLEAR: Place = EAX.bit(5);
pub(crate) const NULL_SEL_CLR_BASE: Place = EAX.bit(6);
pub(crate) const NO_SMM_CTL_MSR: Place = EAX.bit(9);
pub(crate) const SRSO_USER_KERNEL_NO: Place = EAX.bit(30);
pub(crate) const SRSO_BP_SPEC_REDUCE: Place = EAX.bit(31);

/// The rows.
pub(crate) static ROWS: [Feature; 28] = [
    row(EAX.bit(0), "no-nested-data-bp")
        .linux("no_nested_data_bp")
        .xen("NO_NEST_BP")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "data breakpoints do not nest; a promise that debuggers rely on",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(EAX.bit(1), "fs-gs-base-ns")
        .linux("wrmsr_xx_base_ns")
        .xen("FS_GS_NS")
        .relation(Any)
        .offer(Hardware, Hardware, Hardware, Never)
        .because(
            "writes to FS and GS base do not serialise: one such host and the guest must add its own fence",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(LFENCE_ALWAYS_SERIALIZING, "lfence-always-serializing")
        .linux("lfence_rdtsc")
        .xen("LFENCE_DISPATCH")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "LFENCE waits for all before it; on earlier CPUs by an MSR bit that Linux and Xen set, so those have it too",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(EAX.bit(3), "smm-page-cfg-lock")
        .because("locks paging of SMM, which firmware owns", "APM vol. 3, app. E, Fn8000_0021:EAX"),
    row(EAX.bit(4), "tlbsync-sfw-no").linux("tlbsync_sfw_no").because(
        "no software flush is needed after TLBSYNC; of use with INVLPGB, which guests lack",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(VERW_CLEAR, "verw-clear")
        .linux("verw_clear")
        .xen("VERW_CLEAR")
        .relation(Any)
        .offer(Hardware, Anywhere, Anywhere, Anywhere)
        .because(
            "VERW flushes on some host, so the guest must do it; KVM gives it where its host has it (6.16)",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(NULL_SEL_CLR_BASE, "null-sel-clr-base")
        .linux("null_sel_clr_base")
        .xen("NSCB")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "loading a null selector clears the base; Zen 2 does so without saying it, and Linux and Xen find out",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(EAX.bit(7), "upper-addr-ignore").needs(&[LM]).because(
        "upper bits of pointers are ignored by EFER.UAIE, which KVM and Xen refuse",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(8), "auto-ibrs")
        .linux("autoibrs")
        .xen("AUTO_IBRS")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[IBRS])
        .because(
            "EFER.AIBRSE replaces IBRS writes; Xen not for PV, which has no EFER of its own",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(NO_SMM_CTL_MSR, "no-smm-ctl-msr")
        .linux("no_smm_ctl_msr")
        .relation(Any)
        .offer(Anywhere, Never, Never, Never)
        .because(
            "MSR C001_0116 is absent: KVM never has the MSR and says so wherever it shows the leaf",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(EAX.bit(10), "amd-fsrs").xen("AMD_FSRS").offer(Never, Hardware, Hardware, Hardware).because(
        "short REP STOSB is fast; a hint that Xen passes and KVM's list leaves out",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(11), "amd-fsrc").xen("AMD_FSRC").offer(Never, Hardware, Hardware, Hardware).because(
        "short REP CMPSB is fast; a hint that Xen passes and KVM's list leaves out",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(13), "prefetch-ctl-msr").because(
        "prefetcher switches, MSR C000_0108, of the core that guests share",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(16), "opcode-reclaim").because(
        "reclaims old opcodes; no guest control is virtualised (judgement)",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(17), "gp-on-user-cpuid").linux("gp_on_user_cpuid").xen("CPUID_USER_DIS").because(
        "CPUID faulting by HWCR bit 35, the hypervisor's own tool for PV; Xen knows and hides it",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(18), "epsf").xen("EPSF").offer(Never, Hardware, Hardware, Hardware).needs(&[AMD_PSFD]).because(
        "predictive store forwarding is there, so PSFD has a point; Xen passes it, KVM does not list it",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(19), "fsrsc").xen("FSRSC").offer(Never, Hardware, Hardware, Hardware).because(
        "short REP SCASB is fast; a hint that Xen passes and KVM's list leaves out",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(20), "prefetchi")
        .linux("prefetchi")
        .xen("AMD_PREFETCHI")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "instruction prefetch hints, no-ops elsewhere; KVM passes it since 2025",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(EAX.bit(22), "amd-workload-class").linux("amd_workload_class").because(
        "classes of running work for the host's scheduler, on hybrid Zen 5",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(23), "avx512-bmm")
        .linux("avx512_bmm")
        .xen("AVX512_BMM")
        .offer(Hardware, Request, Request, Request)
        .needs(&[AVX512BW])
        .because(
            "bit matrix products on ZMM registers; Xen gives it on request, KVM's 2026 patches pass it",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(EAX.bit(24), "eraps").linux("eraps").offer(Hardware, Never, Never, Never).because(
        "return predictor is flushed with the TLB; KVM sets the control for guests since 7.0, Xen has no name",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(EAX.bit(27), "sbpb")
        .linux("sbpb")
        .xen("SBPB")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[IBPB])
        .because(
            "PRED_CMD barrier of the branch predictor alone; KVM also sets it by microcode version",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(EAX.bit(28), "ibpb-brtype")
        .linux("ibpb_brtype")
        .xen("IBPB_BRTYPE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[IBPB])
        .because(
            "IBPB flushes branch types; KVM also sets it by microcode version",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(EAX.bit(29), "srso-no").linux("srso_no").xen("SRSO_NO").offer(Hardware, Hardware, Hardware, Hardware).because(
        "not open to SRSO; a guest that skips the safe return must not leave such hosts",
        "APM vol. 3, app. E, Fn8000_0021:EAX",
    ),
    row(SRSO_USER_KERNEL_NO, "srso-user-kernel-no")
        .linux("srso_user_kernel_no")
        .xen("SRSO_US_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "not open to SRSO across privilege, which PV kernels do not have: of use to them with BP_SPEC_REDUCE only",
            "APM vol. 3, app. E, Fn8000_0021:EAX",
        ),
    row(SRSO_BP_SPEC_REDUCE, "srso-bp-spec-reduce")
        .linux("srso_bp_spec_reduce")
        .xen("SRSO_MSR_FIX")
        .because("BP_CFG bit by which the host protects itself from guests", "APM vol. 3, app. E, Fn8000_0021:EAX"),
    row(ECX.bit(1), "tsa-sq-no")
        .linux("tsa_sq_no")
        .xen("TSA_SQ_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "not open to TSA by the store queue; KVM and Xen also set it by family",
            "AMD, Technical Guidance for Mitigating Transient Scheduler Attacks",
        ),
    row(ECX.bit(2), "tsa-l1-no")
        .linux("tsa_l1_no")
        .xen("TSA_L1_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "not open to TSA by the L1; KVM and Xen also set it by family",
            "AMD, Technical Guidance for Mitigating Transient Scheduler Attacks",
        ),
];
