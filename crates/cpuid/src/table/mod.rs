//! The feature table and the value table: one file a leaf, one row a bit or field.
//!
//! Everything else about a feature follows from its row: adding one touches the row alone. What this module derives
//! from the rows (which bits are named, which level by AND, which are offered to whom) is computed while compiling.

mod kept;
pub(crate) mod leaf_01;
mod leaf_05;
mod leaf_06;
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
mod leaf_80000022;
mod leaf_80000023;
mod leaf_80000026;
mod leaf_80860001;
mod leaf_c0000001;
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
mod values_basic;
mod values_extended;
mod values_msr;

pub(crate) use kept::relation_of as kept_relation;
pub use kept::{KEPT_LEAVES, KeptLeaf};

use crate::feature::{Feature, Kind, Offer, Relation};
use crate::model::{FIRST_MSR_WORD, WORDS};
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

const fn is_number(row: &Value) -> bool {
    matches!(row.relation, Relation::Min | Relation::Max | Relation::Equal)
}

const NUMBER_COUNT: usize = {
    let (mut count, mut i) = (0, 0);
    while i < VALUE_COUNT {
        count += is_number(&VALUES[i]) as usize;
        i += 1;
    }
    count
};

/// A field that compares as a number, in the least space: relations Min, Max and Equal.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    /// Which row of [`VALUES`] it is.
    row: u16,
    word: u16,
    mask: u32,
    relation: Relation,
}

/// The fields that compare as numbers, in the order of their places.
pub(crate) static NUMBERS: [Number; NUMBER_COUNT] = {
    let mut numbers = [Number { row: 0, word: 0, mask: 0, relation: Relation::Min }; NUMBER_COUNT];
    let (mut at, mut i) = (0, 0);
    while i < VALUE_COUNT {
        let row = &VALUES[i];
        if is_number(row) {
            numbers[at] =
                Number { row: i as u16, word: row.word.index() as u16, mask: row.mask(), relation: row.relation };
            at += 1;
        }
        i += 1;
    }
    numbers
};

const NUMBER_WORD_COUNT: usize = {
    let (mut count, mut i) = (0, 0);
    while i < NUMBER_COUNT {
        count += (i == 0 || NUMBERS[i - 1].word != NUMBERS[i].word) as usize;
        i += 1;
    }
    count
};

/// A word that holds numbers: which word, and which of [`NUMBERS`] lie in it.
#[derive(Clone, Copy)]
pub(crate) struct NumberWord {
    word: u16,
    first: u8,
    end: u8,
}

/// The words that hold numbers, each once: most words of a guest and its host agree, and then no field needs a look.
pub(crate) static NUMBER_WORDS: [NumberWord; NUMBER_WORD_COUNT] = {
    let mut words = [NumberWord { word: 0, first: 0, end: 0 }; NUMBER_WORD_COUNT];
    let (mut at, mut i) = (0, 0);
    while i < NUMBER_COUNT {
        if i == 0 || NUMBERS[i - 1].word != NUMBERS[i].word {
            words[at] = NumberWord { word: NUMBERS[i].word, first: i as u8, end: i as u8 + 1 };
            at += 1;
        } else {
            words[at - 1].end = i as u8 + 1;
        }
        i += 1;
    }
    words
};

impl NumberWord {
    /// The word's index.
    pub(crate) const fn word(self) -> usize {
        self.word as usize
    }

    /// The numbers in it.
    pub(crate) fn numbers(self) -> &'static [Number] {
        &NUMBERS[self.first as usize..self.end as usize]
    }
}

