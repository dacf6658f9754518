//! The feature table and the value table: one file a leaf, one row a bit or field.
//!
//! Everything else about a feature follows from its row: adding one touches the row alone. What this module derives
//! from the rows (which bits are named, which level by AND, which are offered to whom) is computed while compiling.

mod kept;
pub(crate) mod leaf_01;
pub(crate) mod leaf_05;
pub(crate) mod leaf_06;
pub(crate) mod leaf_07_0_ebx;
pub(crate) mod leaf_07_0_ecx;
pub(crate) mod leaf_07_0_edx;
pub(crate) mod leaf_07_1;
mod leaf_07_2;
mod leaf_09;
mod leaf_0a;
pub(crate) mod leaf_0d;
mod leaf_0f;
mod leaf_10;
mod leaf_12;
mod leaf_14;
mod leaf_19;
mod leaf_1c;
mod leaf_1e;
mod leaf_20;
mod leaf_23;
mod leaf_24;
mod leaf_29;
mod leaf_40000001;
pub(crate) mod leaf_80000001;
mod leaf_80000007;
pub(crate) mod leaf_80000008;
mod leaf_8000000a;
mod leaf_8000001a;
mod leaf_8000001b;
mod leaf_8000001c;
mod leaf_8000001f;
mod leaf_80000020;
pub(crate) mod leaf_80000021;
pub(crate) mod leaf_80000022;
mod leaf_80000023;
mod leaf_80000026;
mod leaf_80860001;
mod leaf_c0000001;
mod masks;
mod msr_0ce;
mod msr_0cf;
pub(crate) mod msr_10a;
mod msr_345;
mod msr_480;
mod msr_485;
mod msr_48b;
mod msr_48c;
mod msr_48d;
mod msr_48e;
mod msr_48f;
mod msr_490;
mod msr_491;
mod numbers;
mod values_basic;
mod values_extended;
mod values_msr;

pub(crate) use kept::relation_of as kept_relation;
pub use kept::{KEPT_LEAVES, KeptLeaf};
pub(crate) use masks::{ANY, CONTROL_LOWS, CONTROLS, DEFAULT_ONE, KNOWN, NAMED, REFUSED, covered_by, plan_of};
pub(crate) use numbers::{NUMBER_SLOTS, NUMBERS, Number, NumberSlot};

use crate::feature::Feature;
use crate::model::{WORDS, small};
use crate::place::{Place, Register, Word};
use crate::value::Value;

/// The parts of the feature table, in the order of their places.
static PARTS: [&[Feature]; 51] = [
    &leaf_01::ROWS,
    &leaf_05::ROWS,
    &leaf_06::ROWS,
    &leaf_07_0_ebx::ROWS,
    &leaf_07_0_ecx::ROWS,
    &leaf_07_0_edx::ROWS,
    &leaf_07_1::ROWS,
    &leaf_07_2::ROWS,
    &leaf_09::ROWS,
    &leaf_0a::ROWS,
    &leaf_0d::ROWS,
    &leaf_0f::ROWS,
    &leaf_10::ROWS,
    &leaf_12::ROWS,
    &leaf_14::ROWS,
    &leaf_19::ROWS,
    &leaf_1c::ROWS,
    &leaf_1e::ROWS,
    &leaf_20::ROWS,
    &leaf_23::ROWS,
    &leaf_24::ROWS,
    &leaf_29::ROWS,
    &leaf_40000001::ROWS,
    &leaf_80000001::ROWS,
    &leaf_80000007::ROWS,
    &leaf_80000008::ROWS,
    &leaf_8000000a::ROWS,
    &leaf_8000001a::ROWS,
    &leaf_8000001b::ROWS,
    &leaf_8000001c::ROWS,
    &leaf_8000001f::ROWS,
    &leaf_80000020::ROWS,
    &leaf_80000021::ROWS,
    &leaf_80000022::ROWS,
    &leaf_80000023::ROWS,
    &leaf_80000026::ROWS,
    &leaf_80860001::ROWS,
    &leaf_c0000001::ROWS,
    &msr_0ce::ROWS,
    &msr_0cf::ROWS,
    &msr_10a::ROWS,
    &msr_345::ROWS,
    &msr_480::ROWS,
    &msr_485::ROWS,
    &msr_48b::ROWS,
    &msr_48c::ROWS,
    &msr_48d::ROWS,
    &msr_48e::ROWS,
    &msr_48f::ROWS,
    &msr_490::ROWS,
    &msr_491::ROWS,
];

