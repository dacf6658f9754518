//! Leaf 5: MONITOR and MWAIT.

use super::leaf_01::MONITOR;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const ECX: Word = Word::leaf(0x5, Register::Ecx);

pub(crate) const MWAIT_EXT: Place = ECX.bit(0);

/// The rows.
pub(crate) static ROWS: [Feature; 2] = [
    row(MWAIT_EXT, "mwait-ext").offer(Request, Never, Never, Never).needs(&[MONITOR]).because(
        "leaf 5 EDX counts sub-states; QEMU copies the leaf with overcommit cpu-pm, Xen empties it",
        "SDM vol. 2A, CPUID.05H:ECX",
    ),
    row(ECX.bit(1), "mwait-irq-break").offer(Request, Never, Never, Never).needs(&[MWAIT_EXT]).because(
        "masked interrupts wake MWAIT; given as mwait-ext is, with overcommit cpu-pm only",
        "SDM vol. 2A, CPUID.05H:ECX",
    ),
];
