//! Tries what the base promises, claim by claim, on the machine that it is booted on; the last line is `passed` or
//! `FAILED`.
#![cfg_attr(bare, no_std)]
#![cfg_attr(bare, no_main)]

use core::fmt::{self, Write};
use core::hint::{black_box, spin_loop};

use selfsame_hypervisor::{
    Cpu, Cr4, Fault, MAX_CPUS, Outcome, Published, Serial, cpuid_in_ring_3, program, set_cr4, start, write_xcr0,
};
use selfsame_x86::cpuid;

program!(run);

/// One promise, and what tries it.
struct Claim {
    words: &'static str,
    holds: fn(&'static Cpu) -> bool,
}

const CLAIMS: &[Claim] = &[
    Claim { words: "the boot CPU has the area of its local APIC ID", holds: |cpu| cpu.index() == apic_id() },
    Claim {
        words: "XSETBV faults with #UD before it is switched on, and with #GP(0) on a value without x87 after",
        holds: |_| {
            write_xcr0(1) == Err(UNDEFINED)
                && set_cr4(Cr4::OsXsave) == Ok(())
                && write_xcr0(0) == Err(PROTECTION)
                && write_xcr0(3) == Ok(())
        },
    },
    Claim {
        words: "what is computed around a fault stays as it was",
        holds: |_| {
            let (integers, floats) = black_box(([1_u64, 2, 3, 5, 8, 13], [0.5_f64, 0.25, 0.125, 8.0]));
            let faulted = write_xcr0(0).is_err();
            faulted && integers.iter().sum::<u64>() == 32 && floats.iter().sum::<f64>().to_bits() == 8.875_f64.to_bits()
        },
    },
    Claim {
        words: "CPUID answers the same in ring 3, time and again",
        holds: |_| {
            let is_same = |leaf, subleaf| cpuid_in_ring_3(leaf, subleaf) == Ok(cpuid(leaf, subleaf));
            (0..100).all(|_| is_same(0, 0) && is_same(1, 0) && is_same(0x8000_0001, 0) && is_same(0xd, 0))
        },
    },
    Claim {
        words: "overlapping bytes are moved whole, up and down",
        holds: |_| {
            let mut bytes = *b"to and fro, here and there, .....";
            bytes.copy_within(0..28, black_box(5));
            let is_up = bytes.ends_with(b"to and fro, here and there, ");
            bytes.copy_within(5..33, black_box(0));
            is_up && bytes.starts_with(b"to and fro, here and there, ")
        },
    },
    Claim {
        words: "bytes are compared by the first that differs",
        holds: |_| {
            let (a, b) = black_box(([0_u8, 1, 2, 0xff], [0_u8, 1, 3, 0]));
            a < b && a != b && black_box(a) == a
        },
    },
    Claim {
        words: "a second CPU runs its work in its own area, once",
        holds: |_| {
            let Some(cpu) = start(1, report) else { return false };
            let reported = loop {
                match REPORTS[1].get() {
                    Some(report) => break *report,
                    None => spin_loop(),
                }
            };
            let expected = Report { index: 1, apic_id: 1, fault: Err(UNDEFINED), has_ring_3: true };
            cpu.index() == 1 && reported == expected && start(1, report).is_none()
        },
    },
    Claim {
        words: "a CPU that is not there does not come up, nor one that is up already",
        holds: |cpu| {
            start(2, report).is_none() && u8::try_from(cpu.index()).is_ok_and(|own| start(own, report).is_none())
        },
    },
];

const UNDEFINED: Fault = Fault { vector: 6, error: 0 };
const PROTECTION: Fault = Fault { vector: 13, error: 0 };

fn run(cpu: &'static Cpu) -> Outcome {
    try_all(cpu, &mut Serial::com1()).unwrap_or(Outcome::Failure)
}

fn try_all(cpu: &'static Cpu, serial: &mut Serial) -> Result<Outcome, fmt::Error> {
    let mut outcome = Outcome::Success;
    for Claim { words, holds } in CLAIMS {
        let does_hold = holds(cpu);
        writeln!(serial, "{} {words}", if does_hold { "ok    " } else { "FAILED" })?;
        if !does_hold {
            outcome = Outcome::Failure;
        }
    }
    writeln!(serial, "{}", if outcome == Outcome::Success { "passed" } else { "FAILED" })?;
    Ok(outcome)
}

/// What another CPU says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    index: usize,
    apic_id: usize,
    fault: Result<(), Fault>,
    has_ring_3: bool,
}

static REPORTS: [Published<Report>; MAX_CPUS] = [const { Published::new() }; MAX_CPUS];

fn report(cpu: &'static Cpu) {
    let has_ring_3 = cpuid_in_ring_3(1, 0) == Ok(cpuid(1, 0));
    let report = Report { index: cpu.index(), apic_id: apic_id(), fault: write_xcr0(1), has_ring_3 };
    // Each CPU comes here once.
    let _ = REPORTS[cpu.index()].publish(report);
}

fn apic_id() -> usize {
    (cpuid(1, 0).ebx >> 24) as usize
}
