//! Initial configurations (SDM vol. 1, 13.6): what a component holds that nobody has used.

use crate::Component;
use crate::component::{INITIAL, USED_BYTES};

/// How many of a component's bytes mean something.
#[inline]
pub(crate) fn used_bytes(component: Component, size_bytes: u32) -> u32 {
    let used_bytes = USED_BYTES.get(usize::from(component.index())).copied();
    used_bytes.map_or(size_bytes, |used_bytes| size_bytes.min(used_bytes))
}

/// Tells whether the bytes of a component, those that mean something, are its initial configuration.
#[inline]
pub(crate) fn is_initial(component: Component, bytes: &[u8]) -> bool {
    // Mostly one look at the first word is enough; PKRU has four bytes.
    let is_used = match (bytes.first_chunk(), bytes.first_chunk()) {
        (Some(word), _) => u64::from_le_bytes(*word) != initial_word(component),
        (None, Some(word)) => u32::from_le_bytes(*word) != 0,
        (None, None) => false,
    };
    !is_used && is_initial_behind(component, bytes)
}

/// Looks at all bytes.
#[cold]
#[inline(never)]
fn is_initial_behind(component: Component, bytes: &[u8]) -> bool {
    match bytes.split_first_chunk() {
        Some((word, rest)) if initial_word(component) != 0 => {
            u64::from_le_bytes(*word) == initial_word(component) && is_zero(rest)
        }
        // From the first, because whole components are whole blocks of 64 bytes.
        _ => is_zero(bytes),
    }
}

#[inline]
fn initial_word(component: Component) -> u64 {
    INITIAL.get(usize::from(component.index())).copied().unwrap_or(0)
}

/// Tells whether all bytes are zero; looks at 64 at a time, and mostly at no more.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| is_zero_at_once(block.as_chunks().0)) && (rest.is_empty() || is_rest_zero(rest))
}

fn is_rest_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    is_zero_at_once(words) && rest.iter().fold(0, |all, byte| all | byte) == 0
}

#[inline]
fn is_zero_at_once(words: &[[u8; 8]]) -> bool {
    words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word)) == 0
}
