//! Tries actions, and compares what comes of them with the rules.

use selfsame_hypervisor::Fault;
use thiserror::Error;

use crate::action::{Action, Hostile};
use crate::choices;
use crate::deviations::is_known;
use crate::machine::Machine;
use crate::parameters::Parameters;
use crate::random::Random;

/// An action came out otherwise than the rules say.
#[derive(Debug, Error)]
pub(crate) enum ActionError {
    #[error("unexpected: {action}: expected {}, found {}", Shown(expected), Shown(found))]
    Unexpected { action: Action, expected: Result<(), Fault>, found: Result<(), Fault> },
    #[error("unexpected: {0} where everything was switched on again")]
    NotSwitchedOn(Fault),
}

/// How many actions were tried, and how many faulted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried {
    pub(crate) actions: u64,
    pub(crate) faults: u64,
}

/// Tries every class of illegal values, and then random actions up to the number that was asked for.
///
/// # Errors
///
/// The first that comes out otherwise.
pub(crate) fn try_all(parameters: &Parameters, machine: &Machine) -> Result<Tried, ActionError> {
    let mut hostile = Hostile::new(machine);
    let mut tried = Tried::default();
    let mut outcome = Ok(());
    choices::fixed(machine, |action| {
        if outcome.is_ok() {
            outcome = try_one(&mut hostile, action, &mut tried);
        }
    });
    outcome?;
    let mut random = Random::new(parameters.seed);
    while tried.actions < parameters.actions {
        let action = choices::random(machine, &mut random);
        try_one(&mut hostile, action, &mut tried)?;
    }
    hostile.end().map_err(ActionError::NotSwitchedOn)?;
    Ok(tried)
}

fn try_one(hostile: &mut Hostile<'_>, action: Action, tried: &mut Tried) -> Result<(), ActionError> {
    let expected = hostile.expected(&action);
    let found = hostile.perform(&action);
    tried.actions += 1;
    tried.faults += u64::from(found.is_err());
    if found == expected || is_known(&action, found, hostile.machine) {
        Ok(())
    } else {
        Err(ActionError::Unexpected { action, expected, found })
    }
}

/// An outcome as a message shows it.
struct Shown<'o>(&'o Result<(), Fault>);

impl core::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Ok(()) => f.write_str("no fault"),
            Err(fault) => fault.fmt(f),
        }
    }
}
