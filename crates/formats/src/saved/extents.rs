//! Where the states of a file lie, with a bound on what all of them take.

use std::collections::BTreeMap;

use selfsame_xstate::EXTENDED_START_BYTES;

use super::{SavedError, SavedState, XenMasks};
use crate::Finding;

/// No image is longer: all components that there are take less.
pub(super) const MOST_IMAGE_BYTES: u64 = 1 << 24;

/// No guest or process has more in its registers: as much is kept of a file as all its images take.
pub(super) const MOST_KEPT_BYTES: u64 = 256 << 20;

/// As many numbers are told of states that are odd alike.
const MANY: usize = 16;

/// Where the image of one vCPU or thread lies.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) number: u32,
    pub(super) offset: u64,
    pub(super) len_bytes: u64,
    pub(super) xen: Option<XenMasks>,
}

impl Extent {
    /// The state, once its image is at hand.
    pub(super) const fn state<'a>(&self, image: &'a [u8]) -> SavedState<'a> {
        let Self { number, xen, .. } = *self;
        SavedState { number, image, xen }
    }
}

/// The states of a file, each number once.
#[derive(Default)]
pub(super) struct Extents {
    list: Vec<Extent>,
    at: BTreeMap<u32, usize>,
    /// Which of the list have no number yet.
    nameless: Vec<usize>,
    kept_bytes: u64,
}

impl Extents {
    /// Adds a state. Streams of guests that were checkpointed have that of a vCPU several times: the last one counts.
    pub(super) fn add(&mut self, extent: Extent) -> Result<(), SavedError> {
        let older = self.at.get(&extent.number).and_then(|&index| self.list.get_mut(index));
        self.kept_bytes = kept(self.kept_bytes, older.as_deref(), &extent)?;
        match older {
            Some(older) => *older = extent,
            None => {
                self.at.insert(extent.number, self.list.len());
                self.list.push(extent);
            }
        }
        Ok(())
    }

    /// Adds a state that is another one than all before, whatever its number is; it may have none.
    pub(super) fn add_apart(&mut self, number: Option<u32>, extent: Extent) -> Result<(), SavedError> {
        if let Some(number) = number.filter(|number| !self.at.contains_key(number)) {
            return self.add(Extent { number, ..extent });
        }
        self.kept_bytes = kept(self.kept_bytes, None, &extent)?;
        self.nameless.push(self.list.len());
        self.list.push(extent);
        Ok(())
    }

    /// Gives numbers that nobody has to the states without one, and returns them.
    pub(super) fn name_others(&mut self) -> Vec<u32> {
        let mut free = (0..=u32::MAX).filter(|number| !self.at.contains_key(number));
        let mut made_up = Vec::with_capacity(self.nameless.len());
        for index in std::mem::take(&mut self.nameless) {
            if let (Some(extent), Some(number)) = (self.list.get_mut(index), free.next()) {
                extent.number = number;
                made_up.push(number);
            }
        }
        made_up
    }

    /// Returns the states, at least one, and what became of others.
    pub(super) fn finish(self, missing: &'static str) -> Result<(Vec<Extent>, Option<Finding>), SavedError> {
        let is_whole = |extent: &Extent| extent.len_bytes >= u64::from(EXTENDED_START_BYTES);
        let (list, too_short): (Vec<Extent>, Vec<Extent>) = self.list.into_iter().partition(is_whole);
        let first = too_short.first();
        if list.is_empty() {
            let reason = "too short: an image of extended state has 576 bytes or more";
            return Err(
                first.map_or(SavedError::NoState { missing }, |short| SavedError::malformed(short.offset, reason))
            );
        }
        let finding = first.map(|short| {
            let numbers = numbers(too_short.iter().map(|short| short.number));
            let reason = format!(
                "{numbers}: left out, because the image of {} bytes is too short: each has {EXTENDED_START_BYTES} or more",
                short.len_bytes
            );
            Finding { what: "too short".to_owned(), line: None, reason }
        });
        Ok((list, finding))
    }
}

/// How much is kept once a state comes, in place of an older one if there is one. One that is too short counts as the shortest
/// that is not, so that the number of states has a bound, too.
fn kept(kept_bytes: u64, older: Option<&Extent>, extent: &Extent) -> Result<u64, SavedError> {
    if extent.len_bytes > MOST_IMAGE_BYTES {
        return Err(SavedError::malformed(extent.offset, "longer than any image of extended state"));
    }
    let counted = |extent: &Extent| extent.len_bytes.max(EXTENDED_START_BYTES.into());
    let kept_bytes = kept_bytes + counted(extent) - older.map_or(0, counted);
    let limit_mib = MOST_KEPT_BYTES >> 20;
    if kept_bytes > MOST_KEPT_BYTES { Err(SavedError::TooMuch { limit_mib }) } else { Ok(kept_bytes) }
}

/// Lists the first of many.
pub(super) fn numbers(numbers: impl ExactSizeIterator<Item = u32>) -> String {
    let more = if numbers.len() > MANY { ", ..." } else { "" };
    let list: Vec<String> = numbers.take(MANY).map(|number| number.to_string()).collect();
    format!("{}{more}", list.join(", "))
}
