//! Where the table deliberately says otherwise than QEMU 10.2.2, `feature_dependencies` in `target/i386/cpu.c`.

use super::{EdgeDifference, edge};

/// Prerequisites that QEMU keeps and the table does not, by canonical names.
pub(crate) static QEMU_EDGES: [EdgeDifference; 1] = [edge(
    "avx10",
    "avx10-128 or avx10-256 or avx10-512",
    "QEMU gates both ways; the table says that a vector length means nothing without avx10, and keeps avx10 without",
)];
