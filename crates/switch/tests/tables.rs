//! GDT, LDT, page tables: what is loaded when, and that what is loaded is always mapped.

mod stage;

use selfsame_switch::gdt::{
    CPU_MARKER_SELECTOR, FIRST_HYPERVISOR_SELECTOR, GUEST_DESCRIPTORS, HYPERVISOR_PAGE, LDT_SELECTOR, LIMIT,
    LIMIT_AFTER_VMX_EXIT,
};
use selfsame_switch::{
    Bitness, CpuId, CpuTables, Cr3, DomainId, Frame, GdtBase, GdtPage, Gdtr, GuestSlot, L1Entry, Ldt, Operation,
    PerDomainArea, SwitchError, VcpuId, VcpuKind,
};
use stage::{Stage, count, milan, own, position, sapphire_rapids};

fn is_lgdt(operation: &Operation) -> bool {
    matches!(operation, Operation::Lgdt(_))
}

fn is_l1(operation: &Operation) -> bool {
    matches!(operation, Operation::L1(..))
}

fn is_invlpg(operation: &Operation) -> bool {
    matches!(operation, Operation::Invlpg(_))
}

fn is_cr3(operation: &Operation) -> bool {
    matches!(operation, Operation::Cr3(_))
}

fn lgdts(operations: &[Operation]) -> Vec<Gdtr> {
    let of = |operation: &Operation| match operation {
        Operation::Lgdt(gdtr) => Some(*gdtr),
        _ => None,
    };
    operations.iter().filter_map(of).collect()
}

fn default_gdtr(cpu: u16) -> Gdtr {
    Gdtr::new(GdtBase::of_cpu(&own(cpu).tables))
}

fn gdtr_of(stage: &Stage, vcpu: usize) -> Gdtr {
    Gdtr::new(GdtBase::of_vcpu(stage.platform.per_domain, stage.vcpus[vcpu].name().vcpu()))
}

#[test]
fn between_equal_numbers_on_the_same_cpu_there_is_no_lgdt_and_no_l1_write() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 3), stage.add(VcpuKind::Pv64, 2, 3));
    stage.run(0, a);
    stage.run(0, b);
    for vcpu in [a, b, a, b] {
        let operations = stage.run(0, vcpu);
        assert_eq!(count(&operations, is_lgdt) + count(&operations, is_l1) + count(&operations, is_invlpg), 0);
        assert_eq!(count(&operations, is_cr3), 1);
    }
}

#[test]
fn between_other_numbers_of_other_domains_the_default_table_bridges_cr3() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 3), stage.add(VcpuKind::Pv64, 2, 4));
    stage.run(0, a);
    let operations = stage.run(0, b);
    assert_eq!(lgdts(&operations), [default_gdtr(0), gdtr_of(&stage, b)]);
    let first = position(&operations, is_lgdt);
    assert!(first < position(&operations, is_cr3));
    assert!(
        position(&operations, is_cr3)
            < position(&operations, |operation| *operation == Operation::Lgdt(gdtr_of(&stage, b)))
    );
}

#[test]
fn between_vcpus_of_one_domain_one_lgdt_is_enough() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 3), stage.add(VcpuKind::Pv64, 1, 4));
    stage.run(0, a);
    assert_eq!(lgdts(&stage.run(0, b)), [gdtr_of(&stage, b)], "both tables are mapped all the time");
}

#[test]
fn an_entry_is_written_before_cr3_and_followed_by_invlpg_before_the_table_is_used() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.run(0, a);
    let operations = stage.run(0, b);
    let (l1, cr3, invlpg) =
        (position(&operations, is_l1), position(&operations, is_cr3), position(&operations, is_invlpg));
    assert!(l1 < cr3 && cr3 < invlpg);
    let uses_tables = |operation: &Operation| {
        matches!(operation, Operation::Lldt(_) | Operation::LoadSelector(..)) || is_lgdt(operation)
    };
    assert!(operations[..invlpg].iter().all(|operation| !uses_tables(operation)));
}

