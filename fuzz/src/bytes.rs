//! Numbers out of an input, front to back; an input that has ended has zeros.

/// What is left of an input.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// The whole input.
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Whether it has ended.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What no number was taken from.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let (taken, rest) = self.0.split_at(self.0.len().min(N));
        for (place, byte) in array.iter_mut().zip(taken) {
            *place = *byte;
        }
        self.0 = rest;
        array
    }
}
