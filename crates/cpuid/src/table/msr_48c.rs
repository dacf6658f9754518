//! MSR 0x48C, VMX_EPT_VPID_CAP: EPT in the low half, VPID in the high half.

use super::msr_48b::{VMX_EPT, VMX_VPID};
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Word};

const LOW: Word = Word::msr_low(0x48c);
const HIGH: Word = Word::msr_high(0x48c);

pub(crate) const VMX_INVEPT: Place = LOW.bit(20);

/// The rows.
pub(crate) static ROWS: [Feature; 18] = [
    row(LOW.bit(0), "vmx-ept-execonly")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_EPT])
        .because("execute-only mappings; KVM shadows them with the CPU's own", "SDM vol. 3D, A.10"),
    row(LOW.bit(6), "vmx-page-walk-4")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_EPT])
        .because("four-level walks, which every CPU with EPT has; KVM masks by the CPU's own", "SDM vol. 3D, A.10"),
    row(LOW.bit(7), "vmx-page-walk-5")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_EPT])
        .because("five-level walks, from Ice Lake servers on; KVM masks by the CPU's own", "SDM vol. 3D, A.10"),
    row(LOW.bit(8), "vmx-ept-uc")
        .needs(&[VMX_EPT])
        .because("EPT tables in uncached memory; KVM accepts write-back tables only", "SDM vol. 3D, A.10"),
    row(LOW.bit(14), "vmx-ept-wb")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_EPT])
        .because("EPT tables in write-back memory, the one memory type that KVM accepts", "SDM vol. 3D, A.10"),
    row(LOW.bit(16), "vmx-ept-2mb").offer(Hardware, Never, Never, Never).needs(&[VMX_EPT]).because(
        "2 MiB mappings; KVM walks the nested tables itself and gives them on every host with EPT",
        "SDM vol. 3D, A.10",
    ),
    row(LOW.bit(17), "vmx-ept-1gb").offer(Hardware, Never, Never, Never).needs(&[VMX_EPT]).because(
        "1 GiB mappings; KVM walks the nested tables itself and gives them on every host with EPT",
        "SDM vol. 3D, A.10",
    ),
    row(VMX_INVEPT, "vmx-invept")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_EPT])
        .because("the INVEPT instruction, emulated by KVM where the CPU has it", "SDM vol. 3D, A.10"),
    row(LOW.bit(21), "vmx-eptad")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_EPT])
        .because("accessed and dirty flags; KVM needs the CPU's own, from Haswell on", "SDM vol. 3D, A.10"),
    row(LOW.bit(22), "vmx-ept-advanced-exitinfo").needs(&[VMX_EPT]).because(
        "KVM fills no advanced exit information into nested EPT violations; no machine kept it",
        "SDM vol. 3D, A.10",
    ),
    row(LOW.bit(23), "vmx-ept-sss").needs(&[VMX_EPT]).because(
        "marks EPT pages as supervisor shadow stacks; KVM gives nested EPT no such pages (judgement)",
        "SDM vol. 3D, A.10",
    ),
    row(LOW.bit(25), "vmx-invept-single-context")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_INVEPT])
        .because("a type of INVEPT, emulated by KVM on every host with EPT", "SDM vol. 3D, A.10"),
    row(LOW.bit(26), "vmx-invept-all-context")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_INVEPT])
        .because("a type of INVEPT, emulated by KVM on every host with EPT", "SDM vol. 3D, A.10"),
    row(HIGH.bit(0), "vmx-invvpid")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_VPID])
        .because("the INVVPID instruction, emulated by KVM with VPID", "SDM vol. 3D, A.10"),
    row(HIGH.bit(8), "vmx-invvpid-single-addr").offer(Hardware, Never, Never, Never).needs(&[VMX_VPID]).because(
        "no need for vmx-invvpid: 22 libvirt models name the types without the instruction's own bit",
        "SDM vol. 3D, A.10",
    ),
    row(HIGH.bit(9), "vmx-invvpid-single-context")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_VPID])
        .because("a type of INVVPID, emulated by KVM; QEMU named it late, so older masks lack it", "SDM vol. 3D, A.10"),
    row(HIGH.bit(10), "vmx-invvpid-all-context")
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_VPID])
        .because("a type of INVVPID, emulated by KVM with VPID", "SDM vol. 3D, A.10"),
    row(HIGH.bit(11), "vmx-invept-single-context-noglobals")
        .aliases(&["vmx-invvpid-single-context-noglobals"])
        .offer(Hardware, Never, Never, Never)
        .needs(&[VMX_VPID])
        .because(
            "a type of INVVPID in spite of QEMU's name, which libvirt corrects; emulated by KVM with VPID",
            "SDM vol. 3D, A.10",
        ),
];
