//! MSR 0x480, VMX_BASIC.

use super::leaf_01::VMX;
use super::leaf_07_1::FRED;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Word};

const HIGH: Word = Word::msr_high(0x480);

pub(crate) const VMX_TRUE_CTLS: Place = HIGH.bit(23);

/// The rows.
pub(crate) static ROWS: [Feature; 4] = [
    row(HIGH.bit(22), "vmx-ins-outs").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "details of INS and OUTS in the exit information; KVM passes the CPU's own on to nested guests",
        "SDM vol. 3D, A.1",
    ),
    row(VMX_TRUE_CTLS, "vmx-true-ctls")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("the MSRs 0x48D to 0x490 exist; KVM always gives them, Core 2 had none", "SDM vol. 3D, A.1"),
    row(HIGH.bit(24), "vmx-any-errcode").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "an exception may be injected with or without error code; nested since Linux 6.18, with CET",
        "SDM vol. 3D, A.1",
    ),
    row(HIGH.bit(26), "vmx-nested-exception").needs(&[VMX, FRED]).because(
        "marks an exception within event delivery, for FRED; nested VMX of KVM lacks it (judgement)",
        "SDM vol. 3D, A.1",
    ),
];
