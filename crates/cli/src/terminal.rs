//! What people read: headings, tables, wrapped lists, and colour where there is a terminal.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::problem::Problem;

/// Headings.
pub(crate) const HEADING: Style = Style::new().bold();
/// What was accepted.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What was refused.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What to look at.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// What is there for reference.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Lines are this long where nobody says how wide the output is.
const DEFAULT_WIDTH: u16 = 100;
/// Longer lines are hard to read.
const MAX_WIDTH: u16 = 140;
/// Narrower tables are no tables.
const MIN_WIDTH: u16 = 60;

/// Columns that need no more are never wrapped; the first may need more.
const WHOLE: u16 = 15;
const WHOLE_NAME: u16 = 36;

/// A page of text for people, made line by line and printed at once.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    width: u16,
}

impl Page {
    /// An empty page, as wide as the output.
    pub(crate) fn new() -> Self {
        Self { text: String::new(), width: width() }
    }

    /// How many columns there are.
    pub(crate) const fn width(&self) -> u16 {
        self.width
    }

    /// A line.
    pub(crate) fn line(&mut self, line: impl Display) {
        self.text.push_str(&format!("{line}\n"));
    }

    /// A line of prose that may be longer than the page.
    pub(crate) fn prose(&mut self, text: &str) {
        self.wrapped("", text.split(' '));
    }

    /// The same under what it belongs to.
    pub(crate) fn indented(&mut self, text: &str) {
        self.wrapped("  ", text.split(' '));
    }

    /// A heading after an empty line.
    pub(crate) fn heading(&mut self, text: impl Display) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(format_args!("{HEADING}{text}{HEADING:#}"));
    }

    /// Words after a label, wrapped so that the label's column stays free.
    pub(crate) fn labelled<'w>(&mut self, label: &str, words: impl IntoIterator<Item = &'w str>) {
        self.wrapped(&format!("  {label:<14}  "), words);
    }

    /// The same after a label in a style.
    pub(crate) fn warned<'w>(&mut self, label: &str, words: impl IntoIterator<Item = &'w str>) {
        let start = self.text.len();
        self.labelled(label, words);
        let end = start + 2 + label.len();
        if self.text.get(start + 2..end) == Some(label) {
            self.text.replace_range(start + 2..end, &format!("{WARNING}{label}{WARNING:#}"));
        }
    }

    fn wrapped<'w>(&mut self, first: &str, words: impl IntoIterator<Item = &'w str>) {
        let indent = first.chars().count();
        let width = usize::from(self.width);
        let mut line = first.to_owned();
        let mut used = indent;
        let mut is_empty = true;
        for word in words {
            let length = visible_len(word);
            if !is_empty && used + 1 + length > width {
                self.line(line.trim_end());
                line = " ".repeat(indent);
                used = indent;
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
            is_empty = false;
        }
        self.line(line.trim_end());
    }

    /// A table; a column of which no row has anything is left out.
    pub(crate) fn table<const N: usize>(&mut self, header: [&str; N], rows: &[[String; N]]) {
        let used: [bool; N] =
            std::array::from_fn(|i| rows.iter().any(|row| row.get(i).is_some_and(|cell| !cell.is_empty())));
        let chosen = |cells: Vec<String>| -> Vec<String> {
            cells.into_iter().zip(used).filter(|(_, is_used)| *is_used).map(|(cell, _)| cell).collect()
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(self.width);
        let titles = chosen(header.map(str::to_owned).to_vec());
        table.set_header(titles.clone());
        for row in rows {
            table.add_row(chosen(row.to_vec()));
        }
        let widths = table.column_max_content_widths();
        for (i, (column, width)) in table.column_iter_mut().zip(widths).enumerate() {
            column.set_padding((2, 0));
            // Names and numbers stay whole; what is prose wraps.
            if width <= if i == 0 { WHOLE_NAME } else { WHOLE } {
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else if titles.get(i).is_some_and(|title| matches!(&**title, "hosts" | "needed on")) {
                // Who cannot read a host's name cannot act on the row.
                let longest = rows.iter().flatten().flat_map(|cell| cell.split(' ')).map(|word| word.chars().count());
                let longest = longest.filter(|&length| length <= usize::from(WHOLE_NAME) + 1).max().unwrap_or_default();
                let bound = u16::try_from(longest).unwrap_or(WHOLE_NAME).min(width) + 2;
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(bound)));
            }
        }
        let text = table.trim_fmt();
        let (head, body) = text.split_once('\n').unwrap_or((&text, ""));
        self.line(format_args!("{DIM}{head}{DIM:#}"));
        if !body.is_empty() {
            self.line(body);
        }
    }

    /// The text of the page.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Prints the page.
    pub(crate) fn print(self) -> Result<(), Problem> {
        print(&self.text)
    }
}

