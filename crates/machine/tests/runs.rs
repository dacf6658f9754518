//! Into HVM guests and out of them: XFD with more than one component, and levels of nesting.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;
mod planned;

use guests::{hvm, machine};
use planned::Planned;
use selfsame_machine::proof::{Action, GuestShape, MachineShape, World};
use selfsame_machine::{Virtualisation, What, XfdErrUpdate, msr};
use selfsame_xstate::{Component, ComponentSet};

const TILE_DATA: ComponentSet = ComponentSet::from_bits(1 << 18);
const EGPR: ComponentSet = ComponentSet::from_bits(1 << 19);
const NONE: ComponentSet = ComponentSet::EMPTY;

/// Guests that enable 18, 19 or both, and disable them one by one, between each other: 19 is made up to be covered by XFD.
#[test]
fn xfd_of_two_components_follows_each_guest() {
    let both = TILE_DATA | EGPR;
    let shape = machine();
    let tiles = ComponentSet::from_bits(0x6_0007);
    let guests = [true, false, true].map(|writes_xfd| GuestShape { writes_xfd, ..hvm(0) });
    let guests = [0, 1, 2].map(|number| GuestShape { domain: number, ..guests[usize::from(number)] });
    for update in [XfdErrUpdate::Added, XfdErrUpdate::Loaded] {
        let hardware = shape.hardware().with_xfd_err_update(update);
        let mut world = World::<Planned>::with_hardware(shape, hardware, 2, &guests).unwrap();
        let enabled = [tiles, ComponentSet::from_bits(0x8_0007), shape.user()];
        for (vcpu, xcr0) in enabled.into_iter().enumerate() {
            world.switch(0, Some(vcpu)).unwrap();
            world.act(0, Action::Xcr0(xcr0)).unwrap();
            for component in (both & xcr0).iter() {
                world.act(0, Action::Write(component)).unwrap();
            }
        }
        for disabled in [TILE_DATA, EGPR, both, NONE] {
            for vcpu in 0..3 {
                world.switch(0, Some(vcpu)).unwrap();
                world.act(0, Action::Xfd(disabled)).unwrap();
                // Each raises #NM, or not, as on a machine of the guest's own; then the next guest comes.
                for component in [Component::XTILEDATA, Component::APX] {
                    world.act(0, Action::Write(component)).unwrap();
                    world.switch(0, Some((vcpu + 1) % 3)).unwrap();
                    world.switch(0, Some(vcpu)).unwrap();
                }
                world.act(0, Action::XfdErr(NONE)).unwrap();
            }
        }
    }
}

/// L1 runs L2 on the same vCPU: no VM entry and no VM exit of L1's changes XFD or XFD_ERR, so L1 writes L2's before it enters
/// L2 and finds L2's when it comes back. In between L0 takes every exit.
#[test]
fn each_level_has_its_own_xfd_err() {
    let l1 = GuestShape { writes_xfd: true, intercepts_nm: true, ..hvm(0) };
    let mut world = World::<Planned>::new(machine(), 2, &[l1, hvm(1)]).unwrap();
    world.switch(0, Some(0)).unwrap();
    world.act(0, Action::Xcr0(machine().user())).unwrap();
    let xfd_err = |world: &World<Planned>| world.guest(0).unwrap().xfd_err;

    // L1 enters L2, whose XFD disables tiles; L2 uses them: #NM exits to L0, which gives it to L2 (L2 → L0 → L2).
    world.act(0, Action::XfdErr(NONE)).unwrap();
    world.act(0, Action::Xfd(TILE_DATA)).unwrap();
    world.act(0, Action::Write(Component::XTILEDATA)).unwrap();
    assert_eq!(xfd_err(&world), TILE_DATA);
    world.act(0, Action::Exit).unwrap();
    // Before L2 reads XFD_ERR, something is L1's to handle (L2 → L0 → L1), and another vCPU comes in between.
    world.switch(0, Some(1)).unwrap();
    world.switch(0, Some(0)).unwrap();
    assert_eq!(world.machine().cpu(0).unwrap().xfd_err, TILE_DATA, "what L1 saves for L2");
    // L1 runs with its own, and uses tiles.
    world.act(0, Action::XfdErr(NONE)).unwrap();
    world.act(0, Action::Xfd(NONE)).unwrap();
    world.act(0, Action::Write(Component::XTILEDATA)).unwrap();
    world.act(0, Action::Exit).unwrap();
    assert_eq!(xfd_err(&world), NONE);
    // L1 enters L2 again, on another CPU.
    world.act(0, Action::XfdErr(TILE_DATA)).unwrap();
    world.act(0, Action::Xfd(TILE_DATA)).unwrap();
    world.switch(0, None).unwrap();
    world.switch(1, Some(0)).unwrap();
    assert_eq!(world.machine().cpu(1).unwrap().xfd_err, TILE_DATA);
    // L0 itself never has any of it.
    world.switch(1, None).unwrap();
    let host = world.machine().cpu(1).unwrap();
    assert_eq!((host.xfd, host.xfd_err), (NONE, NONE));
}

/// A run reads XFD_ERR, and XFD where the guest writes it itself; guests without XFD read nothing.
#[test]
fn a_run_reads_two_msrs_with_xfd_and_none_without() {
    let with = |domain, writes_xfd| GuestShape { writes_xfd, ..hvm(domain) };
    let pv = GuestShape::plain(selfsame_machine::proof::GuestKind::Pv64, 3, 0);
    let guests = [with(0, true), with(1, false), GuestShape { has_amx: false, ..hvm(2) }, pv];
    let mut world = World::<Planned>::new(machine(), 2, &guests).unwrap();
    for (vcpu, most) in [(0, 2), (1, 1), (2, 0), (3, 0)] {
        world.switch(0, Some(vcpu)).unwrap();
        world.exit_and_enter(0).unwrap();
        let ledger = &world.machine().cpu(0).unwrap().ledger;
        assert_eq!(ledger.count_if(|what| matches!(what, What::Rdmsr(_))), most, "vCPU {vcpu}");
        assert_eq!(ledger.count(What::Rdmsr(msr::XFD)), usize::from(most == 2), "vCPU {vcpu}");
        assert_eq!(ledger.count_if(|what| matches!(what, What::Msr(_) | What::Xcr0)), 0, "vCPU {vcpu}");
    }
}

/// Until a guest has access to the debug registers, its #DB exits and leaves DR6 as it was: the hypervisor keeps the cause, and
/// the guest finds it when it gets access, whoever's was in the register.
#[test]
fn dr6_of_a_guest_that_gets_access_is_what_its_hypervisor_kept() {
    for virtualisation in [Virtualisation::Vmx, Virtualisation::Svm] {
        let shape = MachineShape { virtualisation, ..machine() };
        let mut world = World::<Planned>::new(shape, 2, &[hvm(0), hvm(1)]).unwrap();
        for vcpu in [0, 1] {
            world.switch(0, Some(vcpu)).unwrap();
            world.act(0, Action::Debug).unwrap();
            let cause = world.guest(vcpu).unwrap().dr6;
            world.act(0, Action::Breakpoints { are_on: true }).unwrap();
            assert_eq!(world.machine().cpu(0).unwrap().dr6, cause, "{virtualisation:?}");
        }
        world.act(0, Action::Debug).unwrap();
        for vcpu in [0, 1] {
            world.switch(0, Some(vcpu)).unwrap();
        }
    }
}
