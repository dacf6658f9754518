//! The advisories and bugs of other hypervisors that a machine can show, each with the claim that the plans do not have it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;
mod planned;

use guests::{Round, hvm, machine, work};
use planned::Planned;
use selfsame_machine::proof::{
    Action, Client, FIRST_GUEST_SELECTOR, GuestKind, GuestShape, Levelling, MachineShape, SaveInstructions, World,
};
use selfsame_machine::{Cr4, Fault, GpCause, SelectorCause, TableRegister, What, XfdErrUpdate, msr};
use selfsame_machine::{Selector, Virtualisation};
use selfsame_switch::{DescriptorPlace, TableSizes};
use selfsame_xstate::{Component, ComponentSet};

const TILE_DATA: ComponentSet = ComponentSet::from_bits(1 << 18);

fn world(shape: MachineShape, guests: &[GuestShape]) -> World<Planned> {
    World::new(shape, 2, guests).unwrap()
}

fn amx_guests() -> [GuestShape; 3] {
    let with = |domain, writes_xfd, intercepts_nm| GuestShape { writes_xfd, intercepts_nm, ..hvm(domain) };
    [with(0, true, false), with(1, false, false), with(2, true, true)]
}

/// A guest that takes #NM by XFD leaves XFD_ERR in the register; no other guest finds it, whichever way the hardware writes it,
/// and the first one finds it again, also when its #NM exits.
#[test]
fn a_stale_xfd_err_is_found_by_nobody_else() {
    let shape = machine();
    for update in [XfdErrUpdate::Added, XfdErrUpdate::Loaded] {
        let hardware = shape.hardware().with_xfd_err_update(update);
        let mut world = World::<Planned>::with_hardware(shape, hardware, 2, &amx_guests()).unwrap();
        for faulting in [0, 1, 2] {
            world.switch(0, Some(faulting)).unwrap();
            world.act(0, Action::Xcr0(shape.user())).unwrap();
            world.act(0, Action::Xfd(TILE_DATA)).unwrap();
            world.act(0, Action::Write(Component::XTILEDATA)).unwrap();
            assert_eq!(world.guest(faulting).unwrap().xfd_err, TILE_DATA);
            for other in [0, 1, 2] {
                world.switch(0, Some(other)).unwrap();
            }
            world.switch(0, Some(faulting)).unwrap();
            world.act(0, Action::XfdErr(ComponentSet::EMPTY)).unwrap();
            world.act(0, Action::Xfd(ComponentSet::EMPTY)).unwrap();
        }
    }
}

/// With CR0.TS set, #NM comes before XFD is looked at, and XFD_ERR keeps what an earlier #NM left.
#[test]
fn nm_by_task_switched_leaves_xfd_err_alone() {
    let shape = machine();
    for guest in amx_guests() {
        let mut world = world(shape, &[guest]);
        world.switch(0, Some(0)).unwrap();
        world.act(0, Action::Xcr0(shape.user())).unwrap();
        world.act(0, Action::Xfd(TILE_DATA)).unwrap();
        world.act(0, Action::TaskSwitched(true)).unwrap();
        world.act(0, Action::Write(Component::XTILEDATA)).unwrap();
        assert_eq!(world.guest(0).unwrap().xfd_err, ComponentSet::EMPTY);
        world.act(0, Action::XfdErr(ComponentSet::from(Component::APX))).unwrap();
        world.act(0, Action::Write(Component::XTILEDATA)).unwrap();
        assert_eq!(world.guest(0).unwrap().xfd_err, ComponentSet::from(Component::APX));
    }
}

fn old_amd(save: SaveInstructions) -> MachineShape {
    MachineShape {
        virtualisation: Virtualisation::Svm,
        save,
        levelling: Levelling::Masks,
        has_amx: false,
        has_cet: false,
        has_pku: false,
    }
}

#[test]
fn xsa_52_the_x87_pointers_of_the_last_guest_are_not_there() {
    for save in [SaveInstructions::Xsave, SaveInstructions::Fxsave] {
        let guests = [GuestShape::plain(GuestKind::Pv64, 0, 0), GuestShape::plain(GuestKind::Hvm, 1, 0)];
        let mut world = world(old_amd(save), &guests);
        assert!(world.machine().hardware().keeps_fp_error_pointers());
        for (first, second) in [(0, 1), (1, 0)] {
            world.switch(0, Some(first)).unwrap();
            world.act(0, Action::X87 { raises_exception: false }).unwrap();
            world.switch(0, Some(second)).unwrap();
        }
    }
}

