//! Leaf 1: the first feature words.

use selfsame_xstate::{Component, ComponentSet};

use super::leaf_80000001::LM;
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Register, Word};

const ECX: Word = Word::leaf(0x1, Register::Ecx);
const EDX: Word = Word::leaf(0x1, Register::Edx);

pub(crate) const PNI: Place = ECX.bit(0);
pub(crate) const PCLMULQDQ: Place = ECX.bit(1);
pub(crate) const MONITOR: Place = ECX.bit(3);
pub(crate) const VMX: Place = ECX.bit(5);
pub(crate) const SSSE3: Place = ECX.bit(9);
pub(crate) const FMA: Place = ECX.bit(12);
pub(crate) const CX16: Place = ECX.bit(13);
pub(crate) const PDCM: Place = ECX.bit(15);
pub(crate) const PCID: Place = ECX.bit(17);
pub(crate) const SSE4_1: Place = ECX.bit(19);
pub(crate) const SSE4_2: Place = ECX.bit(20);
pub(crate) const X2APIC: Place = ECX.bit(21);
pub(crate) const MOVBE: Place = ECX.bit(22);
pub(crate) const POPCNT: Place = ECX.bit(23);
pub(crate) const TSC_DEADLINE: Place = ECX.bit(24);
pub(crate) const AES: Place = ECX.bit(25);
pub(crate) const XSAVE: Place = ECX.bit(26);
pub(crate) const OSXSAVE: Place = ECX.bit(27);
pub(crate) const AVX: Place = ECX.bit(28);
pub(crate) const F16C: Place = ECX.bit(29);
pub(crate) const RDRAND: Place = ECX.bit(30);
pub(crate) const HYPERVISOR: Place = ECX.bit(31);
pub(crate) const FPU: Place = EDX.bit(0);
pub(crate) const PSE: Place = EDX.bit(3);
pub(crate) const TSC: Place = EDX.bit(4);
pub(crate) const MSR: Place = EDX.bit(5);
pub(crate) const PAE: Place = EDX.bit(6);
pub(crate) const MCE: Place = EDX.bit(7);
pub(crate) const CX8: Place = EDX.bit(8);
pub(crate) const APIC: Place = EDX.bit(9);
pub(crate) const SEP: Place = EDX.bit(11);
pub(crate) const MTRR: Place = EDX.bit(12);
pub(crate) const MCA: Place = EDX.bit(14);
pub(crate) const CMOV: Place = EDX.bit(15);
pub(crate) const CLFLUSH: Place = EDX.bit(19);
/// The word with the size of the line that CLFLUSH flushes.
pub(crate) const CLFLUSH_SIZE: Word = Word::leaf(0x1, Register::Ebx);
pub(crate) const DS: Place = EDX.bit(21);
pub(crate) const FXSR: Place = EDX.bit(24);
pub(crate) const SSE: Place = EDX.bit(25);
pub(crate) const SSE2: Place = EDX.bit(26);
pub(crate) const HT: Place = EDX.bit(28);
pub(crate) const MMX: Place = EDX.bit(23);
pub(crate) const PSE36: Place = EDX.bit(17);

