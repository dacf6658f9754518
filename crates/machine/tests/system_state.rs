//! What the instructions for MSRs, tables, CPUID and VM entry do, by the manuals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod guests;

use guests::machine;
use selfsame_cpuid::MaskMeaning;
use selfsame_machine::proof::{Levelling, MachineShape};
use selfsame_machine::{
    ControlBlock, Controls, Cr4, Exit, Fault, Frame, GpCause, Machine, Memory, Processor, Segment, Selector,
    SelectorCause, Space, TableRegister, Virtualisation, msr,
};
use selfsame_xstate::{Component, ComponentSet};

const GDT: u64 = 0xFFFF_8200_0000_0000;
const CODE_64: u64 = 0x00AF_9B00_0000_FFFF;
const DATA: u64 = 0x00CF_9300_0000_FFFF;
const ACCESSED: u64 = 1 << 40;
const PRESENT: u64 = 1 << 47;

fn gp(selector: u16, cause: SelectorCause) -> Result<(), Fault> {
    Err(Fault::GeneralProtection(GpCause::Selector { selector, cause }))
}

/// A machine whose CPU 0 has a table of one page with these descriptors from number 1 on.
fn with_gdt(descriptors: &[u64]) -> (Machine, Frame) {
    let mut machine = Machine::new(machine().hardware(), 1);
    let frame = machine.memory().add_frame();
    for (index, descriptor) in (1..).zip(descriptors) {
        machine.memory().set_descriptor(frame, index, *descriptor);
    }
    machine.memory().set_l1_entry(Space::Hypervisor, GDT, frame.l1_entry());
    machine.on(0).unwrap().lgdt(TableRegister { base: GDT, limit: 0xFFF }).unwrap();
    (machine, frame)
}

#[test]
fn selectors_are_judged_by_limit_type_privilege_and_presence() {
    let (mut machine, _) = with_gdt(&[CODE_64, DATA, DATA & !PRESENT, 0, DATA | 3 << 45]);
    let mut cpu = machine.on(0).unwrap();
    assert_eq!(cpu.load_selector(Selector::Ds, 0x10), Ok(()));
    assert_eq!(cpu.registers().selectors[0], 0x10);
    assert_eq!(cpu.load_selector(Selector::Ds, 0x08), Ok(()), "code that may be read");
    assert_eq!(cpu.load_selector(Selector::Ds, 0x18), Err(Fault::SegmentNotPresent { selector: 0x18 }));
    assert_eq!(cpu.load_selector(Selector::Ds, 0x20), gp(0x20, SelectorCause::Type));
    assert_eq!(cpu.load_selector(Selector::Ds, 0x13), gp(0x13, SelectorCause::Privilege));
    assert_eq!(cpu.load_selector(Selector::Ds, 0x2B), Ok(()));
    assert_eq!(cpu.load_selector(Selector::Ds, 0x1000), gp(0x1000, SelectorCause::Limit));
    assert_eq!(cpu.load_selector(Selector::Ds, 0x14), gp(0x14, SelectorCause::NoLdt));
    assert_eq!(cpu.load_selector(Selector::Ds, 0x03), Ok(()), "null, whatever its RPL");
    assert_eq!(cpu.registers().selectors[0], 0x03);
}

#[test]
fn the_limit_of_a_table_is_its_last_byte() {
    let (mut machine, _) = with_gdt(&[DATA]);
    let mut cpu = machine.on(0).unwrap();
    cpu.lgdt(TableRegister { base: GDT, limit: 15 }).unwrap();
    assert_eq!(cpu.load_selector(Selector::Es, 8), Ok(()));
    cpu.lgdt(TableRegister { base: GDT, limit: 14 }).unwrap();
    assert_eq!(cpu.load_selector(Selector::Es, 8), gp(8, SelectorCause::Limit));
}

#[test]
fn a_segment_that_was_never_loaded_is_marked_and_needs_a_page_that_may_be_written() {
    let (mut machine, frame) = with_gdt(&[DATA & !ACCESSED]);
    machine.on(0).unwrap().load_selector(Selector::Es, 8).unwrap();
    assert_eq!(machine.memory().descriptor(frame, 1), DATA);

    machine.memory().set_descriptor(frame, 1, DATA & !ACCESSED);
    machine.memory().set_l1_entry(Space::Hypervisor, GDT, frame.l1_entry() & !2);
    let mut cpu = machine.on(0).unwrap();
    cpu.invlpg(GDT).unwrap();
    assert_eq!(cpu.load_selector(Selector::Es, 8), Err(Fault::PageFault { linear: GDT + 8 }));
}

