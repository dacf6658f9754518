//! The registers of the table, bases and segments, breakpoints, barriers, and moves between CPUs.

mod stage;

use proptest::prelude::*;
use selfsame_switch::{
    BreakpointError, Content, CpuId, Cr4, DR7_RESET, DebugRegister, DebugState, DrMask, Msr, Occupancy, Operation,
    Platform, REGISTERS, Register, Segment, SegmentFault, Selector, StillResident, SwitchError, VcpuKind,
};
use selfsame_xstate::LinearAddresses;
use stage::{Stage, barcelona, count, milan, own, position, sandy_bridge, sapphire_rapids, written, wrmsrs};

fn is_rdmsr(operation: &Operation) -> bool {
    matches!(operation, Operation::Rdmsr(_))
}

fn cr4s(operations: &[Operation]) -> Vec<u64> {
    let of = |operation: &Operation| match operation {
        Operation::Cr4(cr4) => Some(cr4.bits()),
        _ => None,
    };
    operations.iter().filter_map(of).collect()
}

#[test]
fn an_address_is_legal_by_the_width_of_the_guests_addresses() {
    use Register::{Cstar, FsBase, GsBase, KernelGsBase, Lstar, SysenterEip, SysenterEsp};
    for register in [FsBase, GsBase, KernelGsBase, Lstar, Cstar, SysenterEsp, SysenterEip] {
        let is_legal = |value, addresses| register.row().is_legal(value, addresses);
        assert!(is_legal(0xFF10_0000_8100_0000, LinearAddresses::Bits57), "{register:?}");
        assert!(!is_legal(0xFF10_0000_8100_0000, LinearAddresses::Bits48), "{register:?}");
        assert!(!is_legal(1 << 56, LinearAddresses::Bits57), "{register:?}");
    }
}

#[test]
fn every_row_is_kept_after_a_switch_between_any_two_kinds() {
    for platform in [sapphire_rapids(), milan()] {
        for from in [VcpuKind::Pv64, VcpuKind::Pv32, VcpuKind::Hvm] {
            for to in [VcpuKind::Pv64, VcpuKind::Pv32, VcpuKind::Hvm] {
                let mut stage = Stage::new(platform);
                let (a, b) = (stage.add(from, 1, 0), stage.add(to, 2, 0));
                stage.run(0, a);
                stage.run(0, b);
                let occupancy = to.occupancy(platform.virtualisation);
                for row in &REGISTERS {
                    let held = stage.cpus[0].trace.registers.get(row.register);
                    let follows_descriptors =
                        to == VcpuKind::Pv32 && matches!(row.register, Register::FsBase | Register::GsBase);
                    match row.content(occupancy) {
                        Content::Vcpu | Content::Live if !follows_descriptors => {
                            assert_eq!(held, stage.vcpus[b].registers.get(row.register), "{} after {to:?}", row.name);
                        }
                        Content::Own => assert_eq!(held, own(0).registers.get(row.register), "{}", row.name),
                        Content::Vcpu | Content::Live | Content::Carried | Content::Any => {}
                    }
                }
            }
        }
    }
}

#[test]
fn equal_values_are_not_written_again() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.vcpus[b].registers = stage.vcpus[a].registers;
    stage.run(0, a);
    let operations = stage.run(0, b);
    for register in Register::ALL {
        assert_eq!(written(&operations, register), [0; 0], "{register:?}");
    }
}

#[test]
fn syscall_msrs_are_the_hypervisors_under_pv_and_go_straight_from_guest_to_guest_under_vmx() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b, pv) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0), stage.add(VcpuKind::Pv64, 3, 0));
    let other = stage.add(VcpuKind::Pv64, 4, 0);
    stage.run(0, a);
    let hvm_to_hvm = stage.run(0, b);
    let hvm_to_pv = stage.run(0, pv);
    let pv_to_pv = stage.run(0, other);
    for register in [Register::Star, Register::Lstar, Register::Cstar, Register::Sfmask] {
        assert_eq!(written(&hvm_to_hvm, register), [stage.vcpus[b].registers.get(register)]);
        assert_eq!(written(&hvm_to_pv, register), [own(0).registers.get(register)]);
        assert_eq!(written(&pv_to_pv, register), [0; 0]);
    }
}

