//! What is saved and loaded, under which XCR0 and XSS, and what else a step does.
#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

mod stage;

use selfsame_switch::{AreaAddress, CpuId, GuestXss, Msr, Operation, Platform, StillResident, VcpuKind};
use selfsame_xstate::{AccumulatedXcr0, Component, ComponentSet, SaveMethod, Xcr0, Xss};
use stage::{
    Stage, barcelona, count, loaded, milan, position, sandy_bridge, sapphire_rapids, saved, set, wrmsrs, xsetbvs,
};

const CET_U: u64 = 1 << 11;
const CET_S: u64 = 1 << 12;
const PASID: u64 = 1 << 10;
const LBR: u64 = 1 << 15;

fn guest_xss(stage: &mut Stage, vcpu: usize, value: u64) {
    let xss = Xss::new(value, stage.platform.xss.components()).unwrap();
    stage.vcpus[vcpu].extended.set_xss(GuestXss::Own(xss));
}

#[test]
fn hvm_keeps_all_supervisor_components_and_pv_all_but_the_hypervisors_shadow_stacks() {
    let mut stage = Stage::new(sapphire_rapids());
    let (hvm, pv) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.xsetbv(hvm, 0x7);
    stage.xsetbv(pv, 0xE7);
    let first = stage.run(0, hvm);
    assert_eq!(saved(&first), None, "nobody was there");
    assert_eq!(loaded(&first), Some((0x10000, set(0x7 | PASID | CET_U | CET_S))));
    let second = stage.run(0, pv);
    assert_eq!(saved(&second), Some((0x10000, set(0x7 | PASID | CET_U | CET_S))));
    assert_eq!(loaded(&second), Some((0x20000, set(0xE7 | PASID | CET_U))));
}

#[test]
fn a_vcpu_from_elsewhere_brings_what_it_ever_had_in_xcr0_and_no_more_than_that_in_it() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Hvm, 1, 0);
    let xcr0 = |value| Xcr0::new(value, stage.platform.xcr0.components()).unwrap();
    let accumulated = AccumulatedXcr0::new(0xE7, stage.platform.xcr0.components()).unwrap();
    let (narrow, wider) = (xcr0(0x7), xcr0(0x6_00E7));
    let extended = stage.vcpus[vcpu].extended;
    assert_eq!(extended.with_xcr0(accumulated, wider), None, "its history has no tiles");
    stage.vcpus[vcpu].extended = extended.with_xcr0(accumulated, narrow).unwrap();
    let first = stage.run(0, vcpu);
    assert_eq!(loaded(&first), Some((0x10000, set(0xE7 | PASID | CET_U | CET_S))));
    assert_eq!(xsetbvs(&first).last(), Some(&0x7));
}

#[test]
fn lbr_has_a_buffer_of_its_own_and_is_in_no_mask() {
    let mut stage = Stage::new(sapphire_rapids());
    assert!(stage.platform.xss.components().contains(Component::LBR));
    let hvm = stage.add(VcpuKind::Hvm, 1, 0);
    let (_, mask) = loaded(&stage.run(0, hvm)).unwrap();
    assert_eq!(mask & set(LBR), ComponentSet::EMPTY);
}

#[test]
fn a_component_that_a_guest_disabled_again_is_still_kept() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.xsetbv(a, 0xE7);
    stage.xsetbv(a, 0x3);
    stage.run(0, a);
    assert_eq!(saved(&stage.run(0, b)).unwrap().1, set(0xE7 | PASID | CET_U));
}

#[test]
fn the_same_vcpu_again_after_idle_moves_nothing_and_writes_nothing() {
    for platform in [sapphire_rapids(), milan(), sandy_bridge(), barcelona()] {
        let mut stage = Stage::new(platform);
        for kind in [VcpuKind::Pv64, VcpuKind::Pv32, VcpuKind::Hvm] {
            let vcpu = stage.add(kind, 1, stage.vcpus.len().try_into().unwrap());
            stage.run(0, vcpu);
            assert_eq!(stage.run(0, vcpu), []);
        }
    }
}

#[test]
fn a_switch_away_and_back_before_an_entry_moves_no_extended_state() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.run(0, a);
    stage.switch(0, b);
    stage.switch(0, a);
    let entered = stage.enter(0, a);
    assert_eq!(entered, []);
    assert_eq!(stage.vcpus[b].residence.cpu(), None, "it never came to its guest");
    assert_eq!(stage.vcpus[a].residence.cpu(), Some(CpuId::new(0)));
}

