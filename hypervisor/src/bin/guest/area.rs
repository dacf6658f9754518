//! Memory for images.

use selfsame_xstate::Layout;

/// Room for every component that CPUs are known to have, in either format: AMX makes it large.
const BYTES: usize = 16 << 10;

/// Memory for one image, where the instructions want it.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Area([u8; BYTES]);

impl Area {
    pub(crate) const fn new() -> Self {
        Self([0; BYTES])
    }

    /// Whether an image of this layout fits.
    pub(crate) fn has_room_for(layout: &Layout<'_>) -> bool {
        layout.size_bytes() as usize <= BYTES
    }

    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) const fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
