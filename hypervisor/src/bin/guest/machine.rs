//! The machine as this guest sees it: what CPUID shows, and all of it switched on.
#![expect(unsafe_code, reason = "UNSAFETY: switches on what CPUID shows, and looks at what FXSAVE writes")]

use selfsame_cpuid::{FEATURES, Feature, Leaves, feature, walk};
use selfsame_hypervisor::{Fault, attempt, msr};
use selfsame_x86::{cpuid, fxsave};
use selfsame_xstate::{Component, ComponentSet, Geometry, LinearAddresses, MxcsrMask, SaveMethod, Xss};
use thiserror::Error;

use crate::contents::cet_bits;
use crate::control::CONTROLS;
use crate::kept::Kept;
use crate::parameters::Parameters;

/// The machine, with everything on that it shows.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// CPUID, as far as policies hold it.
    pub(crate) leaves: Leaves,
    pub(crate) geometry: Geometry,
    pub(crate) method: SaveMethod,
    /// Everything that XCR0 can have, but for PKRU if it is to stay ungated; x87 and SSE where there is no XSAVE.
    pub(crate) xcr0: ComponentSet,
    /// Everything that IA32_XSS can have.
    pub(crate) xss: ComponentSet,
    /// Whether PKRU is used though XCR0 lacks it: CR4.PKE alone brings it.
    pub(crate) has_ungated_pkru: bool,
    pub(crate) mxcsr_mask: MxcsrMask,
    pub(crate) addresses: LinearAddresses,
    pub(crate) kept: Kept,
    /// The bits of IA32_U_CET and IA32_S_CET.
    pub(crate) cet_bits: u64,
    /// Whether it is QEMU's interpreter, by what it says or was told.
    pub(crate) is_tcg: bool,
}

/// What CPUID shows could not be switched on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[error("{what} faults with {fault}, though CPUID shows what it is for")]
pub(crate) struct NotSwitchedOn {
    what: &'static str,
    fault: Fault,
}

impl Machine {
    /// Asks CPUID what there is, and switches all of it on: CR4, XCR0 and IA32_XSS.
    ///
    /// # Errors
    ///
    /// The first thing that faults.
    pub(crate) fn switched_on(parameters: &Parameters) -> Result<Self, NotSwitchedOn> {
        let mut leaves = Leaves::new();
        walk(cpuid, |leaf, subleaf, regs| {
            // What no policy holds is of no use here.
            let _ = leaves.set(leaf, subleaf.unwrap_or(0), regs);
        });
        let geometry = leaves.geometry();
        let method = SaveMethod::of(&geometry);
        let mut xcr0 = if method == SaveMethod::Fxsave { ComponentSet::LEGACY } else { geometry.user() };
        let has_ungated_pkru = parameters.has_ungated_pkru && xcr0.contains(Component::PKRU);
        if has_ungated_pkru {
            xcr0 = xcr0.without(Component::PKRU);
        }
        let xss = if method == SaveMethod::Xsaves { geometry.supervisor() } else { ComponentSet::EMPTY };
        let mut machine = Self {
            geometry,
            method,
            xcr0,
            xss,
            has_ungated_pkru,
            mxcsr_mask: mxcsr_mask(),
            addresses: LinearAddresses::Bits48,
            leaves,
            kept: Kept { x87_pointers: false, tile_data: false },
            cet_bits: 0,
            is_tcg: parameters.is_on_qemu || is_tcg(),
        };
        machine.cet_bits = cet_bits(machine.has("shstk"), machine.has("ibt"));
        machine.switch_on()?;
        machine.kept = Kept::tried(&machine.geometry);
        Ok(machine)
    }

    /// Whether there is the feature with this canonical name: CPUID shows it, or the components that come with it and
    /// nothing else that they could come with. Bochs's AMD models show of what is added to them the components alone.
    pub(crate) fn has(&self, name: &str) -> bool {
        let Some(&Feature { place, components, .. }) = feature(name) else { return false };
        let comes_unnamed = || {
            let mut reasons = FEATURES.iter().filter(|row| row.components == components);
            !components.is_subset_of(ComponentSet::LEGACY)
                && components.is_subset_of(self.components())
                && !reasons.any(|row| self.leaves.is_set(row.place))
        };
        self.leaves.is_set(place) || comes_unnamed()
    }

    /// Whether there is any of the features.
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// Whether there are XSAVE and XCR0.
    pub(crate) fn has_xsave(&self) -> bool {
        self.method != SaveMethod::Fxsave
    }

    /// Whether there are XSAVES and IA32_XSS.
    pub(crate) fn has_xsaves(&self) -> bool {
        self.method == SaveMethod::Xsaves
    }

    /// Every component that can be enabled.
    pub(crate) fn components(&self) -> ComponentSet {
        self.xcr0.union(self.xss)
    }

    fn switch_on(&self) -> Result<(), NotSwitchedOn> {
        let did = |what, outcome: Result<(), Fault>| outcome.map_err(|fault| NotSwitchedOn { what, fault });
        let cr4 = CONTROLS.iter().filter(|row| row.is_used && self.has_any(row.features));
        let cr4 = cr4.fold(attempt::cr4(), |cr4, row| cr4 | 1 << row.bit);
        // SAFETY: no bit of those that are used stands in the way of a program with one address space and no user
        // pages that it reads.
        did("setting bits of CR4", unsafe { attempt::write_cr4(cr4) })?;
        if self.has_xsave() {
            did("writing XCR0", attempt::xsetbv(0, self.xcr0.bits()))?;
        }
        if self.has_xsaves() {
            // SAFETY: it decides what XSAVES saves.
            did("writing IA32_XSS", unsafe { msr::write(Xss::MSR, self.xss.bits()) })?;
        }
        Ok(())
    }
}

/// Which bits MXCSR has; FXSAVE alone tells.
fn mxcsr_mask() -> MxcsrMask {
    #[repr(align(16))]
    struct Image([u8; 512]);

    let mut image = Image([0; 512]);
    // SAFETY: the image is aligned, and 512 bytes long.
    unsafe { fxsave(image.0.as_mut_ptr()) };
    MxcsrMask::from_fxsave(&image.0)
}

/// Whether the hypervisor's leaf names QEMU's interpreter.
fn is_tcg() -> bool {
    const HYPERVISOR: u32 = 1 << 31;
    let has_leaf = cpuid(1, 0).ecx & HYPERVISOR != 0;
    let [_, name @ ..] = cpuid(0x4000_0000, 0).to_array();
    has_leaf && name.map(u32::to_le_bytes) == [*b"TCGT", *b"CGTC", *b"GTCG"]
}
