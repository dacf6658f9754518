//! One CPU's switcher: what it knows of the CPU, and the order of a switch.

use selfsame_xstate::{ComponentSet, SaveMethod, Xcr0, Xss};

use crate::register::COUNT;
use crate::residence::StillResident;
use crate::segments::BASES;
use crate::visibility::MAX_MASKS;
use crate::{
    AreaAddress, Content, Cpu, Cr3, Cr4, DomainId, Entry, Gdtr, Ldt, MaskWrites, Msr, MsrWrite, Occupancy, Own,
    Platform, Register, RegisterSet, Registers, Segment, SegmentFault, Selector, Selectors, Shadow, Vcpu, VcpuKind,
    VcpuName, Visibility,
};

/// Takes vCPUs on and off one CPU, with the fewest writes that are correct.
///
/// ```text
/// bring_up ─▶ switch(None, a) ─▶ enter(a) ─▶ …guest… ─▶ exited(a) ─▶ enter(a) ─▶ …
///                                                          │
///                                                          ├─▶ idle: nothing is called, a stays
///                                                          ├─▶ switch(a, b) ─▶ enter(b): the step saves a and loads b
///                                                          └─▶ flush(a): a is wanted elsewhere
/// ```
///
/// *Idle is lazy.* A CPU that has nothing to run keeps its last vCPU as it is; if that one is the next to run, there is
/// nothing to do, and if nobody asks for it, it is taken off when another one comes.
#[derive(Debug)]
pub struct Switcher<'p> {
    pub(crate) platform: &'p Platform,
    pub(crate) own: Own,
    pub(crate) shadows: Shadows,
    /// Whose state, but for extended state, is on the CPU.
    pub(crate) current: Option<Current>,
    /// Whether an HVM guest has exited, and the shadows do not say yet what its exits have put into registers.
    pub(crate) has_unnoted_exit: bool,
    /// Whose extended state is in the registers. It differs from the former between a switch and the entry after it.
    pub(crate) owner: Option<StateOwner>,
    /// What the last entry or flush left to do.
    pub(crate) entry: Entry,
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
    pub(crate) space: Shadow<AddressSpace>,
    pub(crate) cr4: Shadow<Cr4>,
    pub(crate) has_task_switched: Shadow<bool>,
    pub(crate) selectors: [Shadow<Selector>; 4],
    pub(crate) dr: [Shadow<u64>; 4],
    pub(crate) dr_masks: [Shadow<u32>; 4],
    pub(crate) dr6: Shadow<u64>,
    pub(crate) dr7: Shadow<u64>,
    pub(crate) is_faulting: Shadow<bool>,
    pub(crate) cpuid_masks: [Shadow<u64>; MAX_MASKS],
}

impl Shadows {
    fn write_registers(&mut self, cpu: &mut impl Cpu, registers: RegisterSet, values: &Registers) {
        registers.for_each(|register| {
            self.registers[register.index()].update(values.get(register), |value| {
                cpu.wrmsr(MsrWrite::new(Msr::Switched(register), value));
            });
        });
    }
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
    /// Another vCPU is on this CPU, or none.
    #[error("the vcpu is not the one on this cpu")]
    NotCurrent {
        /// The vCPU that is on it.
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
    /// What did not load; null, which always loads, for what did.
    pub(crate) refused: Selectors,
}

impl Switched {
    /// Returns the segments of a PV guest that could not be loaded; they are null, and the guest's failsafe callback is due.
    pub fn faults(&self) -> impl Iterator<Item = SegmentFault> {
        let refused =
            Segment::ALL.into_iter().map(|segment| SegmentFault { segment, selector: self.refused.get(segment) });
        refused.filter(|fault| !fault.selector.is_null())
    }
}

impl<'p> Switcher<'p> {
    /// Sets up a CPU whose registers hold anything.
    pub fn bring_up(platform: &'p Platform, own: Own, cpu: &mut impl Cpu) -> Self {
        let mut switcher = Self {
            platform,
            own,
            shadows: Shadows::default(),
            current: None,
            has_unnoted_exit: false,
            owner: None,
            entry: Entry::default(),
            mask_writes: MaskWrites::default(),
        };
        switcher.write_idle(cpu);
        switcher
    }

