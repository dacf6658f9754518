//! Moves of vCPUs and of their save areas, and the translations that outlive them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;
mod planned;

use guests::{Round, hvm, machine, work};
use planned::Planned;
use selfsame_machine::proof::{Action, Edit, GuestKind, GuestShape, HYPERVISOR_PAGE, Violation, World, gdt_of};
use selfsame_machine::{Fault, PAGE_BYTES, Space, What};
use selfsame_xstate::{Component, ComponentSet};

const AREA: u64 = 0xFFFF_A000_0000_0000;

fn world(guests: &[GuestShape]) -> World<Planned> {
    World::new(machine(), 2, guests).unwrap()
}

fn pv(domain: u16, vcpu: u16) -> GuestShape {
    GuestShape::plain(GuestKind::Pv64, domain, vcpu)
}

/// The shadow stack of ring 0 belongs to the CPU: a PV vCPU that moves finds the stack of the CPU that it comes to.
#[test]
fn a_pv_vcpu_that_moves_finds_the_shadow_stack_of_its_new_cpu() {
    let mut world = world(&[pv(0, 0), hvm(1)]);
    for (cpu, vcpu) in [(0, 0), (1, 1)] {
        world.switch(cpu, Some(vcpu)).unwrap();
        work(&mut world, cpu, Round::First).unwrap();
        world.switch(cpu, None).unwrap();
    }
    world.switch(1, Some(0)).unwrap();
    let own = world.home(1).unwrap().pl0_ssp.unwrap();
    assert_eq!(world.machine().cpu(1).unwrap().contents().get(Component::CET_S), own);
    // Its system calls use that stack, and CPU 0 can take one at the same time.
    world.act(1, Action::Exit).unwrap();
    world.switch(0, Some(1)).unwrap();
    world.switch(0, None).unwrap();
    world.act(1, Action::Exit).unwrap();
}

/// A CPU may walk page tables whenever it likes, and keeps what it found: on its way A → B → A the vCPU leaves a translation of
/// its slot on A that leads to the descriptors of B.
#[test]
fn slot_14_is_flushed_before_it_is_used_on_the_way_from_a_to_b_to_a() {
    let mut world = world(&[pv(0, 0), pv(0, 1)]);
    let slot = gdt_of(0) + HYPERVISOR_PAGE * PAGE_BYTES;
    world.switch(0, Some(1)).unwrap();
    world.switch(0, Some(0)).unwrap();
    world.switch(0, Some(1)).unwrap();
    world.switch(1, Some(0)).unwrap();

    // CPU 0 runs another vCPU of the domain and happens to walk the slot now.
    let others = world.home(1).unwrap().native.frame;
    let mut cpu = world.machine().on(0).unwrap();
    cpu.speculate();
    assert_eq!(cpu.frame(slot), Ok(others));

    world.switch(1, None).unwrap();
    world.switch(0, Some(0)).unwrap();
    let own = world.home(0).unwrap().native.frame;
    assert_eq!(world.machine().on(0).unwrap().frame(slot), Ok(own));
    let events = world.machine().cpu(0).unwrap().ledger.events();
    let written = events.iter().position(|event| event.what == What::L1Entry).unwrap();
    assert!(events.iter().skip(written).any(|event| event.what == What::Invlpg && event.after == slot));

    // Back on the CPU whose entry the slot holds, nothing is written.
    world.switch(0, Some(1)).unwrap();
    world.switch(0, Some(0)).unwrap();
    let ledger = &world.machine().cpu(0).unwrap().ledger;
    assert_eq!((ledger.count(What::L1Entry), ledger.count(What::Invlpg)), (0, 0));
    assert_eq!(world.machine().memory().l1_entry(Space::Domain(0), slot) & 1, 1);
}

