//! What Linux answers.

/// A number of Linux's `errno.h`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Errno(i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// Out of memory.
    pub const ENOMEM: Self = Self(12);
    /// Device or resource busy.
    pub const EBUSY: Self = Self(16);
    /// Invalid argument.
    pub const EINVAL: Self = Self(22);
    /// No space left.
    pub const ENOSPC: Self = Self(28);
    /// Operation not supported.
    pub const EOPNOTSUPP: Self = Self(95);

    /// Returns the number, positive.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}