#[test]
fn ldt_and_tss_are_16_bytes_and_a_busy_tss_is_refused() {
    let (ldt, tss) = (0x0000_8200_1000_0027, 0x0000_8900_2000_0067);
    let (mut machine, frame) = with_gdt(&[ldt, 0xFFFF_8200, tss, 0, DATA]);
    let mut cpu = machine.on(0).unwrap();
    cpu.lldt(8).unwrap();
    assert_eq!(cpu.registers().ldtr, Some(Segment { selector: 8, base: 0xFFFF_8200_0000_1000, limit: 0x27 }));
    assert_eq!(cpu.lldt(0x28), gp(0x28, SelectorCause::Type));
    cpu.ltr(0x18).unwrap();
    assert_eq!(cpu.ltr(0x18), gp(0x18, SelectorCause::Type), "it is busy now");
    cpu.lldt(0).unwrap();
    assert_eq!(cpu.registers().ldtr, None);
    assert_eq!(machine.memory().descriptor(frame, 3) >> 40 & 0xF, 0xB);
}

#[test]
fn a_null_selector_clears_the_base_on_intel_cpus_only() {
    for (virtualisation, base) in [(Virtualisation::Vmx, 0), (Virtualisation::Svm, 0x1000)] {
        let shape = MachineShape { virtualisation, ..machine() };
        let mut machine = Machine::new(shape.hardware(), 1);
        let mut cpu = machine.on(0).unwrap();
        cpu.wrmsr(msr::FS_BASE, 0x1000).unwrap();
        cpu.load_selector(Selector::Fs, 0).unwrap();
        assert_eq!(cpu.rdmsr(msr::FS_BASE), Ok(base));
    }
}

/// Two pages that one address is mapped to, one after the other.
fn remapped(cpu: &mut Processor<'_>, memory: impl Fn(&mut Memory, u64)) -> [Frame; 2] {
    let frames = [cpu.memory().add_frame(), cpu.memory().add_frame()];
    memory(cpu.memory(), frames[0].l1_entry());
    frames
}

#[test]
fn a_translation_is_stale_until_invlpg_or_cr3() {
    let mut machine = Machine::new(machine().hardware(), 1);
    machine.memory().insert_root(0x10_0000, Space::Domain(0));
    let mut cpu = machine.on(0).unwrap();
    let map = |memory: &mut Memory, l1_entry| memory.set_l1_entry(Space::Domain(0), GDT, l1_entry);
    let [first, second] = remapped(&mut cpu, map);
    cpu.set_cr3(0x10_0000).unwrap();
    map(cpu.memory(), second.l1_entry());
    assert_eq!(cpu.frame(GDT), Ok(first), "the CPU walked it when it loaded CR3");
    cpu.invlpg(GDT).unwrap();
    assert_eq!(cpu.frame(GDT), Ok(second));
    map(cpu.memory(), first.l1_entry());
    cpu.set_cr3(0x10_0000).unwrap();
    assert_eq!(cpu.frame(GDT), Ok(first));
    cpu.set_cr3(0x20_0000).unwrap();
    assert_eq!(cpu.frame(GDT), Err(Fault::PageFault { linear: GDT }), "another space does not map it");
}

#[test]
fn translations_of_another_identifier_survive_cr3_and_invlpg() {
    let mut machine = Machine::new(machine().hardware(), 1);
    machine.memory().insert_root(0x10_0000, Space::Domain(0));
    let mut cpu = machine.on(0).unwrap();
    let map = |memory: &mut Memory, l1_entry| memory.set_l1_entry(Space::Domain(0), GDT, l1_entry);
    let [first, second] = remapped(&mut cpu, map);
    cpu.set_cr3(0x10_0001).unwrap();
    cpu.set_cr3(0x10_0002).unwrap();
    map(cpu.memory(), second.l1_entry());
    cpu.invlpg(GDT).unwrap();
    assert_eq!(cpu.frame(GDT), Ok(second));
    // Nothing but MOV to CR3 gets back there, and it forgets what that identifier had.
    cpu.set_cr3(0x10_0001).unwrap();
    assert_eq!(cpu.frame(GDT), Ok(second));
    assert_ne!(first, second);
}

