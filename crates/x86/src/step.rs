//! What is left to do right before a guest runs, in assembly.
//!
//! Compiled code may use SSE at any place: between the load of a guest's state and the guest, and between the guest and
//! the save, none of it runs. An entry stub puts the XMM registers and MXCSR back that the exit stub had put away, calls
//! [`step`], loads the general registers, and enters the guest.
#![expect(unsafe_code, reason = "UNSAFETY: moves extended state, to and from memory that the caller vouches for")]

use core::arch::naked_asm;
use core::mem::offset_of;
use core::ptr::NonNull;

use selfsame_switch::{Entry, Residence, XstateStep};
use selfsame_xstate::SaveMethod;

/// An [`Entry`] as [`step`] reads it.
///
/// ```
/// use selfsame_switch::Entry;
/// use selfsame_x86::Orders;
///
/// assert!(Orders::new(&Entry::default(), None).are_empty());
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Orders {
    /// Which of the following are meant, and how state is moved.
    what: u64,
    xss_save: u64,
    xcr0_wide: u64,
    save_area: u64,
    save_mask: u64,
    load_area: u64,
    load_mask: u64,
    xcr0_final: u64,
    xss_final: u64,
    pl0_ssp: u64,
    xfd_err: u64,
    xfd: u64,
    /// The residence that ends; `None` is zero, as the assembly has it.
    released: Option<NonNull<u32>>,
}

const XSS_SAVE: u64 = 1 << 0;
const XCR0_WIDE: u64 = 1 << 1;
const SAVE: u64 = 1 << 2;
const LOAD: u64 = 1 << 3;
const CLEAR_FP_POINTERS: u64 = 1 << 4;
const XCR0_FINAL: u64 = 1 << 5;
const XSS_FINAL: u64 = 1 << 6;
const PL0_SSP: u64 = 1 << 7;
const XFD_ERR: u64 = 1 << 8;
const XFD: u64 = 1 << 9;
const TASK_SWITCHED: u64 = 1 << 10;
/// By XSAVES, else by XSAVE, else by FXSAVE.
const BY_XSAVES: u64 = 1 << 11;
const BY_XSAVE: u64 = 1 << 12;

impl Orders {
    /// Nothing.
    pub const NONE: Self = Self {
        what: 0,
        xss_save: 0,
        xcr0_wide: 0,
        save_area: 0,
        save_mask: 0,
        load_area: 0,
        load_mask: 0,
        xcr0_final: 0,
        xss_final: 0,
        pl0_ssp: 0,
        xfd_err: 0,
        xfd: 0,
        released: None,
    };

    /// Writes down what `entry` says. `released` is the residence of the vCPU that [`Entry::releases`] names; whoever looks
    /// at the vCPU after it has ended finds its state in memory. The orders do not borrow it: that it is still there when they
    /// are carried out is part of what the caller of [`step`] owes.
    #[must_use]
    pub fn new(entry: &Entry, released: Option<&Residence>) -> Self {
        let mut orders = Self { released: released.map(Residence::as_ptr), ..Self::NONE };
        if let Some(step) = entry.step() {
            orders.take_step(step);
        }
        orders.order(PL0_SSP, |orders| &mut orders.pl0_ssp, entry.pl0_ssp());
        orders.order(XFD_ERR, |orders| &mut orders.xfd_err, entry.xfd_err().map(|value| value.bits()));
        orders.order(XFD, |orders| &mut orders.xfd, entry.xfd().map(|value| value.bits()));
        if entry.sets_task_switched() {
            orders.what |= TASK_SWITCHED;
        }
        orders
    }

    /// The same, with where the residence lies that ends: what [`Residence::as_ptr`] returned, for a caller that could not
    /// keep the vCPU borrowed until now.
    #[must_use]
    pub const fn releasing(self, released: Option<NonNull<u32>>) -> Self {
        Self { released, ..self }
    }

    /// The move of extended state alone.
    pub(crate) fn of_step(step: &XstateStep) -> Self {
        let mut orders = Self::NONE;
        orders.take_step(step);
        orders
    }

    /// Tells whether there is nothing to do.
    #[must_use]
    pub const fn are_empty(&self) -> bool {
        self.what == 0 && self.released.is_none()
    }

