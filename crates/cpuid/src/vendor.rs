//! Vendors and signatures, as leaves 0 and 1 give them.

use core::fmt;

use selfsame_xstate::Offsets;

use crate::regs::Regs;

/// Who made a CPU, by the twelve bytes of leaf 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Vendor {
    /// `GenuineIntel`.
    Intel,
    /// `AuthenticAMD`.
    Amd,
    /// `CentaurHauls`: VIA, and Zhaoxin under VIA's name.
    Centaur,
    /// `  Shanghai  `: Zhaoxin.
    Shanghai,
    /// `HygonGenuine`.
    Hygon,
    /// `GenuineTMx86`.
    Transmeta,
    /// Any other twelve bytes.
    Unknown,
}

impl Vendor {
    /// Reads the vendor from leaf 0; EAX does not count.
    ///
    /// ```
    /// # use selfsame_cpuid::{Regs, Vendor};
    /// let leaf_0 = Regs::new(0x20, 0x756e_6547, 0x6c65_746e, 0x4965_6e69);
    /// assert_eq!(Vendor::of(leaf_0), Vendor::Intel);
    /// ```
    pub const fn of(leaf_0: Regs) -> Self {
        let Regs { ebx, ecx, edx, .. } = leaf_0;
        // Compared as registers: an exit may ask.
        const INTEL: [u32; 3] = registers(b"GenuineIntel");
        const AMD: [u32; 3] = registers(b"AuthenticAMD");
        const CENTAUR: [u32; 3] = registers(b"CentaurHauls");
        const SHANGHAI: [u32; 3] = registers(b"  Shanghai  ");
        const HYGON: [u32; 3] = registers(b"HygonGenuine");
        const TRANSMETA: [u32; 3] = registers(b"GenuineTMx86");
        match [ebx, edx, ecx] {
            INTEL => Self::Intel,
            AMD => Self::Amd,
            CENTAUR => Self::Centaur,
            SHANGHAI => Self::Shanghai,
            HYGON => Self::Hygon,
            TRANSMETA => Self::Transmeta,
            _ => Self::Unknown,
        }
    }

    /// Whether the CPU follows AMD's manual: AMD and Hygon.
    pub const fn is_amd_like(self) -> bool {
        matches!(self, Self::Amd | Self::Hygon)
    }

    /// Where the vendor's CPUs keep components in the standard format: Zhaoxin's follow Intel's.
    pub const fn offsets(self) -> Offsets {
        if self.is_amd_like() { Offsets::Amd } else { Offsets::Intel }
    }

    /// Whether the CPU follows Intel's manual where the two differ: Intel, Centaur, Zhaoxin.
    pub const fn is_intel_like(self) -> bool {
        matches!(self, Self::Intel | Self::Centaur | Self::Shanghai)
    }
}

/// EBX, EDX and ECX of leaf 0 for a vendor's twelve bytes.
const fn registers(name: &[u8; 12]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *name;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([i, j, k, l])]
}

/// The twelve bytes of leaf 0, as they are.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct VendorName([u8; 12]);

impl VendorName {
    /// Takes the bytes from EBX, EDX and ECX of leaf 0.
    pub fn of(leaf_0: Regs) -> Self {
        let mut name = [0; 12];
        for (part, register) in name.chunks_exact_mut(4).zip([leaf_0.ebx, leaf_0.edx, leaf_0.ecx]) {
            part.copy_from_slice(&register.to_le_bytes());
        }
        Self(name)
    }
}

impl fmt::Display for VendorName {
    /// Writes printable ASCII as it is, anything else escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for VendorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Family, model and stepping. Orders as the generations of one vendor do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Signature {
    /// The family, extended part included.
    pub family: u16,
    /// The model, extended part included.
    pub model: u8,
    /// The stepping.
    pub stepping: u8,
}

