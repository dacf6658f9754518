//! Leaf 0x80860001: Transmeta CPUs, which no hypervisor of the table runs on.

use crate::feature::{Feature, Relation::*, row};
use crate::place::{Register, Word};

const EDX: Word = Word::leaf(0x8086_0001, Register::Edx);

/// The rows.
pub(crate) static ROWS: [Feature; 3] = [
    row(EDX.bit(0), "transmeta-recovery").linux("recovery").relation(Local).because(
        "the recovery copy of the code morphing software runs, after a bad flash",
        "Transmeta, Processor Recognition (2002), 80860001h:EDX",
    ),
    row(EDX.bit(1), "longrun")
        .linux("longrun")
        .because("LongRun power control, by host MSRs", "Transmeta, Processor Recognition (2002), 80860001h:EDX"),
    row(EDX.bit(3), "lrti").linux("lrti").because(
        "the table interface of LongRun, for firmware and host",
        "Transmeta, Processor Recognition (2002), 80860001h:EDX",
    ),
];
