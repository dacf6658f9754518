//! Leaf 7, subleaf 0, EBX: the instructions and controls of Ivy Bridge to Skylake.

use selfsame_xstate::{Component, ComponentSet};

use super::leaf_01::{AVX, SSE2, TSC, XSAVE};
use super::leaf_80000001::{LM, NX};
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Register, Word};

const EBX: Word = Word::subleaf(0x7, 0, Register::Ebx);

pub(crate) const FSGSBASE: Place = EBX.bit(0);
pub(crate) const SGX: Place = EBX.bit(2);
pub(crate) const BMI1: Place = EBX.bit(3);
pub(crate) const HLE: Place = EBX.bit(4);
pub(crate) const AVX2: Place = EBX.bit(5);
pub(crate) const SMEP: Place = EBX.bit(7);
pub(crate) const BMI2: Place = EBX.bit(8);
pub(crate) const ERMS: Place = EBX.bit(9);
pub(crate) const INVPCID: Place = EBX.bit(10);
pub(crate) const RTM: Place = EBX.bit(11);
pub(crate) const CMT: Place = EBX.bit(12);
pub(crate) const MPX: Place = EBX.bit(14);
pub(crate) const RDT_A: Place = EBX.bit(15);
pub(crate) const AVX512F: Place = EBX.bit(16);
pub(crate) const AVX512DQ: Place = EBX.bit(17);
pub(crate) const RDSEED: Place = EBX.bit(18);
pub(crate) const SMAP: Place = EBX.bit(20);
pub(crate) const INTEL_PT: Place = EBX.bit(25);
pub(crate) const AVX512CD: Place = EBX.bit(28);
pub(crate) const AVX512BW: Place = EBX.bit(30);
pub(crate) const AVX512VL: Place = EBX.bit(31);
pub(crate) const CLWB: Place = EBX.bit(24);

