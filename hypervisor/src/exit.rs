//! The way out of an emulator, and the end where there is none.
#![expect(unsafe_code, reason = "UNSAFETY: ends the machine")]

use core::arch::asm;

use crate::port;
use crate::serial::Serial;

/// How a program ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It did what it was for.
    Success,
    /// It did not; what it wrote to the serial port says why.
    Failure,
}

/// QEMU's device isa-debug-exit, started with `iobase=0xf4`: ends with status `value * 2 + 1`.
const QEMU_EXIT: u16 = 0xf4;
/// Bochs ends, always with status 1, when this port has got [`BOCHS_WORD`].
const BOCHS_EXIT: u16 = 0x8900;
const BOCHS_WORD: &[u8] = b"Shutdown";

impl Outcome {
    /// What QEMU's device is given: its status is then 33 for success and 35 for failure.
    const fn qemu_value(self) -> u8 {
        match self {
            Self::Success => 0x10,
            Self::Failure => 0x11,
        }
    }
}

/// Ends the emulator that runs this program, once the serial port is drained. On a machine of metal the CPU halts.
pub fn exit(outcome: Outcome) -> ! {
    Serial::com1().drain();
    // SAFETY: nothing but the emulator's exit listens to this port.
    unsafe { port::write(QEMU_EXIT, outcome.qemu_value()) };
    for &byte in BOCHS_WORD {
        // SAFETY: nothing but the emulator's exit listens to this port.
        unsafe { port::write(BOCHS_EXIT, byte) };
    }
    halt()
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: with interrupts off, nothing happens on this CPU any more; after an NMI, it halts again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

#[test]
fn qemu_ends_with_another_status_than_its_own_errors() {
    let status = |outcome: Outcome| outcome.qemu_value() * 2 + 1;
    assert_eq!((status(Outcome::Success), status(Outcome::Failure)), (33, 35));
}
