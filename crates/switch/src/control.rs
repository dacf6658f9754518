//! CR3 and CR4.

/// The page tables that a CPU runs on: CR3, without the bit that keeps the TLB.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cr3(u64);

impl Cr3 {
    /// Takes the address of the top-level table with the PCID in the low bits; bit 63, which would keep stale entries in the
    /// TLB, is refused.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value >> 63 == 0 { Some(Self(value)) } else { None }
    }

    /// Returns the register's value.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// What a CPU has in CR4 in ring 0 and while a PV vCPU is loaded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cr4(u64);

impl Cr4 {
    /// RDTSC only in ring 0.
    pub const TSD: u64 = 1 << 2;
    /// DR4 and DR5 are undefined.
    pub const DE: u64 = 1 << 3;
    /// RDFSBASE and its kin.
    pub const FSGSBASE: u64 = 1 << 16;
    /// XSETBV, and CPUID shows OSXSAVE.
    pub const OSXSAVE: u64 = 1 << 18;
    /// RDPKRU and WRPKRU, and protection keys of user pages.
    pub const PKE: u64 = 1 << 22;

    /// What is the PV guest's choice while its vCPU is loaded; all else is the hypervisor's.
    const PV: u64 = Self::TSD | Self::DE | Self::FSGSBASE;

    /// Takes the hypervisor's own value.
    #[must_use]
    pub const fn of_hypervisor(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the value for a PV vCPU with `guest` in its virtual CR4.
    ///
    /// FSGSBASE is as the guest has it: behind the back of a kernel that does not switch the bases, its tasks would change
    /// them (XSA-293).
    #[must_use]
    pub const fn of_pv(hypervisor: Self, guest: u64) -> Self {
        let fsgsbase = hypervisor.0 | !Self::FSGSBASE;
        Self(hypervisor.0 & !Self::PV | guest & Self::PV & fsgsbase)
    }

    /// Returns the register's value.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Tells whether RDFSBASE and its kin work.
    #[must_use]
    pub const fn has_fsgsbase(self) -> bool {
        self.0 & Self::FSGSBASE != 0
    }
}
