//! Leaf 7, subleaf 0, EDX: speculation controls, AMX and late vector extensions.

use selfsame_xstate::{Component, ComponentSet};

use super::leaf_0d::XSAVES;
use super::leaf_01::XSAVE;
use super::leaf_07_0_ebx::{AVX512BW, AVX512F, AVX512VL, RTM, SGX};
use super::leaf_80000001::LM;
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Register, Word};

const EDX: Word = Word::subleaf(0x7, 0, Register::Edx);

pub(crate) const UINTR: Place = EDX.bit(5);
pub(crate) const MD_CLEAR: Place = EDX.bit(10);
pub(crate) const HYBRID_CPU: Place = EDX.bit(15);
pub(crate) const PCONFIG: Place = EDX.bit(18);
pub(crate) const ARCH_LBR: Place = EDX.bit(19);
pub(crate) const IBT: Place = EDX.bit(20);
pub(crate) const AMX_BF16: Place = EDX.bit(22);
pub(crate) const AVX512_FP16: Place = EDX.bit(23);
pub(crate) const AMX_TILE: Place = EDX.bit(24);
pub(crate) const AMX_INT8: Place = EDX.bit(25);
pub(crate) const SPEC_CTRL: Place = EDX.bit(26);
pub(crate) const STIBP: Place = EDX.bit(27);
pub(crate) const FLUSH_L1D: Place = EDX.bit(28);
pub(crate) const ARCH_CAPABILITIES: Place = EDX.bit(29);
pub(crate) const CORE_CAPABILITY: Place = EDX.bit(30);
pub(crate) const SSBD: Place = EDX.bit(31);
pub(crate) const RTM_ALWAYS_ABORT: Place = EDX.bit(11);

