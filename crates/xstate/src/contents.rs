//! What the bytes of a component may say.
//!
//! Some registers refuse some values: loading them faults, or loads something else. No CPU ever saves such a value, so an image
//! that holds one was not saved by a CPU, or was changed since.

use crate::initial::is_zero;
use crate::{Component, ComponentSet};

/// How many bits the linear addresses of a CPU have: CPUID leaf 0x80000008, EAX bits 15 to 8.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LinearAddresses {
    /// 48 bits.
    Bits48,
    /// 57 bits, with five-level paging.
    Bits57,
}

impl LinearAddresses {
    /// Tells whether all bits above the address repeat its highest (SDM vol. 1, 3.3.7.1).
    ///
    /// ```
    /// use selfsame_xstate::LinearAddresses;
    ///
    /// let kernel = 0xff00_0000_0000_0000;
    /// assert!(LinearAddresses::Bits57.has_canonical(kernel));
    /// assert!(!LinearAddresses::Bits48.has_canonical(kernel));
    /// ```
    #[must_use]
    pub const fn has_canonical(self, address: u64) -> bool {
        let unused = match self {
            Self::Bits48 => 64 - 48,
            Self::Bits57 => 64 - 57,
        };
        (address << unused).cast_signed() >> unused == address.cast_signed()
    }
}

/// The parts of CET that a CPU has, which decide about the bits of IA32_U_CET and about shadow stack pointers: a bit of a part
/// that is not there is reserved, and to write it raises #GP (SDM vol. 1, 17.2; SDM vol. 4, IA32_U_CET).
///
/// ```
/// use selfsame_xstate::CetControls;
///
/// // AMD CPUs have shadow stacks and no indirect branch tracking.
/// let milan = CetControls::from_leaf_7([0, 0, 1 << 7, 0]);
/// assert!(milan.allows(0b11) && !milan.allows(0b100));
/// assert!(CetControls::ALL.allows(0b111));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CetControls(u64);

impl CetControls {
    /// SH_STK_EN and WR_SHSTK_EN.
    const SHADOW_STACKS: u64 = 0b11;
    /// ENDBR_EN, LEG_IW_EN, NO_TRACK_EN, SUPPRESS_DIS, SUPPRESS, TRACKER and the address of the legacy bitmap.
    const BRANCH_TRACKING: u64 = !0x3C3;

    /// Shadow stacks and indirect branch tracking.
    pub const ALL: Self = Self(Self::SHADOW_STACKS | Self::BRANCH_TRACKING);

    /// Reads EAX, EBX, ECX and EDX of CPUID leaf 7, subleaf 0: SHSTK is ECX bit 7, and IBT is EDX bit 20.
    #[must_use]
    pub const fn from_leaf_7([_, _, ecx, edx]: [u32; 4]) -> Self {
        let shadow_stacks = if ecx & 1 << 7 == 0 { 0 } else { Self::SHADOW_STACKS };
        let branch_tracking = if edx & 1 << 20 == 0 { 0 } else { Self::BRANCH_TRACKING };
        Self(shadow_stacks | branch_tracking)
    }

    /// Tells whether IA32_U_CET can have these bits, as far as that depends on the parts.
    #[must_use]
    pub const fn allows(self, u_cet: u64) -> bool {
        u_cet & !self.0 == 0
    }

    /// Tells whether there are shadow stacks for pointers to point to.
    const fn has_shadow_stacks(self) -> bool {
        self.0 & Self::SHADOW_STACKS != 0
    }
}

/// What the registers of a CPU can hold, as far as CPUs differ in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegisterWidths {
    pub(crate) addresses: LinearAddresses,
    pub(crate) cet: CetControls,
}

/// A component whose contents are judged.
struct Rule {
    component: Component,
    is_lawful: fn(&[u8], RegisterWidths) -> bool,
}

/// Every component whose registers refuse values, as far as guests are given it.
const RULES: [Rule; 5] = [
    // SDM vol. 1, 17.3.2 (of editions with MPX): BNDCFGU has bits 0 and 1 and the base of a page.
    Rule {
        component: Component::BNDCSR,
        is_lawful: |bytes, widths| {
            word(bytes, 0).is_some_and(|bndcfgu| bndcfgu & 0xFFC == 0 && widths.addresses.has_canonical(bndcfgu))
        },
    },
    // SDM vol. 4, IA32_PASID: twenty bits and bit 31.
    Rule {
        component: Component::PASID,
        is_lawful: |bytes, _| word(bytes, 0).is_some_and(|pasid| pasid & !0x800F_FFFF == 0),
    },
    // SDM vol. 1, 17.2: U_CET and PL3_SSP.
    Rule {
        component: Component::CET_U,
        is_lawful: |bytes, widths| {
            word(bytes, 0).is_some_and(|cet| is_cet_control(cet, widths)) && are_stacks(bytes, 1..2, widths)
        },
    },
    // SDM vol. 1, 17.2: PL0_SSP to PL2_SSP.
    Rule { component: Component::CET_S, is_lawful: |bytes, widths| are_stacks(bytes, 0..3, widths) },
    // SDM vol. 2, LDTILECFG.
    Rule { component: Component::XTILECFG, is_lawful: |bytes, _| is_tile_configuration(bytes) },
];

