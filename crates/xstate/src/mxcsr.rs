//! Which bits MXCSR can have.

/// The bits of MXCSR that a CPU implements; the others are reserved, and to set one raises #GP (SDM vol. 1, 11.6.6).
///
/// The mask differs between CPUs and no CPUID leaf tells it: only FXSAVE and XSAVE do.
///
/// ```
/// use selfsame_xstate::MxcsrMask;
///
/// // AMD's bit 17 lets vector operands be misaligned; Intel CPUs fault on it.
/// assert_eq!(MxcsrMask::AMD.reserved(0x2_1F80), 0);
/// assert_eq!(MxcsrMask::INTEL.reserved(0x2_1F80), 0x2_0000);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MxcsrMask(u32);

impl MxcsrMask {
    /// CPUs whose FXSAVE writes no mask: without DAZ, bit 6 (SDM vol. 1, 11.6.6).
    pub const WITHOUT_DAZ: Self = Self(0xFFBF);
    /// What Intel CPUs report.
    pub const INTEL: Self = Self(0xFFFF);
    /// What AMD CPUs with misaligned SSE report (APM vol. 1, 4.2.2).
    pub const AMD: Self = Self(0x2_FFFF);

    /// Reads the mask from what FXSAVE or XSAVE wrote: bytes 28 to 31.
    #[must_use]
    pub const fn from_fxsave(image: &[u8; 512]) -> Self {
        Self::from_field(u32::from_le_bytes([image[28], image[29], image[30], image[31]]))
    }

    /// Takes the field MXCSR_MASK; zero means [`MxcsrMask::WITHOUT_DAZ`].
    #[must_use]
    pub const fn from_field(field: u32) -> Self {
        if field == 0 { Self::WITHOUT_DAZ } else { Self(field) }
    }

    /// Returns the mask.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns the bits of `mxcsr` that the CPU does not implement; none means that LDMXCSR and XRSTOR take it.
    #[must_use]
    pub const fn reserved(self, mxcsr: u32) -> u32 {
        mxcsr & !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_of_zero_means_that_daz_is_missing() {
        let mut image = [0; 512];
        assert_eq!(MxcsrMask::from_fxsave(&image).bits(), 0xFFBF);
        assert_eq!(MxcsrMask::from_fxsave(&image).reserved(0x40), 0x40);
        image[28..32].copy_from_slice(&0x2_FFFF_u32.to_le_bytes());
        assert_eq!(MxcsrMask::from_fxsave(&image), MxcsrMask::AMD);
    }

    #[test]
    fn only_amd_has_bit_17() {
        for bit in 0..32 {
            let value = 1 << bit;
            assert_eq!(MxcsrMask::INTEL.reserved(value) == 0, bit < 16, "bit {bit}");
            assert_eq!(MxcsrMask::AMD.reserved(value) == 0, bit < 16 || bit == 17, "bit {bit}");
        }
    }
}
