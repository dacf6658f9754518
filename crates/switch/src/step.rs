//! The step: the part of a switch that moves extended state, and the last thing before the guest.

use core::num::NonZeroU64;

use selfsame_xstate::{AREA_ALIGN_BYTES, ComponentSet, SaveMethod, Xcr0, Xss};

/// The address of a save area: a multiple of 64, and not zero.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AreaAddress(NonZeroU64);

impl AreaAddress {
    /// Takes an address. Whoever executes steps promises that areas are where vCPUs say
    /// ([`Cpu`](crate::Cpu)).
    #[must_use]
    pub const fn new(address: u64) -> Option<Self> {
        match NonZeroU64::new(address) {
            Some(nonzero) if address.is_multiple_of(AREA_ALIGN_BYTES as u64) => Some(Self(nonzero)),
            _ => None,
        }
    }

    /// Returns the address.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// One move of extended state, computed whole before it is executed: an assembly routine needs nothing but this.
///
/// It is executed in this order, and what is `None` is left out:
///
/// 1. WRMSR(XSS) of [`xss_save`](Self::xss_save), then XSETBV of [`xcr0_wide`](Self::xcr0_wide);
/// 2. save into [`save_area`](Self::save_area) with [`save_mask`](Self::save_mask);
/// 3. where [`clears_fp_pointers`](Self::clears_fp_pointers) and something is loaded: FNCLEX, FFREE ST(7), FILD of any
///    number, so that FIP, FDP and FOP hold nobody's addresses;
/// 4. load from [`load_area`](Self::load_area) with [`load_mask`](Self::load_mask);
/// 5. XSETBV of [`xcr0_final`](Self::xcr0_final), then WRMSR(XSS) of [`xss_final`](Self::xss_final).
///
/// Save and load are XSAVES and XRSTORS, XSAVE and XRSTOR, or FXSAVE and FXRSTOR, by [`method`](Self::method); the masks are
/// EDX:EAX. CR0.TS is clear and IA32_XFD is zero throughout.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct XstateStep {
    pub(crate) method: SaveMethod,
    pub(crate) clears_fp_pointers: bool,
    pub(crate) save_area: Option<AreaAddress>,
    pub(crate) save_mask: ComponentSet,
    pub(crate) load_area: Option<AreaAddress>,
    pub(crate) load_mask: ComponentSet,
    pub(crate) xcr0_wide: Option<Xcr0>,
    pub(crate) xcr0_final: Option<Xcr0>,
    pub(crate) xss_save: Option<Xss>,
    pub(crate) xss_final: Option<Xss>,
}

impl XstateStep {
    /// Returns which instructions save and load.
    #[must_use]
    pub const fn method(&self) -> SaveMethod {
        self.method
    }

    /// Tells whether FIP, FDP and FOP are cleared before the load: AMD CPUs before XSAVEERPTR load them only when an
    /// exception is pending in the image, so that a vCPU would find those of the one before it (XSA-52). It is done whatever
    /// the image says: FSW.ES, which a first attempt went by, is recomputed on the load (XSA-172).
    #[must_use]
    pub const fn clears_fp_pointers(&self) -> bool {
        self.clears_fp_pointers
    }

    /// Returns where the leaving vCPU's state goes; `None` if there is nothing to keep.
    #[must_use]
    pub const fn save_area(&self) -> Option<AreaAddress> {
        self.save_area
    }

    /// Returns what is saved.
    #[must_use]
    pub const fn save_mask(&self) -> ComponentSet {
        self.save_mask
    }

    /// Returns where the arriving vCPU's state comes from; `None` if there is nothing to load.
    #[must_use]
    pub const fn load_area(&self) -> Option<AreaAddress> {
        self.load_area
    }

    /// Returns what is loaded.
    #[must_use]
    pub const fn load_mask(&self) -> ComponentSet {
        self.load_mask
    }

    /// Returns what XCR0 has to be for the save and the load, where it is not wide enough already.
    #[must_use]
    pub const fn xcr0_wide(&self) -> Option<Xcr0> {
        self.xcr0_wide
    }

    /// Returns the arriving vCPU's XCR0, where it is not there already.
    #[must_use]
    pub const fn xcr0_final(&self) -> Option<Xcr0> {
        self.xcr0_final
    }

    /// Returns what IA32_XSS has to be for the save and the load, where it does not have enough already.
    #[must_use]
    pub const fn xss_save(&self) -> Option<Xss> {
        self.xss_save
    }

    /// Returns what IA32_XSS has to be while the arriving vCPU runs, where it is not that already.
    #[must_use]
    pub const fn xss_final(&self) -> Option<Xss> {
        self.xss_final
    }
}
