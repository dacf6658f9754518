//! Values that tell whose they are.

use core::fmt;

/// Whose a value is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Owner {
    /// The hypervisor's on this CPU.
    Cpu(u16),
    /// This vCPU's.
    Vcpu(u16),
}

/// A value for a register that says whose it is and which of its owner's it is.
///
/// The machine moves register contents and never looks into them, so any number serves as one; a test that fills registers
/// with tags can tell afterwards whose value it finds. Every tag is a multiple of 8 and a canonical address, so that it may
/// stand where an address is wanted (a shadow stack pointer, a segment base), and none is zero, which is the initial value
/// of every component.
///
/// ```
/// use selfsame_machine::{Owner, Tag};
///
/// let value = Tag::new(Owner::Vcpu(3), 7).bits();
/// assert_eq!(Tag::read(value).map(Tag::owner), Some(Owner::Vcpu(3)));
/// assert_eq!(Tag::read(0), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Tag {
    owner: Owner,
    version: u16,
}

/// What every tag has in its upper bits, so that ordinary numbers are not taken for tags.
const MARK: u64 = 0x5a << 40;
const MARK_MASK: u64 = u64::MAX << 40;
const VCPU: u64 = 1 << 39;
const OWNER_SHIFT: u32 = 20;
const VERSION_SHIFT: u32 = 3;

impl Tag {
    /// Makes the owner's tag with this version.
    #[must_use]
    pub const fn new(owner: Owner, version: u16) -> Self {
        Self { owner, version }
    }

    /// Returns whose the value is.
    #[must_use]
    pub const fn owner(self) -> Owner {
        self.owner
    }

    /// Returns which of its owner's values it is.
    #[must_use]
    pub const fn version(self) -> u16 {
        self.version
    }

    /// Returns the value to be put into a register.
    #[must_use]
    pub const fn bits(self) -> u64 {
        let (kind, number) = match self.owner {
            Owner::Cpu(number) => (0, number),
            Owner::Vcpu(number) => (VCPU, number),
        };
        MARK | kind | (number as u64) << OWNER_SHIFT | (self.version as u64) << VERSION_SHIFT
    }

    /// Reads a register's value; `None` if it is no tag.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each field is cut to its own 16 bits")]
    pub const fn read(bits: u64) -> Option<Self> {
        let number = (bits >> OWNER_SHIFT) as u16;
        let owner = if bits & VCPU == 0 { Owner::Cpu(number) } else { Owner::Vcpu(number) };
        let tag = Self { owner, version: (bits >> VERSION_SHIFT) as u16 };
        if bits & MARK_MASK == MARK && tag.bits() == bits { Some(tag) } else { None }
    }
}

/// Prints owner and version: `vcpu3:7`, `cpu0:1`.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Owner::Cpu(number) => write!(f, "cpu{number}:{}", self.version),
            Owner::Vcpu(number) => write!(f, "vcpu{number}:{}", self.version),
        }
    }
}
