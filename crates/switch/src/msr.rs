//! The model-specific registers that a switch touches.

use selfsame_cpuid::{MASKING_MSRS, MaskingMsr};

use crate::Register;

/// A model-specific register that a switch or a run reads or writes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Msr {
    /// A register of the table of switched registers.
    Switched(Register),
    /// IA32_PRED_CMD: bit 0 is IBPB. Write-only.
    PredCmd,
    /// MISC_FEATURES_ENABLES: bit 0 is CPUID faulting.
    MiscFeaturesEnables,
    /// IA32_XFD.
    Xfd,
    /// IA32_XFD_ERR.
    XfdErr,
    /// IA32_PL0_SSP: the shadow stack of ring 0.
    Pl0Ssp,
    /// IA32_XSS.
    Xss,
    /// HWCR: bit 35 is AMD's CPUID faulting, CpuidUserDis.
    Hwcr,
    /// The address mask of one of DR0 to DR3 (AMD, DBEXT).
    DrMask(DrMask),
    /// A CPUID masking MSR.
    CpuidMask(CpuidMask),
}

impl Msr {
    /// Returns the register's number, as ECX of WRMSR has it.
    ///
    /// ```
    /// use selfsame_switch::{Msr, Register};
    ///
    /// assert_eq!(Msr::Switched(Register::Lstar).number(), 0xc000_0082);
    /// ```
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Switched(register) => register.row().number,
            Self::PredCmd => 0x49,
            Self::MiscFeaturesEnables => 0x140,
            Self::Xfd => 0x1c4,
            Self::XfdErr => 0x1c5,
            Self::Pl0Ssp => 0x6a4,
            Self::Xss => 0xda0,
            Self::Hwcr => 0xc001_0015,
            Self::DrMask(mask) => mask.number(),
            Self::CpuidMask(mask) => mask.row().index,
        }
    }
}

/// The address mask of one of DR0 to DR3 (APM vol. 2, 13.1.1.5: DBEXT).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DrMask {
    /// That of DR0, which is apart from the others.
    Dr0,
    /// That of DR1.
    Dr1,
    /// That of DR2.
    Dr2,
    /// That of DR3.
    Dr3,
}

impl DrMask {
    /// All four, in order.
    pub const ALL: [Self; 4] = [Self::Dr0, Self::Dr1, Self::Dr2, Self::Dr3];

    const fn number(self) -> u32 {
        match self {
            Self::Dr0 => 0xc001_1027,
            Self::Dr1 => 0xc001_1019,
            Self::Dr2 => 0xc001_101a,
            Self::Dr3 => 0xc001_101b,
        }
    }
}

/// A CPUID masking MSR: a row of [`MASKING_MSRS`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CpuidMask(u8);

impl CpuidMask {
    /// Returns every row, in the table's order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..).zip(&MASKING_MSRS).map(|(at, _)| Self(at))
    }

    /// Returns the table's row.
    #[must_use]
    pub fn row(self) -> &'static MaskingMsr {
        &MASKING_MSRS[usize::from(self.0)]
    }
}

/// A write of a model-specific register. Only a plan makes one, so that what implements [`Cpu`](crate::Cpu) can execute it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MsrWrite {
    msr: Msr,
    value: u64,
}

impl MsrWrite {
    pub(crate) const fn new(msr: Msr, value: u64) -> Self {
        Self { msr, value }
    }

    /// Returns which register is written.
    #[must_use]
    #[inline]
    pub const fn msr(self) -> Msr {
        self.msr
    }

    /// Returns what is written, EDX:EAX of WRMSR.
    #[must_use]
    #[inline]
    pub const fn value(self) -> u64 {
        self.value
    }
}
