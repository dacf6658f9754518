//! One CPU's switcher: what it knows of the CPU, and the order of a switch.

use selfsame_xstate::{ComponentSet, SaveMethod, Xcr0, Xss};

use crate::register::COUNT;
use crate::residence::StillResident;
use crate::segment::SegmentFault;
use crate::visibility::{MAX_MASKS, MaskWrites};
use crate::{
    AreaAddress, Content, Cpu, Cr3, Cr4, DomainId, Gdtr, Kind, Ldt, Machine, Msr, MsrWrite, Occupancy, Own, Register,
    RegisterSet, Selector, Shadow, Vcpu, VcpuName,
};

/// Takes vCPUs on and off one CPU, with the fewest writes that are correct.
///
/// ```text
/// bring_up ─▶ switch(None, a) ─▶ enter(a) ─▶ …guest… ─▶ exited(a) ─▶ enter(a) ─▶ …
///                                                         │
///                                                         ├─▶ idle: nothing is called, a stays
///                                                         ├─▶ switch(a, b) ─▶ enter(b): the step saves a and loads b
///                                                         └─▶ flush(a): a is wanted elsewhere
/// ```
///
/// *Idle is lazy.* A CPU that has nothing to run keeps its last vCPU as it is; if that one is the next to run, there is
/// nothing to do, and if nobody asks for it, it is taken off when another one comes.
#[derive(Debug)]
pub struct Switcher<'m> {
    pub(crate) machine: &'m Machine,
    pub(crate) own: Own,
    pub(crate) shadows: Shadows,
    /// Whose state, but for extended state, is on the CPU.
    pub(crate) current: Option<Current>,
    /// Whose extended state is in the registers. It differs from the former between a switch and the entry after it.
    pub(crate) owner: Option<StateOwner>,
    pub(crate) mask_writes: MaskWrites,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) name: VcpuName,
    pub(crate) occupancy: Occupancy,
    /// Whether it has been in its guest since it came.
    pub(crate) has_run: bool,
}

/// What a step has to know of the vCPU that it saves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct StateOwner {
    pub(crate) name: VcpuName,
    pub(crate) is_hvm: bool,
    pub(crate) area: AreaAddress,
    pub(crate) mask: ComponentSet,
}

/// What each register of the CPU was last seen to hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shadows {
    pub(crate) registers: [Shadow<u64>; COUNT],
    pub(crate) xcr0: Shadow<Xcr0>,
    pub(crate) xss: Shadow<Xss>,
    pub(crate) xfd: Shadow<ComponentSet>,
    pub(crate) xfd_err: Shadow<ComponentSet>,
    pub(crate) pl0_ssp: Shadow<u64>,
    pub(crate) gdtr: Shadow<Gdtr>,
    pub(crate) ldtr: Shadow<Option<Ldt>>,
    pub(crate) cr3: Shadow<AddressSpace>,
    pub(crate) cr4: Shadow<Cr4>,
    pub(crate) selectors: [Shadow<Selector>; 4],
    pub(crate) dr: [Shadow<u64>; 4],
    pub(crate) dr_masks: [Shadow<u32>; 4],
    pub(crate) dr6: Shadow<u64>,
    pub(crate) dr7: Shadow<u64>,
    pub(crate) is_faulting: Shadow<bool>,
    pub(crate) cpuid_masks: [Shadow<u64>; MAX_MASKS],
}

/// Page tables, and whose mappings are in the per-domain area under them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AddressSpace {
    pub(crate) cr3: Cr3,
    pub(crate) domain: Option<DomainId>,
}

/// Why a switch is refused. Nothing has been written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// Another vCPU is on this CPU than the one that was to leave.
    #[error("the vcpu to leave is not the one on this cpu")]
    NotCurrent {
        /// The vCPU that is.
        current: Option<VcpuName>,
    },
    /// The arriving vCPU's state is not in memory.
    #[error(transparent)]
    StillResident(#[from] StillResident),
    /// A hypervisor with shadow stacks cannot run 32-bit PV guests: their kernel is in ring 1, which is supervisor mode.
    #[error("a 32-bit pv vcpu on a hypervisor with shadow stacks")]
    Pv32UnderShadowStacks,
    /// A vCPU is on the CPU whose registers are to be set up.
    #[error("a vcpu is still on this cpu")]
    Occupied,
}

