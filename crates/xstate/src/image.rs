//! Images of extended state, where they lie.

use crate::{Component, ComponentSet, Format, LEGACY_BYTES, Layout, MXCSR_INITIAL, MxcsrMask};

/// The bytes of MXCSR in the legacy region (SDM vol. 1, 13.4.1).
const MXCSR_START: usize = 24;

/// Extended state as a CPU saved it: borrowed bytes, and where in them each component lies.
///
/// Made by a [`Reader`](crate::Reader), which has judged the header, so that what is here may be relied on: the format, what
/// is present, and that every component lies within the bytes. [`Image::write`] brings it into another format or into the
/// places of another vendor's CPUs.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Exactly those of the layout.
    bytes: &'a [u8],
    legacy: &'a [u8; LEGACY_BYTES as usize],
    layout: Layout<'a>,
    present: ComponentSet,
    mxcsr: u32,
}

impl<'a> Image<'a> {
    /// Takes the bytes of a layout, of which `present` is taken; `None` where they end within the legacy region.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], layout: Layout<'a>, present: ComponentSet) -> Option<Self> {
        let legacy: &[u8; LEGACY_BYTES as usize] = bytes.first_chunk()?;
        // Standard XRSTOR loads MXCSR whatever XSTATE_BV says; the compacted form treats it as part of SSE, and XSAVEC leaves
        // the bytes alone where SSE is absent (SDM vol. 1, 13.8.1, 13.8.2 and 13.10).
        let mxcsr = if layout.format() == Format::Standard || present.contains(Component::SSE) {
            u32::from_le_bytes(*legacy.get(MXCSR_START..)?.first_chunk()?)
        } else {
            MXCSR_INITIAL
        };
        Some(Self { bytes, legacy, layout, present, mxcsr })
    }

    /// Keeps the components of `present` and the bits of `mask`.
    pub(crate) fn restricted(&self, present: ComponentSet, mask: MxcsrMask) -> Self {
        Self { present: self.present.intersection(present), mxcsr: self.mxcsr & mask.bits(), ..*self }
    }

    /// Returns the format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.layout.format()
    }

    /// Returns where components lie: those that are present in a standard image, those of XCOMP_BV in a compacted one, and x87
    /// and SSE in both.
    #[must_use]
    pub const fn layout(&self) -> &Layout<'a> {
        &self.layout
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
    #[inline]
    pub fn component(&self, component: Component) -> Option<&'a [u8]> {
        if !self.present.contains(component) {
            return None;
        }
        let range = self.layout.range_bytes(component)?;
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
    pub const fn legacy(&self) -> &'a [u8; LEGACY_BYTES as usize] {
        self.legacy
    }

    /// Returns all bytes: those of the layout.
    #[inline]
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}
