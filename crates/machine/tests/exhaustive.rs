//! Every legal transition of a CPU, proven: the arriving vCPU finds its own state and nobody else's, with no write too many.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;
mod planned;

use std::collections::BTreeMap;

use guests::{Bounds, Round, work};
use planned::Planned;
use selfsame_machine::Virtualisation;
use selfsame_machine::proof::{Case, GuestKind, GuestShape, SaveInstructions, Violation, World};
use selfsame_machine::{LogicalCpu, What};

fn legal(virtualisation: Virtualisation, save: SaveInstructions) -> Vec<Case> {
    let here = |case: &Case| case.virtualisation == virtualisation && case.save == save;
    Case::all().filter(here).filter(|case| case.illegality().is_none()).collect()
}

/// Proves all transitions of one kind of machine, and says how many there were.
fn prove(virtualisation: Virtualisation, save: SaveInstructions) {
    let cases = legal(virtualisation, save);
    for case in &cases {
        if let Err(violation) = transition(case) {
            panic!("{case:?}: {violation}");
        }
    }
    println!("{virtualisation:?}, {save:?}: {} transitions proven", cases.len());
}

fn registers(world: &mut World<Planned>) -> &LogicalCpu {
    world.machine().cpu(0).unwrap()
}

/// Goes through a transition there and back, and then moves the leaving vCPU to the other CPU and home again.
fn transition(case: &Case) -> Result<(), Violation> {
    let mut shapes: Vec<_> = case.leaving().into_iter().chain(case.arriving()).collect();
    shapes.extend([GuestShape::plain(GuestKind::Pv64, 2, 2), GuestShape::plain(GuestKind::Hvm, 3, 2)]);
    let mut world = World::<Planned>::new(case.machine(), 2, &shapes)?;
    let from = case.from.map(|_| 0);
    let to = case.to.map(|_| shapes.len() - 3);

    // Once guests of both sorts have been on a CPU, it knows its registers: nothing is written because nothing was known.
    for stranger in [shapes.len() - 2, shapes.len() - 1] {
        world.switch(0, Some(stranger))?;
        work(&mut world, 0, Round::First)?;
    }
    world.switch(0, None)?;
    world.quiesce(0)?;
    let hosts = world.machine().hardware().supervisor();
    assert_eq!(registers(&mut world).xss, hosts, "{case:?}: the host's IA32_XSS");
    let elsewhere = if case.is_same_cpu { 0 } else { 1 };
    for round in [Round::First, Round::Second] {
        world.switch(0, from)?;
        work(&mut world, 0, round)?;
        world.switch(0, None)?;
        world.switch(elsewhere, to)?;
        work(&mut world, elsewhere, round)?;
        world.switch(elsewhere, None)?;
    }
    world.switch(0, from)?;
    work(&mut world, 0, Round::Third)?;

    world.switch(0, to)?;
    Bounds::of(&mut world, case).check();
    work(&mut world, 0, Round::Third)?;

    // Once more, from a vCPU that has little enabled to one that has all.
    world.switch(0, from)?;
    work(&mut world, 0, Round::Second)?;
    world.switch(0, to)?;
    Bounds::of(&mut world, case).check_extended();
    world.switch(0, from)?;
    work(&mut world, 0, Round::First)?;

    // There and back again without the arriving vCPU having done anything.
    world.switch(0, to)?;
    let touched_nothing = to.is_some() && from.is_some();
    world.switch(0, from)?;
    if touched_nothing && case.save == SaveInstructions::Xsaves {
        let saved = registers(&mut world).ledger.events().iter().find(|event| event.what == What::SavedComponents);
        assert_eq!(saved.map(|event| event.after), Some(0), "{case:?}: more than the header was saved");
    }

    world.switch(0, None)?;
    world.switch(1, from)?;
    work(&mut world, 1, Round::Second)?;
    world.switch(1, None)?;
    world.switch(0, from)
}

#[test]
fn every_transition_by_vmx_and_xsaves_is_exact_and_writes_no_more_than_needed() {
    prove(Virtualisation::Vmx, SaveInstructions::Xsaves);
}

#[test]
fn every_transition_by_svm_and_xsaves_is_exact_and_writes_no_more_than_needed() {
    prove(Virtualisation::Svm, SaveInstructions::Xsaves);
}

#[test]
fn every_transition_by_vmx_and_xsave_is_exact_and_writes_no_more_than_needed() {
    prove(Virtualisation::Vmx, SaveInstructions::Xsave);
}

#[test]
fn every_transition_by_svm_and_xsave_is_exact_and_writes_no_more_than_needed() {
    prove(Virtualisation::Svm, SaveInstructions::Xsave);
}

#[test]
fn every_transition_by_fxsave_is_exact_and_writes_no_more_than_needed() {
    prove(Virtualisation::Vmx, SaveInstructions::Fxsave);
    prove(Virtualisation::Svm, SaveInstructions::Fxsave);
}

/// What is proven above is all that can be: every other combination is ruled out for a reason.
#[test]
fn every_combination_is_legal_or_ruled_out_for_a_reason() {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for case in Case::all() {
        let reason = case.illegality().map_or("legal".to_owned(), |reason| reason.to_string());
        *reasons.entry(reason).or_default() += 1;
    }
    for (reason, count) in &reasons {
        println!("{count:7} {reason}");
    }
    let proven = [Virtualisation::Vmx, Virtualisation::Svm].into_iter().flat_map(|virtualisation| {
        [SaveInstructions::Xsaves, SaveInstructions::Xsave, SaveInstructions::Fxsave]
            .map(|save| legal(virtualisation, save).len())
    });
    assert_eq!(reasons["legal"], proven.sum::<usize>());
    assert_eq!(reasons.values().sum::<usize>(), 2 * 16 * 2 * 2 * 3 * 3 * 125);
}
