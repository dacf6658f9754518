//! The plans of `selfsame-switch`, as a hypervisor would call them.
#![allow(dead_code, unused_imports, reason = "every test file uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is the failure of the test that calls it")]

use selfsame_cpuid::LevellingCapabilities;
use selfsame_machine::proof::{
    Client, Edit, GuestKind, GuestShape, Home, MachineShape, NewVcpu, PER_DOMAIN, Request, SaveInstructions,
};
use selfsame_machine::{Area, Controls, Cr4, Fault, Hardware, Machine, NmCause, Virtualisation, msr};
use selfsame_switch::{
    AreaAddress, CpuId, CpuTables, Cr3, DeviceNotAvailable, DomainId, Entry, Extended, Frame, GdtPage, GuestXfd,
    GuestXss, Own, PerDomainArea, Platform, Register, Registers, Shown, SwitchError, Switcher, Vcpu, VcpuId, VcpuKind,
    VcpuName, Visibility, xss_exiting_bitmap,
};
use selfsame_xstate::{ComponentSet, Configurations, Xcr0, Xfd, Xss};

/// A hypervisor that uses the plans.
pub(crate) struct Planned {
    shape: MachineShape,
    hardware: Hardware,
    platform: &'static Platform,
    owns: Vec<Own>,
    switchers: Vec<Option<Switcher<'static>>>,
    vcpus: Vec<Guest>,
    running: Vec<Option<usize>>,
    /// Whether VMX guests run under the host's IA32_XSS and a bitmap.
    pub(crate) keeps_xss: bool,
}

#[repr(align(64))]
struct AreaMemory([u8; 1 << 14]);

struct Guest {
    new: NewVcpu,
    vcpu: Vcpu,
    xss: Xss,
}

impl Client for Planned {
    fn new(shape: &MachineShape, homes: &[Home]) -> Self {
        let hardware = shape.hardware();
        let raw = hardware.leaves();
        let configurations = Configurations::new(hardware.geometry()).unwrap();
        let visibility = Visibility::of(raw, LevellingCapabilities::expected(raw), |mask| {
            // As the firmware leaves them.
            if mask.row().meaning == selfsame_cpuid::MaskMeaning::And { u64::MAX } else { 0 }
        });
        let virtualisation = match shape.virtualisation {
            Virtualisation::Vmx => selfsame_switch::Virtualisation::Vmx,
            Virtualisation::Svm => selfsame_switch::Virtualisation::Svm,
        };
        let per_domain = PerDomainArea::new(PER_DOMAIN).unwrap();
        let platform = Platform::new(raw, virtualisation, &configurations, visibility, per_domain);
        Self {
            shape: *shape,
            hardware: hardware.clone(),
            // A switcher borrows it for as long as the machine is up.
            platform: Box::leak(Box::new(platform)),
            owns: homes.iter().map(own).collect(),
            switchers: homes.iter().map(|_| None).collect(),
            vcpus: Vec::new(),
            running: vec![None; homes.len()],
            keeps_xss: false,
        }
    }

