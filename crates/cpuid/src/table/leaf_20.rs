//! Leaf 0x20: what HRESET can reset.

use super::leaf_07_1::HRESET;
use crate::feature::{Feature, row};
use crate::place::{Register, Word};

const EBX: Word = Word::subleaf(0x20, 0, Register::Ebx);

/// The rows.
pub(crate) static ROWS: [Feature; 1] = [row(EBX.bit(0), "hreset-thread-director")
    .needs(&[HRESET])
    .because("forgets Thread Director history, which the host's scheduler collects", "SDM vol. 2A, CPUID.20H.0:EBX")];