/// The rows.
pub(crate) static ROWS: [Feature; 61] = [
    row(PNI, "pni")
        .aliases(&["sse3"])
        .linux("pni")
        .xen("SSE3")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[SSE2])
        .because(
            "SSE3 instructions, usable without the hypervisor's help; QEMU and libvirt kept Prescott's old name",
            "SDM vol. 2A, CPUID.01H:ECX",
        ),
    row(PCLMULQDQ, "pclmulqdq")
        .aliases(&["pclmuldq"])
        .linux("pclmulqdq")
        .xen("PCLMULQDQ")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[SSE2])
        .because(
            "carry-less multiply on XMM registers, no state of its own; Westmere was first",
            "SDM vol. 2A, CPUID.01H:ECX",
        ),
    row(ECX.bit(2), "dtes64").linux("dtes64").xen("DTES64").offer(Request, Never, Never, Never).needs(&[DS]).because(
        "64-bit records of the debug store; KVM gives it with guest PEBS on Ice Lake and later only",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(MONITOR, "monitor").linux("monitor").xen("MONITOR").offer(Request, Never, Never, Never).because(
        "MWAIT keeps a CPU, so QEMU gives it with overcommit cpu-pm alone; all 24 machines lost it",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(ECX.bit(4), "ds-cpl").aliases(&["ds_cpl"]).linux("ds_cpl").xen("DSCPL").needs(&[DS]).because(
        "filters the debug store by privilege level; not in KVM's guest PEBS, all 20 machines lost it",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(VMX, "vmx").linux("vmx").xen("VMX").offer(Hardware, Request, Never, Never).because(
        "nested VMX: KVM's default since Linux 4.20, off in the kernels of 14 of 20 machines",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(ECX.bit(6), "smx").linux("smx").xen("SMX").because(
        "a measured launch resets the platform, so GETSEC stays with the host; all 18 machines lost it",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(ECX.bit(7), "est")
        .linux("est")
        .xen("EIST")
        .because("frequency belongs to the host's governor; all 20 machines lost it", "SDM vol. 2A, CPUID.01H:ECX"),
    row(ECX.bit(8), "tm2").linux("tm2").xen("TM2").because(
        "thermal throttling control belongs to the host; all 20 machines lost it",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(SSSE3, "ssse3")
        .linux("ssse3")
        .xen("SSSE3")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[PNI])
        .because("supplemental SSE3, plain instructions on state that SSE already saves", "SDM vol. 2A, CPUID.01H:ECX"),
    row(ECX.bit(10), "cid").linux("cid").because(
        "lets NetBurst firmware choose how the L1 cache is shared: a host setting",
        "SDM vol. 2A, CPUID.01H:ECX[10]",
    ),
    row(ECX.bit(11), "sdbg")
        .linux("sdbg")
        .xen("SDBG")
        .because("silicon debug through IA32_DEBUG_INTERFACE unlocks the whole chip", "SDM vol. 2A, CPUID.01H:ECX"),
    row(FMA, "fma").linux("fma").xen("FMA").offer(Hardware, Hardware, Hardware, Hardware).needs(&[AVX]).because(
        "fused multiply-add is VEX-encoded on YMM registers and brings no state beyond AVX",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(CX16, "cx16")
        .linux("cx16")
        .xen("CX16")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[LM])
        .because("CMPXCHG16B encodes only with REX.W, in 64-bit mode", "SDM vol. 2A, CPUID.01H:ECX"),
    row(ECX.bit(14), "xtpr").linux("xtpr").xen("XTPR").because(
        "reroutes lowest-priority interrupts in the chipset; all 20 machines lost it",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(PDCM, "pdcm").linux("pdcm").xen("PDCM").offer(Request, Never, Never, Never).because(
        "announces PERF_CAPABILITIES, which QEMU hides without pmu=on: all 20 machines lost it",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(PCID, "pcid").linux("pcid").xen("PCID").offer(Hardware, Hardware, Never, Never).needs(&[LM]).because(
        "tags TLB entries in the guest's own tables: shadow paging and PV cannot honour it",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(ECX.bit(18), "dca").linux("dca").xen("DCA").because(
        "prefetch hints from devices need the host's chipset; all 8 machines lost it",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(SSE4_1, "sse4.1")
        .aliases(&["sse4-1", "sse4_1"])
        .linux("sse4_1")
        .xen("SSE4_1")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[SSSE3])
        .because("no CPU has it without SSSE3; state is that of SSE", "SDM vol. 2A, CPUID.01H:ECX"),
    row(SSE4_2, "sse4.2")
        .aliases(&["sse4-2", "sse4_2"])
        .linux("sse4_2")
        .xen("SSE4_2")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[SSE4_1])
        .because("extends SSE4.1; does not imply popcnt, which AMD shipped before it", "SDM vol. 2A, CPUID.01H:ECX"),
    row(X2APIC, "x2apic").linux("x2apic").xen("X2APIC").offer(Made, Made, Made, Never).needs(&[APIC]).because(
        "the emulated local APIC has the mode on every host, older ones included; PV guests have no APIC",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(MOVBE, "movbe").linux("movbe").xen("MOVBE").offer(Hardware, Hardware, Hardware, Hardware).because(
        "byte-swapping moves; KVM can emulate them, but reports only what the hardware has",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(POPCNT, "popcnt")
        .linux("popcnt")
        .xen("POPCNT")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("a general-register instruction that AMD shipped before SSE4.2", "SDM vol. 2A, CPUID.01H:ECX"),
    row(TSC_DEADLINE, "tsc-deadline")
        .linux("tsc_deadline_timer")
        .xen("TSC_DEADLINE")
        .offer(Made, Hardware, Hardware, Never)
        .needs(&[APIC, TSC])
        .because(
            "KVM's APIC timer makes it on any host, 5 of 24 machines gained it; Xen passes the hardware's bit to HVM",
            "SDM vol. 2A, CPUID.01H:ECX",
        ),
    row(AES, "aes").linux("aes").xen("AESNI").offer(Hardware, Hardware, Hardware, Hardware).needs(&[SSE2]).because(
        "AES rounds on XMM registers; firmware can fuse it off, which is why like CPUs differ",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(XSAVE, "xsave")
        .linux("xsave")
        .xen("XSAVE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[FXSR])
        .components(ComponentSet::LEGACY)
        .because(
            "gives XCR0 and the XSAVE family; every later register state hangs off it",
            "SDM vol. 2A, CPUID.01H:ECX",
        ),
    row(OSXSAVE, "osxsave")
        .linux("osxsave")
        .xen("OSXSAVE")
        .relation(Dynamic)
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[XSAVE])
        .because(
            "mirrors the guest's CR4.OSXSAVE at the moment of the exit; raw dumps show the dumping kernel's",
            "SDM vol. 2A, CPUID.01H:ECX",
        ),
    row(AVX, "avx")
        .linux("avx")
        .xen("AVX")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[XSAVE])
        .components(ComponentSet::EMPTY.with(Component::AVX))
        .because("256-bit registers, live only once the guest enables component 2", "SDM vol. 2A, CPUID.01H:ECX"),
    row(F16C, "f16c")
        .linux("f16c")
        .xen("F16C")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX, SSE2])
        .because("half-precision conversion, VEX-encoded; the edge to sse2 is Linux's", "SDM vol. 2A, CPUID.01H:ECX"),
    row(RDRAND, "rdrand").linux("rdrand").xen("RDRAND").offer(Hardware, Hardware, Hardware, Hardware).because(
        "unprivileged; Xen's default hides it on Ivy Bridge clients, a rule kept in code",
        "SDM vol. 2A, CPUID.01H:ECX",
    ),
    row(HYPERVISOR, "hypervisor")
        .linux("hypervisor")
        .xen("HYPERVISOR")
        .offer(Made, Made, Made, Made)
        .because("tells the guest that it is one; no hardware sets it", "SDM vol. 2A, CPUID.01H:ECX"),
    row(FPU, "fpu")
        .linux("fpu")
        .xen("FPU")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("x87 on the chip, true of every host that can virtualise", "SDM vol. 2A, CPUID.01H:EDX"),
    row(EDX.bit(1), "vme").linux("vme").xen("VME").offer(Hardware, Hardware, Hardware, Never).because(
        "virtual-8086 extensions need the real CR4.VME, which PV guests never hold",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(EDX.bit(2), "de")
        .linux("de")
        .xen("DE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("I/O breakpoints through CR4.DE, switched with the debug registers", "SDM vol. 2A, CPUID.01H:EDX"),
    row(PSE, "pse")
        .linux("pse")
        .xen("PSE")
        .offer(Hardware, Hardware, Hardware, Never)
        .because("4 MiB pages in 32-bit tables; PV page tables map 4 KiB only", "SDM vol. 2A, CPUID.01H:EDX"),
    row(TSC, "tsc")
        .linux("tsc")
        .xen("TSC")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("RDTSC, offset or scaled per guest", "SDM vol. 2A, CPUID.01H:EDX"),
    row(MSR, "msr")
        .linux("msr")
        .xen("MSR")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("RDMSR and WRMSR exist; each access is the hypervisor's to judge", "SDM vol. 2A, CPUID.01H:EDX"),
    row(PAE, "pae")
        .linux("pae")
        .xen("PAE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("three-level paging, the base of long mode and NX", "SDM vol. 2A, CPUID.01H:EDX"),
    row(MCE, "mce")
        .linux("mce")
        .xen("MCE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("vector 18 and CR4.MCE; the hypervisor injects what it wants seen", "SDM vol. 2A, CPUID.01H:EDX"),
    row(CX8, "cx8")
        .linux("cx8")
        .xen("CX8")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("CMPXCHG8B, on every host since Pentium", "SDM vol. 2A, CPUID.01H:EDX"),
    row(APIC, "apic").linux("apic").xen("APIC").offer(Hardware, Made, Made, Hardware).because(
        "emulated by KVM and, whatever the host says, by Xen HVM; the answer follows APIC_BASE",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(EDX.bit(11), "sep").linux("sep").xen("SEP").offer(Hardware, Hardware, Hardware, Hardware).because(
        "SYSENTER; Xen gives it to no PV guest on AMD CPUs, where it faults in long mode; elsewhere they get it through traps",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(MTRR, "mtrr")
        .linux("mtrr")
        .xen("MTRR")
        .offer(Hardware, Hardware, Hardware, Never)
        .because("memory types are emulated for KVM and HVM, and hypercalls to PV", "SDM vol. 2A, CPUID.01H:EDX"),
    row(EDX.bit(13), "pge").linux("pge").xen("PGE").offer(Hardware, Hardware, Hardware, Never).because(
        "global pages in the guest's own tables; Xen keeps the flag for itself under PV",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(MCA, "mca")
        .linux("mca")
        .xen("MCA")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("machine-check banks are virtual, their count the hypervisor's choice", "SDM vol. 2A, CPUID.01H:EDX"),
    row(CMOV, "cmov").linux("cmov").xen("CMOV").offer(Hardware, Hardware, Hardware, Hardware).because(
        "conditional moves; no edge to fxsr, for Pentium Pro and Crusoe have one without the other",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(EDX.bit(16), "pat").linux("pat").xen("PAT").offer(Hardware, Hardware, Hardware, Hardware).because(
        "the page-attribute MSR, virtual for KVM and HVM and fixed by Xen under PV",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(PSE36, "pse36")
        .linux("pse36")
        .xen("PSE36")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[PSE])
        .because("36-bit addresses in 4 MiB entries, as far as pse goes", "SDM vol. 2A, CPUID.01H:EDX"),
    row(EDX.bit(18), "pn").linux("pn").because(
        "the serial number names one chip; no CPU since Pentium III and Crusoe has it",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(CLFLUSH, "clflush").linux("clflush").xen("CLFLUSH").offer(Hardware, Hardware, Hardware, Hardware).because(
        "flushes a line; its size is a value of leaf 1 EBX that must agree between hosts",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(DS, "ds").linux("dts").xen("DS").offer(Request, Never, Never, Never).because(
        "KVM gives it with guest PEBS on Ice Lake and later only; all 20 machines lost it",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(EDX.bit(22), "acpi").linux("acpi").xen("ACPI").offer(Never, Hardware, Hardware, Hardware).because(
        "clock modulation MSRs: KVM has none, all 20 machines lost it; Xen lists it as harmless",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(MMX, "mmx").linux("mmx").xen("MMX").offer(Hardware, Hardware, Hardware, Hardware).needs(&[FPU]).because(
        "shares the x87 registers; Pentium MMX and Crusoe had it without fxsr, so no such edge",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(FXSR, "fxsr")
        .linux("fxsr")
        .xen("FXSR")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[FPU])
        .because("FXSAVE, the oldest form of the state that a hypervisor must keep", "SDM vol. 2A, CPUID.01H:EDX"),
    row(SSE, "sse")
        .linux("sse")
        .xen("SSE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[FXSR])
        .because("XMM registers are saved through FXSAVE", "SDM vol. 2A, CPUID.01H:EDX"),
    row(SSE2, "sse2")
        .linux("sse2")
        .xen("SSE2")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[SSE])
        .because("integer and double forms on XMM, and the baseline of long mode", "SDM vol. 2A, CPUID.01H:EDX"),
    row(EDX.bit(27), "ss").linux("ss").xen("SS").offer(Hardware, Hardware, Hardware, Hardware).because(
        "a self-snooping cache tolerates mixed memory types; cleared by Linux on some steppings, hence compared",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(HT, "ht").linux("ht").xen("HTT").offer(Anywhere, Anywhere, Anywhere, Anywhere).because(
        "follows from the topology, so true on any host; KVM's own list never has it",
        "SDM vol. 2A, CPUID.01H:EDX",
    ),
    row(EDX.bit(29), "tm")
        .linux("tm")
        .xen("TM1")
        .because("automatic clock control belongs to the host; all 20 machines lost it", "SDM vol. 2A, CPUID.01H:EDX"),
    row(EDX.bit(30), "ia64").linux("ia64").because(
        "marks an Itanium running x86 code; reserved today, seen on no dump",
        "SDM vol. 2A, CPUID.01H:EDX[30], reserved",
    ),
    row(EDX.bit(31), "pbe")
        .linux("pbe")
        .xen("PBE")
        .because("break events on FERR# are for the chipset; all 20 machines lost it", "SDM vol. 2A, CPUID.01H:EDX"),
];
