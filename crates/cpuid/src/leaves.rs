//! The values of all leaves and MSRs of the model, dense and in constant time.

use core::fmt;

use selfsame_xstate::Geometry;

use crate::featureset::Featureset;
use crate::model::{self, FIRST_KEPT, FIRST_MSR_WORD, MEMORY_SLOTS, MSRS, WORDS};
use crate::place::{Place, Register, Word};
use crate::regs::Regs;
use crate::table;
use crate::vendor::{Signature, Vendor, VendorName};

/// What every leaf and MSR of the model reads as. What was never set is zero.
///
/// A fixed-size value: no leaf is looked for, and nothing is allocated.
///
/// ```
/// use selfsame_cpuid::{Leaves, Regs};
///
/// let mut leaves = Leaves::new();
/// leaves.set(0x7, 0, Regs::new(2, 0x219c_07ab, 0, 0))?;
/// assert_eq!(leaves.get(0x7, 0).ebx, 0x219c_07ab);
/// assert_eq!(leaves.get(0x7, 9), Regs::ZERO);
/// assert!(leaves.set(0x8, 0, Regs::ZERO).is_err(), "no policy holds leaf 8");
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Leaves {
    /// The compared slots, then the MSRs, two to a slot, then the slots that are only kept.
    pub(crate) slots: [[u32; 4]; MEMORY_SLOTS],
}

/// What the model does not have, and no policy holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OutsideModel {
    /// A leaf, or a subleaf of one.
    #[error("no policy holds leaf {leaf:08x} subleaf {subleaf:02x}")]
    Leaf {
        /// EAX of CPUID.
        leaf: u32,
        /// ECX of CPUID.
        subleaf: u32,
    },
    /// An MSR.
    #[error("no policy holds msr {index:08x}")]
    Msr {
        /// Its number.
        index: u32,
    },
}

impl Leaves {
    /// All zero.
    pub const fn new() -> Self {
        Self { slots: [[0; 4]; MEMORY_SLOTS] }
    }

    /// What the leaf reads as; zero outside the model. The subleaf of a leaf without any is ignored.
    #[inline]
    pub fn get(&self, leaf: u32, subleaf: u32) -> Regs {
        model::slot(leaf, subleaf).map_or(Regs::ZERO, |slot| self.slot(slot))
    }

    /// What a leaf reads as whose place is looked up while compiling: one that the model lacks does not compile.
    #[inline(always)]
    pub(crate) fn known<const LEAF: u32, const SUBLEAF: u32>(&self) -> Regs {
        self.slot(
            const {
                match model::slot(LEAF, SUBLEAF) {
                    Some(slot) => slot,
                    None => unreachable!(),
                }
            },
        )
    }

    /// Sets what a leaf reads as.
    ///
    /// # Errors
    ///
    /// The model has no such leaf or subleaf.
    pub fn set(&mut self, leaf: u32, subleaf: u32, regs: Regs) -> Result<(), OutsideModel> {
        let is_plain = model::indexing(leaf) == Some(false);
        let slot = model::slot(leaf, subleaf).filter(|_| subleaf == 0 || !is_plain);
        let slot = slot.ok_or(OutsideModel::Leaf { leaf, subleaf })?;
        self.set_slot(slot, regs);
        Ok(())
    }

    /// The words that levelling and checking go over: [`WORDS`] of them, as [`Word::index`] says.
    #[inline]
    pub(crate) const fn words(&self) -> &[u32] {
        self.slots.split_at(FIRST_KEPT).0.as_flattened()
    }

    /// The same words, to be changed.
    #[inline]
    pub(crate) const fn words_mut(&mut self) -> &mut [u32] {
        self.slots.split_at_mut(FIRST_KEPT).0.as_flattened_mut()
    }

    #[inline(always)]
    pub(crate) fn slot(&self, slot: usize) -> Regs {
        self.slots.get(slot).copied().unwrap_or_default().into()
    }

