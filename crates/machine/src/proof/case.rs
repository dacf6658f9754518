//! Every transition of a CPU from one occupant to another, and which of them there can be.

use crate::Virtualisation;
use crate::proof::{GuestKind, GuestShape, Levelling, MachineShape, SaveInstructions};

/// Who has a feature.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reach {
    /// Nobody: the CPUs lack it.
    Absent,
    /// The machine alone.
    Host,
    /// The vCPU that leaves.
    From,
    /// The vCPU that arrives.
    To,
    /// Both vCPUs.
    Both,
}

impl Reach {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Absent, Self::Host, Self::From, Self::To, Self::Both];

    const fn has_machine(self) -> bool {
        !matches!(self, Self::Absent)
    }

    const fn has_from(self) -> bool {
        matches!(self, Self::From | Self::Both)
    }

    const fn has_to(self) -> bool {
        matches!(self, Self::To | Self::Both)
    }
}

/// One transition: the machine, who leaves, who arrives, and what they have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Case {
    /// Intel's CPUs or AMD's.
    pub virtualisation: Virtualisation,
    /// Who leaves; `None` is idle.
    pub from: Option<GuestKind>,
    /// Who arrives; `None` is idle.
    pub to: Option<GuestKind>,
    /// Whether both have the same number in their domains.
    pub has_same_id: bool,
    /// Whether the arriving vCPU was on this CPU the last time.
    pub is_same_cpu: bool,
    /// What saves and restores.
    pub save: SaveInstructions,
    /// What levels.
    pub levelling: Levelling,
    /// Who has AMX.
    pub amx: Reach,
    /// Who has shadow stacks.
    pub cet: Reach,
    /// Who has protection keys for user pages.
    pub pku: Reach,
}

/// Why there can be no such transition.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
#[non_exhaustive]
pub enum Illegal {
    /// Idle is no vCPU: from idle to idle nothing changes.
    #[error("from idle to idle nothing changes")]
    Nothing,
    /// Idle has no number and belongs to its CPU: it is met once, with another number and on its CPU.
    #[error("idle has no number, and belongs to its CPU")]
    IdleIsNobody,
    /// Components beyond x87 and SSE need XSAVE.
    #[error("AMX, CET and PKU are components that only XSAVE saves")]
    NeedsXsave,
    /// Supervisor components need XSAVES.
    #[error("CET is supervisor state, which only XSAVES saves")]
    NeedsXsaves,
    /// Only HVM guests have supervisor shadow stacks and protection keys.
    #[error("a PV guest has neither shadow stacks nor protection keys")]
    NeedsHvm,
    /// The kernel of a 32-bit PV guest is in ring 1, which is supervisor mode: with shadow stacks there, it would need its own.
    #[error("a hypervisor with shadow stacks has no 32-bit PV guests")]
    Ring1UnderShadowStacks,
    /// Idle has no features.
    #[error("idle has no features")]
    IdleHasNoFeatures,
}

impl Case {
    /// Every combination, legal or not.
    pub fn all() -> impl Iterator<Item = Self> {
        let occupants = [None, Some(GuestKind::Pv64), Some(GuestKind::Pv32), Some(GuestKind::Hvm)];
        let radices = [2, 4, 4, 2, 2, 3, 3, 5, 5, 5];
        let count: usize = radices.iter().product();
        (0..count).filter_map(move |number| {
            let mut rest = number;
            let [virtualisation, from, to, id, cpu, save, levelling, amx, cet, pku] = radices.map(|radix| {
                let digit = rest % radix;
                rest /= radix;
                digit
            });
            Some(Self {
                virtualisation: *[Virtualisation::Vmx, Virtualisation::Svm].get(virtualisation)?,
                from: *occupants.get(from)?,
                to: *occupants.get(to)?,
                has_same_id: id == 1,
                is_same_cpu: cpu == 1,
                save: *[SaveInstructions::Xsaves, SaveInstructions::Xsave, SaveInstructions::Fxsave].get(save)?,
                levelling: *[Levelling::Faulting, Levelling::Masks, Levelling::Neither].get(levelling)?,
                amx: *Reach::ALL.get(amx)?,
                cet: *Reach::ALL.get(cet)?,
                pku: *Reach::ALL.get(pku)?,
            })
        })
    }

    /// Tells why there can be no such transition, if there cannot.
    #[must_use]
    pub fn illegality(&self) -> Option<Illegal> {
        let features = [self.amx, self.cet, self.pku];
        let is_with_idle = self.from.is_none() || self.to.is_none();
        let lacks = |occupant: Option<GuestKind>, is_enough: fn(GuestKind) -> bool| !occupant.is_some_and(is_enough);
        let is_given_to = |reach: Reach, is_enough: fn(GuestKind) -> bool| {
            reach.has_from() && lacks(self.from, is_enough) || reach.has_to() && lacks(self.to, is_enough)
        };
        let is_pv32 = |occupant| occupant == Some(GuestKind::Pv32);
        if self.from.is_none() && self.to.is_none() {
            Some(Illegal::Nothing)
        } else if is_with_idle && (self.has_same_id || !self.is_same_cpu && self.to.is_none()) {
            Some(Illegal::IdleIsNobody)
        } else if self.save == SaveInstructions::Fxsave && features.iter().any(|reach| reach.has_machine()) {
            Some(Illegal::NeedsXsave)
        } else if self.save != SaveInstructions::Xsaves && self.cet.has_machine() {
            Some(Illegal::NeedsXsaves)
        } else if features.iter().any(|reach| is_given_to(*reach, |_| true)) {
            Some(Illegal::IdleHasNoFeatures)
        } else if [self.cet, self.pku].iter().any(|reach| is_given_to(*reach, |kind| kind == GuestKind::Hvm)) {
            Some(Illegal::NeedsHvm)
        } else if self.cet.has_machine() && (is_pv32(self.from) || is_pv32(self.to)) {
            Some(Illegal::Ring1UnderShadowStacks)
        } else {
            None
        }
    }

    /// The machine of the transition.
    #[must_use]
    pub const fn machine(&self) -> MachineShape {
        MachineShape {
            virtualisation: self.virtualisation,
            save: self.save,
            levelling: self.levelling,
            has_amx: self.amx.has_machine(),
            has_cet: self.cet.has_machine(),
            has_pku: self.pku.has_machine(),
        }
    }

    /// The vCPU that leaves, if it is not idle: number 0 of domain 0.
    #[must_use]
    pub fn leaving(&self) -> Option<GuestShape> {
        Some(GuestShape {
            has_amx: self.amx.has_from(),
            has_cet: self.cet.has_from(),
            has_pku: self.pku.has_from(),
            has_dbext: true,
            writes_xfd: true,
            ..GuestShape::plain(self.from?, 0, 0)
        })
    }

    /// The vCPU that arrives, if it is not idle: of domain 1.
    #[must_use]
    pub fn arriving(&self) -> Option<GuestShape> {
        Some(GuestShape {
            has_amx: self.amx.has_to(),
            has_cet: self.cet.has_to(),
            has_pku: self.pku.has_to(),
            ..GuestShape::plain(self.to?, 1, if self.has_same_id { 0 } else { 1 })
        })
    }
}
