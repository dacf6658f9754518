//! Places: where a bit is found in CPUID output or in an MSR, spelled one way everywhere.
//!
//! `00000007.0.ebx[16]`, without subleaves `00000001.ecx[26]`, `msr:0000010a[3]`. Numbers are hexadecimal except the
//! bit. Places order as they are printed: by leaf, subleaf, register, bit; MSRs follow CPUID.

use core::fmt;
use core::str::FromStr;

use crate::model::{self, COMPARED_SLOTS, FIRST_MSR_WORD, MSRS, WORDS};

/// One of the four registers that CPUID writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
#[repr(u8)]
pub enum Register {
    /// EAX.
    Eax,
    /// EBX.
    Ebx,
    /// ECX.
    Ecx,
    /// EDX.
    Edx,
}

impl Register {
    /// The four, in the order in which CPUID output is written down.
    pub const ALL: [Self; 4] = [Self::Eax, Self::Ebx, Self::Ecx, Self::Edx];

    /// The register's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eax => "eax",
            Self::Ebx => "ebx",
            Self::Ecx => "ecx",
            Self::Edx => "edx",
        }
    }
}

/// A register of a (leaf, subleaf), or one half of an MSR, that holds named bits or levelled values.
///
/// It is the index of a word in a [`Featureset`](crate::Featureset).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Word(u16);

impl Word {
    /// The register of a leaf without subleaves, or of subleaf 0. For tables: fails to compile outside the model.
    pub(crate) const fn leaf(leaf: u32, register: Register) -> Self {
        Self::subleaf(leaf, 0, register)
    }

    /// The register of a subleaf. For tables: fails to compile outside the model.
    #[expect(clippy::panic, reason = "evaluated while compiling, for rows of the table only")]
    pub(crate) const fn subleaf(leaf: u32, subleaf: u32, register: Register) -> Self {
        match Self::find(leaf, subleaf, register) {
            Some(word) => word,
            None => panic!("the model has no such compared leaf"),
        }
    }

    /// The low half of an MSR. For tables: fails to compile outside the model.
    #[expect(clippy::panic, reason = "evaluated while compiling, for rows of the table only")]
    pub(crate) const fn msr_low(index: u32) -> Self {
        match model::msr_slot(index) {
            Some(slot) => Self::from_index(FIRST_MSR_WORD + slot * 2),
            None => panic!("the model has no such MSR"),
        }
    }

    /// The high half of an MSR. For tables: fails to compile outside the model.
    pub(crate) const fn msr_high(index: u32) -> Self {
        Self(Self::msr_low(index).0 + 1)
    }

    /// The word at `index` of a featureset.
    #[expect(clippy::cast_possible_truncation, reason = "the model has a few hundred words, asserted")]
    pub(crate) const fn from_index(index: usize) -> Self {
        assert!(index < WORDS);
        Self(index as u16)
    }

    /// Finds the word of a CPUID register; `None` if the model compares nothing in it.
    pub const fn find(leaf: u32, subleaf: u32, register: Register) -> Option<Self> {
        match model::slot(leaf, subleaf) {
            Some(slot) if slot < COMPARED_SLOTS => Some(Self::from_index(slot * 4 + register as usize)),
            _ => None,
        }
    }

    /// Its index in a featureset.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The place of bit `bit` (0 to 31) of this word.
    pub(crate) const fn bit(self, bit: u8) -> Place {
        assert!(bit < 32);
        Place { word: self, bit }
    }

    /// All words, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..WORDS).map(Self::from_index)
    }

    /// What the word is: a register or half an MSR.
    pub fn source(self) -> WordSource {
        if let Some(half) = self.index().checked_sub(FIRST_MSR_WORD) {
            let index = MSRS.get(half / 2).copied().unwrap_or_default();
            return WordSource::Msr { index, is_high: half % 2 == 1 };
        }
        let register = Register::ALL.get(self.index() % 4).copied().unwrap_or(Register::Eax);
        let (leaf, subleaf) = model::compared(self.index() / 4);
        WordSource::Cpuid { leaf, subleaf, register }
    }
}

/// What a [`Word`] is read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WordSource {
    /// A CPUID register.
    Cpuid {
        /// EAX of CPUID.
        leaf: u32,
        /// ECX of CPUID where it selects a subleaf.
        subleaf: Option<u32>,
        /// The register.
        register: Register,
    },
    /// One half of an MSR.
    Msr {
        /// The MSR's number.
        index: u32,
        /// Whether it is bits 63 to 32.
        is_high: bool,
    },
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            WordSource::Cpuid { leaf, subleaf: Some(subleaf), register } => {
                write!(f, "{leaf:08x}.{subleaf:x}.{}", register.name())
            }
            WordSource::Cpuid { leaf, subleaf: None, register } => write!(f, "{leaf:08x}.{}", register.name()),
            WordSource::Msr { index, is_high: false } => write!(f, "msr:{index:08x}"),
            WordSource::Msr { index, is_high: true } => write!(f, "msr:{index:08x}[63:32]"),
        }
    }
}

