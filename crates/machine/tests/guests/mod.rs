//! What the guests of the proofs do, and how much a switch may cost.
#![allow(dead_code, unused_imports, reason = "every test file uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is the failure of the test that calls it")]

mod dice;

pub(crate) use dice::Dice;

use selfsame_machine::proof::{
    Action, Case, Client, FIRST_GUEST_SELECTOR, GuestKind, GuestShape, Levelling, MachineShape, SaveInstructions,
    Violation, World,
};
use selfsame_machine::{Cr4, Selector, Virtualisation, What, msr};
use selfsame_xstate::{Component, ComponentSet};

/// A machine that has everything.
pub(crate) fn machine() -> MachineShape {
    MachineShape {
        virtualisation: Virtualisation::Vmx,
        save: SaveInstructions::Xsaves,
        levelling: Levelling::Faulting,
        has_amx: true,
        has_cet: true,
        has_pku: true,
    }
}

/// An HVM guest that has everything: number 0 of its domain.
pub(crate) fn hvm(domain: u16) -> GuestShape {
    GuestShape { has_amx: true, has_cet: true, has_pku: true, ..GuestShape::plain(GuestKind::Hvm, domain, 0) }
}

/// Which of three rounds of work: they differ in what they leave behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Round {
    /// Everything is enabled and in use.
    First,
    /// What may be off is off, and what may be initial is.
    Second,
    /// A mixture.
    Third,
}

/// Has the guest that a CPU is in use all it has. Does nothing in idle.
pub(crate) fn work<C: Client>(world: &mut World<C>, cpu: u16, round: Round) -> Result<(), Violation> {
    let Some(vcpu) = world.running(cpu) else { return Ok(()) };
    let machine = *world.shape();
    let shape = world.guest(vcpu).unwrap().shape;
    let user = shape.user(&machine);
    let has_xsave = machine.save != SaveInstructions::Fxsave;
    let osxsave = if has_xsave { Cr4::OSXSAVE } else { Cr4::default() };

    let mut act = |action| world.act(cpu, action);
    act(Action::TaskSwitched(false))?;
    if has_xsave {
        act(Action::Xcr0(user))?;
    }
    if shape.has_pku {
        act(Action::Cr4(osxsave.union(Cr4::PKE)))?;
    }
    if shape.has_cet {
        act(Action::Xss(shape.supervisor()))?;
    }
    if !shape.xfd().is_empty() {
        act(Action::Xfd(ComponentSet::EMPTY))?;
    }
    for component in user | shape.supervisor() {
        act(Action::Write(component))?;
    }
    act(Action::Mxcsr(if round == Round::Second { 0x1F80 } else { 0x1FA0 }))?;
    act(Action::X87 { raises_exception: round == Round::First })?;
    act(Action::SaveAndRestore)?;

    for &index in &[msr::TSC_AUX, msr::SPEC_CTRL, msr::PQR_ASSOC, msr::KERNEL_GS_BASE] {
        if world.guest(vcpu).unwrap().msrs.contains_key(&index) {
            world.act(cpu, Action::Msr(index))?;
        }
    }
    if shape.kind.is_pv() {
        work_pv(world, cpu, round, osxsave)?;
    } else {
        for index in [msr::STAR, msr::LSTAR, msr::SFMASK, msr::SYSENTER_EIP] {
            world.act(cpu, Action::Msr(index))?;
        }
    }
    world.act(cpu, Action::Debug)?;
    world.act(cpu, Action::Breakpoints { are_on: round != Round::Second })?;
    world.act(cpu, Action::Debug)?;

    let mut act = |action| world.act(cpu, action);
    match round {
        Round::First => {}
        Round::Second => {
            for component in user {
                act(Action::Initialise(component))?;
            }
            if has_xsave {
                act(Action::Xcr0(ComponentSet::LEGACY))?;
            }
        }
        Round::Third => {
            if !shape.xfd().is_empty() {
                act(Action::Xfd(shape.xfd()))?;
                act(Action::Write(Component::XTILEDATA))?;
                act(Action::XfdErr(ComponentSet::EMPTY.with(Component::APX)))?;
            }
            act(Action::TaskSwitched(true))?;
        }
    }
    Ok(())
}

fn work_pv<C: Client>(world: &mut World<C>, cpu: u16, round: Round, osxsave: Cr4) -> Result<(), Violation> {
    let shape = world.guest(world.running(cpu).unwrap()).unwrap().shape;
    let mut act = |action| world.act(cpu, action);
    for (register, selector) in Selector::ALL.into_iter().zip((FIRST_GUEST_SELECTOR..).step_by(8)) {
        act(Action::Select(register, if round == Round::Second { 0 } else { selector }))?;
    }
    let cr4 = match round {
        Round::First => osxsave.union(Cr4::FSGSBASE),
        Round::Second => Cr4::TSD,
        Round::Third => osxsave,
    };
    act(Action::Cr4(cr4))?;
    if shape.kind == GuestKind::Pv64 {
        // Without CR4.FSGSBASE the instruction is undefined, and the guest asks for a base instead.
        act(Action::Base(Selector::Fs))?;
        act(Action::Msr(msr::GS_BASE))?;
    }
    act(Action::Ldt(if round == Round::Second { 0 } else { 5 }))
}

