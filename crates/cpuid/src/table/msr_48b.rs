//! MSR 0x48B, the secondary processor-based VM-execution controls. The places are in the half of allowed
//! 1-settings.
//!
//! None of them is 1 by default. KVM gives them to nested guests by a fixed list; Xen's nested VMX makes its own and
//! takes nothing from the policy.

use super::leaf_0d::XSAVES;
use super::leaf_01::RDRAND;
use super::leaf_07_0_ebx::{INVPCID, RDSEED, SGX};
use super::leaf_07_0_ecx::WAITPKG;
use super::leaf_80000001::RDTSCP;
use super::msr_48d::VMX_INTR_EXIT;
use super::msr_48e::{VMX_FLEXPRIORITY, VMX_SECONDARY_CTLS};
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Word};

const HIGH: Word = Word::msr_high(0x48b);

pub(crate) const VMX_EPT: Place = HIGH.bit(1);
pub(crate) const VMX_VPID: Place = HIGH.bit(5);
pub(crate) const VMX_APICV_VID: Place = HIGH.bit(9);
pub(crate) const VMX_VMFUNC: Place = HIGH.bit(13);

/// The rows.
pub(crate) static ROWS: [Feature; 22] = [
    row(HIGH.bit(0), "vmx-apicv-xapic")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS])
        .because("virtual APIC page accesses; nested only where KVM uses the control itself", "SDM vol. 3D, A.3.3"),
    row(VMX_EPT, "vmx-ept")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS])
        .because("nested paging for the nested guest, shadowed by KVM on top of its own", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(2), "vmx-desc-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS])
        .because("exits on descriptor-table accesses; passed on as the CPU has it", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(3), "vmx-rdtscp-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, RDTSCP])
        .because("enables RDTSCP and RDPID, so it follows the instruction", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(4), "vmx-apicv-x2apic")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, VMX_FLEXPRIORITY])
        .because("VM entry wants the TPR shadow with it", "SDM vol. 3D, A.3.3"),
    row(VMX_VPID, "vmx-vpid")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS])
        .because("tagged TLB entries; KVM gives nested guests one tag per vCPU of its own", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(6), "vmx-wbinvd-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS])
        .because("exits on WBINVD; passed on as the CPU has it", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(7), "vmx-unrestricted-guest")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, VMX_EPT])
        .because("real mode without emulation; VM entry wants EPT with it", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(8), "vmx-apicv-register")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, VMX_FLEXPRIORITY])
        .because("reads of the virtual APIC page; VM entry wants the TPR shadow with it", "SDM vol. 3D, A.3.3"),
    row(VMX_APICV_VID, "vmx-apicv-vid")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, VMX_INTR_EXIT, VMX_FLEXPRIORITY])
        .because(
            "delivers virtual interrupts; VM entry wants interrupt exits and the TPR shadow with it",
            "SDM vol. 3D, A.3.3",
        ),
    row(HIGH.bit(10), "vmx-ple")
        .needs(&[VMX_SECONDARY_CTLS])
        .because("KVM keeps pause-loop exits for its own directed yield; no machine kept it", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(11), "vmx-rdrand-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, RDRAND])
        .because("exits on RDRAND, so it follows the instruction", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(12), "vmx-invpcid-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, INVPCID])
        .because("enables INVPCID, so it follows the instruction", "SDM vol. 3D, A.3.3"),
    row(VMX_VMFUNC, "vmx-vmfunc")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS])
        .because("VMFUNC itself; its one function has a row in MSR 0x491", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(14), "vmx-shadow-vmcs").offer(Hardware, Never, Never, Never).needs(&[VMX_SECONDARY_CTLS]).because(
        "KVM emulates shadow VMCSs for nested guests also on CPUs before Haswell, which lack them",
        "SDM vol. 3D, A.3.3",
    ),
    row(HIGH.bit(15), "vmx-encls-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, SGX])
        .because("exits on ENCLS; dumps with SGX fused off or disabled never have it", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(16), "vmx-rdseed-exit")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, RDSEED])
        .because("exits on RDSEED, so it follows the instruction", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(17), "vmx-pml").offer(Hardware, Never, Never, Never).needs(&[VMX_SECONDARY_CTLS, VMX_EPT]).because(
        "KVM logs dirty pages for nested guests in software; VM entry wants EPT with it",
        "SDM vol. 3D, A.3.3",
    ),
    row(HIGH.bit(20), "vmx-xsaves")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, XSAVES])
        .because("enables XSAVES, so it follows the instruction", "SDM vol. 3D, A.3.3"),
    row(HIGH.bit(22), "vmx-mbec").needs(&[VMX_SECONDARY_CTLS, VMX_EPT]).because(
        "execute rights by mode in nested EPT; QEMU 11.1 has the name, KVM's series was not merged (judgement)",
        "SDM vol. 3D, A.3.3",
    ),
    row(HIGH.bit(25), "vmx-tsc-scaling").offer(Hardware, Never, Never, Never).needs(&[VMX_SECONDARY_CTLS]).because(
        "multiplies the TSC of nested guests; KVM composes both factors since Linux 5.14",
        "SDM vol. 3D, A.3.3",
    ),
    row(HIGH.bit(26), "vmx-enable-user-wait-pause")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_SECONDARY_CTLS, WAITPKG])
        .because(
            "enables UMWAIT and TPAUSE, so it follows the instructions; nested since Linux 6.1 (judgement)",
            "SDM vol. 3D, A.3.3",
        ),
];
