//! What is kept for one vCPU, and how large that is.

use crate::{Class, ComponentSet, Configurations, Format, Layout, LayoutError, SaveMethod};

/// What an area begins at a multiple of (SDM vol. 1, 13.4).
pub const AREA_ALIGN_BYTES: usize = 64;

/// The description of a save area: what it holds, in which format, and how much memory it needs.
///
/// One formula says what the area of a vCPU holds:
///
/// ```text
/// x87|SSE  ∪  host_xss  ∪  (guest_kernel.default ∩ policy)  ∪  (guest_kernel.max ∩ policy ∩ enabled)
/// ```
///
/// `policy` are the states of the guest's policy, `enabled` the user-dynamic components that were enabled for this vCPU
/// ([`Permissions::enable`](crate::Permissions::enable)). So a guest without AVX-512 keeps no AVX-512 bytes, and a guest
/// without AMX none of AMX, whatever its host has.
///
/// An area lives in two stages: at its creation a vCPU has no policy yet and gets the *minimal* area; with the policy comes
/// the *final* one, and whenever the policy or `enabled` changes, another. The bytes follow with
/// [`AreaMut::resize_into`](crate::AreaMut::resize_into). Idle has no area: it owns no component
/// ([`Occupant`](crate::Occupant)).
///
/// Nothing here needs XFD. XFD lets a component's bytes wait for its first use; without it, a guest that may use the component
/// has it enabled before its first run.
///
/// ```
/// use selfsame_xstate::{AREA_ALIGN_BYTES, ComponentSet, Configurations, Geometry};
///
/// let geometry = Geometry::read(|subleaf| match subleaf {
///     0 => [0x207, 0x240, 0x988, 0],
///     1 => [0xF, 0x240, 0x1800, 0],
///     2 => [256, 576, 0, 0],
///     9 => [8, 2432, 0, 0],
///     11 => [16, 0, 1, 0],
///     12 => [24, 0, 1, 0],
///     _ => [0; 4],
/// });
/// let configurations = Configurations::new(&geometry)?;
/// let minimal = configurations.minimal_area()?;
/// assert_eq!(minimal.size_bytes(), 576 + 16 + 24);
///
/// let policy = ComponentSet::from_bits(0x7);
/// let area = configurations.area(policy, ComponentSet::EMPTY)?;
/// assert_eq!(area.size_bytes(), 576 + 256 + 16 + 24);
///
/// // The caller allocates: that many bytes, aligned to 64.
/// #[repr(align(64))]
/// struct Memory([u8; 1024]);
/// assert_eq!(align_of::<Memory>(), AREA_ALIGN_BYTES);
/// let mut memory = Memory([0xAA; 1024]);
/// let area = area.init(&mut memory.0)?;
/// assert_eq!(area.present(), ComponentSet::EMPTY, "everything is in its initial state");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Area<'g> {
    method: SaveMethod,
    layout: Layout<'g>,
}

impl<'g> Area<'g> {
    pub(crate) fn new(
        method: SaveMethod,
        format: Format,
        set: ComponentSet,
        configurations: &Configurations<'g>,
    ) -> Result<Self, LayoutError> {
        Ok(Self { method, layout: Layout::new(format, set, configurations.geometry())? })
    }

    /// Returns what saves into the area.
    #[must_use]
    pub const fn method(&self) -> SaveMethod {
        self.method
    }

    /// Returns the components that there is room for.
    #[must_use]
    pub const fn components(&self) -> ComponentSet {
        self.layout.components()
    }

    /// Returns the layout of an area that holds all of [`Area::components`].
    ///
    /// What XSAVES wrote may hold fewer, each at another place: the area's header tells.
    #[must_use]
    pub const fn layout(&self) -> &Layout<'g> {
        &self.layout
    }

    /// Returns how many bytes the area needs; never less for more components.
    #[must_use]
    pub const fn size_bytes(&self) -> u32 {
        self.layout.size_bytes()
    }

    /// Returns what the vCPU may enable in XCR0, for [`Xsetbv::judge`](crate::Xsetbv::judge): the user components that there
    /// is room for.
    #[must_use]
    pub fn permitted_xcr0(&self) -> ComponentSet {
        let geometry = self.layout.geometry();
        self.components().iter().filter(|&component| !geometry.is_supervisor(component)).collect()
    }
}

impl<'g> Configurations<'g> {
    /// Returns what the area of a vCPU holds whose policy has `states`, by the formula at [`Area`].
    #[must_use]
    pub fn area_components(&self, states: ComponentSet, enabled: ComponentSet) -> ComponentSet {
        let guest = self.guest_kernel();
        let always = ComponentSet::LEGACY | self.supervisor();
        always | (guest.default() & states) | (guest.max() & states & enabled)
    }

    /// Describes the area of a vCPU that has no policy yet.
    ///
    /// # Errors
    ///
    /// As [`Configurations::area`]; none on a host whose configurations could be made.
    pub fn minimal_area(&self) -> Result<Area<'g>, AreaError> {
        self.area(ComponentSet::EMPTY, ComponentSet::EMPTY)
    }

    /// Describes the area of a vCPU whose policy has `states`, and for which `enabled` was enabled.
    ///
    /// # Errors
    ///
    /// Names the states of the policy that this host cannot keep: the policy was made for another host.
    pub fn area(&self, states: ComponentSet, enabled: ComponentSet) -> Result<Area<'g>, AreaError> {
        let components = states - ComponentSet::LEGACY - self.guest_kernel().max() - self.independent();
        if !components.is_empty() {
            return Err(AreaError::NotOnHost { components });
        }
        let set = self.area_components(states, enabled);
        Ok(Area::new(self.method(), self.method().format(), set, self)?)
    }

    /// Describes the area that the CPU saves a task of the host into for which `enabled` was enabled.
    ///
    /// # Errors
    ///
    /// None on a host whose configurations could be made.
    pub fn task_area(&self, enabled: ComponentSet) -> Result<Area<'g>, AreaError> {
        let host = self.host_kernel();
        let set = host.default() | (host.max() & Class::UserDynamic.components() & enabled);
        Ok(Area::new(self.method(), self.method().format(), set, self)?)
    }
}

/// Why a policy has no area on a host.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AreaError {
    /// The policy has components that the host does not have or does not keep.
    #[error("the policy has {components}, which this host cannot keep")]
    NotOnHost {
        /// All of them.
        components: ComponentSet,
    },
    /// The components cannot be laid out.
    #[error("the area cannot be laid out")]
    Layout(#[from] LayoutError),
}