#[test]
fn what_svm_carries_is_never_written_for_hvm() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.run(0, a);
    let operations = stage.run(0, b);
    for row in REGISTERS.iter().filter(|row| row.content(Occupancy::Svm) == Content::Carried) {
        assert_eq!(written(&operations, row.register), [0; 0], "{}", row.name);
    }
}

#[test]
fn a_guests_swapgs_is_read_back_without_rdmsr() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.switch(0, a);
    stage.enter(0, a);
    stage.cpus[0].trace.registers.set(Register::KernelGsBase, 0x5555_0000);
    stage.exit(0, a);
    let operations = stage.run(0, b);
    assert!(operations.contains(&Operation::ReadBase(Register::KernelGsBase)));
    assert_eq!(stage.vcpus[a].registers.get(Register::KernelGsBase), 0x5555_0000);
    assert_eq!(written(&stage.run(0, a), Register::KernelGsBase), [0x5555_0000]);
}

#[test]
fn no_switch_and_no_flush_reads_an_msr() {
    for platform in [sapphire_rapids(), milan(), sandy_bridge(), barcelona()] {
        let mut stage = Stage::new(platform);
        let all: Vec<usize> = [VcpuKind::Pv64, VcpuKind::Pv32, VcpuKind::Hvm, VcpuKind::Pv64, VcpuKind::Hvm]
            .into_iter()
            .zip(1..)
            .map(|(kind, domain)| stage.add(kind, domain, domain % 2))
            .collect();
        for &from in &all {
            for &to in &all {
                stage.run(0, from);
                assert_eq!(count(&stage.switch(0, to), is_rdmsr), 0);
                assert_eq!(count(&stage.flush(0, to), is_rdmsr), 0);
                if from != to {
                    assert_eq!(count(&stage.flush_if_resident(from), is_rdmsr), 0);
                }
            }
        }
    }
}

#[test]
fn fsgsbase_is_on_only_for_guests_that_turned_it_on_xsa_293() {
    let mut stage = Stage::new(sapphire_rapids());
    let (with, without) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    let hvm = stage.add(VcpuKind::Hvm, 3, 0);
    stage.vcpus[without].guest_cr4 = 0;
    stage.run(0, with);
    assert_eq!(cr4s(&stage.run(0, without)), [stage::CR4 & !Cr4::FSGSBASE]);
    assert_eq!(cr4s(&stage.run(0, with)), [stage::CR4], "the bases are read under the next one's CR4");
    stage.run(0, without);
    assert_eq!(cr4s(&stage.run(0, hvm)), [stage::CR4]);
    assert_eq!(cr4s(&stage.run(0, with)), [0; 0]);
}

#[test]
fn between_two_guests_without_fsgsbase_the_hypervisor_turns_it_on_to_read_the_bases() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.vcpus[a].guest_cr4 = 0;
    stage.vcpus[b].guest_cr4 = 0;
    stage.run(0, a);
    let operations = stage.run(0, b);
    assert_eq!(cr4s(&operations), [stage::CR4, stage::CR4 & !Cr4::FSGSBASE]);
    let is_cr4 = |operation: &Operation| matches!(operation, Operation::Cr4(_));
    let reads = |operation: &Operation| matches!(operation, Operation::ReadBase(_));
    assert!(position(&operations, is_cr4) < position(&operations, reads));
}

#[test]
fn the_guests_other_choices_in_cr4_are_taken_and_the_hypervisors_are_not_touched() {
    let hypervisor = Cr4::of_hypervisor(stage::CR4);
    assert_eq!(Cr4::of_pv(hypervisor, 0).bits(), stage::CR4 & !Cr4::FSGSBASE);
    let all = Cr4::of_pv(hypervisor, u64::MAX);
    assert_eq!(all.bits(), stage::CR4 | Cr4::TSD | Cr4::DE);
    let old = Cr4::of_hypervisor(stage::CR4 & !Cr4::FSGSBASE);
    assert!(!Cr4::of_pv(old, u64::MAX).has_fsgsbase(), "the CPU has none");
}

