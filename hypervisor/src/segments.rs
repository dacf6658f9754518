//! Segments: the flat ones of ring 0 and ring 3, and the task state that holds the trap stacks.
//!
//! They lie in page 14 of a table, where the hypervisor has them in every table that it loads
//! ([`selfsame_switch::gdt`]), so that no selector ever changes. What the base itself loads has nothing of its own in the
//! pages before.
#![expect(unsafe_code, reason = "UNSAFETY: loads descriptor tables and segments")]

use core::arch::asm;
use core::cell::UnsafeCell;

use selfsame_switch::gdt::{CPU_MARKER_SELECTOR, FIRST_HYPERVISOR_SELECTOR, LIMIT};

use crate::cpu::Cpu;
use crate::msr;

/// Selectors in the GDT of every CPU.
pub(crate) const CODE: u16 = FIRST + 0x08;
pub(crate) const DATA: u16 = FIRST + 0x10;
pub(crate) const RING_3_DATA: u16 = (FIRST + 0x20) | 3;
pub(crate) const RING_3_CODE: u16 = (FIRST + 0x28) | 3;
pub(crate) const TSS: u16 = FIRST + 0x30;
const FIRST: u16 = FIRST_HYPERVISOR_SELECTOR;

/// Flat segments that were accessed already: loading them writes nothing (SDM vol. 3A, 3.4.5).
pub(crate) const CODE_64: u64 = 0x00af_9b00_0000_ffff;
pub(crate) const DATA_32: u64 = 0x00cf_9300_0000_ffff;
pub(crate) const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
const RING_3_DATA_32: u64 = 0x00cf_f300_0000_ffff;
const RING_3_CODE_64: u64 = 0x00af_fb00_0000_ffff;
/// A read-only data segment of ring 3 whose limit is the CPU's number: LSL tells it.
const CPU_MARKER: u64 = 0x0040_f100_0000_0000;

/// A page of descriptors. Those of an LDT and of the CPU's number have places, and are not used here
/// ([`LDT_SELECTOR`](selfsame_switch::gdt::LDT_SELECTOR), [`CPU_MARKER_SELECTOR`]).
pub(crate) const GDT_LEN: usize = 512;
/// The task state as 32-bit words: each of its 64-bit fields lies on a multiple of four (SDM vol. 3A, 8.7).
const TSS_LEN: usize = 26;
const TSS_BYTES: u16 = 104;
/// Where the interrupt stack table begins in it.
const FIRST_IST: usize = 9;
/// Where the offset of the I/O permissions is: beyond the limit, so ring 3 has none.
const IO_PERMISSIONS: usize = 25;

const GS_BASE: u32 = 0xc000_0101;

/// Page 14 of a table.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct Descriptors([u64; GDT_LEN]);

/// One CPU's descriptors and task state.
#[derive(Debug)]
pub(crate) struct Segments {
    gdt: UnsafeCell<Descriptors>,
    /// The same for the tables of 32-bit guests.
    compat: UnsafeCell<Descriptors>,
    tss: UnsafeCell<[u32; TSS_LEN]>,
}

/// The segments of a CPU as the host-state area of a VMCS wants them (SDM vol. 3C, 25.5).
#[derive(Clone, Copy, Debug)]
pub struct HostSegments {
    /// CS.
    pub code: u16,
    /// TR.
    pub task: u16,
    /// Where the task state is.
    pub task_base: u64,
    /// Where the interrupt descriptors are.
    pub idt_base: u64,
}

impl Cpu {
    /// The segments that are loaded on this CPU.
    pub fn host_segments(&self) -> HostSegments {
        let task_base = self.segments.tss.get().addr() as u64;
        HostSegments { code: CODE, task: TSS, task_base, idt_base: crate::traps::table_address() }
    }
}

/// What LGDT and LIDT read.
#[repr(C, packed)]
pub(crate) struct TablePointer {
    limit: u16,
    base: u64,
}

impl TablePointer {
    /// Points at a whole table; none is longer than the 64 KiB that a limit can tell.
    pub(crate) fn new<T>(table: *const T) -> Self {
        const { assert!(size_of::<T>() - 1 <= u16::MAX as usize) };
        Self { limit: u16::try_from(size_of::<T>() - 1).unwrap_or(u16::MAX), base: table.addr() as u64 }
    }
}

impl Segments {
    pub(crate) const fn new() -> Self {
        const NONE: Descriptors = Descriptors([0; GDT_LEN]);
        Self { gdt: UnsafeCell::new(NONE), compat: UnsafeCell::new(NONE), tss: UnsafeCell::new([0; TSS_LEN]) }
    }

    /// Where the pages of descriptors are in physical memory: native, compat.
    pub(crate) fn pages(&self) -> [u64; 2] {
        [&self.gdt, &self.compat].map(|page| page.get().addr() as u64)
    }

