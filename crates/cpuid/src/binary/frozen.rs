//! What is stored and sent.

use super::{BinaryError, KEYS, LEAF_ENTRY_BYTES, LeafEntry, MSR_ENTRY_BYTES, MsrEntry, ORDERED_SLOTS};
use crate::leaves::Leaves;
use crate::model::{MSR_COUNT, SLOTS};

/// Leaves that have stopped changing, with their binary form.
///
/// The kind of a [`Policy`](crate::Policy) and its topology are no part of it, and [`Policy::cpuid`](crate::Policy::cpuid)
/// answers by them too: whoever sends leaves sends them along.
///
/// A policy is frozen when its guest first boots. Freezing looks through all leaves once; writing, which happens at each of
/// the guest's moves, copies.
///
/// ```
/// use selfsame_cpuid::{Frozen, LEAF_ENTRY_BYTES, Leaves, Regs, Stored};
///
/// let mut leaves = Leaves::new();
/// leaves.set(0x7, 0, Regs::new(0, 0x219c_07ab, 0, 0))?;
/// let frozen = Frozen::new(leaves);
/// let mut buffer = [0; LEAF_ENTRY_BYTES];
/// assert_eq!(frozen.write_leaves(&mut buffer)?, 24);
/// assert_eq!(Stored::read(&buffer, &[])?.to_leaves(), *frozen.leaves());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frozen {
    leaves: Leaves,
    leaf_entries: [LeafEntry; SLOTS],
    leaf_count: usize,
    msr_entries: [MsrEntry; MSR_COUNT],
    msr_count: usize,
}

impl PartialEq for Frozen {
    /// The entries follow from the leaves.
    fn eq(&self, other: &Self) -> bool {
        self.leaves == other.leaves
    }
}

impl Eq for Frozen {}

impl Frozen {
    /// Freezes leaves as they are.
    pub fn new(leaves: Leaves) -> Self {
        let (mut leaf_entries, mut leaf_count) = ([[0; LEAF_ENTRY_BYTES]; SLOTS], 0);
        for (key, &slot) in KEYS.iter().zip(&ORDERED_SLOTS) {
            let regs = leaves.slot(usize::from(slot));
            if let (false, Some(entry)) = (regs.is_zero(), leaf_entries.get_mut(leaf_count)) {
                let [eax, ebx, ecx, edx] = regs.to_array().map(u128::from);
                let (head, registers) = entry.split_at_mut(8);
                head.copy_from_slice(&key.to_le_bytes());
                registers.copy_from_slice(&(eax | ebx << 32 | ecx << 64 | edx << 96).to_le_bytes());
                leaf_count += 1;
            }
        }
        let (mut msr_entries, mut msr_count) = ([[0; MSR_ENTRY_BYTES]; MSR_COUNT], 0);
        for (entry, (index, value)) in msr_entries.iter_mut().zip(leaves.msrs()) {
            *entry = (u128::from(index) | u128::from(value) << 64).to_le_bytes();
            msr_count += 1;
        }
        Self { leaves, leaf_entries, leaf_count, msr_entries, msr_count }
    }

    /// The leaves.
    pub const fn leaves(&self) -> &Leaves {
        &self.leaves
    }

    /// The leaves that are not zero, ascending, [`LEAF_ENTRY_BYTES`] each.
    pub fn leaf_entries(&self) -> &[u8] {
        self.leaf_entries.get(..self.leaf_count).unwrap_or_default().as_flattened()
    }

    /// The MSRs that are not zero, ascending, [`MSR_ENTRY_BYTES`] each.
    pub fn msr_entries(&self) -> &[u8] {
        self.msr_entries.get(..self.msr_count).unwrap_or_default().as_flattened()
    }

    /// Copies [`Frozen::leaf_entries`] to the buffer's beginning, and returns how many bytes these are.
    ///
    /// # Errors
    ///
    /// The buffer is too short; nothing was written then.
    pub fn write_leaves(&self, buffer: &mut [u8]) -> Result<usize, BinaryError> {
        write(self.leaf_entries(), buffer)
    }

    /// Copies [`Frozen::msr_entries`] to the buffer's beginning, and returns how many bytes these are.
    ///
    /// # Errors
    ///
    /// The buffer is too short; nothing was written then.
    pub fn write_msrs(&self, buffer: &mut [u8]) -> Result<usize, BinaryError> {
        write(self.msr_entries(), buffer)
    }
}

fn write(entries: &[u8], buffer: &mut [u8]) -> Result<usize, BinaryError> {
    let needed_bytes = entries.len();
    buffer.get_mut(..needed_bytes).ok_or(BinaryError::TooSmall { needed_bytes })?.copy_from_slice(entries);
    Ok(needed_bytes)
}