/// The components of [`RULES`].
const RULED: ComponentSet = {
    let mut ruled = ComponentSet::EMPTY;
    let mut rest: &[Rule] = &RULES;
    while let [rule, tail @ ..] = rest {
        ruled = ruled.with(rule.component);
        rest = tail;
    }
    ruled
};

/// Names the components of `present` whose bytes no CPU saves.
#[inline]
pub(crate) fn unlawful<'b>(
    present: ComponentSet,
    widths: RegisterWidths,
    bytes_of: impl Fn(Component) -> Option<&'b [u8]>,
) -> ComponentSet {
    if present.intersection(RULED).is_empty() { ComponentSet::EMPTY } else { judged(present, widths, bytes_of) }
}

fn judged<'b>(
    present: ComponentSet,
    widths: RegisterWidths,
    bytes_of: impl Fn(Component) -> Option<&'b [u8]>,
) -> ComponentSet {
    let is_unlawful = |rule: &&Rule| {
        present.contains(rule.component)
            && bytes_of(rule.component).is_some_and(|bytes| !(rule.is_lawful)(bytes, widths))
    };
    RULES.iter().filter(is_unlawful).map(|rule| rule.component).collect()
}

/// Returns the word with this number, or `None` where the component is too short for it.
fn word(bytes: &[u8], index: usize) -> Option<u64> {
    bytes.as_chunks().0.get(index).copied().map(u64::from_le_bytes)
}

/// Bits of parts that are not there are reserved, as are bits 6 to 9; suppressed tracking excludes waiting for ENDBRANCH, and
/// the bitmap lies at an address.
fn is_cet_control(cet: u64, widths: RegisterWidths) -> bool {
    widths.cet.allows(cet) && cet & 0xC00 != 0xC00 && widths.addresses.has_canonical(cet)
}

/// Shadow stack pointers are addresses of 4-byte words; without shadow stacks there is nothing that could set them.
fn are_stacks(bytes: &[u8], mut words: core::ops::Range<usize>, widths: RegisterWidths) -> bool {
    let is_stack = |stack| {
        let is_pointer = stack & 3 == 0 && widths.addresses.has_canonical(stack);
        stack == 0 || is_pointer && widths.cet.has_shadow_stacks()
    };
    words.all(|index| word(bytes, index).is_some_and(is_stack))
}