/// The rows.
pub(crate) static ROWS: [Feature; 26] = [
    row(EDX.bit(1), "sgx-keys")
        .xen("SGX_KEYS")
        .needs(&[SGX])
        .because("attestation services for SGX that KVM does not report", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(EDX.bit(2), "avx512-4vnniw")
        .linux("avx512_4vnniw")
        .xen("AVX512_4VNNIW")
        .offer(Hardware, Never, Never, Never)
        .needs(&[AVX512F])
        .because("Knights Mill only; Xen gives it up, KVM passes it", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(EDX.bit(3), "avx512-4fmaps")
        .linux("avx512_4fmaps")
        .xen("AVX512_4FMAPS")
        .offer(Hardware, Never, Never, Never)
        .needs(&[AVX512F])
        .because("Knights Mill only; Xen gives it up, KVM passes it", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(EDX.bit(4), "fsrm").linux("fsrm").xen("FSRM").offer(Hardware, Hardware, Hardware, Hardware).because(
        "a hint that short REP MOVSB is fast; the older KVM of Ice-Lake-Server did not report it yet",
        "SDM vol. 2A, CPUID.07H.0:EDX",
    ),
    row(UINTR, "uintr")
        .xen("UINTR")
        .needs(&[LM])
        .components(ComponentSet::EMPTY.with(Component::UINTR))
        .because("user interrupts post through host APIC IDs; nobody virtualises them", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(EDX.bit(8), "avx512-vp2intersect")
        .linux("avx512_vp2intersect")
        .xen("AVX512_VP2INTERSECT")
        .offer(Hardware, Request, Request, Request)
        .needs(&[AVX512VL])
        .because("slow on Tiger Lake and gone until Zen 5; Xen wants it asked for", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(EDX.bit(9), "srbds-ctrl")
        .linux("srbds_ctrl")
        .xen("SRBDS_CTRL")
        .because("MCU_OPT_CTRL switches the host's mitigation for a whole core", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(MD_CLEAR, "md-clear")
        .linux("md_clear")
        .xen("MD_CLEAR")
        .relation(Any)
        .offer(Hardware, Anywhere, Anywhere, Anywhere)
        .because(
            "VERW clears buffers: one host that needs it suffices for the guest to; KVM filters the bit",
            "SDM vol. 2A, CPUID.07H.0:EDX",
        ),
    row(RTM_ALWAYS_ABORT, "rtm-always-abort")
        .linux("rtm_always_abort")
        .xen("RTM_ALWAYS_ABORT")
        .offer(Never, Hardware, Hardware, Hardware)
        .because(
            "XBEGIN aborts and does not fault; KVM hides it; its exclusion of rtm is a rule in code",
            "SDM vol. 2A, CPUID.07H.0:EDX",
        ),
    row(EDX.bit(13), "tsx-force-abort")
        .linux("tsx_force_abort")
        .xen("TSX_FORCE_ABORT")
        .because("an MSR that trades transactions for a counter, the host's choice", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(EDX.bit(14), "serialize")
        .linux("serialize")
        .xen("SERIALIZE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("an instruction without state, unprivileged", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(HYBRID_CPU, "hybrid-cpu")
        .linux("hybrid_cpu")
        .xen("HYBRID")
        .because("a vCPU moves between kinds of cores, so none can be named to it", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(EDX.bit(16), "tsx-ldtrk")
        .linux("tsxldtrk")
        .xen("TSXLDTRK")
        .offer(Hardware, Request, Request, Request)
        .needs(&[RTM])
        .because("suspends load tracking within a transaction; Xen wants it asked for", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(PCONFIG, "pconfig")
        .linux("pconfig")
        .xen("PCONFIG")
        .because("programs memory encryption keys of the platform", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(ARCH_LBR, "arch-lbr")
        .linux("arch_lbr")
        .xen("ARCH_LBR")
        .components(ComponentSet::EMPTY.with(Component::LBR))
        .because(
            "KVM has no guest architectural LBR merged though QEMU names it; component 15 is Linux's own, saved apart",
            "SDM vol. 2A, CPUID.07H.0:EDX",
        ),
    row(IBT, "ibt")
        .aliases(&["cet-ibt"])
        .linux("ibt")
        .xen("CET_IBT")
        .offer(Hardware, Never, Never, Never)
        .needs(&[XSAVES])
        .components(ComponentSet::EMPTY.with(Component::CET_U).with(Component::CET_S))
        .because(
            "its MSRs are state of the CET components; KVM takes it away where XSS lacks either; Xen keeps it to itself",
            "SDM vol. 2A, CPUID.07H.0:EDX",
        ),
    row(AMX_BF16, "amx-bf16")
        .linux("amx_bf16")
        .xen("AMX_BF16")
        .offer(Hardware, Never, Never, Never)
        .needs(&[AMX_TILE])
        .because("tile products; Xen has no AMX for guests", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(AVX512_FP16, "avx512-fp16")
        .linux("avx512_fp16")
        .xen("AVX512_FP16")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512BW])
        .because("half-precision arithmetic; masks of 32 elements need avx512bw", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(AMX_TILE, "amx-tile")
        .linux("amx_tile")
        .xen("AMX_TILE")
        .offer(Hardware, Never, Never, Never)
        .needs(&[XSAVE, LM])
        .components(ComponentSet::AMX)
        .because(
            "8 KiB of tiles, by permission; xfd serves lazy growth only, though Linux takes tiles away without it",
            "SDM vol. 2A, CPUID.07H.0:EDX",
        ),
    row(AMX_INT8, "amx-int8")
        .linux("amx_int8")
        .xen("AMX_INT8")
        .offer(Hardware, Never, Never, Never)
        .needs(&[AMX_TILE])
        .because("tile products; Xen has no AMX for guests", "SDM vol. 2A, CPUID.07H.0:EDX"),
    row(SPEC_CTRL, "spec-ctrl").linux("spec_ctrl").xen("IBRSB").offer(Hardware, Hardware, Hardware, Hardware).because(
        "IBRS and IBPB by MSR; KVM also makes it from AMD's bits (EPYC-7502); the ibrs i7-5600U's QEMU hid it",
        "SDM vol. 2A, CPUID.07H.0:EDX",
    ),
    row(STIBP, "stibp").linux("intel_stibp").xen("STIBP").offer(Hardware, Hardware, Hardware, Hardware).because(
        "a bit of SPEC_CTRL, yet no edge to it: KVM makes it alone from AMD's own bit on Zen 2 and 3",
        "SDM vol. 2A, CPUID.07H.0:EDX",
    ),
    row(FLUSH_L1D, "flush-l1d").linux("flush_l1d").xen("L1D_FLUSH").offer(Hardware, Hardware, Hardware, Never).because(
        "the L1D flush command; KVM passes it since Linux 6.4, so all 6 machines lost it; PV has no use for it",
        "SDM vol. 2A, CPUID.07H.0:EDX",
    ),
    row(ARCH_CAPABILITIES, "arch-capabilities")
        .linux("arch_capabilities")
        .xen("ARCH_CAPS")
        .offer(Made, Made, Made, Made)
        .because(
            "announces MSR 0x10A, nothing but data: made on every Intel host; KVM on AMD too, where new QEMU hides it",
            "SDM vol. 2A, CPUID.07H.0:EDX",
        ),
    row(CORE_CAPABILITY, "core-capability").linux("core_capabilities").xen("CORE_CAPS").because(
        "announces MSR 0xCF; KVM has no such MSR, so hosts keep split-lock control",
        "SDM vol. 2A, CPUID.07H.0:EDX",
    ),
    row(SSBD, "ssbd").linux("spec_ctrl_ssbd").xen("SSBD").offer(Hardware, Hardware, Hardware, Hardware).because(
        "a bit of SPEC_CTRL, yet no edge to it: KVM makes it alone from AMD's own bit (EPYC-7502)",
        "SDM vol. 2A, CPUID.07H.0:EDX",
    ),
];
