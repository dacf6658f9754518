//! What the CPUs of a machine have.

use selfsame_cpuid::{FaultingControl, Leaves, MASKING_MSRS, MaskingMsr, Vendor};
use selfsame_xstate::{ComponentSet, Geometry};

use alloc::vec::Vec;

/// Hardware virtualisation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Virtualisation {
    /// Intel's, with a VMCS.
    Vmx,
    /// AMD's, with a VMCB.
    Svm,
}

/// What an #NM by XFD does to IA32_XFD_ERR: the manual allows both readings, so switch code has to live with both.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum XfdErrUpdate {
    /// The components are added to what is there.
    #[default]
    Added,
    /// The components replace what is there.
    Loaded,
}

/// What every CPU of a machine has, read from its CPUID answers.
///
/// ```
/// use selfsame_cpuid::{Leaves, Regs};
/// use selfsame_machine::{Hardware, Virtualisation};
///
/// let mut leaves = Leaves::new();
/// leaves.set(0, 0, Regs::new(0xD, 0x756e_6547, 0x6c65_746e, 0x4965_6e69))?;
/// let hardware = Hardware::of(&leaves);
/// assert_eq!(hardware.virtualisation(), Virtualisation::Vmx);
/// assert!(!hardware.has_xsave(), "the CPU has FXSAVE only");
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hardware {
    leaves: Leaves,
    geometry: Geometry,
    virtualisation: Virtualisation,
    xfd_err_update: XfdErrUpdate,
    features: u32,
    xfd: ComponentSet,
    faulting: Option<FaultingControl>,
    masks: Vec<MaskingMsr>,
}

/// The bits of [`Hardware::features`], each with the place it is read from.
macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident: $leaf:literal, $subleaf:literal, $register:ident, $bit:literal;)*) => {
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "the variants are the names of the methods")]
        enum Bit { $($name),* }

        fn read_features(leaves: &Leaves) -> u32 {
            0 $(| (leaves.get($leaf, $subleaf).$register >> $bit & 1) << Bit::$name as u32)*
        }

        impl Hardware {
            $($(#[doc = $doc])*
            #[must_use]
            pub const fn $name(&self) -> bool {
                self.features >> Bit::$name as u32 & 1 == 1
            })*
        }
    };
}

features! {
    /// Whether there are SYSENTER and its MSRs.
    has_sysenter: 0x1, 0, edx, 11;
    /// Whether there is RDPID.
    has_rdpid: 0x7, 0, ecx, 22;
    /// Whether there is IA32_PKRS.
    has_pks: 0x7, 0, ecx, 31;
    /// Whether cache use is monitored.
    has_cqm: 0x7, 0, ebx, 12;
    /// Whether cache can be allocated.
    has_rdt_a: 0x7, 0, ebx, 15;
    /// Whether Intel's IA32_SPEC_CTRL is there.
    has_intel_spec_ctrl: 0x7, 0, edx, 26;
    /// Whether AMD has IBRS in IA32_SPEC_CTRL.
    has_amd_ibrs: 0x8000_0008, 0, ebx, 14;
    /// Whether AMD has STIBP in IA32_SPEC_CTRL.
    has_amd_stibp: 0x8000_0008, 0, ebx, 15;
    /// Whether AMD has SSBD in IA32_SPEC_CTRL.
    has_amd_ssbd: 0x8000_0008, 0, ebx, 24;
    /// Whether there are XSAVE, XRSTOR and XCR0.
    has_xsave: 0x1, 0, ecx, 26;
    /// Whether there is XSAVEOPT.
    has_xsaveopt: 0xD, 1, eax, 0;
    /// Whether there are XSAVES, XRSTORS and IA32_XSS.
    has_xsaves: 0xD, 1, eax, 3;
    /// Whether there are IA32_XFD and IA32_XFD_ERR.
    has_xfd: 0xD, 1, eax, 4;
    /// Whether RDFSBASE and its kin can be enabled in CR4.
    has_fsgsbase: 0x7, 0, ebx, 0;
    /// Whether protection keys for user pages can be enabled in CR4.
    has_pku: 0x7, 0, ecx, 3;
    /// Whether shadow stacks can be enabled in CR4.
    has_cet_ss: 0x7, 0, ecx, 7;
    /// Whether there is IA32_TSC_AUX.
    has_rdtscp: 0x8000_0001, 0, edx, 27;
    /// Whether there are the address masks of breakpoints (AMD).
    has_dbext: 0x8000_0001, 0, ecx, 26;
    /// Whether FXRSTOR and its kin always restore the x87 instruction and data pointers (AMD; Intel's always do).
    has_rstr_fp_err_ptrs: 0x8000_0008, 0, ebx, 2;
}