#[test]
fn the_entry_is_this_cpus_and_follows_the_vcpu_from_cpu_to_cpu() {
    let mut stage = Stage::new(sapphire_rapids());
    let (native, compat) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv32, 2, 0));
    for (vcpu, bitness) in [(native, Bitness::Native), (compat, Bitness::Compat)] {
        for cpu in [0, 1, 0] {
            let operations = stage.run(cpu, vcpu);
            let name = stage.vcpus[vcpu].name();
            let slot = GuestSlot::of_hypervisor(stage.platform.per_domain, name.domain(), name.vcpu());
            let entry = own(u16::try_from(cpu).unwrap()).tables.entry(bitness);
            assert!(operations.contains(&Operation::L1(slot, entry)));
            assert!(operations.contains(&Operation::Invlpg(slot)), "other vCPUs may have had it in this TLB");
            stage.flush(cpu, vcpu);
        }
    }
}

#[test]
fn hvm_and_idle_have_the_default_table() {
    let mut stage = Stage::new(sapphire_rapids());
    let (pv, hvm, other) =
        (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Hvm, 2, 0), stage.add(VcpuKind::Hvm, 3, 0));
    stage.run(0, pv);
    let operations = stage.run(0, hvm);
    assert_eq!(lgdts(&operations), [default_gdtr(0)]);
    assert!(position(&operations, is_lgdt) < position(&operations, is_cr3), "the guest's table goes with CR3");
    assert_eq!(lgdts(&stage.run(0, other)), []);
    assert_eq!(lgdts(&stage.run(0, pv)), [gdtr_of(&stage, pv)]);
    assert_eq!(lgdts(&stage.flush(0, pv)), [default_gdtr(0)]);
}

#[test]
fn a_vmx_exit_leaves_a_limit_that_idle_does_not_keep_and_hvm_does_not_mind() {
    let mut vmx = Stage::new(sapphire_rapids());
    let (a, b) = (vmx.add(VcpuKind::Hvm, 1, 0), vmx.add(VcpuKind::Hvm, 2, 0));
    vmx.run(0, a);
    assert_eq!(lgdts(&vmx.run(0, b)), []);
    assert_eq!(lgdts(&vmx.flush(0, b)), [default_gdtr(0)]);
    assert_eq!((default_gdtr(0).limit(), LIMIT_AFTER_VMX_EXIT), (LIMIT, 0xFFFF));

    let mut svm = Stage::new(milan());
    let a = svm.add(VcpuKind::Hvm, 1, 0);
    svm.run(0, a);
    assert_eq!(lgdts(&svm.flush(0, a)), [], "#VMEXIT brings the limit back");
}

#[test]
fn an_hvm_vcpu_that_was_never_entered_leaves_the_limit_alone() {
    let mut stage = Stage::new(sapphire_rapids());
    let (hvm, pv) = (stage.add(VcpuKind::Hvm, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.run(0, pv);
    stage.switch(0, hvm);
    stage.switch(0, pv);
    stage.flush(0, pv);
    stage.switch(0, hvm);
    assert_eq!(lgdts(&stage.flush(0, hvm)), []);
}

#[test]
fn the_ldt_is_loaded_where_it_differs_and_is_null_for_none() {
    let mut stage = Stage::new(sapphire_rapids());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 0));
    stage.vcpus[a].ldt_descriptors = 16;
    let is_ldt = |operation: &Operation| matches!(operation, Operation::Lldt(_) | Operation::LdtDescriptor(..));
    let of = |operations: Vec<Operation>| operations.into_iter().filter(is_ldt).collect::<Vec<_>>();

    let ldt = Ldt::of_vcpu(stage.platform.per_domain, VcpuId::new(0).unwrap(), 16).unwrap();
    let load =
        [Operation::LdtDescriptor(Bitness::Native, ldt), Operation::Lldt(selfsame_switch::Selector::new(LDT_SELECTOR))];
    assert_eq!(ldt.limit(), 127);
    assert_eq!(of(stage.run(0, a)), load);
    assert_eq!(of(stage.run(0, b)), [Operation::Lldt(selfsame_switch::Selector::NULL)]);
    assert_eq!(of(stage.run(0, a)), load);
    stage.vcpus[b].ldt_descriptors = 16;
    assert_eq!(of(stage.run(0, b)), [], "the same address and limit, under other page tables");
    assert_eq!(of(stage.flush(0, b)), [Operation::Lldt(selfsame_switch::Selector::NULL)]);
}

