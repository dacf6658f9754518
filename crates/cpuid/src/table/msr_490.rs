//! MSR 0x490, the true VM-entry controls. The places are in the half of allowed 1-settings.
//!
//! Loading of debug controls is 1 by default: what a nested hypervisor asks is whether it may be 0.

use super::leaf_01::VMX;
use super::leaf_07_0_ebx::{INTEL_PT, MPX};
use super::leaf_07_0_ecx::PKS;
use super::leaf_07_1::FRED;
use super::leaf_80000001::LM;
use super::msr_480::VMX_TRUE_CTLS;
use crate::feature::{Feature, Offer::*, row};
use crate::place::Word;

const HIGH: Word = Word::msr_high(0x490);

/// The rows.
pub(crate) static ROWS: [Feature; 10] = [
    row(HIGH.bit(2), "vmx-entry-noload-debugctl")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, VMX_TRUE_CTLS])
        .default_one()
        .because(
            "1 by default: the answer is in the half of allowed 0-settings, inverted; KVM lets it be 0",
            "SDM vol. 3D, A.5",
        ),
    row(HIGH.bit(9), "vmx-entry-ia32e-mode")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, LM])
        .because("enters a 64-bit guest, so it follows long mode", "SDM vol. 3D, A.5"),
    row(HIGH.bit(13), "vmx-entry-load-perf-global-ctrl").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "KVM loads PERF_GLOBAL_CTRL itself; the one machine with vmx-* had an older kernel without",
        "SDM vol. 3D, A.5",
    ),
    row(HIGH.bit(14), "vmx-entry-load-pat")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("loads the guest's PAT; passed on as the CPU has it", "SDM vol. 3D, A.5"),
    row(HIGH.bit(15), "vmx-entry-load-efer")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("loads the guest's EFER; emulated by KVM on every host", "SDM vol. 3D, A.5"),
    row(HIGH.bit(16), "vmx-entry-load-bndcfgs")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, MPX])
        .because("loads an MPX register; Cooper Lake's mask lacks it as that CPU has no MPX", "SDM vol. 3D, A.5"),
    row(HIGH.bit(18), "vmx-entry-load-rtit-ctl")
        .needs(&[VMX, INTEL_PT])
        .because("KVM gives nested hypervisors no Processor Trace; no machine kept it", "SDM vol. 3D, A.5"),
    row(HIGH.bit(20), "vmx-entry-load-cet").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "loads the guest's CET state; KVM passes it on since Linux 6.18, if it gives any of CET",
        "SDM vol. 3D, A.5",
    ),
    row(HIGH.bit(22), "vmx-entry-load-pkrs")
        .needs(&[VMX, PKS])
        .because("loads a register of PKS, which KVM does not virtualise", "SDM vol. 3D, A.5"),
    row(HIGH.bit(23), "vmx-entry-load-fred")
        .needs(&[VMX, FRED])
        .because("loads the state of FRED, which KVM's nested VMX lacks (judgement: patches only)", "SDM vol. 3D, A.5"),
];
