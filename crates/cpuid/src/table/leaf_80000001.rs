//! Leaf 0x80000001: AMD's feature words, of which Intel took a part.

use selfsame_xstate::ComponentSet;

use super::leaf_01::{APIC, AVX, FXSR, MMX, PAE, PNI, SSE, SSE2, TSC, XSAVE};
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const ECX: Word = Word::leaf(0x8000_0001, Register::Ecx);
const EDX: Word = Word::leaf(0x8000_0001, Register::Edx);

pub(crate) const CMP_LEGACY: Place = ECX.bit(1);
pub(crate) const SVM: Place = ECX.bit(2);
pub(crate) const LWP: Place = ECX.bit(15);
pub(crate) const PERFCTR_CORE: Place = ECX.bit(23);
pub(crate) const BPEXT: Place = ECX.bit(26);
pub(crate) const NX: Place = EDX.bit(20);
pub(crate) const RDTSCP: Place = EDX.bit(27);
pub(crate) const LM: Place = EDX.bit(29);
pub(crate) const _3DNOW: Place = EDX.bit(31);
pub(crate) const SYSCALL: Place = EDX.bit(11);
pub(crate) const PDPE1GB: Place = EDX.bit(26);
pub(crate) const TOPOEXT: Place = ECX.bit(22);

