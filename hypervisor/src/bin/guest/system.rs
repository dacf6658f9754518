//! Registers outside extended state: model-specific, debug and control registers.
#![expect(unsafe_code, reason = "UNSAFETY: writes registers that nothing here depends on")]

use selfsame_hypervisor::{Fault, attempt, msr};
use selfsame_switch::{REGISTERS, Register};
use thiserror::Error;

use crate::checksum::Checksum;
use crate::compare::{Difference, Place};
use crate::machine::Machine;
use crate::random::Random;

/// Beside the rows of the table of switched registers: what guests alone use.
const IA32_S_CET: u32 = 0x6a2;
const IA32_INTERRUPT_SSP_TABLE: u32 = 0x6a8;

/// The bits of IA32_S_CET that change how ring 0 runs: SH_STK_EN, ENDBR_EN, TRACKER.
const EFFECTIVE_CET: u64 = 0x805;

/// How many MSRs there may be.
const MAX_MSRS: usize = REGISTERS.len() + 2;

/// Which values an MSR is given.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// These bits of anything.
    Bits(u64),
    /// These bits of an address, which then is one.
    AddressBits(u64),
    /// It is not written, and stays what it is.
    Own,
}

/// One MSR and what it should hold.
#[derive(Clone, Copy, Debug)]
struct Held {
    number: u32,
    name: &'static str,
    values: Values,
    value: u64,
}

/// The debug registers and CR2: their names, and how they are read and written.
struct Special {
    name: &'static str,
    read: fn() -> u64,
    write: unsafe fn(u64) -> Result<(), Fault>,
}

/// DR6 and DR7 come last: breakpoints are there before they are switched on.
const SPECIALS: [Special; 7] = [
    Special { name: "cr2", read: attempt::cr2, write: attempt::write_cr2 },
    Special { name: "dr0", read: attempt::dr0, write: attempt::write_dr0 },
    Special { name: "dr1", read: attempt::dr1, write: attempt::write_dr1 },
    Special { name: "dr2", read: attempt::dr2, write: attempt::write_dr2 },
    Special { name: "dr3", read: attempt::dr3, write: attempt::write_dr3 },
    Special { name: "dr6", read: attempt::dr6, write: attempt::write_dr6 },
    Special { name: "dr7", read: attempt::dr7, write: attempt::write_dr7 },
];

/// A control register that is written by nobody here.
struct Fixed {
    name: &'static str,
    read: fn() -> u64,
}

const FIXED: [Fixed; 4] = [
    Fixed { name: "cr0", read: attempt::cr0 },
    Fixed { name: "cr3", read: attempt::cr3 },
    Fixed { name: "cr4", read: attempt::cr4 },
    Fixed { name: "cr8", read: attempt::cr8 },
];

/// What all registers outside extended state should hold.
#[derive(Clone, Debug)]
pub(crate) struct System {
    msrs: [Option<Held>; MAX_MSRS],
    specials: [u64; SPECIALS.len()],
    fixed: [u64; FIXED.len()],
}

/// A register that CPUID shows, or that every CPU has, faults.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[error("{what} {place} faults with {fault}")]
pub(crate) struct SystemError {
    what: &'static str,
    place: Place,
    fault: Fault,
}

impl System {
    /// Finds which registers there are, and what they hold.
    ///
    /// # Errors
    ///
    /// One that should be there is not.
    pub(crate) fn found(machine: &Machine) -> Result<Self, SystemError> {
        let switched = REGISTERS.iter().filter(|row| row.is_on(&machine.leaves));
        let switched = switched.map(|row| (row.number, row.name, values(row.register, machine)));
        let cet = Values::AddressBits(machine.cet_bits & !EFFECTIVE_CET);
        let cet = machine.has_any(&["shstk", "ibt"]).then_some((IA32_S_CET, "S_CET", cet));
        let table = (IA32_INTERRUPT_SSP_TABLE, "INTERRUPT_SSP_TABLE", ADDRESS);
        let table = machine.has("shstk").then_some(table);
        let mut msrs = [None; MAX_MSRS];
        for (place, (number, name, values)) in msrs.iter_mut().zip(switched.chain(cet).chain(table)) {
            let value = read(number, name)?;
            *place = Some(Held { number, name, values, value });
        }
        let specials = SPECIALS.map(|special| (special.read)());
        Ok(Self { msrs, specials, fixed: FIXED.map(|register| (register.read)()) })
    }

    /// Puts new values into all registers that take some.
    ///
    /// # Errors
    ///
    /// One of them does not take a value that it should.
    pub(crate) fn change(&mut self, random: &mut Random) -> Result<(), SystemError> {
        for held in self.msrs.iter_mut().flatten() {
            held.value = new_value(held, random);
        }
        let [cr2, dr0, dr1, dr2, dr3, dr6, dr7] = &mut self.specials;
        for address in [cr2, dr0, dr1, dr2, dr3] {
            // Beyond the memory that is mapped, in either half: no breakpoint is ever met.
            *address = random.address() | 1 << 40;
        }
        *dr6 = random_dr6(random);
        *dr7 = random_dr7(random);
        self.write()
    }

