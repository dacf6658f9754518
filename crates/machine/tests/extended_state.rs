//! What the instructions of the XSAVE family do, by the manuals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;

use guests::machine;
use selfsame_machine::proof::{MachineShape, SaveInstructions};
use selfsame_machine::{
    Area, COMPACTED, Cr4, Fault, GpCause, Hardware, HeaderCause, MXCSR_INIT, Machine, NmCause, Processor, UdCause,
    Virtualisation, XfdErrUpdate, msr,
};
use selfsame_xstate::{Component, ComponentSet};

const AREA: u64 = 0x1000;
const OTHER: u64 = 0x5000;
const ALL: u64 = u64::MAX;
const TILES: ComponentSet = ComponentSet::from_bits(1 << 18);

/// A machine in which everything is enabled, with two areas for everything.
fn machine_with(hardware: Hardware) -> Machine {
    let mut machine = Machine::new(hardware, 1);
    let (user, supervisor) = (machine.hardware().user(), machine.hardware().supervisor());
    let has_xsaves = machine.hardware().has_xsaves();
    for linear in [AREA, OTHER] {
        let area = if has_xsaves { Area::compacted(1 << 14, user | supervisor) } else { Area::new(1 << 14) };
        machine.memory().insert_area(linear, area);
    }
    let mut cpu = machine.on(0).unwrap();
    cpu.set_cr4(Cr4::OSXSAVE).unwrap();
    cpu.xsetbv(0, user.bits()).unwrap();
    if has_xsaves {
        cpu.wrmsr(msr::XSS, supervisor.bits()).unwrap();
    }
    machine
}

fn full() -> Machine {
    machine_with(machine().hardware())
}

fn without_xsaves(virtualisation: Virtualisation) -> Machine {
    let shape = MachineShape { virtualisation, save: SaveInstructions::Xsave, has_cet: false, ..machine() };
    machine_with(shape.hardware())
}

fn held(cpu: &Processor<'_>, component: Component) -> u64 {
    cpu.registers().contents().get(component)
}

fn header(cause: HeaderCause) -> Fault {
    Fault::GeneralProtection(GpCause::Header(cause))
}

#[test]
fn what_is_saved_is_restored() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    let all = [Component::X87, Component::SSE, Component::AVX, Component::XTILEDATA, Component::CET_S];
    for component in all {
        cpu.write_component(component, 7).unwrap();
    }
    cpu.ldmxcsr(0x1FA0).unwrap();
    cpu.xsaves(AREA, ALL).unwrap();
    for component in all {
        cpu.write_component(component, 8).unwrap();
    }
    cpu.ldmxcsr(MXCSR_INIT).unwrap();
    cpu.xrstors(AREA, ALL).unwrap();
    assert!(all.iter().all(|component| held(&cpu, *component) == 7));
    assert_eq!(cpu.registers().contents().mxcsr, 0x1FA0);
}

#[test]
fn components_outside_the_mask_are_neither_saved_nor_restored() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.write_component(Component::AVX, 7).unwrap();
    cpu.xsaves(AREA, 0b011).unwrap();
    let area = cpu.memory().area(AREA).unwrap();
    assert_eq!((area.xstate_bv, area.xcomp_bv), (0, COMPACTED | 0b011));
    cpu.xrstors(AREA, 0b011).unwrap();
    assert_eq!(held(&cpu, Component::AVX), 7);
    cpu.xrstors(AREA, 0b111).unwrap();
    assert_eq!(held(&cpu, Component::AVX), 0, "what the image lacks is initialised");
}

#[test]
fn xsaves_takes_a_component_under_xfd_for_initial_and_its_registers_stay() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.write_component(Component::XTILEDATA, 7).unwrap();
    cpu.wrmsr(msr::XFD, TILES.bits()).unwrap();
    cpu.xsaves(AREA, ALL).unwrap();
    assert_eq!(cpu.memory().area(AREA).unwrap().xstate_bv & TILES.bits(), 0);
    assert_eq!(held(&cpu, Component::XTILEDATA), 7);
    // Restored from there, the data is lost: XFD is to be clear for every component of the image.
    cpu.xrstors(AREA, ALL).unwrap();
    assert_eq!(held(&cpu, Component::XTILEDATA), 0);
}

