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
    kept_bytes: u64,
    too_short: Vec<Extent>,
}

impl Extents {
    /// Adds a state. Streams of guests that were checkpointed have that of a vCPU several times: the last one counts.
    pub(super) fn add(&mut self, extent: Extent) -> Result<(), SavedError> {
        if extent.len_bytes < u64::from(EXTENDED_START_BYTES) {
            self.too_short.push(extent);
            return Ok(());
        }
        if extent.len_bytes > MOST_IMAGE_BYTES {
            return Err(SavedError::malformed(extent.offset, "longer than any image of extended state"));
        }
        self.kept_bytes += extent.len_bytes;
        match self.at.get(&extent.number).and_then(|&index| self.list.get_mut(index)) {
            Some(older) => {
                self.kept_bytes -= older.len_bytes;
                *older = extent;
            }
            None => {
                self.at.insert(extent.number, self.list.len());
                self.list.push(extent);
            }
        }
        if self.kept_bytes > MOST_KEPT_BYTES {
            return Err(SavedError::TooMuch { limit_mib: MOST_KEPT_BYTES >> 20 });
        }
        Ok(())
    }

    /// Returns the states, at least one, and what became of others.
    pub(super) fn finish(self, missing: &'static str) -> Result<(Vec<Extent>, Option<Finding>), SavedError> {
        let first = self.too_short.first();
        if self.list.is_empty() {
            let reason = "too short: an image of extended state has 576 bytes or more";
            return Err(
                first.map_or(SavedError::NoState { missing }, |short| SavedError::malformed(short.offset, reason))
            );
        }
        let finding = first.map(|short| {
            let numbers = numbers(self.too_short.iter().map(|short| short.number));
            let reason = format!(
                "{numbers}: left out, because the image of {} bytes is too short: each has {EXTENDED_START_BYTES} or more",
                short.len_bytes
            );
            Finding { what: "too short".to_owned(), line: None, reason }
        });
        Ok((self.list, finding))
    }
}

/// Lists the first of many.
pub(super) fn numbers(numbers: impl ExactSizeIterator<Item = u32>) -> String {
    let more = if numbers.len() > MANY { ", ..." } else { "" };
    let list: Vec<String> = numbers.take(MANY).map(|number| number.to_string()).collect();
    format!("{}{more}", list.join(", "))
}
