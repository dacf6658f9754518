//! The binary form of a policy's leaves and MSRs; its kind and its topology travel beside them. It is Xen's, little-endian,
//! strictly ascending, and without rows that are zero.
//!
//! A leaf is 24 bytes: leaf, subleaf (0xffffffff where ECX selects none), EAX, EBX, ECX, EDX. An MSR is 16: index, zero, and
//! the value in 64 bits (Xen, xen/include/public/arch-x86/xen.h, xen_cpuid_leaf_t and xen_msr_entry_t). Equal leaves are equal
//! bytes: [`Frozen`] is what is sent, [`Stored`] what was received.

mod frozen;
mod stored;

use crate::model::{self, LEAVES, SLOTS, small};

pub use frozen::Frozen;
pub use stored::Stored;

/// The size of one leaf.
pub const LEAF_ENTRY_BYTES: usize = 24;
/// The size of one MSR.
pub const MSR_ENTRY_BYTES: usize = 16;

/// One leaf as it is stored and sent.
type LeafEntry = [u8; LEAF_ENTRY_BYTES];
/// One MSR as it is stored and sent.
type MsrEntry = [u8; MSR_ENTRY_BYTES];

/// The subleaf of a leaf without any.
const NO_SUBLEAF: u32 = u32::MAX;

/// What is wrong with one entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EntryDefect {
    /// No policy holds this leaf, subleaf or MSR.
    OutsideModel,
    /// A subleaf where ECX selects none, or none where it selects one.
    WrongForm,
    /// Not above the entry before it.
    Unordered,
    /// All zero: what is absent is zero, so that this would be a second form of the same policy.
    Zero,
    /// The 32 bits after an MSR's index are not zero.
    Flags,
}

impl core::fmt::Display for EntryDefect {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::OutsideModel => "no policy holds it",
            Self::WrongForm => "it has a subleaf where none is selected, or none where one is",
            Self::Unordered => "entries must ascend, each once",
            Self::Zero => "it is zero, which is written by leaving it out",
            Self::Flags => "its flags are not zero",
        })
    }
}

/// Why a binary policy is not written or not read. Entries count from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BinaryError {
    /// The buffer is too short.
    #[error("{needed_bytes} bytes are needed")]
    TooSmall {
        /// How long it must be.
        needed_bytes: usize,
    },
    /// The buffer ends within an entry.
    #[error("{len_bytes} bytes do not make whole entries of {entry_bytes}")]
    Length {
        /// How long it is.
        len_bytes: usize,
        /// How long one entry is.
        entry_bytes: usize,
    },
    /// A leaf is refused.
    #[error("entry {entry}, leaf {leaf:08x} subleaf {subleaf:08x}: {defect}")]
    Leaf {
        /// The entry.
        entry: usize,
        /// Its leaf.
        leaf: u32,
        /// Its subleaf, as it is written.
        subleaf: u32,
        /// What is wrong with it.
        defect: EntryDefect,
    },
    /// An MSR is refused.
    #[error("entry {entry}, msr {msr:08x}: {defect}")]
    Msr {
        /// The entry.
        entry: usize,
        /// Its MSR.
        msr: u32,
        /// What is wrong with it.
        defect: EntryDefect,
    },
}

/// The first eight bytes of an entry: the leaf in the low half, the subleaf in the high one.
type Key = u64;

/// The keys of all leaves, ascending by leaf and subleaf. An index of this array is a *place*.
static KEYS: [Key; SLOTS] = {
    let mut keys = [0; SLOTS];
    let (mut at, mut i) = (0, 0);
    while i < LEAVES.len() {
        let mut subleaf = 0;
        while subleaf < LEAVES[i].kept as u32 {
            keys[at] = pair(LEAVES[i].number, if LEAVES[i].is_indexed { subleaf } else { NO_SUBLEAF });
            at += 1;
            subleaf += 1;
        }
        i += 1;
    }
    keys
};

/// The keys by [`spread`], as places: those that no key has hold place 0, whose key is another.
#[expect(clippy::cast_possible_truncation, reason = "no more than 256 places, asserted, and evaluated while compiling")]
static PLACES: [u8; 1 << SPREAD_BITS] = {
    let mut places = [0; 1 << SPREAD_BITS];
    let mut place = 1;
    while place < SLOTS {
        let spread = spread(KEYS[place]);
        assert!(places[spread] == 0 && spread != self::spread(KEYS[0]), "two keys meet: change MULTIPLIER");
        places[spread] = place as u8;
        place += 1;
    }
    places
};

const _: () = assert!(SLOTS <= 256, "a place is a byte");

const SPREAD_BITS: u32 = 12;

/// Any odd number without collisions: [`PLACES`] asserts that there are none.
const MULTIPLIER: u64 = 0x35bf_992d_c9e9_c617;

/// Gives every key a number of its own.
const fn spread(key: Key) -> usize {
    (key.wrapping_mul(MULTIPLIER) >> (u64::BITS - SPREAD_BITS)) as usize
}

/// The place of a key, if a leaf is written so. It does not depend on the entries before it, so that a CPU works on many at once.
#[inline(always)]
fn place_of(key: Key) -> Option<usize> {
    let place = usize::from(PLACES[spread(key)]);
    if KEYS.get(place) == Some(&key) { Some(place) } else { None }
}

/// The slots by place.
static ORDERED_SLOTS: [u16; SLOTS] = {
    let mut slots = [0; SLOTS];
    let mut at = 0;
    while at < SLOTS {
        let (leaf, subleaf) = halves(KEYS[at]);
        slots[at] = match model::slot(leaf, subleaf) {
            Some(slot) => small(slot),
            None => unreachable!(),
        };
        at += 1;
    }
    slots
};

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
const fn halves(pair: u64) -> (u32, u32) {
    (pair as u32, (pair >> 32) as u32)
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

#[cfg(test)]
mod tests;