    fn take_step(&mut self, step: &XstateStep) {
        self.what |= match step.method() {
            SaveMethod::Xsaves => BY_XSAVES,
            SaveMethod::Xsave => BY_XSAVE,
            SaveMethod::Fxsave => 0,
        };
        if step.clears_fp_pointers() {
            self.what |= CLEAR_FP_POINTERS;
        }
        self.order(XSS_SAVE, |orders| &mut orders.xss_save, step.xss_save().map(|value| value.bits()));
        self.order(XCR0_WIDE, |orders| &mut orders.xcr0_wide, step.xcr0_wide().map(|value| value.bits()));
        self.order(SAVE, |orders| &mut orders.save_area, step.save_area().map(|area| area.get()));
        self.save_mask = step.save_mask().bits();
        self.order(LOAD, |orders| &mut orders.load_area, step.load_area().map(|area| area.get()));
        self.load_mask = step.load_mask().bits();
        self.order(XCR0_FINAL, |orders| &mut orders.xcr0_final, step.xcr0_final().map(|value| value.bits()));
        self.order(XSS_FINAL, |orders| &mut orders.xss_final, step.xss_final().map(|value| value.bits()));
    }

    fn order(&mut self, what: u64, place: impl FnOnce(&mut Self) -> &mut u64, value: Option<u64>) {
        if let Some(value) = value {
            self.what |= what;
            *place(self) = value;
        }
    }
}

