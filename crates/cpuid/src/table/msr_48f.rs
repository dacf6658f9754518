//! MSR 0x48F, the true primary VM-exit controls. The places are in the half of allowed 1-settings.
//!
//! Saving of debug controls is of the class that is 1 by default: what a nested hypervisor asks is whether it may be 0.

use super::leaf_01::VMX;
use super::leaf_07_0_ebx::{INTEL_PT, MPX};
use super::leaf_07_0_ecx::PKS;
use super::msr_48d::VMX_PREEMPTION_TIMER;
use super::msr_480::VMX_TRUE_CTLS;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Word};

const HIGH: Word = Word::msr_high(0x48f);

pub(crate) const VMX_EXIT_ACK_INTR: Place = HIGH.bit(15);

/// The rows.
pub(crate) static ROWS: [Feature; 13] = [
    row(HIGH.bit(2), "vmx-exit-nosave-debugctl")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, VMX_TRUE_CTLS])
        .default_one()
        .because(
            "1 by default: the answer is in the half of allowed 0-settings, inverted; KVM lets it be 0",
            "SDM vol. 3D, A.4.1",
        ),
    row(HIGH.bit(12), "vmx-exit-load-perf-global-ctrl").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "KVM loads the host's PERF_GLOBAL_CTRL itself; the one machine with vmx-* had an older kernel without",
        "SDM vol. 3D, A.4.1",
    ),
    row(VMX_EXIT_ACK_INTR, "vmx-exit-ack-intr")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("KVM takes the vector from its own virtual APIC, so on every host", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(18), "vmx-exit-save-pat")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("saves the guest's PAT; passed on as the CPU has it", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(19), "vmx-exit-load-pat")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("loads the host's PAT; passed on as the CPU has it", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(20), "vmx-exit-save-efer")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("saves the guest's EFER; emulated by KVM on every host", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(21), "vmx-exit-load-efer")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("loads the host's EFER; emulated by KVM on every host", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(22), "vmx-exit-save-preemption-timer")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, VMX_PREEMPTION_TIMER])
        .because("VM entry wants the timer with it; emulated by KVM on every host", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(23), "vmx-exit-clear-bndcfgs")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, MPX])
        .because("clears an MPX register; Cooper Lake's mask lacks it as that CPU has no MPX", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(25), "vmx-exit-clear-rtit-ctl")
        .needs(&[VMX, INTEL_PT])
        .because("KVM gives nested hypervisors no Processor Trace; no machine kept it", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(28), "vmx-exit-save-cet").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "loads the host's CET state in spite of QEMU's name; KVM passes it on since Linux 6.18, if it gives any of CET",
        "SDM vol. 3D, A.4.1",
    ),
    row(HIGH.bit(29), "vmx-exit-load-pkrs")
        .needs(&[VMX, PKS])
        .because("loads a register of PKS, which KVM does not virtualise", "SDM vol. 3D, A.4.1"),
    row(HIGH.bit(31), "vmx-exit-secondary-ctls")
        .needs(&[VMX])
        .because("MSR 0x493 exists; KVM's nested VMX has none of its controls", "SDM vol. 3D, A.4.1"),
];
