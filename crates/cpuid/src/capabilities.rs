//! Levelling hardware: what lets a hypervisor decide what CPUID shows to a guest whose CPUID does not exit.
//!
//! There are two kinds. *Faulting* makes CPUID fault outside ring 0. *Masking* MSRs change what the instruction writes, for
//! some words, on some models. What a model is expected to have stands here. What a CPU has is probed by effect
//! ([`probe`](crate::probe())): a hypervisor below may accept the writes and do nothing, so that no #GP proves nothing.

use core::fmt;

use crate::leaves::Leaves;
use crate::place::{Register::*, Word};
use crate::vendor::Vendor;

/// One thing that levelling hardware can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Capability {
    /// CPUID faults outside ring 0: `faulting`.
    Faulting,
    /// A masking MSR covers the word: `mask:00000001.ecx`.
    Mask(Word),
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faulting => f.write_str("faulting"),
            Self::Mask(word) => write!(f, "mask:{word}"),
        }
    }
}

/// What a masking MSR does with the word that CPUID would write.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum MaskMeaning {
    /// CPUID writes the word AND the mask: bits can only be hidden. Dynamic bits are ANDed as well (Intel FlexMigration).
    And,
    /// CPUID writes the value of the MSR: it can invent features. A dynamic bit (APIC, OSXSAVE) is shown only if it is set in
    /// the MSR (AMD).
    Override,
}

/// One masking MSR.
///
/// Of 00000007.0.eax only a number makes sense: it is the highest subleaf, and no set of bits.
#[derive(Clone, Copy, Debug)]
pub struct MaskingMsr {
    /// The MSR.
    pub index: u32,
    /// The word in bits 31 to 0.
    pub low: Word,
    /// The word in bits 63 to 32.
    pub high: Option<Word>,
    /// What it does with them.
    pub meaning: MaskMeaning,
    /// Which CPUs are expected to have it.
    models: Models,
    /// Where this is known from.
    pub source: &'static str,
}

/// The CPUs that a row of [`MASKING_MSRS`] is for.
#[derive(Clone, Copy, Debug)]
enum Models {
    /// Intel, family 6, these models.
    Intel(&'static [u8]),
    /// AMD and Hygon with overrides.
    Amd,
    /// The same, if they have leaf 7.
    AmdWithLeaf7,
    /// The same, of family 0x15 alone, if leaf 6 ECX has any bit.
    AmdFamily15WithLeaf6,
}

/// Yorkfield, Wolfdale, Penryn, Harpertown; Dunnington.
const PENRYN: Models = Models::Intel(&[0x17, 0x1d]);
/// Nehalem-EP, Lynnfield, Havendale, Nehalem-EX; Clarkdale, Westmere-EP, Westmere-EX.
const NEHALEM: Models = Models::Intel(&[0x1a, 0x1e, 0x1f, 0x2e, 0x25, 0x2c, 0x2f]);
/// Sandy Bridge, and Sandy Bridge-E, -EN, -EP.
const SANDY_BRIDGE: Models = Models::Intel(&[0x2a, 0x2d]);

const INTEL_SOURCE: &str =
    "Intel, FlexMigration application note 323850; Xen, xen/arch/x86/cpu/intel.c, probe_masking_msrs";
const AMD_SOURCE: &str =
    "AMD, BKDG of the family, MSRC001_1002 to 1005; Xen, xen/arch/x86/cpu/amd.c, probe_masking_msrs";

const fn intel(index: u32, low: Word, high: Option<Word>, models: Models) -> MaskingMsr {
    MaskingMsr { index, low, high, meaning: MaskMeaning::And, models, source: INTEL_SOURCE }
}

const fn amd(index: u32, low: Word, high: Option<Word>, models: Models) -> MaskingMsr {
    MaskingMsr { index, low, high, meaning: MaskMeaning::Override, models, source: AMD_SOURCE }
}

const LEAF_1_ECX: Word = Word::leaf(0x1, Ecx);
const LEAF_1_EDX: Word = Word::leaf(0x1, Edx);
const EXTENDED_ECX: Word = Word::leaf(0x8000_0001, Ecx);
const EXTENDED_EDX: Word = Word::leaf(0x8000_0001, Edx);
const XSAVE_FEATURES: Word = Word::subleaf(0xd, 1, Eax);
const LEAF_6_ECX: Word = Word::leaf(0x6, Ecx);
const LEAF_7_EAX: Word = Word::subleaf(0x7, 0, Eax);
const LEAF_7_EBX: Word = Word::subleaf(0x7, 0, Ebx);

/// The masking MSRs, by models. Intel has ECX in the low half, AMD in the high one.
pub static MASKING_MSRS: [MaskingMsr; 10] = [
    intel(0x478, LEAF_1_ECX, Some(LEAF_1_EDX), PENRYN),
    intel(0x130, LEAF_1_ECX, Some(LEAF_1_EDX), NEHALEM),
    intel(0x131, EXTENDED_ECX, Some(EXTENDED_EDX), NEHALEM),
    intel(0x132, LEAF_1_ECX, Some(LEAF_1_EDX), SANDY_BRIDGE),
    intel(0x133, EXTENDED_ECX, Some(EXTENDED_EDX), SANDY_BRIDGE),
    intel(0x134, XSAVE_FEATURES, None, SANDY_BRIDGE),
    amd(0xc001_1002, LEAF_7_EBX, Some(LEAF_7_EAX), Models::AmdWithLeaf7),
    amd(0xc001_1003, LEAF_6_ECX, None, Models::AmdFamily15WithLeaf6),
    amd(0xc001_1004, LEAF_1_EDX, Some(LEAF_1_ECX), Models::Amd),
    amd(0xc001_1005, EXTENDED_EDX, Some(EXTENDED_ECX), Models::Amd),
];

/// Family 0xF: the first AMD64 CPUs.
const K8: u16 = 0xf;

impl MaskingMsr {
    /// What EDI must hold to reach the MSRs 0xC001100x of K8 (BKDG of family 0xF, 26094).
    pub const K8_PASSCODE: u32 = 0x9c5a_203a;

