//! A save area drawn to scale.

use std::ops::Range;

use anstyle::{AnsiColor, Style};
use selfsame_xstate::{Component, EXTENDED_START_BYTES, LEGACY_BYTES, Layout};

use crate::terminal::{DIM, Page};

/// What a character stands for: a cache line, and a multiple of it where nobody could read so many.
const LINE_BYTES: u32 = 64;
const MOST_CHARACTERS: u32 = 1024;
/// Characters of a row come in groups of this many, 1 KiB of cache lines.
const GROUP: u32 = 16;
/// Bytes of the legacy region that are left to software (SDM vol. 1, 10.5.1).
const SOFTWARE: Range<u32> = 416..LEGACY_BYTES;

/// What there is beside components.
const HEADER: char = '=';
const FREE: char = '-';
const GAP: char = '.';
const SEVERAL: char = '+';

/// Draws an area: a character for each cache line, with the number of the component in it.
pub(super) fn draw(page: &mut Page, title: &str, layout: &Layout<'_>) {
    let size_bytes = layout.size_bytes().max(EXTENDED_START_BYTES);
    let mut scale_bytes = LINE_BYTES;
    while size_bytes / scale_bytes >= MOST_CHARACTERS {
        scale_bytes = scale_bytes.saturating_mul(2);
    }
    let unit = if scale_bytes == LINE_BYTES { "a cache line of " } else { "" };
    page.heading(format_args!("{title}, {size_bytes} bytes; a character is {unit}{scale_bytes} bytes"));
    let columns = (u32::from(page.width()) - 10) / GROUP * GROUP;
    let row_bytes = scale_bytes.saturating_mul(columns);
    for row in 0..size_bytes.div_ceil(row_bytes) {
        let start = row.saturating_mul(row_bytes);
        let cells = size_bytes.saturating_sub(start).div_ceil(scale_bytes).min(columns);
        let characters = (0..cells).map(|cell| {
            let start = start.saturating_add(cell.saturating_mul(scale_bytes));
            coloured(character(layout, start..start.saturating_add(scale_bytes)))
        });
        page.line(format_args!("{start:>8}  {}", characters.collect::<String>()));
    }
}

/// Says what the characters stand for.
pub(super) fn legend(page: &mut Page, layouts: &[&Layout<'_>]) {
    let has = |component: Component| layouts.iter().any(|layout| layout.components().contains(component));
    let components = (0..=62).filter_map(Component::new).filter(|&component| has(component));
    let mut words: Vec<String> = components.map(|component| format!("{} {component},", symbol(component))).collect();
    words.push(format!("{HEADER} header,"));
    words.push(format!("{FREE} left to software,"));
    words.push(format!("{SEVERAL} several,"));
    words.push(format!("{GAP} nothing"));
    page.line("");
    page.labelled("key", words.iter().map(String::as_str));
}

/// What lies in some bytes.
fn character(layout: &Layout<'_>, bytes: Range<u32>) -> char {
    let is_here = |other: &Range<u32>| other.start < bytes.end && bytes.start < other.end;
    let mut found = layout.places().filter(|(_, place)| is_here(place)).map(|(component, _)| symbol(component));
    let header = LEGACY_BYTES..EXTENDED_START_BYTES;
    match (found.next(), found.next()) {
        (Some(symbol), None) => symbol,
        (Some(_), Some(_)) => SEVERAL,
        _ if is_here(&header) => HEADER,
        _ if is_here(&SOFTWARE) => FREE,
        _ => GAP,
    }
}

/// A component's number in one character: 9 is followed by a.
fn symbol(component: Component) -> char {
    char::from_digit(component.index().into(), 36).unwrap_or('*')
}

/// A character in the colour of what it stands for; neighbours differ.
fn coloured(symbol: char) -> String {
    const COLOURS: [AnsiColor; 6] =
        [AnsiColor::Cyan, AnsiColor::Green, AnsiColor::Yellow, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::Red];
    let colour = symbol.to_digit(36).and_then(|digit| COLOURS.get(usize::try_from(digit).ok()? % COLOURS.len()));
    let style = colour.map_or(DIM, |colour| Style::new().fg_color(Some((*colour).into())));
    format!("{style}{symbol}{style:#}")
}
