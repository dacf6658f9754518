//! The CPU that this code runs on, in ring 0.
#![expect(unsafe_code, reason = "UNSAFETY: executes what a context switch plans")]

use core::arch::asm;

use selfsame_switch::{
    Bitness, Cpu, Cr3, Cr4, DebugRegister, Gdtr, GuestSlot, L1Entry, Ldt, Msr, MsrWrite, Register, Segment,
    SegmentFault, Selector, XstateStep, gdt,
};
use selfsame_xstate::Xcr0;

use crate::step::{Orders, step};
use crate::xsave::{halves, write_xcr0};

/// Where a hypervisor has the tables that a switch writes.
pub trait DescriptorTables {
    /// Returns the lowest-level entry of a slot, in the page tables of its domain, which need not be loaded.
    fn l1_entry(&mut self, slot: GuestSlot) -> *mut u64;

    /// Returns this CPU's page of descriptors.
    fn hypervisor_page(&mut self, bitness: Bitness) -> *mut [u64; 512];
}

/// The CPU that this code runs on: it executes what a [`Switcher`](selfsame_switch::Switcher) plans.
#[derive(Debug)]
pub struct Ring0<T> {
    tables: T,
    has_fsgsbase: bool,
}

impl<T: DescriptorTables> Ring0<T> {
    /// Takes over the CPU. `has_fsgsbase` tells whether it has RDFSBASE and its kin, and CR4 enables them.
    ///
    /// # Safety
    ///
    /// 1. This is ring 0, and the value is used on this CPU alone.
    /// 2. What the [`Platform`](selfsame_switch::Platform) says is what this CPU has, and what
    ///    [`Own`](selfsame_switch::Own) says is where this CPU has it: tables, page tables, registers.
    /// 3. What `tables` returns may be written while a switch runs, and is what the CPU and its page tables use.
    /// 4. Page tables, save areas and tables of a vCPU stay where they are while it is resident.
    pub const unsafe fn new(tables: T, has_fsgsbase: bool) -> Self {
        Self { tables, has_fsgsbase }
    }
}