/// FSW.ES in an image that software made says nothing: the CPU goes by the exceptions that are pending and not masked.
#[test]
fn xsa_172_an_image_with_es_set_and_nothing_pending_leaks_no_pointers() {
    let guests = [GuestShape::plain(GuestKind::Pv64, 0, 0), GuestShape::plain(GuestKind::Pv64, 1, 0)];
    let mut world = world(old_amd(SaveInstructions::Xsave), &guests);
    let area = world.guest(1).unwrap().area;
    world.machine().memory().area_mut(area).unwrap().contents.is_es_set = true;
    world.machine().memory().area_mut(area).unwrap().xstate_bv |= 1;
    world.switch(0, Some(0)).unwrap();
    world.act(0, Action::X87 { raises_exception: false }).unwrap();
    world.switch(0, Some(1)).unwrap();
}

#[test]
fn xsa_62_what_xsetbv_enables_for_the_first_time_is_initial() {
    let shape = machine();
    for kind in [GuestKind::Pv64, GuestKind::Hvm] {
        let second = GuestShape { has_amx: true, has_pku: kind == GuestKind::Hvm, ..GuestShape::plain(kind, 1, 0) };
        let mut world = world(shape, &[hvm(0), second]);
        let user = second.user(&shape);
        world.switch(0, Some(0)).unwrap();
        work(&mut world, 0, Round::First).unwrap();
        world.switch(0, Some(1)).unwrap();
        world.act(0, Action::Xcr0(ComponentSet::from_bits(0x7))).unwrap();
        world.act(0, Action::Write(Component::AVX)).unwrap();
        world.act(0, Action::Xcr0(user)).unwrap();
        // What it disables and enables again is its own.
        world.act(0, Action::Write(Component::APX)).unwrap();
        world.act(0, Action::Xcr0(ComponentSet::from_bits(0x1))).unwrap();
        world.act(0, Action::Xcr0(user)).unwrap();
    }
}

/// FNINIT would leave the last guest's data registers; a new vCPU's come from its image.
#[test]
fn xsa_165_a_new_vcpu_finds_initial_registers_on_its_first_use() {
    for save in [SaveInstructions::Xsaves, SaveInstructions::Xsave, SaveInstructions::Fxsave] {
        let shape = MachineShape { save, ..old_amd(save) };
        let guests = [GuestShape::plain(GuestKind::Pv64, 0, 0), GuestShape::plain(GuestKind::Hvm, 1, 0)];
        let mut world = world(shape, &guests);
        world.switch(0, Some(0)).unwrap();
        work(&mut world, 0, Round::First).unwrap();
        let mut cpu = world.machine().on(0).unwrap();
        let mine = cpu.registers().contents().get(Component::X87);
        assert_ne!(mine, 0);
        cpu.fninit().unwrap();
        assert_eq!(cpu.registers().contents().get(Component::X87), mine, "FNINIT clears no data register");
        world.switch(0, Some(1)).unwrap();
    }
}

#[test]
fn xsa_220_pkru_is_kept_for_a_guest_that_reaches_it_without_xcr0() {
    let shape = machine();
    let guest = |domain| GuestShape { has_pku: true, ..GuestShape::plain(GuestKind::Hvm, domain, 0) };
    let mut world = world(shape, &[guest(0), guest(1), GuestShape::plain(GuestKind::Pv64, 2, 0)]);
    let pke = Cr4::OSXSAVE.union(Cr4::PKE);
    for vcpu in [0, 1] {
        world.switch(0, Some(vcpu)).unwrap();
        world.act(0, Action::Cr4(pke)).unwrap();
        world.act(0, Action::Write(Component::PKRU)).unwrap();
        assert!(!world.guest(vcpu).unwrap().xcr0.contains(Component::PKRU));
    }
    for vcpu in [0, 2, 1, 0] {
        world.switch(0, Some(vcpu)).unwrap();
    }
    world.switch(0, None).unwrap();
    world.switch(1, Some(0)).unwrap();
}

