//! What stops an instruction.

use selfsame_xstate::{ComponentSet, Xcr0Error};

/// An architectural event that stops an instruction before it has changed anything.
///
/// Exceptions are named after their vectors (SDM vol. 3, 6.15; APM vol. 2, 8.2), and carry why they were raised where the
/// architecture only gives an error code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// #UD: the instruction does not exist, or a control register disables it.
    #[error("#UD: {0}")]
    UndefinedOpcode(UdCause),
    /// #NM: CR0.TS, or extended feature disable.
    #[error("#NM: {0}")]
    DeviceNotAvailable(NmCause),
    /// #DF: an exception could not be delivered.
    #[error("#DF: {selector:#x} holds no code segment of this CPU's hypervisor")]
    DoubleFault {
        /// The code selector of the interrupt gate.
        selector: u16,
    },
    /// #NP: the descriptor is not present.
    #[error("#NP: {selector:#x} is not present")]
    SegmentNotPresent {
        /// The selector.
        selector: u16,
    },
    /// #GP(0) or #GP(selector).
    #[error("#GP: {0}")]
    GeneralProtection(GpCause),
    /// #PF: nothing is mapped there.
    #[error("#PF at {linear:#x}")]
    PageFault {
        /// The linear address.
        linear: u64,
    },
    /// #CP: the shadow stack holds another return than the stack.
    #[error("#CP: the shadow stack at {ssp:#x} was pushed by another CPU")]
    ControlProtection {
        /// The shadow stack pointer.
        ssp: u64,
    },
    /// No exception: the guest's instruction left the guest instead of being executed.
    #[error("VM exit: {0}")]
    Exit(Exit),
}

/// Why an instruction is undefined.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UdCause {
    /// The CPU does not have it.
    #[error("the CPU does not have the instruction")]
    Absent,
    /// CR4.OSXSAVE is clear.
    #[error("CR4.OSXSAVE is clear")]
    NoOsxsave,
    /// CR4.PKE is clear.
    #[error("CR4.PKE is clear")]
    NoPke,
    /// CR4.FSGSBASE is clear.
    #[error("CR4.FSGSBASE is clear")]
    NoFsgsbase,
    /// XCR0 does not enable the component.
    #[error("XCR0 does not enable {0}")]
    NotEnabled(ComponentSet),
}

/// Why #NM was raised.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NmCause {
    /// CR0.TS is set; IA32_XFD_ERR is not touched.
    #[error("CR0.TS is set")]
    TaskSwitched,
    /// IA32_XFD disables the components, and IA32_XFD_ERR now names them (SDM vol. 1, 13.14).
    #[error("IA32_XFD disables {0}")]
    Disabled(ComponentSet),
}

/// Why #GP was raised.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GpCause {
    /// The instruction is for ring 0.
    #[error("the instruction is for ring 0")]
    NotPrivileged,
    /// CPUID faulting is on outside ring 0.
    #[error("CPUID faults outside ring 0")]
    CpuidFaulting,
    /// XSETBV or XGETBV of another register than there is.
    #[error("there is no XCR{index}")]
    NoSuchXcr {
        /// ECX.
        index: u32,
    },
    /// XSETBV refuses the value.
    #[error(transparent)]
    Xcr0(Xcr0Error),
    /// There is no such MSR.
    #[error("there is no MSR {index:#x}")]
    NoSuchMsr {
        /// ECX.
        index: u32,
    },
    /// WRMSR sets reserved bits, or writes a non-canonical or misaligned address.
    #[error("MSR {index:#x} cannot hold {value:#x}")]
    MsrValue {
        /// ECX.
        index: u32,
        /// EDX:EAX.
        value: u64,
    },
    /// A control register does not have the bits.
    #[error("the control register does not have bits {bits:#x}")]
    ControlRegister {
        /// The bits that it lacks.
        bits: u64,
    },
    /// XRSTOR or XRSTORS refuses the header of the image (SDM vol. 1, 13.8, 13.12).
    #[error("the image's header is refused: {0}")]
    Header(HeaderCause),
    /// MXCSR of the image has reserved bits.
    #[error("MXCSR {0:#x} has reserved bits")]
    Mxcsr(u32),
    /// An XSAVE area does not begin at a multiple of 64.
    #[error("the area at {linear:#x} is not aligned")]
    Misaligned {
        /// The address.
        linear: u64,
    },
    /// A selector is null where it must not be, beyond its table's limit, or names a descriptor of the wrong kind.
    #[error("selector {selector:#x}: {cause}")]
    Selector {
        /// The selector.
        selector: u16,
        /// What is wrong with it.
        cause: SelectorCause,
    },
    /// The supervisor shadow stack's token is busy, or is not there (SDM vol. 3, 6.12.1).
    #[error("the token at {ssp:#x} is not free")]
    ShadowStackToken {
        /// The shadow stack pointer.
        ssp: u64,
    },
}

/// What is wrong with an image's header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderCause {
    /// XSTATE_BV names what is not enabled, or, compacted, what XCOMP_BV lacks.
    #[error("XSTATE_BV has {0} too much")]
    XstateBv(ComponentSet),
    /// XCOMP_BV names what is not enabled.
    #[error("XCOMP_BV has {0} too much")]
    XcompBv(ComponentSet),
    /// XRSTORS was given an image in the standard format, or XRSTOR one that it cannot read.
    #[error("the image is in the wrong format")]
    Format,
}

/// What is wrong with a selector.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorCause {
    /// It lies beyond the limit of its table.
    #[error("beyond the limit of its table")]
    Limit,
    /// There is no LDT.
    #[error("there is no LDT")]
    NoLdt,
    /// It is null.
    #[error("null")]
    Null,
    /// The descriptor has the wrong type.
    #[error("the descriptor has the wrong type")]
    Type,
    /// The privilege levels do not allow it.
    #[error("the privilege levels do not allow it")]
    Privilege,
}

/// Why a guest under VMX or SVM was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Exit {
    /// CPUID; VMX always exits, SVM by intercept, which every hypervisor sets.
    #[error("CPUID")]
    Cpuid,
    /// XSETBV; VMX always exits.
    #[error("XSETBV")]
    Xsetbv,
    /// RDMSR or WRMSR of an intercepted MSR.
    #[error("MSR {0:#x}")]
    Msr(u32),
    /// XSAVES or XRSTORS of components in the XSS-exiting bitmap (SDM vol. 3, 24.6.20).
    #[error("XSAVES or XRSTORS of {0}")]
    Xss(ComponentSet),
    /// An intercepted #NM.
    #[error("#NM")]
    DeviceNotAvailable(NmCause),
    /// An intercepted #DB.
    #[error("#DB for {cause:#x}")]
    Debug {
        /// What DR6 of the guest is to say: the exit qualification of VMX, DR6 in the VMCB of SVM.
        cause: u64,
    },
}

impl From<Xcr0Error> for Fault {
    fn from(error: Xcr0Error) -> Self {
        Self::GeneralProtection(GpCause::Xcr0(error))
    }
}

impl From<HeaderCause> for Fault {
    fn from(cause: HeaderCause) -> Self {
        Self::GeneralProtection(GpCause::Header(cause))
    }
}
