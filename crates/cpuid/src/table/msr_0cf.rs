//! MSR 0xCF, CORE_CAPABILITIES.

use super::leaf_07_0_edx::CORE_CAPABILITY;
use crate::feature::{Feature, row};
use crate::place::Word;

const LOW: Word = Word::msr_low(0xcf);

/// The rows.
pub(crate) static ROWS: [Feature; 1] = [row(LOW.bit(5), "split-lock-detect").needs(&[CORE_CAPABILITY]).because(
    "MSR_TEST_CTRL belongs to the host's own split-lock policy; no hypervisor emulates it, no machine kept it",
    "SDM vol. 4, table 2-2, CFH",
)];