impl Hardware {
    /// Reads what a CPU has from what it answers to CPUID, with MSR 0xCE where it could be read.
    ///
    /// AMD and Hygon CPUs are taken for machines with SVM, all others for machines with VMX.
    #[must_use]
    pub fn of(leaves: &Leaves) -> Self {
        let features = read_features(leaves);
        let is_amd = leaves.vendor().is_amd_like();
        let geometry = Geometry::read(|subleaf| match features >> Bit::has_xsave as u32 & 1 {
            0 => [0; 4],
            _ => leaves.get(0xD, subleaf).to_array(),
        });
        let covered = |&component: &_| geometry.row(component).is_some_and(|row| row.has_xfd);
        Self {
            virtualisation: if is_amd { Virtualisation::Svm } else { Virtualisation::Vmx },
            xfd_err_update: XfdErrUpdate::default(),
            features,
            xfd: geometry.user().iter().filter(covered).collect(),
            faulting: FaultingControl::expected(leaves),
            masks: MASKING_MSRS.iter().filter(|row| row.is_expected(leaves)).copied().collect(),
            geometry,
            leaves: leaves.clone(),
        }
    }

    /// The same hardware with another reading of the manual.
    #[must_use]
    pub fn with_xfd_err_update(self, xfd_err_update: XfdErrUpdate) -> Self {
        Self { xfd_err_update, ..self }
    }

    /// What the CPUs answer to CPUID where nothing masks it.
    #[must_use]
    pub const fn leaves(&self) -> &Leaves {
        &self.leaves
    }

    /// Where the CPUs keep their components.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Which virtualisation the CPUs have.
    #[must_use]
    pub const fn virtualisation(&self) -> Virtualisation {
        self.virtualisation
    }

    /// What an #NM by XFD does to IA32_XFD_ERR.
    #[must_use]
    pub const fn xfd_err_update(&self) -> XfdErrUpdate {
        self.xfd_err_update
    }

    /// The components that can be enabled in XCR0.
    #[must_use]
    pub const fn user(&self) -> ComponentSet {
        self.geometry.user()
    }

    /// The components that can be enabled in IA32_XSS.
    #[must_use]
    pub const fn supervisor(&self) -> ComponentSet {
        if self.has_xsaves() { self.geometry.supervisor() } else { ComponentSet::EMPTY }
    }

    /// The components that XFD covers.
    #[must_use]
    pub const fn xfd(&self) -> ComponentSet {
        if self.has_xfd() { self.xfd } else { ComponentSet::EMPTY }
    }

    /// How CPUID faulting is switched on, if the CPUs have it.
    #[must_use]
    pub const fn faulting(&self) -> Option<FaultingControl> {
        self.faulting
    }

    /// The masking MSRs that the CPUs have.
    #[must_use]
    pub fn masks(&self) -> &[MaskingMsr] {
        &self.masks
    }

    /// Whether the x87 pointers are saved and restored only while an unmasked exception is pending (CVE-2006-1056).
    #[must_use]
    pub fn keeps_fp_error_pointers(&self) -> bool {
        self.leaves.vendor().is_amd_like() && !self.has_rstr_fp_err_ptrs()
    }

    /// Whether there is IA32_SPEC_CTRL.
    #[must_use]
    pub const fn has_spec_ctrl(&self) -> bool {
        self.has_intel_spec_ctrl() || self.has_amd_ibrs() || self.has_amd_stibp() || self.has_amd_ssbd()
    }

    /// Whether a null selector clears the base of FS and GS: Intel's CPUs do, AMD's with NullSelectorClearsBase.
    #[must_use]
    pub fn clears_null_base(&self) -> bool {
        !self.leaves.vendor().is_amd_like() || self.leaves.get(0x8000_0021, 0).eax >> 6 & 1 == 1
    }

    /// Who made the CPUs.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.leaves.vendor()
    }
}
