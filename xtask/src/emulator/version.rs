//! A version, as far as it matters here.

use std::fmt;

/// The first two numbers of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Version {
    /// The version that stands right after `marker` in `text`.
    pub(crate) fn after(text: &str, marker: &str) -> Option<Self> {
        let (_, rest) = text.split_once(marker)?;
        let (major, rest) = number(rest)?;
        let minor = rest.strip_prefix('.').and_then(number).map_or(0, |(minor, _)| minor);
        Some(Self { major, minor })
    }
}

/// The decimal number that `text` begins with, and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.get(..text.len().checked_sub(rest.len())?)?.parse().ok()?;
    Some((number, rest))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u32, minor: u32) -> Version {
        Version { major, minor }
    }

    #[test]
    fn a_version_is_read_after_its_marker() {
        let banner = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-1)";
        assert_eq!(Version::after(banner, "version "), Some(version(10, 0)));
        assert_eq!(Version::after("Bochs x86 Emulator 3.1\n", "Emulator "), Some(version(3, 1)));
        assert_eq!(Version::after("Bochs x86 Emulator 4", "Emulator "), Some(version(4, 0)));
        assert_eq!(Version::after("Bochs x86 Emulator devel", "Emulator "), None);
        assert_eq!(Version::after("", "Emulator "), None);
    }

    #[test]
    fn versions_compare_by_numbers() {
        assert!(version(10, 0) > version(7, 2) && version(3, 10) > version(3, 9));
    }
}