#[test]
fn msrs_refuse_what_they_cannot_hold() {
    let mut machine = Machine::new(machine().hardware(), 1);
    let mut cpu = machine.on(0).unwrap();
    let value = |index, value| Err(Fault::GeneralProtection(GpCause::MsrValue { index, value }));
    assert_eq!(cpu.wrmsr(msr::XSS, 1), value(msr::XSS, 1));
    assert_eq!(cpu.wrmsr(msr::XFD, 1 << 17), value(msr::XFD, 1 << 17));
    assert_eq!(cpu.wrmsr(msr::LSTAR, 1 << 60), value(msr::LSTAR, 1 << 60));
    assert_eq!(cpu.wrmsr(msr::PL0_SSP, 6), value(msr::PL0_SSP, 6));
    assert_eq!(cpu.wrmsr(msr::TSC_AUX, 1 << 32), value(msr::TSC_AUX, 1 << 32));
    assert_eq!(cpu.rdmsr(0x1234), Err(Fault::GeneralProtection(GpCause::NoSuchMsr { index: 0x1234 })));
    assert_eq!(cpu.rdmsr(msr::HWCR), Err(Fault::GeneralProtection(GpCause::NoSuchMsr { index: msr::HWCR })));
    cpu.enter_pv(3).unwrap();
    assert_eq!(cpu.rdmsr(msr::XSS), Err(Fault::GeneralProtection(GpCause::NotPrivileged)));
}

#[test]
fn pl0_ssp_and_cet_s_are_the_same_register() {
    let mut machine = Machine::new(machine().hardware(), 1);
    let mut cpu = machine.on(0).unwrap();
    cpu.wrmsr(msr::PL0_SSP, 0x1000).unwrap();
    assert_eq!(cpu.read_component(Component::CET_S), Ok(0x1000));
}

#[test]
fn masks_are_anded_on_intel_and_override_on_amd_dynamic_bits_included() {
    const OSXSAVE: u32 = 1 << 27;
    for (virtualisation, meaning) in
        [(Virtualisation::Vmx, MaskMeaning::And), (Virtualisation::Svm, MaskMeaning::Override)]
    {
        let shape = MachineShape { virtualisation, levelling: Levelling::Masks, ..machine() };
        let mut machine = Machine::new(shape.hardware(), 1);
        let mask =
            machine.hardware().masks().iter().find(|mask| mask.words().any(|word| word.to_string() == "00000001.ecx"));
        let (index, is_high) = (mask.unwrap().index, meaning == MaskMeaning::Override);
        let mut cpu = machine.on(0).unwrap();
        let real = cpu.cpuid(1, 0).unwrap();
        assert_eq!(real.ecx & OSXSAVE, 0);
        cpu.set_cr4(Cr4::OSXSAVE).unwrap();
        assert_eq!(cpu.cpuid(1, 0).unwrap().ecx, real.ecx | OSXSAVE, "unmasked");
        let shift = if is_high { 32 } else { 0 };
        let others = u64::from(real.edx) << (32 - shift);
        let invented = 1_u32;
        cpu.wrmsr(index, u64::from(invented) << shift | others).unwrap();
        let expected = if meaning == MaskMeaning::And { real.ecx & invented } else { invented };
        assert_eq!(
            cpu.cpuid(1, 0).unwrap().ecx,
            expected,
            "{meaning:?}: without its bit in the mask, OSXSAVE is hidden"
        );
        cpu.wrmsr(index, u64::from(invented | OSXSAVE) << shift | others).unwrap();
        assert_eq!(cpu.cpuid(1, 0).unwrap().ecx, expected | OSXSAVE);
        cpu.set_cr4(Cr4::default()).unwrap();
        assert_eq!(cpu.cpuid(1, 0).unwrap().ecx, expected, "{meaning:?}: OSXSAVE follows CR4");
    }
}

