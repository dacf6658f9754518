//! Leaf 0x80000023: memory encryption with many keys.

use crate::feature::{Feature, row};
use crate::place::{Register, Word};

const EAX: Word = Word::leaf(0x8000_0023, Register::Eax);

/// The rows.
pub(crate) static ROWS: [Feature; 1] = [row(EAX.bit(0), "mem-hmk-mode").because(
    "the host may encrypt with a key per range; firmware and host choose",
    "APM vol. 3, app. E, Fn8000_0023:EAX",
)];