/// The rows.
pub(crate) static ROWS: [Feature; 38] = [
    row(ECX.bit(0), "lahf-lm")
        .aliases(&["lahf_lm"])
        .linux("lahf_lm")
        .xen("LAHF_LM")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[LM])
        .because(
            "LAHF and SAHF in 64-bit mode; two 32-bit Atoms (Medfield, Cloverview) report it without lm",
            "APM vol. 3, app. E, Fn8000_0001:ECX",
        ),
    row(CMP_LEGACY, "cmp-legacy")
        .aliases(&["cmp_legacy"])
        .linux("cmp_legacy")
        .xen("CMP_LEGACY")
        .offer(Anywhere, Anywhere, Anywhere, Anywhere)
        .because(
            "says how to count cores, which the VMM decides; as HTT it is harmless without hardware",
            "APM vol. 3, app. E, Fn8000_0001:ECX",
        ),
    row(SVM, "svm").linux("svm").xen("SVM").offer(Hardware, Request, Never, Never).because(
        "nested virtualisation; dropped on two of four corpus machines, whose kvm_amd ran with nested=0",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(3), "extapic").linux("extapic").xen("EXTAPIC").needs(&[APIC]).because(
        "extra APIC registers of AMD; no hypervisor's local APIC has them",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(4), "cr8legacy")
        .linux("cr8_legacy")
        .xen("CR8_LEGACY")
        .offer(Hardware, Hardware, Hardware, Never)
        .because(
            "MOV CR8 outside 64-bit mode by a LOCK prefix; not for PV, whose CR8 is the hypervisor's",
            "APM vol. 3, app. E, Fn8000_0001:ECX",
        ),
    row(ECX.bit(5), "abm").linux("abm").xen("ABM").offer(Hardware, Hardware, Hardware, Hardware).because(
        "LZCNT; executes as BSR where missing, silently wrong, so it must be everywhere",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(6), "sse4a")
        .linux("sse4a")
        .xen("SSE4A")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[PNI])
        .because(
            "EXTRQ, INSERTQ and non-temporal scalar stores; Lisbon has it without SSSE3",
            "APM vol. 3, app. E, Fn8000_0001:ECX",
        ),
    row(ECX.bit(7), "misalignsse")
        .linux("misalignsse")
        .xen("MISALIGNSSE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[SSE])
        .because("MXCSR.MM lets SSE operands lie unaligned", "APM vol. 3, app. E, Fn8000_0001:ECX"),
    row(ECX.bit(8), "3dnowprefetch")
        .linux("3dnowprefetch")
        .xen("3DNOWPREFETCH")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("PREFETCH and PREFETCHW; Intel has it since Broadwell", "APM vol. 3, app. E, Fn8000_0001:ECX"),
    row(ECX.bit(9), "osvw").linux("osvw").xen("OSVW").offer(Hardware, Never, Never, Never).because(
        "OS-visible workaround MSRs; KVM keeps a pair per vCPU, Xen has none for guests",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(10), "ibs").linux("ibs").xen("IBS").because(
        "instruction-based sampling: its NMIs and host addresses stay on the host",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(11), "xop")
        .linux("xop")
        .xen("XOP")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX])
        .because("family 15h vector instructions on YMM state", "APM vol. 3, app. E, Fn8000_0001:ECX"),
    row(ECX.bit(12), "skinit").linux("skinit").xen("SKINIT").because(
        "secure launch of the platform; a guest has no TPM locality to launch with",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(13), "wdt")
        .linux("wdt")
        .xen("WDT")
        .because("watchdog timer of the northbridge, one per node", "APM vol. 3, app. E, Fn8000_0001:ECX"),
    row(LWP, "lwp").linux("lwp").xen("LWP").needs(&[XSAVE]).components(ComponentSet::from_bits(1 << 62)).because(
        "lightweight profiling state in component 62; half the cores of Opteron 6300 report it",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(16), "fma4")
        .linux("fma4")
        .xen("FMA4")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX])
        .because("family 15h four-operand FMA; gone since Zen", "APM vol. 3, app. E, Fn8000_0001:ECX"),
    row(ECX.bit(17), "tce").linux("tce").because(
        "EFER.TCE narrows what INVLPG flushes; KVM and Xen refuse the EFER bit",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(18), "cvt16").because(
        "early half-precision conversion that never shipped under this bit; KVM does not list it",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(19), "nodeid-msr")
        .aliases(&["nodeid_msr"])
        .linux("nodeid_msr")
        .xen("NODEID_MSR")
        .because("MSR C001_100C tells the node of the die, a fact of the host", "APM vol. 3, app. E, Fn8000_0001:ECX"),
    row(ECX.bit(21), "tbm").linux("tbm").xen("TBM").offer(Hardware, Hardware, Hardware, Hardware).because(
        "trailing-bit manipulation; no vector state behind its XOP prefix",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(TOPOEXT, "topoext").linux("topoext").xen("TOPOEXT").offer(Request, Never, Never, Never).because(
        "leaves 1D and 1E describe caches and cores; QEMU never turns it on by itself, models name it",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(PERFCTR_CORE, "perfctr-core")
        .aliases(&["perfctr_core"])
        .linux("perfctr_core")
        .offer(Hardware, Never, Never, Never)
        .because(
            "six core counters; two machines ran QEMU or KVM from before it was passed; needs the PMU",
            "APM vol. 3, app. E, Fn8000_0001:ECX",
        ),
    row(ECX.bit(24), "perfctr-nb")
        .aliases(&["perfctr_nb"])
        .linux("perfctr_nb")
        .because("northbridge counters count all guests of the node", "APM vol. 3, app. E, Fn8000_0001:ECX"),
    row(BPEXT, "bpext").linux("bpext").xen("DBEXT").offer(Never, Hardware, Hardware, Hardware).because(
        "breakpoint address masks; Xen switches the mask MSRs, KVM has no such MSRs",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(27), "ptsc").linux("ptsc").because(
        "performance time stamp counter, MSR C001_0280; not given to guests",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(28), "perfctr-llc")
        .linux("perfctr_llc")
        .because("last-level cache counters count all guests of the complex", "APM vol. 3, app. E, Fn8000_0001:ECX"),
    row(ECX.bit(29), "mwaitx").linux("mwaitx").xen("MONITORX").because(
        "timed wait in user mode too; a guest must not hold a core, KVM and Xen hide it",
        "APM vol. 3, app. E, Fn8000_0001:ECX",
    ),
    row(ECX.bit(30), "addr-msk-ext")
        .xen("ADDR_MSK_EXT")
        .offer(Never, Hardware, Hardware, Hardware)
        .needs(&[BPEXT])
        .because(
            "masks for all four breakpoints rather than DR0 alone; Xen passes it, KVM does not name it",
            "APM vol. 3, app. E, Fn8000_0001:ECX",
        ),
    row(SYSCALL, "syscall").linux("syscall").xen("SYSCALL").offer(Hardware, Hardware, Hardware, Hardware).because(
        "SYSCALL as such: Intel shows it in 64-bit mode only, so many 32-bit dumps lack it beside lm",
        "APM vol. 3, app. E, Fn8000_0001:EDX",
    ),
    row(EDX.bit(19), "mp").linux("mp").because(
        "Athlon MP of 2001 said that it may stand in a two-socket board",
        "APM vol. 3, app. E, Fn8000_0001:EDX",
    ),
    row(NX, "nx")
        .aliases(&["xd"])
        .linux("nx")
        .xen("NX")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[PAE])
        .because(
            "no-execute pages, in PAE and long-mode tables only; Xen gives it to PV as well",
            "APM vol. 3, app. E, Fn8000_0001:EDX",
        ),
    row(EDX.bit(22), "mmxext")
        .linux("mmxext")
        .xen("MMXEXT")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[MMX])
        .because("AMD's part of SSE on MMX registers", "APM vol. 3, app. E, Fn8000_0001:EDX"),
    row(EDX.bit(25), "fxsr-opt")
        .aliases(&["ffxsr", "fxsr_opt"])
        .linux("fxsr_opt")
        .xen("FFXSR")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[FXSR])
        .because("EFER.FFXSR leaves XMM out of FXSAVE in ring 0", "APM vol. 3, app. E, Fn8000_0001:EDX"),
    row(PDPE1GB, "pdpe1gb")
        .linux("pdpe1gb")
        .xen("PAGE1GB")
        .offer(Hardware, Hardware, Never, Never)
        .needs(&[LM])
        .because(
            "1 GiB pages; Xen needs HAP for them, KVM gives them with shadow paging too",
            "APM vol. 3, app. E, Fn8000_0001:EDX",
        ),
    row(RDTSCP, "rdtscp")
        .linux("rdtscp")
        .xen("RDTSCP")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[TSC])
        .because(
            "reads TSC_AUX; lost on two old AMD hosts whose KVM could not switch that MSR yet",
            "APM vol. 3, app. E, Fn8000_0001:EDX",
        ),
    row(LM, "lm")
        .aliases(&["i64"])
        .linux("lm")
        .xen("LM")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[PAE, SSE2])
        .because(
            "long mode; no 64-bit CPU lacks PAE or SSE2, and its ABI needs both",
            "APM vol. 3, app. E, Fn8000_0001:EDX",
        ),
    row(EDX.bit(30), "3dnowext")
        .linux("3dnowext")
        .xen("3DNOWEXT")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[_3DNOW])
        .because("AMD's second 3DNow! set", "APM vol. 3, app. E, Fn8000_0001:EDX"),
    row(_3DNOW, "3dnow")
        .linux("3dnow")
        .xen("3DNOW")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[MMX])
        .because(
            "dropped from all CPUs since 2011; user code may still test for it",
            "APM vol. 3, app. E, Fn8000_0001:EDX",
        ),
];