#[test]
fn faulting_spares_ring_0_and_comes_before_the_exit() {
    for virtualisation in [Virtualisation::Vmx, Virtualisation::Svm] {
        let shape = MachineShape { virtualisation, ..machine() };
        let mut machine = Machine::new(shape.hardware(), 1);
        let control = machine.hardware().faulting().unwrap();
        let mut cpu = machine.on(0).unwrap();
        let rest = cpu.rdmsr(control.index).unwrap();
        cpu.wrmsr(control.index, rest | 1 << control.bit).unwrap();
        assert!(cpu.cpuid(0, 0).is_ok());
        let mut block = block(&cpu);
        cpu.vm_entry(&mut block).unwrap();
        assert_eq!(cpu.cpuid(0, 0), Err(Fault::Exit(Exit::Cpuid)), "ring 0 of the guest");
        cpu.vm_exit(&mut block).unwrap();
        cpu.enter_pv(3).unwrap();
        assert_eq!(cpu.cpuid(0, 0), Err(Fault::GeneralProtection(GpCause::CpuidFaulting)));
    }
}

/// A guest that starts with what the CPU has now.
fn block(cpu: &Processor<'_>) -> ControlBlock {
    ControlBlock { guest: cpu.carried(), host: cpu.carried(), controls: Controls::default() }
}

#[test]
fn a_vmx_exit_widens_gdtr_and_an_svm_exit_does_not() {
    for (virtualisation, limit) in [(Virtualisation::Vmx, 0xFFFF), (Virtualisation::Svm, 0xEFFF)] {
        let shape = MachineShape { virtualisation, ..machine() };
        let mut machine = Machine::new(shape.hardware(), 1);
        let mut cpu = machine.on(0).unwrap();
        cpu.lgdt(TableRegister { base: GDT, limit: 0xEFFF }).unwrap();
        let mut block = block(&cpu);
        cpu.vm_entry(&mut block).unwrap();
        cpu.lgdt(TableRegister { base: 0, limit: 7 }).unwrap();
        cpu.vm_exit(&mut block).unwrap();
        assert_eq!(cpu.registers().gdtr, TableRegister { base: GDT, limit });
        assert_eq!(block.guest.gdtr, TableRegister { base: 0, limit: 7 });
    }
}

#[test]
fn an_exit_brings_back_what_the_control_block_carries_and_nothing_else() {
    for (virtualisation, is_carried) in [(Virtualisation::Vmx, false), (Virtualisation::Svm, true)] {
        let shape = MachineShape { virtualisation, ..machine() };
        let mut machine = Machine::new(shape.hardware(), 1);
        let mut cpu = machine.on(0).unwrap();
        cpu.set_cr4(Cr4::OSXSAVE).unwrap();
        let mut block = block(&cpu);
        let guests = [msr::STAR, msr::KERNEL_GS_BASE, msr::TSC_AUX, msr::XFD, msr::FS_BASE];
        block.controls.passed_through = guests.to_vec();
        cpu.vm_entry(&mut block).unwrap();
        for index in guests {
            cpu.wrmsr(index, 1 << 18).unwrap();
        }
        cpu.vm_exit(&mut block).unwrap();
        let left = guests.map(|index| cpu.msr(index).unwrap() != 0);
        assert_eq!(left, [!is_carried, !is_carried, true, true, false], "{virtualisation:?}");
        cpu.vm_entry(&mut block).unwrap();
        assert_eq!(cpu.rdmsr(msr::FS_BASE), Ok(1 << 18));
    }
}

#[test]
fn guests_exit_for_what_is_intercepted() {
    let mut machine = Machine::new(machine().hardware(), 1);
    let mut cpu = machine.on(0).unwrap();
    cpu.set_cr4(Cr4::OSXSAVE).unwrap();
    cpu.wrmsr(msr::XSS, 0x1800).unwrap();
    let mut block = block(&cpu);
    block.controls =
        Controls { xss_exiting: ComponentSet::from(Component::CET_S), intercepts_nm: true, ..block.controls };
    cpu.vm_entry(&mut block).unwrap();
    assert_eq!(cpu.xsetbv(0, 1), Err(Fault::Exit(Exit::Xsetbv)));
    assert_eq!(cpu.wrmsr(msr::XSS, 0), Err(Fault::Exit(Exit::Msr(msr::XSS))));
    assert_eq!(cpu.xsaves(0x1000, 0x1000), Err(Fault::Exit(Exit::Xss(Component::CET_S.into()))));
    assert_eq!(cpu.xsaves(0x1000, 0x0800), Err(Fault::PageFault { linear: 0x1000 }), "not in the bitmap");
    cpu.set_task_switched(true).unwrap();
    assert!(matches!(cpu.write_component(Component::SSE, 1), Err(Fault::Exit(Exit::DeviceNotAvailable(_)))));
}

