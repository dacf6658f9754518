//! Pages of physical memory.
//!
//! A machine has at least 128 MiB, as every emulator is told; the program lies at its beginning, and what is above the first
//! 16 MiB is given out here.
#![expect(unsafe_code, reason = "UNSAFETY: makes memory of addresses")]

use core::{ptr, slice};

use crate::lock::Lock;

/// How many bytes a page has.
pub const PAGE_BYTES: usize = 4096;

const FIRST: usize = 16 << 20;
const END: usize = 128 << 20;
const COUNT: usize = (END - FIRST) / PAGE_BYTES;

static TAKEN: Lock<Taken> = Lock::new(Taken([0; COUNT / 64]));

/// Which pages are taken, one bit each.
struct Taken([u64; COUNT / 64]);

impl Taken {
    fn is_taken(&self, page: usize) -> bool {
        self.0.get(page / 64).is_none_or(|bits| bits >> (page % 64) & 1 == 1)
    }

    fn flip(&mut self, first: usize, count: usize) {
        for page in first..first + count {
            if let Some(bits) = self.0.get_mut(page / 64) {
                *bits ^= 1 << (page % 64);
            }
        }
    }

    /// The first of `count` free pages in a row that begin at a multiple of `align` pages of memory.
    fn find(&self, count: usize, align: usize) -> Option<usize> {
        let first = (FIRST / PAGE_BYTES).next_multiple_of(align) - FIRST / PAGE_BYTES;
        let is_free = |page: &usize| (*page..*page + count).all(|page| !self.is_taken(page));
        (first..COUNT.saturating_sub(count) + 1).step_by(align).find(is_free)
    }
}

/// Pages in a row, which are given back when this is dropped.
#[derive(Debug)]
pub struct Pages {
    address: usize,
    count: usize,
}

impl Pages {
    /// Takes `count` pages, all zero, that begin at a multiple of `align` pages; `None` if there are not so many.
    ///
    /// Only on bare metal: a host has no such memory.
    pub fn take(count: usize, align: usize) -> Option<Self> {
        let first = {
            let mut taken = TAKEN.lock();
            let first = taken.find(count, align.max(1))?;
            taken.flip(first, count);
            first
        };
        let mut pages = Self { address: FIRST + first * PAGE_BYTES, count };
        pages.bytes_mut().fill(0);
        Some(pages)
    }

    /// Takes the pages that `bytes` bytes need.
    pub fn for_bytes(bytes: usize) -> Option<Self> {
        Self::take(bytes.div_ceil(PAGE_BYTES), 1)
    }

    /// Where they begin, in physical memory, which is mapped to itself.
    pub fn address(&self) -> u64 {
        self.address as u64
    }

    /// What is in them.
    pub fn bytes(&self) -> &[u8] {
        let first = ptr::with_exposed_provenance(self.address);
        // SAFETY: the pages are mapped to themselves, and were given to this value alone.
        unsafe { slice::from_raw_parts(first, self.count * PAGE_BYTES) }
    }

    /// What is in them as words of 64 bits.
    pub fn words(&self) -> &[u64] {
        let first = ptr::with_exposed_provenance(self.address);
        // SAFETY: as above; pages are aligned to more than words.
        unsafe { slice::from_raw_parts(first, self.count * PAGE_BYTES / 8) }
    }

    /// What is in them, for who has them alone.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let first = ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: the pages are mapped to themselves, and were given to this value alone.
        unsafe { slice::from_raw_parts_mut(first, self.count * PAGE_BYTES) }
    }

    /// What is in them as words of 64 bits: a page table, a list of addresses.
    pub fn words_mut(&mut self) -> &mut [u64] {
        let first = ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: as above; pages are aligned to more than words.
        unsafe { slice::from_raw_parts_mut(first, self.count * PAGE_BYTES / 8) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        TAKEN.lock().flip((self.address - FIRST) / PAGE_BYTES, self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_a_row_begin_where_they_are_wanted_and_never_overlap() {
        let mut taken = Taken([0; COUNT / 64]);
        assert_eq!(taken.find(3, 1), Some(0));
        taken.flip(0, 3);
        assert_eq!(taken.find(2, 1), Some(3));
        assert_eq!(taken.find(512, 512), Some(512), "16 MiB is a multiple of 2 MiB");
        taken.flip(512, 512);
        assert_eq!(taken.find(512, 512), Some(1024));
        taken.flip(0, 3);
        assert_eq!(taken.find(3, 1), Some(0), "given back");
        assert_eq!(taken.find(COUNT + 1, 1), None);
        assert_eq!(taken.find(COUNT, 1), None);
    }
}
