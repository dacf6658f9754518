//! XSETBV and XGETBV, judged as the CPU does.

use crate::{ComponentSet, Xcr0, Xcr0Refusal};

/// The exception that an instruction raises.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Exception {
    /// #UD, vector 6.
    InvalidOpcode,
    /// #GP(0), vector 13.
    GeneralProtection,
}

/// An XSETBV as it is executed (SDM vol. 2D, XSETBV; APM vol. 4, XSETBV).
///
/// ```
/// use selfsame_xstate::{ComponentSet, Exception, Xsetbv};
///
/// let permitted = ComponentSet::from_bits(0x7);
/// assert_eq!(Xsetbv::in_kernel(0x7).judge(permitted)?.bits(), 0x7);
///
/// let fault = Xsetbv { cpl: 3, ..Xsetbv::in_kernel(0x7) }.judge(permitted).unwrap_err();
/// assert_eq!(fault.exception(), Exception::GeneralProtection);
/// # Ok::<(), selfsame_xstate::XsetbvFault>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Xsetbv {
    /// Whether CR4.OSXSAVE is set.
    pub has_osxsave: bool,
    /// The current privilege level.
    pub cpl: u8,
    /// ECX; the upper half of RCX is ignored.
    pub index: u32,
    /// EDX:EAX; the upper halves of RDX and RAX are ignored.
    pub value: u64,
}

impl Xsetbv {
    /// A write of XCR0 by a kernel that has set CR4.OSXSAVE.
    #[must_use]
    pub const fn in_kernel(value: u64) -> Self {
        Self { has_osxsave: true, cpl: 0, index: 0, value }
    }

    /// Executes it where the components of `permitted` may be enabled; for a guest those are
    /// [`Area::permitted_xcr0`](crate::Area::permitted_xcr0).
    ///
    /// # Errors
    ///
    /// Returns the fault that the CPU raises; the checks come in the CPU's order. A value comes back with all that is wrong
    /// with it.
    pub const fn judge(self, permitted: ComponentSet) -> Result<Xcr0, XsetbvFault> {
        let Self { has_osxsave, cpl, index, value } = self;
        if !has_osxsave {
            return Err(XsetbvFault::NoOsxsave);
        }
        if cpl != 0 {
            return Err(XsetbvFault::Unprivileged { cpl });
        }
        if index != 0 {
            return Err(XsetbvFault::NoRegister { index });
        }
        match Xcr0::new(value, permitted) {
            Ok(xcr0) => Ok(xcr0),
            Err(refusal) => Err(XsetbvFault::Value(refusal)),
        }
    }
}

/// Why XSETBV or XGETBV faults.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum XsetbvFault {
    /// CR4.OSXSAVE is clear.
    #[error("cr4.osxsave is clear")]
    NoOsxsave,
    /// XSETBV is for ring 0.
    #[error("xsetbv at privilege level {cpl}")]
    Unprivileged {
        /// The current privilege level.
        cpl: u8,
    },
    /// There is no such extended control register.
    #[error("there is no xcr{index}")]
    NoRegister {
        /// The index in ECX.
        index: u32,
    },
    /// The value is none for XCR0.
    #[error("not a value for xcr0")]
    Value(#[source] Xcr0Refusal),
}

impl XsetbvFault {
    /// Returns the exception to raise.
    #[must_use]
    pub const fn exception(&self) -> Exception {
        match self {
            Self::NoOsxsave => Exception::InvalidOpcode,
            Self::Unprivileged { .. } | Self::NoRegister { .. } | Self::Value(_) => Exception::GeneralProtection,
        }
    }
}

/// An XGETBV as it is executed, at any privilege level (SDM vol. 2D, XGETBV).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Xgetbv {
    /// Whether CR4.OSXSAVE is set.
    pub has_osxsave: bool,
    /// Whether the CPU or the policy has XGETBV with ECX = 1, CPUID.(0xD,1).EAX bit 2.
    pub has_xgetbv1: bool,
    /// ECX.
    pub index: u32,
}

/// What an XGETBV reads.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Readable {
    /// XCR0.
    Xcr0,
    /// XCR0 without the components in their initial state.
    InUse,
}

impl Xgetbv {
    /// Tells what it reads.
    ///
    /// # Errors
    ///
    /// Returns the fault that the CPU raises.
    pub const fn judge(self) -> Result<Readable, XsetbvFault> {
        match self {
            Self { has_osxsave: false, .. } => Err(XsetbvFault::NoOsxsave),
            Self { index: 0, .. } => Ok(Readable::Xcr0),
            Self { index: 1, has_xgetbv1: true, .. } => Ok(Readable::InUse),
            Self { index, .. } => Err(XsetbvFault::NoRegister { index }),
        }
    }
}
