//! The guest's CPUID on the serial port, as rows of a capture.

use core::fmt::{self, Write};

use selfsame_cpuid::text::{Document, Statement, TextWriter};
use selfsame_cpuid::walk;
use selfsame_x86::cpuid;

/// Writes every leaf that is not zero, between `cpuid begin` and `cpuid end`.
pub(crate) fn write(sink: &mut impl Write) -> fmt::Result {
    writeln!(sink, "cpuid begin")?;
    // A capture's head and end are not wanted: the host has them of its own.
    let mut rows = TextWriter::begin(Skipping { sink, lines: 1 }, Document::Capture)?;
    let mut outcome = Ok(());
    walk(cpuid, |leaf, subleaf, regs| {
        outcome = outcome.and_then(|()| rows.statement(&Statement::Leaf(leaf, subleaf, regs)));
    });
    outcome?;
    writeln!(sink, "cpuid end")
}

/// Leaves the first lines out.
struct Skipping<'s, W> {
    sink: &'s mut W,
    lines: usize,
}

impl<W: Write> Write for Skipping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            if self.lines == 0 {
                self.sink.write_str(part)?;
            } else if part.ends_with('\n') {
                self.lines -= 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_alone_between_the_marks() {
        let mut text = String::new();
        write(&mut text).unwrap();
        let mut lines = text.lines();
        assert_eq!((lines.next(), lines.next_back()), (Some("cpuid begin"), Some("cpuid end")));
        assert!(lines.clone().count() > 2);
        assert!(lines.all(|line| line.starts_with("leaf ")));
    }
}