/// Software edits an image while the registers of a CPU that is idle still hold the vCPU's state: nothing of the edit is lost
/// to the modified optimisation, and nothing of the state to the edit.
#[test]
fn an_edited_image_is_what_the_guest_finds() {
    for elsewhere in [0, 1] {
        let mut world = world(&[hvm(0), pv(1, 0)]);
        for vcpu in [0, 1] {
            world.switch(0, Some(vcpu)).unwrap();
            work(&mut world, 0, Round::First).unwrap();
            world.switch(0, None).unwrap();
            world.edit(vcpu, &Edit::Image).unwrap();
            world.switch(elsewhere, Some(vcpu)).unwrap();
            world.switch(elsewhere, None).unwrap();
            // Once more, with all components unmodified since the load.
            world.edit(vcpu, &Edit::Image).unwrap();
            world.switch(0, Some(vcpu)).unwrap();
        }
    }
}

/// Two areas change places: what a CPU remembers of an address says nothing about the image that is there now.
#[test]
fn areas_that_change_places_are_not_taken_for_each_other() {
    let mut world = world(&[hvm(0), hvm(1)]);
    let [first, second] = [0, 1].map(|vcpu| world.guest(vcpu).unwrap().area);
    for vcpu in [0, 1] {
        world.switch(0, Some(vcpu)).unwrap();
        work(&mut world, 0, Round::First).unwrap();
    }
    world.switch(0, None).unwrap();
    for (vcpu, area) in [(0, AREA), (1, first), (0, second)] {
        world.edit(vcpu, &Edit::Move { area, capacity_bytes: None }).unwrap();
    }
    for vcpu in [1, 0, 1] {
        world.switch(0, Some(vcpu)).unwrap();
    }
}

/// A policy that grows while the state is still in registers: the area is resized, and both the old components and the new
/// ones are found. Without the resize the CPU would write beyond the area.
#[test]
fn a_policy_change_with_live_state_keeps_the_state_and_makes_room() {
    let plain = GuestShape { has_amx: false, ..hvm(0) };
    for is_resized in [true, false] {
        let mut world = world(&[plain, hvm(1)]);
        world.switch(0, Some(0)).unwrap();
        work(&mut world, 0, Round::First).unwrap();
        world.switch(0, None).unwrap();

        let needed = world.client().area_of(&hvm(0)).capacity_bytes;
        let area = world.guest(0).unwrap().area;
        let old_bytes = world.machine().memory().area(area).unwrap().capacity_bytes;
        assert!(needed > old_bytes);
        if is_resized {
            world.edit(0, &Edit::Move { area: AREA, capacity_bytes: Some(needed) }).unwrap();
        }
        world.set_shape(0, hvm(0));

        world.switch(0, Some(0)).unwrap();
        let enabled = world.act(0, Action::Xcr0(machine().user()));
        let result = enabled.and_then(|()| world.act(0, Action::Write(Component::XTILEDATA)));
        let result = result.and_then(|()| world.switch(0, Some(1)));
        assert_eq!(result.is_ok(), is_resized, "{result:?}");
        if is_resized {
            world.switch(1, Some(0)).unwrap();
        } else {
            let fault = Fault::PageFault { linear: area + u64::from(old_bytes) };
            assert_eq!(result, Err(Violation::HypervisorFault { cpu: 0, fault }));
        }
    }
}

/// What a guest did not touch since its state was loaded is not written again: the save is a header.
#[test]
fn a_guest_that_touched_nothing_costs_a_header() {
    let mut world = world(&[hvm(0), pv(1, 0), hvm(2)]);
    for vcpu in [0, 1, 2] {
        world.switch(0, Some(vcpu)).unwrap();
        work(&mut world, 0, Round::First).unwrap();
    }
    let saved = |world: &mut World<Planned>| {
        let ledger = &world.machine().cpu(0).unwrap().ledger;
        let saves: Vec<u64> = ledger
            .events()
            .iter()
            .filter(|event| event.what == What::SavedComponents)
            .map(|event| event.after)
            .collect();
        saves
    };
    world.switch(0, Some(0)).unwrap();
    assert_ne!(saved(&mut world), [0], "the guest before used everything");
    for vcpu in [1, 2, 0, 2, 1, 0] {
        world.switch(0, Some(vcpu)).unwrap();
        assert_eq!(saved(&mut world), [0]);
    }
    // One component touched is one component written.
    world.act(0, Action::Write(Component::AVX)).unwrap();
    world.switch(0, Some(1)).unwrap();
    assert_eq!(saved(&mut world), [ComponentSet::from(Component::AVX).bits()]);
}