#[test]
fn what_a_guest_enables_for_the_first_time_is_initialised_and_only_then_xsa_62() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Hvm, 1, 0);
    stage.run(0, vcpu);
    let supervisor = PASID | CET_U | CET_S;
    stage.xsetbv(vcpu, 0x7);
    let entered = stage.enter(0, vcpu);
    assert_eq!(saved(&entered), Some((0x10000, set(0x3 | supervisor))), "what it had");
    assert_eq!(
        loaded(&entered),
        Some((0x10000, set(0x7 | supervisor))),
        "AVX is initial: its bit in the area is clear"
    );
    stage.exit(0, vcpu);
    stage.xsetbv(vcpu, 0x3);
    assert_eq!(stage.enter(0, vcpu).len(), 1, "XSETBV alone");
    stage.xsetbv(vcpu, 0x7);
    assert_eq!(stage.enter(0, vcpu).len(), 1, "it has had AVX before");
}

#[test]
fn pkru_and_mpx_are_kept_for_a_guest_that_reaches_them_outside_of_xcr0_xsa_220() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.xsetbv(a, 0x7);
    stage.vcpus[a].extended.reach_pkru();
    let first = stage.run(0, a);
    assert_eq!(loaded(&first).unwrap().1 & set(0x3FF), set(0x207));
    assert_eq!(xsetbvs(&first), [0x6_02E7, 0x7], "PKRU needs an XCR0 that the guest never runs with");
    let second = stage.run(0, b);
    assert!(saved(&second).unwrap().1.contains(Component::PKRU));
    stage.vcpus[b].extended.reach_mpx();
    assert!(ComponentSet::MPX.is_subset_of(stage.vcpus[b].extended.accumulated()));
}

#[test]
fn at_most_two_xsetbv_for_every_pair_of_values() {
    let values: [u64; 6] = [0x1, 0x3, 0x7, 0xE7, 0x207, 0x6_02E7];
    let mut two = 0;
    for from in values {
        for from_ever in values.into_iter().filter(|ever| ever & from == from) {
            for to in values {
                for to_ever in values.into_iter().filter(|ever| ever & to == to) {
                    let mut stage = Stage::new(sapphire_rapids());
                    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
                    stage.xsetbv(a, from_ever);
                    stage.xsetbv(a, from);
                    stage.xsetbv(b, to_ever);
                    stage.xsetbv(b, to);
                    stage.run(0, b);
                    stage.run(0, a);
                    let operations = stage.run(0, b);
                    let written = xsetbvs(&operations);
                    let needed = (from_ever | to_ever) & 0x6_02E7 | 0x3;
                    let least =
                        if needed & !from == 0 { usize::from(from != to) } else { 1 + usize::from(needed & !to != 0) };
                    assert_eq!(written.len(), least, "{from:#x} of {from_ever:#x} to {to:#x} of {to_ever:#x}");
                    assert_eq!(written.last().copied().unwrap_or(from), to);
                    two += usize::from(least == 2);
                }
            }
        }
    }
    assert!(two > 0);
}

/// An area that software laid out may name in XCOMP_BV what XCR0 does not have, and XRSTORS would refuse it.
#[test]
fn what_software_laid_out_is_loaded_under_all_that_the_host_has() {
    let mut stage = Stage::new(sapphire_rapids());
    let a = stage.add(VcpuKind::Pv64, 1, 0);
    stage.xsetbv(a, 0x3);
    assert_eq!(xsetbvs(&stage.run(0, a)), [0x6_02E7, 0x3]);
    stage.flush(0, a);
    assert_eq!(xsetbvs(&stage.run(1, a)), [0x3], "what the CPU saved names no more than was saved");
    stage.flush(1, a);
    let vcpu = &mut stage.vcpus[a];
    vcpu.extended.move_area(&vcpu.residence, AreaAddress::new(0x40_0000).unwrap()).unwrap();
    assert_eq!(xsetbvs(&stage.run(0, a)), [0x6_02E7, 0x3]);
}

#[test]
fn an_image_that_names_shadow_stacks_is_loaded_under_an_xss_that_has_them() {
    let mut stage = Stage::new(sapphire_rapids());
    let (hvm, pv) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    guest_xss(&mut stage, hvm, PASID | CET_U);
    stage.run(1, hvm);
    stage.flush(1, hvm);
    stage.run(0, hvm);
    let operations = stage.run(0, pv);
    let is_xss = |operation: &Operation| matches!(operation, Operation::Wrmsr(write) if write.msr() == Msr::Xss);
    let is_load = |operation: &Operation| matches!(operation, Operation::Load(..));
    assert!(position(&operations, is_xss) < position(&operations, is_load), "software laid pv's area out with CET_S");
}

