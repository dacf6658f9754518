//! Extended feature disable: IA32_XFD and IA32_XFD_ERR (SDM vol. 1, 13.14).
//!
//! A component whose bit is set in IA32_XFD raises #NM on first use, which a host uses to make room for it then. The
//! contents of the registers stay, but XSAVES takes the component for initial: what saves and restores does so under an XFD
//! that is clear for every component of the image.

use crate::{ComponentSet, Geometry};

/// A value that IA32_XFD can have.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Xfd(ComponentSet);

impl Xfd {
    /// The register's number.
    pub const MSR: u32 = 0x1C4;
    /// The value after RESET, and the value that every guest starts with.
    pub const RESET: Self = Self(ComponentSet::EMPTY);

    /// Takes components that the CPU's XFD is known to cover.
    pub(crate) const fn of_covered(set: ComponentSet) -> Self {
        Self(set)
    }

    /// Returns the value as it is written into the register.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.bits()
    }

    /// Returns the disabled components.
    #[must_use]
    pub const fn components(self) -> ComponentSet {
        self.0
    }
}

/// A value that IA32_XFD_ERR can have: the components whose use raised #NM.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct XfdErr(ComponentSet);

impl XfdErr {
    /// The register's number.
    pub const MSR: u32 = 0x1C5;
    /// The value after RESET.
    pub const RESET: Self = Self(ComponentSet::EMPTY);

    /// Returns the value as it is written into the register.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.bits()
    }

    /// Returns the components.
    #[must_use]
    pub const fn components(self) -> ComponentSet {
        self.0
    }
}

/// Who judges the writes of a guest's IA32_XFD or IA32_XFD_ERR.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum XfdWrites {
    /// Nobody has to: the guest's policy lacks XFD (CPUID.(0xD,1).EAX bit 4), so the MSRs do not exist for it.
    Absent,
    /// The hypervisor, by the states of the guest's policy: the guest's writes, which are intercepted, and the hypervisor's
    /// own when it restores a vCPU, whether the policy has XFD or not.
    Intercepted {
        /// The components of the guest's policy.
        policy: ComponentSet,
    },
    /// The CPU, which knows no policies. KVM stops intercepting once a guest has written a value that is not zero: from then
    /// on the guest can set bits that its policy lacks.
    PassedThrough,
}

impl Geometry {
    /// Returns the components that XFD covers: those with ECX bit 2 in their sub-leaf.
    ///
    /// ```
    /// use selfsame_xstate::{Component, Geometry};
    ///
    /// let geometry = Geometry::read(|subleaf| match subleaf {
    ///     0 => [0x6_0003, 0x240, 0x2B00, 0],
    ///     17 => [64, 2752, 2, 0],
    ///     18 => [8192, 2816, 6, 0],
    ///     _ => [0; 4],
    /// });
    /// assert_eq!(geometry.xfd(), Component::XTILEDATA.into());
    /// ```
    #[must_use]
    pub fn xfd(&self) -> ComponentSet {
        self.user().iter().filter(|&component| self.row(component).is_some_and(|row| row.has_xfd)).collect()
    }
}

/// Judges a WRMSR of a guest's IA32_XFD, or the hypervisor's own on a guest's behalf.
///
/// ```
/// use selfsame_xstate::{Component, ComponentSet, Geometry, Xfd, XfdWrites, wrmsr_xfd};
///
/// let cpu = Geometry::read(|subleaf| match subleaf {
///     0 => [0x6_0003, 0x240, 0x2B00, 0],
///     17 => [64, 2752, 2, 0],
///     18 => [8192, 2816, 6, 0],
///     _ => [0; 4],
/// });
/// let with_amx = XfdWrites::Intercepted { policy: ComponentSet::from_bits(0x6_0003) };
/// assert_eq!(wrmsr_xfd(1 << 18, with_amx, &cpu)?.components(), Component::XTILEDATA.into());
/// assert!(wrmsr_xfd(1 << 17, with_amx, &cpu).is_err(), "XTILECFG is small, and XFD does not cover it");
/// # Ok::<(), selfsame_xstate::XfdFault>(())
/// ```
///
/// # Errors
///
/// Every error is a #GP: the MSR does not exist for the guest, or the value has bits that XFD does not cover on this CPU or
/// that the guest's policy lacks.
pub fn wrmsr_xfd(value: u64, writes: XfdWrites, cpu: &Geometry) -> Result<Xfd, XfdFault> {
    covered(Xfd::MSR, value, writes, cpu).map(Xfd)
}

/// Judges a WRMSR of a guest's IA32_XFD_ERR; the rules are those of [`wrmsr_xfd`].
///
/// # Errors
///
/// As [`wrmsr_xfd`].
pub fn wrmsr_xfd_err(value: u64, writes: XfdWrites, cpu: &Geometry) -> Result<XfdErr, XfdFault> {
    covered(XfdErr::MSR, value, writes, cpu).map(XfdErr)
}

fn covered(msr: u32, value: u64, writes: XfdWrites, cpu: &Geometry) -> Result<ComponentSet, XfdFault> {
    let supported = match writes {
        XfdWrites::Absent => return Err(XfdFault::NoXfd { msr }),
        XfdWrites::Intercepted { policy } => cpu.xfd() & policy,
        XfdWrites::PassedThrough => cpu.xfd(),
    };
    let set = ComponentSet::from_bits(value);
    let unsupported = set - supported;
    if unsupported.is_empty() { Ok(set) } else { Err(XfdFault::Unsupported { msr, value, unsupported }) }
}

/// Why a value is refused for IA32_XFD or IA32_XFD_ERR.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum XfdFault {
    /// Without XFD there is no such MSR.
    #[error("there is no msr {msr:#x} without xfd")]
    NoXfd {
        /// [`Xfd::MSR`] or [`XfdErr::MSR`].
        msr: u32,
    },
    /// The value has bits that XFD does not cover, or that the guest's policy lacks.
    #[error("msr {msr:#x}: {value:#x} has unsupported {unsupported}")]
    Unsupported {
        /// [`Xfd::MSR`] or [`XfdErr::MSR`].
        msr: u32,
        /// The refused value.
        value: u64,
        /// The bits that are not supported.
        unsupported: ComponentSet,
    },
}
