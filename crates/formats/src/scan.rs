//! Lines and numbers of text whose encoding nobody promised.

use std::str::FromStr;

/// One line, without its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// Its bytes, trimmed of white space.
    pub(crate) text: &'a [u8],
    /// Whether the file ends with it, without a line feed: it may be cut short.
    pub(crate) is_open: bool,
}

/// The lines of a file.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut rest = bytes;
    let mut number = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|&b| b == b'\n');
        let (text, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = after.get(1..).unwrap_or_default();
        number += 1;
        Some(Line { number, text: text.trim_ascii(), is_open: end.is_none() })
    })
}

const NOT_A_DIGIT: u8 = 0xff;

/// The value of each byte as a hexadecimal digit of either case.
static DIGITS: [u8; 256] = {
    let mut digits = [NOT_A_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// Takes exactly `N` hexadecimal digits, at most 8, from the beginning.
pub(crate) fn take_hex<const N: usize>(text: &[u8]) -> Option<(u32, &[u8])> {
    const { assert!(N <= 8) };
    let (digits, rest) = text.split_first_chunk::<N>()?;
    let (mut value, mut seen) = (0, 0);
    for &digit in digits {
        let digit = DIGITS[usize::from(digit)];
        seen |= digit;
        value = value << 4 | u32::from(digit);
    }
    (seen < 16).then_some((value, rest))
}

/// Whether the text begins with a hexadecimal digit.
pub(crate) fn begins_with_digit(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_hexdigit)
}

/// Skips the separators that stand before the next number.
pub(crate) fn skip<'a>(text: &'a [u8], separators: &[u8]) -> &'a [u8] {
    let mut rest = text;
    while let [first, after @ ..] = rest
        && separators.contains(first)
    {
        rest = after;
    }
    rest
}

/// Takes a decimal number from the beginning; `None` where there is none, or one too large to be a CPU's.
pub(crate) fn take_cpu_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(count)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number < crate::ranges::CPU_LIMIT).then_some((number, rest))
}

/// The number of which the text has the hexadecimal digits and nothing else: the library takes a sign, too.
pub(crate) fn hexadecimal(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digits { u64::from_str_radix(text, 16).ok() } else { None }
}

/// The number of which the text has the decimal digits and nothing else.
pub(crate) fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits { text.parse().ok() } else { None }
}

/// The text after `needle`, where it occurs.
pub(crate) fn after<'a>(text: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(needle.len()).position(|window| window == needle)?;
    text.get(at + needle.len()..)
}

#[test]
fn exactly_the_asked_digits_are_taken() {
    assert_eq!(take_hex::<8>(b"0000aBcD-"), Some((0xabcd, b"-".as_slice())));
    assert_eq!(take_hex::<8>(b"0000aBc"), None);
    assert_eq!(take_hex::<2>(b"0g"), None);
}

#[test]
fn a_number_has_digits_and_no_sign() {
    assert_eq!((hexadecimal("aB"), decimal::<u8>("255")), (Some(0xab), Some(255)));
    for text in ["", "+5", "-5", " 5", "5 ", "0x5", "1_0"] {
        assert_eq!((hexadecimal(text), decimal::<u32>(text)), (None, None), "{text}");
    }
    assert_eq!((hexadecimal("10000000000000000"), decimal::<u8>("256")), (None, None));
}

#[test]
fn only_a_last_line_without_its_line_feed_is_open() {
    let open = |text: &[u8]| lines(text).map(|line| line.is_open).collect::<Vec<_>>();
    assert_eq!(open(b"a\r\nb"), [false, true]);
    assert_eq!(open(b"a\n\n"), [false, false]);
    assert!(lines(b"a\r\n").all(|line| line.text == b"a"));
}
