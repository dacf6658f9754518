//! What was received.

use super::{BinaryError, EntryDefect, Key, LeafEntry, MsrEntry, NO_SUBLEAF, ORDERED_SLOTS, halves, place_of};
use crate::leaves::Leaves;
use crate::model;
use crate::regs::Regs;

/// Binary leaves and MSRs that were read strictly and stay where they lie: what [`Frozen`](crate::Frozen) wrote, and nothing
/// else.
///
/// There is one form of equal leaves, so that what is read is written back as the same bytes.
///
/// ```
/// use selfsame_cpuid::{Kind, Policy, Regs, Stored};
///
/// let mut bytes = [0; 24];
/// bytes[0] = 7;
/// bytes[12..16].copy_from_slice(&0x219c_07ab_u32.to_le_bytes());
/// let stored = Stored::read(&bytes, &[])?;
/// assert_eq!(stored.get(0x7, 0), Regs::new(0, 0x219c_07ab, 0, 0));
/// assert_eq!(stored.get(0x7, 1), Regs::ZERO);
///
/// // Kind and topology come with the leaves, from whoever sent them.
/// let policy = Policy { kind: Kind::Hvm, topology: None, leaves: stored.to_leaves() };
/// assert_eq!(policy.leaves.get(0x7, 0).ebx, 0x219c_07ab);
///
/// // Leaf 7 selects a subleaf, leaf 8 is in no policy.
/// bytes[0] = 8;
/// assert!(Stored::read(&bytes, &[]).is_err());
/// # Ok::<(), selfsame_cpuid::BinaryError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stored<'a> {
    leaves: &'a [LeafEntry],
    msrs: &'a [MsrEntry],
}

impl<'a> Stored<'a> {
    /// Reads entries of leaves and of MSRs; either may be empty.
    ///
    /// # Errors
    ///
    /// Refuses bytes that do not make whole entries, and the first entry that the model has not, that has the wrong form of
    /// subleaf, does not ascend, is zero, or has flags.
    pub fn read(leaves: &'a [u8], msrs: &'a [u8]) -> Result<Self, BinaryError> {
        let stored = Self { leaves: whole(leaves)?, msrs: whole(msrs)? };
        examine_leaves(stored.leaves)?;
        examine_msrs(stored.msrs)?;
        Ok(stored)
    }

    /// What the leaf reads as; the subleaf of a leaf without any is ignored.
    pub fn get(&self, leaf: u32, subleaf: u32) -> Regs {
        let subleaf = if model::indexing(leaf) == Some(true) { subleaf } else { NO_SUBLEAF };
        let order = |entry: &LeafEntry| halves(key_of(entry)).cmp(&(leaf, subleaf));
        let found = self.leaves.binary_search_by(order).ok().and_then(|at| self.leaves.get(at));
        found.map_or(Regs::ZERO, registers)
    }

    /// The leaves and MSRs in the form that answers exits.
    pub fn to_leaves(&self) -> Leaves {
        let mut leaves = Leaves::new();
        for entry in self.leaves {
            if let Some(&slot) = place_of(key_of(entry)).and_then(|place| ORDERED_SLOTS.get(place)) {
                leaves.set_slot(usize::from(slot), registers(entry));
            }
        }
        for entry in self.msrs {
            let (index, _, value) = msr(entry);
            // All were looked up when they were read.
            let _ = leaves.set_msr(index, value);
        }
        leaves
    }
}

fn whole<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], BinaryError> {
    let (entries, rest) = bytes.as_chunks();
    if rest.is_empty() { Ok(entries) } else { Err(BinaryError::Length { len_bytes: bytes.len(), entry_bytes: N }) }
}

fn examine_leaves(entries: &[LeafEntry]) -> Result<(), BinaryError> {
    let mut least = 0;
    for (at, entry) in entries.iter().enumerate() {
        let [key, low, high] = words(entry);
        match place_of(key) {
            Some(place) if place >= least && low | high != 0 => least = place + 1,
            _ => return Err(refused_leaf(at, key, least)),
        }
    }
    Ok(())
}

fn examine_msrs(entries: &[MsrEntry]) -> Result<(), BinaryError> {
    let mut least = 0;
    for (at, entry) in entries.iter().enumerate() {
        let (index, flags, value) = msr(entry);
        let refused = |defect| Err(BinaryError::Msr { entry: at, msr: index, defect });
        if index < least {
            return refused(EntryDefect::Unordered);
        }
        if flags != 0 {
            return refused(EntryDefect::Flags);
        }
        if value == 0 {
            return refused(EntryDefect::Zero);
        }
        if model::msr_slot(index).is_none() {
            return refused(EntryDefect::OutsideModel);
        }
        least = index + 1;
    }
    Ok(())
}

/// Why a leaf is refused that is not at a place from `least` on, or zero.
#[cold]
fn refused_leaf(entry: usize, key: Key, least: usize) -> BinaryError {
    let (leaf, subleaf) = halves(key);
    let defect = match (model::indexing(leaf), place_of(key)) {
        (Some(is_indexed), _) if is_indexed == (subleaf == NO_SUBLEAF) => EntryDefect::WrongForm,
        (_, None) => EntryDefect::OutsideModel,
        (_, Some(place)) if place < least => EntryDefect::Unordered,
        _ => EntryDefect::Zero,
    };
    BinaryError::Leaf { entry, leaf, subleaf, defect }
}

fn key_of(entry: &LeafEntry) -> Key {
    let [key, _, _] = words(entry);
    key
}

fn registers(entry: &LeafEntry) -> Regs {
    let [_, low, high] = words(entry);
    let ((eax, ebx), (ecx, edx)) = (halves(low), halves(high));
    Regs::new(eax, ebx, ecx, edx)
}

/// Index, flags and value.
fn msr(entry: &MsrEntry) -> (u32, u32, u64) {
    let [head, value] = words(entry);
    let (index, flags) = halves(head);
    (index, flags, value)
}

/// The little-endian words of an entry.
#[inline(always)]
fn words<const N: usize>(entry: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(entry.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}
