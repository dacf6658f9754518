//! Memory for images.

use selfsame_xstate::{HEADER_BYTES, Header, LEGACY_BYTES, Layout};

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

    /// The header.
    pub(crate) fn header(&self) -> Header {
        let bytes = self.0.get(LEGACY_BYTES as usize..).and_then(|rest| rest.first_chunk());
        Header::from_bytes(bytes.unwrap_or(&[0; HEADER_BYTES as usize]))
    }
}

/// Writes the header, which follows the legacy region.
pub(crate) fn put_header(area: &mut Area, header: &Header) {
    let place = area.bytes_mut().get_mut(LEGACY_BYTES as usize..).and_then(|rest| rest.first_chunk_mut());
    if let Some(place) = place {
        *place = header.to_bytes();
    }
}

/// Writes MXCSR, bytes 24 to 27 of the legacy region (SDM vol. 1, 13.4.1).
pub(crate) fn put_mxcsr(area: &mut Area, mxcsr: u32) {
    if let Some(place) = area.bytes_mut().get_mut(24..).and_then(|rest| rest.first_chunk_mut()) {
        *place = mxcsr.to_le_bytes();
    }
}