#[test]
fn a_debug_exception_that_exits_leaves_dr6_as_it_was_under_vmx_only() {
    const CAUSE: u64 = 0xFFFF_4FF0;
    for (virtualisation, is_written) in [(Virtualisation::Vmx, false), (Virtualisation::Svm, true)] {
        let mut machine = Machine::new(MachineShape { virtualisation, ..machine() }.hardware(), 1);
        let mut cpu = machine.on(0).unwrap();
        let mut block = block(&cpu);
        block.controls.intercepts_db = true;
        cpu.vm_entry(&mut block).unwrap();
        let before = cpu.registers().dr6;
        assert_eq!(cpu.raise_debug_exception(CAUSE), Err(Fault::Exit(Exit::Debug { cause: CAUSE })));
        cpu.vm_exit(&mut block).unwrap();
        assert_eq!(block.guest.dr6, if is_written { CAUSE } else { before }, "{virtualisation:?}");
        cpu.raise_debug_exception(CAUSE).unwrap();
        assert_eq!(cpu.registers().dr6, CAUSE, "nothing intercepts the hypervisor's own");
    }
}

#[test]
fn svm_reads_ds_again_at_an_exit_and_shuts_down_where_it_is_gone() {
    let shape = MachineShape { virtualisation: Virtualisation::Svm, ..machine() };
    let mut machine = Machine::new(shape.hardware(), 1);
    let frame = machine.memory().add_frame();
    machine.memory().set_descriptor(frame, 1, DATA);
    machine.memory().set_l1_entry(Space::Hypervisor, GDT, frame.l1_entry());
    let mut cpu = machine.on(0).unwrap();
    cpu.lgdt(TableRegister { base: GDT, limit: 0xFFF }).unwrap();
    cpu.load_selector(Selector::Ds, 8).unwrap();
    let mut block = block(&cpu);
    cpu.vm_entry(&mut block).unwrap();
    assert_eq!(cpu.vm_exit(&mut block), Ok(()));
    cpu.vm_entry(&mut block).unwrap();
    cpu.memory().set_descriptor(frame, 1, 0);
    assert_eq!(cpu.vm_exit(&mut block), gp(8, SelectorCause::Type));
}

#[test]
fn a_shadow_stack_that_another_cpu_uses_is_refused() {
    let mut machine = Machine::new(machine().hardware(), 2);
    let frame = machine.memory().add_frame();
    machine.memory().set_descriptor(frame, 1, CODE_64);
    machine.memory().set_l1_entry(Space::Hypervisor, GDT, frame.l1_entry());
    machine.memory().insert_shadow_stack(0x2000);
    for number in [0, 1] {
        let mut cpu = machine.on(number).unwrap();
        cpu.lgdt(TableRegister { base: GDT, limit: 0xFFF }).unwrap();
        cpu.set_cr4(Cr4::CET).unwrap();
        cpu.wrmsr(msr::S_CET, 1).unwrap();
        cpu.wrmsr(msr::PL0_SSP, 0x2000).unwrap();
        cpu.enter_pv(3).unwrap();
    }
    machine.on(0).unwrap().exit_pv(8).unwrap();
    let busy = Err(Fault::GeneralProtection(GpCause::ShadowStackToken { ssp: 0x2000 }));
    assert_eq!(machine.on(1).unwrap().exit_pv(8), busy);
    machine.on(0).unwrap().enter_pv(3).unwrap();
    machine.on(1).unwrap().exit_pv(8).unwrap();
    assert_eq!(machine.on(0).unwrap().exit_pv(16), Err(Fault::DoubleFault { selector: 16 }));
}

#[test]
fn a_reset_takes_registers_and_leaves_memory() {
    let (mut machine, frame) = with_gdt(&[DATA]);
    let mut cpu = machine.on(0).unwrap();
    cpu.wrmsr(msr::STAR, 7).unwrap();
    cpu.write_component(Component::SSE, 7).unwrap();
    machine.reset(0);
    let mut cpu = machine.on(0).unwrap();
    assert_eq!((cpu.rdmsr(msr::STAR), cpu.read_component(Component::SSE)), (Ok(0), Ok(0)));
    assert_eq!(machine.memory().descriptor(frame, 1), DATA);
    assert!(machine.on(1).is_none());
}
