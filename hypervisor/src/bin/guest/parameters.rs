//! What the guest is told: words separated by blanks, each `KEY=VALUE`.

use thiserror::Error;

/// What the guest does, in this order: it lists its CPUID, plays its rounds, and tries its actions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Parameters {
    /// `name=`: what its first line calls it.
    pub(crate) name: &'static str,
    /// `seed=`: what its random numbers begin with.
    pub(crate) seed: u64,
    /// `rounds=`: how often state is loaded, kept through a wait, and verified.
    pub(crate) rounds: u64,
    /// `spin=`: how often the loop of a wait goes round at most.
    pub(crate) spin: u64,
    /// `print=cpuid`: whether every leaf is written to the serial port.
    pub(crate) prints_cpuid: bool,
    /// `pkru=ungated`: whether PKRU stays out of XCR0, and is used all the same.
    pub(crate) has_ungated_pkru: bool,
    /// `actions=`: how many things are tried that should fault, or should not.
    pub(crate) actions: u64,
    /// `emulator=qemu`: the machine is QEMU's interpreter, whether CPUID says so or not.
    pub(crate) is_on_qemu: bool,
}

/// Why the text was not understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub(crate) enum ParameterError {
    #[error(
        "parameter {word}: expected name=, seed=, rounds=, spin=, print=cpuid, pkru=ungated, actions= or emulator=qemu"
    )]
    Unknown { word: &'static str },
    #[error("parameter {word}: expected a decimal number")]
    NoNumber { word: &'static str },
}

impl Parameters {
    const DEFAULT: Self = Self {
        name: "guest",
        seed: 1,
        rounds: 1000,
        spin: 1000,
        prints_cpuid: false,
        has_ungated_pkru: false,
        actions: 0,
        is_on_qemu: false,
    };

    /// Reads the text; what it does not say is as in [`Parameters::DEFAULT`].
    ///
    /// # Errors
    ///
    /// The first word that is not understood.
    pub(crate) fn read(text: &'static str) -> Result<Self, ParameterError> {
        let mut parameters = Self::DEFAULT;
        for word in text.split_whitespace() {
            let number = |value: &str| value.parse().map_err(|_| ParameterError::NoNumber { word });
            match word.split_once('=') {
                Some(("name", name)) => parameters.name = name,
                Some(("seed", value)) => parameters.seed = number(value)?,
                Some(("rounds", value)) => parameters.rounds = number(value)?,
                Some(("spin", value)) => parameters.spin = number(value)?,
                Some(("actions", value)) => parameters.actions = number(value)?,
                Some(("emulator", "qemu")) => parameters.is_on_qemu = true,
                Some(("print", "cpuid")) => parameters.prints_cpuid = true,
                Some(("pkru", "ungated")) => parameters.has_ungated_pkru = true,
                _ => return Err(ParameterError::Unknown { word }),
            }
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_says_one_thing() {
        let text = "name=a seed=7\nrounds=10000 spin=2000 print=cpuid pkru=ungated  actions=100000 emulator=qemu";
        let expected = Parameters {
            name: "a",
            seed: 7,
            rounds: 10_000,
            spin: 2000,
            prints_cpuid: true,
            has_ungated_pkru: true,
            actions: 100_000,
            is_on_qemu: true,
        };
        assert_eq!(Parameters::read(text), Ok(expected));
        assert_eq!(Parameters::read(""), Ok(Parameters::DEFAULT));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for word in ["round=1", "rounds", "print=all", "emulator=bochs", "x"] {
            assert_eq!(Parameters::read(word), Err(ParameterError::Unknown { word }));
        }
        for word in ["rounds=", "seed=-1", "spin=0x10"] {
            assert_eq!(Parameters::read(word), Err(ParameterError::NoNumber { word }));
        }
    }
}
