//! Leaf 0x80000022: AMD's performance monitoring, version 2.

use super::leaf_80000001::PERFCTR_CORE;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::leaf(0x8000_0022, Register::Eax);

pub(crate) const AMD_LBR_V2: Place = EAX.bit(1);
pub(crate) const PERFMON_V2: Place = EAX.bit(0);

/// The rows.
pub(crate) static ROWS: [Feature; 3] = [
    row(PERFMON_V2, "perfmon-v2")
        .linux("perfmon_v2")
        .offer(Hardware, Never, Never, Never)
        .needs(&[PERFCTR_CORE])
        .because(
            "global control of the core counters; KVM passes it since 6.5, with the PMU on",
            "APM vol. 3, app. E, Fn8000_0022:EAX",
        ),
    row(AMD_LBR_V2, "amd-lbr-v2")
        .linux("amd_lbr_v2")
        .because("branch records in 16 MSR pairs, kept for the host's perf", "APM vol. 3, app. E, Fn8000_0022:EAX"),
    row(EAX.bit(2), "amd-lbr-pmc-freeze").linux("amd_lbr_pmc_freeze").needs(&[AMD_LBR_V2]).because(
        "records stop when a counter overflows; kept for the host's perf",
        "APM vol. 3, app. E, Fn8000_0022:EAX",
    ),
];
