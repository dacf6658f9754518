//! Why a guest came out, in the words of both vendors' CPUs.

/// An exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Cpuid,
    Hlt,
    Port(PortAccess),
    ReadMsr,
    WriteMsr,
    Xsetbv,
    /// A value for CR0.
    WriteCr0 {
        value: u64,
        len_bytes: u8,
    },
    /// A value for CR4 that the guest may not have, or one that was not looked at.
    WriteCr4 {
        value: u64,
        len_bytes: u8,
    },
    /// The first MOV to or from a debug register.
    DebugRegister,
    /// A physical interrupt; if it is not acknowledged, it comes as soon as interrupts are on.
    Interrupt {
        is_acknowledged: bool,
    },
    /// A #DB of a guest that has no debug registers yet, with its bits of DR6.
    DebugException {
        cause: u64,
    },
    /// An instruction that the guest's CPU does not have.
    Undefined,
    /// Nothing is at a physical address.
    NoMemory {
        address: u64,
    },
    /// A triple fault.
    Shutdown,
    /// One that nothing here asks for.
    Other {
        code: u64,
        detail: u64,
    },
}

impl Exit {
    /// Tells whether the guest writes, or first wants, a register that a switch takes along.
    pub(crate) const fn asks_for_switched_state(self) -> bool {
        matches!(self, Self::Xsetbv | Self::WriteMsr | Self::WriteCr4 { .. } | Self::DebugRegister)
    }
}

/// An IN or OUT that is no string instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortAccess {
    pub(crate) port: u16,
    pub(crate) width: Width,
    pub(crate) is_in: bool,
    pub(crate) len_bytes: u8,
}

/// How many bytes go through a port at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Byte,
    Word,
    Double,
}

impl Width {
    /// The bits of RAX that go through.
    pub(crate) const fn mask(self) -> u64 {
        match self {
            Self::Byte => 0xff,
            Self::Word => 0xffff,
            Self::Double => 0xffff_ffff,
        }
    }
}
