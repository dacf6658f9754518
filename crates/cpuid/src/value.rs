//! What a row of the value table says: numbers within CPUID words and MSRs, and how they level.

use crate::feature::{Offer, Relation};
use crate::place::Word;

/// One row of the value table: a field of several bits that is no set of features.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// The one name that is printed.
    pub name: &'static str,
    /// The word that holds the field.
    pub word: Word,
    /// The field's lowest bit.
    pub shift: u8,
    /// The field's length in bits, 1 to 32.
    pub width_bits: u8,
    /// How hosts combine. `All` and `Any` combine bit by bit.
    pub relation: Relation,
    /// The offer per kind, in the order of [`Kind::ALL`](crate::Kind::ALL): `Hardware` or `Never`.
    pub offers: [Offer; 4],
    /// The greatest number that KVM gives, whatever the hardware has.
    pub kvm_at_most: Option<u32>,
    /// Why.
    pub reason: &'static str,
    /// Where the manual defines the field.
    pub source: &'static str,
}

/// Starts a row of the table: offered to every kind as the hardware has it.
pub(crate) const fn value(name: &'static str, word: Word, shift: u8, width_bits: u8, relation: Relation) -> Value {
    assert!(width_bits >= 1 && shift + width_bits <= 32);
    Value {
        name,
        word,
        shift,
        width_bits,
        relation,
        offers: [Offer::Hardware; 4],
        kvm_at_most: None,
        reason: "",
        source: "",
    }
}

impl Value {
    /// The offers to kvm, hvm, hvm-shadow and pv.
    pub(crate) const fn offer(mut self, kvm: Offer, hvm: Offer, hvm_shadow: Offer, pv: Offer) -> Self {
        self.offers = [kvm, hvm, hvm_shadow, pv];
        self
    }

    pub(crate) const fn kvm_at_most(mut self, number: u32) -> Self {
        self.kvm_at_most = Some(number);
        self
    }

    pub(crate) const fn because(mut self, reason: &'static str, source: &'static str) -> Self {
        self.reason = reason;
        self.source = source;
        self
    }

    /// The field's bits in its word.
    pub const fn mask(&self) -> u32 {
        (u32::MAX >> (32 - self.width_bits as u32)) << self.shift
    }

    /// Takes the field out of its word.
    pub const fn get(&self, word: u32) -> u32 {
        (word & self.mask()) >> self.shift
    }

    /// The word with the field set to `value`, cut to its width.
    pub const fn set(&self, word: u32, value: u32) -> u32 {
        (word & !self.mask()) | ((value << self.shift) & self.mask())
    }
}
