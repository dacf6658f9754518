//! What an image wrote to its first serial port.

/// The text of COM1; bytes that are not UTF-8 are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Serial(String);

impl Serial {
    /// The text of what came out.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The text, line ends as the image wrote them.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The lines, without their ends (`\n` or `\r\n`).
    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.lines()
    }

    /// The last line, by which an image says how it came out.
    pub(crate) fn last_line(&self) -> Option<&str> {
        self.lines().next_back()
    }

    /// The last `count` lines.
    pub(crate) fn tail(&self, count: usize) -> Vec<&str> {
        let mut lines: Vec<&str> = self.lines().rev().take(count).collect();
        lines.reverse();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_keep_their_order() {
        let serial = Serial::from_bytes(b"one\r\ntwo\nthree\r\n");
        assert_eq!(serial.lines().collect::<Vec<_>>(), ["one", "two", "three"]);
        assert_eq!(serial.last_line(), Some("three"));
        assert_eq!(serial.tail(2), ["two", "three"]);
        assert_eq!(serial.tail(9), ["one", "two", "three"]);
    }

    #[test]
    fn nothing_has_no_last_line() {
        assert_eq!(Serial::from_bytes(b"").last_line(), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(Serial::from_bytes(b"a\xffb").as_str(), "a\u{fffd}b");
    }
}
