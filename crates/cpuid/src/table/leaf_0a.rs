//! Leaf 0xA: architectural performance monitoring.
//!
//! EBX is inverted: a set bit says that an event cannot be counted.

use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Register, Word};

const EBX: Word = Word::leaf(0xa, Register::Ebx);
const EDX: Word = Word::leaf(0xa, Register::Edx);

/// The rows.
pub(crate) static ROWS: [Feature; 14] = [
    row(EBX.bit(0), "no-core-cycle").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the cycles event, so a guest with it runs where the event counts",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(1), "no-instruction-retired").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the instructions-retired event, which no CPU has dropped yet",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(2), "no-reference-cycles").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: Nehalem servers and Lynnfield cannot count it; must reach guests that may move there",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(3), "no-llc-reference").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the last-level reference event; harmless where the event counts",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(4), "no-llc-misses").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the last-level miss event; harmless where the event counts",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(5), "no-br-insn-retired").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the branches-retired event; harmless where the event counts",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(6), "no-br-misses-retired").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: set by Lynnfield, whose mispredict event is broken; harmless elsewhere",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(7), "no-topdown-slots").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: the E-cores of Arrow Lake and later lack the slots event; harmless elsewhere",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(8), "no-backend-bound").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the backend-bound event; harmless where the event counts",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(9), "no-bad-speculation").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: the E-cores of Arrow Lake and later lack the event; harmless elsewhere",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(10), "no-frontend-bound").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the frontend-bound event; harmless where the event counts",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(11), "no-retiring").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the topdown retiring event; harmless where the event counts",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EBX.bit(12), "no-lbr-inserts").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "inverted: forbids the LBR-inserts event; harmless where the event counts",
        "SDM vol. 2A, CPUID.0AH:EBX",
    ),
    row(EDX.bit(15), "anythread-deprecation").relation(Any).offer(Anywhere, Never, Never, Never).because(
        "tells the guest to leave AnyThread alone; KVM sets it with any PMU version; one host suffices",
        "SDM vol. 2A, CPUID.0AH:EDX",
    ),
];
