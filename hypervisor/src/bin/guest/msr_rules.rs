//! MSRs that depend on what CPUID shows: whether they are there, and which values they take.

use selfsame_xstate::{
    COMPONENTS, Component, ComponentSet, EXTENDED_START_BYTES, Geometry, HEADER_BYTES, Header, LEGACY_BYTES, Reader,
    XfdWrites, wrmsr_xfd, wrmsr_xfd_err,
};

use crate::machine::Machine;

/// One MSR.
#[derive(Debug)]
pub(crate) struct MsrRule {
    pub(crate) index: u32,
    pub(crate) name: &'static str,
    /// The features that bring it, any of them; none if every CPU in 64-bit mode has it.
    pub(crate) features: &'static [&'static str],
    pub(crate) takes: Takes,
}

/// Which values an MSR takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Takes {
    /// Canonical addresses.
    Addresses,
    /// What fits into the low half.
    Low,
    /// IA32_U_CET and IA32_S_CET: as XRSTORS takes the first word of CET_U.
    Cet,
    /// Shadow stack pointers: as XRSTORS takes the words of CET_S.
    Stacks,
    Xfd,
    XfdErr,
    /// 0 at least; more is not tried.
    Zero,
}

const CET: &[&str] = &["shstk", "ibt"];

/// The MSRs whose rules are tried.
#[rustfmt::skip]
pub(crate) static MSR_RULES: [MsrRule; 27] = [
    rule(0xc000_0100, "FS_BASE", &[], Takes::Addresses),
    rule(0xc000_0101, "GS_BASE", &[], Takes::Addresses),
    rule(0xc000_0102, "KERNEL_GS_BASE", &[], Takes::Addresses),
    rule(0xc000_0082, "LSTAR", &[], Takes::Addresses),
    rule(0xc000_0083, "CSTAR", &[], Takes::Addresses),
    rule(0x175, "SYSENTER_ESP", &["sep"], Takes::Zero),
    rule(0x176, "SYSENTER_EIP", &["sep"], Takes::Zero),
    rule(0xc000_0103, "TSC_AUX", &["rdtscp", "rdpid"], Takes::Zero),
    rule(0x048, "SPEC_CTRL", &["spec-ctrl", "ibrs", "amd-stibp", "amd-ssbd"], Takes::Zero),
    rule(0x1c4, "XFD", &["xfd"], Takes::Xfd),
    rule(0x1c5, "XFD_ERR", &["xfd"], Takes::XfdErr),
    rule(0x6a0, "U_CET", CET, Takes::Cet),
    rule(0x6a2, "S_CET", CET, Takes::Cet),
    rule(0x6a4, "PL0_SSP", &["shstk"], Takes::Stacks),
    rule(0x6a5, "PL1_SSP", &["shstk"], Takes::Stacks),
    rule(0x6a6, "PL2_SSP", &["shstk"], Takes::Stacks),
    rule(0x6a7, "PL3_SSP", &["shstk"], Takes::Stacks),
    rule(0x6a8, "INTERRUPT_SSP_TABLE", &["shstk"], Takes::Addresses),
    rule(0x6e1, "PKRS", &["pks"], Takes::Low),
    rule(0x985, "UINTR_RR", &["uintr"], Takes::Zero),
    rule(0x986, "UINTR_HANDLER", &["uintr"], Takes::Addresses),
    rule(0x987, "UINTR_STACKADJUST", &["uintr"], Takes::Zero),
    rule(0x988, "UINTR_MISC", &["uintr"], Takes::Zero),
    rule(0x989, "UINTR_PD", &["uintr"], Takes::Zero),
    rule(0x98a, "UINTR_TT", &["uintr"], Takes::Zero),
    rule(0xc000_0081, "STAR", &[], Takes::Zero),
    rule(0xc000_0084, "SFMASK", &[], Takes::Zero),
];

