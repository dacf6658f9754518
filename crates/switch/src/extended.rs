//! A vCPU's extended state: where it is kept, and what of it.

use selfsame_xstate::{AccumulatedXcr0, Component, ComponentSet, Occupant, Xcr0, Xfd, XfdErr, Xss};

use crate::residence::{Residence, StillResident};
use crate::{AreaAddress, VcpuKind};

/// What a switch knows of a vCPU's extended state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extended {
    area: AreaAddress,
    /// Whether software has laid out the image in the area, and the CPU has not loaded it yet.
    is_laid_out_by_software: bool,
    xcr0: Xcr0,
    accumulated: AccumulatedXcr0,
    /// What the guest reaches without XCR0 having it.
    ungated: ComponentSet,
    xss: GuestXss,
    xfd: Option<GuestXfd>,
}

/// What IA32_XSS has to be while an HVM vCPU runs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum GuestXss {
    /// The guest's own value: what its XSAVES goes by.
    Own(Xss),
    /// The host's stays, because the guest cannot tell: it has no XSAVES that does not exit, either because the control
    /// "enable XSAVES/XRSTORS" is off or because the XSS-exiting bitmap covers what the guest's own value lacks
    /// ([`xss_exiting_bitmap`]). VMX only; SVM has neither.
    Hosts,
}

/// Returns the XSS-exiting bitmap under which the host's IA32_XSS can stay while a guest with `guest` runs: XSAVES and XRSTORS
/// exit when they would touch what the guest has not enabled (SDM vol. 3C, 25.1.3). RDMSR and WRMSR of IA32_XSS exit too.
///
/// ```
/// use selfsame_switch::xss_exiting_bitmap;
/// use selfsame_xstate::{ComponentSet, Xss};
///
/// let all = ComponentSet::from_bits(0x1800);
/// let bitmap = xss_exiting_bitmap(Xss::new(0x1800, all)?, Xss::new(0x800, all)?);
/// assert_eq!(bitmap.bits(), 0x1000);
/// # Ok::<(), selfsame_xstate::XssFault>(())
/// ```
#[must_use]
pub const fn xss_exiting_bitmap(host: Xss, guest: Xss) -> ComponentSet {
    host.components().minus(guest.components())
}

/// A guest's IA32_XFD and IA32_XFD_ERR.
///
/// An entry writes both, in ring 0, where a value that the CPU does not take is a #GP. So there are two ways in and no other: a
/// judged write ([`wrmsr_xfd`](selfsame_xstate::wrmsr_xfd)), and what [`Switcher::exited`](crate::Switcher::exited) reads from
/// the CPU, which took it from the guest or made it.
///
/// ```compile_fail,E0616
/// use selfsame_switch::GuestXfd;
/// use selfsame_xstate::Component;
///
/// let mut guest = GuestXfd::new(true);
/// guest.xfd = Component::X87.into(); // No CPU's XFD covers x87.
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct GuestXfd {
    pub(crate) xfd: ComponentSet,
    pub(crate) xfd_err: ComponentSet,
    /// Whether writes of IA32_XFD exit. Those of IA32_XFD_ERR may or may not: hardware writes it as well.
    pub is_intercepted: bool,
}

impl GuestXfd {
    /// After RESET: both zero.
    #[must_use]
    pub const fn new(is_intercepted: bool) -> Self {
        Self { xfd: ComponentSet::EMPTY, xfd_err: ComponentSet::EMPTY, is_intercepted }
    }

    /// Returns IA32_XFD: the components whose use raises #NM.
    #[must_use]
    pub const fn xfd(&self) -> ComponentSet {
        self.xfd
    }

    /// Returns IA32_XFD_ERR: the components whose use raised it.
    #[must_use]
    pub const fn xfd_err(&self) -> ComponentSet {
        self.xfd_err
    }

    /// Takes the guest's intercepted WRMSR of IA32_XFD, or the value that a vCPU from elsewhere brings.
    pub const fn write_xfd(&mut self, xfd: Xfd) {
        self.xfd = xfd.components();
    }

    /// Takes the guest's intercepted WRMSR of IA32_XFD_ERR, or the value that a vCPU from elsewhere brings.
    pub const fn write_xfd_err(&mut self, xfd_err: XfdErr) {
        self.xfd_err = xfd_err.components();
    }
}

impl Extended {
    /// Takes an area whose components are all in their initial state, for a vCPU after RESET whose policy has no XFD.
    #[must_use]
    pub const fn new(area: AreaAddress) -> Self {
        Self {
            area,
            is_laid_out_by_software: true,
            xcr0: Xcr0::RESET,
            accumulated: AccumulatedXcr0::START,
            ungated: ComponentSet::EMPTY,
            xss: GuestXss::Own(Xss::RESET),
            xfd: None,
        }
    }

