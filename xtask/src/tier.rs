//! Tiers: tests beyond the steps, which need more than a Rust toolchain and run when asked for.

/// A group of tests that runs only when its word is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Tests that boot something in an emulator.
    Emulators,
    /// Fuzzers, each for a short while.
    Fuzz,
    /// Tests against other projects' tools.
    Tools,
}

impl Tier {
    /// Every tier, in the order of the report.
    pub(crate) const ALL: [Self; 3] = [Self::Emulators, Self::Fuzz, Self::Tools];

    /// The word on the command line and in the report.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Emulators => "emulators",
            Self::Fuzz => "fuzz",
            Self::Tools => "tools",
        }
    }

    /// Why the tier is skipped although it was asked for.
    pub(crate) const fn reason_to_skip(self) -> &'static str {
        match self {
            Self::Emulators => "nothing in this tree needs an emulator yet",
            Self::Fuzz => "nothing in this tree has a fuzzer yet",
            Self::Tools => "nothing in this tree is compared with another tool yet",
        }
    }
}
