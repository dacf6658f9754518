//! The binary form of leaves and MSRs: Xen's, little-endian, strictly ascending, and without rows that are zero.
//!
//! A leaf is 24 bytes: leaf, subleaf (0xffffffff where ECX selects none), EAX, EBX, ECX, EDX. An MSR is 16: index, zero, and
//! the value in 64 bits (Xen, xen/include/public/arch-x86/xen.h, xen_cpuid_leaf_t and xen_msr_entry_t). Equal leaves are equal
//! bytes.

use crate::leaves::Leaves;
use crate::model::{self, FIRST_MSR_WORD, LEAVES, SLOTS, small};
use crate::regs::Regs;

/// The size of one leaf.
pub const LEAF_ENTRY_BYTES: usize = 24;
/// The size of one MSR.
pub const MSR_ENTRY_BYTES: usize = 16;

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

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
const fn halves(pair: u64) -> (u32, u32) {
    (pair as u32, (pair >> 32) as u32)
}

/// The keys in their order.
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

/// The slots in the order of their keys.
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

/// Leaves that have stopped changing, with the list of those that are not zero: what is stored, sent and received.
///
/// A policy is frozen when its guest first boots. Freezing looks through all leaves once; writing does not again.
///
/// ```
/// use selfsame_cpuid::{Frozen, LEAF_ENTRY_BYTES, Leaves, Regs};
///
/// let mut leaves = Leaves::new();
/// leaves.set(0x7, 0, Regs::new(0, 0x219c_07ab, 0, 0))?;
/// let frozen = Frozen::new(leaves);
/// let mut buffer = [0; LEAF_ENTRY_BYTES];
/// assert_eq!(frozen.write_leaves(&mut buffer)?, 24);
/// assert_eq!(Frozen::read(&buffer, &[])?, frozen);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frozen {
    leaves: Leaves,
    /// The places in the order of keys of the leaves that are not zero, ascending.
    rows: [u8; SLOTS],
    row_count: usize,
}

const _: () = assert!(SLOTS <= 256);

impl PartialEq for Frozen {
    /// The list follows from the leaves.
    fn eq(&self, other: &Self) -> bool {
        self.leaves == other.leaves
    }
}

impl Eq for Frozen {}

impl Frozen {
    /// Freezes leaves as they are.
    pub fn new(leaves: Leaves) -> Self {
        let mut frozen = Self { leaves, rows: [0; SLOTS], row_count: 0 };
        for (place, &slot) in (0..=u8::MAX).zip(&ORDERED_SLOTS) {
            if !frozen.leaves.slot(usize::from(slot)).is_zero() {
                frozen.list(place);
            }
        }
        frozen
    }

    /// The leaves.
    pub const fn leaves(&self) -> &Leaves {
        &self.leaves
    }

    /// The leaves, which may change again.
    pub fn thaw(self) -> Leaves {
        self.leaves
    }

    /// How many leaves are not zero: how many entries [`Frozen::write_leaves`] writes.
    pub const fn leaf_count(&self) -> usize {
        self.row_count
    }

    /// How many MSRs are not zero: how many entries [`Frozen::write_msrs`] writes.
    pub fn msr_count(&self) -> usize {
        self.leaves.msrs().count()
    }

    /// Writes the leaves that are not zero, ascending, 24 bytes each, and returns how many bytes it wrote.
    ///
    /// # Errors
    ///
    /// The buffer is too short; nothing was written then.
    pub fn write_leaves(&self, buffer: &mut [u8]) -> Result<usize, BinaryError> {
        let needed_bytes = self.row_count * LEAF_ENTRY_BYTES;
        let buffer = buffer.get_mut(..needed_bytes).ok_or(BinaryError::TooSmall { needed_bytes })?;
        for (entry, &place) in buffer.as_chunks_mut::<LEAF_ENTRY_BYTES>().0.iter_mut().zip(&self.rows) {
            let place = usize::from(place);
            let (Some(&key), Some(&slot)) = (KEYS.get(place), ORDERED_SLOTS.get(place)) else { continue };
            let (head, registers) = entry.split_at_mut(8);
            head.copy_from_slice(&key.to_le_bytes());
            registers.copy_from_slice(&bytes_of(self.leaves.slot(usize::from(slot)).to_array()));
        }
        Ok(needed_bytes)
    }

    /// Writes the MSRs that are not zero, ascending, 16 bytes each, and returns how many bytes it wrote.
    ///
    /// # Errors
    ///
    /// The buffer is too short; what was written to it then is of no use.
    pub fn write_msrs(&self, buffer: &mut [u8]) -> Result<usize, BinaryError> {
        let mut entries = buffer.as_chunks_mut::<MSR_ENTRY_BYTES>().0.iter_mut();
        let mut len_bytes = 0;
        for (index, value) in self.leaves.msrs() {
            let Some(entry) = entries.next() else {
                return Err(BinaryError::TooSmall { needed_bytes: self.msr_count() * MSR_ENTRY_BYTES });
            };
            *entry = (u128::from(index) | u128::from(value) << 64).to_le_bytes();
            len_bytes += MSR_ENTRY_BYTES;
        }
        Ok(len_bytes)
    }