#[test]
fn a_vmx_exit_takes_the_ldt_away() {
    let mut stage = Stage::new(sapphire_rapids());
    let (pv, hvm) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Hvm, 2, 0));
    stage.vcpus[pv].ldt_descriptors = 1;
    stage.run(0, pv);
    stage.run(0, hvm);
    assert_eq!(count(&stage.run(0, pv), |operation| matches!(operation, Operation::LdtDescriptor(..))), 1);
}

#[test]
fn an_ldt_that_the_guest_sets_while_it_runs_is_loaded_at_once() {
    let mut stage = Stage::new(milan());
    let vcpu = stage.add(VcpuKind::Pv32, 1, 0);
    stage.run(0, vcpu);
    stage.vcpus[vcpu].ldt_descriptors = 8192;
    let cpu = &mut stage.cpus[0];
    cpu.switcher.refresh(&mut cpu.trace, &mut stage.vcpus[vcpu]).unwrap();
    let ldt = Ldt::of_vcpu(stage.platform.per_domain, VcpuId::new(0).unwrap(), 8192).unwrap();
    assert_eq!(ldt.limit(), 0xFFFF);
    let expected =
        [Operation::LdtDescriptor(Bitness::Compat, ldt), Operation::Lldt(selfsame_switch::Selector::new(LDT_SELECTOR))];
    assert_eq!(cpu.taken(), expected);
}

#[test]
fn cr3_is_written_for_other_page_tables_and_for_those_of_idle_xsa_494() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 1, 1));
    let shared = stage.vcpus[a].cr3;
    stage.vcpus[b].cr3 = shared;
    assert!(stage.run(0, a).contains(&Operation::Cr3(shared)));
    assert_eq!(count(&stage.run(0, b), is_cr3), 0, "two tasks of one process");
    stage.vcpus[b].cr3 = Cr3::new(0x7777_0000).unwrap();
    let cpu = &mut stage.cpus[0];
    cpu.switcher.refresh(&mut cpu.trace, &mut stage.vcpus[b]).unwrap();
    assert_eq!(cpu.taken(), [Operation::Cr3(Cr3::new(0x7777_0000).unwrap())]);
    assert!(stage.run(0, a).contains(&Operation::Cr3(shared)), "what is loaded is b's new one");
    assert!(stage.flush(0, a).contains(&Operation::Cr3(own(0).cr3)), "a's page tables may be freed now");
}

#[test]
fn one_cr3_of_two_domains_is_two_address_spaces() {
    let mut stage = Stage::new(milan());
    let (a, b) = (stage.add(VcpuKind::Pv64, 1, 0), stage.add(VcpuKind::Pv64, 2, 1));
    stage.vcpus[b].cr3 = stage.vcpus[a].cr3;
    stage.run(0, a);
    let operations = stage.run(0, b);
    assert_eq!(count(&operations, is_cr3), 1, "a frame that was freed and used again");
    assert_eq!(lgdts(&operations).len(), 2);
}

#[test]
fn sleep_and_firmware_make_nothing_of_what_was_known() {
    let mut stage = Stage::new(sapphire_rapids());
    let vcpu = stage.add(VcpuKind::Pv64, 1, 0);
    stage.run(0, vcpu);
    let cpu = &mut stage.cpus[0];
    assert_eq!(cpu.switcher.set_up_again(&mut cpu.trace), Err(SwitchError::Occupied));
    assert_eq!(cpu.taken(), []);
    stage.flush(0, vcpu);
    let cpu = &mut stage.cpus[0];
    cpu.switcher.set_up_again(&mut cpu.trace).unwrap();
    let again = cpu.taken();
    assert!(again.contains(&Operation::Lgdt(default_gdtr(0))), "firmware loads a table of its own");
    assert!(again.contains(&Operation::Cr3(own(0).cr3)));
    let mut fresh = Stage::new(sapphire_rapids());
    fresh.add(VcpuKind::Pv64, 1, 0);
    let l1 = |operations: Vec<Operation>| {
        operations.into_iter().filter(|operation| !is_l1(operation) && !is_invlpg(operation)).collect::<Vec<_>>()
    };
    assert_eq!(l1(stage.run(0, vcpu)), l1(fresh.run(0, 0)), "as on a CPU that was just brought up");
}

