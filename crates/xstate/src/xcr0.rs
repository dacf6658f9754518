//! The rules for a value of XCR0.
//!
//! What XSETBV refuses is the same on hardware (SDM vol. 1, 13.3; APM vol. 2, 11.5), in KVM and here; the one refinement is
//! that APX and MPX exclude each other, which the APX specification adds because both lie at byte 960.

use core::fmt;
use core::num::NonZeroU64;

use crate::component::SUPERVISOR_BITS;
use crate::{Component, ComponentSet};

/// A value that XCR0 can have: bit 0 is always set, and it broke no rule when it was made.
///
/// ```
/// use selfsame_xstate::{ComponentSet, Xcr0, Xcr0Error};
///
/// let permitted = ComponentSet::from_bits(0x2E7);
/// assert_eq!(Xcr0::new(0xE7, permitted)?.bits(), 0xE7);
/// let refusal = Xcr0::new(0x4, permitted).unwrap_err();
/// assert!(refusal.faults().eq([Xcr0Error::NoX87 { value: 4 }, Xcr0Error::AvxWithoutSse { value: 4 }]));
/// # Ok::<(), selfsame_xstate::Xcr0Refusal>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Xcr0(NonZeroU64);

impl Xcr0 {
    /// The value after RESET; INIT changes nothing (SDM vol. 1, 13.3).
    pub const RESET: Self = Self(NonZeroU64::MIN);

    /// Takes a value where the components of `permitted` may be enabled: the host's own, or those of a guest.
    ///
    /// # Errors
    ///
    /// Refuses what makes XSETBV fault there, with every rule that the value breaks.
    pub const fn new(value: u64, permitted: ComponentSet) -> Result<Self, Xcr0Refusal> {
        let mut rest: &[Option<Xcr0Error>] = &broken_rules(value, permitted);
        while let [first, tail @ ..] = rest {
            if first.is_some() {
                return Err(Xcr0Refusal { value, permitted });
            }
            rest = tail;
        }
        match NonZeroU64::new(value) {
            Some(value) => Ok(Self(value)),
            // Zero broke the rule that bit 0 is set.
            None => Err(Xcr0Refusal { value, permitted }),
        }
    }

    /// Returns the value as it is written into the register.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0.get()
    }

    /// Returns the enabled components.
    #[must_use]
    #[inline]
    pub const fn components(self) -> ComponentSet {
        ComponentSet::from_bits(self.0.get())
    }
}

impl Default for Xcr0 {
    fn default() -> Self {
        Self::RESET
    }
}

/// A value that was refused for XCR0, with every rule that it breaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Xcr0Refusal {
    value: u64,
    permitted: ComponentSet,
}

impl Xcr0Refusal {
    /// Returns the refused value.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// Iterates over the broken rules; there is at least one.
    pub fn faults(&self) -> impl Iterator<Item = Xcr0Error> + Clone + use<> {
        xcr0_faults(self.value, self.permitted)
    }
}

/// Prints every broken rule.
impl fmt::Display for Xcr0Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl core::error::Error for Xcr0Refusal {}

/// Why a value is refused for XCR0.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Xcr0Error {
    /// Bit 0 must be set.
    #[error("xcr0 {value:#x} lacks x87, bit 0")]
    NoX87 {
        /// The refused value.
        value: u64,
    },
    /// AVX extends the registers of SSE.
    #[error("xcr0 {value:#x} has avx without sse")]
    AvxWithoutSse {
        /// The refused value.
        value: u64,
    },
    /// Bits that the CPU or the guest's policy does not offer, or that can never be in XCR0: supervisor components, bit 63.
    #[error("xcr0 {value:#x} has unsupported {unsupported}")]
    Unsupported {
        /// The refused value.
        value: u64,
        /// The bits that are not offered.
        unsupported: ComponentSet,
    },
    /// MPX is two components or none.
    #[error("xcr0 {value:#x} has mpx without {missing}")]
    PartialMpx {
        /// The refused value.
        value: u64,
        /// What is missing.
        missing: ComponentSet,
    },
    /// AVX-512 is three components or none, and needs AVX.
    #[error("xcr0 {value:#x} has avx-512 without {missing}")]
    PartialAvx512 {
        /// The refused value.
        value: u64,
        /// What is missing: some of AVX-512, or AVX.
        missing: ComponentSet,
    },
    /// AMX is two components or none.
    #[error("xcr0 {value:#x} has amx without {missing}")]
    PartialAmx {
        /// The refused value.
        value: u64,
        /// What is missing.
        missing: ComponentSet,
    },
    /// APX lies where MPX was.
    #[error("xcr0 {value:#x} has both apx and mpx")]
    ApxWithMpx {
        /// The refused value.
        value: u64,
    },
}