const ROW_COUNT: usize = {
    let mut count = 0;
    let mut part = 0;
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

/// All rows of the feature table, in the order of their places.
pub static FEATURES: [Feature; ROW_COUNT] = {
    let mut rows = [PARTS[0][0]; ROW_COUNT];
    let (mut at, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut i = 0;
        while i < PARTS[part].len() {
            rows[at] = PARTS[part][i];
            assert!(at == 0 || index(rows[at - 1].place) < index(rows[at].place));
            at += 1;
            i += 1;
        }
        part += 1;
    }
    rows
};

const fn index(place: Place) -> usize {
    place.word().index() * 32 + place.bit() as usize
}

/// The parts of the value table, in the order of their places.
static VALUE_PARTS: [&[Value]; 3] = [&values_basic::ROWS, &values_extended::ROWS, &values_msr::ROWS];

const VALUE_COUNT: usize = VALUE_PARTS[0].len() + VALUE_PARTS[1].len() + VALUE_PARTS[2].len();

/// All rows of the value table, in the order of their places.
pub static VALUES: [Value; VALUE_COUNT] = {
    let mut rows = [VALUE_PARTS[0][0]; VALUE_COUNT];
    let (mut at, mut part) = (0, 0);
    while part < VALUE_PARTS.len() {
        let mut i = 0;
        while i < VALUE_PARTS[part].len() {
            rows[at] = VALUE_PARTS[part][i];
            assert!(at == 0 || rows[at - 1].word.index() <= rows[at].word.index());
            at += 1;
            i += 1;
        }
        part += 1;
    }
    rows
};

/// Leaf 0: the vendor's twelve bytes, as EBX, EDX, ECX.
pub(crate) const VENDOR: [Word; 3] =
    [Word::leaf(0, Register::Ebx), Word::leaf(0, Register::Edx), Word::leaf(0, Register::Ecx)];

/// Leaf 1 EAX: family, model and stepping.
pub(crate) const SIGNATURE: Word = Word::leaf(0x1, Register::Eax);

/// For each word, the first row of [`FEATURES`] that is not before it.
static FIRST_ROW: [u16; WORDS] = {
    let mut first = [0; WORDS];
    let mut row = 0;
    let mut word = 0;
    while word < WORDS {
        while row < ROW_COUNT && FEATURES[row].place.word().index() < word {
            row += 1;
        }
        first[word] = small(row);
        word += 1;
    }
    first
};

/// The row of the bit at `place`; `None` where no manual names it.
///
/// ```
/// use selfsame_cpuid::feature_at;
///
/// assert_eq!(feature_at("00000007.0.ebx[16]".parse()?).map(|row| row.name), Some("avx512f"));
/// # Ok::<(), selfsame_cpuid::PlaceError>(())
/// ```
pub fn feature_at(place: Place) -> Option<&'static Feature> {
    let word = place.word().index();
    let named = *NAMED.get(word)?;
    if named & place.mask() == 0 {
        return None;
    }
    // The rows of a word stand in the order of their bits.
    let before = (named & (place.mask() - 1)).count_ones() as usize;
    FEATURES.get(usize::from(*FIRST_ROW.get(word)?) + before)
}

/// The row that `name` names: its canonical name or one of its aliases.
///
/// ```
/// use selfsame_cpuid::feature;
///
/// assert_eq!(feature("sse3").map(|row| row.name), Some("pni"));
/// assert!(feature("no-such-thing").is_none());
/// ```
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|row| row.name == name || row.aliases.contains(&name))
}
