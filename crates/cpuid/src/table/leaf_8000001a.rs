//! Leaf 0x8000001A: advice for optimisers of AMD code.
//!
//! Xen and KVM pass the three bits as they are.

use crate::feature::{Feature, Offer::*, row};
use crate::place::{Register, Word};

const EAX: Word = Word::leaf(0x8000_001a, Register::Eax);

/// The rows.
pub(crate) static ROWS: [Feature; 3] = [
    row(EAX.bit(0), "fp-128").offer(Hardware, Hardware, Hardware, Hardware).because(
        "vector units are 128 bits wide; advice that programs may freeze into their choice",
        "APM vol. 3, app. E, Fn8000_001A:EAX",
    ),
    row(EAX.bit(1), "movu-preferred").offer(Hardware, Hardware, Hardware, Hardware).because(
        "unaligned moves are better than pairs of half moves; advice only",
        "APM vol. 3, app. E, Fn8000_001A:EAX",
    ),
    row(EAX.bit(2), "fp-256").offer(Hardware, Hardware, Hardware, Hardware).because(
        "vector units are 256 bits wide; advice that programs may freeze into their choice",
        "APM vol. 3, app. E, Fn8000_001A:EAX",
    ),
];