    /// Sets the CPU up again after somebody else may have written its registers: sleep (S3), a call of firmware. All that was
    /// known of them is forgotten.
    ///
    /// # Errors
    ///
    /// Refuses while the CPU holds anything of a vCPU: that is flushed *before* the sleep or the call.
    pub fn set_up_again(&mut self, cpu: &mut impl Cpu) -> Result<(), SwitchError> {
        if self.current.is_some() || self.owner.is_some() {
            return Err(SwitchError::Occupied);
        }
        self.shadows = Shadows::default();
        self.write_idle(cpu);
        Ok(())
    }

    /// Writes what is so whenever no vCPU is on the CPU.
    fn write_idle(&mut self, cpu: &mut impl Cpu) {
        self.take_off_tables(cpu);
        self.turn_breakpoints_off(cpu);
        self.write_own(cpu, Occupancy::Idle);
        if self.platform.method == SaveMethod::Xsaves {
            self.shadows.xss.update(self.platform.xss, |xss| cpu.wrmsr(MsrWrite::new(Msr::Xss, xss.bits())));
        }
        self.clear_xfd(cpu);
        self.clear_task_switched(cpu);
        if let Some(own) = self.own_pl0_ssp() {
            cpu.wrmsr(MsrWrite::new(Msr::Pl0Ssp, own));
        }
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
        if to.kind() == VcpuKind::Pv32 && self.own.pl0_ssp.is_some() {
            return Err(SwitchError::Pv32UnderShadowStacks);
        }
        to.residence.claim(self.own.tables.cpu())?;

        let occupancy = to.kind().occupancy(self.platform.virtualisation);
        let cr4 = self.cr4_of(to);
        if let Some(from) = from {
            self.leave(cpu, from, cr4);
        }
        if occupancy == Occupancy::Pv {
            // From one HVM guest to the next nothing of it is looked at.
            self.note_exits();
        }
        let before = self.current.replace(Current { name: to.name(), occupancy, has_run: false });

        // While the same kind is on the CPU, nobody touches what is the CPU's own.
        if before.is_none_or(|before| before.occupancy != occupancy) {
            self.write_own(cpu, occupancy);
        }
        self.write_vcpus(cpu, to, VCPUS.at(occupancy).minus(BASES));
        self.put_on_tables(cpu, to);
        self.shadows.cr4.update(cr4, |cr4| cpu.write_cr4(cr4));
        let switched = self.put_on_segments(cpu, to);
        self.put_on_breakpoints(cpu, to);
        self.show(cpu, to);
        if occupancy == Occupancy::Pv && matches!(self.platform.visibility, Visibility::Masks(_)) {
            self.mask_writes.switches += 1;
        }
        self.separate_predictions(cpu);
        Ok(switched)
    }

    /// Takes over what the hypervisor has changed of the vCPU that is on the CPU, on its guest's behalf: page tables, CR4, LDT,
    /// a PV guest's breakpoints, what CPUID shows. What has not changed is not written.
    ///
    /// # Errors
    ///
    /// Refuses a vCPU that is not on this CPU.
    pub fn refresh(&mut self, cpu: &mut impl Cpu, vcpu: &mut Vcpu) -> Result<(), SwitchError> {
        self.check_current(Some(vcpu))?;
        let cr4 = self.cr4_of(vcpu);
        self.put_on_tables(cpu, vcpu);
        self.shadows.cr4.update(cr4, |cr4| cpu.write_cr4(cr4));
        if vcpu.kind() != VcpuKind::Hvm {
            self.put_on_breakpoints(cpu, vcpu);
        }
        self.show(cpu, vcpu);
        Ok(())
    }