/// CPUs of AMD keep the base of a segment that is made null: one that a 32-bit guest left so is not what a shadow remembers.
#[test]
fn a_base_behind_a_null_selector_is_the_guests_own() {
    let shape = MachineShape { virtualisation: Virtualisation::Svm, has_cet: false, ..machine() };
    let guests = [GuestShape::plain(GuestKind::Pv64, 0, 0), GuestShape::plain(GuestKind::Pv32, 1, 0)];
    let mut world = world(shape, &guests);
    assert!(!world.machine().hardware().clears_null_base());
    world.switch(0, Some(0)).unwrap();
    world.act(0, Action::Msr(msr::FS_BASE)).unwrap();
    world.switch(0, Some(1)).unwrap();
    world.act(0, Action::Select(Selector::Fs, FIRST_GUEST_SELECTOR)).unwrap();
    world.act(0, Action::Select(Selector::Fs, 0)).unwrap();
    world.switch(0, Some(0)).unwrap();
}

#[test]
fn xsa_293_fsgsbase_is_there_for_guests_that_asked_for_it_only() {
    let shape = machine();
    let pv = |domain| GuestShape::plain(GuestKind::Pv64, domain, 0);
    let mut world = world(shape, &[pv(0), pv(1), hvm(2)]);
    world.switch(0, Some(0)).unwrap();
    world.act(0, Action::Cr4(Cr4::OSXSAVE.union(Cr4::FSGSBASE))).unwrap();
    world.act(0, Action::Base(Selector::Gs)).unwrap();
    world.switch(0, Some(1)).unwrap();
    // Its record says that the instruction is undefined; the action fails if it is not.
    world.act(0, Action::Base(Selector::Gs)).unwrap();
    for vcpu in [0, 1, 2, 1, 0] {
        world.switch(0, Some(vcpu)).unwrap();
    }
}

/// Whoever reads a descriptor on a guest's behalf finds it exactly where the CPU would, and none where the CPU faults.
#[test]
fn xsa_298_no_descriptor_is_read_beyond_the_limits_of_gdt_and_ldt() {
    let mut world = world(machine(), &[GuestShape::plain(GuestKind::Pv64, 0, 0)]);
    world.switch(0, Some(0)).unwrap();
    world.act(0, Action::Ldt(5)).unwrap();
    let sizes = TableSizes::new(7168, 5).unwrap();
    let mut cpu = world.machine().on(0).unwrap();
    let hypervisors = selfsame_switch::gdt::FIRST_HYPERVISOR_SELECTOR;
    for selector in 4..=u16::MAX {
        let result = cpu.load_selector(Selector::Es, selector);
        let is_beyond = matches!(
            result,
            Err(Fault::GeneralProtection(GpCause::Selector { cause: SelectorCause::Limit | SelectorCause::NoLdt, .. }))
        );
        let found = sizes.find(selector);
        let is_hypervisors = selector & 4 == 0 && selector >= hypervisors;
        assert_eq!(found.is_none(), is_beyond || is_hypervisors, "{selector:#x}: {found:?}, {result:?}");
        match found {
            Some(DescriptorPlace::Gdt(index)) => assert_eq!((selector & 4, index), (0, selector >> 3)),
            Some(DescriptorPlace::Ldt(index)) => assert_eq!((selector & 4, index), (4, selector >> 3)),
            None => {}
        }
    }
}

/// A guest that does not know of the masks finds them zero, whoever was there before it, and on whatever CPU.
#[test]
fn xsa_444_breakpoint_masks_reach_no_guest_that_does_not_know_of_them() {
    let shape = MachineShape { has_cet: false, ..MachineShape { virtualisation: Virtualisation::Svm, ..machine() } };
    for (knows, knows_not) in [(GuestKind::Pv64, GuestKind::Hvm), (GuestKind::Hvm, GuestKind::Pv32)] {
        let first = GuestShape { has_dbext: true, ..GuestShape::plain(knows, 0, 0) };
        let mut world = world(shape, &[first, GuestShape::plain(knows_not, 1, 0)]);
        for vcpu in [0, 1] {
            world.switch(0, Some(vcpu)).unwrap();
            world.act(0, Action::Breakpoints { are_on: true }).unwrap();
        }
        assert_eq!(world.guest(0).unwrap().breakpoints, world.guest(1).unwrap().breakpoints, "masks tell them apart");
        assert_ne!(world.guest(0).unwrap().breakpoint_masks, [0; 4]);
        assert_eq!(world.guest(1).unwrap().breakpoint_masks, [0; 4]);
        for vcpu in [0, 1, 0, 1] {
            world.switch(0, Some(vcpu)).unwrap();
        }
    }
}

