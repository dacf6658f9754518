//! One phase of long work: a bar on a terminal, a line in a log.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::duration_text;

/// A phase that has begun.
#[derive(Debug)]
pub(crate) struct Phase {
    what: String,
    bar: ProgressBar,
    start: Instant,
}

impl Phase {
    /// Begins a phase whose end is not known, counted in bytes.
    pub(crate) fn open_end(what: String) -> Self {
        Self::begin(what, ProgressBar::new_spinner(), "{spinner} {prefix} {bytes}")
    }

    /// Begins a phase of `total_bytes`.
    pub(crate) fn bytes(what: String, total_bytes: u64) -> Self {
        Self::begin(what, ProgressBar::new(total_bytes), "{prefix} {wide_bar} {bytes}/{total_bytes}")
    }

    /// Begins a phase of `total` pieces.
    pub(crate) fn pieces(what: String, total: u64) -> Self {
        Self::begin(what, ProgressBar::new(total), "{prefix} {wide_bar} {pos}/{len}")
    }

    fn begin(what: String, bar: ProgressBar, template: &str) -> Self {
        if stderr().is_terminal() {
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(what.clone());
        } else {
            anstream::eprintln!("{what} ...");
        }
        Self { what, bar, start: Instant::now() }
    }

    /// So much is done.
    pub(crate) fn reach(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// The phase is done; says so and how long it took.
    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
        anstream::eprintln!("{}: {}", self.what, duration_text(self.start.elapsed()));
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
