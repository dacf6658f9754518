//! Who is meant: CPUs, domains, vCPUs.

use core::fmt;

/// The number of a physical CPU.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CpuId(u16);

impl CpuId {
    /// Takes a number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The number of a domain: a guest with its vCPUs.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DomainId(u16);

impl DomainId {
    /// Takes a number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The number of a vCPU in its domain. It decides where the descriptor tables of a PV vCPU lie.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VcpuId(u16);

impl VcpuId {
    /// Takes a number below 8192: more tables do not fit into [`PerDomainArea`](crate::PerDomainArea).
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < 8192 { Some(Self(number)) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// One vCPU among all: one number, as every switch, entry and exit compares it.
///
/// ```
/// use selfsame_switch::{DomainId, VcpuId, VcpuName};
///
/// let vcpu = VcpuId::new(3).ok_or("too many")?;
/// let name = VcpuName::new(DomainId::new(7), vcpu);
/// assert_eq!((name.domain().number(), name.vcpu()), (7, vcpu));
/// assert_eq!(format!("{name:?}"), "d7v3");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VcpuName(u32);

impl VcpuName {
    /// Names a vCPU by its domain and its number there.
    #[must_use]
    pub const fn new(domain: DomainId, vcpu: VcpuId) -> Self {
        Self((domain.0 as u32) << 16 | vcpu.0 as u32)
    }

    /// Returns its domain.
    #[must_use]
    #[inline]
    pub const fn domain(self) -> DomainId {
        let [high, low, _, _] = self.0.to_be_bytes();
        DomainId(u16::from_be_bytes([high, low]))
    }

    /// Returns its number there.
    #[must_use]
    #[inline]
    pub const fn vcpu(self) -> VcpuId {
        let [_, _, high, low] = self.0.to_be_bytes();
        VcpuId(u16::from_be_bytes([high, low]))
    }
}

/// Prints it as Xen's messages do.
impl fmt::Debug for VcpuName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}v{}", self.domain().number(), self.vcpu().number())
    }
}
