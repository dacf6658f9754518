//! Leaf 7, subleaf 2: more of SPEC_CTRL.

use super::leaf_07_0_edx::SPEC_CTRL;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EDX: Word = Word::subleaf(0x7, 2, Register::Edx);

pub(crate) const INTEL_PSFD: Place = EDX.bit(0);
pub(crate) const IPRED_CTRL: Place = EDX.bit(1);
pub(crate) const RRSBA_CTRL: Place = EDX.bit(2);
pub(crate) const BHI_CTRL: Place = EDX.bit(4);

/// The rows.
pub(crate) static ROWS: [Feature; 7] = [
    row(INTEL_PSFD, "intel-psfd")
        .xen("INTEL_PSFD")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[SPEC_CTRL])
        .because("disables predictive store forwarding by a bit of SPEC_CTRL", "SDM vol. 2A, CPUID.07H.2:EDX"),
    row(IPRED_CTRL, "ipred-ctrl")
        .xen("IPRED_CTRL")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[SPEC_CTRL])
        .because(
            "indirect predictor controls by privilege level, which under PV do not mean what they say",
            "SDM vol. 2A, CPUID.07H.2:EDX",
        ),
    row(RRSBA_CTRL, "rrsba-ctrl")
        .linux("rrsba_ctrl")
        .xen("RRSBA_CTRL")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[SPEC_CTRL])
        .because(
            "alternate return prediction by privilege level, which under PV does not mean what it says",
            "SDM vol. 2A, CPUID.07H.2:EDX",
        ),
    row(EDX.bit(3), "ddpd-u").xen("DDP_CTRL").offer(Hardware, Never, Never, Never).needs(&[SPEC_CTRL]).because(
        "data-dependent prefetching is off for user code by a bit of SPEC_CTRL; Xen leaves it out",
        "Intel CPUID and speculation guidance, CPUID.07H.2:EDX",
    ),
    row(BHI_CTRL, "bhi-ctrl")
        .linux("bhi_ctrl")
        .xen("BHI_CTRL")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[SPEC_CTRL])
        .because(
            "branch history control for ring 0, which under PV does not mean what it says",
            "SDM vol. 2A, CPUID.07H.2:EDX",
        ),
    row(EDX.bit(5), "mcdt-no").xen("MCDT_NO").offer(Hardware, Hardware, Hardware, Hardware).because(
        "says that data-dependent timing of some MXCSR settings is absent; all hosts must have it",
        "SDM vol. 2A, CPUID.07H.2:EDX",
    ),
    row(EDX.bit(6), "uc-lock-dis")
        .xen("UC_LOCK_DIS")
        .because("faults on uncached locks by an MSR that is the host's", "SDM vol. 2A, CPUID.07H.2:EDX"),
];
