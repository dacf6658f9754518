//! What a switch knows of a vCPU.

use crate::gdt::Bitness;
use crate::{
    Cr3, DebugState, Extended, L1Entry, Occupancy, Registers, Residence, Selectors, Shadow, Shown, VcpuName,
    Virtualisation,
};

/// The kind of a vCPU. Idle is no vCPU.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VcpuKind {
    /// A 64-bit guest whose kernel runs in ring 3.
    Pv64,
    /// A 32-bit guest whose kernel runs in ring 1. A hypervisor with shadow stacks has none: ring 1 is supervisor mode, and
    /// would need shadow stacks too.
    Pv32,
    /// A guest with all rings, by VMX or SVM.
    Hvm,
}

impl VcpuKind {
    /// Returns the column of [`REGISTERS`](crate::REGISTERS).
    #[must_use]
    #[inline]
    pub const fn occupancy(self, virtualisation: Virtualisation) -> Occupancy {
        match (self, virtualisation) {
            (Self::Pv64 | Self::Pv32, _) => Occupancy::Pv,
            (Self::Hvm, Virtualisation::Vmx) => Occupancy::Vmx,
            (Self::Hvm, Virtualisation::Svm) => Occupancy::Svm,
        }
    }

    /// Returns which of the hypervisor's pages goes into the tables of such a vCPU; HVM vCPUs have no tables of their own.
    #[must_use]
    pub const fn bitness(self) -> Option<Bitness> {
        match self {
            Self::Pv64 => Some(Bitness::Native),
            Self::Pv32 => Some(Bitness::Compat),
            Self::Hvm => None,
        }
    }
}

/// A vCPU, as far as switches go: what its registers hold while it is not on a CPU.
#[derive(Debug)]
pub struct Vcpu {
    name: VcpuName,
    kind: VcpuKind,
    /// Its extended state.
    pub extended: Extended,
    /// The registers of [`REGISTERS`](crate::REGISTERS). While it is on a CPU, write them with
    /// [`Switcher::write_register`](crate::Switcher::write_register).
    pub registers: Registers,
    /// Its page tables, or those that the hypervisor runs on while it is loaded.
    pub cr3: Cr3,
    /// A PV guest's virtual CR4.
    pub guest_cr4: u64,
    /// Whether a PV guest wants #NM on the next use of extended state.
    pub has_task_switched: bool,
    /// A PV guest's DS, ES, FS and GS.
    pub selectors: Selectors,
    /// How many descriptors a PV guest's LDT has.
    pub ldt_descriptors: u16,
    /// Its debug registers.
    pub debug: DebugState,
    /// Whether an HVM guest's MOVs to and from debug registers do not exit.
    pub(crate) has_debug_access: bool,
    /// What CPUID shows it.
    pub shown: Shown,
    /// Where its state is.
    pub residence: Residence,
    /// What slot 14 of its table maps.
    pub(crate) slot: Shadow<L1Entry>,
}

impl Vcpu {
    /// Makes a vCPU in its state after RESET, in memory.
    #[must_use]
    pub const fn new(name: VcpuName, kind: VcpuKind, extended: Extended, cr3: Cr3, shown: Shown) -> Self {
        Self {
            name,
            kind,
            extended,
            registers: Registers::RESET,
            cr3,
            guest_cr4: 0,
            has_task_switched: false,
            selectors: Selectors::NULL,
            ldt_descriptors: 0,
            debug: DebugState::RESET,
            has_debug_access: false,
            shown,
            residence: Residence::in_memory(),
            slot: Shadow::UNKNOWN,
        }
    }

    /// The same, with debug registers that the guest reads and writes without an exit: an HVM vCPU that comes from elsewhere
    /// with breakpoints. Others get them from [`Switcher::grant_debug_access`](crate::Switcher::grant_debug_access).
    #[must_use]
    pub fn with_debug(self, debug: DebugState) -> Self {
        Self { debug, has_debug_access: matches!(self.kind, VcpuKind::Hvm), ..self }
    }

    /// Tells whether an HVM guest's MOVs to and from debug registers do not exit.
    #[must_use]
    pub const fn has_debug_access(&self) -> bool {
        self.has_debug_access
    }

    /// Returns who it is.
    #[must_use]
    #[inline]
    pub const fn name(&self) -> VcpuName {
        self.name
    }

    /// Returns its kind.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> VcpuKind {
        self.kind
    }
}