#[test]
fn xrstors_of_a_component_in_use_under_xfd_raises_nm_and_changes_nothing() {
    for (update, expected) in [(XfdErrUpdate::Added, 0b11 << 18), (XfdErrUpdate::Loaded, 1 << 18)] {
        let mut machine = machine_with(machine().hardware().with_xfd_err_update(update));
        let mut cpu = machine.on(0).unwrap();
        cpu.write_component(Component::XTILEDATA, 7).unwrap();
        cpu.xsaves(AREA, ALL).unwrap();
        cpu.write_component(Component::AVX, 8).unwrap();
        cpu.wrmsr(msr::XFD_ERR, 1 << 19).unwrap();
        cpu.wrmsr(msr::XFD, TILES.bits()).unwrap();
        assert_eq!(cpu.xrstors(AREA, ALL), Err(Fault::DeviceNotAvailable(NmCause::Disabled(TILES))));
        assert_eq!(held(&cpu, Component::AVX), 8);
        assert_eq!(cpu.rdmsr(msr::XFD_ERR), Ok(expected), "{update:?}");
    }
}

#[test]
fn task_switched_comes_before_xfd_and_leaves_xfd_err_alone() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.wrmsr(msr::XFD, TILES.bits()).unwrap();
    cpu.set_task_switched(true).unwrap();
    let expected = Err(Fault::DeviceNotAvailable(NmCause::TaskSwitched));
    assert_eq!(cpu.write_component(Component::XTILEDATA, 1), expected);
    assert_eq!(cpu.xsaves(AREA, ALL), expected);
    assert_eq!(cpu.rdmsr(msr::XFD_ERR), Ok(0));
    assert_eq!(cpu.write_component(Component::CET_S, 8), Ok(()), "MSRs do not ask CR0.TS");
}

/// The modified optimisation believes that memory is as it was loaded: who edits the image of live registers, or erases it,
/// loses what the CPU does not write again.
#[test]
fn an_image_that_is_edited_under_live_registers_stays_edited() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    for component in [Component::AVX, Component::XTILEDATA] {
        cpu.write_component(component, 7).unwrap();
    }
    cpu.xsaves(AREA, ALL).unwrap();
    cpu.xrstors(AREA, ALL).unwrap();
    cpu.write_component(Component::XTILEDATA, 8).unwrap();
    cpu.memory().area_mut(AREA).unwrap().contents.set(Component::AVX, 9);
    cpu.xsaves(AREA, ALL).unwrap();
    let area = cpu.memory().area(AREA).unwrap();
    assert_eq!((area.contents.get(Component::AVX), area.contents.get(Component::XTILEDATA)), (9, 8));
    assert_eq!(held(&cpu, Component::AVX), 7, "the registers have something else");
}

#[test]
fn the_modified_optimisation_needs_the_same_address_mask_and_level() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    let mut written = |mutate: fn(&mut Processor<'_>), linear, mask| {
        cpu.write_component(Component::AVX, 7).unwrap();
        cpu.xsaves(AREA, ALL).unwrap();
        cpu.xrstors(AREA, ALL).unwrap();
        cpu.memory().area_mut(AREA).unwrap().contents.set(Component::AVX, 0);
        mutate(&mut cpu);
        cpu.xsaves(linear, mask).unwrap();
        cpu.memory().area(linear).unwrap().contents.get(Component::AVX) == 7
    };
    assert!(!written(|_| (), AREA, ALL));
    assert!(written(|_| (), OTHER, ALL));
    assert!(written(|_| (), AREA, 0b110));
    assert!(written(|cpu| cpu.xrstors(OTHER, 0b001).unwrap(), AREA, ALL), "another image was loaded since");
    assert!(written(|cpu| cpu.write_component(Component::AVX, 7).unwrap(), AREA, ALL));
}

#[test]
fn initial_components_leave_their_old_bytes_behind() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.write_component(Component::AVX, 7).unwrap();
    cpu.xsaves(AREA, ALL).unwrap();
    cpu.write_component(Component::AVX, 0).unwrap();
    cpu.xsaves(AREA, ALL).unwrap();
    let area = cpu.memory().area(AREA).unwrap();
    assert_eq!((area.xstate_bv & 0b100, area.contents.get(Component::AVX)), (0, 7));
}

