//! Waiting, by the timer that every PC has.
#![expect(unsafe_code, reason = "UNSAFETY: programs the timer")]

use crate::port;

/// Channel 2 of the 8254 timer, which drives nothing but the speaker.
const COUNTER: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// Its gate (bit 0), the speaker (bit 1) and its output (bit 5).
const SYSTEM_CONTROL: u16 = 0x61;

/// Channel 2, both bytes, mode 0: the output rises when the count is done.
const ONE_SHOT: u8 = 0xb0;
const GATE: u8 = 1 << 0;
const SPEAKER: u8 = 1 << 1;
const OUTPUT: u8 = 1 << 5;

/// The timer's clock: 1193182 Hz.
const TICKS_PER_MILLISECOND: u32 = 1193;

/// The longest wait that fits the 16 bits of the counter.
const MAX_MICROSECONDS: u32 = 50_000;

/// Waits; at most 50 milliseconds. One CPU at a time may wait.
pub(crate) fn wait_microseconds(microseconds: u32) {
    let ticks = microseconds.min(MAX_MICROSECONDS) * TICKS_PER_MILLISECOND / 1000 + 1;
    let [low, high, ..] = ticks.to_le_bytes();
    // SAFETY: the port shows the gate and changes nothing.
    let control = unsafe { port::read(SYSTEM_CONTROL) };
    // SAFETY: opens the gate of a channel that nothing else uses, with the speaker off.
    unsafe { port::write(SYSTEM_CONTROL, control & !SPEAKER | GATE) };
    for (port, value) in [(COMMAND, ONE_SHOT), (COUNTER, low), (COUNTER, high)] {
        // SAFETY: starts a channel that nothing else uses.
        unsafe { port::write(port, value) };
    }
    loop {
        // SAFETY: as above.
        let control = unsafe { port::read(SYSTEM_CONTROL) };
        if control & OUTPUT != 0 {
            return;
        }
        core::hint::spin_loop();
    }
}