#[test]
fn page_15_is_no_slot_and_beyond_every_limit() {
    let area = PerDomainArea::new(0xFFFF_8300_0000_0000).unwrap();
    let (domain, vcpu) = (DomainId::new(1), VcpuId::new(2).unwrap());
    let slots = (0..=u8::MAX).filter_map(|page| GuestSlot::of_guest(area, domain, vcpu, page));
    let pages: Vec<u8> = slots.map(GuestSlot::page).collect();
    assert_eq!(pages, (0..14).collect::<Vec<u8>>());
    let hypervisors = GuestSlot::of_hypervisor(area, domain, vcpu);
    assert_eq!(hypervisors.page(), HYPERVISOR_PAGE);
    assert_eq!(hypervisors.linear(), 0xFFFF_8300_0004_E000);
    assert_eq!(u32::from(LIMIT) + 1, 15 * 4096);
}

#[test]
fn the_hypervisors_selectors_are_the_same_in_every_table() {
    let tables = own(1).tables;
    let default = GdtBase::of_cpu(&tables).linear() + u64::from(FIRST_HYPERVISOR_SELECTOR);
    assert_eq!(default % 4096, 0);
    let area = PerDomainArea::new(0xFFFF_8300_0000_0000).unwrap();
    let vcpu = VcpuId::new(5).unwrap();
    let slot = GuestSlot::of_hypervisor(area, DomainId::new(1), vcpu);
    assert_eq!(GdtBase::of_vcpu(area, vcpu).linear() + u64::from(FIRST_HYPERVISOR_SELECTOR), slot.linear());
    for selector in [FIRST_HYPERVISOR_SELECTOR, LDT_SELECTOR, CPU_MARKER_SELECTOR] {
        assert!(selector / 8 >= GUEST_DESCRIPTORS && selector < LIMIT);
    }
}

#[test]
fn tables_of_neighbours_do_not_meet() {
    let area = PerDomainArea::new(0xFFFF_8300_0000_0000).unwrap();
    let last = VcpuId::new(8191).unwrap();
    assert_eq!(VcpuId::new(8192), None);
    let ldt = Ldt::of_vcpu(area, last, 8192).unwrap();
    assert_eq!(ldt.base() + u64::from(ldt.limit()), 0xFFFF_8300_3FFF_FFFF, "the end of the area");
    assert_eq!(GdtBase::of_vcpu(area, last).linear() + 0x1_0000, ldt.base());
    assert_eq!(Ldt::of_vcpu(area, last, 0), None);
    assert_eq!(Ldt::of_vcpu(area, last, 8193), None);
    assert_eq!(PerDomainArea::new(0xFFFF_8300_0000_1000), None);
    assert_eq!(PerDomainArea::new(0x8300_0000_0000), None, "the guests' half");
}

#[test]
fn entries_are_never_global_nor_executable_nor_the_guests() {
    let frame = Frame::new(0x12345).unwrap();
    for entry in [L1Entry::of_hypervisor_page(frame), L1Entry::of_guest_page(frame)] {
        assert_eq!(entry.bits() & (1 << 8 | 1 << 2), 0);
        assert_eq!(entry.bits() >> 63, 1);
        assert_eq!(entry.frame(), frame);
    }
    assert_eq!(L1Entry::of_guest_page(frame).bits() & 2, 0, "descriptors are written through the hypervisor");
    assert_eq!(Frame::new(1 << 40), None);
    assert_eq!(GdtPage::new(0xFFFF_82D0_0000_0008, frame), None);
}

#[test]
fn entries_of_a_cpu_are_those_of_the_frames_it_was_brought_up_with() {
    let page = |frame| GdtPage::new(0xFFFF_82D0_0000_0000, Frame::new(frame).unwrap()).unwrap();
    let tables = CpuTables::new(CpuId::new(0), page(0x100), page(0x200));
    assert_eq!(tables.entry(Bitness::Native).frame().number(), 0x100);
    assert_eq!(tables.entry(Bitness::Compat).frame().number(), 0x200);
}

#[test]
fn cr3_keeps_no_stale_translations() {
    assert_eq!(Cr3::new(1 << 63 | 0x1000), None, "the bit that keeps the TLB");
}
