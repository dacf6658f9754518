//! Which packages are unpacked for what, as one table.

use super::version::Version;
use super::{bochs, qemu};

/// The Debian suites that are tried, in this order: testing moves on less than unstable, and the stable release of 2025
/// (trixie) has QEMU but a Bochs that is too old.
pub(crate) const SUITES: &[&str] = &["forky", "sid", "trixie"];

/// Packages that are unpacked together, with all that they depend on, into a folder of their own.
#[derive(Debug)]
pub(crate) struct Set {
    /// The word for it, also the name of its folder.
    pub(crate) word: &'static str,
    /// What it is, for people.
    pub(crate) name: &'static str,
    /// What is asked of apt. The version of the first one tells whether a suite is new enough.
    pub(crate) packages: &'static [&'static str],
    /// The program, under each name it goes by.
    pub(crate) programs: &'static [&'static str],
    /// The oldest version that will do.
    pub(crate) least: Version,
}

/// `bochs-term` is the display library that needs no display.
pub(crate) const BOCHS: Set = Set {
    word: "bochs",
    name: "Bochs",
    packages: &["bochs", "bochs-term"],
    programs: &["bochs-bin", "bochs"],
    least: bochs::LEAST,
};

/// Only the system emulator of x86, without a display.
pub(crate) const QEMU: Set = Set {
    word: "qemu",
    name: "QEMU",
    packages: &["qemu-system-x86"],
    programs: &["qemu-system-x86_64"],
    least: qemu::LEAST,
};
