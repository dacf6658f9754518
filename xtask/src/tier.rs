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

    /// Why the tier has no steps, if it has none: the reason to skip it although it was asked for.
    pub(crate) const fn why_without_steps(self) -> Option<&'static str> {
        match self {
            Self::Emulators | Self::Tools | Self::Mutants => None,
            Self::Fuzz => Some("nothing in this tree has a fuzzer yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::STEPS;

    #[test]
    fn a_tier_has_steps_or_a_reason() {
        for tier in Tier::ALL {
            let has_steps = STEPS.iter().any(|step| step.tier == Some(tier));
            assert_eq!(tier.why_without_steps().is_none(), has_steps, "{tier:?}");
        }
    }
}