/// What a switch has to tell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use = "a pv guest has to be told of segments that did not load"]
pub struct Switched {
    pub(crate) faults: [Option<SegmentFault>; 4],
}

impl Switched {
    /// Returns the segments of a PV guest that could not be loaded; they are null, and the guest's failsafe callback is due.
    pub fn faults(&self) -> impl Iterator<Item = SegmentFault> {
        self.faults.into_iter().flatten()
    }
}

impl<'m> Switcher<'m> {
    /// Sets a CPU up whose registers hold anything: at its bring-up, and again after sleep or firmware ([`Self::set_up`]).
    pub fn bring_up(machine: &'m Machine, own: Own, cpu: &mut impl Cpu) -> Self {
        let mut switcher = Self {
            machine,
            own,
            shadows: Shadows::default(),
            current: None,
            owner: None,
            mask_writes: MaskWrites::default(),
        };
        switcher.write_invariants(cpu);
        switcher
    }

    /// Sets the CPU up again, after somebody else may have written its registers: sleep (S3), firmware calls. What was
    /// shadowed before is forgotten.
    ///
    /// # Errors
    ///
    /// Refuses while a vCPU is on the CPU: it is flushed first, while its state is still there.
    pub fn set_up(&mut self, cpu: &mut impl Cpu) -> Result<(), SwitchError> {
        if self.current.is_some() || self.owner.is_some() {
            return Err(SwitchError::Occupied);
        }
        self.shadows = Shadows::default();
        self.write_invariants(cpu);
        Ok(())
    }

    /// Writes what is so whenever no vCPU is on the CPU.
    fn write_invariants(&mut self, cpu: &mut impl Cpu) {
        self.take_off_tables(cpu);
        if self.machine.method == SaveMethod::Xsaves {
            self.shadows.xss.update(self.machine.xss, |xss| cpu.wrmsr(MsrWrite::new(Msr::Xss, xss.bits())));
        }
        self.clear_xfd(cpu);
        if let Some(own) = self.own.pl0_ssp {
            self.shadows.pl0_ssp.update(own, |ssp| cpu.wrmsr(MsrWrite::new(Msr::Pl0Ssp, ssp)));
        }
        self.write_own(cpu, Occupancy::Idle);
    }

    /// Returns the vCPU that is on the CPU.
    #[must_use]
    pub fn current(&self) -> Option<VcpuName> {
        self.current.map(|current| current.name)
    }

    /// Takes `from` off the CPU and puts `to` on it, all but extended state: that is moved by [`Switcher::enter`].
    ///
    /// `from` is `None` if no vCPU is on the CPU. A vCPU that is on it already needs no switch.
    ///
    /// # Errors
    ///
    /// Refuses, before the first write, a `from` that is not here and a `to` that is elsewhere.
    pub fn switch(
        &mut self,
        cpu: &mut impl Cpu,
        from: Option<&mut Vcpu>,
        to: &mut Vcpu,
    ) -> Result<Switched, SwitchError> {
        self.check_current(from.as_deref())?;
        if to.kind() == Kind::Pv32 && self.own.pl0_ssp.is_some() {
            return Err(SwitchError::Pv32UnderShadowStacks);
        }
        to.residence.claim(self.own.tables.cpu())?;

        let occupancy = to.kind().occupancy(self.machine.virtualisation);
        let cr4 = self.cr4_of(to);
        if let Some(from) = from {
            self.leave(cpu, from, cr4);
        }
        self.current = Some(Current { name: to.name(), occupancy, has_run: false });

        self.write_own(cpu, occupancy);
        self.write_vcpus(cpu, occupancy, to);
        self.put_on_tables(cpu, to);
        self.shadows.cr4.update(cr4, |cr4| cpu.write_cr4(cr4));
        let switched = self.put_on_segments(cpu, to);
        self.put_on_debug(cpu, to);
        self.show(cpu, to);
        self.separate_predictions(cpu);
        Ok(switched)
    }

