//! The memory of a machine: save areas, pages of descriptors, and what address spaces map.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::image::Area;

/// Size of a page, and of what one L1 entry maps.
pub const PAGE_BYTES: u64 = 4096;
/// How many descriptors a page holds.
pub const DESCRIPTORS_IN_PAGE: usize = 512;

/// Bit 0 of an L1 entry: the page is present (SDM vol. 3, 4.5.4).
const PRESENT: u64 = 1;
/// Bit 1 of an L1 entry: the page may be written.
const WRITABLE: u64 = 1 << 1;
/// The bits of an L1 entry and of CR3 that hold a physical address (SDM vol. 3, 4.5).
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
/// The number of the first page of descriptors; those below are nobody's business.
const FIRST_FRAME: u64 = 0x100;

/// The number of a physical page that holds descriptors.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Frame(u64);

impl Frame {
    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Returns an L1 entry that maps the page, to be read and written.
    #[must_use]
    pub const fn l1_entry(self) -> u64 {
        (self.0 * PAGE_BYTES) | WRITABLE | PRESENT
    }

    fn index(self) -> Option<usize> {
        usize::try_from(self.0.checked_sub(FIRST_FRAME)?).ok()
    }
}

/// What a page table walk ends at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Translation {
    pub(crate) frame: Frame,
    pub(crate) is_writable: bool,
}

impl Translation {
    fn of(l1_entry: u64) -> Option<Self> {
        let frame = Frame((l1_entry & ADDRESS) / PAGE_BYTES);
        (l1_entry & PRESENT != 0).then_some(Self { frame, is_writable: l1_entry & WRITABLE != 0 })
    }
}

/// Whose lowest-level page tables.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Space {
    /// The hypervisor's. Every address space maps what they map.
    Hypervisor,
    /// What this domain has for itself, the same in all its address spaces.
    Domain(u16),
}

/// Memory that all CPUs share.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// XSAVE areas by linear address, the same in every address space.
    areas: BTreeMap<u64, Area>,
    frames: Vec<[u64; DESCRIPTORS_IN_PAGE]>,
    /// L1 entries by page.
    l1: BTreeMap<Space, BTreeMap<u64, u64>>,
    /// Whose tables the top-level table at an address leads to.
    roots: BTreeMap<u64, Space>,
    /// Supervisor shadow stacks by their pointer: the CPU that pushed last, while one uses it.
    shadow_stacks: BTreeMap<u64, Option<u16>>,
}

impl Memory {
    /// Adds an area, or replaces the one that is there.
    pub fn insert_area(&mut self, linear: u64, area: Area) {
        self.areas.insert(linear, area);
    }

    /// Takes an area away.
    pub fn remove_area(&mut self, linear: u64) -> Option<Area> {
        self.areas.remove(&linear)
    }

    /// The area at an address.
    #[must_use]
    pub fn area(&self, linear: u64) -> Option<&Area> {
        self.areas.get(&linear)
    }

    /// The area at an address, to be edited by software: the CPUs do not notice.
    pub fn area_mut(&mut self, linear: u64) -> Option<&mut Area> {
        self.areas.get_mut(&linear)
    }

    /// Adds a page of null descriptors.
    pub fn add_frame(&mut self) -> Frame {
        self.frames.push([0; DESCRIPTORS_IN_PAGE]);
        Frame(FIRST_FRAME + self.frames.len() as u64 - 1)
    }

    /// A descriptor of a page; null where there is none.
    #[must_use]
    pub fn descriptor(&self, frame: Frame, index: usize) -> u64 {
        let page = frame.index().and_then(|at| self.frames.get(at));
        page.and_then(|page| page.get(index)).copied().unwrap_or_default()
    }

    /// Changes a descriptor by an ordinary store.
    pub fn set_descriptor(&mut self, frame: Frame, index: usize, descriptor: u64) {
        let page = frame.index().and_then(|at| self.frames.get_mut(at));
        if let Some(place) = page.and_then(|page| page.get_mut(index)) {
            *place = descriptor;
        }
    }

    /// Makes the table at the address in `cr3` a top-level one that leads to these lowest-level tables. Any other leads to the
    /// hypervisor's.
    pub fn insert_root(&mut self, cr3: u64, space: Space) {
        self.roots.insert(cr3 & ADDRESS, space);
    }

    /// The L1 entry that a space has for the page of an address; zero where it has none.
    #[must_use]
    pub fn l1_entry(&self, space: Space, linear: u64) -> u64 {
        let table = self.l1.get(&space);
        table.and_then(|table| table.get(&(linear / PAGE_BYTES))).copied().unwrap_or_default()
    }

    /// Writes an L1 entry by an ordinary store: translations that a CPU holds already stay.
    pub fn set_l1_entry(&mut self, space: Space, linear: u64, l1_entry: u64) {
        self.l1.entry(space).or_default().insert(linear / PAGE_BYTES, l1_entry);
    }

    /// Makes a free supervisor shadow stack at this pointer.
    pub fn insert_shadow_stack(&mut self, ssp: u64) {
        self.shadow_stacks.insert(ssp, None);
    }

    pub(crate) fn shadow_stack_mut(&mut self, ssp: u64) -> Option<&mut Option<u16>> {
        self.shadow_stacks.get_mut(&ssp)
    }

    /// What a walk from CR3 finds for a page.
    pub(crate) fn walk(&self, cr3: u64, page: u64) -> Option<Translation> {
        let entry = |space| self.l1.get(&space).and_then(|table| table.get(&page)).copied().unwrap_or_default();
        Translation::of(entry(self.space(cr3))).or_else(|| Translation::of(entry(Space::Hypervisor)))
    }

    /// The pages that only this CR3 maps, with what a walk finds for them.
    pub(crate) fn mapped(&self, cr3: u64) -> impl Iterator<Item = (u64, Translation)> + '_ {
        let own = Some(self.space(cr3)).filter(|&space| space != Space::Hypervisor);
        let table = own.and_then(|space| self.l1.get(&space)).into_iter().flatten();
        table.filter_map(|(&page, &l1_entry)| Some((page, Translation::of(l1_entry)?)))
    }

    fn space(&self, cr3: u64) -> Space {
        self.roots.get(&(cr3 & ADDRESS)).copied().unwrap_or(Space::Hypervisor)
    }
}