#[test]
fn xcr0_has_all_of_both_masks_while_state_moves() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.xsetbv(a, 0x207);
    stage.xsetbv(b, 0xE7);
    stage.run(0, a);
    let operations = stage.run(0, b);
    assert_eq!(xsetbvs(&operations), [0x6_02E7, 0xE7]);
    let is_save = |operation: &Operation| matches!(operation, Operation::Save(..));
    let is_load = |operation: &Operation| matches!(operation, Operation::Load(..));
    let is_xsetbv = |operation: &Operation| matches!(operation, Operation::Xsetbv(_));
    assert!(position(&operations, is_xsetbv) < position(&operations, is_save));
    let after_load = &operations[position(&operations, is_load)..];
    assert_eq!(count(after_load, is_xsetbv), 1);
}

#[test]
fn xss_is_not_written_between_guests_with_the_hosts() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    for vcpu in [a, b] {
        guest_xss(&mut stage, vcpu, CET_U | CET_S);
        assert_eq!(wrmsrs(&stage.run(0, vcpu), Msr::Xss), [0; 0]);
    }
}

#[test]
fn xss_goes_up_once_and_down_once_between_guests_with_less() {
    let mut stage = Stage::new(milan());
    let (a, b, pv) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0), stage.add(VcpuKind::Pv64, 3, 0));
    guest_xss(&mut stage, b, CET_U);
    assert_eq!(wrmsrs(&stage.run(0, a), Msr::Xss), [0], "down");
    let operations = stage.run(0, b);
    assert_eq!(wrmsrs(&operations, Msr::Xss), [CET_U | CET_S, CET_U], "up and down");
    let is_xss = |operation: &Operation| matches!(operation, Operation::Wrmsr(write) if write.msr() == Msr::Xss);
    let is_save = |operation: &Operation| matches!(operation, Operation::Save(..));
    assert!(position(&operations, is_xss) < position(&operations, is_save));
    assert_eq!(wrmsrs(&stage.run(0, pv), Msr::Xss), [CET_U | CET_S], "up: under PV it is the host's");
    assert_eq!(wrmsrs(&stage.run(0, pv), Msr::Xss), [0; 0]);
}

#[test]
fn equal_guests_with_less_than_the_hosts_still_need_it_for_the_save() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.run(0, a);
    assert_eq!(wrmsrs(&stage.run(0, b), Msr::Xss), [CET_U | CET_S, 0]);
}

#[test]
fn a_guest_that_lacks_only_what_no_area_holds_needs_no_way_up() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    for vcpu in [a, b] {
        guest_xss(&mut stage, vcpu, PASID | CET_U | CET_S);
    }
    assert_eq!(wrmsrs(&stage.run(0, a), Msr::Xss), [PASID | CET_U | CET_S], "LBR goes");
    assert_eq!(wrmsrs(&stage.run(0, b), Msr::Xss), [0; 0]);
}

#[test]
fn the_hosts_xss_stays_where_the_exiting_bitmap_covers_the_difference() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    for vcpu in [a, b] {
        stage.vcpus[vcpu].extended.set_xss(GuestXss::Hosts);
        assert_eq!(wrmsrs(&stage.run(0, vcpu), Msr::Xss), [0; 0]);
    }
}

#[test]
fn leaving_hvm_puts_this_cpus_shadow_stack_back_after_the_save() {
    let mut stage = Stage::with_own(sapphire_rapids(), |own| {
        own.pl0_ssp = Some(0xFFFF_82D0_0000_0FF8 + u64::from(own.tables.cpu().number()) * 0x1000);
    });
    let (hvm, other, pv) =
        (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0), stage.add(VcpuKind::Pv64, 3, 0));
    stage.run(0, hvm);
    assert_eq!(wrmsrs(&stage.run(0, other), Msr::Pl0Ssp), [0; 0], "the next guest's comes with its area");
    let operations = stage.run(0, pv);
    assert_eq!(wrmsrs(&operations, Msr::Pl0Ssp), [0xFFFF_82D0_0000_0FF8]);
    let is_ssp = |operation: &Operation| matches!(operation, Operation::Wrmsr(write) if write.msr() == Msr::Pl0Ssp);
    assert!(
        position(&operations, |operation| matches!(operation, Operation::Save(..))) < position(&operations, is_ssp)
    );

    stage.flush(0, pv);
    let moved = stage.run(1, pv);
    assert_eq!(wrmsrs(&moved, Msr::Pl0Ssp), [0; 0], "CPU 1 has had its own since bring-up");
    assert!(!loaded(&moved).unwrap().1.contains(Component::CET_S), "and what came from CPU 0 does not replace it");
    stage.run(0, hvm);
    assert_eq!(wrmsrs(&stage.flush(0, hvm), Msr::Pl0Ssp), [0xFFFF_82D0_0000_0FF8], "idle has it too");
}

