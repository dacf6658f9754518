//! Seeded random numbers.

/// A SplitMix64 generator: the same seed throws the same dice on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice with a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u16) -> u16 {
        u16::try_from(self.next() % u64::from(end)).unwrap()
    }

    /// Heads or tails.
    pub(crate) fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    /// One of several.
    pub(crate) fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[usize::from(self.below(all.len().try_into().unwrap()))]
    }
}
