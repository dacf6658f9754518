//! How to run switch code of your own on the machine.
//!
//! Implement [`Client`] for it, make a [`World`] with the machine and the guests you care about, and have the guests do things
//! and the CPUs switch. After every entry the world compares what the guest finds with what it put there.
//!
//! The switch code here is the simplest that is correct: it writes everything on every switch, and keeps no state in registers
//! while a CPU is idle.

#![expect(clippy::unwrap_used, reason = "a CPU and a vCPU that the world names are there")]

use std::collections::BTreeMap;
use std::error::Error;

use selfsame_cpuid::{MaskMeaning, Register, WordSource};
use selfsame_machine::proof::{
    Action, Client, Edit, GuestKind, GuestShape, HYPERVISOR_PAGE, Home, LDT_SELECTOR, Levelling, MachineShape, NewVcpu,
    Request, SaveInstructions, World, gdt_of, ldt_of, owned_msrs,
};
use selfsame_machine::{
    Area, Controls, Cr4, Fault, Hardware, Machine, NmCause, Owner, PAGE_BYTES, Processor, Selector, Space,
    TableRegister, Tag, Virtualisation, msr,
};
use selfsame_xstate::{Component, ComponentSet};

/// Room for every component of any machine of the proof.
const AREA_BYTES: u32 = 1 << 14;
/// DR6 when nothing has happened.
const DR6_RESET: u64 = 0xFFFF_0FF0;
/// DR7 with all breakpoints off.
const DR7_OFF: u64 = 0x400;
/// CPUID leaf 1, ECX: shown as the guest has it in its CR4.
const OSXSAVE: u32 = 1 << 27;
/// CPUID leaf 1, ECX and EDX, and 80000001, ECX: shown as the machine has them, for the sake of leaves that no mask covers.
const X2APIC: u32 = 1 << 21;
const HTT: u32 = 1 << 28;
const CMP_LEGACY: u32 = 1 << 1;

/// What is kept of a vCPU while it is not on a CPU.
struct Vcpu {
    new: NewVcpu,
    area: u64,
    xcr0: ComponentSet,
    xss: ComponentSet,
    xfd: ComponentSet,
    xfd_err: ComponentSet,
    cr4: Cr4,
    is_task_switched: bool,
    msrs: BTreeMap<u32, u64>,
    selectors: [u16; 4],
    breakpoints: [u64; 4],
    breakpoint_masks: [u64; 4],
    dr6: u64,
    dr7: u64,
    ldt_descriptors: u16,
}

impl Vcpu {
    fn is_pv(&self) -> bool {
        self.new.shape.kind.is_pv()
    }
}

/// Switch code that writes everything on every switch.
pub(crate) struct WritesEverything {
    shape: MachineShape,
    hardware: Hardware,
    homes: Vec<Home>,
    vcpus: Vec<Vcpu>,
    running: Vec<Option<usize>>,
}

impl Client for WritesEverything {
    fn new(shape: &MachineShape, homes: &[Home]) -> Self {
        Self {
            shape: *shape,
            hardware: shape.hardware(),
            homes: homes.to_vec(),
            vcpus: Vec::new(),
            running: vec![None; homes.len()],
        }
    }

