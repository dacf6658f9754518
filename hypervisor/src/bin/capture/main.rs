//! Captures the machine that it is booted on: every CPU's CPUID leaves and MSRs, and what levelling hardware it has, as
//! a capture on the serial port.
//!
//! CPUID is walked and MSRs are chosen by the code that `selfsame capture` has ([`selfsame_cpuid::walk`],
//! [`selfsame_cpuid::CAPTURED_MSRS`]). The capture is called `unnamed`: who boots the machine knows what it is.
#![cfg_attr(bare, no_std)]
#![cfg_attr(bare, no_main)]

mod levelling;
mod sections;
mod survey;

use core::fmt::{self, Write};

use selfsame_cpuid::text::{Document, Statement, TextWriter};
use selfsame_cpuid::{Capability, LevellingCapabilities};
use selfsame_hypervisor::{Cpu, MAX_CPUS, Outcome, Published, Serial, program, start};

use crate::sections::Rows;
use crate::survey::{Survey, SurveyError};

program!(run);

/// By CPU; those that are not there stay empty.
static SURVEYS: [Published<Result<Survey, SurveyError>>; MAX_CPUS] = [const { Published::new() }; MAX_CPUS];

/// Surveys one CPU after the other: the threads of a core may share masking MSRs, which a survey changes for a moment.
fn run(boot_cpu: &'static Cpu) -> Outcome {
    survey(boot_cpu);
    // Emulators number their CPUs without gaps, from the boot CPU's 0.
    for apic_id in 1..MAX_CPUS {
        let Some(cpu) = u8::try_from(apic_id).ok().and_then(|apic_id| start(apic_id, survey)) else { break };
        while SURVEYS.get(cpu.index()).is_some_and(|survey| survey.get().is_none()) {
            core::hint::spin_loop();
        }
    }
    for survey in SURVEYS.iter().filter_map(Published::get) {
        if let Err(error) = survey {
            // Writing to the serial port does not fail.
            let _ = writeln!(Serial::com1(), "error: {error}");
            return Outcome::Failure;
        }
    }
    write(Serial::com1()).map_or(Outcome::Failure, |_| Outcome::Success)
}

fn survey(cpu: &'static Cpu) {
    if let Some(place) = SURVEYS.get(cpu.index()) {
        // Each CPU comes here once.
        let _ = place.publish(Survey::new());
    }
}

/// Writes the capture of all surveys.
fn write<W: Write>(sink: W) -> Result<W, fmt::Error> {
    let surveys = || SURVEYS.iter().map(|place| place.get().and_then(|survey| survey.as_ref().ok()));
    let mut cpus: [Rows<'_>; MAX_CPUS] = [&[]; MAX_CPUS];
    for (rows, survey) in cpus.iter_mut().zip(surveys()) {
        *rows = survey.map(Survey::rows).unwrap_or_default();
    }
    let on_every_cpu = surveys().flatten().map(|survey| survey.levelling).reduce(LevellingCapabilities::intersection);

    let mut writer = TextWriter::begin(sink, Document::Capture)?;
    writer.statement(&Statement::Name("unnamed"))?;
    writer.statement(&Statement::Source("cpuid"))?;
    writeln!(writer, "context levelling={}", Levelling(on_every_cpu.unwrap_or_default()))?;
    sections::write(&mut writer, &cpus)?;
    writer.end()
}

/// Levelling hardware as a word of the context: `none`, or names joined by commas.
struct Levelling(LevellingCapabilities);

impl fmt::Display for Levelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        self.0.iter().try_for_each(|capability: Capability| {
            let separator = core::mem::replace(&mut separator, ",");
            write!(f, "{separator}{capability}")
        })
    }
}
