//! The image at an interface: what one program gives to another.
//!
//! It is compacted, canonical, and describes itself: XCOMP_BV names what has a place in it, which is what is in use together
//! with x87 and SSE, supervisor state included. Sizes of components are the same on all CPUs but for two that guests are not
//! given (PT, LBR), and only offsets differ, which the compacted format does not have: a reader needs nothing but the header.
//!
//! Standard images are taken as well, because they are what others have, but never made: they hold no supervisor state, and
//! lie in the places of one vendor.

use crate::{ComponentSet, Format, Image, ImageFault, Layout, LayoutError, Reader, WriteError};

/// Why an image was not written for an interface; see [`Image::write_interface`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// What is in use has no compacted layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The image cannot be written, mostly because it has grown since its size was asked for.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl<'a> Image<'a> {
    /// Returns the size that [`Image::write_interface`] needs for what is in use by now.
    ///
    /// # Errors
    ///
    /// As [`Layout::new`]; for an image of a [usable](crate::Geometry::usable) geometry there is none.
    pub fn interface_size_bytes(&self) -> Result<u32, LayoutError> {
        Ok(self.interface_layout()?.size_bytes())
    }

    /// Writes the image for an interface into the first bytes of `out`, and returns how many.
    ///
    /// The guest may run between the question for the size and this, and use more: that is an error with the new size, and
    /// nothing is cut.
    ///
    /// ```
    /// use selfsame_xstate::{ComponentSet, Geometry, InterfaceError, Reader, WriteError};
    ///
    /// let geometry = Geometry::read(|subleaf| match subleaf {
    ///     0 => [0x207, 0x240, 0xA88, 0],
    ///     2 => [256, 576, 0, 0],
    ///     9 => [8, 0xA80, 0, 0],
    ///     _ => [0; 4],
    /// });
    /// let reader = Reader::new(&geometry, ComponentSet::from_bits(0x207));
    /// let mut bytes = [0; 0xA88];
    /// bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    /// let size_bytes = reader.read(&bytes)?.interface_size_bytes()?;
    /// assert_eq!(size_bytes, 576);
    ///
    /// // The guest sets PKRU.
    /// (bytes[513], bytes[0xA80]) = (0b10, 0x54);
    /// let image = reader.read(&bytes)?;
    /// let grown = InterfaceError::Write(WriteError::TooSmall { needed_bytes: 584, len_bytes: 576 });
    /// assert_eq!(image.write_interface(&mut [0; 576]), Err(grown));
    ///
    /// let mut out = [0; 584];
    /// image.write_interface(&mut out)?;
    /// assert_eq!(reader.read_interface(&out)?.present(), image.in_use());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`WriteError::TooSmall`] with the size that is needed; otherwise only what a geometry that is not
    /// [usable](crate::Geometry::usable) brings about. `out` is unchanged then.
    pub fn write_interface(&self, out: &mut [u8]) -> Result<usize, InterfaceError> {
        Ok(self.write(&self.interface_layout()?, out)?)
    }

    fn interface_layout(&self) -> Result<Layout<'a>, LayoutError> {
        let places = self.in_use().union(ComponentSet::LEGACY);
        Layout::new(Format::Compacted, places, self.geometry())
    }
}

impl<'g> Reader<'g> {
    /// Reads an image from an interface: compacted and of exactly the size that its header tells, or standard.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`]; and bytes behind a compacted image, which nobody has described.
    pub fn read_interface<'a>(&self, bytes: &'a [u8]) -> Result<Image<'a>, ImageFault>
    where
        'g: 'a,
    {
        let image = self.read(bytes)?;
        let needed_bytes = image.layout().size_bytes();
        if image.format() == Format::Compacted && bytes.len() != needed_bytes as usize {
            return Err(ImageFault::TooLong { len_bytes: bytes.len(), needed_bytes });
        }
        Ok(image)
    }
}
