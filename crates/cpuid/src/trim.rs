//! An administrator's `cpuid=` words: features taken away or asked for.

use crate::feature::{Kind, Relation};
use crate::featureset::Featureset;
use crate::leaves::Leaves;
use crate::model::{FIRST_MSR_WORD, MSRS, WORDS};
use crate::place::{Place, Register, Word};
use crate::table;

/// The words of a `cpuid=` line, parsed: `item(,item)*`.
///
/// An item is `FEATURE` (ask for it), `no-FEATURE` (take it away) or `PLACE=HEX` (keep only these bits of a register or
/// MSR), after `pv:`, `hvm:` or `kvm:` for guests of that kind only. Every name of a feature is understood, and places.
///
/// ```
/// use selfsame_cpuid::Trims;
///
/// let trims: Trims = "no-avx512f,hvm:no-pku,00000007.0.ecx=ffffffff".parse()?;
/// assert!("no-such-thing".parse::<Trims>().is_err());
/// # Ok::<(), selfsame_cpuid::TrimError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trims {
    host: Scope,
    kvm: Scope,
    hvm: Scope,
    pv: Scope,
}

/// The words that are for all guests, or for guests of one kind.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Scope {
    kept: [u32; WORDS],
    asked: Featureset,
}

impl Scope {
    const NONE: Self = Self { kept: [u32::MAX; WORDS], asked: Featureset::EMPTY };

    fn apply(&self, leaves: &mut Leaves, set: &mut Featureset) {
        // Named bits go with their features, which may have more to change than one bit.
        for ((word, kept), named) in leaves.words_mut().iter_mut().zip(&self.kept).zip(&table::NAMED) {
            *word &= kept | named;
        }
        *set &= Featureset::from_words(self.kept);
    }
}

impl Trims {
    /// No words.
    pub const NONE: Self = Self { host: Scope::NONE, kvm: Scope::NONE, hvm: Scope::NONE, pv: Scope::NONE };

    /// The features that are asked for, for guests of `kind`.
    pub fn requested(&self, kind: Kind) -> Featureset {
        self.host.asked | self.scope(kind).asked
    }

    const fn scope(&self, kind: Kind) -> &Scope {
        match kind {
            Kind::Kvm => &self.kvm,
            Kind::Hvm | Kind::HvmShadow => &self.hvm,
            Kind::Pv => &self.pv,
        }
    }

    pub(crate) fn apply_to_host(&self, leaves: &mut Leaves, set: &mut Featureset) {
        self.host.apply(leaves, set);
    }

    /// Applies the words for `kind`; what the hypervisor makes is taken away too if the words for all guests say so.
    pub(crate) fn apply_to_guest(&self, kind: Kind, leaves: &mut Leaves, set: &mut Featureset) {
        self.host.apply(leaves, set);
        self.scope(kind).apply(leaves, set);
    }

    fn item(&mut self, item: &str) -> Result<(), TrimReason> {
        let (scope, word) = match item.split_once(':') {
            Some(("pv", word)) => (&mut self.pv, word),
            Some(("hvm", word)) => (&mut self.hvm, word),
            Some(("kvm", word)) => (&mut self.kvm, word),
            Some((prefix, _)) if prefix != "msr" => return Err(TrimReason::Prefix),
            _ => (&mut self.host, item),
        };
        if let Some((place, mask)) = word.split_once('=') {
            return keep(scope, place, mask);
        }
        if let Some(place) = place_of(word) {
            scope.asked.insert(place);
            return Ok(());
        }
        let place = word.strip_prefix("no-").and_then(place_of).ok_or(TrimReason::UnknownFeature)?;
        if names_vendor(place.word()) {
            return Err(TrimReason::Vendor);
        }
        if table::feature_at(place).is_some_and(|row| matches!(row.relation, Relation::Derived | Relation::Dynamic)) {
            return Err(TrimReason::Follows);
        }
        if let Some(kept) = scope.kept.get_mut(place.word().index()) {
            *kept &= !place.mask();
        }
        Ok(())
    }
}

fn place_of(name: &str) -> Option<Place> {
    table::feature(name).map(|row| row.place).or_else(|| name.parse().ok())
}

/// Whether the word is a part of the vendor's name.
fn names_vendor(word: Word) -> bool {
    [Register::Ebx, Register::Ecx, Register::Edx].iter().any(|&register| word == Word::leaf(0, register))
}

/// Reads hexadecimal digits and nothing else.
fn hex(text: &str) -> Option<u64> {
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u64::from_str_radix(text, 16).ok() } else { None }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn keep(scope: &mut Scope, place: &str, mask: &str) -> Result<(), TrimReason> {
    let mask = hex(mask.strip_prefix("0x").unwrap_or(mask)).ok_or(TrimReason::Mask)?;
    if let Some(index) = place.strip_prefix("msr:") {
        let index = hex(index).ok_or(TrimReason::Place)?;
        let slot = MSRS.iter().position(|&msr| u64::from(msr) == index).ok_or(TrimReason::Place)?;
        let halves = scope.kept.iter_mut().skip(FIRST_MSR_WORD + slot * 2);
        for (kept, half) in halves.zip([mask as u32, (mask >> 32) as u32]) {
            *kept &= half;
        }
        return Ok(());
    }
    let word: Word = place.parse().map_err(|_| TrimReason::Place)?;
    if names_vendor(word) {
        return Err(TrimReason::Vendor);
    }
    let mask = u32::try_from(mask).map_err(|_| TrimReason::Mask)?;
    if let Some(kept) = scope.kept.get_mut(word.index()) {
        *kept &= mask;
    }
    Ok(())
}

/// A `cpuid=` word that was not understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[error("item {item} of cpuid=: {reason}")]
pub struct TrimError {
    /// Which item, counted from 1.
    pub item: usize,
    /// Why.
    pub reason: TrimReason,
}

/// Why a `cpuid=` word was not understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrimReason {
    /// No feature has this name.
    #[error("no feature has this name")]
    UnknownFeature,
    /// The prefix is none of `pv:`, `hvm:` and `kvm:`.
    #[error("the prefix is none of pv:, hvm: and kvm:")]
    Prefix,
    /// No such place.
    #[error("not a register or msr of the model, as in 00000007.0.ebx=ffffffff")]
    Place,
    /// The bit follows from features, or from what the guest does: taken away, it would be back.
    #[error("it follows from other features: take those away")]
    Follows,
    /// The vendor's name is no set of bits, of which a guest could see some.
    #[error("the vendor's name has no bits to take away")]
    Vendor,
    /// The mask is not hexadecimal, or too long.
    #[error("the mask is not hexadecimal, or longer than the register")]
    Mask,
}

impl core::str::FromStr for Trims {
    type Err = TrimError;

    fn from_str(text: &str) -> Result<Self, TrimError> {
        let mut trims = Self::NONE;
        for (i, item) in text.split(',').enumerate().filter(|(_, item)| !item.is_empty()) {
            trims.item(item.trim()).map_err(|reason| TrimError { item: i + 1, reason })?;
        }
        Ok(trims)
    }
}
