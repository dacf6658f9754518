//! Where the components of a set lie in a save area, and how large the area is.

use core::fmt;
use core::ops::Range;

use crate::size::{Places, size_bytes};
use crate::twins::Twins;
use crate::{Component, ComponentSet, Geometry};

/// Size of the legacy region, the FXSAVE format (SDM vol. 1, 13.4.1).
pub const LEGACY_BYTES: u32 = 512;
/// Size of the XSAVE header, which follows the legacy region (SDM vol. 1, 13.4.2).
pub const HEADER_BYTES: u32 = 64;
/// Where extended components begin (SDM vol. 1, 13.4.3); the size of an area that has none.
pub const EXTENDED_START_BYTES: u32 = LEGACY_BYTES + HEADER_BYTES;

/// The bytes of the x87 component; MXCSR lies among them (SDM vol. 1, 13.4.1).
pub(crate) const X87_RANGE: Range<u32> = 0..160;
/// The bytes of the XMM registers (SDM vol. 1, 13.4.1).
pub(crate) const SSE_RANGE: Range<u32> = 160..416;

/// The two formats of an XSAVE area (SDM vol. 1, 13.4.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// What XSAVE and XSAVEOPT write: each user component at the offset that the CPU gives it; no supervisor component.
    Standard,
    /// What XSAVEC and XSAVES write: the components of the set by ascending number, without gaps but for alignment.
    Compacted,
}

/// Why a set has no layout on a CPU.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Bit 63 is no component.
    #[error("bit 63 is no component")]
    ReservedBit,
    /// The CPU has no row for the component.
    #[error("leaf 0xd has no row for {component}")]
    NoRow {
        /// The component.
        component: Component,
    },
    /// The area would end beyond 4 GiB; no CPU's does.
    #[error("{component} ends beyond 4 GiB")]
    TooLarge {
        /// The component.
        component: Component,
    },
}

/// A set of components laid out in a format on a CPU.
///
/// * An area begins with the legacy region and the header, 576 bytes, for whatever set that is not empty.
/// * **Standard**: the area ends with the component that ends last. That need not be the one with the highest number: APX (19)
///   lies at byte 960 and LWP (62) at 832. Supervisor components are left out, so they never change the size.
/// * **Compacted**: each component follows the one before, rounded up to 64 bytes if its row says so; the end is not rounded.
/// * **The empty set needs no area**: its size is 0 in both formats, as in Xen. That is a rule for sizing areas; an instruction
///   that saves nothing still writes a header.
///
/// ```
/// use selfsame_xstate::{Component, ComponentSet, Format, Geometry, Layout};
///
/// // Sapphire Rapids' AMX: tile data begins at the next multiple of 64.
/// let geometry = Geometry::read(|subleaf| match subleaf {
///     0 => [0x6_0007, 0x240, 0x2B00, 0],
///     1 => [0x1F, 0x240, 0x800, 0],
///     2 => [256, 576, 0, 0],
///     11 => [16, 0, 1, 0],
///     17 => [64, 2752, 2, 0],
///     18 => [8192, 2816, 6, 0],
///     _ => [0; 4],
/// });
/// let set = geometry.user() | geometry.supervisor();
///
/// let standard = Layout::new(Format::Standard, set, &geometry)?;
/// assert_eq!(standard.size_bytes(), 0x2B00);
/// assert_eq!(standard.components(), geometry.user());
///
/// let compacted = Layout::new(Format::Compacted, set, &geometry)?;
/// assert_eq!(compacted.offset_bytes(Component::CET_U), Some(832));
/// assert_eq!(compacted.offset_bytes(Component::XTILECFG), Some(896));
/// assert_eq!(compacted.size_bytes(), 896 + 64 + 8192);
/// # Ok::<(), selfsame_xstate::LayoutError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Layout<'g> {
    format: Format,
    components: ComponentSet,
    geometry: &'g Geometry,
    size_bytes: u32,
    /// Whether each component begins behind the header and where the one before ends, or later.
    is_ascending: bool,
    /// By component number; zero where the component has no place.
    offsets_bytes: [u32; 63],
    /// For what is written into the layout; those made to tell places do without.
    twins: Option<Twins>,
}

impl Eq for Layout<'_> {}

/// All else follows from these three.
impl PartialEq for Layout<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.format, self.components, self.geometry) == (other.format, other.components, other.geometry)
    }
}

