//! Where the table deliberately says otherwise than QEMU 10.2.2, `feature_dependencies` in `target/i386/cpu.c`.

use super::{EdgeDifference, edge};

/// Prerequisites that QEMU keeps and the table does not: of the feature at QEMU's word and mask.
pub(crate) static QEMU_EDGES: [EdgeDifference; 1] = [edge(
    "avx10",
    "avx10-128, avx10-256 or avx10-512",
    "needs any of them, and each of them needs it: the table says only that the lengths mean nothing without avx10",
)];
