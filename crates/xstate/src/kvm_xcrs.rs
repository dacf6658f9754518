//! What Linux's KVM_SET_XCRS does with a list of registers.
//!
//! Read in Linux 7.3 (`kvm_vcpu_ioctl_x86_set_xcrs`) and compared with Linux 6.18 by its ioctl.

use crate::{ComponentSet, Xcr0, Xcr0Refusal};

/// How many registers a list can have (`KVM_MAX_XCRS`).
const MOST: usize = 16;

/// The argument of KVM_SET_XCRS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KvmXcrs<'a> {
    /// Numbers and values of registers.
    pub entries: &'a [(u32, u64)],
    /// Must be zero.
    pub flags: u32,
}

/// Why KVM_SET_XCRS answers EINVAL.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KvmXcrsRefusal {
    /// The host has no XSAVE.
    #[error("the host has no xsave")]
    NoXsave,
    /// The list is longer than KVM's.
    #[error("{count} registers are more than {MOST}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A flag is set, and none is defined.
    #[error("flags are {flags:#x}, and none is defined")]
    Flags {
        /// The flags.
        flags: u32,
    },
    /// XCR0 cannot have the value.
    #[error(transparent)]
    Value(#[from] Xcr0Refusal),
}

/// Tells what KVM_SET_XCRS writes into XCR0: the first entry for it, and nothing (`None`) where there is none. Entries for other
/// registers are ignored, and so are later ones for XCR0, whatever they say.
///
/// `permitted` is what the guest may have by its CPUID, nothing before one was set; `None` stands for a host without XSAVE.
///
/// ```
/// use selfsame_xstate::{ComponentSet, KvmXcrs, kvm_set_xcrs};
///
/// let permitted = Some(ComponentSet::from_bits(0xE7));
/// let xcr0 = kvm_set_xcrs(&KvmXcrs { entries: &[(1, 5), (0, 7), (0, 5)], flags: 0 }, permitted)?;
/// assert_eq!(xcr0.map(|xcr0| xcr0.bits()), Some(7));
/// assert!(kvm_set_xcrs(&KvmXcrs { entries: &[(0, 5)], flags: 0 }, permitted).is_err());
/// # Ok::<(), selfsame_xstate::KvmXcrsRefusal>(())
/// ```
///
/// # Errors
///
/// What KVM answers EINVAL to.
pub fn kvm_set_xcrs(xcrs: &KvmXcrs<'_>, permitted: Option<ComponentSet>) -> Result<Option<Xcr0>, KvmXcrsRefusal> {
    let permitted = permitted.ok_or(KvmXcrsRefusal::NoXsave)?;
    let count = xcrs.entries.len();
    if count > MOST {
        return Err(KvmXcrsRefusal::TooMany { count });
    }
    if xcrs.flags != 0 {
        return Err(KvmXcrsRefusal::Flags { flags: xcrs.flags });
    }
    let entry = xcrs.entries.iter().find(|(index, _)| *index == 0);
    entry.map(|&(_, value)| Ok(Xcr0::new(value, permitted)?)).transpose()
}