#[test]
fn xsave_writes_everything_and_keeps_bits_outside_its_mask() {
    let mut machine = without_xsaves(Virtualisation::Vmx);
    let mut cpu = machine.on(0).unwrap();
    cpu.write_component(Component::AVX, 7).unwrap();
    cpu.xsave(AREA, 0b111).unwrap();
    assert_eq!(cpu.memory().area(AREA).unwrap().xstate_bv, 0b100);
    cpu.xsave(AREA, 0b011).unwrap();
    assert_eq!(cpu.memory().area(AREA).unwrap().xstate_bv, 0b100);
    cpu.write_component(Component::AVX, 0).unwrap();
    cpu.xsave(AREA, 0b111).unwrap();
    let area = cpu.memory().area(AREA).unwrap();
    assert_eq!((area.xstate_bv, area.contents.get(Component::AVX)), (0, 0));
}

#[test]
fn xrstor_never_tracks_for_xsaves_and_xsaveopt_never_for_a_compacted_image() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.write_component(Component::AVX, 7).unwrap();
    cpu.xsaves(AREA, 0b111).unwrap();
    cpu.xrstors(AREA, 0b111).unwrap();
    cpu.xsaveopt(AREA, 0b111).unwrap();
    let written = cpu.registers().ledger.events().last().unwrap().after;
    assert_eq!(written, 0b100, "everything in use, though nothing was modified");
}

#[test]
fn mxcsr_follows_sse_in_the_compacted_format_and_not_in_the_standard_one() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.ldmxcsr(0x3F80).unwrap();
    cpu.xsaves(AREA, ALL).unwrap();
    assert_eq!(cpu.memory().area(AREA).unwrap().xstate_bv, 0b010, "an MXCSR of its own puts SSE in use");
    cpu.memory().area_mut(AREA).unwrap().xstate_bv = 0;
    cpu.xrstors(AREA, ALL).unwrap();
    assert_eq!(cpu.registers().contents().mxcsr, MXCSR_INIT);

    let mut machine = without_xsaves(Virtualisation::Vmx);
    let mut cpu = machine.on(0).unwrap();
    cpu.ldmxcsr(0x3F80).unwrap();
    cpu.xsave(AREA, 0b111).unwrap();
    assert_eq!(cpu.memory().area(AREA).unwrap().xstate_bv, 0, "XSAVE looks at XMM alone");
    cpu.ldmxcsr(MXCSR_INIT).unwrap();
    cpu.xrstor(AREA, 0b100).unwrap();
    assert_eq!(cpu.registers().contents().mxcsr, 0x3F80, "AVX in the mask is enough");
    cpu.memory().area_mut(AREA).unwrap().contents.mxcsr = 1 << 20;
    assert_eq!(cpu.xrstor(AREA, 0b010), Err(Fault::GeneralProtection(GpCause::Mxcsr(1 << 20))));
    assert_eq!(cpu.xrstor(AREA, 0b001), Ok(()), "MXCSR is not loaded");
}

#[test]
fn headers_with_more_than_is_enabled_are_refused() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.xsaves(AREA, 0b111).unwrap();
    cpu.xsetbv(0, 0b011).unwrap();
    assert_eq!(cpu.xrstors(AREA, 0b001), Err(header(HeaderCause::XcompBv(ComponentSet::from_bits(0b100)))));
    cpu.xsetbv(0, 0b111).unwrap();
    cpu.memory().area_mut(AREA).unwrap().xstate_bv = 1 << 9;
    assert_eq!(cpu.xrstors(AREA, 0b001), Err(header(HeaderCause::XstateBv(Component::PKRU.into()))));
    *cpu.memory().area_mut(AREA).unwrap() = Area::new(1 << 14);
    assert_eq!(cpu.xrstors(AREA, 0b001), Err(header(HeaderCause::Format)));
    cpu.memory().area_mut(AREA).unwrap().xstate_bv = 1 << 11;
    assert_eq!(cpu.xrstor(AREA, 0b001), Err(header(HeaderCause::XstateBv(Component::CET_U.into()))));

    let mut machine = without_xsaves(Virtualisation::Vmx);
    let mut cpu = machine.on(0).unwrap();
    cpu.memory().area_mut(AREA).unwrap().xcomp_bv = COMPACTED;
    assert_eq!(cpu.xrstor(AREA, ALL), Err(header(HeaderCause::Format)), "without XSAVEC there is no compacted format");
}

