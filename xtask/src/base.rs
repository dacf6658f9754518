//! Boots the programs that try the base of bare-metal programs.

use std::time::Duration;

use thiserror::Error;

use crate::bare::{self, BareError};
use crate::emulator::{Bochs, Boot, Clock, Machine, Qemu, Reason, RunError, Serial, Start};
use crate::report::RED;
use crate::workspace::Workspace;

/// Tries every promise and says `passed` in its last line if all are kept.
const CLAIMS: &str = "base";
const PASSED: &str = "passed";

/// Reads memory that is not mapped, and says so.
const CRASH: &str = "crash";
const TRAP: &str = "trap: #PF(0) at e008:";
const WHERE: &str = "cr2 140000000";

/// Many times what a run takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Why the base did not pass.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum BaseError {
    #[error(transparent)]
    Build(#[from] BareError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("on {machine}, it does not do what it should; it says:\n{}", serial.as_str())]
    Said { machine: String, serial: Serial },
}

/// Boots on Bochs models of both vendors, from a disk.
///
/// # Errors
/// When a promise is not kept.
pub(crate) fn on_bochs(workspace: &Workspace, bochs: &Bochs) -> Result<(), BaseError> {
    let (claims, crash) = (bare::build(workspace, CLAIMS)?, bare::build(workspace, CRASH)?);
    for model in ["sapphire_rapids", "ryzen"] {
        let machine = two_cpus(model);
        has_passed(&machine, bochs.run(&claims.image, &machine, LIMIT)?)?;
    }
    let machine = two_cpus("ryzen");
    has_crashed(&machine, bochs.run(&crash.image, &machine, LIMIT)?)
}

/// Boots on QEMU, from a disk and as a kernel.
///
/// # Errors
/// When a promise is not kept.
pub(crate) fn on_qemu(workspace: &Workspace, qemu: &Qemu) -> Result<(), BaseError> {
    let (claims, crash) = (bare::build(workspace, CLAIMS)?, bare::build(workspace, CRASH)?);
    let machine = two_cpus("max");
    let run = |boot| qemu.run(Start { boot, clock: Clock::Instructions, more: &[] }, &machine, LIMIT);
    for boot in [Boot::Disk(&claims.image), Boot::Kernel(&claims.elf)] {
        has_passed(&machine, run(boot)?)?;
    }
    // A failure has a status of its own.
    match run(Boot::Kernel(&crash.elf)) {
        Err(RunError { reason: Reason::Ended { .. }, serial, .. }) => has_crashed(&machine, serial),
        Err(error) => Err(error.into()),
        Ok(serial) => Err(BaseError::Said { machine: machine.to_string(), serial }),
    }
}

fn two_cpus(model: &str) -> Machine<'_> {
    Machine { cpus: 2, ..Machine::new(model) }
}

fn has_passed(machine: &Machine<'_>, serial: Serial) -> Result<(), BaseError> {
    let has_passed = serial.last_line() == Some(PASSED);
    said(machine, serial, has_passed)
}

fn has_crashed(machine: &Machine<'_>, serial: Serial) -> Result<(), BaseError> {
    let has_crashed = serial.last_line().is_some_and(|line| line.starts_with(TRAP) && line.ends_with(WHERE));
    said(machine, serial, has_crashed)
}

fn said(machine: &Machine<'_>, serial: Serial, is_right: bool) -> Result<(), BaseError> {
    let machine = machine.to_string();
    if !is_right {
        anstream::println!("{RED}FAILED{RED:#}  {machine}");
        return Err(BaseError::Said { machine, serial });
    }
    anstream::println!("ok      {machine}: {}", serial.last_line().unwrap_or_default());
    Ok(())
}
