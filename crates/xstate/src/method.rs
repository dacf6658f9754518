//! Which instruction keeps areas.

use core::fmt;

use crate::{Format, Geometry};

/// The instruction that saves into areas, and with it the one that restores and the format of the areas.
///
/// One ladder of three. XSAVEC and XSAVEOPT are left out: no CPU has XSAVEC without XSAVES, so where only XSAVEC shows,
/// something hides XSAVES for a reason (AMD erratum 1386, for one); and what XSAVEOPT remembers of the last restore can leak
/// from one context into another where the hypervisor itself runs in a virtual machine.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SaveMethod {
    /// XSAVES and XRSTORS: compacted, supervisor components included, skips what is in its initial state or unmodified.
    Xsaves,
    /// XSAVE and XRSTOR: standard, user components only.
    Xsave,
    /// FXSAVE and FXRSTOR: x87 and SSE only, without a header. Areas have the header's bytes all the same, and they always
    /// say that both components are there: what reads areas needs to know one format less.
    Fxsave,
}

impl SaveMethod {
    /// Returns the best method of a CPU.
    ///
    /// ```
    /// use selfsame_xstate::{Geometry, SaveMethod};
    ///
    /// // XSAVEC without XSAVES, as Linux shows Zen 1 and 2 with old microcode.
    /// let geometry = Geometry::read(|subleaf| match subleaf {
    ///     0 => [0x7, 0x240, 0x340, 0],
    ///     1 => [0x7, 0x340, 0, 0],
    ///     2 => [256, 576, 0, 0],
    ///     _ => [0; 4],
    /// });
    /// assert_eq!(SaveMethod::of(&geometry), SaveMethod::Xsave);
    /// ```
    #[must_use]
    pub const fn of(geometry: &Geometry) -> Self {
        if geometry.user().is_empty() {
            Self::Fxsave
        } else if geometry.has_xsaves() {
            Self::Xsaves
        } else {
            Self::Xsave
        }
    }

    /// Returns the format of the areas.
    #[must_use]
    pub const fn format(self) -> Format {
        match self {
            Self::Xsaves => Format::Compacted,
            Self::Xsave | Self::Fxsave => Format::Standard,
        }
    }
}

impl fmt::Display for SaveMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Xsaves => "xsaves",
            Self::Xsave => "xsave",
            Self::Fxsave => "fxsave",
        })
    }
}
