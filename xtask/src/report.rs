//! The report at the end: what passed, what failed, what was not run and why.

use std::fmt;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

/// How a failure is marked.
pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
/// How what did not happen is marked.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();

/// How a step or a tier came out.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed(Duration),
    Failed(Duration),
    /// It was asked for and did not run, because of this.
    Skipped(String),
    /// It was not asked for; this says how to ask.
    NotRun(String),
}

/// One line of the report.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) word: &'static str,
    pub(crate) outcome: Outcome,
}

/// The outcomes of one run, in the order they came.
#[derive(Debug)]
pub(crate) struct Report {
    entries: Vec<Entry>,
}

impl Outcome {
    /// The word for the outcome.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed(_) => "FAILED",
            Self::Skipped(_) => "skipped",
            Self::NotRun(_) => "not run",
        }
    }
}

impl Report {
    /// A report of nothing.
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Returns whether anything failed.
    pub(crate) fn has_failure(&self) -> bool {
        self.failed().next().is_some()
    }

    fn failed(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Failed(_))).map(|entry| entry.word)
    }
}

/// Writes one line for each step that ran, one for each that did not, and the verdict last.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.entries.iter().map(|entry| entry.word.len()).max().unwrap_or(0);
        let mut ran = 0;
        let mut total = Duration::ZERO;
        for Entry { word, outcome } in &self.entries {
            if let Outcome::Passed(took) | Outcome::Failed(took) = outcome {
                let style = if matches!(outcome, Outcome::Passed(_)) { GREEN } else { RED };
                ran += 1;
                total += *took;
                writeln!(f, "{word:width$}  {style}{}{style:#}  {:>12}", outcome.word(), duration_text(*took))?;
            }
        }
        for Entry { word, outcome } in &self.entries {
            match outcome {
                Outcome::Skipped(why) => writeln!(f, "{YELLOW}{word}: skipped{YELLOW:#}, because {why}")?,
                Outcome::NotRun(how) => writeln!(f, "{YELLOW}not run{YELLOW:#}: {word} ({how})")?,
                Outcome::Passed(_) | Outcome::Failed(_) => {}
            }
        }
        let total = duration_text(total);
        let failed: Vec<&str> = self.failed().collect();
        if failed.is_empty() {
            write!(f, "{GREEN}passed{GREEN:#}: {ran} of {ran} steps in {total}")?;
        } else {
            let count = failed.len();
            write!(f, "{RED}FAILED{RED:#}: {count} of {ran} steps in {total}: {}", failed.join(", "))?;
        }
        match self.entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Skipped(_))).count() {
            0 => writeln!(f),
            skipped => writeln!(f, "; {YELLOW}{skipped} skipped{YELLOW:#}"),
        }
    }
}

/// A duration for people: tenths of a second below a minute, minutes and seconds above.
pub(crate) fn duration_text(duration: Duration) -> String {
    let tenths = duration.as_millis() / 100;
    if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        let seconds = duration.as_secs();
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(entries: Vec<Entry>) -> String {
        anstream::adapter::strip_str(&Report { entries }.to_string()).to_string()
    }

    #[test]
    fn durations_read_well_on_both_sides_of_a_minute() {
        assert_eq!(duration_text(Duration::from_millis(0)), "0.0 s");
        assert_eq!(duration_text(Duration::from_millis(59_999)), "59.9 s");
        assert_eq!(duration_text(Duration::from_secs(60)), "1 min 00 s");
        assert_eq!(duration_text(Duration::from_secs(605)), "10 min 05 s");
    }

    #[test]
    fn a_report_names_what_failed_and_what_did_not_run() {
        let second = Duration::from_secs(1);
        let text = text(vec![
            Entry { word: "fmt", outcome: Outcome::Passed(second) },
            Entry { word: "clippy", outcome: Outcome::Failed(second) },
            Entry { word: "doc", outcome: Outcome::NotRun("left out by --only".to_owned()) },
            Entry { word: "fuzz", outcome: Outcome::Skipped("there is no fuzzer".to_owned()) },
        ]);
        assert_eq!(
            text,
            "fmt     passed         1.0 s\n\
             clippy  FAILED         1.0 s\n\
             not run: doc (left out by --only)\n\
             fuzz: skipped, because there is no fuzzer\n\
             FAILED: 1 of 2 steps in 2.0 s: clippy; 1 skipped\n"
        );
    }

    #[test]
    fn a_run_fails_when_one_step_fails() {
        let mut report = Report::new();
        report.add(Entry { word: "fmt", outcome: Outcome::Passed(Duration::ZERO) });
        report.add(Entry { word: "fuzz", outcome: Outcome::Skipped(String::new()) });
        assert!(!report.has_failure());
        report.add(Entry { word: "doc", outcome: Outcome::Failed(Duration::ZERO) });
        assert!(report.has_failure());
    }
}
