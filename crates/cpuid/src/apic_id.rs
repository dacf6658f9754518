//! Local APIC ids.

use core::fmt;

/// The id of a vCPU's local APIC: 32 bits in x2APIC mode, of which leaf 1 and xAPIC mode have room for the low eight.
///
/// A guest takes it apart to find out which threads share a core, a die, a package:
/// [`Topology`](crate::Topology) says how. Prints as decimal, as `/proc/cpuinfo` does.
///
/// ```
/// use selfsame_cpuid::ApicId;
///
/// let id = ApicId::new(0x1_0203);
/// assert_eq!((id.x2apic(), id.initial()), (0x1_0203, 3));
/// assert!(!id.fits_xapic());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct ApicId(u32);

impl ApicId {
    /// The id of the first vCPU.
    pub const ZERO: Self = Self(0);

    /// An id by its 32 bits.
    pub const fn new(x2apic: u32) -> Self {
        Self(x2apic)
    }

    /// All 32 bits: EDX of leaves 0xB, 0x1F and 0x80000026, and EAX of leaf 0x8000001E.
    pub const fn x2apic(self) -> u32 {
        self.0
    }

    /// The low eight bits: EBX\[31:24\] of leaf 1 (SDM vol. 2A, CPUID.01H).
    pub const fn initial(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// Whether an interrupt can be sent to it without x2APIC: 0xFF addresses all of them (SDM vol. 3A, 11.6.2.1).
    pub const fn fits_xapic(self) -> bool {
        self.0 < 0xff
    }
}

impl fmt::Display for ApicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
