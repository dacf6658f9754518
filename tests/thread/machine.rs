//! The machine's link: a policy, a save area for it on a host, and a CPU of that host that two of its vCPUs share.

use selfsame_cpuid::{ApicId, Leaves, LevellingCapabilities, Policy, VcpuView};
use selfsame_machine::{
    Area, Carried, ControlBlock, Controls, Cr4, Exit, Fault, Hardware, Machine, Owner, Processor, Space, TableRegister,
    Tag, Virtualisation,
};
use selfsame_switch::gdt::{CPU_MARKER_SELECTOR, FIRST_HYPERVISOR_SELECTOR};
use selfsame_switch::{
    AreaAddress, CpuId, CpuTables, Cr3, DomainId, Extended, Frame, GdtPage, GuestXfd, GuestXss, Own, PerDomainArea,
    Platform, Registers, Shown, Switcher, Vcpu, VcpuId, VcpuKind, VcpuName, Visibility,
};
use selfsame_xstate::{Component, ComponentSet, Configurations, SaveMethod, Xcr0, Xss};

/// Where the hypervisor has its descriptors: page 14 of the table that GDTR points to.
const DESCRIPTORS: u64 = 0xffff_8300_0000_0000 + FIRST_HYPERVISOR_SELECTOR as u64;
const AREAS: [u64; 2] = [0xffff_9000_0000_0000, 0xffff_9000_0010_0000];

/// Policy → an area for it on the host that `raw` describes → two vCPUs that take turns on its CPU: each finds its own state
/// and no other's, in every component of the policy, and CPUID exits to it.
pub(crate) fn follow(policy: &Policy, raw: &Leaves) {
    let mut machine = Machine::new(Hardware::of(raw), 1);
    let geometry = raw.geometry();
    let configurations = Configurations::new(&geometry).unwrap();
    let (xcr0, xss) = (policy.leaves.xcr0(), policy.leaves.xss());
    let area = configurations.area(xcr0 | xss, xcr0 | xss).unwrap();
    assert!((xcr0 | xss).is_subset_of(area.components()));
    for linear in AREAS {
        let memory = match area.method() {
            SaveMethod::Xsaves => Area::compacted(area.size_bytes(), area.components()),
            SaveMethod::Xsave | SaveMethod::Fxsave => Area::new(area.size_bytes()),
        };
        machine.memory().insert_area(linear, memory);
    }

    let own = boot(&mut machine);
    let visibility = Visibility::of(raw, LevellingCapabilities::expected(raw), |_| 0);
    let virtualisation = match machine.hardware().virtualisation() {
        Virtualisation::Vmx => selfsame_switch::Virtualisation::Vmx,
        Virtualisation::Svm => selfsame_switch::Virtualisation::Svm,
    };
    let per_domain = PerDomainArea::new(0xffff_8200_0000_0000).unwrap();
    let platform = Platform::new(raw, virtualisation, &configurations, visibility, per_domain);
    let mut cpu = machine.on(0).unwrap();
    let mut switcher = Switcher::bring_up(&platform, own, &mut cpu);
    let mut vcpus = [0, 1].map(|number| vcpu(number, policy, xcr0, xss));
    let mut blocks = [0, 1].map(|_| block(&cpu, policy));

    for turn in 0..6 {
        let [first, second] = &mut vcpus;
        let (from, to) = if turn % 2 == 0 { (second, first) } else { (first, second) };
        let block = &mut blocks[usize::from(turn % 2)];
        let leaving = (turn > 0).then_some(&mut *from);
        let leaving_name = leaving.as_ref().map(|leaving| leaving.name());
        let _ = switcher.switch(&mut cpu, leaving, to).unwrap();
        let entry = switcher.enter(to).unwrap();
        entry.execute(&mut cpu);
        assert_eq!(entry.releases(), leaving_name, "the state of who left is in memory");
        from.residence.release();
        cpu.vm_entry(block).unwrap();

        assert_eq!(cpu.cpuid(0xd, 0), Err(Fault::Exit(Exit::Cpuid)), "the policy answers");
        let view = VcpuView { xcr0, xss, has_osxsave: true, ..VcpuView::new(ApicId::new(0)) };
        assert!(policy.cpuid(0xd, 1, &view).ebx <= area.size_bytes(), "what the guest saves has room in the area");
        assert_eq!(cpu.registers().xcr0, xcr0);
        for component in xcr0 | xss {
            let owner = Owner::Vcpu(turn % 2);
            let tag = |turn| Tag::new(owner, turn << 6 | u16::from(component.index())).bits();
            let expected = if turn < 2 { 0 } else { tag(turn - 2) };
            assert_eq!(cpu.read_component(component), Ok(expected), "{component} of {owner:?} in turn {turn}");
            cpu.write_component(component, tag(turn)).unwrap();
        }

        cpu.vm_exit(block).unwrap();
        switcher.exited(&mut cpu, to).unwrap();
        assert_eq!(cpu.registers().faults, []);
    }
}

