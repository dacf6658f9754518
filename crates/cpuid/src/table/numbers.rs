//! The fields that compare as numbers, in the least space and the order of their places.

use super::VALUES;
use crate::feature::Relation;
use crate::leaves::Leaves;
use crate::model::small;
use crate::value::Value;

const fn is_number(row: &Value) -> bool {
    matches!(row.relation, Relation::Min | Relation::Max | Relation::Equal)
}

const NUMBER_COUNT: usize = {
    let (mut count, mut i) = (0, 0);
    while i < VALUES.len() {
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
    while i < VALUES.len() {
        let row = &VALUES[i];
        if is_number(row) {
            numbers[at] =
                Number { row: small(i), word: small(row.word.index()), mask: row.mask(), relation: row.relation };
            at += 1;
        }
        i += 1;
    }
    numbers
};

const NUMBER_SLOT_COUNT: usize = {
    let (mut count, mut i) = (0, 0);
    while i < NUMBER_COUNT {
        count += (i == 0 || NUMBERS[i - 1].slot() != NUMBERS[i].slot()) as usize;
        i += 1;
    }
    count
};

/// A slot that holds numbers: which slot, which of its bits they are, and which of [`NUMBERS`] lie in it.
#[derive(Clone, Copy)]
pub(crate) struct NumberSlot {
    masks: [u32; 4],
    slot: u16,
    first: u16,
    end: u16,
}

/// The slots that hold numbers, each once: the numbers of most agree, and then no field needs a look.
pub(crate) static NUMBER_SLOTS: [NumberSlot; NUMBER_SLOT_COUNT] = {
    let mut slots = [NumberSlot { masks: [0; 4], slot: 0, first: 0, end: 0 }; NUMBER_SLOT_COUNT];
    let (mut at, mut i) = (0, 0);
    while i < NUMBER_COUNT {
        let number = &NUMBERS[i];
        if i == 0 || NUMBERS[i - 1].slot() != number.slot() {
            slots[at] = NumberSlot { masks: [0; 4], slot: small(number.slot()), first: small(i), end: small(i + 1) };
            at += 1;
        }
        slots[at - 1].masks[number.word as usize % 4] |= number.mask;
        slots[at - 1].end = small(i + 1);
        i += 1;
    }
    slots
};

impl NumberSlot {
    /// The bits of the numbers that differ.
    pub(crate) fn difference(&self, guest: &Leaves, host: &Leaves) -> [u32; 4] {
        let slot = usize::from(self.slot);
        let (guest, host) = (guest.slots[slot], host.slots[slot]);
        core::array::from_fn(|i| (guest[i] ^ host[i]) & self.masks[i])
    }

    /// The numbers in it.
    pub(crate) fn numbers(&self) -> &'static [Number] {
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

    /// Whether a guest with the word `guest` may run where the word is `host`. What must be equal, or not less, says nothing
    /// where it is zero. The field stays where it is: bits in place compare as the number does.
    pub(crate) const fn accepts(&self, guest: u32, host: u32) -> bool {
        let (guest, host) = (guest & self.mask, host & self.mask);
        match self.relation {
            Relation::Min => guest <= host,
            Relation::Max => guest >= host || guest == 0,
            _ => guest == host || guest == 0 || host == 0,
        }
    }

    /// The slot of memory that holds the field.
    const fn slot(&self) -> usize {
        self.word as usize / 4
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
            Relation::Equal if a == 0 => b,
            _ => a,
        };
        let do_agree = a == b || a == 0 || b == 0 || !matches!(self.relation, Relation::Equal);
        (mine & !self.mask | field, do_agree)
    }
}
