//! Why a run gave no serial text that can be trusted.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

use super::serial::Serial;

/// How many of the last serial lines an error shows.
const TAIL_LINES: usize = 5;

/// A run that did not end as an image ends.
#[derive(Debug)]
pub(crate) struct RunError {
    /// The emulator and the machine, as in `Bochs ryzen +cet`.
    pub(crate) machine: String,
    /// What went wrong.
    pub(crate) reason: Reason,
    /// What came out before.
    pub(crate) serial: Serial,
}

/// What went wrong in a run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum Reason {
    /// The emulator refused the machine, or met what it cannot do; its own lines.
    #[error("the emulator gave up: {}", .0.join("; "))]
    Panic(Vec<String>),
    /// A fault could not be delivered in any way; the emulator's line of the instruction.
    #[error("triple fault at {instruction}")]
    TripleFault { instruction: String },
    /// The image did not end; the emulator's last warnings.
    #[error("it was still running after {:.1} s and was ended{}", limit.as_secs_f64(), said(log))]
    TimeLimit { limit: Duration, log: Vec<String> },
    /// The emulator ended before the image asked for it; its last lines.
    #[error("the emulator ended by itself ({status}){}", said(log))]
    Ended { status: ExitStatus, log: Vec<String> },
    /// The image ended and had written nothing.
    #[error("nothing came out of the serial port")]
    NoSerial,
    #[error("{program} cannot be started: {source}; install it, or put it on PATH")]
    NotStarted { program: String, source: io::Error },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// For `map_err` on what was done to `path`.
pub(crate) fn file_reason(path: &Path) -> impl FnOnce(io::Error) -> Reason {
    let path = path.to_owned();
    move |source| Reason::File { path, source }
}

fn said(log: &[String]) -> String {
    if log.is_empty() { String::new() } else { format!("; it said: {}", log.join("; ")) }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.machine, self.reason)?;
        for line in self.serial.tail(TAIL_LINES) {
            write!(f, "\n  serial: {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_machine_the_reason_and_what_came_last() {
        let error = RunError {
            machine: "Bochs ryzen".to_owned(),
            reason: Reason::TimeLimit { limit: Duration::from_millis(1500), log: vec!["HLT".to_owned()] },
            serial: Serial::from_bytes(b"1\n2\n3\n4\n5\n6\n"),
        };
        assert_eq!(
            error.to_string(),
            "Bochs ryzen: it was still running after 1.5 s and was ended; it said: HLT\n  \
             serial: 2\n  serial: 3\n  serial: 4\n  serial: 5\n  serial: 6"
        );
    }
}
