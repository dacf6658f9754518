//! What the hypervisor is told, line by line:
//!
//! ```text
//! timer 200000                                  how many ticks a turn lasts
//! move 10                                       after so many turns a vCPU goes to the next CPU
//! cpus 2
//! unnamed shstk,ibt                             features that the CPU has, though its CPUID does not name them
//! guest a cpuid=no-avx512f,no-pku rounds=100    `cpuid=` is for its policy, the rest is for the guest
//! change a 50 cpuid=no-pku                      after 50 turns (0: before the first) guest a gets another policy
//! policy a                                      the policy of a guest, instead: a policy file, up to its `end` line
//! ```

use selfsame_cpuid::{PolicyFile, Trims};
use thiserror::Error;

use crate::guest::MAX_GUESTS;

/// What is done.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) timer_ticks: u32,
    /// After how many turns a vCPU moves; never if zero.
    pub(crate) turns_before_move: u32,
    pub(crate) cpus: usize,
    /// Features that the machine has and does not name, joined by commas.
    pub(crate) unnamed: &'static str,
    pub(crate) guests: [Option<GuestParameters>; MAX_GUESTS],
}

/// What one guest is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuestParameters {
    pub(crate) name: &'static str,
    pub(crate) trims: &'static str,
    pub(crate) policy: Option<&'static str>,
    pub(crate) changes: [Option<Change>; MAX_CHANGES],
    /// What the guest is told.
    pub(crate) words: &'static str,
}

/// How many times a guest's policy may change.
const MAX_CHANGES: usize = 4;

/// Another policy for a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// After how many turns.
    pub(crate) turns: u32,
    pub(crate) trims: &'static str,
}

/// What is wrong with the text.
#[derive(Clone, Copy, Debug, Error)]
#[non_exhaustive]
pub(crate) enum ParameterError {
    #[error("line {line}: expected timer, move, cpus, unnamed, guest, change or policy")]
    Unknown { line: usize },
    #[error("line {line}: expected a decimal number")]
    NoNumber { line: usize },
    #[error("line {line}: turns of {ticks} ticks are over before a guest has run; {MIN_TIMER_TICKS} at least")]
    TooShort { line: usize, ticks: u32 },
    #[error("line {line}: there are {MAX_GUESTS} guests already")]
    TooMany { line: usize },
    #[error("line {line}: expected a guest's name, a number of turns, and cpuid= words or none")]
    NoChange { line: usize },
    #[error("line {line}: there is no guest of this name above")]
    NoGuest { line: usize },
    #[error("line {line}: a policy without its end line")]
    NoEnd { line: usize },
}

/// A switch takes about 1,300 ticks; with turns of 2,000, two guests were seen to stand still.
const MIN_TIMER_TICKS: u32 = 5000;

const CPUID: &str = "cpuid=";

impl Parameters {
    pub(crate) fn read(text: &'static str) -> Result<Self, ParameterError> {
        let mut parameters =
            Self { timer_ticks: 200_000, turns_before_move: 0, cpus: 1, unnamed: "", guests: [None; MAX_GUESTS] };
        let mut rest = text;
        let mut line = 0;
        while let Some((first, behind)) = next_line(rest) {
            line += 1;
            rest = behind;
            let (word, value) = first.split_once(' ').unwrap_or((first, ""));
            let number = || value.trim().parse().map_err(|_| ParameterError::NoNumber { line });
            match word {
                "" | "#" => {}
                "timer" => match number()? {
                    ticks @ MIN_TIMER_TICKS.. => parameters.timer_ticks = ticks,
                    ticks => return Err(ParameterError::TooShort { line, ticks }),
                },
                "move" => parameters.turns_before_move = number()?,
                "cpus" => parameters.cpus = usize::try_from(number()?).unwrap_or(usize::MAX),
                "unnamed" => parameters.unnamed = value.trim(),
                "guest" => {
                    let free = parameters.guests.iter_mut().find(|guest| guest.is_none());
                    *free.ok_or(ParameterError::TooMany { line })? = Some(guest(value));
                }
                "change" => parameters.change(value).ok_or(ParameterError::NoChange { line })?,
                "policy" => {
                    let guests = parameters.guests.iter_mut().flatten();
                    let named = guests.into_iter().find(|guest| guest.name == value.trim());
                    let guest = named.ok_or(ParameterError::NoGuest { line })?;
                    let (policy, behind) = policy(rest).ok_or(ParameterError::NoEnd { line })?;
                    guest.policy = Some(policy);
                    line += policy.lines().count();
                    rest = behind;
                }
                _ => return Err(ParameterError::Unknown { line }),
            }
        }
        Ok(parameters)
    }

    /// The words `NAME TURNS [cpuid=WORDS]`.
    fn change(&mut self, value: &'static str) -> Option<()> {
        let mut words = value.split_whitespace();
        let (name, turns) = (words.next()?, words.next()?.parse().ok()?);
        let trims = words.next().map_or(Some(""), |words| words.strip_prefix(CPUID))?;
        let guest = self.guests.iter_mut().flatten().find(|guest| guest.name == name)?;
        *guest.changes.iter_mut().find(|change| change.is_none())? = Some(Change { turns, trims });
        Some(())
    }
}

fn next_line(text: &'static str) -> Option<(&'static str, &'static str)> {
    if text.is_empty() { None } else { Some(text.split_once('\n').unwrap_or((text, ""))) }
}

/// The words `NAME [cpuid=WORDS] REST`.
fn guest(value: &'static str) -> GuestParameters {
    let (name, mut words) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let mut trims = "";
    if let Some(behind) = words.trim_start().strip_prefix(CPUID) {
        (trims, words) = behind.split_once(' ').unwrap_or((behind, ""));
    }
    GuestParameters { name, trims, policy: None, changes: [None; MAX_CHANGES], words }
}

/// A policy file at the beginning of `text`, up to and with its `end` line.
fn policy(text: &'static str) -> Option<(&'static str, &'static str)> {
    let at = text.find("\nend ")? + 1;
    let len = at + text.get(at..)?.find('\n').map_or(text.len() - at, |newline| newline + 1);
    text.split_at_checked(len)
}

/// An administrator's words; none if there are none.
pub(crate) fn trims(words: &str) -> Result<Trims, selfsame_cpuid::TrimError> {
    if words.is_empty() { Ok(Trims::NONE) } else { words.parse() }
}

impl GuestParameters {
    /// The policy that was given, if one was.
    pub(crate) fn policy(&self) -> Option<Result<selfsame_cpuid::Policy, selfsame_cpuid::text::TextError>> {
        Some(PolicyFile::parse(self.policy?.as_bytes()).map(|file| file.policy))
    }
}
