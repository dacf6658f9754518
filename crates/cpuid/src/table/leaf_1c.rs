//! Leaf 0x1C: architectural last branch records.
//!
//! Mainline KVM and Xen give no guest `arch-lbr`, so no bit of this leaf is offered.

use super::leaf_07_0_edx::ARCH_LBR;
use crate::feature::{Feature, Relation::*, row};
use crate::place::{Register, Word};

const EAX: Word = Word::leaf(0x1c, Register::Eax);
const EBX: Word = Word::leaf(0x1c, Register::Ebx);
const ECX: Word = Word::leaf(0x1c, Register::Ecx);

/// The rows.
pub(crate) static ROWS: [Feature; 8] = [
    row(EAX.bit(30), "lbr-deep-c-reset").relation(Any).needs(&[ARCH_LBR]).because(
        "records may vanish below C1, a warning; no hypervisor gives architectural LBRs",
        "SDM vol. 2A, CPUID.1CH:EAX",
    ),
    row(EAX.bit(31), "lbr-ip-is-lip")
        .needs(&[ARCH_LBR])
        .because("format of recorded addresses: E-cores say linear, P-cores do not", "SDM vol. 2A, CPUID.1CH:EAX"),
    row(EBX.bit(0), "lbr-cpl")
        .needs(&[ARCH_LBR])
        .because("records can be limited by privilege level, a field of IA32_LBR_CTL", "SDM vol. 2A, CPUID.1CH:EBX"),
    row(EBX.bit(1), "lbr-branch-filter")
        .needs(&[ARCH_LBR])
        .because("records can be limited by kind of branch, a field of IA32_LBR_CTL", "SDM vol. 2A, CPUID.1CH:EBX"),
    row(EBX.bit(2), "lbr-call-stack")
        .needs(&[ARCH_LBR])
        .because("records follow calls and returns, a mode of IA32_LBR_CTL", "SDM vol. 2A, CPUID.1CH:EBX"),
    row(ECX.bit(0), "lbr-mispredict")
        .needs(&[ARCH_LBR])
        .because("records tell whether the branch was mispredicted", "SDM vol. 2A, CPUID.1CH:ECX"),
    row(ECX.bit(1), "lbr-timed-lbr")
        .needs(&[ARCH_LBR])
        .because("records count cycles since the one before", "SDM vol. 2A, CPUID.1CH:ECX"),
    row(ECX.bit(2), "lbr-branch-type")
        .needs(&[ARCH_LBR])
        .because("records name the kind of branch", "SDM vol. 2A, CPUID.1CH:ECX"),
];