#[test]
fn selectors_are_loaded_after_the_tables_and_before_the_bases() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.vcpus[b].selectors.set(Segment::Fs, Selector::new(0x33));
    stage.run(0, a);
    let operations = stage.run(0, b);
    let loads =
        position(&operations, |operation| *operation == Operation::LoadSelector(Segment::Fs, Selector::new(0x33)));
    let is_base = |operation: &Operation| matches!(operation, Operation::Wrmsr(write) if write.msr() == Msr::Switched(Register::FsBase));
    assert!(position(&operations, |operation| matches!(operation, Operation::Cr3(_))) < loads);
    assert!(loads < position(&operations, is_base));
}

#[test]
fn selectors_that_are_not_null_are_loaded_even_if_they_are_the_same_number() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    for vcpu in [a, b] {
        stage.vcpus[vcpu].selectors.set(Segment::Ds, Selector::new(0x2B));
        stage.vcpus[vcpu].selectors.set(Segment::Es, Selector::new(0x2));
    }
    stage.run(0, a);
    let operations = stage.run(0, b);
    assert_eq!(count(&operations, |operation| matches!(operation, Operation::LoadSelector(..))), 1);
    assert!(operations.contains(&Operation::LoadSelector(Segment::Ds, Selector::new(0x2B))));
}

#[test]
fn a_base_is_written_after_a_selector_brought_another_and_not_where_a_null_selector_left_it() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.vcpus[a].selectors.set(Segment::Gs, Selector::new(0x33));
    stage.vcpus[b].registers.set(Register::GsBase, 0);
    stage.run(0, a);
    let operations = stage.run(0, b);
    assert!(operations.contains(&Operation::LoadSelector(Segment::Gs, Selector::NULL)));
    assert_eq!(written(&operations, Register::GsBase), [0; 0], "the null selector cleared it");

    let mut old = Stage::new(Platform { clears_null_base: false, ..milan() });
    let (a, b) = (old.add(VcpuKind::Pv64, 1, 0), old.add(VcpuKind::Pv64, 2, 0));
    old.vcpus[a].selectors.set(Segment::Gs, Selector::new(0x33));
    old.vcpus[b].registers.set(Register::GsBase, 0);
    old.run(0, a);
    assert_eq!(written(&old.run(0, b), Register::GsBase), [0], "before Zen 2 it does not");
}

#[test]
fn a_selector_that_faults_becomes_null_and_is_told() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Pv64, 1, 0);
    let (segment, selector) = (Segment::Gs, Selector::new(0x1F3));
    stage.vcpus[vcpu].selectors.set(segment, selector);
    let cpu = &mut stage.cpus[0];
    cpu.trace.faulting_selector = Some(selector);
    let switched = cpu.switcher.switch(&mut cpu.trace, None, &mut stage.vcpus[vcpu]).unwrap();
    assert!(switched.faults().eq([SegmentFault { segment, selector }]));
    assert_eq!(stage.vcpus[vcpu].selectors.get(segment), Selector::NULL);
    assert_eq!(cpu.trace.selectors.get(segment), Selector::NULL);
}

#[test]
fn before_vmrun_no_selector_of_a_pv_guest_is_left_in_ds_or_es() {
    let mut stage = Stage::new(milan());
    let (pv, hvm) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.vcpus[pv].selectors.set(Segment::Ds, Selector::new(0x2F));
    stage.run(0, pv);
    assert!(stage.run(0, hvm).contains(&Operation::LoadSelector(Segment::Ds, Selector::NULL)));
}

#[test]
fn a_register_of_the_current_vcpu_is_written_at_once_and_of_another_later() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.run(0, a);
    let cpu = &mut stage.cpus[0];
    cpu.switcher.write_register(&mut cpu.trace, &mut stage.vcpus[a], Register::TscAux, 77);
    cpu.switcher.write_register(&mut cpu.trace, &mut stage.vcpus[b], Register::TscAux, 88);
    cpu.switcher.write_register(&mut cpu.trace, &mut stage.vcpus[a], Register::FsBase, 99);
    assert_eq!(written(&cpu.taken(), Register::TscAux), [77], "FS_BASE is the VMCS's");
    assert_eq!(written(&stage.run(0, b), Register::TscAux), [88]);
    assert_eq!(written(&stage.run(0, a), Register::TscAux), [77]);
}

