//! MSR 0x345, PERF_CAPABILITIES.

use super::leaf_01::PDCM;
use crate::feature::{Feature, Offer::*, row};
use crate::place::Word;

const LOW: Word = Word::msr_low(0x345);

/// The rows.
pub(crate) static ROWS: [Feature; 1] =
    [row(LOW.bit(13), "full-width-write").offer(Request, Never, Never, Never).needs(&[PDCM]).because(
        "KVM's PMU writes counters in full width, on request like PDCM, which 24 of 24 machines lost; Xen reads 0",
        "SDM vol. 4, table 2-2, 345H",
    )];