    /// The words that the MSR covers.
    pub fn words(&self) -> impl Iterator<Item = Word> {
        [Some(self.low), self.high].into_iter().flatten()
    }

    /// Whether the CPU that answers `raw` is of a model that has the MSR.
    pub fn is_expected(&self, raw: &Leaves) -> bool {
        let signature = raw.signature();
        match self.models {
            Models::Intel(models) => {
                raw.vendor() == Vendor::Intel && signature.family == 6 && models.contains(&signature.model)
            }
            Models::Amd => has_overrides(raw),
            Models::AmdWithLeaf7 => has_overrides(raw) && raw.get(0, 0).eax >= 7,
            Models::AmdFamily15WithLeaf6 => {
                has_overrides(raw) && signature.family == 0x15 && raw.get(0, 0).eax >= 6 && raw.get(0x6, 0).ecx != 0
            }
        }
    }

    /// Whether EDI must hold [`MaskingMsr::K8_PASSCODE`] to reach the MSR on the CPU that answers `raw`.
    pub fn needs_passcode(&self, raw: &Leaves) -> bool {
        self.meaning == MaskMeaning::Override && raw.signature().family == K8
    }
}

/// AMD and Hygon have overrides since revision E of K8 (model 0x20 and up), but for family 0x11, which is Turion X2 Ultra.
fn has_overrides(raw: &Leaves) -> bool {
    let signature = raw.signature();
    let is_old = signature.family < K8 || signature.family == K8 && signature.model < 0x20;
    raw.vendor().is_amd_like() && !is_old && signature.family != 0x11
}

/// Where CPUID faulting is switched on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct FaultingControl {
    /// The MSR.
    pub index: u32,
    /// Its bit.
    pub bit: u8,
}

impl FaultingControl {
    /// MISC_FEATURES_ENABLES bit 0, where bit 31 of PLATFORM_INFO (0xCE) tells of it (SDM vol. 4, table 2-2).
    pub const INTEL: Self = Self { index: 0x140, bit: 0 };
    /// HWCR bit 35, CpuidUserDis, where 80000021.EAX\[17\] tells of it (APM vol. 2, 3.2.10).
    pub const AMD: Self = Self { index: 0xc001_0015, bit: 35 };