    /// Reads what [`Frozen::write_leaves`] and [`Frozen::write_msrs`] wrote, and nothing else: there is one form of each
    /// policy, so that what is read is written back as the same bytes. Either may be empty.
    ///
    /// # Errors
    ///
    /// Refuses bytes that do not make whole entries, and the first entry that the model has not, that has the wrong form of
    /// subleaf, does not ascend, is zero, or has flags. Nothing of what was read is returned then.
    pub fn read(leaves: &[u8], msrs: &[u8]) -> Result<Self, BinaryError> {
        let mut read = Self { leaves: Leaves::new(), rows: [0; SLOTS], row_count: 0 };
        read.refill(leaves, msrs)?;
        Ok(read)
    }

    /// As [`Frozen::read`], in place: all that was held before goes. For hot paths, because moving four kilobytes takes
    /// longer than reading them.
    ///
    /// # Errors
    ///
    /// Those of [`Frozen::read`]; all leaves and MSRs are zero then.
    pub fn refill(&mut self, leaves: &[u8], msrs: &[u8]) -> Result<(), BinaryError> {
        self.clear();
        let read = self.read_leaves(leaves).and_then(|()| self.read_msrs(msrs));
        if read.is_err() {
            self.clear();
        }
        read
    }

    fn clear(&mut self) {
        for &place in self.rows.iter().take(self.row_count) {
            if let Some(&slot) = ORDERED_SLOTS.get(usize::from(place)) {
                self.leaves.set_slot(usize::from(slot), Regs::ZERO);
            }
        }
        self.leaves.words_mut()[FIRST_MSR_WORD..].fill(0);
        self.row_count = 0;
    }

    /// Puts a place at the end of the list.
    #[inline]
    fn list(&mut self, place: u8) {
        if let Some(row) = self.rows.get_mut(self.row_count) {
            *row = place;
            self.row_count += 1;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the model has no more than 256 places, asserted")]
    fn read_leaves(&mut self, bytes: &[u8]) -> Result<(), BinaryError> {
        let (entries, rest) = bytes.as_chunks::<LEAF_ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(BinaryError::Length { len_bytes: bytes.len(), entry_bytes: LEAF_ENTRY_BYTES });
        }
        let mut least = 0;
        for (at, entry) in entries.iter().enumerate() {
            let (head, registers) = entry.split_at(8);
            let [key] = pairs(head);
            // Mostly the next leaf of the model; only behind a gap is it looked up.
            let place = if KEYS.get(least) == Some(&key) { least } else { place_of(key) };
            let regs = registers.first_chunk().map(words_of).unwrap_or_default();
            let is_allowed = place >= least && regs != [0; 4];
            // The list is as long as the model: what ascends fits.
            let (Some(&slot), Some(row), true) = (ORDERED_SLOTS.get(place), self.rows.get_mut(at), is_allowed) else {
                self.row_count = at.min(SLOTS);
                return Err(refused_leaf(at, key, place, least));
            };
            *row = place as u8;
            self.leaves.set_slot(usize::from(slot), regs.into());
            least = place + 1;
        }
        self.row_count = entries.len();
        Ok(())
    }

    fn read_msrs(&mut self, bytes: &[u8]) -> Result<(), BinaryError> {
        let (entries, rest) = bytes.as_chunks::<MSR_ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(BinaryError::Length { len_bytes: bytes.len(), entry_bytes: MSR_ENTRY_BYTES });
        }
        let mut least = 0;
        for (at, entry) in entries.iter().enumerate() {
            let [head, value] = pairs(entry);
            let (index, flags) = halves(head);
            let refused = |defect| BinaryError::Msr { entry: at, msr: index, defect };
            if index < least {
                return Err(refused(EntryDefect::Unordered));
            }
            if flags != 0 {
                return Err(refused(EntryDefect::Flags));
            }
            if value == 0 {
                return Err(refused(EntryDefect::Zero));
            }
            self.leaves.set_msr(index, value).map_err(|_| refused(EntryDefect::OutsideModel))?;
            least = index + 1;
        }
        Ok(())
    }
}

/// The place of a key, or [`SLOTS`] where no leaf is written so.
fn place_of(key: Key) -> usize {
    let (leaf, subleaf) = halves(key);
    model::ordinal(leaf, subleaf).filter(|&place| KEYS.get(place) == Some(&key)).unwrap_or(SLOTS)
}

/// Why a leaf is refused.
#[cold]
fn refused_leaf(entry: usize, key: Key, place: usize, least: usize) -> BinaryError {
    let (leaf, subleaf) = halves(key);
    let defect = match model::indexing(leaf) {
        Some(is_indexed) if is_indexed == (subleaf == NO_SUBLEAF) => EntryDefect::WrongForm,
        _ if place == SLOTS => EntryDefect::OutsideModel,
        _ if place < least => EntryDefect::Unordered,
        _ => EntryDefect::Zero,
    };
    BinaryError::Leaf { entry, leaf, subleaf, defect }
}

/// Four registers as they are written. One move of sixteen bytes where the machine is little-endian.
#[inline]
fn bytes_of(words: [u32; 4]) -> [u8; 16] {
    let [a, b, c, d] = words.map(u128::from);
    (a | b << 32 | c << 64 | d << 96).to_le_bytes()
}

/// Four registers as they were written.
#[inline]
fn words_of(bytes: &[u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The little-endian 64-bit halves of an entry.
#[inline]
fn pairs<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut pairs = [0; N];
    for (pair, bytes) in pairs.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *pair = u64::from_le_bytes(*bytes);
    }
    pairs
}

#[cfg(test)]
mod tests;