    /// Takes the value that a guest, or the hypervisor on its behalf, gives to a register of [`REGISTERS`](crate::REGISTERS),
    /// whether the vCPU is on this CPU or in memory.
    pub fn write_register(&mut self, cpu: &mut impl Cpu, vcpu: &mut Vcpu, register: Register, value: u64) {
        vcpu.registers.set(register, value);
        if let Some(current) = self.current.filter(|current| current.name == vcpu.name()) {
            let held = VCPUS.at(current.occupancy);
            self.write_vcpus(cpu, vcpu, held.intersection(RegisterSet::EMPTY.with(register)));
        }
    }

    /// Checks that `vcpu` is the one that is on this CPU, and not a later one of the same name.
    #[inline]
    pub(crate) fn check_current(&self, vcpu: Option<&Vcpu>) -> Result<(), SwitchError> {
        let is_here = |vcpu: &Vcpu| vcpu.residence.cpu() == Some(self.own.tables.cpu());
        match (&self.current, vcpu) {
            (None, None) => Ok(()),
            (Some(current), Some(vcpu)) if current.name == vcpu.name() && is_here(vcpu) => Ok(()),
            _ => Err(SwitchError::NotCurrent { current: self.current() }),
        }
    }

    /// Writes the registers that are this CPU's own while `occupancy` runs.
    pub(crate) fn write_own(&mut self, cpu: &mut impl Cpu, occupancy: Occupancy) {
        let registers = OWN.at(occupancy).intersection(self.platform.registers);
        self.shadows.write_registers(cpu, registers, &self.own.registers);
    }

    /// Writes the vCPU's values of `registers`, as far as the CPU has them.
    pub(crate) fn write_vcpus(&mut self, cpu: &mut impl Cpu, vcpu: &Vcpu, registers: RegisterSet) {
        self.shadows.write_registers(cpu, registers.intersection(self.platform.registers), &vcpu.registers);
    }

    /// Keeps the arriving vCPU from being steered by the one before it.
    ///
    /// Every vCPU that is put on a CPU gets its barrier, the one that was the last to be there too: while it was elsewhere, the
    /// guest may have separated its tasks there with barriers of its own, which did nothing here (XSA-479). Only a vCPU that
    /// never left, over idle time, needs none; for it there is no switch.
    fn separate_predictions(&self, cpu: &mut impl Cpu) {
        const IBPB: u64 = 1;
        if self.platform.has_ibpb {
            cpu.wrmsr(MsrWrite::new(Msr::PredCmd, IBPB));
        }
    }
}

/// A set of registers for each occupancy.
#[derive(Clone, Copy)]
pub(crate) struct ByOccupancy {
    sets: [RegisterSet; 4],
    any: RegisterSet,
}

/// The registers that hold the vCPU's value.
const VCPUS: ByOccupancy = ByOccupancy::of(&[Content::Vcpu, Content::Live]);
/// The registers that the guest changes without an exit.
pub(crate) const LIVE: ByOccupancy = ByOccupancy::of(&[Content::Live]);
/// The registers that hold the CPU's own value.
const OWN: ByOccupancy = ByOccupancy::of(&[Content::Own]);
/// The registers that hold the CPU's own value after a guest has run.
pub(crate) const CARRIED: ByOccupancy = ByOccupancy::of(&[Content::Carried]);

impl ByOccupancy {
    /// The registers that hold any of `contents`.
    const fn of(contents: &[Content]) -> Self {
        let (mut sets, mut any) = ([RegisterSet::EMPTY; 4], RegisterSet::EMPTY);
        let mut at = 0;
        while at < sets.len() {
            let mut rest = contents;
            while let [content, tail @ ..] = rest {
                sets[at] = sets[at].union(RegisterSet::with_content(*content, Occupancy::ALL[at]));
                rest = tail;
            }
            any = any.union(sets[at]);
            at += 1;
        }
        Self { sets, any }
    }

    /// Returns the registers of one occupancy.
    #[inline(always)]
    pub(crate) const fn at(self, occupancy: Occupancy) -> RegisterSet {
        // The compiler cannot see what the table holds, but that nothing is to be done for what none of its sets has.
        self.sets[occupancy as usize].intersection(self.any)
    }
}