impl<'g> Layout<'g> {
    /// Lays out `set`; supervisor components are left out of the standard format.
    ///
    /// # Errors
    ///
    /// Refuses a set with bit 63, names the first component that the CPU has no row for, or the one that ends beyond 4 GiB.
    #[inline]
    pub fn new(format: Format, set: ComponentSet, geometry: &'g Geometry) -> Result<Self, LayoutError> {
        let components = match format {
            Format::Standard => set.minus(geometry.supervisor_of(set)),
            Format::Compacted => set,
        };
        let size_bytes = size_bytes(format, components, |component| geometry.row(component).copied())?;
        let layout = Self::sized(format, components, geometry, size_bytes);
        Ok(Self { twins: Twins::new(components, set, geometry), ..layout })
    }

    /// Lays out a set whose size is known.
    pub(crate) fn sized(format: Format, components: ComponentSet, geometry: &'g Geometry, size_bytes: u32) -> Self {
        let mut offsets_bytes = [0; 63];
        let mut place = |component: Component, start| {
            if let Some(offset_bytes) = offsets_bytes.get_mut(usize::from(component.index())) {
                *offset_bytes = start;
            }
        };
        place(Component::X87, X87_RANGE.start);
        place(Component::SSE, SSE_RANGE.start);
        let (mut is_ascending, mut end) = (true, EXTENDED_START_BYTES);
        for (component, start, size_bytes) in Places::new(format, components, geometry) {
            place(component, start);
            is_ascending &= start >= end;
            end = start.saturating_add(size_bytes);
        }
        Self { format, components, geometry, size_bytes, is_ascending, offsets_bytes, twins: None }
    }

    /// Tells whether no component can lie over another one or over the header.
    #[inline]
    pub(crate) const fn is_ascending(&self) -> bool {
        self.is_ascending
    }

    /// Returns the places of components in both formats, if the layout has looked for them.
    #[inline]
    pub(crate) const fn twins(&self) -> Option<&Twins> {
        self.twins.as_ref()
    }

    /// Returns the format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns the components that have a place.
    #[must_use]
    pub const fn components(&self) -> ComponentSet {
        self.components
    }

    /// Returns the geometry that the layout follows.
    #[must_use]
    pub const fn geometry(&self) -> &'g Geometry {
        self.geometry
    }

    /// Returns the size of the area.
    #[must_use]
    pub const fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// Returns where a component begins, or `None` if it has no place.
    #[must_use]
    #[inline]
    pub fn offset_bytes(&self, component: Component) -> Option<u32> {
        let offset_bytes = self.offsets_bytes.get(usize::from(component.index())).copied();
        offset_bytes.filter(|_| self.components.contains(component))
    }

    /// Returns the bytes of a component, or `None` if it has no place.
    #[must_use]
    #[inline]
    pub fn range_bytes(&self, component: Component) -> Option<Range<u32>> {
        let start = self.offset_bytes(component)?;
        match component {
            Component::X87 => Some(X87_RANGE),
            Component::SSE => Some(SSE_RANGE),
            // The end fits: `new` has added the same numbers.
            _ => Some(start..start.checked_add(self.geometry.row(component)?.size_bytes)?),
        }
    }

    /// Iterates over the components by ascending number, with the bytes of each.
    ///
    /// x87 has the bytes 0 to 159 and SSE the bytes 160 to 415; MXCSR, in bytes 24 to 31, belongs to neither alone.
    pub fn places(&self) -> impl Iterator<Item = (Component, Range<u32>)> + 'g {
        let layout = *self;
        layout.components.iter().filter_map(move |component| Some((component, layout.range_bytes(component)?)))
    }
}

impl fmt::Debug for Layout<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Bytes<'l, 'g>(&'l Layout<'g>);

        impl fmt::Debug for Bytes<'_, '_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_map().entries(self.0.places()).finish()
            }
        }

        f.debug_struct("Layout")
            .field("format", &self.format)
            .field("size_bytes", &self.size_bytes)
            .field("places", &Bytes(self))
            .finish()
    }
}

impl Geometry {
    /// Returns the size of a standard-format area for `set`, whose supervisor components do not matter.
    ///
    /// # Errors
    ///
    /// As [`Layout::new`].
    pub fn standard_size(&self, set: ComponentSet) -> Result<u32, LayoutError> {
        Ok(Layout::new(Format::Standard, set, self)?.size_bytes())
    }

    /// Returns the size of a compacted area for `set`.
    ///
    /// # Errors
    ///
    /// As [`Layout::new`].
    pub fn compacted_size(&self, set: ComponentSet) -> Result<u32, LayoutError> {
        Ok(Layout::new(Format::Compacted, set, self)?.size_bytes())
    }
}