const fn rule(index: u32, name: &'static str, features: &'static [&'static str], takes: Takes) -> MsrRule {
    MsrRule { index, name, features, takes }
}

impl MsrRule {
    /// Whether the CPU has it.
    pub(crate) fn is_there(&self, machine: &Machine) -> bool {
        self.features.is_empty() || machine.has_any(self.features)
    }

    /// Whether it takes a value, where it is there. Values that [`MsrRule::values`] does not give are not judged.
    pub(crate) fn takes(&self, value: u64, machine: &Machine) -> bool {
        let has_xfd = if machine.has("xfd") { XfdWrites::PassedThrough } else { XfdWrites::Absent };
        match self.takes {
            Takes::Addresses => is_address(value),
            Takes::Low => value >> 32 == 0,
            Takes::Cet => is_lawful(Component::CET_U, [value, 0, 0]),
            Takes::Stacks => is_lawful(Component::CET_S, [value, 0, 0]),
            Takes::Xfd => wrmsr_xfd(value, has_xfd, &machine.geometry).is_ok(),
            Takes::XfdErr => wrmsr_xfd_err(value, has_xfd, &machine.geometry).is_ok(),
            Takes::Zero => value == 0,
        }
    }
}

/// Whether bits 63 to 47 are equal: canonical with four levels, and with five.
fn is_address(value: u64) -> bool {
    let value = value.cast_signed();
    value << 16 >> 16 == value
}

/// Whether a CPU takes these words for a component of CET, by the strict reading of an image that holds it alone.
pub(crate) fn is_lawful(component: Component, words: [u64; 3]) -> bool {
    const BYTES: usize = EXTENDED_START_BYTES as usize + 24;
    /// Of XCOMP_BV: the image is compacted (SDM vol. 1, 13.4.2).
    const COMPACTED: u64 = 1 << 63;
    let set = ComponentSet::from(component);
    let mut bytes = [0; BYTES];
    let (legacy, rest) = bytes.split_at_mut(LEGACY_BYTES as usize);
    let (header, rest) = rest.split_at_mut(HEADER_BYTES as usize);
    legacy.fill(0);
    let own = Header { xstate_bv: set.bits(), xcomp_bv: COMPACTED | set.bits(), ..Header::default() };
    header.copy_from_slice(&own.to_bytes());
    for (place, word) in rest.as_chunks_mut().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    Reader::new(&cet_geometry(), ComponentSet::LEGACY | set).read(&bytes).is_ok()
}

/// A CPU that has CET, and nothing else.
fn cet_geometry() -> Geometry {
    let components = [Component::CET_U, Component::CET_S];
    let size_bytes = |component: Component| {
        COMPONENTS.iter().find(|row| row.component == component).and_then(|row| row.size_bytes).unwrap_or(0)
    };
    Geometry::read(|subleaf| match subleaf {
        0 => [3, EXTENDED_START_BYTES, EXTENDED_START_BYTES, 0],
        1 => [0xf, 0, components.map(|component| 1 << component.index()).iter().sum(), 0],
        _ => components
            .iter()
            .find(|component| u32::from(component.index()) == subleaf)
            .map_or([0; 4], |&component| [size_bytes(component), 0, 1, 0]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_cpuid::feature;

    #[test]
    fn every_rule_names_features_of_the_table_by_their_canonical_names() {
        for rule in &MSR_RULES {
            for name in rule.features {
                assert_eq!(feature(name).map(|row| row.name), Some(*name), "{}", rule.name);
            }
        }
    }

    #[test]
    fn cet_values_are_judged_as_images_are() {
        let takes = |component, word| is_lawful(component, [word, 0, 0]);
        assert!(takes(Component::CET_U, 0x3f) && !takes(Component::CET_U, 0x40) && !takes(Component::CET_U, 0xc00));
        assert!(takes(Component::CET_S, 0x7fff_ffff_fff8) && !takes(Component::CET_S, 2));
        assert!(!takes(Component::CET_S, 1 << 62));
    }

    #[test]
    fn addresses_repeat_bit_47() {
        assert!(is_address(0x7fff_ffff_ffff) && is_address(0xffff_8000_0000_0000));
        assert!(!is_address(0x8000_0000_0000) && !is_address(1 << 62));
    }
}
