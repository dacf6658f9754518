//! MSR 0x485, VMX_MISC.

use super::leaf_01::VMX;
use crate::feature::{Feature, Offer::*, row};
use crate::place::Word;

const LOW: Word = Word::msr_low(0x485);

/// The rows.
pub(crate) static ROWS: [Feature; 6] = [
    row(LOW.bit(5), "vmx-store-lma").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "VM exits store EFER.LMA into the entry controls; the one bit of this MSR that KVM copies from the CPU",
        "SDM vol. 3D, A.6",
    ),
    row(LOW.bit(6), "vmx-activity-hlt")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("a nested guest may be entered halted; KVM emulates it on every host", "SDM vol. 3D, A.6"),
    row(LOW.bit(7), "vmx-activity-shutdown")
        .needs(&[VMX])
        .because("KVM enters nested guests active, halted or waiting for SIPI, never in shutdown", "SDM vol. 3D, A.6"),
    row(LOW.bit(8), "vmx-activity-wait-sipi").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "a nested guest may be entered waiting for SIPI; KVM emulates it since Linux 5.11",
        "SDM vol. 3D, A.6",
    ),
    row(LOW.bit(29), "vmx-vmwrite-vmexit-fields").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "VMWRITE to read-only fields, of use with shadow VMCSs; KVM emulates it on every host",
        "SDM vol. 3D, A.6",
    ),
    row(LOW.bit(30), "vmx-zero-len-inject").needs(&[VMX]).because(
        "software interrupts of length 0; KVM checks lengths instead, and no machine kept it",
        "SDM vol. 3D, A.6",
    ),
];