/// How many columns a word takes: what sets colours takes none.
fn visible_len(word: &str) -> usize {
    let mut length = 0;
    let mut is_escape = false;
    for c in word.chars() {
        match c {
            '\x1b' => is_escape = true,
            'm' if is_escape => is_escape = false,
            _ if !is_escape => length += 1,
            _ => {}
        }
    }
    length
}

/// A host's name, cut in its middle if no column is wide enough for it: its beginning and its end tell most.
pub(crate) fn short(name: &str) -> String {
    const MAX: usize = WHOLE_NAME as usize;
    const HEAD: usize = MAX / 4;
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= MAX {
        return name.to_owned();
    }
    // Names of one pool begin alike: what tells them apart stands at the end.
    let (head, tail) = (chars.get(..HEAD).unwrap_or_default(), chars.get(chars.len() + HEAD + 1 - MAX..));
    head.iter().chain(['\u{2026}'].iter()).chain(tail.unwrap_or_default()).collect()
}

/// Prints text to standard output, with colour if it is a terminal. A reader that went away has read enough.
pub(crate) fn print(text: &str) -> Result<(), Problem> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Problem::Output(error)),
        _ => Ok(()),
    }
}

/// Prints text to standard error, where standard output has a file.
pub(crate) fn print_beside(text: &str) {
    // Nobody is left to tell where this fails.
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Says something beside the answer.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell where this fails.
    let _ = writeln!(anstream::stderr().lock(), "selfsame: {WARNING}note:{WARNING:#} {text}");
}

/// Says why there is no answer.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "selfsame: {text}");
}

/// `1 host`, `2 hosts`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    match (number, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {thing}s"),
    }
}

/// The names of hosts: all of them if there are few.
pub(crate) fn hosts<'n>(names: impl ExactSizeIterator<Item = &'n str>, total: usize, is_verbose: bool) -> String {
    const FEW: usize = 4;
    let count = names.len();
    if total > 1 && count == total {
        return all_hosts(total);
    }
    if is_verbose {
        return names.collect::<Vec<_>>().join(", ");
    }
    let shown = if count > FEW { FEW - 1 } else { count };
    let list = names.take(shown).map(short).collect::<Vec<_>>().join(", ");
    if count > shown { format!("{list} and {} more", count - shown) } else { list }
}

/// All hosts of a pool.
pub(crate) fn all_hosts(total: usize) -> String {
    match total {
        1 => "this host".to_owned(),
        2 => "both hosts".to_owned(),
        _ => format!("all {total} hosts"),
    }
}

#[cfg(unix)]
fn terminal_width() -> Option<u16> {
    let out = io::stdout();
    io::IsTerminal::is_terminal(&out).then_some(())?;
    rustix::termios::tcgetwinsize(&out).ok().map(|size| size.ws_col).filter(|&columns| columns > 0)
}

#[cfg(not(unix))]
fn terminal_width() -> Option<u16> {
    None
}

fn width() -> u16 {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal_width().or_else(said).unwrap_or(DEFAULT_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH)
}