    /// The same, for a guest whose policy has XFD.
    #[must_use]
    pub const fn with_xfd(self, xfd: GuestXfd) -> Self {
        Self { xfd: Some(xfd), ..self }
    }

    /// The same with the values of a vCPU that comes from elsewhere.
    ///
    /// `None` if the vCPU cannot have `xcr0` with this history.
    #[must_use]
    pub const fn with_xcr0(self, accumulated: AccumulatedXcr0, xcr0: Xcr0) -> Option<Self> {
        if accumulated.has(xcr0) { Some(Self { accumulated, xcr0, ..self }) } else { None }
    }

    /// Returns where the state is kept.
    #[must_use]
    pub const fn area(&self) -> AreaAddress {
        self.area
    }

    /// Returns XCR0.
    #[must_use]
    #[inline]
    pub const fn xcr0(&self) -> Xcr0 {
        self.xcr0
    }

    /// Returns what XCR0 ever had, and what was reached without it.
    #[must_use]
    #[inline]
    pub const fn accumulated(&self) -> ComponentSet {
        self.accumulated.components().union(self.ungated)
    }

    /// Returns what IA32_XSS has to be while the vCPU runs, if it is an HVM one.
    #[must_use]
    pub const fn xss(&self) -> GuestXss {
        self.xss
    }

    /// Returns IA32_XFD and IA32_XFD_ERR; `None` if the policy lacks XFD.
    #[must_use]
    #[inline]
    pub const fn xfd(&self) -> Option<&GuestXfd> {
        self.xfd.as_ref()
    }

    /// Returns the same for writing.
    #[must_use]
    pub const fn xfd_mut(&mut self) -> Option<&mut GuestXfd> {
        self.xfd.as_mut()
    }

    /// Takes the guest's XSETBV. What it enables for the first time is put into its initial state at the next entry: the
    /// registers still have what the vCPU before it left (XSA-62).
    ///
    /// The value is permitted if the vCPU's area has room for it ([`selfsame_xstate::Xsetbv::judge`]).
    pub const fn xsetbv(&mut self, xcr0: Xcr0) {
        self.xcr0 = xcr0;
        self.accumulated = self.accumulated.with(xcr0);
    }

    /// Takes the guest's WRMSR of IA32_XSS, or that the host's may stay.
    pub const fn set_xss(&mut self, xss: GuestXss) {
        self.xss = xss;
    }

    /// Takes that a guest set CR4.PKE: RDPKRU and WRPKRU then work whatever XCR0 says (XSA-220).
    pub const fn reach_pkru(&mut self) {
        self.ungated = self.ungated.with(Component::PKRU);
    }

    /// Takes that an HVM guest wrote IA32_BNDCFGS: MPX then works in its kernel whatever XCR0 says (XSA-220).
    pub const fn reach_mpx(&mut self) {
        self.ungated = self.ungated.union(ComponentSet::MPX);
    }

    /// Takes the area's new place, after its state has been moved there; or the same place, after software has edited the
    /// image that is there.
    ///
    /// Either is for vCPUs that are on no CPU: what XSAVES
    /// believes of memory it has loaded from would not be true any more, and it would leave parts of it unwritten
    /// (SDM vol. 1, 13.6: the modified optimisation).
    ///
    /// # Errors
    ///
    /// Names the CPU that has to be flushed first.
    pub fn move_area(&mut self, residence: &Residence, area: AreaAddress) -> Result<(), StillResident> {
        if let Some(cpu) = residence.cpu() {
            return Err(StillResident { cpu });
        }
        self.area = area;
        self.is_laid_out_by_software = true;
        Ok(())
    }

    /// Tells whether software has laid out the image in the area, and the CPU has not loaded it yet.
    pub(crate) const fn is_laid_out_by_software(&self) -> bool {
        self.is_laid_out_by_software
    }

    /// Takes that the image has been loaded: the CPU saves over it before it is loaded again.
    pub(crate) const fn loaded(&mut self) {
        self.is_laid_out_by_software = false;
    }

    /// Returns what is saved and loaded for a vCPU of this kind on a host with these supervisor components.
    #[must_use]
    #[inline]
    pub const fn mask(&self, kind: VcpuKind, supervisor: ComponentSet) -> ComponentSet {
        let owned = match kind {
            VcpuKind::Hvm => HVM_OWNED,
            VcpuKind::Pv64 | VcpuKind::Pv32 => PV_OWNED,
        };
        self.accumulated().union(supervisor).intersection(owned)
    }
}

const HVM_OWNED: ComponentSet = Occupant::Hvm.owned();
const PV_OWNED: ComponentSet = Occupant::Pv.owned();
