//! MXCSR, the register that belongs to no component alone.

use core::fmt;

/// MXCSR's initial configuration: every exception masked (SDM vol. 1, 11.6.4).
pub const MXCSR_INITIAL: u32 = 0x1F80;

/// The bits that MXCSR has on a CPU (SDM vol. 1, 11.6.6); loading another one faults.
///
/// Intel CPUs have bits 0 to 15, AMD CPUs also bit 17, the misaligned exception mask (APM vol. 1, 4.2.2).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct MxcsrMask(u32);

impl MxcsrMask {
    /// The bits of every CPU with denormals-are-zero: 0 to 15.
    pub const COMMON: Self = Self(0xFFFF);
    /// The bits of AMD CPUs: the common ones and bit 17.
    pub const AMD: Self = Self(0x2_FFFF);

    /// Reads MXCSR_MASK, bytes 28 to 31 of what FXSAVE or XSAVE wrote; zero stands for the first CPUs' 0xFFBF.
    ///
    /// ```
    /// use selfsame_xstate::MxcsrMask;
    ///
    /// assert!(MxcsrMask::from_field(0x2_FFFF).allows(0x2_1F80));
    /// assert!(!MxcsrMask::from_field(0).allows(0x40));
    /// ```
    #[must_use]
    pub const fn from_field(field: u32) -> Self {
        Self(if field == 0 { 0xFFBF } else { field })
    }

    /// Returns the bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Tells whether a CPU with these bits loads `mxcsr` without a fault.
    #[must_use]
    #[inline]
    pub const fn allows(self, mxcsr: u32) -> bool {
        mxcsr & !self.0 == 0
    }
}

impl fmt::Debug for MxcsrMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MxcsrMask({:#x})", self.0)
    }
}
