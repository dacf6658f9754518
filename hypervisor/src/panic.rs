//! What becomes of a panic: a line on the serial port, and the end.

use core::fmt::Write;
use core::panic::PanicInfo;

use crate::exit::{Outcome, exit};
use crate::serial::Serial;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // Writing to the serial port does not fail.
    let _ = writeln!(Serial::com1(), "\npanic: {info}");
    exit(Outcome::Failure)
}
