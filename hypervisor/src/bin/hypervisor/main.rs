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
mod turns;
mod virtual_cpu;
mod vmcs;
mod vmx;

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

use selfsame_hypervisor::{Cpu, MAX_CPUS, Outcome, Published, Serial, map_tables, program, start};

use crate::counts::Operation;
use crate::guest::{GUESTS, Guest};
use crate::machine::Machine;
use crate::parameters::Parameters;
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
    report(out, cpus)
}

/// What the other CPUs do.
fn run_guests(cpu: &'static Cpu) {
    if let Some(plan) = PLAN.get() {
        turns::run(cpu, plan);
    }
}

fn report(out: &mut Serial, cpus: usize) -> Result<Outcome, fmt::Error> {
    for (index, place) in REPORTS.iter().enumerate().take(cpus) {
        let report = loop {
            if let Some(report) = *place.lock() {
                break report;
            }
            core::hint::spin_loop();
        };
        writeln!(out, "cpu {index}: {} switches, {} exits", report.switches, report.exits)?;
        writeln!(out, "cpu {index}: switches executed {}", report.by_switches)?;
        writeln!(out, "cpu {index}: one switch at most {} xsetbv, {} wrmsr", report.most_xsetbv, report.most_wrmsr)?;
        writeln!(out, "cpu {index}: exits executed {}", report.by_exits)?;
        let each = report.switch_ticks.checked_div(report.switches).unwrap_or_default();
        writeln!(out, "cpu {index}: {each} ticks a switch")?;
    }
    let mut moved = 0;
    let mut has_bounds = true;
    for report in REPORTS.iter().filter_map(|place| *place.lock()) {
        moved += report.by_exits.get(Operation::Save);
        has_bounds &= report.is_within_bounds();
    }
    let widened: u64 = GUESTS.iter().filter_map(|guest| guest.lock().as_ref().map(|guest| guest.widened)).sum();
    if !has_bounds || moved > widened {
        writeln!(out, "more was executed than docs/switch.md says: {moved} moves at exits, {widened} wider XCR0")?;
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
