//! What the rest relies on in the emulators, each claim tried with an image of a few bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::run_error::file_reason;
use super::run_folder::RunFolder;
use super::tiny::{HALTING, KERNEL, LINE, SILENT, SPEAKING, TICKING, TICKING_KERNEL, TRIPLE_FAULTING};
use super::{Bochs, Boot, Clock, Machine, Qemu, Reason, RunError, Serial, Start};
use crate::report::{RED, duration_text};

/// More than enough for an image that ends.
const LIMIT: Duration = Duration::from_secs(60);

/// For an image that never ends.
const SHORT_LIMIT: Duration = Duration::from_secs(2);

/// What is claimed of an emulator.
struct Claim<E> {
    words: &'static str,
    check: fn(&Trial<'_, E>) -> Result<(), Refuted>,
}

/// Why a claim does not hold.
#[derive(Debug, Error)]
enum Refuted {
    #[error("{0}")]
    Run(#[from] RunError),
    #[error("{0}")]
    File(#[from] Reason),
    #[error("{machine} wrote {was:?} and not {LINE:?}")]
    Text { machine: String, was: String },
    #[error("{machine} wrote {:?} in one run and {:?} in the other", a.as_str(), b.as_str())]
    Runs { machine: String, a: Serial, b: Serial },
    #[error("it ran and wrote {0:?}, and should have been refused")]
    Ran(String),
    #[error("it was refused for another reason: {0}")]
    Reason(RunError),
}

/// The claims that do not hold.
#[derive(Debug, Error)]
#[error("{count} of the claims above do not hold")]
pub(crate) struct ClaimsError {
    count: usize,
}

/// An emulator, and a folder for images.
struct Trial<'a, E> {
    emulator: &'a E,
    folder: RunFolder,
}

const BOCHS_CLAIMS: &[Claim<Bochs>] = &[
    Claim {
        words: "two models at once run an image and give its line",
        check: |trial| {
            let image = trial.image(&SPEAKING)?;
            let models = ["ryzen", "sapphire_rapids"].map(Machine::new);
            let run = |machine| trial.emulator.run(&image, machine, LIMIT);
            thread::scope(|scope| {
                let runs = models.each_ref().map(|machine| (machine, scope.spawn(move || run(machine))));
                runs.into_iter().try_for_each(|(machine, run)| {
                    let serial = run.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))?;
                    is_line(machine, &serial)
                })
            })
        },
    },
    Claim {
        words: "two runs of one image read the same TSC",
        check: |trial| {
            let image = trial.image(&TICKING)?;
            let machine = Machine::new("ryzen");
            are_equal(&machine, || trial.emulator.run(&image, &machine, LIMIT))
        },
    },
    Claim {
        words: "a machine with features added and removed and with two CPUs runs",
        check: |trial| {
            let machine = Machine { add: &["cet", "pku"], remove: &["svm"], cpus: 2, ..Machine::new("ryzen") };
            is_line(&machine, &trial.emulator.run(&trial.image(&SPEAKING)?, &machine, LIMIT)?)
        },
    },
    Claim {
        words: "a model that does not exist is refused",
        check: |trial| {
            let result = trial.emulator.run(&trial.image(&SPEAKING)?, &Machine::new("no_such_model"), LIMIT);
            is_refused(result, |reason| is_panic_about(reason, "'model'"))
        },
    },
    Claim {
        words: "a feature that does not exist is refused",
        check: |trial| {
            let machine = Machine { add: &["no_such_feature"], ..Machine::new("ryzen") };
            let result = trial.emulator.run(&trial.image(&SPEAKING)?, &machine, LIMIT);
            is_refused(result, |reason| is_panic_about(reason, "no_such_feature"))
        },
    },
    Claim {
        words: "an image that halts is ended at the time limit",
        check: |trial| {
            let result = trial.emulator.run(&trial.image(&HALTING)?, &Machine::new("ryzen"), SHORT_LIMIT);
            is_refused(result, |reason| matches!(reason, Reason::TimeLimit { .. }))
        },
    },
    Claim {
        words: "a triple fault is an error that names the instruction",
        check: |trial| {
            let result = trial.emulator.run(&trial.image(&TRIPLE_FAULTING)?, &Machine::new("ryzen"), LIMIT);
            is_refused(
                result,
                |reason| matches!(reason, Reason::TripleFault { instruction } if instruction.contains("int3")),
            )
        },
    },
    Claim {
        words: "an image that says nothing has not passed",
        check: |trial| {
            let result = trial.emulator.run(&trial.image(&SILENT)?, &Machine::new("ryzen"), LIMIT);
            is_refused(result, |reason| matches!(reason, Reason::NoSerial))
        },
    },
];

