//! The example's switch code: it is exact, and writes what need not be written.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;
#[path = "../examples/own_switch.rs"]
#[expect(dead_code, reason = "the example's main is not run here")]
mod own_switch;

use guests::{Round, work};
use own_switch::WritesEverything;
use selfsame_machine::What;
use selfsame_machine::proof::{Case, GuestKind, World};

#[test]
fn the_example_is_exact_in_every_transition() {
    let mut redundant = 0;
    // Every seventh: the plans are proven on all of them, and this code has no case for most of what they differ in.
    for case in Case::all().filter(|case| case.illegality().is_none()).step_by(7) {
        let shapes: Vec<_> = case.leaving().into_iter().chain(case.arriving()).collect();
        let mut world = World::<WritesEverything>::new(case.machine(), 2, &shapes).unwrap();
        let (from, to) = (case.from.map(|_| 0), case.to.map(|_| shapes.len() - 1));
        for (cpu, vcpu, round) in
            [(1, to, Round::First), (0, from, Round::Third), (0, to, Round::Second), (0, from, Round::First)]
        {
            world.switch(1 - cpu, None).unwrap();
            world.switch(cpu, vcpu).unwrap_or_else(|violation| panic!("{case:?}: {violation}"));
            work(&mut world, cpu, round).unwrap_or_else(|violation| panic!("{case:?}: {violation}"));
        }
        redundant += world.machine().cpu(0).unwrap().ledger.redundant().count();
    }
    assert!(redundant > 0);
}

#[test]
fn the_example_breaks_the_bounds_of_the_plans() {
    let is_simple = |case: &Case| {
        case.illegality().is_none() && case.from == Some(GuestKind::Hvm) && case.to == Some(GuestKind::Hvm)
    };
    let case = Case::all().find(is_simple).unwrap();
    let shapes = [case.leaving().unwrap(), case.arriving().unwrap()];
    let mut world = World::<WritesEverything>::new(case.machine(), 2, &shapes).unwrap();
    for vcpu in [0, 1, 0] {
        world.switch(0, Some(vcpu)).unwrap();
    }
    let ledger = &world.machine().cpu(0).unwrap().ledger;
    assert!(ledger.redundant().count() > 10);
    assert!(ledger.count(What::Xcr0) > 2);
    assert!(ledger.count_if(|what| matches!(what, What::Rdmsr(_))) > 0);
}
