//! I/O ports.
#![expect(unsafe_code, reason = "UNSAFETY: a device may do anything when it is spoken to")]

use core::arch::asm;

/// Reads a byte.
///
/// # Safety
///
/// What the device does when it is read breaks nothing that Rust relies on.
pub(crate) unsafe fn read(port: u16) -> u8 {
    let value;
    // SAFETY: the caller's.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) };
    value
}

/// Writes a byte.
///
/// # Safety
///
/// What the device does with the byte breaks nothing that Rust relies on.
pub(crate) unsafe fn write(port: u16, value: u8) {
    // SAFETY: the caller's.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}
