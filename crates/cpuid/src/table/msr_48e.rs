//! MSR 0x48E, the true primary processor-based VM-execution controls. The places are in the half of allowed 1-settings.
//!
//! Exits on CR3 accesses are of the class that is 1 by default: what a nested hypervisor asks is whether they may be 0.

use super::leaf_01::VMX;
use super::msr_48d::VMX_VNMI;
use super::msr_480::VMX_TRUE_CTLS;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Word};

const HIGH: Word = Word::msr_high(0x48e);

pub(crate) const VMX_FLEXPRIORITY: Place = HIGH.bit(21);
pub(crate) const VMX_SECONDARY_CTLS: Place = HIGH.bit(31);

/// The rows.
pub(crate) static ROWS: [Feature; 21] = [
    row(HIGH.bit(2), "vmx-vintr-pending")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits when the guest can take an interrupt; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(3), "vmx-tsc-offset")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("an offset on the guest's TSC; KVM adds the nested one to its own", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(7), "vmx-hlt-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on HLT; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(9), "vmx-invlpg-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on INVLPG; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(10), "vmx-mwait-exit").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "exits on MWAIT; passed on as the CPU has it, whether or not the guest sees MONITOR",
        "SDM vol. 3D, A.3.2",
    ),
    row(HIGH.bit(11), "vmx-rdpmc-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on RDPMC; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(12), "vmx-rdtsc-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on RDTSC; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(15), "vmx-cr3-load-noexit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, VMX_TRUE_CTLS])
        .default_one()
        .because(
            "1 by default: the answer is in the half of allowed 0-settings, inverted; KVM lets it be 0",
            "SDM vol. 3D, A.3.2",
        ),
    row(HIGH.bit(16), "vmx-cr3-store-noexit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, VMX_TRUE_CTLS])
        .default_one()
        .because(
            "1 by default: the answer is in the half of allowed 0-settings, inverted; KVM lets it be 0",
            "SDM vol. 3D, A.3.2",
        ),
    row(HIGH.bit(19), "vmx-cr8-load-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on writes of CR8, for 64-bit hypervisors; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(20), "vmx-cr8-store-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on reads of CR8, for 64-bit hypervisors; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(VMX_FLEXPRIORITY, "vmx-flexpriority")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("the TPR shadow, base of the APIC controls; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(22), "vmx-vnmi-pending")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX, VMX_VNMI])
        .because("exits when the guest can take an NMI; VM entry wants virtual NMIs with it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(23), "vmx-movdr-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on debug register accesses; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(24), "vmx-io-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on all I/O; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(25), "vmx-io-bitmap")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on chosen ports; KVM reads the nested bitmap itself", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(27), "vmx-mtf")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits after one instruction; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(28), "vmx-msr-bitmap")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("KVM honours the nested bitmap also on a CPU that has none", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(29), "vmx-monitor-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on MONITOR; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(HIGH.bit(30), "vmx-pause-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX])
        .because("exits on PAUSE; passed on as the CPU has it", "SDM vol. 3D, A.3.2"),
    row(VMX_SECONDARY_CTLS, "vmx-secondary-ctls").offer(Hardware, Never, Never, Never).needs(&[VMX]).because(
        "MSR 0x48B exists and its controls count; Penryn has them without this MSR, see MSR 0x482",
        "SDM vol. 3D, A.3.2",
    ),
];
