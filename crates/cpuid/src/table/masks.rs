//! What follows from the rows, word by word, computed while compiling: which bits are named, which level by AND, which
//! are offered to whom.

use super::{FEATURES, VALUES};
use crate::feature::{Kind, Offer, Relation};
use crate::model::{FIRST_MSR_WORD, WORDS, small};
use crate::place::Word;

/// The bits that have a row.
pub(crate) static NAMED: [u32; WORDS] = {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < FEATURES.len() {
        words[FEATURES[i].place.word().index()] |= FEATURES[i].place.mask();
        i += 1;
    }
    words
};

/// For the high half of each VMX control MSR, the word of its low half.
pub(crate) static CONTROLS: [Option<u16>; WORDS] = {
    let mut words = [None; WORDS];
    let mut i = 0;
    while i < CONTROL_LOWS.len() {
        words[CONTROL_LOWS[i] + 1] = Some(small(CONTROL_LOWS[i]));
        i += 1;
    }
    words
};

/// The low halves of the VMX control MSRs that the table has rows of; each is followed by its high half.
///
/// Secondary, and the true forms of pin-based, primary, exit and entry controls (SDM vol. 3D, A.3 to A.5).
pub(crate) const CONTROL_LOWS: [usize; 5] = [
    Word::msr_low(0x48b).index(),
    Word::msr_low(0x48d).index(),
    Word::msr_low(0x48e).index(),
    Word::msr_low(0x48f).index(),
    Word::msr_low(0x490).index(),
];

/// In the low halves of VMX control MSRs: controls that a row marks as 1 by default.
pub(crate) static DEFAULT_ONE: [u32; WORDS] = {
    let mut words = [0; WORDS];
    let mut i = 0;
    while i < FEATURES.len() {
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
    /// Level by AND: all that levels neither by OR nor as a number, bits without a row included.
    pub(crate) and: [u32; WORDS],
    /// Level as numbers.
    numbers: [u32; WORDS],
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
        numbers: [0; WORDS],
        or: [0; WORDS],
        hardware: [0; WORDS],
        made: [0; WORDS],
        anywhere: [0; WORDS],
        request: [0; WORDS],
    };
    let mut i = 0;
    while i < FEATURES.len() {
        let row = &FEATURES[i];
        let (word, mask, offer) = (row.place.word().index(), row.place.mask(), row.offer_to(kind));
        if matches!((row.relation, offer), (Relation::Any, Offer::Anywhere | Offer::Made)) {
            plan.or[word] |= mask;
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
            Relation::Min | Relation::Max | Relation::Equal => plan.numbers[word] |= mask,
            _ => {}
        }
        if matches!(row.offers[kind as usize], Offer::Hardware)
            && !matches!(row.relation, Relation::Local | Relation::Dynamic)
        {
            plan.hardware[word] |= mask;
        }
        i += 1;
    }
    let mut word = 0;
    while word < WORDS {
        plan.and[word] = !(plan.or[word] | plan.numbers[word]);
        word += 1;
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
    while i < FEATURES.len() {
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
    while i < FEATURES.len() {
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
    while i < FEATURES.len() {
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
