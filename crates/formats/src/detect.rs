//! Which format a file has.

use std::fmt;
use std::str::FromStr;

use selfsame_cpuid::text::looks_like;

use crate::error::UnknownFormat;
use crate::scan::{self, Line};
use crate::{cpuid_raw, instlatx64};

/// A format that [`read`](crate::read) knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Format {
    /// The text that AIDA64 and EVEREST write, as collected by InstLatx64.
    InstLatX64,
    /// What Todd Allen's `cpuid -r` writes.
    CpuidRaw,
    /// Selfsame's own capture.
    Capture,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::InstLatX64, Self::CpuidRaw, Self::Capture];

    /// The format's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InstLatX64 => "instlatx64",
            Self::CpuidRaw => "cpuid-r",
            Self::Capture => "capture",
        }
    }

    /// Whether it holds what CPUID answered, not the names of features that somebody offers.
    pub const fn is_hardware(self) -> bool {
        match self {
            Self::InstLatX64 | Self::CpuidRaw | Self::Capture => true,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(UnknownFormat)
    }
}

/// Finds a file's format by its first row, wherever it is; a policy counts as a capture, and so does what looks like a
/// damaged one ([`looks_like`]).
pub fn detect(bytes: &[u8]) -> Option<Format> {
    if looks_like(bytes) {
        return Some(Format::Capture);
    }
    scan::lines(bytes).find_map(|Line { text, .. }| {
        if instlatx64::is_row(text) {
            Some(Format::InstLatX64)
        } else if cpuid_raw::is_row(text) {
            Some(Format::CpuidRaw)
        } else {
            None
        }
    })
}

#[test]
fn a_format_is_known_by_its_first_row_after_any_other_text() {
    assert_eq!(detect(b"# notes\nCPU 3:\n   0x00000000 0x00: eax=0x1"), Some(Format::CpuidRaw));
    assert_eq!(detect(b"CPUID Revision : 1\nCPUID 00000000: 0"), Some(Format::InstLatX64));
    assert_eq!(detect(b"selfsame 1 policy\n"), Some(Format::Capture));
    assert_eq!(detect(b"\nselfsame 1 policy\n"), None);
    assert_eq!(detect(b"processor : 0\nflags : fpu\n"), None);
}
