//! Leaf 0x80000026: extended CPU topology.

use crate::feature::{Feature, Relation::*, row};
use crate::place::{Register, Word};

const EAX: Word = Word::subleaf(0x8000_0026, 0, Register::Eax);

/// The rows.
pub(crate) static ROWS: [Feature; 1] =
    [row(EAX.bit(30), "amd-htr-cores").linux("amd_htr_cores").relation(Local).because(
        "the cores at this level are of several kinds: the machine's topology, not the policy's",
        "APM vol. 3, app. E, Fn8000_0026:EAX",
    )];