    /// How faulting is switched on for the CPU that answers `raw`; `None` if it has none.
    ///
    /// Intel's form comes first, whatever the vendor: hypervisors give it to guests on AMD too.
    pub fn expected(raw: &Leaves) -> Option<Self> {
        if raw.msr(0xce).is_some_and(|value| value >> 31 & 1 == 1) {
            return Some(Self::INTEL);
        }
        let is_told = raw.get(0x8000_0021, 0).eax >> 17 & 1 == 1;
        (is_told && raw.vendor().is_amd_like()).then_some(Self::AMD)
    }
}

/// The words that masks can cover, ascending.
const MASKABLE: [Word; 8] =
    [LEAF_1_ECX, LEAF_1_EDX, LEAF_6_ECX, LEAF_7_EAX, LEAF_7_EBX, XSAVE_FEATURES, EXTENDED_ECX, EXTENDED_EDX];

/// A set of capabilities. Prints their names, joined by spaces.
///
/// ```
/// use selfsame_cpuid::{Leaves, LevellingCapabilities, Regs};
///
/// // Sandy Bridge-EP, without faulting.
/// let mut raw = Leaves::new();
/// raw.set(0x0, 0, Regs::new(0xd, 0x756e_6547, 0x6c65_746e, 0x4965_6e69))?;
/// raw.set(0x1, 0, Regs::new(0x0002_06d7, 0, 0, 0))?;
/// assert_eq!(
///     LevellingCapabilities::expected(&raw).to_string(),
///     "mask:00000001.ecx mask:00000001.edx mask:0000000d.1.eax mask:80000001.ecx mask:80000001.edx",
/// );
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
pub struct LevellingCapabilities(u16);

const _: () = assert!(MASKABLE.len() < 16);

impl LevellingCapabilities {
    /// No levelling hardware.
    pub const EMPTY: Self = Self(0);

    /// What the model of the CPU that answers `raw` is expected to have.
    ///
    /// `raw` is what the CPU itself answers, with MSR 0xCE where it could be read.
    pub fn expected(raw: &Leaves) -> Self {
        let mut set = Self::EMPTY;
        if FaultingControl::expected(raw).is_some() {
            set.insert(Capability::Faulting);
        }
        for word in MASKING_MSRS.iter().filter(|row| row.is_expected(raw)).flat_map(MaskingMsr::words) {
            set.insert(Capability::Mask(word));
        }
        set
    }

    /// Adds a capability. A word that no masking MSR covers is not one, and changes nothing.
    pub fn insert(&mut self, capability: Capability) {
        self.0 |= Self::bit(capability);
    }

    /// Whether the capability is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & Self::bit(capability) != 0
    }

    /// Whether there is no capability.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in the set and not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The capabilities: faulting, then masks in the order of their places.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        let all = core::iter::once(Capability::Faulting).chain(MASKABLE.into_iter().map(Capability::Mask));
        all.filter(move |&capability| self.contains(capability))
    }

    fn bit(capability: Capability) -> u16 {
        match capability {
            Capability::Faulting => 1,
            Capability::Mask(word) => MASKABLE.iter().position(|&known| known == word).map_or(0, |at| 2 << at),
        }
    }
}

impl fmt::Display for LevellingCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for capability in self.iter() {
            write!(f, "{separator}{capability}")?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regs::Regs;
    use std::string::{String, ToString};
    use std::vec::Vec;

    const INTEL: Regs = Regs::new(0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69);
    const AMD: Regs = Regs::new(0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65);
    const HYGON: Regs = Regs::new(0xd, 0x6f67_7948, 0x656e_6975, 0x6e65_476e);

    fn raw(leaf_0: Regs, leaf_1_eax: u32) -> Leaves {
        let mut raw = Leaves::new();
        raw.set(0, 0, leaf_0).unwrap();
        raw.set(1, 0, Regs::new(leaf_1_eax, 0, 0, 0)).unwrap();
        raw
    }

    fn msrs(raw: &Leaves) -> Vec<u32> {
        MASKING_MSRS.iter().filter(|row| row.is_expected(raw)).map(|row| row.index).collect()
    }

    fn names(raw: &Leaves) -> String {
        LevellingCapabilities::expected(raw).to_string()
    }

