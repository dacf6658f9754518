//! Whether an image is one that Selfsame wrote: such can be written over, because it can be made again.

use selfsame_xstate::{ComponentSet, Format, Geometry, Layout, LinearAddresses, MxcsrMask, Offsets, Reader};

use super::SavedState;
use super::origin::{known, sized};

impl SavedState<'_> {
    /// Whether the image is in the canonical form of [`selfsame_xstate::Image::write`], with nothing but zeros behind it, in the
    /// places of Intel's or of AMD's CPUs. What KVM and ptrace give is not: it has bytes 464 to 471, and MXCSR_MASK.
    ///
    /// ```
    /// let mut image = [0; 832];
    /// image[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    /// (image[512], image[576]) = (4, 0xAA);
    /// assert!(selfsame_formats::saved::read(&image)?.states[0].is_canonical());
    /// image[464] = 7;
    /// assert!(!selfsame_formats::saved::read(&image)?.states[0].is_canonical());
    /// # Ok::<(), selfsame_formats::saved::SavedError>(())
    /// ```
    pub fn is_canonical(&self) -> bool {
        let Some(header) = self.header() else { return false };
        let places = match header.format() {
            Format::Standard => header.present() & ComponentSet::USER,
            Format::Compacted => sized(header.places()),
        };
        [Offsets::Intel, Offsets::Amd]
            .into_iter()
            .filter_map(|offsets| known((places | ComponentSet::LEGACY).with_partners(), offsets))
            .any(|geometry| self.is_written_by(&geometry, places).unwrap_or_default())
    }

    /// Whether the image is what becomes of it when it is written again; nothing where it cannot be.
    fn is_written_by(&self, geometry: &Geometry, places: ComponentSet) -> Option<bool> {
        let reader = Reader::new(geometry, geometry.components() | ComponentSet::LEGACY)
            .with_mxcsr_mask(MxcsrMask::AMD)
            .with_addresses(LinearAddresses::Bits57);
        let image = reader.read(self.image).ok()?;
        let layout = Layout::new(image.format(), places | ComponentSet::LEGACY, geometry).ok()?;
        let mut again = vec![0; usize::try_from(layout.size_bytes()).ok()?];
        image.write(&layout, &mut again).ok()?;
        let behind = self.image.strip_prefix(again.as_slice())?;
        Some(behind.iter().all(|&byte| byte == 0))
    }
}