    fn check_current(&self, from: Option<&Vcpu>) -> Result<(), SwitchError> {
        let current = self.current();
        if current == from.map(Vcpu::name) { Ok(()) } else { Err(SwitchError::NotCurrent { current }) }
    }

    /// Writes the registers that are this CPU's own while `occupancy` runs.
    pub(crate) fn write_own(&mut self, cpu: &mut impl Cpu, occupancy: Occupancy) {
        let own = self.own.registers;
        for register in self.registers(OWN, occupancy).iter() {
            self.write(cpu, register, own.get(register));
        }
    }

    /// Writes the registers that are the vCPU's, but for those that follow segment loads.
    fn write_vcpus(&mut self, cpu: &mut impl Cpu, occupancy: Occupancy, to: &Vcpu) {
        let follows_segments = RegisterSet::EMPTY.with(Register::FsBase).with(Register::GsBase);
        for register in self.registers(VCPUS, occupancy).minus(follows_segments).iter() {
            self.write(cpu, register, to.registers.get(register));
        }
    }

    /// Takes the value that a guest or its hypervisor gives to a register of `vcpu`, whether the vCPU is on this CPU or in
    /// memory.
    pub fn write_register(&mut self, cpu: &mut impl Cpu, vcpu: &mut Vcpu, register: Register, value: u64) {
        vcpu.registers.set(register, value);
        let Some(current) = self.current.filter(|current| current.name == vcpu.name()) else { return };
        let is_here = self.registers(VCPUS, current.occupancy).contains(register);
        if is_here {
            self.write(cpu, register, value);
        }
    }

    #[inline]
    pub(crate) fn write(&mut self, cpu: &mut impl Cpu, register: Register, value: u64) {
        let msr = Msr::Switched(register);
        self.shadows.registers[register.index()].update(value, |value| cpu.wrmsr(MsrWrite::new(msr, value)));
    }

    /// Returns the registers that the CPU has, of those in a row of `sets`.
    #[inline]
    pub(crate) fn registers(&self, sets: [RegisterSet; 4], occupancy: Occupancy) -> RegisterSet {
        sets[occupancy as usize].intersection(self.machine.registers)
    }

    /// Keeps the arriving vCPU from being steered by the one before it.
    ///
    /// Every vCPU that is put on a CPU gets its barrier, the one that was the last to be there too: while it was elsewhere, the
    /// guest may have separated its tasks there with barriers of its own, which did nothing here (XSA-479). Only a vCPU that
    /// never left, over idle time, needs none; for it there is no switch.
    fn separate_predictions(&mut self, cpu: &mut impl Cpu) {
        const IBPB: u64 = 1;
        if self.machine.has_ibpb {
            cpu.wrmsr(MsrWrite::new(Msr::PredCmd, IBPB));
        }
    }
}

/// The registers that hold the vCPU's value, by occupancy.
pub(crate) const VCPUS: [RegisterSet; 4] = by_occupancy(Content::Vcpu, Content::Live);
/// The registers that the guest changes without an exit, by occupancy.
pub(crate) const LIVE: [RegisterSet; 4] = by_occupancy(Content::Live, Content::Live);
/// The registers that hold the CPU's own value, by occupancy.
pub(crate) const OWN: [RegisterSet; 4] = by_occupancy(Content::Own, Content::Own);
/// The registers that hold the CPU's own value after a guest has run, by occupancy.
pub(crate) const CARRIED: [RegisterSet; 4] = by_occupancy(Content::Carried, Content::Carried);

const fn by_occupancy(one: Content, other: Content) -> [RegisterSet; 4] {
    let mut sets = [RegisterSet::EMPTY; 4];
    let mut at = 0;
    while at < sets.len() {
        let occupancy = Occupancy::ALL[at];
        sets[at] = RegisterSet::with_content(one, occupancy).union(RegisterSet::with_content(other, occupancy));
        at += 1;
    }
    sets
}
