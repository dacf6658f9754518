//! Rounds: state is made, loaded, kept through a wait, and verified.
#![expect(unsafe_code, reason = "UNSAFETY: plays rounds")]

use selfsame_hypervisor::{attempt, guest_ports};
use selfsame_xstate::{Component, ComponentSet, ImageFault, SaveMethod, Xcr0};
use thiserror::Error;

use crate::area::Area;
use crate::checksum::Checksum;
use crate::compare::{Difference, Place, compare};
use crate::machine::Machine;
use crate::parameters::Parameters;
use crate::random::Random;
use crate::round::{Block, Masks, Wait};
use crate::state::Form;
use crate::system::{System, SystemError};

/// How many rounds there are between two tellings of progress.
const TELLING: u64 = 1000;

/// How many values of XCR0 a wait may choose from.
const NARROW: usize = 16;

/// What went wrong in a round.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub(crate) enum RoundError {
    #[error("{0}")]
    System(#[from] SystemError),
    #[error("wrong: {difference} in round {round}")]
    Wrong { difference: Difference, round: u64 },
    #[error("wrong: the image that was saved in round {round}: {fault}")]
    Saved { fault: ImageFault, round: u64 },
    #[error("this program made an image in round {round} that it cannot read: {fault}")]
    Made { fault: ImageFault, round: u64 },
}

/// What the rounds verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verified {
    pub(crate) checksum: Checksum,
    /// The components that were in use when they were verified, in any round.
    pub(crate) in_use: ComponentSet,
}

/// Plays all rounds.
///
/// # Errors
///
/// The first difference.
pub(crate) fn play(parameters: &Parameters, machine: &Machine, form: &Form<'_>) -> Result<Verified, RoundError> {
    let mut random = Random::new(parameters.seed);
    let mut system = System::found(machine)?;
    let first = system.clone();
    let narrow = narrow_values(machine, &mut random);
    let (mut image, mut saved) = (Area::new(), Area::new());
    let mut verified = Verified { checksum: Checksum::new(), in_use: ComponentSet::EMPTY };
    let masks = Masks { xcr0: machine.xcr0, xss: machine.xss };
    for round in 0..parameters.rounds {
        let wrong = |difference| RoundError::Wrong { difference, round };
        if random.is_one_of(4) {
            system.change(&mut random)?;
        }
        form.make(&mut image, &mut random);
        form.clear(&mut saved);
        let spins = 1 + random.below(parameters.spin);
        let wait = if round % 2 == 0 || parameters.spin == 0 { Wait::Yield } else { Wait::Spin(spins) };
        let wait_masks = if random.is_one_of(8) { narrowed(machine, &narrow, &mut random) } else { masks };
        // Key 0 is every page's, and stays open.
        let pkru = machine.has_ungated_pkru.then(|| random.next_32() & !3);
        if let Some(pkru) = pkru {
            write_pkru(pkru).map_err(wrong)?;
        }
        let mut block = Block::new(machine.method, form.components(), wait, &mut random);
        // SAFETY: CPUID shows the method, and everything is on. XCR0 takes what was tried, and IA32_XSS parts of what
        // it has. The image is one that a CPU saves; of it nothing works in ring 0 but registers that compiled code
        // does not rely on.
        unsafe { block.play(&image, &mut saved, masks, wait_masks) };
        if let Some(pkru) = pkru {
            verify_pkru(pkru).map_err(wrong)?;
        }
        if machine.xcr0.contains(Component::PKRU) {
            // Bochs 3.1 takes its slowest way for every write of ring 0, too, while PKRU forbids writes under key 0.
            let _ = attempt::wrpkru(0, 0, 0);
        }

        block.verify().map_err(wrong)?;
        let expected = form.read(&image).map_err(|fault| RoundError::Made { fault, round })?;
        let found = form.read(&saved).map_err(|fault| RoundError::Saved { fault, round })?;
        compare(form.components(), &expected, &found, &mut verified.checksum).map_err(wrong)?;
        verified.in_use = verified.in_use.union(found.in_use());
        system.verify(&mut verified.checksum).map_err(wrong)?;
        if (round + 1) % TELLING == 0 {
            guest_ports::tell_progress(u32::try_from(round + 1).unwrap_or(u32::MAX));
        }
    }
    first.write()?;
    Ok(verified)
}

const PKRU: Place = Place::Register("pkru");

fn write_pkru(value: u32) -> Result<(), Difference> {
    attempt::wrpkru(value, 0, 0).map_err(|fault| Difference::Fault { place: PKRU, fault })
}

fn verify_pkru(expected: u32) -> Result<(), Difference> {
    let found = attempt::rdpkru(0).map_err(|fault| Difference::Fault { place: PKRU, fault })?;
    Difference::check(PKRU, expected.into(), found.into())
}

/// Values that XCR0 takes on this machine.
fn narrow_values(machine: &Machine, random: &mut Random) -> [ComponentSet; NARROW] {
    let mut values = [machine.xcr0; NARROW];
    if machine.method == SaveMethod::Fxsave {
        return values;
    }
    for value in &mut values {
        let tries = core::iter::repeat_with(|| random.next() & machine.xcr0.bits() | 1);
        let lawful = tries.take(256).find_map(|bits| Xcr0::new(bits, machine.xcr0).ok());
        *value = lawful.map_or(machine.xcr0, Xcr0::components);
    }
    values
}

/// Less than everything in XCR0 and IA32_XSS: what they lack keeps its state (SDM vol. 1, 13.3).
fn narrowed(machine: &Machine, narrow: &[ComponentSet], random: &mut Random) -> Masks {
    let xcr0 = random.of(narrow).copied().unwrap_or(machine.xcr0);
    Masks { xcr0, xss: machine.xss.intersection(ComponentSet::from_bits(random.next())) }
}
