//! Random switches with random work of the guests in between: what no table of cases thinks of.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;
mod planned;

use guests::Dice;
use planned::Planned;
use selfsame_machine::proof::{
    Action, Edit, FIRST_GUEST_SELECTOR, GuestKind, GuestShape, Levelling, MachineShape, SaveInstructions, Violation,
    World,
};
use selfsame_machine::{Cr4, Selector, Virtualisation, XfdErrUpdate, msr};
use selfsame_xstate::{Component, ComponentSet};

/// How many switches all worlds do together. Unoptimised tests do fewer: the arithmetic that they check overflows early or
/// never.
const SWITCHES: u32 = if cfg!(debug_assertions) { 30_000 } else { 1_000_000 };
const CPUS: u16 = 3;

/// Every machine that is legal in at least one transition.
fn machines() -> Vec<MachineShape> {
    let mut machines = Vec::new();
    for virtualisation in [Virtualisation::Vmx, Virtualisation::Svm] {
        for save in [SaveInstructions::Xsaves, SaveInstructions::Xsave, SaveInstructions::Fxsave] {
            for levelling in [Levelling::Faulting, Levelling::Masks, Levelling::Neither] {
                for features in 0..8_u8 {
                    let [has_amx, has_cet, has_pku] = [0, 1, 2].map(|bit| features >> bit & 1 == 1);
                    let is_legal = match save {
                        SaveInstructions::Xsaves => true,
                        SaveInstructions::Xsave => !has_cet,
                        SaveInstructions::Fxsave => features == 0,
                    };
                    if is_legal {
                        machines.push(MachineShape { virtualisation, save, levelling, has_amx, has_cet, has_pku });
                    }
                }
            }
        }
    }
    machines
}

/// Seven vCPUs in four domains: two with the same number, two of the same domain, one on every kind.
fn guests(dice: &mut Dice, machine: &MachineShape) -> Vec<GuestShape> {
    let places = [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1)];
    let mut kinds = [GuestKind::Pv64, GuestKind::Pv64, GuestKind::Pv32, GuestKind::Hvm, GuestKind::Hvm, GuestKind::Hvm];
    if machine.has_cet {
        kinds[2] = GuestKind::Pv64;
    }
    let shape = |dice: &mut Dice, (domain, vcpu), kind: GuestKind| {
        let is_hvm = kind == GuestKind::Hvm;
        GuestShape {
            pcid: dice.below(3),
            has_amx: machine.has_amx && dice.flip(),
            has_cet: machine.has_cet && is_hvm && dice.flip(),
            has_pku: machine.has_pku && is_hvm && dice.flip(),
            has_dbext: dice.flip(),
            writes_xfd: dice.flip(),
            intercepts_nm: is_hvm && dice.flip(),
            ..GuestShape::plain(kind, domain, vcpu)
        }
    };
    places
        .into_iter()
        .map(|place| {
            let kind = *dice.one_of(&kinds);
            shape(dice, place, kind)
        })
        .collect()
}

fn action(dice: &mut Dice, machine: &MachineShape, shape: &GuestShape) -> Action {
    let user = shape.user(machine);
    let has_xsave = machine.save != SaveInstructions::Fxsave;
    let component = |dice: &mut Dice| {
        let all: Vec<Component> = (user | shape.supervisor()).iter().collect();
        *dice.one_of(&all)
    };
    let is_pv = shape.kind.is_pv();
    match dice.below(21) {
        0..=3 => Action::Write(component(dice)),
        4 => Action::Initialise(component(dice)),
        5 => Action::Mxcsr(*dice.one_of(&[0x1F80, 0x1F80, 0x1FA0, 0x9FC0])),
        6 => Action::X87 { raises_exception: dice.flip() },
        7 if has_xsave => Action::Xcr0(xcr0(dice, user)),
        8 if shape.has_cet => Action::Xss(*dice.one_of(&[0, 0x800, 0x1800].map(ComponentSet::from_bits))),
        9 if !shape.xfd().is_empty() => Action::Xfd(subset(dice, shape.xfd())),
        10 if !shape.xfd().is_empty() => Action::XfdErr(subset(dice, shape.xfd())),
        11 => Action::Msr(owned(dice, shape)),
        12 if shape.kind != GuestKind::Pv32 => Action::Base(if dice.flip() { Selector::Fs } else { Selector::Gs }),
        13 if is_pv => {
            let selector = if dice.flip() { FIRST_GUEST_SELECTOR + 8 * dice.below(4) } else { 0 };
            Action::Select(*dice.one_of(&Selector::ALL), selector)
        }
        14 => Action::TaskSwitched(dice.below(4) == 0),
        15 => Action::Cr4(cr4(dice, machine, shape)),
        16 => Action::Breakpoints { are_on: dice.flip() },
        17 if is_pv => Action::Ldt(dice.below(4) * 100),
        18 => Action::SaveAndRestore,
        19 => Action::Debug,
        _ => Action::Exit,
    }
}

