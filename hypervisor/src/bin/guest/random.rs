//! Numbers that look random and are the same for the same seed.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// The low 32 bits of the next number.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    pub(crate) const fn next_32(&mut self) -> u32 {
        self.next() as u32
    }

    /// A number below `end`; 0 if `end` is 0.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        // The high half of a product: no division, and the bias of small ends is none that matters here.
        ((self.next() as u128 * end as u128) >> 64) as u64
    }

    /// An address of 48 bits, in either half.
    pub(crate) const fn address(&mut self) -> u64 {
        (self.next().cast_signed() >> 16).cast_unsigned()
    }

    /// Whether one of `of` cases is it.
    pub(crate) const fn is_one_of(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// One of `choices`; `None` if there is none.
    pub(crate) fn of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(choices.len()).unwrap_or(0));
        choices.get(usize::try_from(at).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn every_number_below_the_end_comes_and_no_other() {
        let mut random = Random::new(1);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[usize::try_from(random.below(7)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn addresses_are_canonical_in_48_bits() {
        let mut random = Random::new(2);
        for _ in 0..1000 {
            let address = random.address().cast_signed();
            assert_eq!(address << 16 >> 16, address);
        }
    }
}
