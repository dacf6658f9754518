//! Lines on the serial port, whole, whichever CPU says them.

use core::fmt::{self, Write};

use selfsame_hypervisor::{Lock, Serial};

static TURN: Lock<()> = Lock::new(());

/// Writes a line.
pub(crate) fn line(words: fmt::Arguments<'_>) {
    let _turn = TURN.lock();
    // Writing to the serial port does not fail.
    let _ = writeln!(Serial::com1(), "{words}");
}

/// Writes a line, as `println!` does.
macro_rules! say {
    ($($words:tt)*) => {
        crate::say::line(format_args!($($words)*))
    };
}
pub(crate) use say;
