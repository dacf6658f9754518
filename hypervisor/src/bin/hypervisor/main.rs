//! The reference hypervisor: it proves the crates in ring 0. HVM guests verify their own state while they are switched,
//! and the last line on the serial port is `passed` or `FAILED`.
//!
//! It holds no rule about features, sizes or switching: policies come from `selfsame-cpuid`, areas and what XCR0 and
//! IA32_XSS may be from `selfsame-xstate`, every switch from `selfsame-switch`, and the step from `selfsame-x86`.
#![cfg_attr(bare, no_std)]
#![cfg_attr(bare, no_main)]
#![cfg_attr(not(bare), allow(dead_code, reason = "on a host, nothing starts guests"))]

mod context;
mod control_registers;
mod counts;
mod entry;
mod exit;
mod guest;
mod guest_memory;
mod instruction;
mod machine;
mod parameters;
mod say;
mod svm;
mod tally;
mod turns;
mod virtual_cpu;
mod vmcs;
mod vmx;

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

use selfsame_hypervisor::{Cpu, MAX_CPUS, Outcome, Published, Serial, map_tables, program, start};

use crate::guest::{GUESTS, Guest};
use crate::machine::Machine;
use crate::parameters::Parameters;
use crate::tally::Tally;
use crate::turns::{HAS_FAILED, Plan, REPORTS};

program!(run);

/// The disk image of the guest program: `build.rs` says where it is.
static GUEST_IMAGE: &[u8] = include_bytes!(env!("SELFSAME_GUEST_IMAGE"));

static PLAN: Published<Plan> = Published::new();

fn run(cpu: &'static Cpu) -> Outcome {
    let mut serial = Serial::com1();
    let outcome = boot(cpu, &mut serial).unwrap_or(Outcome::Failure);
    // Writing to the serial port does not fail.
    let _ = writeln!(serial, "{}", if outcome == Outcome::Success { "passed" } else { "FAILED" });
    outcome
}

fn boot(cpu: &'static Cpu, out: &mut Serial) -> Result<Outcome, fmt::Error> {
    macro_rules! or_say {
        ($result:expr, $($words:tt)*) => {
            match $result {
                Ok(value) => value,
                Err(error) => {
                    write!(out, $($words)*)?;
                    writeln!(out, "{error}")?;
                    return Ok(Outcome::Failure);
                }
            }
        };
    }
    let text = or_say!(selfsame_hypervisor::parameters(), "parameters: ");
    let parameters = or_say!(Parameters::read(text), "parameters: ");
    let machine = or_say!(Machine::survey(parameters.unnamed), "");
    let has_right_sizes = machine.report(out)?;
    if !has_right_sizes {
        return Ok(Outcome::Failure);
    }

    let cpus = parameters.cpus.clamp(1, MAX_CPUS);
    for (number, guest) in (0_u16..).zip(parameters.guests.iter().flatten()) {
        let home = usize::from(number) % cpus;
        let made = or_say!(Guest::new(&machine, GUEST_IMAGE, guest, number, home), "guest {}: ", guest.name);
        let (xcr0, xss) = (made.policy.leaves.xcr0(), made.policy.leaves.xss());
        writeln!(
            out,
            "guest {}: xcr0 {:#x} xss {:#x}, save area {} bytes",
            made.name,
            xcr0.bits(),
            xss.bits(),
            made.area_bytes()
        )?;
        if let Some(place) = GUESTS.get(usize::from(number)) {
            *place.lock() = Some(made);
        }
    }

    let tables = core::array::from_fn(map_tables);
    let plan = Plan {
        machine,
        tables,
        timer_ticks: parameters.timer_ticks,
        turns_before_move: parameters.turns_before_move,
        cpus,
    };
    let Ok(()) = PLAN.publish(plan) else { return Ok(Outcome::Failure) };
    let Some(plan) = PLAN.get() else { return Ok(Outcome::Failure) };
    for apic_id in 1..cpus {
        let is_up = u8::try_from(apic_id).ok().and_then(|apic_id| start(apic_id, run_guests)).is_some();
        if !is_up {
            writeln!(out, "cpu {apic_id} does not come up")?;
            return Ok(Outcome::Failure);
        }
    }
    turns::run(cpu, plan);
    report(out, &plan.machine, cpus)
}

/// What the other CPUs do.
fn run_guests(cpu: &'static Cpu) {
    if let Some(plan) = PLAN.get() {
        turns::run(cpu, plan);
    }
}

fn report(out: &mut Serial, machine: &Machine, cpus: usize) -> Result<Outcome, fmt::Error> {
    let mut all = Tally::EMPTY;
    for (index, place) in REPORTS.iter().enumerate().take(cpus) {
        let report = loop {
            if let Some(report) = *place.lock() {
                break report;
            }
            core::hint::spin_loop();
        };
        writeln!(out, "cpu {index}: {} switches, {} exits", report.tally.switches(), report.exits)?;
        all.join(&report.tally);
    }
    let Ok(foreseen) = Tally::foreseen(machine.platform) else {
        writeln!(out, "docs/switch.md cannot be told for this machine")?;
        return Ok(Outcome::Failure);
    };
    let is_as_foreseen = all.report(&foreseen, out)?;
    let widened: u64 = GUESTS.iter().filter_map(|guest| guest.lock().as_ref().map(|guest| guest.widened)).sum();
    let saves = all.saves_without_switch();
    if !is_as_foreseen || saves > widened {
        writeln!(out, "this is not what docs/switch.md says: {saves} saves without a switch, {widened} wider masks")?;
        return Ok(Outcome::Failure);
    }
    let mut outcome = if HAS_FAILED.load(Ordering::Relaxed) { Outcome::Failure } else { Outcome::Success };
    for guest in &GUESTS {
        if let Some(guest) = guest.lock().as_ref()
            && guest.outcome != Some(Outcome::Success)
        {
            writeln!(out, "{}: did not end well", guest.name)?;
            outcome = Outcome::Failure;
        }
    }
    Ok(outcome)
}
