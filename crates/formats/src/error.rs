//! Why a file is refused.

use selfsame_cpuid::text::TextError;

/// Why a file is not taken as a dump. Lines count from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing is in the file.
    #[error("the file is empty: dump the machine again")]
    Empty,
    /// The file is not text.
    #[error("not a text file: byte {offset} is zero; if it is UTF-16, convert it to UTF-8, if it is packed, unpack it")]
    Binary {
        /// Where the first zero byte is.
        offset: usize,
    },
    /// No row of a known format is in the file.
    #[error("no row of a known format (instlatx64, cpuid-r, capture): is it a dump?")]
    UnknownFormat,
    /// A line is malformed.
    #[error("line {line}: {reason}")]
    Line {
        /// The line.
        line: usize,
        /// What is wrong with it, or what was expected.
        reason: &'static str,
    },
    /// The last row is cut short.
    #[error("line {line}: the file is cut off within this row: copy the whole file again")]
    CutOff {
        /// The last line.
        line: usize,
    },
    /// No logical CPU has leaf 0.
    #[error("no logical cpu with leaf 00000000: the file says nothing about a machine")]
    NoCpu,
    /// The file is a policy.
    #[error("this is a policy, not a dump of a machine: give it where a policy is asked for")]
    Policy,
    /// A capture breaks the grammar that captures and policies share.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// A name is not that of a [`Format`](crate::Format).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown format: known are instlatx64, cpuid-r and capture")]
pub struct UnknownFormat;

/// A name is not that of a [`Source`](crate::Source).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown source: known are cpuid, kvm, xen and converted:FORMAT")]
pub struct UnknownSource;
