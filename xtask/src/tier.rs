//! Tiers: tests beyond the steps, which need more than a Rust toolchain and run when asked for.

/// A group of tests that runs only when its word is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Tests that boot something in an emulator, which is set up when it is missing.
    Emulators,
    /// Fuzzers, each for a short while.
    Fuzz,
    /// Tests against other projects' tools.
    Tools,
    /// Mutants of the context switch, which the machine's tests have to notice.
    Mutants,
}

impl Tier {
    #[cfg(test)]
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::STEPS;

    #[test]
    fn every_tier_has_steps() {
        for tier in Tier::ALL {
            assert!(STEPS.iter().any(|step| step.tier == Some(tier)), "{tier:?}");
        }
    }
}