/// What LGDT reads.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Reads a register with one instruction.
macro_rules! read {
    ($type:ty, $instruction:literal) => {{
        let value: $type;
        // SAFETY: reading a segment or debug register changes nothing; DR7.GD is never set.
        unsafe { asm!($instruction, out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

/// Writes a register with one instruction.
macro_rules! write {
    ($instruction:literal, $value:expr) => {{
        // SAFETY: 2 of `new`: what is written is what the plan was made for, and its caller says why it is harmless.
        unsafe { asm!($instruction, in(reg) $value, options(readonly, nostack, preserves_flags)) }
    }};
}

impl<T: DescriptorTables> Cpu for Ring0<T> {
    #[inline]
    fn wrmsr(&mut self, write: MsrWrite) {
        let (low, high) = halves(write.value());
        let number = write.msr().number();
        // SAFETY: only a plan makes such a write, and 2 of `new` is what it is planned by.
        unsafe { asm!("wrmsr", in("ecx") number, in("eax") low, in("edx") high, options(nostack, preserves_flags)) };
    }

    #[inline]
    fn rdmsr(&mut self, msr: Msr) -> u64 {
        rdmsr(msr.number())
    }

    #[inline]
    fn read_base(&mut self, register: Register) -> u64 {
        let base: u64;
        match register {
            // SAFETY: 2 of `new`: CR4 enables the instruction.
            Register::FsBase if self.has_fsgsbase => unsafe {
                asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags));
            },
            // SAFETY: as above.
            Register::GsBase if self.has_fsgsbase => unsafe {
                asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags));
            },
            _ => return rdmsr(register.row().number),
        }
        base
    }

    #[inline]
    fn xsetbv(&mut self, xcr0: Xcr0) {
        // SAFETY: 1 and 2 of `new`: the plan writes what the CPU takes.
        unsafe { write_xcr0(xcr0.bits()) };
    }

    /// For kernels whose own code uses no extended state; others leave the step to their entry stub.
    fn xstate_step(&mut self, planned: &XstateStep) {
        let orders = Orders::of_step(planned);
        // SAFETY: 1, 2 and 4 of `new`; no residence ends here. What is compiled here counts every register as overwritten.
        unsafe { asm!("call {}", sym step, in("rdi") &raw const orders, clobber_abi("sysv64")) };
    }

    #[inline]
    fn lgdt(&mut self, gdtr: Gdtr) {
        let pointer = TablePointer { limit: gdtr.limit(), base: gdtr.base().linear() };
        // SAFETY: 2 and 3 of `new`: the table is mapped there, and has the hypervisor's descriptors at the same places.
        unsafe { asm!("lgdt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
    }

    fn write_ldt_descriptor(&mut self, bitness: Bitness, ldt: Ldt) {
        let place = self.tables.hypervisor_page(bitness).cast::<u64>();
        let at = usize::from((gdt::LDT_SELECTOR - gdt::FIRST_HYPERVISOR_SELECTOR) >> 3);
        let [low, high] = ldt_descriptor(ldt);
        for (at, value) in [(at, 0), (at + 1, high), (at, low)] {
            // SAFETY: 3 of `new`; both places are in the page. Not present while it is half written.
            unsafe { place.wrapping_add(at).write_volatile(value) };
        }
    }

    fn lldt(&mut self, selector: Selector) {
        // SAFETY: null, or the descriptor that was written last.
        unsafe { asm!("lldt {:x}", in(reg) selector.value(), options(readonly, nostack, preserves_flags)) };
    }

    fn write_l1(&mut self, slot: GuestSlot, entry: L1Entry) {
        // SAFETY: 3 of `new`.
        unsafe { self.tables.l1_entry(slot).write_volatile(entry.bits()) };
    }

    fn invlpg(&mut self, slot: GuestSlot) {
        // SAFETY: what leaves the TLB is read again from page tables.
        unsafe { asm!("invlpg [{}]", in(reg) slot.linear(), options(nostack, preserves_flags)) };
    }

    fn write_cr3(&mut self, cr3: Cr3) {
        // SAFETY: 2 and 4 of `new`: all page tables map the hypervisor alike.
        unsafe { asm!("mov cr3, {}", in(reg) cr3.bits(), options(nostack, preserves_flags)) };
    }

    fn write_cr4(&mut self, cr4: Cr4) {
        // SAFETY: 2 of `new`: it is this hypervisor's own value, but for what is a PV guest's choice.
        unsafe { asm!("mov cr4, {}", in(reg) cr4.bits(), options(nostack, preserves_flags)) };
    }

    fn set_task_switched(&mut self) {
        // SAFETY: what is compiled here runs with CR0.TS only if it uses no extended state.
        unsafe {
            asm!("mov {0}, cr0", "or {0:e}, 8", "mov cr0, {0}", out(reg) _, options(nomem, nostack));
        }
    }

    #[inline]
    fn clear_task_switched(&mut self) {
        // SAFETY: nothing here waits for #NM.
        unsafe { asm!("clts", options(nomem, nostack, preserves_flags)) };
    }

    fn selector(&mut self, segment: Segment) -> Selector {
        Selector::new(match segment {
            Segment::Ds => read!(u16, "mov {:x}, ds"),
            Segment::Es => read!(u16, "mov {:x}, es"),
            Segment::Fs => read!(u16, "mov {:x}, fs"),
            Segment::Gs => read!(u16, "mov {:x}, gs"),
        })
    }

    fn load_selector(&mut self, segment: Segment, selector: Selector) -> Result<(), SegmentFault> {
        if !selector.is_null() && !is_loadable(selector) {
            return Err(SegmentFault { segment, selector });
        }
        // Null, or looked at above: descriptors change through the hypervisor alone, which is here.
        let value = u32::from(selector.value());
        match segment {
            Segment::Ds => write!("mov ds, {:e}", value),
            Segment::Es => write!("mov es, {:e}", value),
            Segment::Fs => write!("mov fs, {:e}", value),
            Segment::Gs => write!("mov gs, {:e}", value),
        }
        Ok(())
    }

    fn read_debug(&mut self, register: DebugRegister) -> u64 {
        match register {
            DebugRegister::Dr0 => read!(u64, "mov {}, dr0"),
            DebugRegister::Dr1 => read!(u64, "mov {}, dr1"),
            DebugRegister::Dr2 => read!(u64, "mov {}, dr2"),
            DebugRegister::Dr3 => read!(u64, "mov {}, dr3"),
            DebugRegister::Dr6 => read!(u64, "mov {}, dr6"),
            DebugRegister::Dr7 => read!(u64, "mov {}, dr7"),
        }
    }

    /// The plan turns no breakpoint on that matches an address of the hypervisor
    /// ([`DebugState::judge_pv`](selfsame_switch::DebugState::judge_pv)), and HVM guests' DR7 goes in with the guest.
    fn write_debug(&mut self, register: DebugRegister, value: u64) {
        match register {
            DebugRegister::Dr0 => write!("mov dr0, {}", value),
            DebugRegister::Dr1 => write!("mov dr1, {}", value),
            DebugRegister::Dr2 => write!("mov dr2, {}", value),
            DebugRegister::Dr3 => write!("mov dr3, {}", value),
            DebugRegister::Dr6 => write!("mov dr6, {}", value),
            DebugRegister::Dr7 => write!("mov dr7, {}", value),
        }
    }
}

#[inline]
fn rdmsr(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: `Ring0` is in ring 0, and asks for registers that the plan knows the CPU to have.
    unsafe {
        asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Tells whether loading a selector into DS, ES, FS or GS does not fault: it may be read by its privilege (VERR), and its
/// descriptor is present (LAR). Neither instruction faults on any selector (SDM vol. 2, VERR and LAR).
fn is_loadable(selector: Selector) -> bool {
    const PRESENT: u32 = 1 << 15;
    let (is_readable, mut rights): (u8, u32);
    // SAFETY: they look at the tables that are loaded, and change ZF and one register.
    unsafe {
        asm!(
            "xor {rights:e}, {rights:e}",
            "verr {selector:x}",
            "setz {is_readable}",
            "lar {rights:e}, {selector:e}",
            selector = in(reg) u32::from(selector.value()),
            is_readable = out(reg_byte) is_readable,
            rights = out(reg) rights,
            options(readonly, nostack)
        );
    }
    rights &= PRESENT;
    is_readable != 0 && rights != 0
}

/// A descriptor of an LDT in 64-bit mode: two places (SDM vol. 3A, 8.2.3).
fn ldt_descriptor(ldt: Ldt) -> [u64; 2] {
    const PRESENT_LDT: u64 = 0x82 << 40;
    let (base, limit) = (ldt.base(), u64::from(ldt.limit()));
    [limit | (base & 0xff_ffff) << 16 | PRESENT_LDT | (base >> 24 & 0xff) << 56, base >> 32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_switch::{PerDomainArea, VcpuId};

    #[test]
    fn the_base_of_an_ldt_is_spread_over_its_descriptor() {
        let area = PerDomainArea::new(0xffff_8200_0000_0000).unwrap();
        let ldt = Ldt::of_vcpu(area, VcpuId::new(3).unwrap(), 17).unwrap();
        let [low, high] = ldt_descriptor(ldt);
        assert_eq!(low >> 16 & 0xff_ffff | (low >> 56) << 24 | high << 32, ldt.base());
        assert_eq!((low & 0xffff, low >> 40 & 0xff), (17 * 8 - 1, 0x82));
    }

    #[test]
    fn selectors_of_this_programs_segments_are_loadable_and_stray_ones_are_not() {
        const LINUX_KERNEL_DATA: u16 = 0x18;
        let (ss, cs): (u16, u16);
        // SAFETY: reading segment registers changes nothing.
        unsafe { asm!("mov {0:x}, ss", "mov {1:x}, cs", out(reg) ss, out(reg) cs, options(nomem, nostack)) };
        assert!(is_loadable(Selector::new(ss)) && is_loadable(Selector::new(cs)));
        assert!(!is_loadable(Selector::new(LINUX_KERNEL_DATA)), "ring 0's alone");
        assert!(!is_loadable(Selector::new(0xfff8)), "beyond the limit");
    }
}