/// The place of one bit: a [`Word`] and a bit of it.
///
/// ```
/// # use selfsame_cpuid::Place;
/// let place: Place = "00000007.0.ebx[16]".parse()?;
/// assert_eq!(place.to_string(), "00000007.0.ebx[16]");
/// assert_eq!("msr:0000010a[62]".parse::<Place>()?.to_string(), "msr:0000010a[62]");
/// # Ok::<(), selfsame_cpuid::PlaceError>(())
/// ```
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Place {
    word: Word,
    bit: u8,
}

impl Place {
    /// The word that holds the bit.
    pub const fn word(self) -> Word {
        self.word
    }

    /// The bit within its 32-bit word.
    pub const fn bit(self) -> u8 {
        self.bit
    }

    /// The word with only this bit set.
    pub const fn mask(self) -> u32 {
        1 << self.bit
    }

    /// The place in bit `bit` of `word`; `None` beyond bit 31.
    pub const fn new(word: Word, bit: u8) -> Option<Self> {
        if bit < 32 { Some(Self { word, bit }) } else { None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.word.source() {
            WordSource::Msr { index, is_high } => {
                write!(f, "msr:{index:08x}[{}]", self.bit + if is_high { 32 } else { 0 })
            }
            WordSource::Cpuid { .. } => write!(f, "{}[{}]", self.word, self.bit),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a [`Place`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// Not `LEAF.register[bit]`, `LEAF.SUBLEAF.register[bit]` or `msr:INDEX[bit]`.
    #[error("not a place: expected LEAF.register[bit], LEAF.SUBLEAF.register[bit] or msr:INDEX[bit]")]
    Malformed,
    /// The model compares nothing there.
    #[error("no policy holds this leaf, subleaf or msr")]
    OutsideModel,
}

/// Splits `text[bit]`.
fn split_bit(text: &str) -> Result<(&str, u8), PlaceError> {
    let (rest, bit) = text.strip_suffix(']').and_then(|t| t.split_once('[')).ok_or(PlaceError::Malformed)?;
    Ok((rest, bit.parse().map_err(|_| PlaceError::Malformed)?))
}

fn hex(text: &str) -> Result<u32, PlaceError> {
    let is_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_digits {
        u32::from_str_radix(text, 16).map_err(|_| PlaceError::Malformed)
    } else {
        Err(PlaceError::Malformed)
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (rest, bit) = split_bit(text)?;
        if let Some(index) = rest.strip_prefix("msr:") {
            let slot = model::msr_slot(hex(index)?).ok_or(PlaceError::OutsideModel)?;
            let low = Word::from_index(FIRST_MSR_WORD + slot * 2);
            return match bit {
                0..32 => Ok(low.bit(bit)),
                32..64 => Ok(Word(low.0 + 1).bit(bit - 32)),
                _ => Err(PlaceError::Malformed),
            };
        }
        Self::new(rest.parse()?, bit).ok_or(PlaceError::Malformed)
    }
}

impl FromStr for Word {
    type Err = PlaceError;

    /// Reads a CPUID register, `00000007.0.ebx`.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (rest, name) = text.rsplit_once('.').ok_or(PlaceError::Malformed)?;
        let register = Register::ALL.into_iter().find(|r| r.name() == name).ok_or(PlaceError::Malformed)?;
        let (leaf, subleaf) = match rest.split_once('.') {
            Some((leaf, subleaf)) => (hex(leaf)?, Some(hex(subleaf)?)),
            None => (hex(rest)?, None),
        };
        match (model::indexing(leaf), subleaf) {
            (None, _) => Err(PlaceError::OutsideModel),
            (Some(true), None) | (Some(false), Some(_)) => Err(PlaceError::Malformed),
            _ => Self::find(leaf, subleaf.unwrap_or(0), register).ok_or(PlaceError::OutsideModel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_place_is_read_back_as_it_is_written() {
        for word in Word::all() {
            for bit in 0..32 {
                let place = word.bit(bit);
                assert_eq!(place.to_string().parse(), Ok(place));
            }
        }
    }

    #[test]
    fn places_order_as_cpuid_then_msrs() {
        let places =
            ["00000001.ecx[26]", "00000001.edx[0]", "00000007.0.ebx[3]", "00000007.1.eax[0]", "80000001.ecx[2]"];
        let parsed = places.map(|p| p.parse::<Place>().unwrap());
        assert!(parsed.is_sorted());
        assert!(parsed[4] < "msr:000000cf[5]".parse().unwrap());
    }

    #[test]
    fn misspelled_places_are_refused() {
        for text in [
            "",
            "1",
            "00000001.ecx",
            "00000001.ecx[32]",
            "00000001.0.ecx[3]",
            "00000007.ebx[3]",
            "+1.ecx[3]",
            "msr:10a[64]",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        assert_eq!("00000008.eax[0]".parse::<Place>(), Err(PlaceError::OutsideModel));
    }
}
