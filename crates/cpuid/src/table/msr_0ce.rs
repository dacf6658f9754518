//! MSR 0xCE, PLATFORM_INFO: CPUID faulting. The ratios beside it are values of one machine.

use crate::feature::{Feature, Offer::*, row};
use crate::place::Word;

const LOW: Word = Word::msr_low(0xce);

/// The rows.
pub(crate) static ROWS: [Feature; 1] =
    [row(LOW.bit(31), "cpuid-faulting").linux("cpuid_fault").offer(Made, Made, Made, Hardware).because(
        "KVM and Xen HVM exit on every CPUID and fault it themselves; PV needs a CPU that does",
        "SDM vol. 4, PLATFORM_INFO (0CEH)",
    )];
