//! Fields of the basic leaves that are no sets of features, in the order of their places.
//!
//! Only fields of compared words are here. A field may cover bits that have rows of their own where it combines bit by
//! bit (`All`, `Any`): those bits follow their row, the rest the field.

use crate::feature::{Offer::*, Relation::*};
use crate::place::{Register::*, Word};
use crate::value::{Value, value};

/// The rows.
pub(crate) static ROWS: [Value; 98] = [
    value("max-leaf", Word::leaf(0x0, Eax), 0, 32, Derived).because(
        "the least that covers what is non-zero, never below what a running guest saw",
        "SDM vol. 2A, CPUID.00H",
    ),
    value("vendor-ebx", Word::leaf(0x0, Ebx), 0, 32, Equal).because(
        "errata, MSRs and the meaning of leaves go by vendor; no hypervisor bridges two of them",
        "SDM vol. 2A, CPUID.00H; APM vol. 3, Fn0000_0000",
    ),
    value("vendor-ecx", Word::leaf(0x0, Ecx), 0, 32, Equal).because(
        "errata, MSRs and the meaning of leaves go by vendor; no hypervisor bridges two of them",
        "SDM vol. 2A, CPUID.00H; APM vol. 3, Fn0000_0000",
    ),
    value("vendor-edx", Word::leaf(0x0, Edx), 0, 32, Equal).because(
        "errata, MSRs and the meaning of leaves go by vendor; no hypervisor bridges two of them",
        "SDM vol. 2A, CPUID.00H; APM vol. 3, Fn0000_0000",
    ),
    value("signature", Word::leaf(0x1, Eax), 0, 32, Local).because(
        "family, model and stepping: code takes the least of the pool, since software infers errata from them",
        "SDM vol. 2A, CPUID.01H:EAX",
    ),
    value("brand-index", Word::leaf(0x1, Ebx), 0, 8, Local).because(
        "an index into a table of names that ended in 2006; the brand string replaced it",
        "SDM vol. 2A, CPUID.01H:EBX",
    ),
    value("clflush-size", Word::leaf(0x1, Ebx), 8, 8, Equal).because(
        "CLFLUSH loops stride by it; 8 on every dump with CLFLUSH but Quark, so it splits no server pool",
        "SDM vol. 2A, CPUID.01H:EBX",
    ),
    value("logical-cpus", Word::leaf(0x1, Ebx), 16, 8, Derived)
        .because("topology of the guest", "SDM vol. 2A, CPUID.01H:EBX"),
    value("initial-apic-id", Word::leaf(0x1, Ebx), 24, 8, Dynamic)
        .because("belongs to the vCPU that asks", "SDM vol. 2A, CPUID.01H:EBX"),
    value("monitor-line-min", Word::leaf(0x5, Eax), 0, 16, Min)
        .offer(Hardware, Never, Never, Never)
        .because("what MONITOR watches is sure to lie within the smallest line", "SDM vol. 2A, CPUID.05H"),
    value("monitor-line-max", Word::leaf(0x5, Ebx), 0, 16, Max)
        .offer(Hardware, Never, Never, Never)
        .because("what is kept apart by the largest line wakes no neighbour on any host", "SDM vol. 2A, CPUID.05H"),
    substates("mwait-c0-substates", 0),
    substates("mwait-c1-substates", 4),
    substates("mwait-c2-substates", 8),
    substates("mwait-c3-substates", 12),
    substates("mwait-c4-substates", 16),
    substates("mwait-c5-substates", 20),
    substates("mwait-c6-substates", 24),
    substates("mwait-c7-substates", 28),
    value("thermal-thresholds", Word::leaf(0x6, Ebx), 0, 4, Local)
        .offer(Never, Never, Never, Never)
        .because("thermal interrupts go to the host", "SDM vol. 2A, CPUID.06H"),
    value("thread-director-classes", Word::leaf(0x6, Ecx), 8, 8, Local)
        .offer(Never, Never, Never, Never)
        .because("feedback on the cores of one hybrid CPU; a vCPU moves between them", "SDM vol. 2A, CPUID.06H"),
    value("hw-feedback-size", Word::leaf(0x6, Edx), 8, 4, Local)
        .offer(Never, Never, Never, Never)
        .because("feedback on the cores of one hybrid CPU; a vCPU moves between them", "SDM vol. 2A, CPUID.06H"),
    value("hw-feedback-row", Word::leaf(0x6, Edx), 16, 16, Local)
        .offer(Never, Never, Never, Never)
        .because("the row of one logical CPU in the feedback table", "SDM vol. 2A, CPUID.06H"),
    value("leaf-7-max-subleaf", Word::subleaf(0x7, 0, Eax), 0, 32, Derived).because(
        "an integer, not a set of bits; never to be masked or compared (Xen b50d78d0ea, a2330b51df)",
        "SDM vol. 2A, CPUID.07H",
    ),
    value("mawau", Word::subleaf(0x7, 0, Ecx), 17, 5, Min).offer(Never, Never, Never, Never).because(
        "wider bound directories for MPX under five-level paging: on no dump, and every hypervisor masks it",
        "SDM vol. 2A, CPUID.07H",
    ),
    value("dca-cap", Word::leaf(0x9, Eax), 1, 31, Local)
        .offer(Never, Never, Never, Never)
        .because("a copy of PLATFORM_DCA_CAP, firmware's setting for the chipset", "SDM vol. 2A, CPUID.09H"),
    value("pmu-version", Word::leaf(0xa, Eax), 0, 8, Min).offer(Hardware, Never, Never, Never).kvm_at_most(2).because(
        "each version contains the ones before; KVM stops at 2, and Xen blanks the leaf without vPMU",
        "SDM vol. 3B, 20.2",
    ),
    value("pmu-gp-counters", Word::leaf(0xa, Eax), 8, 8, Min)
        .offer(Hardware, Never, Never, Never)
        .kvm_at_most(8)
        .because("counters are numbered from 0, so fewer is a subset", "SDM vol. 3B, 20.2"),
    value("pmu-gp-width", Word::leaf(0xa, Eax), 16, 8, Min)
        .offer(Hardware, Never, Never, Never)
        .because("a guest that believes in a narrower counter reads a wider one well", "SDM vol. 3B, 20.2"),
    value("pmu-events-length", Word::leaf(0xa, Eax), 24, 8, Min)
        .offer(Hardware, Never, Never, Never)
        .because("events beyond it count as unavailable, so a shorter vector claims less", "SDM vol. 3B, 20.2"),
    value("pmu-fixed-bitmap", Word::leaf(0xa, Ecx), 0, 32, All)
        .offer(Never, Never, Never, Never)
        .because("one bit a fixed counter, from version 5 on; KVM stops at 2 and says 0", "SDM vol. 3B, 20.2"),
    value("pmu-fixed-counters", Word::leaf(0xa, Edx), 0, 5, Min)
        .offer(Hardware, Never, Never, Never)
        .kvm_at_most(3)
        .because("counters are numbered from 0, so fewer is a subset", "SDM vol. 3B, 20.2"),
    value("pmu-fixed-width", Word::leaf(0xa, Edx), 5, 8, Min)
        .offer(Hardware, Never, Never, Never)
        .because("a guest that believes in a narrower counter reads a wider one well", "SDM vol. 3B, 20.2"),
    value("xcr0-8", Word::subleaf(0xd, 0, Eax), 8, 1, Derived)
        .because("component 8 is Processor Trace and lies in XSS; this bit stays zero", "SDM vol. 1, 13.2"),
    value("xcr0-10", Word::subleaf(0xd, 0, Eax), 10, 7, Derived)
        .because("components 10 to 16 lie in XSS; these bits stay zero", "SDM vol. 1, 13.2"),
    value("xcr0-19", Word::subleaf(0xd, 0, Eax), 19, 13, Derived)
        .because("components without a name yet; XCR0 is rebuilt from the features that use it", "SDM vol. 1, 13.2"),
    value("xsave-size", Word::subleaf(0xd, 0, Ebx), 0, 32, Dynamic)
        .because("follows XCR0 at the moment of asking", "SDM vol. 1, 13.2"),
    value("xsave-max-size", Word::subleaf(0xd, 0, Ecx), 0, 32, Derived)
        .because("follows from the components and their offsets", "SDM vol. 1, 13.2"),
    value("xcr0-32", Word::subleaf(0xd, 0, Edx), 0, 30, Derived)
        .because("components without a name yet; XCR0 is rebuilt from the features that use it", "SDM vol. 1, 13.2"),
    value("xcr0-63", Word::subleaf(0xd, 0, Edx), 31, 1, Derived)
        .because("reserved for the format of an area; stays zero", "SDM vol. 1, 13.2"),
    value("xsaves-size", Word::subleaf(0xd, 1, Ebx), 0, 32, Dynamic)
        .because("follows XCR0 and XSS at the moment of asking", "SDM vol. 1, 13.2"),
    value("xss-0", Word::subleaf(0xd, 1, Ecx), 0, 8, Derived)
        .because("components 0 to 7 lie in XCR0; these bits stay zero", "SDM vol. 1, 13.2"),
    value("xss-9", Word::subleaf(0xd, 1, Ecx), 9, 1, Derived)
        .because("PKRU lies in XCR0; this bit stays zero", "SDM vol. 1, 13.2"),
    value("xss-17", Word::subleaf(0xd, 1, Ecx), 17, 15, Derived)
        .because("components without a name yet; XSS is rebuilt from the features that use it", "SDM vol. 1, 13.2"),
    value("xss-32", Word::subleaf(0xd, 1, Edx), 0, 32, Derived)
        .because("components without a name yet; XSS is rebuilt from the features that use it", "SDM vol. 1, 13.2"),
    value("rmid-max", Word::subleaf(0xf, 0, Ebx), 0, 32, Min).offer(Never, Never, Never, Never).because(
        "monitoring IDs are the host's to hand out; the size of their set would level to the least",
        "SDM vol. 3B, 18.18",
    ),
    value("l3-monitoring-width", Word::subleaf(0xf, 1, Eax), 0, 8, Min)
        .offer(Never, Never, Never, Never)
        .because("bits beyond 24 of a counter that is read modulo its width", "SDM vol. 3B, 18.18"),
    value("l3-monitoring-scale", Word::subleaf(0xf, 1, Ebx), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("bytes per count of one CPU's counters", "SDM vol. 3B, 18.18"),
    value("l3-rmid-max", Word::subleaf(0xf, 1, Ecx), 0, 32, Min).offer(Never, Never, Never, Never).because(
        "monitoring IDs are the host's to hand out; the size of their set would level to the least",
        "SDM vol. 3B, 18.18",
    ),
    value("l3-cat-mask-length", Word::subleaf(0x10, 1, Eax), 0, 5, Min)
        .offer(Never, Never, Never, Never)
        .because("a mask over the ways of one cache, minus one", "SDM vol. 3B, 18.19"),
    value("l3-cat-shared-ways", Word::subleaf(0x10, 1, Ebx), 0, 32, Any).offer(Never, Never, Never, Never).because(
        "ways that devices share; a class that must avoid them must do so on every host",
        "SDM vol. 3B, 18.19",
    ),
    value("l3-cat-max-class", Word::subleaf(0x10, 1, Edx), 0, 16, Min).offer(Never, Never, Never, Never).because(
        "allocation classes are the host's to share out; their number would level to the least",
        "SDM vol. 3B, 18.19",
    ),
    value("l2-cat-mask-length", Word::subleaf(0x10, 2, Eax), 0, 5, Min)
        .offer(Never, Never, Never, Never)
        .because("a mask over the ways of one cache, minus one", "SDM vol. 3B, 18.19"),
    value("l2-cat-shared-ways", Word::subleaf(0x10, 2, Ebx), 0, 32, Any).offer(Never, Never, Never, Never).because(
        "ways that devices share; a class that must avoid them must do so on every host",
        "SDM vol. 3B, 18.19",
    ),
    value("l2-cat-max-class", Word::subleaf(0x10, 2, Edx), 0, 16, Min).offer(Never, Never, Never, Never).because(
        "allocation classes are the host's to share out; their number would level to the least",
        "SDM vol. 3B, 18.19",
    ),
    value("mba-max-delay", Word::subleaf(0x10, 3, Eax), 0, 12, Min)
        .offer(Never, Never, Never, Never)
        .because("the most that a class can be throttled, minus one", "SDM vol. 3B, 18.19"),
    value("mba-max-class", Word::subleaf(0x10, 3, Edx), 0, 16, Min).offer(Never, Never, Never, Never).because(
        "allocation classes are the host's to share out; their number would level to the least",
        "SDM vol. 3B, 18.19",
    ),
    value("miscselect", Word::subleaf(0x12, 0, Ebx), 2, 30, All)
        .offer(Never, Never, Never, Never)
        .because("kinds of exit information that no manual names yet", "SDM vol. 2A, CPUID.12H"),
    value("enclave-size-32", Word::subleaf(0x12, 0, Edx), 0, 8, Min)
        .offer(Never, Never, Never, Never)
        .because("a power of two; no kind of guest is given enclaves without asking", "SDM vol. 2A, CPUID.12H"),
    value("enclave-size-64", Word::subleaf(0x12, 0, Edx), 8, 8, Min)
        .offer(Never, Never, Never, Never)
        .because("a power of two; no kind of guest is given enclaves without asking", "SDM vol. 2A, CPUID.12H"),
    value("secs-attributes-high", Word::subleaf(0x12, 1, Ebx), 0, 32, All)
        .offer(Never, Never, Never, Never)
        .because("enclave attributes that no manual names yet", "SDM vol. 2A, CPUID.12H"),
    value("xfrm-8", Word::subleaf(0x12, 1, Ecx), 8, 1, Derived)
        .offer(Never, Never, Never, Never)
        .because("enclaves may enable what XCR0 may; rebuilt with it", "SDM vol. 2A, CPUID.12H"),
    value("xfrm-10", Word::subleaf(0x12, 1, Ecx), 10, 7, Derived)
        .offer(Never, Never, Never, Never)
        .because("enclaves may enable what XCR0 may; rebuilt with it", "SDM vol. 2A, CPUID.12H"),
    value("xfrm-19", Word::subleaf(0x12, 1, Ecx), 19, 13, Derived)
        .offer(Never, Never, Never, Never)
        .because("enclaves may enable what XCR0 may; rebuilt with it", "SDM vol. 2A, CPUID.12H"),
    value("xfrm-32", Word::subleaf(0x12, 1, Edx), 0, 32, Derived)
        .offer(Never, Never, Never, Never)
        .because("enclaves may enable what XCR0 may; rebuilt with it", "SDM vol. 2A, CPUID.12H"),
    value("pt-max-subleaf", Word::subleaf(0x14, 0, Eax), 0, 32, Derived)
        .offer(Never, Never, Never, Never)
        .because("follows what is non-zero", "SDM vol. 2A, CPUID.14H"),
    value("pt-address-ranges", Word::subleaf(0x14, 1, Eax), 0, 3, Min).offer(Never, Never, Never, Never).because(
        "numbered from 0, so fewer is a subset; KVM traces guests in pt_mode=1 only",
        "SDM vol. 2A, CPUID.14H",
    ),
    value("pt-mtc-periods", Word::subleaf(0x14, 1, Eax), 16, 16, All)
        .offer(Never, Never, Never, Never)
        .because("one bit a period that may be chosen; KVM traces guests in pt_mode=1 only", "SDM vol. 2A, CPUID.14H"),
    value("pt-cycle-thresholds", Word::subleaf(0x14, 1, Ebx), 0, 16, All).offer(Never, Never, Never, Never).because(
        "one bit a threshold that may be chosen; KVM traces guests in pt_mode=1 only",
        "SDM vol. 2A, CPUID.14H",
    ),
    value("pt-psb-periods", Word::subleaf(0x14, 1, Ebx), 16, 16, All).offer(Never, Never, Never, Never).because(
        "one bit a frequency that may be chosen; KVM traces guests in pt_mode=1 only",
        "SDM vol. 2A, CPUID.14H",
    ),
    value("lbr-depths", Word::leaf(0x1c, Eax), 0, 8, All).offer(Never, Never, Never, Never).because(
        "one bit a depth; the depth is written in an MSR, so it must exist on every host",
        "SDM vol. 2A, CPUID.1CH",
    ),
    value("lbr-events", Word::leaf(0x1c, Ecx), 16, 4, All).offer(Never, Never, Never, Never).because(
        "one bit a counter whose events are logged; no hypervisor gives architectural LBRs",
        "SDM vol. 2A, CPUID.1CH",
    ),
    value("amx-max-palette", Word::subleaf(0x1d, 0, Eax), 0, 32, Min)
        .offer(Hardware, Never, Never, Never)
        .because("palettes are numbered from 1, and TILECFG names one", "SDM vol. 2A, CPUID.1DH"),
    value("amx-tile-bytes", Word::subleaf(0x1d, 1, Eax), 0, 16, Min).offer(Hardware, Never, Never, Never).because(
        "tile geometry: the same on every CPU with AMX so far, and a smaller one is contained",
        "SDM vol. 2A, CPUID.1DH",
    ),
    value("amx-bytes-per-tile", Word::subleaf(0x1d, 1, Eax), 16, 16, Min).offer(Hardware, Never, Never, Never).because(
        "tile geometry: the same on every CPU with AMX so far, and a smaller one is contained",
        "SDM vol. 2A, CPUID.1DH",
    ),
    value("amx-bytes-per-row", Word::subleaf(0x1d, 1, Ebx), 0, 16, Min).offer(Hardware, Never, Never, Never).because(
        "tile geometry: the same on every CPU with AMX so far, and a smaller one is contained",
        "SDM vol. 2A, CPUID.1DH",
    ),
    value("amx-tiles", Word::subleaf(0x1d, 1, Ebx), 16, 16, Min).offer(Hardware, Never, Never, Never).because(
        "tile geometry: the same on every CPU with AMX so far, and a smaller one is contained",
        "SDM vol. 2A, CPUID.1DH",
    ),
    value("amx-rows", Word::subleaf(0x1d, 1, Ecx), 0, 16, Min).offer(Hardware, Never, Never, Never).because(
        "tile geometry: the same on every CPU with AMX so far, and a smaller one is contained",
        "SDM vol. 2A, CPUID.1DH",
    ),
    value("tmul-max-subleaf", Word::subleaf(0x1e, 0, Eax), 0, 32, Derived)
        .because("follows what is non-zero", "SDM vol. 2A, CPUID.1EH"),
    value("tmul-maxk", Word::subleaf(0x1e, 0, Ebx), 0, 8, Min)
        .offer(Hardware, Never, Never, Never)
        .because("the most rows or columns of one product", "SDM vol. 2A, CPUID.1EH"),
    value("tmul-maxn", Word::subleaf(0x1e, 0, Ebx), 8, 16, Min)
        .offer(Hardware, Never, Never, Never)
        .because("the most bytes of one column of a product", "SDM vol. 2A, CPUID.1EH"),
    value("hreset-max-subleaf", Word::subleaf(0x20, 0, Eax), 0, 32, Derived)
        .offer(Never, Never, Never, Never)
        .because("follows what is non-zero", "SDM vol. 2A, CPUID.20H"),
    value("perfmon-slots-per-cycle", Word::subleaf(0x23, 0, Ecx), 0, 8, Min).offer(Never, Never, Never, Never).because(
        "top-down slots of one core's pipeline; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("perfmon-gp-bitmap", Word::subleaf(0x23, 1, Eax), 0, 32, All)
        .offer(Never, Never, Never, Never)
        .because("one bit a counter; leaf 0x23 is given to no guest", "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H"),
    value("perfmon-fixed-bitmap", Word::subleaf(0x23, 1, Ebx), 0, 32, All).offer(Never, Never, Never, Never).because(
        "one bit a fixed counter; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("perfmon-acr-gp-reload", Word::subleaf(0x23, 2, Eax), 0, 32, All).offer(Never, Never, Never, Never).because(
        "one bit a counter that can be reloaded; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("perfmon-acr-fixed-reload", Word::subleaf(0x23, 2, Ebx), 0, 32, All)
        .offer(Never, Never, Never, Never)
        .because(
            "one bit a fixed counter that can be reloaded; leaf 0x23 is given to no guest",
            "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
        ),
    value("perfmon-acr-gp-trigger", Word::subleaf(0x23, 2, Ecx), 0, 32, All).offer(Never, Never, Never, Never).because(
        "one bit a counter that can cause reloads; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("perfmon-acr-fixed-trigger", Word::subleaf(0x23, 2, Edx), 0, 32, All)
        .offer(Never, Never, Never, Never)
        .because(
            "one bit a fixed counter that can cause reloads; leaf 0x23 is given to no guest",
            "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
        ),
    value("pebs-lbr-groups", Word::subleaf(0x23, 4, Ebx), 8, 2, All).offer(Never, Never, Never, Never).because(
        "one bit a size of the LBR group in a record; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("pebs-xer-groups", Word::subleaf(0x23, 4, Ebx), 16, 8, All).offer(Never, Never, Never, Never).because(
        "one bit a vector register group in a record; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("pebs-gp-bitmap", Word::subleaf(0x23, 5, Eax), 0, 32, All).offer(Never, Never, Never, Never).because(
        "one bit a counter that can make records; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("pebs-gp-precise-bitmap", Word::subleaf(0x23, 5, Ebx), 0, 32, All).offer(Never, Never, Never, Never).because(
        "one bit a counter with precise distribution; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("pebs-fixed-bitmap", Word::subleaf(0x23, 5, Ecx), 0, 32, All).offer(Never, Never, Never, Never).because(
        "one bit a fixed counter that can make records; leaf 0x23 is given to no guest",
        "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
    ),
    value("pebs-fixed-precise-bitmap", Word::subleaf(0x23, 5, Edx), 0, 32, All)
        .offer(Never, Never, Never, Never)
        .because(
            "one bit a fixed counter with precise distribution; leaf 0x23 is given to no guest",
            "SDM vol. 3B, 20.2; SDM vol. 2A, CPUID.23H",
        ),
    value("avx10-max-subleaf", Word::subleaf(0x24, 0, Eax), 0, 32, Derived)
        .because("follows what is non-zero", "Intel AVX10 architecture specification, CPUID.24H"),
    value("avx10-version", Word::subleaf(0x24, 0, Ebx), 0, 8, Min)
        .offer(Hardware, Never, Never, Never)
        .kvm_at_most(2)
        .because(
            "each version contains the ones before; KVM gives it since Linux 6.14 (judgement), Xen knows no such leaf",
            "Intel AVX10 architecture specification, CPUID.24H",
        ),
    value("apx-max-subleaf", Word::subleaf(0x29, 0, Eax), 0, 32, Derived)
        .because("follows what is non-zero", "Intel APX architecture specification, CPUID.29H"),
];

/// How many sub-states of an idle state MWAIT knows.
const fn substates(name: &'static str, shift: u8) -> Value {
    value(name, Word::leaf(0x5, Edx), shift, 4, Min)
        .offer(Hardware, Never, Never, Never)
        .because("numbered from 0, so fewer is a subset", "SDM vol. 2A, CPUID.05H")
}