    /// Fills and loads the tables of `cpu`, and points GS at it.
    ///
    /// # Safety
    ///
    /// 1. `cpu` is the area of the CPU that runs this.
    /// 2. It has not been done on this CPU before.
    /// 3. The segments in use are flat, as `entry.s` loads them.
    pub(crate) unsafe fn load(cpu: &'static Cpu) {
        let Self { gdt, compat, tss } = &cpu.segments;
        // SAFETY: 1 and 2: nobody else reads or writes it, and the CPU does not know it yet.
        unsafe { *tss.get() = task_state(cpu.trap_stacks.each_ref().map(|stack| stack.top() as u64)) };
        let number = u16::try_from(cpu.index()).unwrap_or(u16::MAX);
        // SAFETY: as above.
        unsafe { *gdt.get() = descriptors(tss.get().addr() as u64, number) };
        // SAFETY: as above.
        unsafe { *compat.get() = descriptors(tss.get().addr() as u64, number) };
        let pointer = TablePointer { limit: LIMIT, base: (gdt.get().addr() - usize::from(FIRST)) as u64 };
        // SAFETY: the descriptors are there for good.
        unsafe { asm!("lgdt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
        // SAFETY: 3: the segments in use are the same in the table above, under other selectors.
        unsafe { reload() };
        // SAFETY: the selector is that of the task state above.
        unsafe { asm!("ltr {:x}", in(reg) TSS, options(nostack, preserves_flags)) };
        // SAFETY: nothing here but `ring_3.s` uses GS.
        let gs = unsafe { msr::write(GS_BASE, core::ptr::from_ref(cpu).addr() as u64) };
        debug_assert_eq!(gs, Ok(()), "every CPU with 64-bit mode has the MSR");
    }
}

/// Loads CS, SS, DS and ES with the selectors of this table, and FS and GS with none.
///
/// # Safety
///
/// A table with [`CODE`] and [`DATA`] is loaded, and what is compiled here runs on it: the segments in use are flat.
unsafe fn reload() {
    // SAFETY: the caller's. The stack is as it was behind the far return.
    unsafe {
        asm!(
            "push {code}",
            "lea {place}, [rip + 2f]",
            "push {place}",
            "retfq",
            "2:",
            "mov ss, {data:e}",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov fs, {null:e}",
            "mov gs, {null:e}",
            code = const CODE as i32,
            place = out(reg) _,
            data = in(reg) u32::from(DATA),
            null = in(reg) 0,
            options(preserves_flags)
        );
    }
}

fn descriptors(tss: u64, cpu: u16) -> Descriptors {
    // An available 64-bit TSS takes two places (SDM vol. 3A, 8.2.3).
    let low = u64::from(TSS_BYTES - 1) | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
    let first = [0, CODE_64, DATA_32, CODE_32, RING_3_DATA_32, RING_3_CODE_64, low, tss >> 32];
    let mut all = [0; GDT_LEN];
    for (place, descriptor) in all.iter_mut().zip(first) {
        *place = descriptor;
    }
    if let Some(marker) = all.get_mut(usize::from((CPU_MARKER_SELECTOR - FIRST) >> 3)) {
        *marker = CPU_MARKER | u64::from(cpu);
    }
    Descriptors(all)
}

fn task_state(stack_tops: [u64; 4]) -> [u32; TSS_LEN] {
    let mut tss = [0; TSS_LEN];
    for (words, top) in tss[FIRST_IST..].chunks_exact_mut(2).zip(stack_tops) {
        let (low, high) = msr::halves(top);
        words.copy_from_slice(&[low, high]);
    }
    tss[IO_PERMISSIONS] = u32::from(TSS_BYTES) << 16;
    tss
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_name_the_descriptors_that_they_are_for() {
        let Descriptors(gdt) = descriptors(0x0123_4567_89ab_cdef, 3);
        let at = |selector: u16| gdt[usize::from((selector - FIRST) >> 3)];
        assert_eq!([at(CODE), at(DATA)], [CODE_64, DATA_32]);
        assert_eq!([at(RING_3_CODE), at(RING_3_DATA)], [RING_3_CODE_64, RING_3_DATA_32]);
        for (selector, ring) in [(CODE, 0), (DATA, 0), (RING_3_CODE, 3), (RING_3_DATA, 3)] {
            assert_eq!((at(selector) >> 45 & 3, u64::from(selector & 3)), (ring, ring));
        }
    }

    #[test]
    fn the_marker_has_the_number_of_the_cpu() {
        let Descriptors(gdt) = descriptors(0, 3);
        assert_eq!(gdt[usize::from((CPU_MARKER_SELECTOR - FIRST) >> 3)] & 0xffff, 3);
    }

    #[test]
    fn the_task_states_address_is_spread_over_its_descriptor() {
        let Descriptors([_, _, _, _, _, _, low, high, ..]) = descriptors(0x0123_4567_89ab_cdef, 3);
        assert_eq!(low >> 16 & 0xff_ffff | (low >> 56) << 24 | high << 32, 0x0123_4567_89ab_cdef);
        assert_eq!((low & 0xffff, low >> 40 & 0xff), (103, 0x89));
    }

    #[test]
    fn trap_stacks_are_where_the_manual_has_the_interrupt_stack_table() {
        let tss = task_state([1, 2, 3, 4 << 32]);
        // SDM vol. 3A, figure 8-11: IST1 at byte 36, IST4 at byte 60, I/O map base at byte 102.
        assert_eq!((tss[36 / 4], tss[44 / 4], tss[52 / 4], tss[60 / 4], tss[64 / 4]), (1, 2, 3, 0, 4));
        assert_eq!(tss[100 / 4] >> 16, 104);
    }
}
