//! What a register was last seen to hold.

/// A last-written cache of one register.
///
/// One rule keeps every shadow true: *whoever changes the register and is not this shadow says so*. Hardware that puts a known
/// value there is [`Shadow::found`]; everybody else (a guest that may write the register itself, firmware, sleep) is
/// [`Shadow::forget`]. A register is written when its shadow does not know that the wanted value is there already.
///
/// ```
/// use selfsame_switch::Shadow;
///
/// let mut writes = 0;
/// let mut tsc_aux = Shadow::UNKNOWN;
/// tsc_aux.update(7, |_| writes += 1);
/// tsc_aux.update(7, |_| writes += 1);
/// assert_eq!(writes, 1);
///
/// tsc_aux.forget(); // The machine slept.
/// tsc_aux.update(7, |_| writes += 1);
/// assert_eq!(writes, 2);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shadow<T>(Option<T>);

impl<T: Copy + PartialEq> Shadow<T> {
    /// Nothing is known of the register: the state of every shadow at bring-up.
    pub const UNKNOWN: Self = Self(None);

    /// Returns what the register holds, if known.
    #[must_use]
    #[inline]
    pub const fn get(&self) -> Option<T> {
        self.0
    }

    /// Tells whether the register is known to hold `value`.
    #[must_use]
    #[inline]
    pub fn holds(&self, value: T) -> bool {
        self.0 == Some(value)
    }

    /// Has `write` write `wanted`, unless it is there already, and tells whether it was called.
    #[inline]
    pub fn update(&mut self, wanted: T, write: impl FnOnce(T)) -> bool {
        if self.holds(wanted) {
            return false;
        }
        write(wanted);
        self.0 = Some(wanted);
        true
    }

    /// Notes what hardware has put there, or what was read from there.
    #[inline]
    pub const fn found(&mut self, value: T) {
        self.0 = Some(value);
    }

    /// Notes that somebody else may have written the register.
    #[inline]
    pub const fn forget(&mut self) {
        self.0 = None;
    }
}

impl<T: Copy + PartialEq> Default for Shadow<T> {
    fn default() -> Self {
        Self::UNKNOWN
    }
}
