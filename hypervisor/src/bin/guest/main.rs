//! The guest of the reference hypervisor: uses everything that its CPUID shows, and verifies that nothing of it is
//! changed by what else the machine runs.
//!
//! It runs without a hypervisor, too: nothing is switched there, and everything must verify. What it does is told by
//! its parameters ([`parameters::Parameters`]); what it says, the hypervisor reads at [`guest_ports`] and the serial
//! port. Its last line is `passed` where all went well.
//!
//! [`guest_ports`]: selfsame_hypervisor::guest_ports
#![cfg_attr(bare, no_std)]
#![cfg_attr(bare, no_main)]

mod action;
mod actions;
mod area;
mod checksum;
mod choices;
mod compare;
mod contents;
mod control;
mod deviations;

mod kept;
mod listing;
mod machine;
mod msr_rules;
mod parameters;
mod random;
mod round;
mod rounds;
mod state;
mod system;

use core::fmt::{self, Write};

use selfsame_hypervisor::{Cpu, Outcome, Serial, parameters as started_with, program};
use selfsame_xstate::Component;
use thiserror::Error;

use crate::actions::ActionError;
use crate::machine::{Machine, NotSwitchedOn};
use crate::parameters::{ParameterError, Parameters};
use crate::rounds::RoundError;
use crate::state::{Form, FormError};

program!(run);

/// Why the guest fails.
#[derive(Debug, Error)]
#[non_exhaustive]
enum GuestError {
    #[error("the parameters are no text: {0}")]
    NoText(#[from] core::str::Utf8Error),
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    #[error(transparent)]
    NotSwitchedOn(#[from] NotSwitchedOn),
    #[error(transparent)]
    Form(#[from] FormError),
    #[error(transparent)]
    Round(#[from] RoundError),
    #[error(transparent)]
    Action(#[from] ActionError),
    #[error("the serial port does not take text")]
    Serial(#[from] fmt::Error),
}

fn run(_: &'static Cpu) -> Outcome {
    let mut serial = Serial::com1();
    match guest(&mut serial) {
        Ok(()) => Outcome::Success,
        Err(error) => {
            // Writing to the serial port does not fail.
            let _ = writeln!(serial, "{error}");
            Outcome::Failure
        }
    }
}

fn guest(serial: &mut Serial) -> Result<(), GuestError> {
    let parameters = Parameters::read(started_with()?)?;
    let machine = Machine::switched_on(&parameters)?;
    let form = Form::new(&machine)?;
    let Machine { method, xcr0, xss, .. } = &machine;
    writeln!(serial, "{}: xcr0 {xcr0}, xss {xss}, {method}", parameters.name)?;
    if !form.left_out.is_empty() {
        writeln!(serial, "left alone: {}", form.left_out)?;
    }
    if !machine.kept.x87_pointers {
        writeln!(serial, "this cpu does not keep the pointers of x87")?;
    }
    if form.components().contains(Component::XTILEDATA) && !machine.kept.tile_data {
        writeln!(serial, "this cpu does not keep {}", Component::XTILEDATA)?;
    }
    if parameters.prints_cpuid {
        listing::write(serial)?;
    }
    if parameters.rounds > 0 {
        let verified = rounds::play(&parameters, &machine, &form)?;
        writeln!(serial, "in use: {}", verified.in_use)?;
        writeln!(serial, "verified {} rounds, checksum {}", parameters.rounds, verified.checksum)?;
    }
    if parameters.actions > 0 {
        let tried = actions::try_all(&parameters, &machine)?;
        writeln!(serial, "tried {} actions, {} of them faulted", tried.actions, tried.faults)?;
    }
    writeln!(serial, "passed")?;
    Ok(())
}
