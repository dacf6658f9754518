//! Leaf 9: Direct Cache Access.

use crate::feature::{Feature, Relation::*, row};
use crate::place::{Register, Word};

const EAX: Word = Word::leaf(0x9, Register::Eax);

/// The rows.
pub(crate) static ROWS: [Feature; 1] = [row(EAX.bit(0), "dca-enabled-in-bios").relation(Local).because(
    "copy of IA32_PLATFORM_DCA_CAP, which firmware sets: true of one machine only",
    "SDM vol. 2A, CPUID.09H:EAX",
)];