impl Number {
    /// The field's row.
    pub(crate) fn row(&self) -> &'static Value {
        &VALUES[self.row as usize]
    }

    /// The word that holds the field.
    pub(crate) const fn word(&self) -> usize {
        self.word as usize
    }

    /// Whether a guest with the word `guest` may run where the word is `host`. The field stays where it is: bits in
    /// place compare as the number does.
    pub(crate) const fn accepts(&self, guest: u32, host: u32) -> bool {
        let (guest, host) = (guest & self.mask, host & self.mask);
        match self.relation {
            Relation::Min => guest <= host,
            Relation::Max => guest >= host,
            _ => guest == host,
        }
    }

    /// Whether two words agree in the field.
    pub(crate) const fn is_same(&self, mine: u32, theirs: u32) -> bool {
        (mine ^ theirs) & self.mask == 0
    }

    /// The word `mine` with the field combined with that of `theirs`; whether they may be combined.
    pub(crate) const fn combine(&self, mine: u32, theirs: u32) -> (u32, bool) {
        let (a, b) = (mine & self.mask, theirs & self.mask);
        let field = match self.relation {
            Relation::Min if b < a => b,
            Relation::Max if b > a => b,
            _ => a,
        };
        (mine & !self.mask | field, a == b || !matches!(self.relation, Relation::Equal))
    }
}

/// Leaf 0: the vendor's twelve bytes, as EBX, EDX, ECX.
pub(crate) const VENDOR: [Word; 3] =
    [Word::leaf(0, Register::Ebx), Word::leaf(0, Register::Edx), Word::leaf(0, Register::Ecx)];

/// Leaf 1 EAX: family, model and stepping.
pub(crate) const SIGNATURE: Word = Word::leaf(0x1, Register::Eax);

