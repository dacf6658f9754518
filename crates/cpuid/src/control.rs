//! The bits of CR4 and EFER that a policy's features bring: a guest that sets another gets #GP, as on a CPU without them.

use crate::leaves::Leaves;
use crate::table::feature;

/// A bit of a control register, and what a CPU has that has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ControlBit {
    /// The number of the bit.
    pub bit: u8,
    /// The features that bring it, any of them; none if every CPU in long mode has it.
    pub features: &'static [&'static str],
}

const fn bit(bit: u8, features: &'static [&'static str]) -> ControlBit {
    ControlBit { bit, features }
}

/// The bits of CR4 (SDM vol. 3A, 2.5; APM vol. 2, 3.1.3).
pub static CR4_BITS: [ControlBit; 28] = [
    bit(0, &["vme"]),
    bit(1, &["vme"]),
    bit(2, &["tsc"]),
    bit(3, &["de"]),
    bit(4, &["pse"]),
    bit(5, &["pae"]),
    bit(6, &["mce"]),
    bit(7, &["pge"]),
    // RDPMC in ring 3.
    bit(8, &[]),
    bit(9, &["fxsr"]),
    bit(10, &["sse"]),
    bit(11, &["umip"]),
    bit(12, &["la57"]),
    bit(13, &["vmx"]),
    bit(14, &["smx"]),
    bit(16, &["fsgsbase"]),
    bit(17, &["pcid"]),
    bit(18, &["xsave"]),
    bit(19, &["key-locker"]),
    bit(20, &["smep"]),
    bit(21, &["smap"]),
    bit(22, &["pku"]),
    bit(23, &["shstk", "ibt"]),
    bit(24, &["pks"]),
    bit(25, &["uintr"]),
    bit(27, &["lass"]),
    // LAM_SUP; LAM_U48 and LAM_U57 are bits of CR3.
    bit(28, &["lam"]),
    bit(32, &["fred"]),
];

/// The bits of EFER (SDM vol. 3A, 2.2.1; APM vol. 2, 3.1.7).
pub static EFER_BITS: [ControlBit; 8] = [
    bit(0, &["syscall"]),
    bit(8, &["lm"]),
    bit(10, &["lm"]),
    bit(11, &["nx"]),
    bit(12, &["svm"]),
    bit(14, &["fxsr-opt"]),
    bit(15, &["tce"]),
    bit(21, &["auto-ibrs"]),
];

impl Leaves {
    /// The bits of CR4 that these features bring; all others raise #GP when they are set.
    ///
    /// ```
    /// use selfsame_cpuid::{Leaves, Regs};
    ///
    /// let mut leaves = Leaves::new();
    /// leaves.set(1, 0, Regs::new(0, 0, 1 << 26, 0))?;
    /// assert_eq!(leaves.cr4_bits(), 1 << 18 | 1 << 8, "OSXSAVE, and PCE which all have");
    /// # Ok::<(), selfsame_cpuid::OutsideModel>(())
    /// ```
    pub fn cr4_bits(&self) -> u64 {
        self.bits_of(&CR4_BITS)
    }

    /// The bits of EFER that these features bring; all others raise #GP when they are set.
    pub fn efer_bits(&self) -> u64 {
        self.bits_of(&EFER_BITS)
    }

    fn bits_of(&self, rows: &[ControlBit]) -> u64 {
        let has = |name: &&str| feature(name).is_some_and(|feature| self.is_set(feature.place));
        let is_brought = |row: &&ControlBit| row.features.is_empty() || row.features.iter().any(has);
        rows.iter().filter(is_brought).fold(0, |bits, row| bits | 1 << row.bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_that_brings_a_bit_is_in_the_table_and_no_bit_comes_twice() {
        for rows in [&CR4_BITS[..], &EFER_BITS[..]] {
            for row in rows {
                assert!(row.features.iter().all(|name| feature(name).is_some()), "{row:?}");
            }
            assert!(rows.windows(2).all(|pair| pair[0].bit < pair[1].bit));
        }
    }
}
