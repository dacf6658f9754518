//! Tiers: tests beyond the steps, which need more than a Rust toolchain and run when asked for.

use crate::step::{MUTANTS, Step};

/// A group of tests that runs only when its word is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Tests that boot something in an emulator.
    Emulators,
    /// Fuzzers, each for a short while.
    Fuzz,
    /// Tests against other projects' tools.
    Tools,
    /// Mutants of the context switch, which the machine's tests have to notice.
    Mutants,
}

impl Tier {
    /// Every tier, in the order of the report.
    pub(crate) const ALL: [Self; 4] = [Self::Emulators, Self::Fuzz, Self::Tools, Self::Mutants];

    /// The word on the command line and in the report.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Emulators => "emulators",
            Self::Fuzz => "fuzz",
            Self::Tools => "tools",
            Self::Mutants => "mutants",
        }
    }

    /// The step of the tier, or why there is none: then it is skipped although it was asked for.
    pub(crate) const fn step(self) -> Result<&'static Step, &'static str> {
        match self {
            Self::Emulators => Err("nothing in this tree needs an emulator yet"),
            Self::Fuzz => Err("nothing in this tree has a fuzzer yet"),
            Self::Tools => Err("nothing in this tree is compared with another tool yet"),
            Self::Mutants => Ok(&MUTANTS),
        }
    }
}
