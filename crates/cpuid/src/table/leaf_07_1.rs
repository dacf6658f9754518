//! Leaf 7, subleaf 1: Alder Lake and later.

use selfsame_xstate::{Component, ComponentSet};

use super::leaf_01::{AVX, XSAVE};
use super::leaf_07_0_ebx::{AVX2, AVX512BW, AVX512VL, SMAP};
use super::leaf_07_0_ecx::SHSTK;
use super::leaf_07_0_edx::{AMX_TILE, UINTR};
use super::leaf_80000001::LM;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::subleaf(0x7, 1, Register::Eax);
const EBX: Word = Word::subleaf(0x7, 1, Register::Ebx);
const ECX: Word = Word::subleaf(0x7, 1, Register::Ecx);
const EDX: Word = Word::subleaf(0x7, 1, Register::Edx);

pub(crate) const AVX_VNNI: Place = EAX.bit(4);
pub(crate) const AVX512_BF16: Place = EAX.bit(5);
pub(crate) const LASS: Place = EAX.bit(6);
pub(crate) const ARCH_PERFMON_EXT: Place = EAX.bit(8);
pub(crate) const FRED: Place = EAX.bit(17);
pub(crate) const LKGS: Place = EAX.bit(18);
pub(crate) const WRMSRNS: Place = EAX.bit(19);
pub(crate) const NMI_SRC: Place = EAX.bit(20);
pub(crate) const AMX_FP16: Place = EAX.bit(21);
pub(crate) const HRESET: Place = EAX.bit(22);
pub(crate) const AVX_IFMA: Place = EAX.bit(23);
pub(crate) const LAM: Place = EAX.bit(26);
pub(crate) const MSRLIST: Place = EAX.bit(27);
pub(crate) const MOVRS: Place = EAX.bit(31);
pub(crate) const MSR_IMM: Place = ECX.bit(5);
pub(crate) const AMX_COMPLEX: Place = EDX.bit(8);
pub(crate) const CET_SSS: Place = EDX.bit(18);
pub(crate) const AVX10: Place = EDX.bit(19);
pub(crate) const APX: Place = EDX.bit(21);