/// What the hypervisor does before any switch: a table with its code segment and the marker of this CPU, and CR4.
fn boot(machine: &mut Machine) -> Own {
    const CODE: u64 = 0x00af_9b00_0000_ffff;
    const MARKER: u64 = 0x0000_9100_0000_0000;
    let page = machine.memory().add_frame();
    for (selector, descriptor) in [(FIRST_HYPERVISOR_SELECTOR + 8, CODE), (CPU_MARKER_SELECTOR, MARKER)] {
        machine.memory().set_descriptor(page, usize::from(selector - FIRST_HYPERVISOR_SELECTOR) / 8, descriptor);
    }
    machine.memory().set_l1_entry(Space::Hypervisor, DESCRIPTORS, page.l1_entry());
    let tables = GdtPage::new(DESCRIPTORS, Frame::new(page.number()).unwrap()).unwrap();
    let has_xsave = machine.hardware().has_xsave();
    let cr4 = if has_xsave { Cr4::OSXSAVE } else { Cr4::default() };
    let mut cpu = machine.on(0).unwrap();
    cpu.set_cr4(cr4).unwrap();
    cpu.lgdt(TableRegister { base: DESCRIPTORS - u64::from(FIRST_HYPERVISOR_SELECTOR), limit: 0xefff }).unwrap();
    Own {
        tables: CpuTables::new(CpuId::new(0), tables, tables),
        cr3: Cr3::new(0).unwrap(),
        cr4: selfsame_switch::Cr4::of_hypervisor(cr4.0),
        pl0_ssp: None,
        registers: Registers::RESET,
        faulting_register: 0,
    }
}

/// A vCPU of a domain of its own that has enabled all that its policy has.
fn vcpu(number: u16, policy: &Policy, xcr0: ComponentSet, xss: ComponentSet) -> Vcpu {
    let name = VcpuName::new(DomainId::new(number), VcpuId::new(0).unwrap());
    let mut extended = Extended::new(AreaAddress::new(AREAS[usize::from(number)]).unwrap());
    extended.xsetbv(Xcr0::new(xcr0.bits(), xcr0).unwrap());
    extended.set_xss(GuestXss::Own(Xss::new(xss.bits(), xss).unwrap()));
    if policy.leaves.get(0xd, 1).eax & 1 << 4 != 0 {
        extended = extended.with_xfd(GuestXfd::new(true));
    }
    Vcpu::new(name, VcpuKind::Hvm, extended, Cr3::new(0).unwrap(), Shown::default())
}

/// A VMCS or VMCB whose guest uses all that its policy has.
fn block(cpu: &Processor<'_>, policy: &Policy) -> ControlBlock {
    let (guest, host) = (cpu.carried(), cpu.carried());
    let pke = if policy.leaves.xcr0().contains(Component::PKRU) { Cr4::PKE } else { Cr4::default() };
    let guest = Carried { cr4: guest.cr4.union(pke), ..guest };
    ControlBlock { guest, host, controls: Controls::default() }
}