impl Signature {
    /// Reads EAX of leaf 1.
    ///
    /// The extended family counts from family 0xF on; the extended model from family 6 on, not in families 6 and 0xF
    /// alone: Zhaoxin's family 7 uses it too (SDM vol. 2A, CPUID, figure 3-6; Zhaoxin KX-6000 is model 0x3B).
    pub const fn of(leaf_1_eax: u32) -> Self {
        let base_family = (leaf_1_eax >> 8 & 0xf) as u16;
        let extended_family = (leaf_1_eax >> 20 & 0xff) as u16;
        let base_model = (leaf_1_eax >> 4 & 0xf) as u8;
        let extended_model = (leaf_1_eax >> 16 & 0xf) as u8;
        Self {
            family: if base_family == 0xf { base_family + extended_family } else { base_family },
            model: if base_family >= 6 { base_model | extended_model << 4 } else { base_model },
            stepping: (leaf_1_eax & 0xf) as u8,
        }
    }

    /// Writes EAX of leaf 1, the inverse of [`Signature::of`]; what no CPU can say is cut to what it can.
    ///
    /// ```
    /// # use selfsame_cpuid::Signature;
    /// let zen4 = Signature { family: 0x19, model: 0x11, stepping: 1 };
    /// assert_eq!(zen4.leaf_1_eax(), 0x00a1_0f11);
    /// assert_eq!(Signature::of(zen4.leaf_1_eax()), zen4);
    /// ```
    pub const fn leaf_1_eax(self) -> u32 {
        let (family, model) = (self.family as u32, self.model as u32);
        let (base, extended) = if family > 0xf { (0xf, family - 0xf) } else { (family, 0) };
        let extended_model = if base >= 6 { model >> 4 } else { 0 };
        (extended & 0xff) << 20 | extended_model << 16 | base << 8 | (model & 0xf) << 4 | self.stepping as u32 & 0xf
    }

    /// Of several values of leaf 1 EAX, the one of the oldest CPU; zero says nothing.
    pub(crate) fn least(leaf_1_eax: [u32; 2]) -> u32 {
        leaf_1_eax.into_iter().filter(|&eax| eax != 0).min_by_key(|&eax| (Self::of(eax), eax)).unwrap_or_default()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "family {} model {:#x} stepping {}", self.family, self.model, self.stepping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf_0(name: &[u8; 12]) -> Regs {
        let word = |at: usize| u32::from_le_bytes([name[at], name[at + 1], name[at + 2], name[at + 3]]);
        Regs::new(0, word(0), word(8), word(4))
    }

    #[test]
    fn vendors_are_told_by_all_twelve_bytes() {
        let cases = [
            (b"GenuineIntel", Vendor::Intel),
            (b"AuthenticAMD", Vendor::Amd),
            (b"CentaurHauls", Vendor::Centaur),
            (b"  Shanghai  ", Vendor::Shanghai),
            (b"HygonGenuine", Vendor::Hygon),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Vendor::Unknown),
            (b"            ", Vendor::Unknown),
            (b"xxxxxxxxxxxx", Vendor::Unknown),
            (b"GenuineIotel", Vendor::Unknown),
        ];
        for (name, vendor) in cases {
            assert_eq!(Vendor::of(leaf_0(name)), vendor);
        }
    }

    #[test]
    fn the_oldest_cpu_gives_the_signature_and_one_that_nobody_said_does_not_count() {
        assert_eq!(Signature::least([0x5_0654, 0x3_06f2]), 0x3_06f2);
        assert_eq!(Signature::least([0, 0x3_06f2]), 0x3_06f2);
        assert_eq!(Signature::least([0x3_06f2, 0]), 0x3_06f2);
        assert_eq!(Signature::least([0, 0]), 0);
    }

    #[test]
    fn zhaoxin_family_7_has_an_extended_model() {
        assert_eq!(Signature::of(0x0003_07b2), Signature { family: 7, model: 0x3b, stepping: 2 });
        assert_eq!(Signature::of(0x00a1_0f11), Signature { family: 0x19, model: 0x11, stepping: 1 });
        assert_eq!(Signature::of(0x0000_0543), Signature { family: 5, model: 4, stepping: 3 });
    }
}
