//! The way of a vCPU to its first run: one list of steps.

use crate::component::SUPERVISOR_BITS;
use crate::{Class, Component, ComponentSet, Xcr0, Xfd, XfdErr, Xss};

/// The registers of a vCPU that say what its extended state means.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct XstateRegisters {
    /// XCR0.
    pub xcr0: Xcr0,
    /// IA32_XSS.
    pub xss: Xss,
    /// IA32_XFD.
    pub xfd: Xfd,
    /// IA32_XFD_ERR.
    pub xfd_err: XfdErr,
}

impl XstateRegisters {
    /// After RESET: XCR0 is 1 and all others are 0.
    pub const RESET: Self = Self { xcr0: Xcr0::RESET, xss: Xss::RESET, xfd: Xfd::RESET, xfd_err: XfdErr::RESET };
}

/// One thing to do to a vCPU before it runs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Ask for a component for the guests of the process. Issued for every vCPU: what is permitted already is permitted again,
    /// even when locked.
    RequestPermission(Component),
    /// Create the vCPU, with its minimal area. The first one locks the permissions.
    CreateVcpu,
    /// Give the vCPU its policy: what it needs permission for is enabled, and its area becomes the final one.
    SetPolicy,
    /// Set XCR0.
    SetXcr0(Xcr0),
    /// Set IA32_XSS.
    SetXss(Xss),
    /// Load the image, under an XFD that is still zero.
    LoadImage,
    /// Set IA32_XFD_ERR.
    SetXfdErr(XfdErr),
    /// Set IA32_XFD. It comes last: a component that it disables would lose its content on the way (KVM) or fault.
    SetXfd(Xfd),
}

/// Returns the steps that bring a vCPU whose policy has `states` to its first run with `registers`.
///
/// Start, resume and restore issue this same list; they differ in what they load. A new vCPU loads an image in which all is
/// in its initial state, with [`XstateRegisters::RESET`]; so guests start with an XFD of zero. Each step needs those before
/// it: permission must be there before the first vCPU, the vCPU before its policy, the area that comes with the policy before
/// the image.
///
/// Registers that the policy does not have are left out: guests without XSAVE get no XCR0 step, those without supervisor
/// states no XSS, those without user-dynamic states no permission and no XFD. A value that the policy has no register for
/// keeps its step, for the step to be refused.
///
/// ```
/// use selfsame_xstate::{Component, ComponentSet, Step, Xcr0, XfdErr, Xfd, XstateRegisters, steps};
///
/// assert!(steps(ComponentSet::from_bits(0x207), XstateRegisters::RESET).eq([
///     Step::CreateVcpu,
///     Step::SetPolicy,
///     Step::SetXcr0(Xcr0::RESET),
///     Step::LoadImage,
/// ]));
///
/// let amx = steps(ComponentSet::from_bits(0x6_0207), XstateRegisters::RESET);
/// assert!(amx.eq([
///     Step::RequestPermission(Component::XTILEDATA),
///     Step::CreateVcpu,
///     Step::SetPolicy,
///     Step::SetXcr0(Xcr0::RESET),
///     Step::LoadImage,
///     Step::SetXfdErr(XfdErr::RESET),
///     Step::SetXfd(Xfd::RESET),
/// ]));
/// ```
pub fn steps(states: ComponentSet, registers: XstateRegisters) -> impl Iterator<Item = Step> + Clone {
    let XstateRegisters { xcr0, xss, xfd, xfd_err } = registers;
    let supervisor = ComponentSet::from_bits(SUPERVISOR_BITS);
    let dynamic = states & Class::UserDynamic.components();
    let has_xcr0 = !(states - supervisor).is_empty() || xcr0 != Xcr0::RESET;
    let has_xss = !(states & supervisor).is_empty() || xss != Xss::RESET;
    let has_xfd_err = !dynamic.is_empty() || xfd_err != XfdErr::RESET;
    let has_xfd = !dynamic.is_empty() || xfd != Xfd::RESET;
    let own = [
        Some(Step::CreateVcpu),
        Some(Step::SetPolicy),
        has_xcr0.then_some(Step::SetXcr0(xcr0)),
        has_xss.then_some(Step::SetXss(xss)),
        Some(Step::LoadImage),
        has_xfd_err.then_some(Step::SetXfdErr(xfd_err)),
        has_xfd.then_some(Step::SetXfd(xfd)),
    ];
    dynamic.iter().map(Step::RequestPermission).chain(own.into_iter().flatten())
}
