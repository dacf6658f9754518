//! Leaf 0x14: what Intel Processor Trace can do.
//!
//! KVM shows the leaf raw where it runs with `pt_mode=1`; QEMU asks for `intel-pt` by name.

use super::leaf_07_0_ebx::INTEL_PT;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EBX: Word = Word::subleaf(0x14, 0, Register::Ebx);
const ECX: Word = Word::subleaf(0x14, 0, Register::Ecx);

pub(crate) const TOPA_OUTPUT: Place = ECX.bit(0);

/// The rows.
pub(crate) static ROWS: [Feature; 14] = [
    row(EBX.bit(0), "cr3-filtering").offer(Request, Never, Never, Never).needs(&[INTEL_PT]).because(
        "RTIT_CR3_MATCH exists; a tracer programs it, so it must be everywhere",
        "SDM vol. 2A, CPUID.14H.0:EBX",
    ),
    row(EBX.bit(1), "psb-cyc")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("cycle-accurate mode and PSB rate can be set; Broadwell lacks it", "SDM vol. 2A, CPUID.14H.0:EBX"),
    row(EBX.bit(2), "ip-filtering")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("address ranges and TraceStop; Broadwell lacks it", "SDM vol. 2A, CPUID.14H.0:EBX"),
    row(EBX.bit(3), "mtc-timing")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("MTC packets; Broadwell lacks it", "SDM vol. 2A, CPUID.14H.0:EBX"),
    row(EBX.bit(4), "ptwrite")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("the PTWRITE instruction faults where it is missing, even untraced", "SDM vol. 2A, CPUID.14H.0:EBX"),
    row(EBX.bit(5), "power-event-trace")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("power packets, on Atom lines only so far", "SDM vol. 2A, CPUID.14H.0:EBX"),
    row(EBX.bit(6), "psb-pmi-preserve").offer(Request, Never, Never, Never).needs(&[INTEL_PT]).because(
        "keeps a pending PMI over PSB; a bit of RTIT_CTL that faults elsewhere",
        "SDM vol. 2A, CPUID.14H.0:EBX",
    ),
    row(EBX.bit(7), "event-trace")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("CFE packets; a bit of RTIT_CTL that faults elsewhere", "SDM vol. 2A, CPUID.14H.0:EBX"),
    row(EBX.bit(8), "tnt-disable")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("RTIT_CTL may turn TNT packets off; the bit faults elsewhere", "SDM vol. 2A, CPUID.14H.0:EBX"),
    row(TOPA_OUTPUT, "topa-output").offer(Request, Never, Never, Never).needs(&[INTEL_PT]).because(
        "table of output regions; KVM lets the hardware write to guest memory through EPT",
        "SDM vol. 2A, CPUID.14H.0:ECX",
    ),
    row(ECX.bit(1), "topa-multiple-entries")
        .offer(Request, Never, Never, Never)
        .needs(&[TOPA_OUTPUT])
        .because("Broadwell's tables hold one entry only", "SDM vol. 2A, CPUID.14H.0:ECX"),
    row(ECX.bit(2), "single-range-output")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("one contiguous output region; Broadwell lacks it", "SDM vol. 2A, CPUID.14H.0:ECX"),
    row(ECX.bit(3), "trace-transport-output")
        .offer(Request, Never, Never, Never)
        .needs(&[INTEL_PT])
        .because("output to a debug port; KVM reports it raw, no known CPU has it", "SDM vol. 2A, CPUID.14H.0:ECX"),
    row(ECX.bit(31), "intel-pt-lip").offer(Request, Never, Never, Never).needs(&[INTEL_PT]).because(
        "IP packets hold linear addresses: Atom does, Core does not; levels off, a mixed pool should drop PT",
        "SDM vol. 2A, CPUID.14H.0:ECX",
    ),
];