impl ComponentSet {
    /// Reads a value that a guest wants in XCR0, on a CPU that has every user component.
    ///
    /// For a CPU or a policy that has less, use [`xcr0_faults`], which also names every broken rule instead of the first.
    ///
    /// # Errors
    ///
    /// Refuses what makes XSETBV fault on any CPU (SDM vol. 1, 13.3).
    pub const fn from_xcr0(value: u64) -> Result<Self, Xcr0Error> {
        let broken = broken_rules(value, Self::ALL);
        let mut rest: &[Option<Xcr0Error>] = &broken;
        while let [first, tail @ ..] = rest {
            if let Some(fault) = first {
                return Err(*fault);
            }
            rest = tail;
        }
        Ok(Self::from_bits(value))
    }
}

/// Names every rule that `value` breaks for XCR0 where `supported` may be enabled; none means that XSETBV takes it.
///
/// x87 counts as supported whether it is in `supported` or not, and supervisor components never do.
///
/// ```
/// use selfsame_xstate::{ComponentSet, Xcr0Error, xcr0_faults};
///
/// let supported = ComponentSet::from_bits(0x207);
/// assert_eq!(xcr0_faults(0x207, supported).count(), 0);
/// assert!(xcr0_faults(0xC, supported).eq([
///     Xcr0Error::NoX87 { value: 0xC },
///     Xcr0Error::AvxWithoutSse { value: 0xC },
///     Xcr0Error::Unsupported { value: 0xC, unsupported: ComponentSet::from_bits(0x8) },
///     Xcr0Error::PartialMpx { value: 0xC, missing: ComponentSet::from_bits(0x10) },
/// ]));
/// ```
pub fn xcr0_faults(value: u64, supported: ComponentSet) -> impl Iterator<Item = Xcr0Error> + Clone {
    broken_rules(value, supported).into_iter().flatten()
}

const fn broken_rules(value: u64, supported: ComponentSet) -> [Option<Xcr0Error>; 7] {
    let set = ComponentSet::from_bits(value);
    let never = ComponentSet::from_bits(SUPERVISOR_BITS | 1 << 63);
    let unsupported = set.minus(supported.with(Component::X87).minus(never));
    let avx512 = ComponentSet::AVX512.with(Component::AVX);
    [
        if set.contains(Component::X87) { None } else { Some(Xcr0Error::NoX87 { value }) },
        if set.contains(Component::AVX) && !set.contains(Component::SSE) {
            Some(Xcr0Error::AvxWithoutSse { value })
        } else {
            None
        },
        if unsupported.is_empty() { None } else { Some(Xcr0Error::Unsupported { value, unsupported }) },
        match missing(set, ComponentSet::MPX, ComponentSet::MPX) {
            Some(missing) => Some(Xcr0Error::PartialMpx { value, missing }),
            None => None,
        },
        match missing(set, ComponentSet::AVX512, avx512) {
            Some(missing) => Some(Xcr0Error::PartialAvx512 { value, missing }),
            None => None,
        },
        match missing(set, ComponentSet::AMX, ComponentSet::AMX) {
            Some(missing) => Some(Xcr0Error::PartialAmx { value, missing }),
            None => None,
        },
        if set.contains(Component::APX) && !set.intersection(ComponentSet::MPX).is_empty() {
            Some(Xcr0Error::ApxWithMpx { value })
        } else {
            None
        },
    ]
}

/// Returns what `set` lacks of `needed`, if it has any of `group` and lacks something.
const fn missing(set: ComponentSet, group: ComponentSet, needed: ComponentSet) -> Option<ComponentSet> {
    let missing = needed.minus(set);
    if set.intersection(group).is_empty() || missing.is_empty() { None } else { Some(missing) }
}