#[test]
fn what_a_cpu_lacks_is_not_touched() {
    let registers = Register::ALL.into_iter().filter(|&register| register != Register::PsrAssoc).collect();
    let mut stage = Stage::new(Platform { registers, has_ibpb: false, ..sapphire_rapids() });
    let vcpu = stage.add(VcpuKind::Hvm, 1, 0);
    let mut operations = stage.run(0, vcpu);
    operations.extend(stage.flush(0, vcpu));
    assert_eq!(written(&operations, Register::PsrAssoc), [0; 0]);
    assert_eq!(wrmsrs(&operations, Msr::PredCmd), [0; 0]);
}

#[test]
fn idle_accounts_for_itself_and_has_its_own_speculation_controls() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Pv64, 1, 0);
    stage.run(0, vcpu);
    let operations = stage.flush(0, vcpu);
    for register in [Register::PsrAssoc, Register::SpecCtrl] {
        assert_eq!(written(&operations, register), [own(0).registers.get(register)]);
    }
    assert_eq!(written(&operations, Register::Lstar), [0; 0], "nobody executes SYSCALL");
}

#[test]
fn every_vcpu_that_is_put_on_gets_a_barrier_xsa_479() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    assert_eq!(wrmsrs(&stage.run(0, a), Msr::PredCmd), [1]);
    assert_eq!(wrmsrs(&stage.run(0, a), Msr::PredCmd), [0; 0], "it never left");
    stage.flush(0, a);
    stage.run(1, a);
    stage.flush(1, a);
    assert_eq!(wrmsrs(&stage.run(0, a), Msr::PredCmd), [1], "the last vCPU here was the same one, but it was away");
    assert_eq!(wrmsrs(&stage.run(0, b), Msr::PredCmd), [1]);
    assert_eq!(wrmsrs(&stage.flush(0, b), Msr::PredCmd), [0; 0], "idle needs none");
}

#[test]
fn a_vcpu_may_not_be_loaded_before_its_step_ran_elsewhere() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.run(0, a);
    let attempt = |stage: &mut Stage| {
        let cpu = &mut stage.cpus[1];
        let result = cpu.switcher.switch(&mut cpu.trace, None, &mut stage.vcpus[a]);
        assert_eq!(cpu.taken(), [], "nothing was written");
        result.unwrap_err()
    };
    let still = SwitchError::StillResident(StillResident { cpu: CpuId::new(0) });
    assert_eq!(attempt(&mut stage), still, "idle is lazy");
    stage.switch(0, b);
    assert_eq!(attempt(&mut stage), still, "the step is planned and has not run");
    stage.enter(0, b);
    stage.run(1, a);
    assert_eq!(stage.vcpus[a].residence.cpu(), Some(CpuId::new(1)));
}

#[test]
fn a_vcpu_whose_step_has_not_run_can_be_flushed_from_under_the_next_one() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.run(0, a);
    stage.switch(0, b);
    let flushed = stage.flush(0, a);
    assert!(stage::saved(&flushed).is_some());
    assert_eq!(count(&flushed, |operation| matches!(operation, Operation::Lgdt(_) | Operation::Cr3(_))), 0);
    let entered = stage.enter(0, b);
    assert_eq!(stage::saved(&entered), None);
    assert!(stage::loaded(&entered).is_some());
}

#[test]
fn who_is_not_on_the_cpu_is_refused() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b, c) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0), stage.add(VcpuKind::Pv64, 3, 0));
    stage.run(0, a);
    let current = Some(stage.vcpus[a].name());
    let cpu = &mut stage.cpus[0];
    let [from, to] = stage.vcpus.get_disjoint_mut([b, c]).unwrap();
    let not_current = SwitchError::NotCurrent { current };
    assert_eq!(cpu.switcher.switch(&mut cpu.trace, Some(from), to).unwrap_err(), not_current);
    assert_eq!(cpu.switcher.switch(&mut cpu.trace, None, to).unwrap_err(), not_current);
    assert_eq!(cpu.switcher.enter(to).unwrap_err(), not_current);
    assert_eq!(cpu.switcher.exited(&mut cpu.trace, to).unwrap_err(), not_current);
    assert_eq!(cpu.switcher.flush(&mut cpu.trace, to).unwrap_err(), not_current);
    assert_eq!(cpu.switcher.refresh(&mut cpu.trace, to).unwrap_err(), not_current);
    assert_eq!(cpu.switcher.grant_debug_access(&mut cpu.trace, to).unwrap_err(), not_current);
    assert_eq!(cpu.taken(), []);
    assert_eq!(to.residence.cpu(), None);
}

