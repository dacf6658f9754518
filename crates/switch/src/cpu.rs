//! Every privileged operation that a switch or a run may make.

use selfsame_xstate::Xcr0;

use crate::{
    Bitness, Cr3, Cr4, DebugRegister, Gdtr, GuestSlot, L1Entry, Ldt, Msr, MsrWrite, Register, Segment, SegmentFault,
    Selector, XstateStep,
};

/// A physical CPU, or a model of one.
///
/// Plans call nothing else, and what they pass are values that only this crate and `selfsame-xstate` make. An implementation
/// that touches a real CPU is constructed by an `unsafe` function, whose caller promises what a plan cannot know: that save
/// areas, tables and page tables are where the vCPUs say, and stay there while a vCPU is resident.
///
/// Methods do one thing at once and in the order of the calls. They are never generic calls through a table: plans are
/// monomorphised.
pub trait Cpu {
    /// WRMSR. For FS_BASE, GS_BASE and KERNEL_GS_BASE, WRFSBASE and its kin do as well.
    fn wrmsr(&mut self, write: MsrWrite);

    /// RDMSR. A run makes two at most, for a guest with XFD; a switch makes none.
    fn rdmsr(&mut self, msr: Msr) -> u64;

    /// Reads FS_BASE, GS_BASE or KERNEL_GS_BASE of a guest without RDMSR: RDFSBASE, RDGSBASE, and RDGSBASE between two
    /// SWAPGS. CR4.FSGSBASE is set. (A CPU without these instructions has to use RDMSR.)
    fn read_base(&mut self, register: Register) -> u64;

    /// XSETBV with ECX = 0.
    fn xsetbv(&mut self, xcr0: Xcr0);

    /// Moves extended state, as [`XstateStep`] says.
    fn xstate_step(&mut self, step: &XstateStep);

    /// LGDT.
    fn lgdt(&mut self, gdtr: Gdtr);

    /// Writes the descriptor of an LDT into this CPU's page of this bitness, at [`LDT_SELECTOR`](crate::gdt::LDT_SELECTOR).
    /// The descriptor is not present while it is half written.
    fn write_ldt_descriptor(&mut self, bitness: Bitness, ldt: Ldt);

    /// LLDT with [`LDT_SELECTOR`](crate::gdt::LDT_SELECTOR) or a null selector.
    fn lldt(&mut self, selector: Selector);

    /// Writes an entry of a lowest-level page table, through a mapping of its own: the domain's need not be loaded.
    fn write_l1(&mut self, slot: GuestSlot, entry: L1Entry);

    /// INVLPG of the address that the slot maps, in the address space that is loaded.
    fn invlpg(&mut self, slot: GuestSlot);

    /// MOV to CR3: what is not global leaves the TLB.
    fn write_cr3(&mut self, cr3: Cr3);

    /// MOV to CR4.
    fn write_cr4(&mut self, cr4: Cr4);

    /// Sets CR0.TS.
    fn set_task_switched(&mut self);

    /// CLTS.
    fn clear_task_switched(&mut self);

    /// Reads a segment register.
    fn selector(&mut self, segment: Segment) -> Selector;

    /// Loads a segment register from the tables that are loaded.
    ///
    /// # Errors
    ///
    /// Returns the fault: the register is unchanged, and the fault has been recovered from.
    fn load_selector(&mut self, segment: Segment, selector: Selector) -> Result<(), SegmentFault>;

    /// MOV from a debug register.
    fn read_debug(&mut self, register: DebugRegister) -> u64;

    /// MOV to a debug register.
    fn write_debug(&mut self, register: DebugRegister, value: u64);
}
