//! Initial configurations (SDM vol. 1, 13.6): what a component holds that nobody has used.

use crate::component::{INITIAL, PARTLY_USED_BITS, USED_BYTES};
use crate::{Component, ComponentSet};

/// The components with reserved bytes at their end.
pub(crate) const PARTLY_USED: ComponentSet = ComponentSet::from_bits(PARTLY_USED_BITS);

/// How many of a component's bytes mean something.
#[inline]
pub(crate) fn used_bytes(component: Component, size_bytes: u32) -> u32 {
    let used_bytes = USED_BYTES.get(usize::from(component.index())).copied();
    used_bytes.map_or(size_bytes, |used_bytes| size_bytes.min(used_bytes))
}

/// Tells whether the bytes of an extended component, those that mean something, are its initial configuration.
#[inline]
pub(crate) fn is_initial(component: Component, bytes: &[u8]) -> bool {
    let initial = INITIAL.get(usize::from(component.index())).copied().unwrap_or(0);
    match bytes.split_first_chunk() {
        // Mostly one look is enough.
        Some((word, rest)) => u64::from_le_bytes(*word) == initial && is_zero(rest),
        None => is_zero(bytes),
    }
}

/// Tells whether all bytes are zero; looks at 64 at a time, and mostly at no more.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (words, rest) = rest.as_chunks();
    blocks.iter().all(|block| is_zero_at_once(block.as_chunks().0))
        && is_zero_at_once(words)
        && rest.iter().fold(0, |all, byte| all | byte) == 0
}

#[inline]
fn is_zero_at_once(words: &[[u8; 8]]) -> bool {
    words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word)) == 0
}
