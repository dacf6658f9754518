//! Progress on what takes long: on standard error, on a terminal, after a second.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// What is shorter goes without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far some work is.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: usize,
    done: usize,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins work of `total` steps.
    pub(crate) fn new(what: &'static str, total: usize) -> Self {
        Self { what, total, done: 0, start: Instant::now(), bar: None }
    }

    /// One more step is done.
    pub(crate) fn step(&mut self) {
        self.reach(self.done + 1);
    }

    /// `done` steps are done.
    pub(crate) fn reach(&mut self, done: usize) {
        self.done = done;
        if self.bar.is_none() && done < self.total && self.start.elapsed() >= PATIENCE && stderr().is_terminal() {
            let template = "{prefix} {wide_bar} {pos}/{len}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(self.total as u64).with_style(style);
            bar.set_prefix(self.what);
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
