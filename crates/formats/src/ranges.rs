//! Sets of CPU numbers as text, `0-3,8`.

use std::fmt::Write;

/// No CPU has this number or a higher one: it bounds what a hostile file can ask for.
pub(crate) const CPU_LIMIT: u32 = 1 << 16;

/// Reads a set; its ranges ascend and do not meet.
pub(crate) fn parse(text: &str) -> Option<Vec<u32>> {
    let mut numbers: Vec<u32> = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || numbers.last().is_some_and(|&previous| previous >= first) {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn number(text: &str) -> Option<u32> {
    let is_digits = matches!(text.len(), 1..=5) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&number| is_digits && number < CPU_LIMIT)
}

/// Writes a set, given ascending.
pub(crate) fn format(numbers: &[u32]) -> String {
    let mut text = String::new();
    for run in numbers.chunk_by(|a, b| b.checked_sub(*a) == Some(1)) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = if first == last { write!(text, "{comma}{first}") } else { write!(text, "{comma}{first}-{last}") };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_that_fall_or_meet_or_exceed_the_limit_are_refused() {
        for text in ["", "a", "3-1", "1,1", "2,1", "0-3,3", "65536", "0-65536", "+1", "1-", "-1", "1,", "000001"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("0-2,4,65535"), Some(vec![0, 1, 2, 4, 65535]));
    }

    proptest! {
        #[test]
        fn ranges_are_read_back_as_they_are_written(set in proptest::collection::btree_set(0..CPU_LIMIT, 1..40)) {
            let numbers: Vec<u32> = set.into_iter().collect();
            prop_assert_eq!(parse(&format(&numbers)), Some(numbers));
        }
    }
}
