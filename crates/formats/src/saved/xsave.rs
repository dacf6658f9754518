//! One XSAVE area and nothing else.

use selfsame_xstate::{EXTENDED_START_BYTES, LEGACY_BYTES};

/// The reserved bytes of the header, which are zero in every image that somebody can load (SDM vol. 1, 13.4.2).
const RESERVED: core::ops::Range<usize> = LEGACY_BYTES as usize + 16..EXTENDED_START_BYTES as usize;

/// Whether a file may be an XSAVE area: less than half of the reserved bytes may be wrong, because what is wrong is what people
/// look for.
pub(super) fn is_area(bytes: &[u8]) -> bool {
    let zeros = |reserved: &[u8]| reserved.iter().filter(|byte| **byte == 0).count();
    bytes.get(RESERVED).is_some_and(|reserved| zeros(reserved) * 2 > reserved.len())
}
