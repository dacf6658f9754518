//! Images of extended state, where they lie.

use crate::layout::{SSE_RANGE, X87_RANGE};
use crate::size::Places;
use crate::{Component, ComponentSet, Format, Geometry, LEGACY_BYTES, Layout, MXCSR_INITIAL, MxcsrMask, size_bytes};

/// The bytes of MXCSR in the legacy region (SDM vol. 1, 13.4.1).
pub(crate) const MXCSR_START: usize = 24;

/// Extended state as a CPU saved it: borrowed bytes, and where in them each component lies.
///
/// Made by a [`Reader`](crate::Reader), which has judged the header, so that what is here may be relied on: the format, what
/// is present, and that every component lies within the bytes. [`Image::write`] brings it into another format or into the
/// places of another vendor's CPUs.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Those of the layout, and maybe some more.
    bytes: &'a [u8],
    geometry: &'a Geometry,
    format: Format,
    /// What has a place; its size is known.
    places: ComponentSet,
    present: ComponentSet,
    mxcsr: u32,
}

impl<'a> Image<'a> {
    /// Takes the bytes of a set that is laid out in a format, of which `present` is taken.
    ///
    /// The caller knows that the set has this size.
    #[inline]
    pub(crate) fn new(
        bytes: &'a [u8],
        geometry: &'a Geometry,
        format: Format,
        places: ComponentSet,
        present: ComponentSet,
    ) -> Self {
        // Standard XRSTOR loads MXCSR whatever XSTATE_BV says; the compacted form treats it as part of SSE, and XSAVEC leaves
        // the bytes alone where SSE is absent (SDM vol. 1, 13.8.1, 13.8.2 and 13.10).
        let has_mxcsr = format == Format::Standard || present.contains(Component::SSE);
        let field = bytes.get(MXCSR_START..).and_then(|rest| rest.first_chunk()).filter(|_| has_mxcsr);
        let mxcsr = field.map_or(MXCSR_INITIAL, |field| u32::from_le_bytes(*field));
        Self { bytes, geometry, format, places, present, mxcsr }
    }

    /// Keeps the components of `present` and the bits of `mask`.
    pub(crate) fn restricted(&self, present: ComponentSet, mask: MxcsrMask) -> Self {
        Self { present: self.present.intersection(present), mxcsr: self.mxcsr & mask.bits(), ..*self }
    }

    /// Returns the format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns the geometry of the CPU that saved the image.
    #[must_use]
    pub const fn geometry(&self) -> &'a Geometry {
        self.geometry
    }

    /// Returns where components lie: those that are present in a standard image, those of XCOMP_BV in a compacted one, and x87
    /// and SSE in both.
    #[must_use]
    pub fn layout(&self) -> Layout<'a> {
        let row = |component| self.geometry.row(component).copied();
        // The size is known to exist; that of the bytes is at least as large.
        let size_bytes = size_bytes(self.format, self.places, row).unwrap_or(u32::MAX);
        Layout::sized(self.format, self.places, self.geometry, size_bytes)
    }

    /// Returns the components that the image holds; the others are in their initial configuration.
    #[must_use]
    pub const fn present(&self) -> ComponentSet {
        self.present
    }

    /// Returns the bytes of a component, or `None` if it is in its initial configuration.
    ///
    /// MXCSR and its mask, bytes 24 to 31 of x87, are not part of it.
    #[must_use]
    pub fn component(&self, component: Component) -> Option<&'a [u8]> {
        if !self.present.contains(component) {
            return None;
        }
        let range = match component {
            Component::X87 => X87_RANGE,
            Component::SSE => SSE_RANGE,
            _ => {
                // The standard place does not depend on what else is there.
                let mut places = match self.format {
                    Format::Standard => Places::new(self.format, component.into(), self.geometry),
                    Format::Compacted => self.extended(),
                };
                let (_, start, size_bytes) = places.find(|place| place.0 == component)?;
                start..start.checked_add(size_bytes)?
            }
        };
        self.bytes.get(range.start as usize..range.end as usize)
    }

    /// Returns the value of MXCSR.
    ///
    /// A standard image holds it whatever XSTATE_BV says; in a compacted image it belongs to SSE (SDM vol. 1, 13.8).
    #[must_use]
    pub const fn mxcsr(&self) -> u32 {
        self.mxcsr
    }

    /// Returns the legacy region, the 512 bytes that FXSAVE writes too; stale where x87 or SSE are not present.
    #[must_use]
    pub fn legacy(&self) -> &'a [u8] {
        self.bytes.get(..LEGACY_BYTES as usize).unwrap_or(self.bytes)
    }

    /// Returns the bytes of the layout, and maybe some more.
    #[inline]
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns what has a place, x87 and SSE included.
    #[inline]
    pub(crate) const fn places(&self) -> ComponentSet {
        self.places
    }

    /// Iterates over the extended components that have a place, with first byte and size.
    #[inline]
    pub(crate) fn extended(&self) -> Places<'a> {
        Places::new(self.format, self.places, self.geometry)
    }
}
