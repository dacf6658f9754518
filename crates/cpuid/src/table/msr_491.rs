//! MSR 0x491, VMX_VMFUNC.

use super::msr_48b::{VMX_EPT, VMX_VMFUNC};
use crate::feature::{Feature, Offer::*, row};
use crate::place::Word;

const LOW: Word = Word::msr_low(0x491);

/// The rows.
pub(crate) static ROWS: [Feature; 1] = [row(LOW.bit(0), "vmx-eptp-switching")
    .offer(Hardware, Never, Never, Never)
    .needs(&[VMX_VMFUNC, VMX_EPT])
    .because("chooses among EPT roots; KVM emulates the function wherever the CPU has VMFUNC", "SDM vol. 3D, A.11")];
