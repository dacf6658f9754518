//! What code takes when nobody else is on its core.
//!
//! Machines for tests share their cores with others, who come and go within a millisecond and make everything half as fast. A
//! sample is made of short batches, and its time is that of the fastest: it says what the code takes, the others say how busy
//! the machine is.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Bencher;

/// How many batches make a sample: of less than a tenth of a millisecond each.
const BATCHES: u64 = 1024;

/// Measures `routine`, a batch at a time.
pub(crate) fn least<R>(bencher: &mut Bencher<'_>, mut routine: impl FnMut() -> R) {
    bencher.iter_custom(|times| {
        let batches = times.min(BATCHES);
        let of_batch = times / batches;
        let mut least = Duration::MAX;
        for _ in 0..batches {
            let start = Instant::now();
            for _ in 0..of_batch {
                black_box(routine());
            }
            least = least.min(start.elapsed());
        }
        least.mul_f64(times as f64 / of_batch as f64)
    });
}
