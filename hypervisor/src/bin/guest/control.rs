//! The bits of CR4, one row each: which feature brings the bit, and what this program does with it.

/// One bit of CR4 (SDM vol. 3A, 2.5; APM vol. 2, 3.1.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) bit: u32,
    pub(crate) name: &'static str,
    /// The features that bring it, any of them.
    pub(crate) features: &'static [&'static str],
    /// Whether this program runs with it on.
    pub(crate) is_used: bool,
}

const fn used(bit: u32, name: &'static str, features: &'static [&'static str]) -> Control {
    Control { bit, name, features, is_used: true }
}

/// A bit that this program leaves off: it would stand in its way, or is nothing to it.
const fn left(bit: u32, name: &'static str, features: &'static [&'static str]) -> Control {
    Control { bit, name, features, is_used: false }
}

/// Every bit that depends on a feature which CPUs with 64-bit mode may lack; those that the base has set are left out.
#[rustfmt::skip]
pub(crate) const CONTROLS: &[Control] = &[
    used(7, "PGE", &["pge"]),
    used(11, "UMIP", &["umip"]),
    // Changes whether 64-bit mode has five levels, which cannot be changed in it.
    left(12, "LA57", &["la57"]),
    left(13, "VMXE", &["vmx"]),
    left(14, "SMXE", &["smx"]),
    used(16, "FSGSBASE", &["fsgsbase"]),
    used(17, "PCIDE", &["pcid"]),
    used(18, "OSXSAVE", &["xsave"]),
    left(19, "KL", &["key-locker"]),
    used(20, "SMEP", &["smep"]),
    used(21, "SMAP", &["smap"]),
    used(22, "PKE", &["pku"]),
    used(23, "CET", &["shstk", "ibt"]),
    used(24, "PKS", &["pks"]),
    used(25, "UINTR", &["uintr"]),
    // Keeps ring 0 from the lower half, which this program lives in.
    left(27, "LASS", &["lass"]),
    left(28, "LAM_SUP", &["lam"]),
    left(32, "FRED", &["fred"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_cpuid::feature;

    #[test]
    fn every_row_names_features_of_the_table_by_their_canonical_names() {
        for row in CONTROLS {
            for name in row.features {
                assert_eq!(feature(name).map(|row| row.name), Some(*name), "CR4.{}", row.name);
            }
        }
    }

    #[test]
    fn bits_ascend() {
        assert!(CONTROLS.is_sorted_by(|a, b| a.bit < b.bit));
    }
}