/// The rows.
pub(crate) static ROWS: [Feature; 34] = [
    row(EAX.bit(0), "sha512")
        .linux("sha512")
        .xen("SHA512")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2])
        .because("SHA-512 rounds on YMM registers", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(EAX.bit(1), "sm3")
        .linux("sm3")
        .xen("SM3")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX])
        .because("hash rounds on XMM registers, VEX-encoded", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(EAX.bit(2), "sm4")
        .linux("sm4")
        .xen("SM4")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2])
        .because("cipher rounds on XMM and YMM registers", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(AVX_VNNI, "avx-vnni")
        .linux("avx_vnni")
        .xen("AVX_VNNI")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2])
        .because("dot products on YMM registers, VEX-encoded", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(AVX512_BF16, "avx512-bf16")
        .linux("avx512_bf16")
        .xen("AVX512_BF16")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512BW, AVX512VL])
        .because("bfloat16 forms at every vector length", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(LASS, "lass").linux("lass").xen("LASS").offer(Never, Request, Request, Never).needs(&[SMAP, LM]).because(
        "KVM's series is under review, judgement; Xen HVM gives it on request",
        "SDM vol. 2A, CPUID.07H.1:EAX",
    ),
    row(EAX.bit(7), "cmpccxadd")
        .linux("cmpccxadd")
        .xen("CMPCCXADD")
        .offer(Hardware, Request, Request, Request)
        .needs(&[LM])
        .because("encodes in 64-bit mode only; Xen wants it asked for", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(ARCH_PERFMON_EXT, "arch-perfmon-ext")
        .linux("arch_perfmon_ext")
        .xen("ARCH_PERF_MON")
        .because("announces leaf 0x23; KVM and Xen describe the PMU by leaf 0xA alone", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(EAX.bit(10), "fzrm")
        .linux("fzrm")
        .xen("FZRM")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("a hint that empty REP MOVSB is fast", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(EAX.bit(11), "fsrs")
        .linux("fsrs")
        .xen("FSRS")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("a hint that short REP STOSB is fast", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(EAX.bit(12), "fsrc")
        .linux("fsrc")
        .xen("FSRCS")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("a hint that short REP CMPSB and SCASB are fast", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(FRED, "fred")
        .linux("fred")
        .xen("FRED")
        .needs(&[LKGS])
        .because("judgement: KVM's series is not merged; Xen uses it for itself alone", "Intel FRED specification"),
    row(LKGS, "lkgs").linux("lkgs").xen("LKGS").offer(Hardware, Never, Never, Never).needs(&[LM]).because(
        "loads the kernel's GS, given by KVM since Linux 6.18; Xen leaves it out",
        "SDM vol. 2A, CPUID.07H.1:EAX",
    ),
    row(WRMSRNS, "wrmsrns").linux("wrmsrns").xen("WRMSRNS").offer(Hardware, Hardware, Hardware, Never).because(
        "non-serialising WRMSR, a ring 0 instruction that PV cannot run; KVM gives it since Linux 6.17",
        "SDM vol. 2A, CPUID.07H.1:EAX",
    ),
    row(NMI_SRC, "nmi-src")
        .xen("NMI_SRC")
        .needs(&[FRED])
        .because("names NMI sources in FRED's event data", "Intel FRED specification"),
    row(AMX_FP16, "amx-fp16")
        .linux("amx_fp16")
        .xen("AMX_FP16")
        .offer(Hardware, Never, Never, Never)
        .needs(&[AMX_TILE])
        .because("tile products; Xen has no AMX for guests", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(HRESET, "hreset").because("resets the history of the host's thread director", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(AVX_IFMA, "avx-ifma")
        .linux("avx_ifma")
        .xen("AVX_IFMA")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2])
        .because("52-bit multiply-add on YMM registers, VEX-encoded", "SDM vol. 2A, CPUID.07H.1:EAX"),
    row(LAM, "lam").linux("lam").xen("LAM").offer(Hardware, Never, Never, Never).needs(&[LM]).because(
        "metadata in pointers by CR3 and CR4, given by KVM since Linux 6.8; Xen leaves it out",
        "SDM vol. 2A, CPUID.07H.1:EAX",
    ),
    row(MSRLIST, "msrlist").xen("MSRLIST").needs(&[LM]).because(
        "lists of MSRs at one go, encoded in 64-bit mode only; needs a VT-x control that no hypervisor uses",
        "SDM vol. 2A, CPUID.07H.1:EAX",
    ),
    row(EAX.bit(30), "no-invd").xen("NO_INVD").because(
        "firmware has turned INVD into a fault; a fact of the platform, and guests have INVD intercepted",
        "SDM vol. 2A, CPUID.07H.1:EAX",
    ),
    row(MOVRS, "movrs").linux("movrs").xen("MOVRS").offer(Hardware, Request, Request, Request).needs(&[LM]).because(
        "read-shared loads, 64-bit mode only; KVM's patch adds it with Diamond Rapids; Xen wants it asked for",
        "Intel ISA extensions reference, MOVRS",
    ),
    row(EBX.bit(0), "intel-ppin")
        .linux("intel_ppin")
        .xen("INTEL_PPIN")
        .because("the inventory number names one chip", "SDM vol. 2A, CPUID.07H.1:EBX"),
    row(MSR_IMM, "msr-imm").linux("msr_imm").offer(Hardware, Never, Never, Never).needs(&[LM]).because(
        "RDMSR and WRMSRNS with the index in the instruction, for 64-bit mode; KVM since Linux 6.18, SVM not yet",
        "SDM vol. 2A, CPUID.07H.1:ECX",
    ),
    row(EDX.bit(4), "avx-vnni-int8")
        .xen("AVX_VNNI_INT8")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2])
        .because("signed and unsigned byte dot products on YMM registers", "SDM vol. 2A, CPUID.07H.1:EDX"),
    row(EDX.bit(5), "avx-ne-convert")
        .xen("AVX_NE_CONVERT")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX])
        .because("bfloat16 and half conversions that raise no exception, VEX-encoded", "SDM vol. 2A, CPUID.07H.1:EDX"),
    row(AMX_COMPLEX, "amx-complex")
        .xen("AMX_COMPLEX")
        .offer(Hardware, Never, Never, Never)
        .needs(&[AMX_TILE])
        .because("tile products of complex halves; Xen has no AMX for guests", "SDM vol. 2A, CPUID.07H.1:EDX"),
    row(EDX.bit(10), "avx-vnni-int16")
        .xen("AVX_VNNI_INT16")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2])
        .because("word dot products on YMM registers", "SDM vol. 2A, CPUID.07H.1:EDX"),
    row(EDX.bit(14), "prefetchiti").xen("PREFETCHI").offer(Hardware, Hardware, Hardware, Hardware).because(
        "code prefetches that read as NOPs elsewhere; Xen's name for it is Linux's for AMD's bit",
        "SDM vol. 2A, CPUID.07H.1:EDX",
    ),
    row(EDX.bit(17), "uiret-uif")
        .xen("UIRET_UIF")
        .needs(&[UINTR])
        .because("lets UIRET set the user interrupt flag", "SDM vol. 2A, CPUID.07H.1:EDX"),
    row(CET_SSS, "cet-sss").xen("CET_SSS").needs(&[SHSTK]).because(
        "says that supervisor shadow stacks survive a VM exit in mid-switch; KVM does not report it",
        "SDM vol. 2A, CPUID.07H.1:EDX",
    ),
    row(AVX10, "avx10").offer(Hardware, Never, Never, Never).needs(&[AVX2]).components(ComponentSet::AVX512).because(
        "leaf 0x24 tells the rest; detection by it alone suffices, so it carries the AVX-512 state",
        "Intel AVX10 architecture specification",
    ),
    row(APX, "apx")
        .aliases(&["apxf"])
        .linux("apx")
        .needs(&[XSAVE, LM])
        .components(ComponentSet::EMPTY.with(Component::APX))
        .because(
            "sixteen more registers in component 19; KVM's series is not merged, nor any other's",
            "Intel APX architecture specification",
        ),
    row(EDX.bit(24), "slsm").xen("SLSM").because(
        "static lockstep runs two cores as one, chosen by firmware",
        "Intel ISA extensions reference, CPUID.07H.1",
    ),
];
