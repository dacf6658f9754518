//! The ports by which a guest of the reference hypervisor speaks to it, beside the serial port and the exits.
//!
//! On a machine of metal, and on the emulators, nobody listens: a guest runs there as well.
#![expect(unsafe_code, reason = "UNSAFETY: writes to ports that only a hypervisor listens to")]

use core::arch::asm;

/// A write of any width: the hypervisor runs another vCPU.
pub const YIELD: u16 = 0x5e0;

/// A write of 32 bits: how far the guest is.
pub const PROGRESS: u16 = 0x5e4;

/// Lets the hypervisor run another vCPU.
pub fn let_others_run() {
    write(YIELD, 0);
}

/// Tells the hypervisor how far this guest is.
pub fn tell_progress(progress: u32) {
    write(PROGRESS, progress);
}

fn write(port: u16, value: u32) {
    // SAFETY: a hypervisor that listens changes nothing of this program; nothing else listens.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)) };
}