const QEMU_CLAIMS: &[Claim<Qemu>] = &[
    Claim {
        words: "a disk image gives its line, with instructions for a clock",
        check: |trial| {
            let image = trial.image(&SPEAKING)?;
            let start = Start { boot: Boot::Disk(&image), clock: Clock::Instructions, more: &[] };
            let machine = Machine::new("max");
            is_line(&machine, &trial.emulator.run(start, &machine, LIMIT)?)
        },
    },
    Claim {
        words: "two runs of one kernel read the same TSC, with instructions for a clock",
        check: |trial| {
            let image = trial.image(&TICKING_KERNEL)?;
            let start = Start { boot: Boot::Kernel(&image), clock: Clock::Instructions, more: &[] };
            let machine = Machine::new("max");
            are_equal(&machine, || trial.emulator.run(start, &machine, LIMIT))
        },
    },
    Claim {
        words: "a kernel gives its line, on two CPUs with the host's clock",
        check: |trial| {
            let machine = Machine { cpus: 2, remove: &["avx"], ..Machine::new("max") };
            is_line(&machine, &trial.run_kernel(&machine)?)
        },
    },
    Claim {
        words: "a model that does not exist is refused",
        check: |trial| {
            let result = trial.run_kernel(&Machine::new("no_such_model"));
            is_refused(result, |reason| is_panic_about(reason, "no_such_model"))
        },
    },
    Claim {
        words: "a feature that the interpreter lacks is refused",
        check: |trial| {
            let result = trial.run_kernel(&Machine { add: &["xsaves"], ..Machine::new("max") });
            is_refused(result, |reason| is_panic_about(reason, "xsaves"))
        },
    },
    Claim {
        words: "an image that halts is ended at the time limit",
        check: |trial| {
            let image = trial.image(&HALTING)?;
            let start = Start { boot: Boot::Disk(&image), clock: Clock::Host, more: &[] };
            let result = trial.emulator.run(start, &Machine::new("max"), SHORT_LIMIT);
            is_refused(result, |reason| matches!(reason, Reason::TimeLimit { .. }))
        },
    },
    Claim {
        words: "a triple fault is an error",
        check: |trial| {
            let image = trial.image(&TRIPLE_FAULTING)?;
            let start = Start { boot: Boot::Disk(&image), clock: Clock::Host, more: &[] };
            let result = trial.emulator.run(start, &Machine::new("max"), LIMIT);
            is_refused(result, |reason| matches!(reason, Reason::Ended { .. }))
        },
    },
];

impl Bochs {
    /// Tries what the rest relies on, and shows each claim with its outcome.
    ///
    /// # Errors
    /// When a claim does not hold.
    pub(crate) fn check_claims(&self) -> Result<(), ClaimsError> {
        check(self, &self.runs_dir, BOCHS_CLAIMS)
    }
}

impl Qemu {
    /// Tries what the rest relies on, and shows each claim with its outcome.
    ///
    /// # Errors
    /// When a claim does not hold.
    pub(crate) fn check_claims(&self) -> Result<(), ClaimsError> {
        check(self, &self.runs_dir, QEMU_CLAIMS)
    }
}

fn check<E>(emulator: &E, runs_dir: &Path, claims: &[Claim<E>]) -> Result<(), ClaimsError> {
    let count = claims.iter().filter(|claim| !claim.holds(emulator, runs_dir)).count();
    if count == 0 { Ok(()) } else { Err(ClaimsError { count }) }
}

impl<E> Claim<E> {
    fn holds(&self, emulator: &E, runs_dir: &Path) -> bool {
        let start = Instant::now();
        let trial = RunFolder::create(runs_dir).map_err(file_reason(runs_dir)).map(|folder| Trial { emulator, folder });
        let result = trial.map_err(Refuted::File).and_then(|trial| (self.check)(&trial));
        let took = duration_text(start.elapsed());
        match &result {
            Ok(()) => anstream::println!("ok      {} ({took})", self.words),
            Err(refuted) => anstream::println!("{RED}FAILED{RED:#}  {} ({took})\n  {refuted}", self.words),
        }
        result.is_ok()
    }
}

impl<E> Trial<'_, E> {
    /// Writes an image into the folder; one for each trial.
    fn image(&self, bytes: &[u8]) -> Result<PathBuf, Reason> {
        let path = self.folder.file("image");
        fs::write(&path, bytes).map_err(file_reason(&path))?;
        Ok(path)
    }
}

impl Trial<'_, Qemu> {
    fn run_kernel(&self, machine: &Machine<'_>) -> Result<Serial, RunError> {
        let refuse = |reason| RunError { machine: format!("QEMU {machine}"), reason, serial: Serial::default() };
        let kernel = self.image(&KERNEL).map_err(refuse)?;
        self.emulator.run(Start { boot: Boot::Kernel(&kernel), clock: Clock::Host, more: &[] }, machine, LIMIT)
    }
}

fn is_line(machine: &Machine<'_>, serial: &Serial) -> Result<(), Refuted> {
    if serial.as_str() == LINE && serial.last_line() == Some(LINE.trim_end()) {
        Ok(())
    } else {
        Err(Refuted::Text { machine: machine.to_string(), was: serial.as_str().to_owned() })
    }
}

/// Runs twice at once.
fn are_equal(machine: &Machine<'_>, run: impl Fn() -> Result<Serial, RunError> + Sync) -> Result<(), Refuted> {
    let (a, b) = thread::scope(|scope| {
        let other = scope.spawn(&run);
        (run(), other.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
    });
    let (a, b) = (a?, b?);
    if a == b { Ok(()) } else { Err(Refuted::Runs { machine: machine.to_string(), a, b }) }
}

fn is_refused(result: Result<Serial, RunError>, is_the_reason: impl Fn(&Reason) -> bool) -> Result<(), Refuted> {
    match result {
        Err(error) if is_the_reason(&error.reason) => Ok(()),
        Err(error) => Err(Refuted::Reason(error)),
        Ok(serial) => Err(Refuted::Ran(serial.as_str().to_owned())),
    }
}

fn is_panic_about(reason: &Reason, word: &str) -> bool {
    matches!(reason, Reason::Panic(lines) if lines.iter().any(|line| line.contains(word)))
}
