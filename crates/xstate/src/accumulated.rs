//! What a vCPU has ever had in XCR0.

use crate::{ComponentSet, Xcr0, Xcr0Refusal};

/// Every component that a vCPU's XCR0 ever had: what must be saved when the vCPU leaves a CPU.
///
/// A component that a guest enabled, used and disabled again keeps its content in the registers, so XCR0 alone does not tell
/// what to save. IA32_XSS is left out, as the name says: areas hold all that the host's XSS has.
///
/// ```
/// use selfsame_xstate::{AccumulatedXcr0, ComponentSet, Xcr0};
///
/// let all = ComponentSet::from_bits(0x7);
/// let vcpu = AccumulatedXcr0::START.with(Xcr0::new(0x7, all)?).with(Xcr0::new(0x1, all)?);
/// assert_eq!(vcpu.components(), all);
/// # Ok::<(), selfsame_xstate::Xcr0Refusal>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AccumulatedXcr0(ComponentSet);

impl AccumulatedXcr0 {
    /// Before the first XSETBV: x87 and SSE, which are there whatever XCR0 is.
    pub const START: Self = Self(ComponentSet::LEGACY);

    /// Takes the value that another hypervisor sent along with a vCPU's state; x87 and SSE are added.
    ///
    /// # Errors
    ///
    /// Refuses what no sequence of XSETBVs under `permitted` leaves behind: the rules are those of XCR0, each of which holds
    /// for a union of values if it holds for the values.
    pub const fn new(value: u64, permitted: ComponentSet) -> Result<Self, Xcr0Refusal> {
        match Xcr0::new(value, permitted) {
            Ok(xcr0) => Ok(Self::START.with(xcr0)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Adds the value of one XSETBV.
    #[must_use]
    pub const fn with(self, xcr0: Xcr0) -> Self {
        Self(self.0.union(xcr0.components()))
    }

    /// Returns the components.
    #[must_use]
    pub const fn components(self) -> ComponentSet {
        self.0
    }

    /// Tells whether a vCPU with this history can have `xcr0` now.
    #[must_use]
    pub const fn has(self, xcr0: Xcr0) -> bool {
        xcr0.components().is_subset_of(self.0)
    }
}

impl Default for AccumulatedXcr0 {
    fn default() -> Self {
        Self::START
    }
}