#[test]
fn a_32_bit_pv_vcpu_is_refused_by_a_hypervisor_with_shadow_stacks() {
    let mut stage = Stage::with_own(sapphire_rapids(), |own| own.pl0_ssp = Some(0xFFFF_82D0_0000_0FF8));
    let vcpu = stage.add(VcpuKind::Pv32, 1, 0);
    let cpu = &mut stage.cpus[0];
    let refused = cpu.switcher.switch(&mut cpu.trace, None, &mut stage.vcpus[vcpu]).unwrap_err();
    assert_eq!(refused, SwitchError::Pv32UnderShadowStacks);
    assert_eq!(stage.vcpus[vcpu].residence.cpu(), None);
}

fn breakpoints(base: u64) -> DebugState {
    let addresses = [base, base + 0x10, base + 0x20, base + 0x30];
    DebugState { addresses, dr7: DR7_RESET | 0x55, ..DebugState::RESET }
}

fn debug_writes(operations: &[Operation]) -> Vec<(DebugRegister, u64)> {
    let of = |operation: &Operation| match operation {
        Operation::WriteDebug(register, value) => Some((*register, *value)),
        _ => None,
    };
    operations.iter().filter_map(of).collect()
}

#[test]
fn breakpoints_are_turned_off_and_no_more_for_a_guest_without() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.vcpus[a].debug = breakpoints(0x1000);
    assert_eq!(debug_writes(&stage.run(0, a)).last(), Some(&(DebugRegister::Dr7, DR7_RESET | 0x55)));
    assert_eq!(debug_writes(&stage.run(0, b)), [(DebugRegister::Dr7, DR7_RESET)]);
    assert_eq!(debug_writes(&stage.run(0, a)), [(DebugRegister::Dr7, DR7_RESET | 0x55)], "they are still there");
}

#[test]
fn no_breakpoint_is_ever_a_mixture_of_two_guests() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.vcpus[a].debug = breakpoints(0x1000);
    stage.vcpus[b].debug = breakpoints(0x2000);
    stage.run(0, a);
    let writes = debug_writes(&stage.run(0, b));
    assert_eq!(writes.first(), Some(&(DebugRegister::Dr7, DR7_RESET)));
    assert_eq!(writes.last(), Some(&(DebugRegister::Dr7, DR7_RESET | 0x55)));
    assert_eq!(writes.len(), 6);
}

#[test]
fn masks_of_the_last_guest_never_reach_one_that_does_not_know_of_them_xsa_444() {
    let mut stage = Stage::new(milan());
    let (knows, does_not) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.change(knows, |vcpu| vcpu.with_debug(DebugState { masks: [0xFFF, 0xFF, 0xF, 0], ..DebugState::RESET }));
    stage.vcpus[does_not].debug = breakpoints(0x1000);
    let first = stage.run(0, knows);
    let second = stage.run(0, does_not);
    for (mask, value) in [(DrMask::Dr0, 0xFFF), (DrMask::Dr1, 0xFF), (DrMask::Dr2, 0xF)] {
        assert_eq!(wrmsrs(&first, Msr::DrMask(mask)), [value]);
        assert_eq!(wrmsrs(&second, Msr::DrMask(mask)), [0]);
    }
    assert_eq!(wrmsrs(&second, Msr::DrMask(DrMask::Dr3)), [0; 0]);
}

#[test]
fn cpus_without_masks_have_none_written() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Pv64, 1, 0);
    stage.vcpus[vcpu].debug = breakpoints(0x1000);
    let operations = stage.run(0, vcpu);
    assert!(DrMask::ALL.into_iter().all(|mask| wrmsrs(&operations, Msr::DrMask(mask)).is_empty()));
}