#[test]
fn without_xsaves_no_supervisor_component_and_no_xss_is_touched() {
    let mut stage = Stage::new(sandy_bridge());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.xsetbv(a, 0x7);
    stage.run(0, a);
    let operations = stage.run(0, b);
    assert_eq!(saved(&operations), Some((0x10000, set(0x7))));
    assert_eq!(loaded(&operations), Some((0x20000, set(0x3))));
    assert!(operations.contains(&Operation::Save(SaveMethod::Xsave, AreaAddress::new(0x10000).unwrap(), set(0x7))));
    assert_eq!(wrmsrs(&operations, Msr::Xss), [0; 0]);
}

#[test]
fn without_xsave_there_is_no_xcr0_and_the_pointers_are_cleared_before_every_load_xsa_52_xsa_172() {
    let mut stage = Stage::new(barcelona());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.run(0, a);
    let operations = stage.run(0, b);
    assert_eq!(xsetbvs(&operations), [0; 0]);
    assert_eq!(saved(&operations), Some((0x10000, ComponentSet::LEGACY)));
    let cleared = position(&operations, |operation| *operation == Operation::ClearFpPointers);
    let is_save = |operation: &Operation| matches!(operation, Operation::Save(SaveMethod::Fxsave, ..));
    let is_load = |operation: &Operation| matches!(operation, Operation::Load(SaveMethod::Fxsave, ..));
    assert!(position(&operations, is_save) < cleared && cleared < position(&operations, is_load));
    assert_eq!(count(&stage.flush(0, b), |operation| *operation == Operation::ClearFpPointers), 0, "nothing is loaded");
}

#[test]
fn cpus_that_load_the_pointers_do_not_clear_them() {
    let mut stage = Stage::new(milan());
    let vcpu = stage.add(VcpuKind::Pv64, 1, 0);
    assert_eq!(count(&stage.run(0, vcpu), |operation| *operation == Operation::ClearFpPointers), 0);
}

#[test]
fn an_area_moves_only_while_its_vcpu_is_in_memory() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Hvm, 1, 0);
    let (here, there) = (AreaAddress::new(0x10000).unwrap(), AreaAddress::new(0x9_0000).unwrap());
    stage.run(0, vcpu);
    let the_vcpu = &mut stage.vcpus[vcpu];
    let refused = the_vcpu.extended.move_area(&the_vcpu.residence, there);
    assert_eq!(refused, Err(StillResident { cpu: CpuId::new(0) }));
    assert_eq!(the_vcpu.extended.area(), here);

    stage.flush(0, vcpu);
    let the_vcpu = &mut stage.vcpus[vcpu];
    the_vcpu.extended.move_area(&the_vcpu.residence, there).unwrap();
    assert_eq!(loaded(&stage.run(0, vcpu)).unwrap().0, 0x9_0000);
}

#[test]
fn an_image_that_software_edited_is_loaded_before_it_is_saved_over() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Hvm, 1, 0);
    stage.run(0, vcpu);
    stage.flush(0, vcpu);
    // Here the toolstack edits the area: the residence says that it may.
    assert_eq!(stage.vcpus[vcpu].residence.cpu(), None);
    let operations = stage.run(0, vcpu);
    assert_eq!(saved(&operations), None);
    assert_eq!(loaded(&operations).unwrap().0, 0x10000, "although nobody else has been on the CPU");
}

#[test]
fn areas_are_aligned_and_not_at_zero() {
    assert_eq!(AreaAddress::new(0), None);
    assert_eq!(AreaAddress::new(0x10020), None);
    assert_eq!(AreaAddress::new(0x10040).map(AreaAddress::get), Some(0x10040));
}

#[test]
fn xsaves_hosts_without_supervisor_components_write_no_xss_after_bring_up() {
    let platform = Platform { xss: Xss::RESET, supervisor: ComponentSet::EMPTY, ..milan() };
    let mut stage = Stage::new(platform);
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    for vcpu in [a, b, a] {
        assert_eq!(wrmsrs(&stage.run(0, vcpu), Msr::Xss), [0; 0]);
    }
}
