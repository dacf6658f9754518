//! Fields of the extended leaves that are no sets of features, in the order of their places.
//!
//! Only fields of compared words are here. A field may cover bits that have rows of their own where it combines bit by
//! bit (`All`, `Any`): those bits follow their row, the rest the field.

use crate::feature::{Offer::*, Relation::*};
use crate::place::{Register::*, Word};
use crate::value::{Value, value};

/// The rows.
pub(crate) static ROWS: [Value; 56] = [
    value("max-extended-leaf", Word::leaf(0x8000_0000, Eax), 0, 32, Derived).because(
        "the least that covers what is non-zero, never below what a running guest saw",
        "SDM vol. 2A, CPUID.80000000H; APM vol. 3, Fn8000_0000",
    ),
    value("extended-vendor-ebx", Word::leaf(0x8000_0000, Ebx), 0, 32, Derived)
        .because("the basic vendor on AMD, zero on Intel", "SDM vol. 2A, CPUID.80000000H; APM vol. 3, Fn8000_0000"),
    value("extended-vendor-ecx", Word::leaf(0x8000_0000, Ecx), 0, 32, Derived)
        .because("the basic vendor on AMD, zero on Intel", "SDM vol. 2A, CPUID.80000000H; APM vol. 3, Fn8000_0000"),
    value("extended-vendor-edx", Word::leaf(0x8000_0000, Edx), 0, 32, Derived)
        .because("the basic vendor on AMD, zero on Intel", "SDM vol. 2A, CPUID.80000000H; APM vol. 3, Fn8000_0000"),
    value("extended-signature", Word::leaf(0x8000_0001, Eax), 0, 32, Local)
        .because("the signature again on AMD, zero on Intel", "APM vol. 3, Fn8000_0001"),
    value("extended-brand-id", Word::leaf(0x8000_0001, Ebx), 0, 16, Local)
        .because("an index into tables of names that AMD gave up with family 0x10", "APM vol. 3, Fn8000_0001"),
    value("package-type", Word::leaf(0x8000_0001, Ebx), 28, 4, Local)
        .because("the socket of one machine", "APM vol. 3, Fn8000_0001"),
    value("e1d-common-0", Word::leaf(0x8000_0001, Edx), 0, 10, Derived)
        .because("repeats bits of leaf 1 on AMD, zero on Intel; rebuilt from leaf 1", "APM vol. 3, Fn8000_0001"),
    value("e1d-common-12", Word::leaf(0x8000_0001, Edx), 12, 6, Derived)
        .because("repeats bits of leaf 1 on AMD, zero on Intel; rebuilt from leaf 1", "APM vol. 3, Fn8000_0001"),
    value("e1d-common-23", Word::leaf(0x8000_0001, Edx), 23, 2, Derived)
        .because("repeats bits of leaf 1 on AMD, zero on Intel; rebuilt from leaf 1", "APM vol. 3, Fn8000_0001"),
    value("processor-feedback", Word::leaf(0x8000_0007, Eax), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("counters on the power of one machine", "APM vol. 3, Fn8000_0007"),
    value("power-sample-ratio", Word::leaf(0x8000_0007, Ecx), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("a clock ratio of one CPU", "APM vol. 3, Fn8000_0007"),
    value("maxphysaddr", Word::leaf(0x8000_0008, Eax), 0, 8, Min).because(
        "a wider guest would set bits that fault here; code holds it at 36 with PAE or PSE36, else 32",
        "APM vol. 3, Fn8000_0008; SDM vol. 2A, CPUID.80000008H",
    ),
    value("maxlinaddr", Word::leaf(0x8000_0008, Eax), 8, 8, Derived).because(
        "57 with la57, 48 with lm, else 32: it follows from the features",
        "APM vol. 3, Fn8000_0008; SDM vol. 2A, CPUID.80000008H",
    ),
    value("guest-maxphysaddr", Word::leaf(0x8000_0008, Eax), 16, 8, Local).because(
        "how much the host's nested paging maps: KVM says it since Linux 6.10, Xen blanks it; 0 is always right",
        "APM vol. 3, Fn8000_0008",
    ),
    value("core-count", Word::leaf(0x8000_0008, Ecx), 0, 8, Derived)
        .because("topology of the guest", "APM vol. 3, Fn8000_0008"),
    value("apic-id-size", Word::leaf(0x8000_0008, Ecx), 12, 4, Derived)
        .because("topology of the guest", "APM vol. 3, Fn8000_0008"),
    value("perf-tsc-size", Word::leaf(0x8000_0008, Ecx), 16, 2, Local)
        .offer(Never, Never, Never, Never)
        .because("the width of a counter that no guest is given", "APM vol. 3, Fn8000_0008"),
    value("invlpgb-max-pages", Word::leaf(0x8000_0008, Edx), 0, 16, Min)
        .offer(Never, Never, Never, Never)
        .because("INVLPGB reaches other CPUs' TLBs by ASID, so no guest is given it", "APM vol. 3, Fn8000_0008"),
    value("rdpru-max-register", Word::leaf(0x8000_0008, Edx), 16, 16, Min)
        .offer(Never, Never, Never, Never)
        .because("RDPRU reads the host's APERF and MPERF, so no guest is given it", "APM vol. 3, Fn8000_0008"),
    value("svm-revision", Word::leaf(0x8000_000a, Eax), 0, 8, Min)
        .offer(Hardware, Hardware, Never, Never)
        .because("1 on every CPU and under KVM; code blanks the leaf without SVM", "APM vol. 3, Fn8000_000A"),
    value("svm-asids", Word::leaf(0x8000_000a, Ebx), 0, 32, Min)
        .offer(Hardware, Hardware, Never, Never)
        .kvm_at_most(8)
        .because(
            "address space IDs are numbered, so fewer is a subset; KVM says 8; code blanks the leaf without SVM",
            "APM vol. 3, Fn8000_000A",
        ),
    value("lwp-sizes", Word::leaf(0x8000_001c, Ebx), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("sizes of LWP's structures on family 0x15; Linux and Xen gave LWP up", "APM vol. 3, Fn8000_001C"),
    value("lwp-latency-bits", Word::leaf(0x8000_001c, Ecx), 0, 5, Local)
        .offer(Never, Never, Never, Never)
        .because("the width of a latency in LWP on family 0x15; Linux and Xen gave LWP up", "APM vol. 3, Fn8000_001C"),
    value("lwp-latency-rounding", Word::leaf(0x8000_001c, Ecx), 6, 3, Local).offer(Never, Never, Never, Never).because(
        "how latencies are rounded in LWP on family 0x15; Linux and Xen gave LWP up",
        "APM vol. 3, Fn8000_001C",
    ),
    value("lwp-version", Word::leaf(0x8000_001c, Ecx), 9, 7, Local).offer(Never, Never, Never, Never).because(
        "the version of the interface in LWP on family 0x15; Linux and Xen gave LWP up",
        "APM vol. 3, Fn8000_001C",
    ),
    value("lwp-buffer-min", Word::leaf(0x8000_001c, Ecx), 16, 8, Local)
        .offer(Never, Never, Never, Never)
        .because("the least ring buffer in LWP on family 0x15; Linux and Xen gave LWP up", "APM vol. 3, Fn8000_001C"),
    value("c-bit", Word::leaf(0x8000_001f, Ebx), 0, 6, Local).offer(Never, Never, Never, Never).because(
        "the page-table bit of encrypted memory; encrypted guests do not move between kinds of host",
        "APM vol. 3, Fn8000_001F",
    ),
    value("phys-addr-reduction", Word::leaf(0x8000_001f, Ebx), 6, 6, Local)
        .offer(Never, Never, Never, Never)
        .because("address bits that encryption takes from one host", "APM vol. 3, Fn8000_001F"),
    value("vmpl-count", Word::leaf(0x8000_001f, Ebx), 12, 4, Local)
        .offer(Never, Never, Never, Never)
        .because("privilege levels of SNP guests, which their own firmware reports", "APM vol. 3, Fn8000_001F"),
    value("encrypted-guests-max", Word::leaf(0x8000_001f, Ecx), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("a resource of one host", "APM vol. 3, Fn8000_001F"),
    value("sev-asid-min", Word::leaf(0x8000_001f, Edx), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("a setting of one host's firmware", "APM vol. 3, Fn8000_001F"),
    value("l3be-limit-length", Word::subleaf(0x8000_0020, 1, Eax), 0, 32, Min)
        .offer(Never, Never, Never, Never)
        .because(
            "the width of a bandwidth limit that only the host sets",
            "AMD64 Platform Quality of Service Extensions, 4",
        ),
    value("l3be-max-class", Word::subleaf(0x8000_0020, 1, Edx), 0, 32, Min).offer(Never, Never, Never, Never).because(
        "allocation classes are the host's to share out; their number would level to the least",
        "AMD64 Platform Quality of Service Extensions, 4",
    ),
    value("l3smbe-limit-length", Word::subleaf(0x8000_0020, 2, Eax), 0, 32, Min)
        .offer(Never, Never, Never, Never)
        .because(
            "the width of a bandwidth limit that only the host sets",
            "AMD64 Platform Quality of Service Extensions, 4",
        ),
    value("l3smbe-max-class", Word::subleaf(0x8000_0020, 2, Edx), 0, 32, Min)
        .offer(Never, Never, Never, Never)
        .because(
            "allocation classes are the host's to share out; their number would level to the least",
            "AMD64 Platform Quality of Service Extensions, 4",
        ),
    value("bmec-events", Word::subleaf(0x8000_0020, 3, Ebx), 0, 8, Min)
        .offer(Never, Never, Never, Never)
        .because("bandwidth events that only the host configures", "AMD64 Platform Quality of Service Extensions, 4"),
    value("microcode-patch-size", Word::leaf(0x8000_0021, Ebx), 0, 16, Local)
        .offer(Never, Never, Never, Never)
        .because("of use to who loads microcode: the host; Xen leaked it once (10dc35c516)", "APM vol. 3, Fn8000_0021"),
    value("rap-size", Word::leaf(0x8000_0021, Ebx), 16, 8, Local)
        .offer(Never, Never, Never, Never)
        .because("return predictor entries of one core; Xen leaked it once (10dc35c516)", "APM vol. 3, Fn8000_0021"),
    value("amd-pmu-counters", Word::leaf(0x8000_0022, Ebx), 0, 4, Min).offer(Hardware, Never, Never, Never).because(
        "counters are numbered from 0, so fewer is a subset; KVM gives them with its PMU, Xen knows no such leaf",
        "APM vol. 3, Fn8000_0022",
    ),
    value("amd-lbr-entries", Word::leaf(0x8000_0022, Ebx), 4, 6, Min)
        .offer(Never, Never, Never, Never)
        .because("the depth of LBR v2, which no guest is given", "APM vol. 3, Fn8000_0022"),
    value("amd-northbridge-counters", Word::leaf(0x8000_0022, Ebx), 10, 6, Local)
        .offer(Never, Never, Never, Never)
        .because("counters outside the core see all guests", "APM vol. 3, Fn8000_0022"),
    value("amd-umc-counters", Word::leaf(0x8000_0022, Ebx), 16, 6, Local)
        .offer(Never, Never, Never, Never)
        .because("counters outside the core see all guests", "APM vol. 3, Fn8000_0022"),
    value("amd-umc-bitmap", Word::leaf(0x8000_0022, Ecx), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("memory controllers of one machine", "APM vol. 3, Fn8000_0022"),
    value("mem-hmk-keys", Word::leaf(0x8000_0023, Ebx), 0, 16, Local)
        .offer(Never, Never, Never, Never)
        .because("a resource of one host", "APM vol. 3, Fn8000_0023"),
    value("topology-shift", Word::subleaf(0x8000_0026, 0, Eax), 0, 5, Derived)
        .because("topology of the guest", "APM vol. 3, Fn8000_0026"),
    value("topology-ranking", Word::subleaf(0x8000_0026, 0, Eax), 29, 1, Derived)
        .because("topology of the guest, uniform: no core types and no rankings", "APM vol. 3, Fn8000_0026"),
    value("topology-asymmetric", Word::subleaf(0x8000_0026, 0, Eax), 31, 1, Derived)
        .because("topology of the guest, uniform: no core types and no rankings", "APM vol. 3, Fn8000_0026"),
    value("topology-cpus", Word::subleaf(0x8000_0026, 0, Ebx), 0, 16, Derived)
        .because("topology of the guest", "APM vol. 3, Fn8000_0026"),
    value("topology-core-type", Word::subleaf(0x8000_0026, 0, Ebx), 16, 16, Derived)
        .because("topology of the guest, uniform: no core types and no rankings", "APM vol. 3, Fn8000_0026"),
    value("topology-level", Word::subleaf(0x8000_0026, 0, Ecx), 0, 16, Derived)
        .because("topology of the guest", "APM vol. 3, Fn8000_0026"),
    value("extended-apic-id", Word::subleaf(0x8000_0026, 0, Edx), 0, 32, Dynamic)
        .because("belongs to the vCPU that asks", "APM vol. 3, Fn8000_0026"),
    value("transmeta-signature", Word::leaf(0x8086_0001, Eax), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("Transmeta leaves end with the family that had them", "Transmeta processor recognition, 2002"),
    value("transmeta-revision", Word::leaf(0x8086_0001, Ebx), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("revision of one CPU", "Transmeta processor recognition, 2002"),
    value("transmeta-mhz", Word::leaf(0x8086_0001, Ecx), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("frequency of one CPU", "Transmeta processor recognition, 2002"),
    value("centaur-signature", Word::leaf(0xc000_0001, Eax), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("the signature again, on Isaiah and Zhaoxin dumps; judgement", "VIA PadLock programming guide, 2.3"),
];