/// A barrier on another CPU did nothing here: the vCPU that comes back to its last CPU gets one.
#[test]
fn xsa_479_a_vcpu_that_returns_to_its_last_cpu_gets_a_barrier() {
    let mut world = world(machine(), &[hvm(0), hvm(1)]);
    world.switch(0, Some(0)).unwrap();
    world.switch(0, None).unwrap();
    world.switch(1, Some(0)).unwrap();
    world.switch(1, None).unwrap();
    world.switch(0, Some(0)).unwrap();
    let barriers = world.machine().cpu(0).unwrap().ledger.count(What::Msr(msr::PRED_CMD));
    assert_eq!(barriers, 1);
    // Over idle time it never left, and nobody else was there.
    world.switch(0, None).unwrap();
    world.switch(0, Some(0)).unwrap();
    let ledger = &world.machine().cpu(0).unwrap().ledger;
    assert_eq!(ledger.count(What::Msr(msr::PRED_CMD)), 0);
}

/// What is loaded in CR3 is known after lazy idle, after a flush, and after the guest changed its tables elsewhere.
#[test]
fn xsa_494_the_page_tables_that_are_loaded_are_the_running_vcpus() {
    let pv = |domain, vcpu| GuestShape::plain(GuestKind::Pv64, domain, vcpu);
    let mut world = world(machine(), &[pv(0, 0), pv(0, 1), hvm(1)]);
    world.switch(0, Some(0)).unwrap();
    world.switch(0, None).unwrap();
    world.switch(1, Some(0)).unwrap();
    let idle = world.home(0).unwrap().cr3;
    assert_eq!(world.machine().cpu(0).unwrap().cr3, idle, "tables that may be freed are in use by no CPU");
    world.switch(1, Some(1)).unwrap();
    world.switch(0, Some(0)).unwrap();
    world.switch(0, Some(2)).unwrap();
    world.switch(0, Some(0)).unwrap();
    world.switch_without_entry(0, 2).unwrap();
    world.switch(0, Some(0)).unwrap();
}

/// Sleep resets registers behind the shadows: nothing that was known before it is believed after it.
#[test]
fn s3_no_shadow_outlives_sleep() {
    for virtualisation in [Virtualisation::Vmx, Virtualisation::Svm] {
        for levelling in [Levelling::Faulting, Levelling::Masks] {
            let shape = MachineShape { virtualisation, levelling, ..machine() };
            let guests = [GuestShape::plain(GuestKind::Pv64, 0, 0), hvm(1)];
            let mut world = world(shape, &guests);
            for vcpu in [0, 1] {
                world.switch(0, Some(vcpu)).unwrap();
                work(&mut world, 0, Round::Third).unwrap();
            }
            world.switch(0, None).unwrap();
            world.sleep().unwrap();
            for vcpu in [1, 0, 1] {
                world.switch(0, Some(vcpu)).unwrap();
            }
        }
    }
}

/// Firmware loads tables of its own and tells nobody: the CPU is empty during the call and set up again after it.
#[test]
fn efi_a_gdt_that_firmware_loaded_is_not_taken_for_the_hypervisors() {
    let mut world = world(machine(), &[GuestShape::plain(GuestKind::Pv64, 0, 0), hvm(1)]);
    for vcpu in [0, 1] {
        world.switch(0, Some(vcpu)).unwrap();
        work(&mut world, 0, Round::First).unwrap();
        world.switch(0, None).unwrap();

        let (client, machine) = world.parts();
        let refused = client.switcher(0).set_up_again(&mut machine.on(0).unwrap());
        assert!(refused.is_err(), "a vCPU is still on the CPU");

        world.quiesce(0).unwrap();
        let (client, machine) = world.parts();
        let mut cpu = machine.on(0).unwrap();
        cpu.lgdt(TableRegister { base: 0x1000, limit: 0x7F }).unwrap();
        cpu.set_cr3(0x7000).unwrap();
        cpu.write_component(Component::SSE, 1).unwrap();
        cpu.wrmsr(msr::STAR, 1).unwrap();
        client.bring_up(machine, 0).unwrap();

        for vcpu in [0, 1, 0] {
            world.switch(0, Some(vcpu)).unwrap();
        }
        world.switch(0, None).unwrap();
    }
}
