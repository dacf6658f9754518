//! Segments: the flat ones of ring 0 and ring 3, and the task state that holds the trap stacks.
#![expect(unsafe_code, reason = "UNSAFETY: loads descriptor tables and segments")]

use core::arch::asm;
use core::cell::UnsafeCell;

use crate::cpu::Cpu;
use crate::msr;

/// Selectors in the GDT of every CPU. `entry.s` has the first three at the same places.
pub(crate) const CODE: u16 = 0x08;
pub(crate) const DATA: u16 = 0x10;
pub(crate) const RING_3_DATA: u16 = 0x20 | 3;
pub(crate) const RING_3_CODE: u16 = 0x28 | 3;
const TSS: u16 = 0x30;

/// Flat segments that were accessed already: loading them writes nothing (SDM vol. 3A, 3.4.5).
pub(crate) const CODE_64: u64 = 0x00af_9b00_0000_ffff;
pub(crate) const DATA_32: u64 = 0x00cf_9300_0000_ffff;
pub(crate) const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
const RING_3_DATA_32: u64 = 0x00cf_f300_0000_ffff;
const RING_3_CODE_64: u64 = 0x00af_fb00_0000_ffff;

const GDT_LEN: usize = 8;
/// The task state as 32-bit words: each of its 64-bit fields lies on a multiple of four (SDM vol. 3A, 8.7).
const TSS_LEN: usize = 26;
const TSS_BYTES: u16 = 104;
/// Where the interrupt stack table begins in it.
const FIRST_IST: usize = 9;
/// Where the offset of the I/O permissions is: beyond the limit, so ring 3 has none.
const IO_PERMISSIONS: usize = 25;

const GS_BASE: u32 = 0xc000_0101;

/// One CPU's descriptor table and task state.
#[derive(Debug)]
pub(crate) struct Segments {
    gdt: UnsafeCell<[u64; GDT_LEN]>,
    tss: UnsafeCell<[u32; TSS_LEN]>,
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
        Self { gdt: UnsafeCell::new([0; GDT_LEN]), tss: UnsafeCell::new([0; TSS_LEN]) }
    }

    /// Fills and loads the tables of `cpu`, and points GS at it.
    ///
    /// # Safety
    ///
    /// 1. `cpu` is the area of the CPU that runs this.
    /// 2. It has not been done on this CPU before.
    /// 3. CS, SS, DS and ES hold [`CODE`] and [`DATA`], as `entry.s` loads them.
    pub(crate) unsafe fn load(cpu: &'static Cpu) {
        let Self { gdt, tss } = &cpu.segments;
        // SAFETY: 1 and 2: nobody else reads or writes it, and the CPU does not know it yet.
        unsafe { *tss.get() = task_state(cpu.trap_stacks.each_ref().map(|stack| stack.top() as u64)) };
        // SAFETY: as above.
        unsafe { *gdt.get() = descriptors(tss.get().addr() as u64) };
        let pointer = TablePointer::new(gdt.get());
        // SAFETY: the table is there for good. 3: the segments in use are the same in it.
        unsafe { asm!("lgdt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
        // SAFETY: the selector is that of the task state above.
        unsafe { asm!("ltr {:x}", in(reg) TSS, options(nostack, preserves_flags)) };
        // SAFETY: nothing here but `ring_3.s` uses GS.
        let gs = unsafe { msr::write(GS_BASE, core::ptr::from_ref(cpu).addr() as u64) };
        debug_assert_eq!(gs, Ok(()), "every CPU with 64-bit mode has the MSR");
    }
}

fn descriptors(tss: u64) -> [u64; GDT_LEN] {
    // An available 64-bit TSS takes two places (SDM vol. 3A, 8.2.3).
    let low = u64::from(TSS_BYTES - 1) | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
    [0, CODE_64, DATA_32, CODE_32, RING_3_DATA_32, RING_3_CODE_64, low, tss >> 32]
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
        let gdt = descriptors(0x0123_4567_89ab_cdef);
        let at = |selector: u16| gdt[usize::from(selector >> 3)];
        assert_eq!([at(CODE), at(DATA)], [CODE_64, DATA_32]);
        assert_eq!([at(RING_3_CODE), at(RING_3_DATA)], [RING_3_CODE_64, RING_3_DATA_32]);
        for (selector, ring) in [(CODE, 0), (DATA, 0), (RING_3_CODE, 3), (RING_3_DATA, 3)] {
            assert_eq!((at(selector) >> 45 & 3, u64::from(selector & 3)), (ring, ring));
        }
    }

    #[test]
    fn the_task_states_address_is_spread_over_its_descriptor() {
        let [.., low, high] = descriptors(0x0123_4567_89ab_cdef);
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
