//! The serial port COM1: what a program says, it says here.
#![expect(unsafe_code, reason = "UNSAFETY: speaks to the serial port")]

use core::fmt;

use crate::port;

const COM1: u16 = 0x3f8;
const INTERRUPT_ENABLE: u16 = COM1 + 1;
const FIFO_CONTROL: u16 = COM1 + 2;
const LINE_CONTROL: u16 = COM1 + 3;
const MODEM_CONTROL: u16 = COM1 + 4;
const LINE_STATUS: u16 = COM1 + 5;

/// Line control: 8 bits, no parity, one stop bit.
const EIGHT_BITS: u8 = 3;
/// Line control: the first two ports are the divisor.
const DIVISOR_LATCH: u8 = 0x80;
/// Line status: a byte can be given.
const CAN_TAKE_A_BYTE: u8 = 1 << 5;
/// Line status: the last byte has left.
const IS_DRAINED: u8 = 1 << 6;

/// The serial port COM1, at 115200 baud.
///
/// ```no_run
/// use core::fmt::Write;
/// use selfsame_hypervisor::Serial;
///
/// writeln!(Serial::com1(), "hello")?;
/// # Ok::<(), core::fmt::Error>(())
/// ```
#[derive(Debug)]
pub struct Serial(());

impl Serial {
    /// The port, which the boot CPU has set up. CPUs that write at the same time mix their bytes.
    pub fn com1() -> Self {
        Self(())
    }

    /// Sets the port up.
    pub(crate) fn initialise() {
        let steps = [
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, DIVISOR_LATCH),
            (COM1, 1),
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, EIGHT_BITS),
            // The queues are on, and empty.
            (FIFO_CONTROL, 7),
            // Ready to send, terminal ready.
            (MODEM_CONTROL, 3),
        ];
        for (port, value) in steps {
            // SAFETY: the port is the serial port's, which touches no memory.
            unsafe { port::write(port, value) };
        }
    }

    /// Waits until everything has left: an emulator that ends before loses the last bytes.
    pub(crate) fn drain(&mut self) {
        wait_for(IS_DRAINED);
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            wait_for(CAN_TAKE_A_BYTE);
            // SAFETY: the port is the serial port's, which touches no memory.
            unsafe { port::write(COM1, byte) };
        }
        Ok(())
    }
}

fn wait_for(status: u8) {
    loop {
        // SAFETY: the port is the serial port's; reading the status clears errors of reception, which nobody looks at.
        let now = unsafe { port::read(LINE_STATUS) };
        if now & status != 0 {
            return;
        }
        core::hint::spin_loop();
    }
}
