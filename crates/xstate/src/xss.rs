//! IA32_XSS, the XCR0 of supervisor components.

use crate::ComponentSet;
use crate::component::SUPERVISOR_BITS;

/// A value that IA32_XSS can have.
///
/// ```
/// use selfsame_xstate::{ComponentSet, Xss};
///
/// let permitted = ComponentSet::from_bits(0x1800);
/// assert_eq!(Xss::new(0x800, permitted)?.bits(), 0x800);
/// assert!(Xss::new(0x100, permitted).is_err());
/// # Ok::<(), selfsame_xstate::XssFault>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Xss(ComponentSet);

impl Xss {
    /// The register's number.
    pub const MSR: u32 = 0xDA0;
    /// The value after RESET; INIT changes nothing.
    pub const RESET: Self = Self(ComponentSet::EMPTY);

    /// Takes a value where the components of `permitted` may be enabled; user components never may.
    ///
    /// # Errors
    ///
    /// Names what is not permitted: WRMSR raises #GP for it (SDM vol. 1, 13.3).
    pub const fn new(value: u64, permitted: ComponentSet) -> Result<Self, XssFault> {
        let permitted = permitted.intersection(ComponentSet::from_bits(SUPERVISOR_BITS));
        let unsupported = ComponentSet::from_bits(value).minus(permitted);
        if unsupported.is_empty() {
            Ok(Self(ComponentSet::from_bits(value)))
        } else {
            Err(XssFault::Unsupported { value, unsupported })
        }
    }

    /// Takes components that are known to be supervisor components.
    pub(crate) const fn of_supervisor(set: ComponentSet) -> Self {
        Self(set)
    }

    /// Returns the value as it is written into the register.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.bits()
    }

    /// Returns the enabled components.
    #[must_use]
    pub const fn components(self) -> ComponentSet {
        self.0
    }
}

/// Judges a guest's WRMSR of IA32_XSS: `permitted` is what the guest may enable
/// ([`Configurations::permitted_xss`](crate::Configurations::permitted_xss)), and `None` where its policy lacks XSAVES.
///
/// ```
/// use selfsame_xstate::{ComponentSet, Xss, XssFault, wrmsr_xss};
///
/// assert_eq!(wrmsr_xss(0, Some(ComponentSet::EMPTY)), Ok(Xss::RESET));
/// assert_eq!(wrmsr_xss(0, None), Err(XssFault::NoXsaves));
/// ```
///
/// # Errors
///
/// Every error is a #GP: the MSR does not exist for the guest, or the value has something that is not permitted.
pub const fn wrmsr_xss(value: u64, permitted: Option<ComponentSet>) -> Result<Xss, XssFault> {
    match permitted {
        Some(permitted) => Xss::new(value, permitted),
        None => Err(XssFault::NoXsaves),
    }
}

/// Why a value is refused for IA32_XSS.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum XssFault {
    /// Without XSAVES there is no such MSR.
    #[error("there is no msr 0xda0 without xsaves")]
    NoXsaves,
    /// The value has what is not permitted: user components, bits that are no component, what the policy lacks.
    #[error("xss {value:#x} has unsupported {unsupported}")]
    Unsupported {
        /// The refused value.
        value: u64,
        /// The bits that are not permitted.
        unsupported: ComponentSet,
    },
}