/// How many XSETBV a switch from vCPU 0 to vCPU 1 may have: none between equal values, one if one of the two values has all
/// that both guests may enable, and never more than two.
fn most_xsetbv<C: Client>(world: &World<C>) -> usize {
    let (Some(from), Some(to)) = (world.guest(0), world.guest(1)) else { return 2 };
    let all = from.shape.user(world.shape()) | to.shape.user(world.shape());
    match (all.is_subset_of(from.xcr0), all.is_subset_of(to.xcr0)) {
        (true, true) => 0,
        (false, false) => 2,
        _ => 1,
    }
}

/// What one switch cost, to be held against what it may.
pub(crate) struct Bounds<'c> {
    case: &'c Case,
    is_equal_policy: bool,
    most_xsetbv: usize,
    events: Vec<selfsame_machine::Event>,
}

impl<'c> Bounds<'c> {
    /// Takes the switch that CPU 0 has just done.
    pub(crate) fn of<C: Client>(world: &mut World<C>, case: &'c Case) -> Self {
        let has_osxsave =
            |vcpu: usize, world: &World<C>| world.guest(vcpu).is_some_and(|g| g.cr4.contains(Cr4::OSXSAVE));
        let is_equal_policy = match (case.leaving(), case.arriving()) {
            (Some(from), Some(to)) => {
                from.policy(world.shape()) == to.policy(world.shape()) && has_osxsave(0, world) == has_osxsave(1, world)
            }
            _ => false,
        };
        Self {
            case,
            is_equal_policy,
            most_xsetbv: most_xsetbv(world),
            events: world.machine().cpu(0).unwrap().ledger.events().to_vec(),
        }
    }

    fn count(&self, is_counted: impl Fn(What) -> bool) -> usize {
        self.events.iter().filter(|event| is_counted(event.what)).count()
    }

    /// Asserts every bound.
    pub(crate) fn check(&self) {
        let Self { case, events, .. } = self;
        self.check_extended();
        // #DB writes DR6 behind everybody's back.
        let is_needless = |event: &&selfsame_machine::Event| event.is_redundant() && event.what != What::Debug(6);
        let redundant: Vec<_> = events.iter().filter(is_needless).collect();
        assert!(redundant.is_empty(), "{case:?}: redundant {redundant:x?}");
        self.check_tables();
        self.check_visibility();
        self.check_repetition();
    }

    /// Asserts how often XCR0 and IA32_XSS are written, and that no MSR is read.
    pub(crate) fn check_extended(&self) {
        let Self { case, events, .. } = self;
        let xss: Vec<(u64, u64)> = events
            .iter()
            .filter(|event| event.what == What::Msr(msr::XSS))
            .map(|event| (event.before, event.after))
            .collect();
        let xsetbv = self.count(|what| what == What::Xcr0);
        assert!(xsetbv <= self.most_xsetbv, "{case:?}: {xsetbv} XSETBV instead of {}: {events:x?}", self.most_xsetbv);
        match *xss {
            [] | [_] => {}
            [(before, up), (from, down)] => {
                assert!(before & !up == 0 && from == up && down & !up == 0, "{case:?}: {xss:x?}");
            }
            _ => panic!("{case:?}: {} writes of IA32_XSS", xss.len()),
        }
        assert_eq!(self.count(|what| matches!(what, What::Rdmsr(_))), 0, "{case:?}: RDMSR in a switch");
    }

    fn check_tables(&self) {
        let Self { case, events, .. } = self;
        let is_pv = |occupant: Option<GuestKind>| occupant.is_some_and(GuestKind::is_pv);
        let is_pv_to_pv = is_pv(case.from) && is_pv(case.to);
        if is_pv_to_pv && case.has_same_id {
            assert_eq!(self.count(|what| what == What::Gdtr), 0, "{case:?}: LGDT between equal numbers: {events:x?}");
        }
        if case.is_same_cpu {
            assert_eq!(
                self.count(|what| what == What::L1Entry),
                0,
                "{case:?}: an L1 write on the same CPU: {events:x?}"
            );
        }
        if case.to.is_none() {
            assert!(events.is_empty(), "{case:?}: idle is lazy: {events:x?}");
        }
    }

    fn check_visibility(&self) {
        let Self { case, events, .. } = self;
        let masks = case.machine().hardware().masks().to_vec();
        let writes = self.count(|what| masks.iter().any(|mask| what == What::Msr(mask.index)));
        if self.is_equal_policy || case.levelling != Levelling::Masks {
            assert_eq!(writes, 0, "{case:?}: mask writes between equal guests: {events:x?}");
        }
    }

    /// Only these have a reason to be written twice: the extended state in between needs XCR0 and IA32_XSS, breakpoints are off
    /// while they change, the table in use stays mapped, and RDFSBASE, which spares two RDMSR, needs CR4.FSGSBASE.
    fn check_repetition(&self) {
        let Self { case, events, .. } = self;
        for event in events {
            let most = match event.what {
                What::Xcr0 | What::Msr(msr::XSS) | What::Cr4 | What::Debug(7) | What::Gdtr => 2,
                _ => 1,
            };
            assert!(self.count(|what| what == event.what) <= most, "{case:?}: {:?} repeated: {events:x?}", event.what);
        }
    }
}
