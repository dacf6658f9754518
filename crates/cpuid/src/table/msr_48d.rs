//! MSR 0x48D, the true pin-based VM-execution controls. The places are in the half of allowed 1-settings.

use super::leaf_01::VMX;
use super::msr_48b::VMX_APICV_VID;
use super::msr_48f::VMX_EXIT_ACK_INTR;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Word};

const HIGH: Word = Word::msr_high(0x48d);

pub(crate) const VMX_INTR_EXIT: Place = HIGH.bit(0);
pub(crate) const VMX_NMI_EXIT: Place = HIGH.bit(3);
pub(crate) const VMX_VNMI: Place = HIGH.bit(5);
pub(crate) const VMX_PREEMPTION_TIMER: Place = HIGH.bit(6);

/// The rows.
pub(crate) static ROWS: [Feature; 5] = [
    row(VMX_INTR_EXIT, "vmx-intr-exit").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "exits on interrupts, the base of every hypervisor; passed on as the CPU has it",
        "SDM vol. 3D, A.3.1",
    ),
    row(VMX_NMI_EXIT, "vmx-nmi-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on NMIs; passed on as the CPU has it", "SDM vol. 3D, A.3.1"),
    row(VMX_VNMI, "vmx-vnmi")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, VMX_NMI_EXIT])
        .because("virtual NMI blocking; VM entry wants NMI exits with it", "SDM vol. 3D, A.3.1"),
    row(VMX_PREEMPTION_TIMER, "vmx-preemption-timer")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("KVM emulates the timer for nested guests with one of its own on every host", "SDM vol. 3D, A.3.1"),
    row(HIGH.bit(7), "vmx-posted-intr")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, VMX_APICV_VID, VMX_EXIT_ACK_INTR])
        .because(
            "VM entry wants interrupt delivery and acknowledgement on exit with it; nested where KVM uses APICv",
            "SDM vol. 3D, A.3.1",
        ),
];