/// Does what is ordered, in the order that [`Entry`] and [`XstateStep`] have: IA32_XSS and XCR0 for the move, save, load,
/// IA32_XSS and XCR0 for the guest, the end of a residence, IA32_PL0_SSP, IA32_XFD_ERR, IA32_XFD, CR0.TS.
///
/// It uses RAX, RCX, RDX and the flags, no stack beyond its return address, and no other register but those it loads: an
/// entry stub calls it when everything else of the guest is in place. A kernel whose own code uses none of these registers
/// calls it as a function.
///
/// # Safety
///
/// 1. This is ring 0, CR0.TS is clear, and CR4.OSXSAVE is set unless state is moved by FXSAVE.
/// 2. `orders` are of an [`Entry`] of this CPU's [`Switcher`](selfsame_switch::Switcher), not done yet, on a CPU of the
///    [`Platform`](selfsame_switch::Platform) that it was made with.
/// 3. The areas are where the vCPUs say, as large as their components need; images that software laid out make no fault.
/// 4. The registers hold what the vCPU left there that is saved; nothing that runs afterwards needs what they held.
/// 5. The residence that the orders end, if any, is the word of a [`Residence`], which lives and stays where it is until the
///    step has run: `orders` are copied at will and borrow nothing.
///
/// 1 to 4 are about what the orders move and write: those that only end a residence need no more than 5.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn step(orders: &Orders) {
    naked_asm!(
        "mov eax, dword ptr [rdi + {what}]",
        "test eax, {any_step}",
        "jz 60f",

        "test eax, {xss_save_ordered}",
        "jz 30f",
        "mov ecx, {xss_number}",
        "mov eax, dword ptr [rdi + {xss_save}]",
        "mov edx, dword ptr [rdi + {xss_save} + 4]",
        "wrmsr",
        "30: test dword ptr [rdi + {what}], {xcr0_wide_ordered}",
        "jz 31f",
        "xor ecx, ecx",
        "mov eax, dword ptr [rdi + {xcr0_wide}]",
        "mov edx, dword ptr [rdi + {xcr0_wide} + 4]",
        "xsetbv",

        "31: test dword ptr [rdi + {what}], {save_ordered}",
        "jz 20f",
        "mov rcx, qword ptr [rdi + {save_area}]",
        "mov eax, dword ptr [rdi + {save_mask}]",
        "mov edx, dword ptr [rdi + {save_mask} + 4]",
        "test dword ptr [rdi + {what}], {by_xsaves}",
        "jz 32f",
        "xsaves64 [rcx]",
        "jmp 20f",
        "32: test dword ptr [rdi + {what}], {by_xsave}",
        "jz 33f",
        "xsave64 [rcx]",
        "jmp 20f",
        "33: fxsave64 [rcx]",

        "20: test dword ptr [rdi + {what}], {load_ordered}",
        "jz 40f",
        "test dword ptr [rdi + {what}], {clear_fp_pointers}",
        "jz 21f",
        "fnclex",
        "ffree st(7)",
        "fild dword ptr [rdi + {what}]",
        "21: mov rcx, qword ptr [rdi + {load_area}]",
        "mov eax, dword ptr [rdi + {load_mask}]",
        "mov edx, dword ptr [rdi + {load_mask} + 4]",
        "test dword ptr [rdi + {what}], {by_xsaves}",
        "jz 22f",
        "xrstors64 [rcx]",
        "jmp 40f",
        "22: test dword ptr [rdi + {what}], {by_xsave}",
        "jz 23f",
        "xrstor64 [rcx]",
        "jmp 40f",
        "23: fxrstor64 [rcx]",

        "40: test dword ptr [rdi + {what}], {xcr0_final_ordered}",
        "jz 41f",
        "xor ecx, ecx",
        "mov eax, dword ptr [rdi + {xcr0_final}]",
        "mov edx, dword ptr [rdi + {xcr0_final} + 4]",
        "xsetbv",
        "41: test dword ptr [rdi + {what}], {xss_final_ordered}",
        "jz 60f",
        "mov ecx, {xss_number}",
        "mov eax, dword ptr [rdi + {xss_final}]",
        "mov edx, dword ptr [rdi + {xss_final} + 4]",
        "wrmsr",

        "60: mov rcx, qword ptr [rdi + {released}]",
        "test rcx, rcx",
        "jz 61f",
        "mov dword ptr [rcx], -1",
        "61: test dword ptr [rdi + {what}], {any_last}",
        "jz 70f",
        "test dword ptr [rdi + {what}], {pl0_ssp_ordered}",
        "jz 62f",
        "mov ecx, {pl0_ssp_number}",
        "mov eax, dword ptr [rdi + {pl0_ssp}]",
        "mov edx, dword ptr [rdi + {pl0_ssp} + 4]",
        "wrmsr",
        "62: test dword ptr [rdi + {what}], {xfd_err_ordered}",
        "jz 63f",
        "mov ecx, {xfd_err_number}",
        "mov eax, dword ptr [rdi + {xfd_err}]",
        "mov edx, dword ptr [rdi + {xfd_err} + 4]",
        "wrmsr",
        "63: test dword ptr [rdi + {what}], {xfd_ordered}",
        "jz 64f",
        "mov ecx, {xfd_number}",
        "mov eax, dword ptr [rdi + {xfd}]",
        "mov edx, dword ptr [rdi + {xfd} + 4]",
        "wrmsr",
        "64: test dword ptr [rdi + {what}], {task_switched}",
        "jz 70f",
        "mov rax, cr0",
        "or eax, 8",
        "mov cr0, rax",
        "70: ret",
        what = const offset_of!(Orders, what),
        xss_save = const offset_of!(Orders, xss_save),
        xcr0_wide = const offset_of!(Orders, xcr0_wide),
        save_area = const offset_of!(Orders, save_area),
        save_mask = const offset_of!(Orders, save_mask),
        load_area = const offset_of!(Orders, load_area),
        load_mask = const offset_of!(Orders, load_mask),
        xcr0_final = const offset_of!(Orders, xcr0_final),
        xss_final = const offset_of!(Orders, xss_final),
        pl0_ssp = const offset_of!(Orders, pl0_ssp),
        xfd_err = const offset_of!(Orders, xfd_err),
        xfd = const offset_of!(Orders, xfd),
        released = const offset_of!(Orders, released),
        any_step = const XSS_SAVE | XCR0_WIDE | SAVE | LOAD | XCR0_FINAL | XSS_FINAL,
        any_last = const PL0_SSP | XFD_ERR | XFD | TASK_SWITCHED,
        xss_save_ordered = const XSS_SAVE,
        xcr0_wide_ordered = const XCR0_WIDE,
        save_ordered = const SAVE,
        load_ordered = const LOAD,
        clear_fp_pointers = const CLEAR_FP_POINTERS,
        xcr0_final_ordered = const XCR0_FINAL,
        xss_final_ordered = const XSS_FINAL,
        pl0_ssp_ordered = const PL0_SSP,
        xfd_err_ordered = const XFD_ERR,
        xfd_ordered = const XFD,
        task_switched = const TASK_SWITCHED,
        by_xsaves = const BY_XSAVES,
        by_xsave = const BY_XSAVE,
        xss_number = const 0xda0,
        pl0_ssp_number = const 0x6a4,
        xfd_err_number = const 0x1c5,
        xfd_number = const 0x1c4,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_switch::CpuId;

    #[test]
    fn a_step_ends_the_residence_that_it_is_given() {
        let (ends, stays) = (Residence::in_memory(), Residence::in_memory());
        for residence in [&ends, &stays] {
            residence.claim(CpuId::new(3)).unwrap();
        }
        let orders = Orders::new(&Entry::default(), None);
        // SAFETY: nothing is moved or written, and no residence ends.
        unsafe { step(&orders) };
        assert_eq!(ends.cpu(), Some(CpuId::new(3)));
        let orders = orders.releasing(Some(ends.as_ptr()));
        assert!(!orders.are_empty());
        // SAFETY: nothing is moved or written but the residence, which outlives the step.
        unsafe { step(&orders) };
        assert_eq!((ends.cpu(), stays.cpu()), (None, Some(CpuId::new(3))));
    }
}