#[test]
fn an_hvm_guest_gets_the_debug_registers_at_its_first_mov_and_they_follow_it() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.vcpus[a].debug.addresses = [1, 2, 3, 4];
    assert_eq!(debug_writes(&stage.run(0, a)), []);
    let cpu = &mut stage.cpus[0];
    cpu.switcher.grant_debug_access(&mut cpu.trace, &mut stage.vcpus[a]).unwrap();
    assert_eq!(debug_writes(&cpu.taken()).len(), 5, "four addresses and DR6, which VMX does not carry");
    stage.enter(0, a);
    stage.cpus[0].trace.debug.addresses = [5, 6, 7, 8];
    stage.cpus[0].trace.debug.dr6 = 0xFFFF_4FF0;
    stage.exit(0, a);
    stage.run(0, b);
    assert_eq!((stage.vcpus[a].debug.addresses, stage.vcpus[a].debug.dr6), ([5, 6, 7, 8], 0xFFFF_4FF0));
    let cpu = &mut stage.cpus[0];
    cpu.switcher.grant_debug_access(&mut cpu.trace, &mut stage.vcpus[b]).unwrap();
    assert_eq!(cpu.trace.debug.addresses, [0; 4], "nothing of a's is there for b to read");
    let back = debug_writes(&stage.run(0, a));
    assert!(back.contains(&(DebugRegister::Dr0, 5)) && back.contains(&(DebugRegister::Dr6, 0xFFFF_4FF0)));
}

#[test]
fn what_the_debug_exceptions_of_one_guest_leave_in_dr6_is_not_taken_for_the_value_of_the_next() {
    let mut stage = Stage::new(sapphire_rapids());
    let (with_access, pv) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.change(with_access, |vcpu| vcpu.with_debug(DebugState::RESET));
    stage.run(0, with_access);
    stage.switch(0, pv);
    stage.enter(0, pv);
    stage.cpus[0].trace.debug.dr6 = 0xFFFF_4FF0; // It single-steps.
    stage.exit(0, pv);
    assert_eq!(debug_writes(&stage.run(0, with_access)), [(DebugRegister::Dr6, 0xFFFF_0FF0)]);
}

#[test]
fn a_new_vcpu_is_not_taken_for_an_old_one_of_its_name() {
    let mut stage = Stage::new(sapphire_rapids());
    let old = stage.add(VcpuKind::Hvm, 1, 0);
    stage.run(0, old);
    let new = stage.add(VcpuKind::Hvm, 1, 0);
    let not_current = SwitchError::NotCurrent { current: Some(stage.vcpus[old].name()) };
    let cpu = &mut stage.cpus[0];
    assert_eq!(cpu.switcher.enter(&stage.vcpus[new]).unwrap_err(), not_current);
    assert_eq!(cpu.switcher.flush(&mut cpu.trace, &mut stage.vcpus[new]).unwrap_err(), not_current);
    assert_eq!(cpu.switcher.switch(&mut cpu.trace, None, &mut stage.vcpus[new]).unwrap_err(), not_current);
    assert_eq!(stage.vcpus[new].residence.cpu(), None);
}

#[test]
fn a_pv_guest_cannot_break_on_the_hypervisor_not_even_with_a_mask_xsa_444() {
    let hypervisor = 0xFFFF_8000_0000_0000..=0xFFFF_87FF_FFFF_FFFF;
    let judge = |debug: DebugState| debug.judge_pv(hypervisor.clone());
    assert_eq!(judge(breakpoints(0x1000)), Ok(()));
    let mut wanted = breakpoints(0x1000);
    wanted.addresses[2] = 0xFFFF_8300_0000_E000;
    assert_eq!(judge(wanted), Err(BreakpointError::InHypervisor { number: 2 }));
    let mut below = breakpoints(0x1000);
    below.addresses[1] = 0xFFFF_7FFF_FFFF_FFFC;
    assert_eq!(judge(below), Err(BreakpointError::InHypervisor { number: 1 }), "eight bytes reach into it");
    let mut above = breakpoints(0x1000);
    above.addresses[0] = 0xFFFF_8800_0000_0000;
    assert_eq!(judge(above), Ok(()));
    above.dr7 |= 1 << 13;
    assert_eq!(judge(above), Err(BreakpointError::GeneralDetect));
}

proptest! {
    #[test]
    fn every_address_that_a_breakpoint_matches_is_judged(address: u64, mask: u32, flips: u32, start: u64, length in 0u64..1 << 48) {
        let end = start.saturating_add(length);
        let matched = address ^ u64::from(flips & mask);
        let mut debug = DebugState::RESET;
        debug.addresses = [end.wrapping_add(0x1_0000_0000_0000); 4];
        (debug.addresses[3], debug.masks[3]) = (address, mask);
        if (start..=end).contains(&matched) {
            prop_assert!(debug.judge_pv(start..=end).is_err());
        }
    }
}
