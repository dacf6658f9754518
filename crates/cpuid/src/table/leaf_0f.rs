//! Leaf 0xF: monitoring of shared resources.

use super::leaf_07_0_ebx::CMT;
use crate::feature::{Feature, row};
use crate::place::{Place, Register, Word};

const EDX: Word = Word::subleaf(0xf, 0, Register::Edx);
const L3_EAX: Word = Word::subleaf(0xf, 1, Register::Eax);
const L3_EDX: Word = Word::subleaf(0xf, 1, Register::Edx);

pub(crate) const CQM_LLC: Place = EDX.bit(1);
pub(crate) const CQM_OCCUP_LLC: Place = L3_EDX.bit(0);
pub(crate) const MBM_TOTAL: Place = L3_EDX.bit(1);
pub(crate) const MBM_LOCAL: Place = L3_EDX.bit(2);

/// The rows.
pub(crate) static ROWS: [Feature; 7] = [
    row(CQM_LLC, "cqm-llc").linux("cqm_llc").needs(&[CMT]).because(
        "counts by RMID of the whole package, which the host owns; KVM zeroes leaf 0xF",
        "SDM vol. 2A, CPUID.0FH.0:EDX",
    ),
    row(L3_EAX.bit(8), "l3c-qm-overflow-bit")
        .needs(&[CQM_LLC])
        .because("bit 61 of QM_CTR; the counter MSRs do not reach guests", "SDM vol. 2A, CPUID.0FH.1:EAX"),
    row(L3_EAX.bit(9), "io-rdt-cmt")
        .needs(&[CQM_OCCUP_LLC])
        .because("occupancy of I/O agents on Granite Rapids; host only", "SDM vol. 2A, CPUID.0FH.1:EAX"),
    row(L3_EAX.bit(10), "io-rdt-mbm")
        .needs(&[MBM_TOTAL])
        .because("bandwidth of I/O agents on Granite Rapids; host only", "SDM vol. 2A, CPUID.0FH.1:EAX"),
    row(CQM_OCCUP_LLC, "cqm-occup-llc").linux("cqm_occup_llc").needs(&[CQM_LLC]).because(
        "cache occupancy by RMID; QEMU has no name for it and KVM zeroes the leaf",
        "SDM vol. 2A, CPUID.0FH.1:EDX",
    ),
    row(MBM_TOTAL, "mbm-total").aliases(&["mbm_total"]).linux("cqm_mbm_total").needs(&[CQM_LLC]).because(
        "dropped on all five corpus machines that have it: RMIDs are the host's",
        "SDM vol. 2A, CPUID.0FH.1:EDX",
    ),
    row(MBM_LOCAL, "mbm-local").aliases(&["mbm_local"]).linux("cqm_mbm_local").needs(&[CQM_LLC]).because(
        "dropped on all five corpus machines that have it: RMIDs are the host's",
        "SDM vol. 2A, CPUID.0FH.1:EDX",
    ),
];
