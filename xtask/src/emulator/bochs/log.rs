//! Bochs's log, by which a run is judged: the process's own status is 1 in every case.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use crate::emulator::bounded::End;
use crate::emulator::run_error::Reason;

/// How Bochs marks a panic.
pub(super) const PANIC: &str = ">>PANIC<< ";

/// What it says when an image asks for the end; to Bochs that is a panic like any other.
const SHUTDOWN: &str = "Shutdown port: shutdown requested";

/// What it says when a fault cannot be delivered in any way. It then runs on and does nothing more.
const TRIPLE_FAULT: &str = "3rd (13) exception with no resolution";

/// How many of its lines an error shows.
const SHOWN_LINES: usize = 4;

/// How much of the end of a log is searched while it grows.
const TAIL_BYTES: i64 = 4096;

/// Returns whether the log that grows at `path` has come to a triple fault.
pub(super) fn ends_in_triple_fault(path: &Path) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    // A shorter file is read from its start, where it already stands.
    let _ = file.seek(SeekFrom::End(-TAIL_BYTES));
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).is_ok() && String::from_utf8_lossy(&tail).contains(TRIPLE_FAULT)
}

/// What a run came to that ended so and wrote this log.
///
/// # Errors
/// When the image did not ask for the end.
pub(super) fn judge(end: End, log: &str, limit: Duration) -> Result<(), Reason> {
    let lines: Vec<LogLine> = log.lines().filter_map(LogLine::parse).collect();
    let panics = panics(&lines);
    let warnings = || shown(lines.iter().filter(|line| line.level != 'i').map(|line| line.text.clone()).collect());
    match end {
        _ if !panics.is_empty() => Err(Reason::Panic(panics)),
        End::Killed => Err(match triple_fault(&lines) {
            Some(instruction) => Reason::TripleFault { instruction },
            None => Reason::TimeLimit { limit, log: warnings() },
        }),
        End::Exited(_) if lines.iter().any(|line| line.text.contains(SHUTDOWN)) => Ok(()),
        End::Exited(status) => Err(Reason::Ended { status, log: warnings() }),
    }
}

/// One line of the log, `TICKS LEVEL [UNIT] TEXT` without the blanks: `00004429894w[CPU0  ] HLT with IF=0`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogLine {
    /// `p` for a panic, `e` for an error, `w` for a warning, `i` for information.
    level: char,
    text: String,
}

impl LogLine {
    fn parse(line: &str) -> Option<Self> {
        let (head, text) = line.split_once(']')?;
        let (ticks, unit) = head.split_once('[')?;
        let level = ticks.trim_start_matches(|c: char| c.is_ascii_digit());
        let text = format!("{} {}", unit.trim(), text.trim()).trim().to_owned();
        Some(Self { level: level.parse().ok()?, text })
    }
}

/// Each line with the one before it.
fn pairs(lines: &[LogLine]) -> impl Iterator<Item = (Option<&LogLine>, &LogLine)> {
    std::iter::once(None).chain(lines.iter().map(Some)).zip(lines)
}

/// The panics that are no ends asked for, each after the error that led to it, if the line before it is one.
fn panics(lines: &[LogLine]) -> Vec<String> {
    let panics = pairs(lines).filter(|(_, line)| line.level == 'p' && !line.text.contains(SHUTDOWN));
    let both = panics.flat_map(|(before, line)| [before.filter(|line| line.level == 'e'), Some(line)]);
    shown(both.flatten().map(|line| line.text.replace(PANIC, "")).collect())
}

/// The instruction at which a triple fault came, which the line before shows; empty if none does.
fn triple_fault(lines: &[LogLine]) -> Option<String> {
    let (before, _) = pairs(lines).find(|(_, line)| line.text.contains(TRIPLE_FAULT))?;
    Some(before.map(|line| line.text.clone()).unwrap_or_default())
}

fn shown(mut lines: Vec<String>) -> Vec<String> {
    lines.split_off(lines.len().saturating_sub(SHOWN_LINES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended() -> End {
        End::Exited(ExitStatus::from_raw(0x100))
    }

    fn judged(end: End, log: &str) -> Result<(), Reason> {
        judge(end, log, Duration::from_secs(1))
    }

    #[test]
    fn an_end_that_the_image_asked_for_is_no_panic() {
        assert!(judged(ended(), "00004436765p[UNMAP ] >>PANIC<< Shutdown port: shutdown requested\n").is_ok());
    }

    #[test]
    fn a_panic_is_told_with_the_error_before_it() {
        let log = "00000000000e[      ] control:5: detection enabled\n\
                   00000000000i[      ] lt_dlhandle is 0x5\n\
                   00000000000e[      ] control:1: wrong value for parameter 'model'\n\
                   00000000000p[      ] >>PANIC<< control:1: cpu directive malformed.\n";
        let Err(Reason::Panic(lines)) = judged(ended(), log) else { panic!("no panic") };
        assert_eq!(lines, ["control:1: wrong value for parameter 'model'", "control:1: cpu directive malformed."]);
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_an_error() {
        assert!(matches!(judged(ended(), ""), Err(Reason::Ended { .. })));
    }

    #[test]
    fn what_is_killed_tells_its_warnings() {
        let log = "00004428082i[BIOS  ] Booting from 0000:7c00\n\
                   00004429894w[CPU0  ] [CPU0] HLT instruction with IF=0!\n";
        let Err(Reason::TimeLimit { log, .. }) = judged(End::Killed, log) else { panic!("no time limit") };
        assert_eq!(log, ["CPU0 [CPU0] HLT instruction with IF=0!"]);
    }

    #[test]
    fn a_triple_fault_is_told_with_its_instruction() {
        let log = "00004428143i[CPU0  ] 0x0000000000007c06>> int3  : CC\n\
                   00004428143w[CPU0  ] exception(): 3rd (13) exception with no resolution\n";
        let Err(Reason::TripleFault { instruction }) = judged(End::Killed, log) else { panic!("no triple fault") };
        assert_eq!(instruction, "CPU0 0x0000000000007c06>> int3  : CC");
    }
}
