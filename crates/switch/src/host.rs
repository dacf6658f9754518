//! What a switch knows of the machine and of each of its CPUs.

use selfsame_cpuid::Leaves;
use selfsame_xstate::{Component, ComponentSet, Configurations, SaveMethod, Xcr0, Xss};

use crate::register::has_feature;
use crate::{CpuTables, Cr3, Cr4, PerDomainArea, RegisterSet, Registers, Visibility};

/// How HVM guests run.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Virtualisation {
    /// Intel's.
    Vmx,
    /// AMD's.
    Svm,
}

/// The machine, as far as switches go. All of its CPUs are alike.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// How HVM guests run.
    pub virtualisation: Virtualisation,
    /// What saves and loads extended state.
    pub method: SaveMethod,
    /// Every user component.
    pub xcr0: Xcr0,
    /// Every supervisor component that is enabled, those with buffers of their own included.
    pub xss: Xss,
    /// The supervisor components that save areas hold.
    pub supervisor: ComponentSet,
    /// Whether the CPUs have IA32_XFD.
    pub has_xfd: bool,
    /// Whether loading x87 always loads FIP, FDP and FOP: every Intel CPU, and AMD's with XSAVEERPTR.
    pub loads_fp_pointers: bool,
    /// Whether a null selector clears the base: every Intel CPU, and AMD's since Zen 2.
    pub clears_null_base: bool,
    /// Whether breakpoints have address masks: AMD's DBEXT.
    pub has_dr_masks: bool,
    /// Whether there is IBPB, and it is wanted between vCPUs.
    pub has_ibpb: bool,
    /// Which of the registers in [`REGISTERS`](crate::REGISTERS) there are.
    pub registers: RegisterSet,
    /// What decides what CPUID shows PV guests.
    pub visibility: Visibility,
    /// Where domains have their own mappings.
    pub per_domain: PerDomainArea,
}

impl Platform {
    /// Describes the machine whose CPUs answer `raw`.
    #[must_use]
    pub fn new(
        raw: &Leaves,
        virtualisation: Virtualisation,
        configurations: &Configurations<'_>,
        visibility: Visibility,
        per_domain: PerDomainArea,
    ) -> Self {
        let is_amd = raw.vendor().is_amd_like();
        Self {
            virtualisation,
            method: configurations.method(),
            xcr0: configurations.host_xcr0(),
            xss: configurations.host_xss(),
            supervisor: configurations.supervisor(),
            has_xfd: has_feature(raw, "xfd"),
            loads_fp_pointers: !is_amd || has_feature(raw, "xsaveerptr"),
            clears_null_base: !is_amd || has_feature(raw, "null-sel-clr-base"),
            has_dr_masks: is_amd && has_feature(raw, "bpext"),
            has_ibpb: has_feature(raw, "ibpb") || has_feature(raw, "spec-ctrl"),
            registers: RegisterSet::of(raw),
            visibility,
            per_domain,
        }
    }

    /// Tells whether extended state includes shadow stacks of ring 0.
    #[must_use]
    pub const fn has_supervisor_shadow_stacks(&self) -> bool {
        self.supervisor.contains(Component::CET_S)
    }
}

/// What is one CPU's own.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// Its descriptors.
    pub tables: CpuTables,
    /// The page tables of idle.
    pub cr3: Cr3,
    /// CR4 in the hypervisor.
    pub cr4: Cr4,
    /// The hypervisor's shadow stack for entries from ring 3, where it has one.
    pub pl0_ssp: Option<u64>,
    /// The hypervisor's values of the registers in [`REGISTERS`](crate::REGISTERS). The way out of an HVM guest brings those
    /// that are carried: from the host-state area of every VMCS, or by VMLOAD. DS, ES, FS and GS are null there.
    pub registers: Registers,
    /// The bits beside the one that [`Visibility::Faulting`] switches in its register, read once at bring-up.
    pub faulting_register: u64,
}