/// Palette 1 has eight tiles of at most 16 rows of 64 bytes; without a palette all is zero.
fn is_tile_configuration(bytes: &[u8]) -> bool {
    let Some((start, rest)) = bytes.split_first_chunk() else { return false };
    // There is room for sixteen tiles: how long their rows are, and how many.
    let Some((columns, rest)) = rest.split_first_chunk::<16>() else { return false };
    let Some((more_columns, rest)) = rest.split_first_chunk() else { return false };
    let Some((rows, rest)) = rest.split_first_chunk::<8>() else { return false };
    let Some((more_rows, _)) = rest.split_first_chunk() else { return false };
    // The palette, the row to start from, and reserved bytes.
    let start = u128::from_le_bytes(*start);
    let is_reserved_zero =
        start >> 16 == 0 && u128::from_le_bytes(*more_columns) == 0 && u64::from_le_bytes(*more_rows) == 0;
    // No tile ends the loop early, so that all are judged at once.
    let tiles = columns.as_chunks().0.iter().copied().map(u16::from_le_bytes).zip(rows);
    let are_tiles = tiles.fold(true, |are_tiles, (columns_bytes, &rows)| {
        are_tiles & (columns_bytes <= 64) & (rows <= 16) & ((columns_bytes == 0) == (rows == 0))
    });
    match start & 0xFF {
        0 => is_zero(bytes),
        1 => is_reserved_zero && are_tiles,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use LinearAddresses::{Bits48, Bits57};

    /// Whether the words are lawful contents of a component.
    fn is_lawful(component: Component, words: &[u64], addresses: LinearAddresses) -> bool {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        unlawful(component.into(), with(addresses), |_| Some(&bytes)).is_empty()
    }

    /// A CPU with all of CET.
    fn with(addresses: LinearAddresses) -> RegisterWidths {
        RegisterWidths { addresses, cet: CetControls::ALL }
    }

    #[test]
    fn addresses_are_canonical_by_the_width_of_the_cpu() {
        let highest = [(Bits48, 0x7FFF_FFFF_FFFF), (Bits57, 0x00FF_FFFF_FFFF_FFFF_u64)];
        for (addresses, highest) in highest {
            assert!(addresses.has_canonical(highest) && addresses.has_canonical(!highest), "{addresses:?}");
            assert!(!addresses.has_canonical(highest + 1) && !addresses.has_canonical(!highest - 1), "{addresses:?}");
        }
    }

    #[test]
    fn cet_state_is_judged_as_by_wrmsr() {
        let lawful = |cet, stack| is_lawful(Component::CET_U, &[cet, stack], Bits48);
        assert!(lawful(0x3F, 0x7FFF_FFFF_FFF8) && lawful(0xFFFF_8000_0000_0405, 4));
        assert!(!lawful(0x40, 0) && !lawful(0xC00, 0) && !lawful(1 << 48, 0));
        assert!(!lawful(0, 2) && !lawful(0, 1 << 47));
        assert!(is_lawful(Component::CET_U, &[0, 1 << 47], Bits57));
        assert!(is_lawful(Component::CET_S, &[8, 16, 24], Bits48));
        assert!(!is_lawful(Component::CET_S, &[8, 16, 25], Bits48));
        assert!(!is_lawful(Component::CET_S, &[8, 16], Bits48), "too short");
    }

    #[test]
    fn every_bit_of_u_cet_needs_its_part_of_cet() {
        let [neither, stacks, tracking, both] = [[0, 0], [1 << 7, 0], [0, 1 << 20], [1 << 7, 1 << 20]]
            .map(|[ecx, edx]| CetControls::from_leaf_7([0, 0, ecx, edx]));
        assert_eq!(both, CetControls::ALL);
        for bit in 0..64 {
            let value = 1 << bit;
            let (is_stacks, is_tracking) = (bit < 2, (2..6).contains(&bit) || bit >= 10);
            assert_eq!(stacks.allows(value), is_stacks, "bit {bit}");
            assert_eq!(tracking.allows(value), is_tracking, "bit {bit}");
            assert_eq!(both.allows(value), is_stacks || is_tracking, "bit {bit}");
            assert!(!neither.allows(value), "bit {bit}");
        }
    }

    #[test]
    fn shadow_stack_pointers_need_shadow_stacks() {
        let lawful = |component: Component, words: &[u64], ecx, edx| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let widths = RegisterWidths { addresses: Bits48, cet: CetControls::from_leaf_7([0, 0, ecx, edx]) };
            unlawful(component.into(), widths, |_| Some(&bytes)).is_empty()
        };
        assert!(lawful(Component::CET_U, &[1, 8], 1 << 7, 0) && !lawful(Component::CET_U, &[4, 8], 1 << 7, 0));
        assert!(lawful(Component::CET_U, &[4, 0], 0, 1 << 20) && !lawful(Component::CET_U, &[4, 8], 0, 1 << 20));
        assert!(lawful(Component::CET_S, &[0, 0, 8], 1 << 7, 0) && !lawful(Component::CET_S, &[0, 0, 8], 0, 1 << 20));
        assert!(lawful(Component::CET_U, &[0, 0], 0, 0) && lawful(Component::CET_S, &[0, 0, 0], 0, 0));
    }

    #[test]
    fn mpx_and_pasid_have_reserved_bits() {
        assert!(is_lawful(Component::BNDCSR, &[0x7FFF_FFFF_F003, u64::MAX], Bits48));
        assert!(!is_lawful(Component::BNDCSR, &[4, 0], Bits48));
        assert!(is_lawful(Component::PASID, &[0x800F_FFFF], Bits48));
        assert!(!is_lawful(Component::PASID, &[0x10_0000], Bits48));
    }

    #[test]
    fn tile_configurations_are_judged_as_by_ldtilecfg() {
        let lawful = |at: &[(usize, u8)]| {
            let mut bytes = [0; 64];
            at.iter().for_each(|&(index, byte)| bytes[index] = byte);
            is_tile_configuration(&bytes)
        };
        assert!(lawful(&[]) && lawful(&[(0, 1)]) && lawful(&[(0, 1), (1, 3), (16, 64), (48, 16), (30, 4), (55, 1)]));
        assert!(!lawful(&[(1, 1)]), "no palette");
        assert!(!lawful(&[(0, 2)]), "unknown palette");
        assert!(!lawful(&[(0, 1), (15, 1)]), "reserved byte");
        assert!(!lawful(&[(0, 1), (16, 65), (48, 1)]) && !lawful(&[(0, 1), (16, 64), (48, 17)]), "too large");
        assert!(!lawful(&[(0, 1), (16, 64)]) && !lawful(&[(0, 1), (48, 1)]), "half empty");
        assert!(!lawful(&[(0, 1), (32, 4), (56, 1)]), "a ninth tile");
    }

    #[test]
    fn components_without_a_rule_hold_anything() {
        assert!(unlawful(ComponentSet::ALL.minus(RULED), with(Bits48), |_| Some(&[0xFF; 64])).is_empty());
        assert_eq!(unlawful(ComponentSet::ALL, with(Bits48), |_| Some(&[0xFF; 64])).bits(), 0x2_1C10);
    }
}