    fn bring_up(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault> {
        let mut processor = machine.on(cpu).unwrap();
        if let Some(ssp) = self.homes[usize::from(cpu)].pl0_ssp {
            processor.wrmsr(msr::PL0_SSP, ssp)?;
        }
        Ok(())
    }

    fn create(&mut self, new: NewVcpu) -> Area {
        let all = self.hardware.geometry().components();
        let has_xsave = self.shape.save != SaveInstructions::Fxsave;
        let owned = owned_msrs(new.shape.kind, self.shape.virtualisation);
        self.vcpus.push(Vcpu {
            area: new.area,
            xcr0: if has_xsave { ComponentSet::EMPTY.with(Component::X87) } else { ComponentSet::EMPTY },
            xss: ComponentSet::EMPTY,
            xfd: ComponentSet::EMPTY,
            xfd_err: ComponentSet::EMPTY,
            cr4: if has_xsave { Cr4::OSXSAVE } else { Cr4::default() },
            is_task_switched: false,
            msrs: owned.into_iter().map(|index| (index, 0)).collect(),
            selectors: [0; 4],
            breakpoints: [0; 4],
            breakpoint_masks: [0; 4],
            dr6: DR6_RESET,
            dr7: DR7_OFF,
            ldt_descriptors: 0,
            new,
        });
        if self.shape.save == SaveInstructions::Xsaves {
            Area::compacted(AREA_BYTES, all)
        } else {
            Area::new(AREA_BYTES)
        }
    }

    fn change(&mut self, vcpu: usize, shape: GuestShape) {
        self.vcpus[vcpu].new.shape = shape;
    }

    fn switch(&mut self, machine: &mut Machine, cpu: u16, next: Option<usize>) -> Result<(), Fault> {
        let running = std::mem::replace(&mut self.running[usize::from(cpu)], next);
        let mut processor = machine.on(cpu).unwrap();
        if let Some(running) = running {
            self.save(&mut processor, running)?;
        }
        match next {
            Some(next) => self.load(&mut processor, next),
            None => self.load_idle(&mut processor),
        }
    }

    fn enter(&mut self, machine: &mut Machine, cpu: u16, _: Option<&mut Controls>) -> Result<(), Fault> {
        let vcpu = &self.vcpus[self.running[usize::from(cpu)].unwrap()];
        let mut processor = machine.on(cpu).unwrap();
        if vcpu.is_pv() {
            processor.set_task_switched(vcpu.is_task_switched)
        } else if self.shape.has_amx {
            processor.wrmsr(msr::XFD_ERR, vcpu.xfd_err.bits())?;
            processor.wrmsr(msr::XFD, vcpu.xfd.bits())
        } else {
            Ok(())
        }
    }

    fn leave(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault> {
        let vcpu = &mut self.vcpus[self.running[usize::from(cpu)].unwrap()];
        let mut processor = machine.on(cpu).unwrap();
        if vcpu.is_pv() {
            processor.set_task_switched(false)
        } else if self.shape.has_amx {
            vcpu.xfd_err = ComponentSet::from_bits(processor.rdmsr(msr::XFD_ERR)?);
            vcpu.xfd = ComponentSet::from_bits(processor.rdmsr(msr::XFD)?);
            processor.wrmsr(msr::XFD_ERR, 0)?;
            processor.wrmsr(msr::XFD, 0)
        } else {
            Ok(())
        }
    }

    fn serve(&mut self, machine: &mut Machine, cpu: u16, request: &Request) -> Result<(), Fault> {
        let number = self.running[usize::from(cpu)].unwrap();
        let mut processor = machine.on(cpu).unwrap();
        // What the guest changed itself is taken down first, and everything is loaded again.
        self.save(&mut processor, number)?;
        let vcpu = &mut self.vcpus[number];
        match *request {
            Request::Xcr0(xcr0) => vcpu.xcr0 = xcr0,
            Request::Msr(msr::XSS, value) => vcpu.xss = ComponentSet::from_bits(value),
            Request::Msr(msr::XFD, value) => vcpu.xfd = ComponentSet::from_bits(value),
            Request::Msr(index, value) => {
                vcpu.msrs.insert(index, value);
            }
            Request::Cr4(cr4) => vcpu.cr4 = cr4,
            Request::TaskSwitched(is_task_switched) => vcpu.is_task_switched = is_task_switched,
            Request::Debug { breakpoints, masks, dr7 } => {
                (vcpu.breakpoints, vcpu.breakpoint_masks, vcpu.dr7) = (breakpoints, masks, dr7);
            }
            Request::DebugException { cause } => vcpu.dr6 = cause,
            Request::Ldt(descriptors) => vcpu.ldt_descriptors = descriptors,
            _ => unimplemented!("{request:?}"),
        }
        self.load(&mut processor, number)
    }

    fn edit(&mut self, _: &mut Machine, vcpu: usize, edit: &Edit) -> Result<u64, Fault> {
        let old = self.vcpus[vcpu].area;
        if let Edit::Move { area, .. } = *edit {
            self.vcpus[vcpu].area = area;
        }
        Ok(old)
    }

    fn cause_of_nm(&mut self, cpu: u16, is_task_switched: bool) -> NmCause {
        let vcpu = &self.vcpus[self.running[usize::from(cpu)].unwrap()];
        if is_task_switched { NmCause::TaskSwitched } else { NmCause::Disabled(vcpu.xfd_err) }
    }

    fn quiesce(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault> {
        self.load_idle(&mut machine.on(cpu).unwrap())
    }
}

impl WritesEverything {
    /// Everything but what the vCPU does not own: the shadow stacks of ring 0 under PV are this CPU's hypervisor's.
    fn mask(&self, vcpu: &Vcpu) -> u64 {
        let all = self.hardware.geometry().components();
        if vcpu.is_pv() { all.without(Component::CET_S).bits() } else { all.bits() }
    }

    fn save(&mut self, cpu: &mut Processor<'_>, number: usize) -> Result<(), Fault> {
        let (area, mask) = (self.vcpus[number].area, self.mask(&self.vcpus[number]));
        self.widen(cpu)?;
        match self.shape.save {
            SaveInstructions::Xsaves => cpu.xsaves(area, mask)?,
            SaveInstructions::Xsave => cpu.xsave(area, mask)?,
            SaveInstructions::Fxsave => cpu.fxsave(area)?,
        }
        let vcpu = &mut self.vcpus[number];
        vcpu.breakpoints = cpu.registers().breakpoints;
        vcpu.dr6 = cpu.registers().dr6;
        if vcpu.is_pv() {
            vcpu.selectors = cpu.registers().selectors;
            for index in [msr::FS_BASE, msr::GS_BASE] {
                vcpu.msrs.insert(index, cpu.rdmsr(index)?);
            }
        } else if self.shape.virtualisation == Virtualisation::Vmx {
            vcpu.msrs.insert(msr::KERNEL_GS_BASE, cpu.rdmsr(msr::KERNEL_GS_BASE)?);
        }
        Ok(())
    }

    fn load(&mut self, cpu: &mut Processor<'_>, number: usize) -> Result<(), Fault> {
        let vcpu = &self.vcpus[number];
        let home = &self.homes[usize::from(cpu.registers().number)];
        cpu.wrmsr(msr::PRED_CMD, 1)?;

        self.widen(cpu)?;
        if self.hardware.keeps_fp_error_pointers() {
            cpu.replace_fp_pointers(Tag::new(Owner::Cpu(home.cpu), 0).bits())?;
        }
        match self.shape.save {
            SaveInstructions::Xsaves => {
                cpu.xrstors(vcpu.area, self.mask(vcpu))?;
                cpu.wrmsr(msr::XSS, vcpu.xss.bits())?;
            }
            SaveInstructions::Xsave => cpu.xrstor(vcpu.area, self.mask(vcpu))?,
            SaveInstructions::Fxsave => cpu.fxrstor(vcpu.area)?,
        }
        if self.shape.save != SaveInstructions::Fxsave {
            cpu.xsetbv(0, vcpu.xcr0.bits())?;
        }

        if vcpu.is_pv() {
            self.load_pv(cpu, vcpu, home)?;
        } else {
            load_hvm(cpu, home)?;
        }
        for (&index, &value) in &vcpu.msrs {
            if cpu.msr(index).is_ok() {
                cpu.wrmsr(index, value)?;
            }
        }
        self.load_breakpoints(cpu, vcpu)?;
        self.show(cpu, vcpu)
    }

    fn load_pv(&self, cpu: &mut Processor<'_>, vcpu: &Vcpu, home: &Home) -> Result<(), Fault> {
        let NewVcpu { shape, cr3, .. } = vcpu.new;
        for &(index, value) in &home.msrs {
            cpu.wrmsr(index, value)?;
        }
        if let Some(ssp) = home.pl0_ssp {
            cpu.wrmsr(msr::PL0_SSP, ssp)?;
        }
        let chosen = Cr4::TSD.union(Cr4::DE).union(Cr4::FSGSBASE);
        let cr4 = Cr4(home.cr4.minus(chosen).0 | vcpu.cr4.0 & chosen.0);

        let gdtr = TableRegister { base: gdt_of(shape.vcpu), ..home.default_gdtr() };
        let slot = gdtr.base + HYPERVISOR_PAGE * PAGE_BYTES;
        let page = if shape.kind == GuestKind::Pv32 { home.compat } else { home.native };
        cpu.lgdt(home.default_gdtr())?;
        cpu.store_l1_entry(Space::Domain(shape.domain), slot, page.frame.l1_entry())?;
        cpu.set_cr3(cr3)?;
        cpu.invlpg(slot)?;
        cpu.lgdt(gdtr)?;
        cpu.set_cr4(cr4)?;
        if vcpu.ldt_descriptors == 0 {
            cpu.lldt(0)?;
        } else {
            let base = ldt_of(shape.vcpu);
            let limit = u64::from(vcpu.ldt_descriptors) * 8 - 1;
            let low = limit | (base & 0xFF_FFFF) << 16 | 0x82 << 40 | (base >> 24 & 0xFF) << 56;
            let place = gdtr.base + u64::from(LDT_SELECTOR);
            cpu.store_descriptor(place, low)?;
            cpu.store_descriptor(place + 8, base >> 32)?;
            cpu.lldt(LDT_SELECTOR)?;
        }
        for (register, selector) in Selector::ALL.into_iter().zip(vcpu.selectors) {
            cpu.load_selector(register, selector)?;
        }
        Ok(())
    }

    fn load_idle(&self, cpu: &mut Processor<'_>) -> Result<(), Fault> {
        let home = &self.homes[usize::from(cpu.registers().number)];
        load_hvm(cpu, home)?;
        for &(index, value) in &home.msrs {
            cpu.wrmsr(index, value)?;
        }
        if let Some(ssp) = home.pl0_ssp {
            cpu.wrmsr(msr::PL0_SSP, ssp)?;
        }
        cpu.set_debug_register(7, DR7_OFF)
    }

    fn load_breakpoints(&self, cpu: &mut Processor<'_>, vcpu: &Vcpu) -> Result<(), Fault> {
        cpu.set_debug_register(7, DR7_OFF)?;
        for (number, address) in (0..).zip(vcpu.breakpoints) {
            cpu.set_debug_register(number, address)?;
        }
        if self.shape.virtualisation == Virtualisation::Svm {
            for (index, mask) in msr::DR_ADDRESS_MASKS.into_iter().zip(vcpu.breakpoint_masks) {
                cpu.wrmsr(index, mask)?;
            }
        }
        cpu.set_debug_register(6, vcpu.dr6)?;
        // VM entry loads an HVM guest's DR7.
        if vcpu.is_pv() { cpu.set_debug_register(7, vcpu.dr7) } else { Ok(()) }
    }

    /// Has CPUID show a PV guest its policy.
    fn show(&self, cpu: &mut Processor<'_>, vcpu: &Vcpu) -> Result<(), Fault> {
        match self.shape.levelling {
            Levelling::Faulting => {
                let control = self.hardware.faulting().unwrap();
                let rest = cpu.rdmsr(control.index)? & !(1 << control.bit);
                cpu.wrmsr(control.index, rest | u64::from(vcpu.is_pv()) << control.bit)
            }
            Levelling::Masks => {
                for mask in self.hardware.masks() {
                    let shown = |word: selfsame_cpuid::Word| {
                        let WordSource::Cpuid { leaf, register, .. } = word.source() else { unreachable!() };
                        let is_dynamic = leaf == 1 && register == Register::Ecx && vcpu.cr4.contains(Cr4::OSXSAVE);
                        let kept = match (leaf, register) {
                            (1, Register::Ecx) => X2APIC,
                            (1, Register::Edx) => HTT,
                            (0x8000_0001, Register::Ecx) => CMP_LEGACY,
                            _ => 0,
                        };
                        let kept = self.hardware.leaves().word(word) & kept;
                        u64::from(vcpu.new.policy.word(word) | kept | if is_dynamic { OSXSAVE } else { 0 })
                    };
                    let rest = if mask.meaning == MaskMeaning::And { u64::MAX << 32 } else { 0 };
                    let high = mask.high.map_or(rest, |word| shown(word) << 32);
                    cpu.wrmsr(mask.index, shown(mask.low) | high)?;
                }
                Ok(())
            }
            Levelling::Neither => Ok(()),
        }
    }

    /// Enables everything, so that everything can be saved and loaded.
    fn widen(&self, cpu: &mut Processor<'_>) -> Result<(), Fault> {
        let hardware = &self.hardware;
        if self.shape.save != SaveInstructions::Fxsave {
            cpu.xsetbv(0, hardware.user().bits())?;
        }
        if self.shape.save == SaveInstructions::Xsaves {
            cpu.wrmsr(msr::XSS, hardware.supervisor().bits())?;
        }
        Ok(())
    }
}

/// What idle has, and an HVM guest's hypervisor: nothing of a PV guest's is left in use.
fn load_hvm(cpu: &mut Processor<'_>, home: &Home) -> Result<(), Fault> {
    for register in Selector::ALL {
        cpu.load_selector(register, 0)?;
    }
    cpu.lldt(0)?;
    cpu.lgdt(home.default_gdtr())?;
    cpu.set_cr3(home.cr3)?;
    cpu.set_cr4(home.cr4)
}

fn main() -> Result<(), Box<dyn Error>> {
    let shape = MachineShape {
        virtualisation: Virtualisation::Vmx,
        save: SaveInstructions::Xsaves,
        levelling: Levelling::Faulting,
        has_amx: true,
        has_cet: true,
        has_pku: true,
    };
    let hvm = GuestShape { has_amx: true, has_cet: true, has_pku: true, ..GuestShape::plain(GuestKind::Hvm, 1, 0) };
    let guests = [GuestShape::plain(GuestKind::Pv64, 0, 0), hvm];
    let mut world = World::<WritesEverything>::new(shape, 2, &guests)?;

    world.switch(0, Some(0))?;
    world.act(0, Action::Write(Component::SSE))?;
    world.switch(0, Some(1))?;
    world.act(0, Action::Xcr0(shape.user()))?;
    world.act(0, Action::Write(Component::XTILEDATA))?;
    world.switch(0, Some(0))?;
    world.switch(1, Some(1))?;

    let ledger = &world.machine().cpu(1).unwrap().ledger;
    let redundant = ledger.redundant().count();
    println!("both guests found their own; the last switch wrote {} times", ledger.events().len());
    println!("{redundant} of these writes put there what was there");
    Ok(())
}