/// A value that XCR0 may have: bits in groups that are enabled together.
fn xcr0(dice: &mut Dice, user: ComponentSet) -> ComponentSet {
    let groups = [0b10, 0b100, 1 << 9, 0x6_0000, 1 << 19];
    let chosen = groups.iter().filter(|_| dice.below(3) != 0).fold(1, |xcr0, group| xcr0 | group);
    let xcr0 = if chosen & 0b110 == 0b100 { chosen | 0b10 } else { chosen };
    ComponentSet::from_bits(xcr0) & user
}

fn subset(dice: &mut Dice, set: ComponentSet) -> ComponentSet {
    set.iter().filter(|_| dice.flip()).collect()
}

fn owned(dice: &mut Dice, shape: &GuestShape) -> u32 {
    let both = [msr::TSC_AUX, msr::SPEC_CTRL, msr::KERNEL_GS_BASE];
    match shape.kind {
        GuestKind::Pv64 => *dice.one_of(&[&both[..], &[msr::FS_BASE, msr::GS_BASE]].concat()),
        GuestKind::Pv32 => *dice.one_of(&both),
        GuestKind::Hvm => *dice.one_of(&[&both[..], &[msr::STAR, msr::LSTAR, msr::SFMASK, msr::SYSENTER_ESP]].concat()),
    }
}

fn cr4(dice: &mut Dice, machine: &MachineShape, shape: &GuestShape) -> Cr4 {
    let mut bits = vec![Cr4::TSD, Cr4::FSGSBASE];
    if machine.save != SaveInstructions::Fxsave {
        bits.extend([Cr4::OSXSAVE, Cr4::OSXSAVE]);
    }
    if shape.has_pku {
        bits.push(Cr4::PKE);
    }
    bits.into_iter().filter(|_| dice.below(3) != 0).fold(Cr4::default(), Cr4::union)
}

/// A vCPU that runs nowhere: there are more of them than CPUs.
fn free(dice: &mut Dice, world: &World<Planned>, count: usize) -> usize {
    let free: Vec<usize> = (0..count).filter(|vcpu| (0..CPUS).all(|cpu| world.running(cpu) != Some(*vcpu))).collect();
    *dice.one_of(&free)
}

/// Runs one world for a number of switches.
fn run(seed: u64, switches: u32, machine: &MachineShape) -> Result<(), Violation> {
    let mut dice = Dice::new(seed);
    let guests = guests(&mut dice, machine);
    let update = if dice.flip() { XfdErrUpdate::Added } else { XfdErrUpdate::Loaded };
    let hardware = machine.hardware().with_xfd_err_update(update);
    let mut world = World::<Planned>::with_hardware(*machine, hardware, CPUS, &guests)?;
    world.client().keeps_xss = dice.flip();
    let mut new_area = 0xFFFF_A000_0000_0000;

    for _ in 0..switches {
        let cpu = dice.below(CPUS);
        let next = if dice.below(4) == 0 { None } else { Some(free(&mut dice, &world, guests.len())) };
        if dice.below(8) == 0 {
            let passing = free(&mut dice, &world, guests.len());
            world.switch_without_entry(cpu, passing)?;
        }
        let next = next.filter(|next| (0..CPUS).all(|cpu| world.running(cpu) != Some(*next)));
        world.switch(cpu, next)?;
        if let Some(vcpu) = next {
            for _ in 0..dice.below(4) {
                let action = action(&mut dice, machine, &guests[vcpu]);
                world.act(cpu, action)?;
            }
        }
        match dice.below(200) {
            0 => {
                let vcpu = free(&mut dice, &world, guests.len());
                world.edit(vcpu, &Edit::Image)?;
            }
            1 => {
                let vcpu = free(&mut dice, &world, guests.len());
                new_area += 0x1_0000;
                world.edit(vcpu, &Edit::Move { area: new_area, capacity_bytes: None })?;
            }
            2 => {
                for cpu in 0..CPUS {
                    world.switch(cpu, None)?;
                }
                world.sleep()?;
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn a_million_random_switches_are_exact() {
    let machines = machines();
    let worlds = 4 * machines.len();
    let each = SWITCHES / u32::try_from(worlds).unwrap() + 1;
    std::thread::scope(|scope| {
        for half in 0..2 {
            let machines = &machines;
            scope.spawn(move || {
                for world in (half..worlds).step_by(2) {
                    let machine = &machines[world % machines.len()];
                    if let Err(violation) = run(world as u64, each, machine) {
                        panic!("seed {world}, {machine:?}: {violation}");
                    }
                }
            });
        }
    });
    println!("{} switches in {worlds} worlds", each as usize * worlds);
}
