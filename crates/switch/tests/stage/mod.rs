//! CPUs that note what is done to them, vCPUs of every kind, and short words for what happens to both.
#![allow(dead_code, reason = "every test file uses some of it")]
#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

use selfsame_switch::{
    AreaAddress, Content, Cr3, Cr4, DomainId, Extended, GuestXfd, Msr, Occupancy, Operation, Own, Platform, REGISTERS,
    Register, Selectors, Shown, Switcher, Trace, Vcpu, VcpuId, VcpuKind, VcpuName,
};
use selfsame_xstate::{ComponentSet, Xcr0};

mod platforms;

#[allow(unused_imports, reason = "every test file uses some of it")]
pub(crate) use platforms::{CR4, barcelona, milan, own, sandy_bridge, sapphire_rapids};

/// One CPU and what was done to it.
pub(crate) struct OneCpu {
    pub(crate) switcher: Switcher<'static>,
    pub(crate) trace: Trace<Box<dyn FnMut(Operation)>>,
    log: Rc<RefCell<Vec<Operation>>>,
}

impl OneCpu {
    fn new(platform: &'static Platform, own: Own) -> Self {
        let log = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&log);
        let mut trace: Trace<Box<dyn FnMut(Operation)>> =
            Trace::new(Box::new(move |operation| into.borrow_mut().push(operation)));
        let switcher = Switcher::bring_up(platform, own, &mut trace);
        Self { switcher, trace, log }
    }

    pub(crate) fn taken(&self) -> Vec<Operation> {
        mem::take(&mut self.log.borrow_mut())
    }
}

/// What plays: CPUs and vCPUs, both by number.
pub(crate) struct Stage {
    pub(crate) platform: &'static Platform,
    pub(crate) cpus: Vec<OneCpu>,
    pub(crate) vcpus: Vec<Vcpu>,
}

impl Stage {
    /// Two CPUs of a platform.
    pub(crate) fn new(platform: Platform) -> Self {
        Self::with_own(platform, |_| ())
    }

    /// Two CPUs, whose own is changed.
    pub(crate) fn with_own(platform: Platform, change: impl Fn(&mut Own)) -> Self {
        let platform: &'static Platform = Box::leak(Box::new(platform));
        let cpus = (0..2).map(|number| {
            let mut own = own(number);
            change(&mut own);
            OneCpu::new(platform, own)
        });
        let stage = Self { platform, cpus: cpus.collect(), vcpus: Vec::new() };
        stage.cpus.iter().for_each(|cpu| drop(cpu.taken()));
        stage
    }

    /// Adds a vCPU with values of its own everywhere, and returns its number.
    pub(crate) fn add(&mut self, kind: VcpuKind, domain: u16, vcpu: u16) -> usize {
        let number = u64::try_from(self.vcpus.len()).unwrap();
        let name = VcpuName::new(DomainId::new(domain), VcpuId::new(vcpu).unwrap());
        let extended = Extended::new(AreaAddress::new((number + 1) * 0x10000).unwrap());
        let cr3 = Cr3::new((number + 1) << 32).unwrap();
        let shown = Shown { is_faulting: kind != VcpuKind::Hvm, ..Shown::default() };
        let mut vcpu = Vcpu::new(name, kind, extended, cr3, shown);
        for (at, register) in Register::ALL.into_iter().enumerate() {
            vcpu.registers.set(register, (number + 1) << 16 | u64::try_from(at).unwrap());
        }
        vcpu.guest_cr4 = Cr4::FSGSBASE;
        self.vcpus.push(vcpu);
        self.vcpus.len() - 1
    }

    /// Makes a vCPU another one.
    pub(crate) fn change(&mut self, vcpu: usize, change: impl FnOnce(Vcpu) -> Vcpu) {
        let old = self.vcpus.remove(vcpu);
        self.vcpus.insert(vcpu, change(old));
    }

    /// Gives a vCPU an XCR0, as if its guest had always had it.
    pub(crate) fn xsetbv(&mut self, vcpu: usize, value: u64) {
        let xcr0 = Xcr0::new(value, self.platform.xcr0.components()).unwrap();
        self.vcpus[vcpu].extended.xsetbv(xcr0);
    }

    pub(crate) fn give_xfd(&mut self, vcpu: usize, xfd: GuestXfd) {
        self.vcpus[vcpu].extended = self.vcpus[vcpu].extended.with_xfd(xfd);
    }

    fn on(&self, cpu: usize) -> Option<usize> {
        let current = self.cpus[cpu].switcher.current()?;
        self.vcpus.iter().position(|vcpu| vcpu.name() == current)
    }

