//! Leaf 0x80000007: error handling and power of AMD CPUs.

use super::leaf_01::{MCA, TSC};
use super::leaf_80000008::CPPC;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Register, Word};

const EBX: Word = Word::leaf(0x8000_0007, Register::Ebx);
const EDX: Word = Word::leaf(0x8000_0007, Register::Edx);

/// The rows.
pub(crate) static ROWS: [Feature; 22] = [
    row(EBX.bit(0), "overflow-recov")
        .linux("overflow_recov")
        .offer(Request, Never, Never, Never)
        .needs(&[MCA])
        .because(
            "MCA overflow can be survived; KVM is silent, QEMU injects such errors since 8.1 if asked",
            "APM vol. 3, app. E, Fn8000_0007:EBX",
        ),
    row(EBX.bit(1), "succor").linux("succor").offer(Request, Never, Never, Never).needs(&[MCA]).because(
        "poisoned data is reported before use; KVM is silent, QEMU forwards it since 8.1 if asked",
        "APM vol. 3, app. E, Fn8000_0007:EBX",
    ),
    row(EBX.bit(2), "hw-assert").because(
        "assertion MSRs of families 15h and 16h debug the host's silicon",
        "APM vol. 3, app. E, Fn8000_0007:EBX",
    ),
    row(EBX.bit(3), "smca")
        .linux("smca")
        .needs(&[MCA])
        .because("scalable MCA banks; guests get the legacy banks of the VMM", "APM vol. 3, app. E, Fn8000_0007:EBX"),
    row(EBX.bit(4), "pfeh").needs(&[MCA]).because(
        "firmware sees errors first, on the host; guests have no such firmware",
        "PPR 55898 (family 19h), CPUID_Fn80000007_EBX",
    ),
    row(EDX.bit(0), "digital-temp").because("temperature sensor of the host", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(1), "powernow-freq-id")
        .because("frequency control of K8; the host's governor owns it", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(2), "powernow-volt-id")
        .because("voltage control of K8; the host's governor owns it", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(3), "thermal-trip")
        .because("shuts the host off when it is too hot", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(4), "hw-thermal-control")
        .because("hardware throttling of the host", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(5), "sw-thermal-control")
        .because("software throttling of the host", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(6), "100mhz-steps")
        .because("step of the K10 multiplier; the host's governor owns it", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(7), "hw-pstate")
        .linux("hw_pstate")
        .xen("HW_PSTATE")
        .because("P-state MSRs; the host's governor owns them", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(8), "invtsc").xen("ITSC").offer(Request, Request, Request, Request).needs(&[TSC]).because(
        "rate fixed for life: blocks migration unless TSC scaling is agreed, so only on request",
        "APM vol. 3, app. E, Fn8000_0007:EDX",
    ),
    row(EDX.bit(9), "cpb")
        .linux("cpb")
        .xen("CPB")
        .because("core boost, a switch of the host", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(10), "efro")
        .xen("EFRO")
        .because("APERF as read-only MSR; the counters are the host's", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(11), "proc-feedback")
        .linux("proc_feedback")
        .because("feedback counters of family 16h, for the host's governor", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(12), "acc-power")
        .because("accumulated power of family 15h, of the host", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(13), "connected-standby")
        .because("platform sleep states of notebooks", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(14), "rapl")
        .because("energy counters of the host, a side channel for guests", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(15), "amd-fast-cppc")
        .linux("amd_fast_cppc")
        .needs(&[CPPC])
        .because("quick CPPC requests; power belongs to the host", "APM vol. 3, app. E, Fn8000_0007:EDX"),
    row(EDX.bit(16), "cppc-perf-prio")
        .linux("cppc_perf_prio")
        .needs(&[CPPC])
        .because("priority among CPPC requests; power belongs to the host", "APM vol. 3, app. E, Fn8000_0007:EDX"),
];
