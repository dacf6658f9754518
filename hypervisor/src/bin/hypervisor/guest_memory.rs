//! A guest's memory, and the tables through which the CPU sees it.

use selfsame_hypervisor::pages::Pages;

use crate::virtual_cpu::ModeState;

/// How much memory a guest has.
const BYTES: usize = 4 << 20;
const LARGE_PAGE_BYTES: usize = 2 << 20;

/// A guest's physical memory, from address 0.
#[derive(Debug)]
pub(crate) struct GuestMemory {
    memory: Pages,
    /// Root, one table of each further level; the last has pages of 2 MiB.
    tables: Pages,
}

/// Where a guest begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) address: u32,
}

impl GuestMemory {
    pub(crate) fn new() -> Option<Self> {
        Some(Self { memory: Pages::take(BYTES / 4096, LARGE_PAGE_BYTES / 4096)?, tables: Pages::take(3, 1)? })
    }

    /// Loads a disk image, as its boot sector would: its fields say how many sectors go where, and what is entered.
    pub(crate) fn load(&mut self, image: &[u8]) -> Option<(Entry, &mut [u8])> {
        const FIELDS_AT: usize = 0x1f0;
        const SECTOR_BYTES: usize = 512;
        let field = |number: usize| {
            let bytes = image.get(FIELDS_AT + 4 * number..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let (sectors, at, address) = (field(0)?, field(1)? as usize, field(2)?);
        let program = image.get(SECTOR_BYTES..)?.get(..sectors as usize * SECTOR_BYTES)?;
        let place = self.memory.bytes_mut().get_mut(at..at.checked_add(program.len())?)?;
        place.copy_from_slice(program);
        Some((Entry { address }, place))
    }

    /// The root of tables in the format of ordinary ones, which SVM walks (APM vol. 2, 15.25).
    pub(crate) fn nested_tables(&mut self) -> Option<u64> {
        const PRESENT_WRITABLE_USER: u64 = 7;
        const LARGE: u64 = 1 << 7;
        self.map(PRESENT_WRITABLE_USER, LARGE)
    }

    /// The root of tables that VMX walks (SDM vol. 3C, 29.3.2).
    pub(crate) fn extended_tables(&mut self) -> Option<u64> {
        const READ_WRITE_EXECUTE: u64 = 7;
        const WRITE_BACK: u64 = 6 << 3;
        const LARGE: u64 = 1 << 7;
        self.map(READ_WRITE_EXECUTE, LARGE | WRITE_BACK)
    }

    fn map(&mut self, rights: u64, leaf: u64) -> Option<u64> {
        let (memory, root) = (self.memory.address(), self.tables.address());
        let words = self.tables.words_mut();
        *words.get_mut(0)? = (root + 0x1000) | rights;
        *words.get_mut(512)? = (root + 0x2000) | rights;
        for page in 0..BYTES / LARGE_PAGE_BYTES {
            *words.get_mut(1024 + page)? = (memory + (page * LARGE_PAGE_BYTES) as u64) | rights | leaf;
        }
        Some(root)
    }

    fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address).ok()?;
        Some(u64::from_le_bytes(*self.memory.bytes().get(at..)?.first_chunk()?))
    }

    /// The byte at a linear address, by the guest's own page tables; `None` where it has none or they lead out of its memory.
    pub(crate) fn byte(&self, linear: u64, mode: &ModeState) -> Option<u8> {
        const PAGING: u64 = 1 << 31;
        let physical = if mode.cr0 & PAGING == 0 { linear } else { self.walk(linear, mode)? };
        self.memory.bytes().get(usize::try_from(physical).ok()?).copied()
    }

    /// Four levels, as 64-bit mode has them; guests that page without it are not walked.
    fn walk(&self, linear: u64, mode: &ModeState) -> Option<u64> {
        const PRESENT: u64 = 1;
        const LARGE: u64 = 1 << 7;
        const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
        let mut table = mode.cr3 & ADDRESS;
        for level in (0..4).rev() {
            let shift = 12 + 9 * level;
            let entry = self.word(table + (linear >> shift & 511) * 8)?;
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || (level < 3 && entry & LARGE != 0) {
                let within = (1 << shift) - 1;
                return Some(entry & ADDRESS & !within | linear & within);
            }
            table = entry & ADDRESS;
        }
        None
    }
}