    /// Writes what the registers should hold.
    ///
    /// # Errors
    ///
    /// As [`System::change`].
    pub(crate) fn write(&self) -> Result<(), SystemError> {
        for &Held { number, name, values, value } in self.msrs.iter().flatten() {
            if matches!(values, Values::Own) {
                continue;
            }
            // SAFETY: what is compiled here uses no segment base, no SYSCALL, no key and no shadow stack; the base's
            // way to ring 3, which uses GS, is not taken before the first value is back.
            let outcome = unsafe { msr::write(number, value) };
            outcome.map_err(|fault| SystemError { what: "writing", place: Place::Msr(number, name), fault })?;
        }
        for (special, &value) in SPECIALS.iter().zip(&self.specials) {
            // SAFETY: no page fault is waiting to be looked at, and breakpoints are where nothing is.
            let outcome = unsafe { (special.write)(value) };
            let place = Place::Register(special.name);
            outcome.map_err(|fault| SystemError { what: "writing", place, fault })?;
        }
        Ok(())
    }

    /// Compares what the registers hold with what they should, and adds it to the checksum.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub(crate) fn verify(&self, checksum: &mut Checksum) -> Result<(), Difference> {
        for held in self.msrs.iter().flatten() {
            let place = Place::Msr(held.number, held.name);
            let found = msr::read(held.number).map_err(|fault| Difference::Fault { place, fault })?;
            checksum.add(found);
            Difference::check(place, held.value, found)?;
        }
        for (special, &expected) in SPECIALS.iter().zip(&self.specials) {
            let found = (special.read)();
            checksum.add(found);
            Difference::check(Place::Register(special.name), expected, found)?;
        }
        for (register, &expected) in FIXED.iter().zip(&self.fixed) {
            Difference::check(Place::Register(register.name), expected, (register.read)())?;
        }
        Ok(())
    }
}

fn read(number: u32, name: &'static str) -> Result<u64, SystemError> {
    msr::read(number).map_err(|fault| SystemError { what: "reading", place: Place::Msr(number, name), fault })
}

const ADDRESS: Values = Values::AddressBits(u64::MAX);

fn values(register: Register, machine: &Machine) -> Values {
    const LOW: Values = Values::Bits(0xffff_ffff);
    match register {
        Register::FsBase | Register::GsBase | Register::KernelGsBase | Register::Lstar | Register::Cstar => ADDRESS,
        Register::Star => Values::Bits(u64::MAX),
        Register::Sfmask | Register::TscAux => LOW,
        Register::SysenterCs => Values::Bits(0xffff),
        // AMD CPUs keep 32 bits (APM vol. 2, 6.1.2).
        Register::SysenterEsp | Register::SysenterEip if machine.leaves.vendor().is_amd_like() => LOW,
        Register::SysenterEsp | Register::SysenterEip => ADDRESS,
        Register::SpecCtrl => Values::Bits(speculation(machine)),
        // No key of ring 0 is closed whose pages this program uses: they have key 0.
        Register::Pkrs => Values::Bits(0xffff_fffc),
        _ => Values::Own,
    }
}

fn new_value(held: &Held, random: &mut Random) -> u64 {
    match held.values {
        Values::Bits(bits) => random.next() & bits,
        Values::AddressBits(bits) => random.address() & bits,
        Values::Own => held.value,
    }
}

/// The bits of IA32_SPEC_CTRL that CPUID shows (SDM vol. 4; APM vol. 2, 3.2.9).
fn speculation(machine: &Machine) -> u64 {
    let bits: [(u32, &[&str]); 3] =
        [(0, &["spec-ctrl", "ibrs"]), (1, &["stibp", "amd-stibp"]), (2, &["ssbd", "amd-ssbd"])];
    bits.into_iter().filter(|(_, names)| machine.has_any(names)).map(|(bit, _)| 1 << bit).sum()
}

/// Bits 0 to 3, BD, BS and BT; the others have fixed values (SDM vol. 3B, 17.2.3).
fn random_dr6(random: &mut Random) -> u64 {
    const CHANGEABLE: u64 = 0xe00f;
    const ONES: u64 = 0xffff_0ff0;
    random.next() & CHANGEABLE | ONES
}

/// No breakpoint is on, or one for instructions (SDM vol. 3B, 17.2.4).
fn random_dr7(random: &mut Random) -> u64 {
    /// LE and GE, which do nothing on any CPU with 64-bit mode.
    const EXACT: u64 = 0x300;
    /// R/W and LEN of all four.
    const CONDITIONS: u64 = 0xffff_0000;
    const ONE: u64 = 0x400;
    let exact = random.next() & EXACT | ONE;
    // With breakpoints off, their conditions are only stored.
    if random.is_one_of(4) { exact | 1 << random.below(8) } else { exact | random.next() & CONDITIONS }
}