    #[test]
    fn intel_models_have_the_masks_of_their_generation() {
        let cases: [(u32, &[u32]); 9] = [
            (0x0001_067a, &[0x478]),
            (0x0001_06d1, &[0x478]),
            (0x0001_06a5, &[0x130, 0x131]),
            (0x0002_06c2, &[0x130, 0x131]),
            (0x0002_06f2, &[0x130, 0x131]),
            (0x0002_06a7, &[0x132, 0x133, 0x134]),
            (0x0002_06d7, &[0x132, 0x133, 0x134]),
            (0x0003_06a9, &[]),
            (0x0000_0f41, &[]),
        ];
        for (signature, expected) in cases {
            assert_eq!(msrs(&raw(INTEL, signature)), expected, "{signature:#x}");
        }
    }

    #[test]
    fn amd_families_have_overrides_but_for_old_k8_and_family_11() {
        let with_leaf_6 = |leaf_1_eax| {
            let mut raw = raw(AMD, leaf_1_eax);
            raw.set(6, 0, Regs::new(4, 0, 1, 0)).unwrap();
            raw
        };
        let cases: [(u32, &[u32]); 6] = [
            (0x0001_0f50, &[]),
            (0x0002_0f71, &[0xc001_1002, 0xc001_1004, 0xc001_1005]),
            (0x0020_0f31, &[]),
            (0x0060_0f20, &[0xc001_1002, 0xc001_1003, 0xc001_1004, 0xc001_1005]),
            (0x00a0_0f11, &[0xc001_1002, 0xc001_1004, 0xc001_1005]),
            (0x0000_0581, &[]),
        ];
        for (signature, expected) in cases {
            assert_eq!(msrs(&with_leaf_6(signature)), expected, "{signature:#x}");
        }
        assert_eq!(msrs(&raw(Regs { eax: 5, ..AMD }, 0x0010_0f42)), [0xc001_1004, 0xc001_1005], "no leaf 7");
        assert_eq!(msrs(&raw(HYGON, 0x0090_0f01)), [0xc001_1002, 0xc001_1004, 0xc001_1005]);
        assert_eq!(msrs(&raw(INTEL, 0x00a0_0f11)), [0; 0]);
    }

    #[test]
    fn only_k8_asks_for_the_passcode() {
        let needs = |leaf_0, signature| MASKING_MSRS.iter().any(|row| row.needs_passcode(&raw(leaf_0, signature)));
        assert!(needs(AMD, 0x0002_0f71));
        assert!(!needs(AMD, 0x0010_0f42));
        assert!(!needs(INTEL, 0x0002_06d7));
    }

    #[test]
    fn faulting_is_told_by_0xce_on_any_vendor_and_by_80000021_on_amd() {
        let mut ivy_bridge = raw(INTEL, 0x0003_06e4);
        assert_eq!(FaultingControl::expected(&ivy_bridge), None);
        ivy_bridge.set_msr(0xce, 1 << 31).unwrap();
        assert_eq!(FaultingControl::expected(&ivy_bridge), Some(FaultingControl::INTEL));
        assert_eq!(names(&ivy_bridge), "faulting");

        let mut zen_4 = raw(AMD, 0x00a1_0f11);
        zen_4.set(0x8000_0021, 0, Regs::new(1 << 17, 0, 0, 0)).unwrap();
        assert_eq!(FaultingControl::expected(&zen_4), Some(FaultingControl::AMD));
        assert!(names(&zen_4).starts_with("faulting mask:00000001.ecx "));
        zen_4.set_msr(0xce, 1 << 31).unwrap();
        assert_eq!(FaultingControl::expected(&zen_4), Some(FaultingControl::INTEL), "under a hypervisor");
    }

    #[test]
    fn every_masked_word_has_a_name_and_is_iterated_in_order() {
        let mut all = LevellingCapabilities::EMPTY;
        for word in MASKING_MSRS.iter().flat_map(MaskingMsr::words) {
            assert!(MASKABLE.contains(&word), "{word}");
            all.insert(Capability::Mask(word));
        }
        all.insert(Capability::Faulting);
        let listed: Vec<_> = all.iter().collect();
        assert_eq!(listed.len(), MASKABLE.len() + 1);
        assert!(listed.is_sorted());
        assert_eq!(all.minus(all), LevellingCapabilities::EMPTY);
        assert_eq!(Capability::Mask(LEAF_7_EBX).to_string(), "mask:00000007.0.ebx");
    }
}