/// The rows.
pub(crate) static ROWS: [Feature; 32] = [
    row(FSGSBASE, "fsgsbase")
        .linux("fsgsbase")
        .xen("FSGSBASE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[LM])
        .because(
            "instructions of 64-bit mode; Xen runs PV guests with CR4.FSGSBASE set, whatever they asked for",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(EBX.bit(1), "tsc-adjust")
        .aliases(&["tsc_adjust"])
        .linux("tsc_adjust")
        .xen("TSC_ADJUST")
        .offer(Made, Hardware, Hardware, Never)
        .needs(&[TSC])
        .because(
            "KVM emulates the MSR on any host, 9 of 24 machines gained it; Xen passes the hardware's to HVM",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(SGX, "sgx").linux("sgx").xen("SGX").offer(Request, Never, Never, Never).because(
        "needs an EPC section on request, and enclave memory cannot migrate; all 5 machines lost it",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(BMI1, "bmi1").linux("bmi1").xen("BMI1").offer(Hardware, Hardware, Hardware, Hardware).because(
        "general-register instructions: VEX-encoded, yet without AVX state, hence no edge to avx",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(HLE, "hle").linux("hle").xen("HLE").offer(Hardware, Request, Request, Request).because(
        "ignored where absent, yet microcode takes it away; Xen hides it by default, KVM keeps it",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(AVX2, "avx2")
        .linux("avx2")
        .xen("AVX2")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX])
        .because("integer forms on YMM registers", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(EBX.bit(6), "fdp-excptn-only")
        .linux("fdp_excptn_only")
        .xen("FDP_EXCP_ONLY")
        .relation(Any)
        .offer(Hardware, Anywhere, Anywhere, Anywhere)
        .because(
            "one host that keeps no FDP suffices to forbid relying on it; KVM before 5.18 lost it on 2 machines",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(SMEP, "smep")
        .linux("smep")
        .xen("SMEP")
        .offer(Hardware, Hardware, Hardware, Never)
        .because("CR4.SMEP is the guest's under KVM and HVM and Xen's own under PV", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(BMI2, "bmi2")
        .linux("bmi2")
        .xen("BMI2")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("general-register instructions, VEX-encoded without AVX state", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(ERMS, "erms").linux("erms").xen("ERMS").offer(Hardware, Anywhere, Anywhere, Anywhere).because(
        "a hint that REP MOVSB is fast, true or merely slow anywhere; KVM filters it with the rest",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(INVPCID, "invpcid").linux("invpcid").xen("INVPCID").offer(Hardware, Hardware, Never, Never).because(
        "AMD has it since Zen 3 on parts without pcid, so no edge; shadow paging and PV cannot give it",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(RTM, "rtm").linux("rtm").xen("RTM").offer(Hardware, Hardware, Hardware, Hardware).because(
        "microcode may make it abort or fault; its exclusion of rtm-always-abort is a rule in code",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(CMT, "cmt")
        .linux("cqm")
        .xen("PQM")
        .because("cache monitoring names the host's RMIDs; all 6 machines lost it", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(EBX.bit(13), "zero-fcs-fds")
        .linux("zero_fcs_fds")
        .xen("NO_FPU_SEL")
        .relation(Any)
        .offer(Hardware, Anywhere, Anywhere, Anywhere)
        .because(
            "one host that saves no selectors forbids relying on them; KVM before 5.18 lost it on 14 machines",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(MPX, "mpx")
        .linux("mpx")
        .xen("MPX")
        .offer(Hardware, Request, Request, Never)
        .needs(&[XSAVE])
        .components(ComponentSet::MPX)
        .because(
            "gone after Skylake; KVM keeps it where VT-x has the controls, Xen HVM wants it asked for",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(RDT_A, "rdt-a")
        .linux("rdt_a")
        .xen("PQE")
        .because("cache allocation masks are the host's classes of service", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(AVX512F, "avx512f")
        .linux("avx512f")
        .xen("AVX512F")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2])
        .components(ComponentSet::AVX512)
        .because(
            "512-bit registers and masks: the three components of every avx512 feature, which inherit them from here",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(AVX512DQ, "avx512dq")
        .linux("avx512dq")
        .xen("AVX512DQ")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512F])
        .because("doubleword and quadword forms, no state beyond the foundation's", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(RDSEED, "rdseed").linux("rdseed").xen("RDSEED").offer(Hardware, Hardware, Hardware, Hardware).because(
        "unprivileged; Linux clears it where erratum makes it return zero, so hosts of one model differ",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(EBX.bit(19), "adx")
        .linux("adx")
        .xen("ADX")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("add-with-carry chains on general registers", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(SMAP, "smap").linux("smap").xen("SMAP").offer(Hardware, Hardware, Hardware, Never).needs(&[NX]).because(
        "CR4.SMAP is the guest's under KVM and HVM; Xen's shadow code needs NX to honour it",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(EBX.bit(21), "avx512ifma")
        .linux("avx512ifma")
        .xen("AVX512_IFMA")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512F])
        .because("52-bit multiply-add on ZMM registers", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(EBX.bit(22), "pcommit").because(
        "withdrawn by Intel before any CPU shipped; QEMU and libvirt kept the name",
        "Intel ISA extensions reference, withdrawn",
    ),
    row(EBX.bit(23), "clflushopt")
        .linux("clflushopt")
        .xen("CLFLUSHOPT")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("weakly ordered CLFLUSH, usable at any privilege", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(CLWB, "clwb").linux("clwb").xen("CLWB").offer(Hardware, Hardware, Hardware, Hardware).because(
        "writes a line back; Xen hides it by default on Skylake-X, a rule kept in code",
        "SDM vol. 2A, CPUID.07H.0:EBX",
    ),
    row(INTEL_PT, "intel-pt")
        .linux("intel_pt")
        .xen("PROC_TRACE")
        .offer(Request, Never, Never, Never)
        .components(ComponentSet::EMPTY.with(Component::PT))
        .because(
            "KVM traces guests with pt_mode=1 only, so all 11 machines lost it; component 8 is the host's otherwise",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(EBX.bit(26), "avx512pf")
        .linux("avx512pf")
        .xen("AVX512PF")
        .offer(Hardware, Never, Never, Never)
        .needs(&[AVX512F])
        .because(
            "prefetches of Knights Landing and Mill, which Xen gives up; KVM passes them",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(EBX.bit(27), "avx512er")
        .linux("avx512er")
        .xen("AVX512ER")
        .offer(Hardware, Never, Never, Never)
        .needs(&[AVX512F])
        .because(
            "exponentials of Knights Landing and Mill, which Xen gives up; KVM passes them",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(AVX512CD, "avx512cd")
        .linux("avx512cd")
        .xen("AVX512CD")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512F])
        .because("conflict detection on ZMM registers", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(EBX.bit(29), "sha-ni")
        .linux("sha_ni")
        .xen("SHA")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[SSE2])
        .because("SHA rounds on XMM registers", "SDM vol. 2A, CPUID.07H.0:EBX"),
    row(AVX512BW, "avx512bw")
        .linux("avx512bw")
        .xen("AVX512BW")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512F])
        .because(
            "byte and word forms and 64-bit masks; parent of vbmi, bitalg, bf16 and fp16",
            "SDM vol. 2A, CPUID.07H.0:EBX",
        ),
    row(AVX512VL, "avx512vl")
        .linux("avx512vl")
        .xen("AVX512VL")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512F])
        .because("128- and 256-bit forms; absent from Knights Landing and Mill", "SDM vol. 2A, CPUID.07H.0:EBX"),
];
