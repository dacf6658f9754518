//! Leaf 0x29: what APX can do. `names.csv` has no row for it; the name is QEMU 11's.

use super::leaf_07_1::APX;
use crate::feature::{Feature, row};
use crate::place::{Register, Word};

const EBX: Word = Word::subleaf(0x29, 0, Register::Ebx);

/// The rows.
pub(crate) static ROWS: [Feature; 1] = [row(EBX.bit(0), "apx-nci-ndd-nf").needs(&[APX]).because(
    "new conditional, three-operand and flag-free forms; KVM and Xen do not give APX yet",
    "APX Architecture Specification, CPUID.29H.0:EBX",
)];
