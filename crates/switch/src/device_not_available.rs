//! Why a guest took #NM: CR0.TS, emulation, or XFD.

use selfsame_xstate::ComponentSet;

use crate::GuestXfd;

/// Why an instruction of a guest raised #NM.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DeviceNotAvailable {
    /// CR0.TS is set. Nothing has touched IA32_XFD_ERR.
    TaskSwitched,
    /// CR0.EM is set: x87 is to be emulated. Nothing has touched IA32_XFD_ERR.
    Emulated,
    /// IA32_XFD disables these components: the payload of the #NM that the guest gets.
    Disabled(ComponentSet),
}

impl DeviceNotAvailable {
    const TS: u64 = 1 << 3;

    /// Tells why, by the guest's CR0 and what [`Switcher::exited`](crate::Switcher::exited) has taken back; `None` for a guest
    /// without XFD.
    ///
    /// CR0.TS comes first: with it set, an instruction faults before IA32_XFD is looked at, and what IA32_XFD_ERR holds is
    /// of an earlier #NM that the guest has not answered (SDM vol. 1, 13.14).
    ///
    /// ```
    /// use selfsame_switch::{DeviceNotAvailable, GuestXfd};
    /// use selfsame_xstate::{Component, Geometry, XfdWrites, wrmsr_xfd, wrmsr_xfd_err};
    ///
    /// let cpu = Geometry::read(|subleaf| match subleaf {
    ///     0 => [0x6_0003, 0x240, 0x2B00, 0],
    ///     17 => [64, 2752, 2, 0],
    ///     18 => [8192, 2816, 6, 0],
    ///     _ => [0; 4],
    /// });
    /// let mut guest = GuestXfd::new(false);
    /// guest.write_xfd(wrmsr_xfd(1 << 18, XfdWrites::PassedThrough, &cpu)?);
    /// guest.write_xfd_err(wrmsr_xfd_err(1 << 18, XfdWrites::PassedThrough, &cpu)?);
    ///
    /// let tile_data = Component::XTILEDATA.into();
    /// assert_eq!(DeviceNotAvailable::of(0x8000_0033, Some(&guest)), DeviceNotAvailable::Disabled(tile_data));
    /// assert_eq!(DeviceNotAvailable::of(0x8000_003b, Some(&guest)), DeviceNotAvailable::TaskSwitched);
    /// # Ok::<(), selfsame_xstate::XfdFault>(())
    /// ```
    #[must_use]
    pub const fn of(guest_cr0: u64, xfd: Option<&GuestXfd>) -> Self {
        if guest_cr0 & Self::TS != 0 {
            return Self::TaskSwitched;
        }
        match xfd {
            Some(guest) if !guest.xfd.intersection(guest.xfd_err).is_empty() => Self::Disabled(guest.xfd_err),
            _ => Self::Emulated,
        }
    }
}
