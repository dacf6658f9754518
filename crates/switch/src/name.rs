//! Who is meant: CPUs, domains, vCPUs.

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

/// One vCPU among all.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VcpuName {
    /// Its domain.
    pub domain: DomainId,
    /// Its number there.
    pub vcpu: VcpuId,
}