    /// Takes a vCPU onto a CPU, in place of the one that is there.
    pub(crate) fn switch(&mut self, cpu: usize, to: usize) -> Vec<Operation> {
        let on = self.on(cpu);
        let cpu = &mut self.cpus[cpu];
        let switched = match on {
            Some(from) if from == to => return Vec::new(),
            Some(from) => {
                let [from, to] = self.vcpus.get_disjoint_mut([from, to]).unwrap();
                cpu.switcher.switch(&mut cpu.trace, Some(from), to)
            }
            None => cpu.switcher.switch(&mut cpu.trace, None, &mut self.vcpus[to]),
        };
        assert_eq!(switched.unwrap().faults().count(), 0);
        cpu.taken()
    }

    /// Enters the guest of a vCPU that is on a CPU.
    pub(crate) fn enter(&mut self, cpu: usize, vcpu: usize) -> Vec<Operation> {
        let cpu = &mut self.cpus[cpu];
        let entry = cpu.switcher.enter(&self.vcpus[vcpu]).unwrap();
        entry.execute(&mut cpu.trace);
        if let Some(name) = entry.releases() {
            self.vcpus.iter().filter(|vcpu| vcpu.name() == name).for_each(|vcpu| vcpu.residence.release());
        }
        cpu.taken()
    }

    /// Leaves the guest, as VMX or SVM and the code around VMRUN do.
    pub(crate) fn exit(&mut self, cpu: usize, vcpu: usize) -> Vec<Operation> {
        let occupancy = self.vcpus[vcpu].kind().occupancy(self.platform.virtualisation);
        let own = own(u16::try_from(cpu).unwrap());
        let cpu = &mut self.cpus[cpu];
        for row in REGISTERS.iter().filter(|row| row.content(occupancy) == Content::Carried) {
            cpu.trace.registers.set(row.register, own.registers.get(row.register));
        }
        if occupancy == Occupancy::Vmx {
            cpu.trace.selectors = Selectors::NULL;
        }
        cpu.switcher.exited(&mut cpu.trace, &mut self.vcpus[vcpu]).unwrap();
        cpu.taken()
    }

    /// Takes a vCPU onto a CPU, into its guest and out of it again.
    pub(crate) fn run(&mut self, cpu: usize, vcpu: usize) -> Vec<Operation> {
        let mut operations = self.switch(cpu, vcpu);
        operations.extend(self.enter(cpu, vcpu));
        operations.extend(self.exit(cpu, vcpu));
        operations
    }

    /// Takes a vCPU off its CPU, into memory.
    pub(crate) fn flush(&mut self, cpu: usize, vcpu: usize) -> Vec<Operation> {
        let cpu = &mut self.cpus[cpu];
        let entry = cpu.switcher.flush(&mut cpu.trace, &mut self.vcpus[vcpu]).unwrap();
        entry.execute(&mut cpu.trace);
        self.vcpus[vcpu].residence.release();
        cpu.taken()
    }
}

impl Stage {
    /// Takes a vCPU off whatever CPU it is on.
    pub(crate) fn flush_if_resident(&mut self, vcpu: usize) -> Vec<Operation> {
        match self.vcpus[vcpu].residence.cpu() {
            Some(cpu) => self.flush(usize::from(cpu.number()), vcpu),
            None => Vec::new(),
        }
    }
}

/// The values that a register was given, in order.
pub(crate) fn wrmsrs(operations: &[Operation], msr: Msr) -> Vec<u64> {
    let of = |operation: &Operation| match operation {
        Operation::Wrmsr(write) if write.msr() == msr => Some(write.value()),
        _ => None,
    };
    operations.iter().filter_map(of).collect()
}

pub(crate) fn written(operations: &[Operation], register: Register) -> Vec<u64> {
    wrmsrs(operations, Msr::Switched(register))
}

pub(crate) fn xsetbvs(operations: &[Operation]) -> Vec<u64> {
    let of = |operation: &Operation| match operation {
        Operation::Xsetbv(value) => Some(value.bits()),
        _ => None,
    };
    operations.iter().filter_map(of).collect()
}

pub(crate) fn count(operations: &[Operation], is: impl Fn(&Operation) -> bool) -> usize {
    operations.iter().filter(|operation| is(operation)).count()
}

pub(crate) fn position(operations: &[Operation], is: impl Fn(&Operation) -> bool) -> usize {
    operations.iter().position(is).unwrap()
}

pub(crate) fn saved(operations: &[Operation]) -> Option<(u64, ComponentSet)> {
    operations.iter().find_map(|operation| match operation {
        Operation::Save(_, area, mask) => Some((area.get(), *mask)),
        _ => None,
    })
}

pub(crate) fn loaded(operations: &[Operation]) -> Option<(u64, ComponentSet)> {
    operations.iter().find_map(|operation| match operation {
        Operation::Load(_, area, mask) => Some((area.get(), *mask)),
        _ => None,
    })
}

pub(crate) fn set(bits: u64) -> ComponentSet {
    ComponentSet::from_bits(bits)
}