    #[inline]
    pub(crate) fn set_slot(&mut self, slot: usize, regs: Regs) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = regs.to_array();
        }
    }

    /// The value of an MSR; `None` outside the model.
    pub fn msr(&self, index: u32) -> Option<u64> {
        let at = FIRST_MSR_WORD + model::msr_slot(index)? * 2;
        Some(u64::from(*self.words().get(at)?) | u64::from(*self.words().get(at + 1)?) << 32)
    }

    /// Sets the value of an MSR.
    ///
    /// # Errors
    ///
    /// The model has no such MSR.
    #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
    pub fn set_msr(&mut self, index: u32, value: u64) -> Result<(), OutsideModel> {
        let at = FIRST_MSR_WORD + model::msr_slot(index).ok_or(OutsideModel::Msr { index })? * 2;
        for (word, half) in self.words_mut().iter_mut().skip(at).zip([value as u32, (value >> 32) as u32]) {
            *word = half;
        }
        Ok(())
    }

    /// One word of the model.
    pub const fn word(&self, word: Word) -> u32 {
        self.words()[word.index()]
    }

    /// One word of the model, to be changed.
    pub(crate) const fn word_mut(&mut self, word: Word) -> &mut u32 {
        &mut self.words_mut()[word.index()]
    }

    /// Sets a bit: what a CPU has and does not say.
    pub const fn insert(&mut self, place: Place) {
        *self.word_mut(place.word()) |= place.mask();
    }

    /// Clears a bit: what a CPU says to have and does not.
    pub const fn remove(&mut self, place: Place) {
        *self.word_mut(place.word()) &= !place.mask();
    }

    /// Whether the bit at `place` is set.
    pub const fn is_set(&self, place: Place) -> bool {
        self.word(place.word()) & place.mask() != 0
    }

    /// The named features that are present.
    ///
    /// A VMX control is present where it may be 1 and may be 0: its bit is set in the high half of its MSR (allowed-1)
    /// and clear in the low half (allowed-0).
    pub fn features(&self) -> Featureset {
        let mut words = [0; WORDS];
        words.copy_from_slice(self.words());
        for (word, named) in words.iter_mut().zip(&table::NAMED) {
            *word &= named;
        }
        for low in table::CONTROL_LOWS {
            words[low + 1] &= !self.words()[low];
        }
        Featureset::from_words(words)
    }

    /// Whether the feature at `place` is among [`Leaves::features`], without looking at the others.
    pub fn has(&self, place: Place) -> bool {
        let word = place.word().index();
        let bit = place.mask() & table::NAMED.get(word).copied().unwrap_or_default();
        let low = table::CONTROLS.get(word).copied().flatten().and_then(|low| self.words().get(usize::from(low)));
        self.word(place.word()) & bit & !low.copied().unwrap_or_default() != 0
    }

    /// Who made the CPU.
    pub fn vendor(&self) -> Vendor {
        Vendor::of(self.get(0, 0))
    }

    /// The vendor's twelve bytes.
    pub fn vendor_name(&self) -> VendorName {
        VendorName::of(self.get(0, 0))
    }

    /// Family, model and stepping.
    pub fn signature(&self) -> Signature {
        Signature::of(self.get(1, 0).eax)
    }

    /// The XSAVE geometry of leaf 0xD.
    pub fn geometry(&self) -> Geometry {
        Geometry::read(|subleaf| self.get(0xd, subleaf).to_array())
    }

    /// The leaves that are not zero, ascending: leaf, subleaf where there are any, registers.
    pub fn rows(&self) -> impl Iterator<Item = (u32, Option<u32>, Regs)> + '_ {
        model::slots()
            .map(|(leaf, subleaf, slot)| (leaf, subleaf, self.slot(slot)))
            .filter(|(_, _, regs)| !regs.is_zero())
    }

    /// The MSRs that are not zero, ascending.
    pub fn msrs(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        MSRS.iter().filter_map(|&index| Some((index, self.msr(index)?))).filter(|&(_, value)| value != 0)
    }

    /// One register of a leaf, to be changed where the model has it.
    pub(crate) fn change(&mut self, leaf: u32, subleaf: u32, register: Register, change: impl FnOnce(u32) -> u32) {
        if let Some(slot) = model::slot(leaf, subleaf) {
            let mut regs = self.slot(slot);
            let value = regs.get_mut(register);
            *value = change(*value);
            self.set_slot(slot, regs);
        }
    }
}

impl Default for Leaves {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rows()).entries(self.msrs()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_feature_is_there_if_it_is_among_all(words in prop::collection::vec(any::<u32>(), WORDS)) {
            let mut leaves = Leaves::new();
            leaves.words_mut().copy_from_slice(&words);
            let features = leaves.features();
            for word in Word::all() {
                for bit in 0..32 {
                    prop_assert_eq!(leaves.has(word.bit(bit)), features.contains(word.bit(bit)));
                }
            }
        }
    }
}