/// For each word, the first row of [`FEATURES`] that is not before it.
static FIRST_ROW: [u16; WORDS + 1] = {
    let mut first = [0; WORDS + 1];
    let mut row = 0;
    let mut word = 0;
    while word <= WORDS {
        while row < ROW_COUNT && FEATURES[row].place.word().index() < word {
            row += 1;
        }
        first[word] = row as u16;
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
    let rows = FEATURES.get(usize::from(*FIRST_ROW.get(word)?)..usize::from(*FIRST_ROW.get(word + 1)?))?;
    rows.iter().find(|row| row.place == place)
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

/// The bits that have a row.
pub(crate) static NAMED: [u32; WORDS] = {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < ROW_COUNT {
        words[FEATURES[i].place.word().index()] |= FEATURES[i].place.mask();
        i += 1;
    }
    words
};

/// For the high half of each VMX control MSR, the word of its low half.
pub(crate) static CONTROLS: [Option<u16>; WORDS] = {
    let mut words = [None; WORDS];
    // Secondary, and the true forms of pin-based, primary, exit and entry controls (SDM vol. 3D, A.3 to A.5).
    let msrs = [0x48b, 0x48d, 0x48e, 0x48f, 0x490];
    let mut i = 0;
    while i < msrs.len() {
        let low = Word::msr_low(msrs[i]).index();
        words[low + 1] = Some(low as u16);
        i += 1;
    }
    words
};

/// In the low halves of VMX control MSRs: controls that a row marks as 1 by default.
pub(crate) static DEFAULT_ONE: [u32; WORDS] = {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < ROW_COUNT {
        if FEATURES[i].is_default_one {
            let word = FEATURES[i].place.word().index();
            assert!(word > FIRST_MSR_WORD && CONTROLS[word].is_some());
            words[word - 1] |= FEATURES[i].place.mask();
        }
        i += 1;
    }
    words
};

/// The words of the model as the rows of one kind of guest see them.
pub(crate) struct Plan {
    /// Level by AND.
    pub(crate) and: [u32; WORDS],
    /// Level by OR.
    pub(crate) or: [u32; WORDS],
    /// Named bits and fields that a host's hardware gives.
    pub(crate) hardware: [u32; WORDS],
    /// Bits that the hypervisor makes.
    pub(crate) made: [u32; WORDS],
    /// Bits that may be set anywhere.
    pub(crate) anywhere: [u32; WORDS],
    /// Bits given on request.
    pub(crate) request: [u32; WORDS],
}

/// One [`Plan`] for each kind, in the order of [`Kind::ALL`].
static PLANS: [Plan; 4] = [plan(Kind::Kvm), plan(Kind::Hvm), plan(Kind::HvmShadow), plan(Kind::Pv)];

/// The plan for guests of `kind`.
pub(crate) const fn plan_of(kind: Kind) -> &'static Plan {
    &PLANS[kind as usize]
}

const fn plan(kind: Kind) -> Plan {
    let mut plan = Plan {
        and: [0; WORDS],
        or: [0; WORDS],
        hardware: [0; WORDS],
        made: [0; WORDS],
        anywhere: [0; WORDS],
        request: [0; WORDS],
    };
    let mut i = 0;
    while i < ROW_COUNT {
        let row = &FEATURES[i];
        let (word, mask, offer) = (row.place.word().index(), row.place.mask(), row.offer_to(kind));
        match (row.relation, offer) {
            (Relation::Any, Offer::Anywhere) => plan.or[word] |= mask,
            (Relation::All | Relation::Any, _) => plan.and[word] |= mask,
            _ => {}
        }
        match offer {
            Offer::Hardware => plan.hardware[word] |= mask,
            Offer::Made => plan.made[word] |= mask,
            Offer::Anywhere => plan.anywhere[word] |= mask,
            Offer::Request => plan.request[word] |= mask,
            Offer::Never => {}
        }
        i += 1;
    }
    let mut i = 0;
    while i < VALUES.len() {
        let row = &VALUES[i];
        let word = row.word.index();
        // Bits with a row of their own keep their row's relation and offer.
        let mask = row.mask() & !NAMED[word];
        match row.relation {
            Relation::Any => plan.or[word] |= mask,
            Relation::All => plan.and[word] |= mask,
            _ => {}
        }
        if matches!(row.offers[kind as usize], Offer::Hardware)
            && !matches!(row.relation, Relation::Local | Relation::Dynamic)
        {
            plan.hardware[word] |= mask;
        }
        i += 1;
    }
    plan
}

/// The bits of which a check refuses those that the guest has and the host lacks: all but the named bits and fields of
/// another relation. A bit without a row counts: nobody knows that it is harmless.
pub(crate) static REFUSED: [u32; WORDS] = {
    let mut words = [u32::MAX; WORDS];
    let mut i = 0;
    while i < VALUES.len() {
        if !matches!(VALUES[i].relation, Relation::All) {
            words[VALUES[i].word.index()] &= !VALUES[i].mask();
        }
        i += 1;
    }
    let mut i = 0;
    while i < ROW_COUNT {
        let (word, mask) = (FEATURES[i].place.word().index(), FEATURES[i].place.mask());
        if matches!(FEATURES[i].relation, Relation::All) {
            words[word] |= mask;
        } else {
            words[word] &= !mask;
        }
        i += 1;
    }
    words
};

/// The bits of relation [`Relation::Any`] that have a row.
pub(crate) static ANY: [u32; WORDS] = {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < ROW_COUNT {
        if matches!(FEATURES[i].relation, Relation::Any) {
            words[FEATURES[i].place.word().index()] |= FEATURES[i].place.mask();
        }
        i += 1;
    }
    words
};

/// The bits and fields of one relation.
pub(crate) const fn covered_by(relation: Relation) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < VALUES.len() {
        if VALUES[i].relation as u8 == relation as u8 {
            words[VALUES[i].word.index()] |= VALUES[i].mask();
        }
        i += 1;
    }
    let mut i = 0;
    while i < ROW_COUNT {
        let (word, mask) = (FEATURES[i].place.word().index(), FEATURES[i].place.mask());
        if FEATURES[i].relation as u8 == relation as u8 {
            words[word] |= mask;
        } else {
            words[word] &= !mask;
        }
        i += 1;
    }
    words
}

/// The bits and fields that have any row at all.
pub(crate) static KNOWN: [u32; WORDS] = {
    let mut words = NAMED;
    let mut i = 0;
    while i < VALUES.len() {
        words[VALUES[i].word.index()] |= VALUES[i].mask();
        i += 1;
    }
    words
};