#[test]
fn an_area_that_is_too_small_or_misplaced_faults() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.memory().insert_area(AREA, Area::compacted(576, ComponentSet::LEGACY));
    assert_eq!(cpu.xsaves(AREA, 0b011), Ok(()));
    assert_eq!(cpu.xsaves(AREA, 0b111), Err(Fault::PageFault { linear: AREA + 576 }));
    assert_eq!(cpu.xsaves(0x9000, 0b011), Err(Fault::PageFault { linear: 0x9000 }));
    let misaligned = GpCause::Misaligned { linear: AREA + 8 };
    assert_eq!(cpu.xsaves(AREA + 8, 0b011), Err(Fault::GeneralProtection(misaligned)));
}

#[test]
fn what_is_absent_or_disabled_is_undefined() {
    let absent = Err(Fault::UndefinedOpcode(UdCause::Absent));
    let mut machine = without_xsaves(Virtualisation::Vmx);
    let mut cpu = machine.on(0).unwrap();
    assert_eq!(cpu.xsaves(AREA, ALL), absent);
    assert_eq!(cpu.xrstors(AREA, ALL), absent);
    cpu.set_cr4(Cr4::default()).unwrap();
    let no_osxsave = Err(Fault::UndefinedOpcode(UdCause::NoOsxsave));
    assert_eq!(cpu.xsave(AREA, ALL), no_osxsave);
    assert_eq!(cpu.xsetbv(0, 1), no_osxsave);
    assert_eq!(cpu.write_component(Component::AVX, 1), no_osxsave);
    assert_eq!(cpu.write_component(Component::SSE, 1), Ok(()));

    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.xsetbv(0, 1).unwrap();
    let not_enabled = UdCause::NotEnabled(Component::AVX.into());
    assert_eq!(cpu.write_component(Component::AVX, 1), Err(Fault::UndefinedOpcode(not_enabled)));
}

#[test]
fn pkru_asks_cr4_and_not_xcr0() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    assert_eq!(cpu.write_component(Component::PKRU, 1), Err(Fault::UndefinedOpcode(UdCause::NoPke)));
    cpu.xsetbv(0, 1).unwrap();
    cpu.set_cr4(Cr4::OSXSAVE.union(Cr4::PKE)).unwrap();
    assert_eq!(cpu.write_component(Component::PKRU, 1), Ok(()));
}

#[test]
fn fninit_clears_no_data_register() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.write_component(Component::X87, 7).unwrap();
    cpu.execute_x87(9, true).unwrap();
    cpu.fninit().unwrap();
    let contents = cpu.registers().contents();
    assert_eq!((contents.get(Component::X87), contents.fp_pointers, contents.has_fp_exception), (7, 0, false));
}

/// CPUs of AMD before RSTR_FP_ERR_PTRS leave the pointers of whoever executed x87 instructions last.
#[test]
fn fp_pointers_are_kept_by_old_amd_cpus_unless_an_exception_is_pending() {
    for (virtualisation, is_kept) in [(Virtualisation::Vmx, false), (Virtualisation::Svm, true)] {
        let mut machine = without_xsaves(virtualisation);
        let mut cpu = machine.on(0).unwrap();
        assert_eq!(cpu.hardware().keeps_fp_error_pointers(), is_kept);
        cpu.execute_x87(5, false).unwrap();
        cpu.xsave(AREA, ALL).unwrap();
        cpu.execute_x87(6, true).unwrap();
        cpu.xsave(OTHER, ALL).unwrap();
        cpu.xrstor(AREA, ALL).unwrap();
        assert_eq!(cpu.registers().contents().fp_pointers, if is_kept { 6 } else { 5 });
        cpu.execute_x87(7, false).unwrap();
        cpu.fxrstor(OTHER).unwrap();
        assert_eq!(cpu.registers().contents().fp_pointers, 6, "an exception is pending in the image");
    }
}

#[test]
fn xgetbv_of_1_shows_what_is_in_use() {
    let mut machine = full();
    let mut cpu = machine.on(0).unwrap();
    cpu.write_component(Component::AVX, 7).unwrap();
    cpu.write_component(Component::CET_S, 8).unwrap();
    assert_eq!(cpu.xgetbv(1), Ok(0b100));
    assert_eq!(cpu.xgetbv(2), Err(Fault::GeneralProtection(GpCause::NoSuchXcr { index: 2 })));
    assert_eq!(cpu.xsetbv(1, 1), Err(Fault::GeneralProtection(GpCause::NoSuchXcr { index: 1 })));
    assert!(matches!(cpu.xsetbv(0, 0b101), Err(Fault::GeneralProtection(GpCause::Xcr0(_)))));
}
