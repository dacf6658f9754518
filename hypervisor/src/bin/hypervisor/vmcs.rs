//! The fields of a virtual-machine control structure (SDM vol. 3D, appendix B), and the instructions that reach them.
#![expect(unsafe_code, reason = "UNSAFETY: executes VMX instructions")]

use core::arch::asm;

/// A field, by its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field(pub u32);

macro_rules! fields {
    ($($name:ident $encoding:literal)*) => {
        impl Field {
            $(pub(crate) const $name: Self = Self($encoding);)*
        }
    };
}

fields! {
    HOST_CS 0x0c02
    HOST_TR 0x0c0c
    MSR_BITMAP 0x2004
    EPT_POINTER 0x201a
    XSS_EXITING 0x202c
    GUEST_PHYSICAL 0x2400
    LINK_POINTER 0x2800
    GUEST_PAT 0x2804
    GUEST_EFER 0x2806
    HOST_PAT 0x2c00
    HOST_EFER 0x2c02
    PIN_CONTROLS 0x4000
    PRIMARY_CONTROLS 0x4002
    EXCEPTIONS 0x4004
    EXIT_CONTROLS 0x400c
    ENTRY_CONTROLS 0x4012
    ENTRY_EVENT 0x4016
    ENTRY_EVENT_ERROR 0x4018
    SECONDARY_CONTROLS 0x401e
    INSTRUCTION_ERROR 0x4400
    EXIT_REASON 0x4402
    EXIT_EVENT 0x4404
    INSTRUCTION_LENGTH 0x440c
    SS_RIGHTS 0x4818
    CS_RIGHTS 0x4816
    INTERRUPTIBILITY 0x4824
    CR0_MASK 0x6000
    CR4_MASK 0x6002
    CR0_SHADOW 0x6004
    CR4_SHADOW 0x6006
    QUALIFICATION 0x6400
    GUEST_CR0 0x6800
    GUEST_CR3 0x6802
    GUEST_CR4 0x6804
    GUEST_DR7 0x681a
    GUEST_RSP 0x681c
    GUEST_RIP 0x681e
    GUEST_RFLAGS 0x6820
    HOST_CR0 0x6c00
    HOST_CR3 0x6c02
    HOST_CR4 0x6c04
    HOST_GS_BASE 0x6c08
    HOST_TR_BASE 0x6c0a
    HOST_GDTR_BASE 0x6c0c
    HOST_IDTR_BASE 0x6c0e
    HOST_S_CET 0x6c18
    HOST_SSP 0x6c1a
    HOST_INT_SSP 0x6c1c
}

impl Field {
    /// A guest's segment, by its place among ES, CS, SS, DS, FS, GS, LDTR, TR, GDTR, IDTR: selector (none of the last two).
    pub(crate) const fn selector(place: u32) -> Self {
        Self(0x0800 + 2 * place)
    }

    /// Its limit.
    pub(crate) const fn limit(place: u32) -> Self {
        Self(0x4800 + 2 * place)
    }

    /// Its access rights (none of the last two).
    pub(crate) const fn rights(place: u32) -> Self {
        Self(0x4814 + 2 * place)
    }

    /// Its base.
    pub(crate) const fn base(place: u32) -> Self {
        Self(0x6806 + 2 * place)
    }
}

/// Reads a field of the current structure; zero for one that the CPU does not have.
pub(crate) fn read(field: Field) -> u64 {
    let mut value: u64 = 0;
    // SAFETY: VMX is on where control structures are; VMREAD changes nothing but the register and flags.
    unsafe { asm!("vmread {}, {}", inout(reg) value, in(reg) u64::from(field.0), options(nostack)) };
    value
}

/// Writes a field of the current structure; what the CPU does not have stays away.
pub(crate) fn write(field: Field, value: u64) {
    // SAFETY: VMX is on where control structures are; what is written is judged by the CPU at the entry.
    unsafe { asm!("vmwrite {}, {}", in(reg) u64::from(field.0), in(reg) value, options(nostack)) };
}

/// Makes a structure the current one. Tells whether the CPU took it.
///
/// # Safety
///
/// `address` is a structure's, which is not active on another CPU and stays where it is.
pub(crate) unsafe fn load(address: u64) -> bool {
    let is_refused: u8;
    // SAFETY: the caller's.
    unsafe { asm!("vmptrld [{}]", "setbe {}", in(reg) &raw const address, out(reg_byte) is_refused, options(nostack)) };
    is_refused == 0
}

/// Brings a structure back to memory. It is neither active nor launched any more.
///
/// # Safety
///
/// `address` is a structure's.
pub(crate) unsafe fn clear(address: u64) {
    // SAFETY: the caller's.
    unsafe { asm!("vmclear [{}]", in(reg) &raw const address, options(nostack)) };
}

/// Enters VMX operation. Tells whether the CPU took it.
///
/// # Safety
///
/// `address` is that of a page with the CPU's revision, kept for it.
pub(crate) unsafe fn turn_on(address: u64) -> bool {
    let is_refused: u8;
    // SAFETY: the caller's.
    unsafe { asm!("vmxon [{}]", "setbe {}", in(reg) &raw const address, out(reg_byte) is_refused, options(nostack)) };
    is_refused == 0
}
