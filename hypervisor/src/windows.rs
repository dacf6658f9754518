//! Where each CPU sees its descriptor tables in the upper half, with nothing in the pages before its own.
//!
//! A CPU's default table is a window of 16 pages: 14 times the one zero page, the CPU's own page of descriptors, and one
//! page that is not mapped ([`selfsame_switch::gdt`]). The page for 32-bit guests has an address too, outside of the
//! windows.
#![expect(unsafe_code, reason = "UNSAFETY: adds to the page tables in use")]

use core::arch::asm;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use selfsame_switch::gdt::HYPERVISOR_PAGE;
use selfsame_switch::{CpuId, CpuTables, Frame, GdtPage, L1Entry};

use crate::cpu::{CPUS, MAX_CPUS};

/// The address of the first window.
const START: u64 = 0xffff_8300_0000_0000;
/// Its place in the root of the page tables.
const ROOT_PLACE: usize = (START >> 39 & 511) as usize;
const WINDOW_PAGES: usize = 16;
/// Where the pages for 32-bit guests begin, behind all windows.
const COMPAT_PLACE: usize = WINDOW_PAGES * MAX_CPUS;
const PAGE_BYTES: usize = 4096;

/// Of an entry that leads to another table: present, writable.
const TO_TABLE: u64 = 3;

#[repr(align(4096))]
struct Table([AtomicU64; 512]);

impl Table {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }

    fn set(&self, place: usize, entry: u64) {
        if let Some(slot) = self.0.get(place) {
            slot.store(entry, Ordering::Relaxed);
        }
    }

    fn address(&self) -> u64 {
        self.0.as_ptr().addr() as u64
    }
}

static LEVEL_3: Table = Table::new();
static LEVEL_2: Table = Table::new();
static LEVEL_1: Table = Table::new();
static ZERO_PAGE: Table = Table::new();

/// Maps the tables of a CPU, by its local APIC ID, and says where they are; `None` if there can be no such CPU. For the boot
/// CPU, which does it for all before they are started; the program does not move after it.
pub fn map_tables(index: usize) -> Option<CpuTables> {
    let cpu = CPUS.get(index)?;
    let [native, compat] = cpu.segments.pages().map(|address| Frame::new(address >> 12));
    let (native, compat, zero) = (native?, compat?, Frame::new(ZERO_PAGE.address() >> 12)?);
    let first = index * WINDOW_PAGES;
    let (own_place, compat_place) = (first + usize::from(HYPERVISOR_PAGE), COMPAT_PLACE + index);
    for place in first..own_place {
        LEVEL_1.set(place, L1Entry::of_guest_page(zero).bits() & !NO_EXECUTE);
    }
    LEVEL_1.set(own_place, L1Entry::of_hypervisor_page(native).bits() & !NO_EXECUTE);
    LEVEL_1.set(compat_place, L1Entry::of_hypervisor_page(compat).bits() & !NO_EXECUTE);
    LEVEL_2.set(0, LEVEL_1.address() | TO_TABLE);
    LEVEL_3.set(0, LEVEL_2.address() | TO_TABLE);
    // SAFETY: the tables are there for good, and map nothing but what is above.
    unsafe { set_root(LEVEL_3.address() | TO_TABLE) };
    let linear = |place: usize| START + (place * PAGE_BYTES) as u64;
    let number = CpuId::new(u16::try_from(index).ok()?);
    Some(CpuTables::new(number, GdtPage::new(linear(own_place), native)?, GdtPage::new(linear(compat_place), compat)?))
}

/// EFER.NXE is not set here: the bit would be a reserved one.
const NO_EXECUTE: u64 = 1 << 63;

/// Puts an entry at [`ROOT_PLACE`] into the root of the page tables, which all CPUs share.
///
/// # Safety
///
/// The tables that it leads to are there for good, and map nothing that may not be reached.
unsafe fn set_root(entry: u64) {
    let root: u64;
    // SAFETY: reading CR3 in ring 0 changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) };
    let root = ptr::with_exposed_provenance_mut::<u64>(usize::try_from(root & !0xfff).unwrap_or_default());
    // SAFETY: the root is mapped to itself, and nothing was at this place; a TLB holds no entries that were not present.
    unsafe { root.wrapping_add(ROOT_PLACE).write_volatile(entry) };
}
