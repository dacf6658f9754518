//! A value that one CPU makes and others then see.
#![expect(unsafe_code, reason = "UNSAFETY: shares what a cell holds between CPUs")]

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

/// A place for one value, which is given once and never changes. Reading does not wait.
///
/// ```
/// use selfsame_hypervisor::Published;
///
/// static ANSWER: Published<u32> = Published::new();
/// assert_eq!(ANSWER.get(), None);
/// assert_eq!(ANSWER.publish(42), Ok(()));
/// assert_eq!(ANSWER.get(), Some(&42));
/// assert_eq!(ANSWER.publish(43), Err(43));
/// ```
pub struct Published<T> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
}

/// Nothing is there, and nobody is writing.
const EMPTY: u8 = 0;
/// One CPU is writing.
const TAKEN: u8 = 1;
/// The value is there for good.
const READY: u8 = 2;

// SAFETY: the value is written by the one CPU that takes the state from EMPTY to TAKEN, and read by shared reference
// after it is READY: it crosses CPUs (`Send`) and is seen by many (`Sync`).
unsafe impl<T: Send + Sync> Sync for Published<T> {}

impl<T> Published<T> {
    /// A place without a value.
    pub const fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(None) }
    }

    /// Gives the value.
    ///
    /// # Errors
    ///
    /// Gives `value` back if there is one already.
    pub fn publish(&self, value: T) -> Result<(), T> {
        if self.state.compare_exchange(EMPTY, TAKEN, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: only the CPU that took the state from EMPTY comes here, and nobody reads before READY.
        unsafe { *self.value.get() = Some(value) };
        self.state.store(READY, Ordering::Release);
        Ok(())
    }

    /// The value, once it is there.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != READY {
            return None;
        }
        // SAFETY: after READY nobody writes.
        unsafe { &*self.value.get() }.as_ref()
    }
}

impl<T> Default for Published<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Published").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::vec::Vec;

    #[test]
    fn of_many_that_publish_at_once_one_wins_and_all_see_its_value() {
        for _ in 0..200 {
            let place = Published::new();
            let won: Vec<u32> = thread::scope(|scope| {
                let publish = |value| {
                    let place = &place;
                    scope.spawn(move || place.publish(value).is_ok().then_some(value))
                };
                let threads: Vec<_> = (0..4).map(publish).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(won.len(), 1);
            assert_eq!(place.get(), won.first());
        }
    }
}