    fn bring_up(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault> {
        let at = usize::from(cpu);
        let mut processor = machine.on(cpu).unwrap();
        if let Some(control) = processor.hardware().faulting() {
            self.owns[at].faulting_register = processor.rdmsr(control.index)?;
        }
        match &mut self.switchers[at] {
            Some(switcher) => switcher.set_up_again(&mut processor).unwrap(),
            none => *none = Some(Switcher::bring_up(self.platform, self.owns[at], &mut processor)),
        }
        faults(machine, cpu)
    }

    fn create(&mut self, new: NewVcpu) -> Area {
        let name = VcpuName::new(DomainId::new(new.shape.domain), VcpuId::new(new.shape.vcpu).unwrap());
        let kind = match new.shape.kind {
            GuestKind::Pv64 => VcpuKind::Pv64,
            GuestKind::Pv32 => VcpuKind::Pv32,
            GuestKind::Hvm => VcpuKind::Hvm,
        };
        let extended = Extended::new(AreaAddress::new(new.area).unwrap());
        let cr4 = if self.shape.save == SaveInstructions::Fxsave { 0 } else { Cr4::OSXSAVE.0 };
        let mut vcpu = Vcpu::new(name, kind, extended, Cr3::new(new.cr3).unwrap(), Shown::default());
        vcpu.guest_cr4 = cr4;
        let (shape, area) = (new.shape, self.area_of(&new.shape));
        self.vcpus.push(Guest { new, vcpu, xss: Xss::RESET });
        let number = self.vcpus.len() - 1;
        self.set_xss(number, Xss::RESET);
        self.change(number, shape);
        area
    }

    fn change(&mut self, number: usize, shape: GuestShape) {
        let guest = &mut self.vcpus[number];
        guest.new.shape = shape;
        guest.new.policy = shape.policy(&self.shape);
        if !shape.xfd().is_empty() {
            guest.vcpu.extended = guest.vcpu.extended.with_xfd(GuestXfd::new(!shape.writes_xfd));
        }
        self.show(number);
    }

    fn switch(&mut self, machine: &mut Machine, cpu: u16, next: Option<usize>) -> Result<(), Fault> {
        let at = usize::from(cpu);
        self.running[at] = next;
        // Idle is lazy: nothing is called.
        let Some(next) = next else { return Ok(()) };
        let current = self.current(at);
        if current == Some(next) {
            return Ok(());
        }
        self.fetch(machine, cpu, next)?;
        let mut processor = machine.on(cpu).unwrap();
        let switcher = self.switchers[at].as_mut().unwrap();
        let [from, to] = match current {
            Some(current) => self.vcpus.get_disjoint_mut([current, next]).unwrap().map(Some),
            None => [None, self.vcpus.get_mut(next)],
        };
        let switched = switcher.switch(&mut processor, from.map(|from| &mut from.vcpu), &mut to.unwrap().vcpu).unwrap();
        assert_eq!(switched.faults().count(), 0, "every segment of the guests' is there");
        faults(machine, cpu)
    }

    fn enter(&mut self, machine: &mut Machine, cpu: u16, controls: Option<&mut Controls>) -> Result<(), Fault> {
        let number = self.running[usize::from(cpu)].unwrap();
        let guest = &self.vcpus[number];
        if let Some(controls) = controls {
            controls.xss_exiting = match guest.vcpu.extended.xss() {
                GuestXss::Hosts => xss_exiting_bitmap(self.platform.xss, guest.xss),
                GuestXss::Own(_) => ComponentSet::EMPTY,
            };
        }
        let entry = *self.switchers[usize::from(cpu)].as_mut().unwrap().enter(&guest.vcpu).unwrap();
        self.execute(machine, cpu, &entry)
    }

    fn leave(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault> {
        let at = usize::from(cpu);
        let guest = &mut self.vcpus[self.running[at].unwrap()];
        self.switchers[at].as_mut().unwrap().exited(&mut machine.on(cpu).unwrap(), &mut guest.vcpu).unwrap();
        faults(machine, cpu)
    }

    fn serve(&mut self, machine: &mut Machine, cpu: u16, request: &Request) -> Result<(), Fault> {
        let at = usize::from(cpu);
        let number = self.running[at].unwrap();
        let mut processor = machine.on(cpu).unwrap();
        let guest = &mut self.vcpus[number];
        let switcher = self.switchers[at].as_mut().unwrap();
        match *request {
            Request::Xcr0(xcr0) => {
                let permitted = guest.new.shape.user(&self.shape);
                guest.vcpu.extended.xsetbv(Xcr0::new(xcr0.bits(), permitted).unwrap());
            }
            Request::Msr(msr::XSS, value) => {
                let xss = Xss::new(value, guest.new.shape.supervisor()).unwrap();
                self.set_xss(number, xss);
            }
            Request::Msr(msr::XFD, value) => {
                let covered = selfsame_xstate::XfdWrites::Intercepted { policy: guest.new.shape.user(&self.shape) };
                let xfd: Xfd = selfsame_xstate::wrmsr_xfd(value, covered, self.hardware.geometry()).unwrap();
                guest.vcpu.extended.xfd_mut().unwrap().write_xfd(xfd);
            }
            Request::Msr(index, value) => {
                let register = Register::ALL.into_iter().find(|register| register.row().number == index).unwrap();
                switcher.write_register(&mut processor, &mut guest.vcpu, register, value);
            }
            Request::Cr4(cr4) => {
                guest.vcpu.guest_cr4 = cr4.0;
                if cr4.contains(Cr4::PKE) {
                    guest.vcpu.extended.reach_pkru();
                }
                self.show(number);
                self.refresh(machine, cpu);
            }
            Request::TaskSwitched(is_task_switched) => guest.vcpu.has_task_switched = is_task_switched,
            Request::Debug { breakpoints, masks, dr7 } => {
                let debug = &mut guest.vcpu.debug;
                debug.addresses = breakpoints;
                debug.masks = masks.map(|mask| u32::try_from(mask).unwrap());
                debug.dr7 = dr7;
                switcher.grant_debug_access(&mut processor, &mut guest.vcpu).unwrap();
                self.refresh(machine, cpu);
            }
            Request::DebugException { cause } => guest.vcpu.debug.dr6 = cause,
            Request::Ldt(descriptors) => {
                guest.vcpu.ldt_descriptors = descriptors;
                self.refresh(machine, cpu);
            }
            _ => unimplemented!("{request:?}"),
        }
        faults(machine, cpu)
    }

    fn edit(&mut self, machine: &mut Machine, number: usize, edit: &Edit) -> Result<u64, Fault> {
        self.take_off(machine, number)?;
        let vcpu = &mut self.vcpus[number].vcpu;
        let old = vcpu.extended.area();
        if let Edit::Move { area, .. } = *edit {
            vcpu.extended.move_area(&vcpu.residence, AreaAddress::new(area).unwrap()).unwrap();
        }
        Ok(old.get())
    }

    fn cause_of_nm(&mut self, cpu: u16, is_task_switched: bool) -> NmCause {
        let vcpu = &self.vcpus[self.running[usize::from(cpu)].unwrap()].vcpu;
        let cr0 = 0x33 | u64::from(is_task_switched) << 3;
        match DeviceNotAvailable::of(cr0, vcpu.extended.xfd()) {
            DeviceNotAvailable::TaskSwitched => NmCause::TaskSwitched,
            DeviceNotAvailable::Disabled(components) => NmCause::Disabled(components),
            DeviceNotAvailable::Emulated => NmCause::Disabled(ComponentSet::EMPTY),
        }
    }

    fn quiesce(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault> {
        for number in 0..self.vcpus.len() {
            if self.vcpus[number].vcpu.residence.cpu() == Some(CpuId::new(cpu)) {
                self.take_off(machine, number)?;
            }
        }
        Ok(())
    }
}

impl Planned {
    /// The area of a vCPU of this shape, with a policy that has all of it, in its initial state.
    pub(crate) fn area_of(&self, shape: &GuestShape) -> Area {
        let configurations = Configurations::new(self.hardware.geometry()).unwrap();
        let states = shape.user(&self.shape) | shape.supervisor();
        let area = configurations.area(states, states).unwrap();
        let mut memory = Box::new(AreaMemory([0xAA; 1 << 14]));
        area.init(&mut memory.0).unwrap();
        let word = |at: usize| u64::from_le_bytes(memory.0[at..at + 8].try_into().unwrap());
        Area { xstate_bv: word(512), xcomp_bv: word(520), ..Area::new(area.size_bytes()) }
    }

    /// The switcher of a CPU.
    pub(crate) fn switcher(&mut self, cpu: u16) -> &mut Switcher<'static> {
        self.switchers[usize::from(cpu)].as_mut().unwrap()
    }

    /// A vCPU's record.
    pub(crate) fn vcpu(&mut self, number: usize) -> &mut Vcpu {
        &mut self.vcpus[number].vcpu
    }

    fn current(&self, at: usize) -> Option<usize> {
        let name = self.switchers[at].as_ref()?.current()?;
        self.vcpus.iter().position(|guest| guest.vcpu.name() == name)
    }

    /// Takes a vCPU off the CPU that it is on, if that is another than `cpu`.
    fn fetch(&mut self, machine: &mut Machine, cpu: u16, number: usize) -> Result<(), Fault> {
        match self.vcpus[number].vcpu.residence.cpu() {
            Some(other) if other != CpuId::new(cpu) => self.take_off(machine, number),
            _ => Ok(()),
        }
    }

    /// Takes a vCPU off the CPU that it is on, if it is on one.
    pub(crate) fn take_off(&mut self, machine: &mut Machine, number: usize) -> Result<(), Fault> {
        let Some(cpu) = self.vcpus[number].vcpu.residence.cpu().map(CpuId::number) else { return Ok(()) };
        let switcher = self.switchers[usize::from(cpu)].as_mut().unwrap();
        let entry = *switcher.flush(&mut machine.on(cpu).unwrap(), &mut self.vcpus[number].vcpu).unwrap();
        self.execute(machine, cpu, &entry)
    }

    /// Does an entry, and ends the residence that it ends.
    fn execute(&mut self, machine: &mut Machine, cpu: u16, entry: &Entry) -> Result<(), Fault> {
        entry.execute(&mut machine.on(cpu).unwrap());
        if let Some(name) = entry.releases() {
            let released = self.vcpus.iter().find(|guest| guest.vcpu.name() == name).unwrap();
            released.vcpu.residence.release();
        }
        faults(machine, cpu)
    }

    fn refresh(&mut self, machine: &mut Machine, cpu: u16) {
        let at = usize::from(cpu);
        let guest = &mut self.vcpus[self.running[at].unwrap()];
        let result: Result<(), SwitchError> =
            self.switchers[at].as_mut().unwrap().refresh(&mut machine.on(cpu).unwrap(), &mut guest.vcpu);
        result.unwrap();
    }

    fn set_xss(&mut self, number: usize, xss: Xss) {
        let keeps_xss = self.keeps_xss && self.shape.virtualisation == Virtualisation::Vmx;
        let guest = &mut self.vcpus[number];
        guest.xss = xss;
        guest.vcpu.extended.set_xss(if keeps_xss { GuestXss::Hosts } else { GuestXss::Own(xss) });
    }

    fn show(&mut self, number: usize) {
        let guest = &mut self.vcpus[number];
        if guest.new.shape.kind.is_pv() {
            let Platform { visibility, .. } = self.platform;
            guest.vcpu.shown = Shown::pv(visibility, self.hardware.leaves(), &guest.new.policy, guest.vcpu.guest_cr4);
        }
    }
}

/// What is one CPU's own, in the terms of the plans.
fn own(home: &Home) -> Own {
    let page = |page: selfsame_machine::proof::DescriptorPage| {
        GdtPage::new(page.linear, Frame::new(page.frame.number()).unwrap()).unwrap()
    };
    let mut registers = Registers::RESET;
    for register in Register::ALL {
        registers.set(register, home.msr(register.row().number));
    }
    Own {
        tables: CpuTables::new(CpuId::new(home.cpu), page(home.native), page(home.compat)),
        cr3: Cr3::new(home.cr3).unwrap(),
        cr4: selfsame_switch::Cr4::of_hypervisor(home.cr4.0),
        pl0_ssp: home.pl0_ssp,
        registers,
        faulting_register: 0,
    }
}

/// The first fault of the hypervisor's code on a CPU.
fn faults(machine: &mut Machine, cpu: u16) -> Result<(), Fault> {
    machine.cpu(cpu).unwrap().faults.first().map_or(Ok(()), |fault| Err(*fault))
}
