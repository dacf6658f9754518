//! Whether a guest may load an image on a host, with every reason why not.

use crate::write::check_overlaps;
use crate::{Area, AreaError, ComponentSet, Configurations, Geometry, Image, ImageFault, Reader, WriteError};

/// Why a guest cannot load an image on a host; see [`Reader::load_refusals`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadRefusal {
    /// The strict reading refuses the image: on any host.
    #[error(transparent)]
    Image(#[from] ImageFault),
    /// The host has no area for the guest, whatever is in the image.
    #[error(transparent)]
    Area(#[from] AreaError),
    /// What is in use does not fit into the guest's area on the host.
    #[error(transparent)]
    Misfit(#[from] WriteError),
}

impl<'g> Reader<'g> {
    /// Names every reason why a guest that may have what this reader allows cannot load an image on a host.
    ///
    /// Three questions, of which no answer hides another: does the strict reading take the image, has the host an area for the
    /// guest, and is there a place for everything in use? If there is no reason, [`Image::write`] writes the image into the
    /// layout of that area. User-dynamic components are taken as enabled.
    ///
    /// ```
    /// use selfsame_xstate::{ComponentSet, Configurations, Geometry, Reader};
    ///
    /// let cpu = |user: u32, size| Geometry::read(move |subleaf| match subleaf {
    ///     0 => [user, 0x240, size, 0],
    ///     2 => [256, 576, 0, 0],
    ///     9 if user & 0x200 != 0 => [8, 2432, 0, 0],
    ///     _ => [0; 4],
    /// });
    /// let (from, to) = (cpu(0x207, 2440), cpu(0x7, 832));
    /// let mut bytes = [0; 2440];
    /// bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    /// let host = Configurations::new(&to)?;
    ///
    /// // A guest with PKRU finds no room there, even if PKRU is 0; one without is welcome.
    /// let refusals = |allowed| {
    ///     let reader = Reader::new(&from, ComponentSet::from_bits(allowed));
    ///     reader.load_refusals(&bytes, &host).map(|refusal| refusal.to_string()).collect::<Vec<_>>()
    /// };
    /// assert_eq!(refusals(0x207), ["the policy has pkru, which this host cannot keep"]);
    /// assert!(refusals(0x7).is_empty());
    /// # Ok::<(), selfsame_xstate::ConfigurationError>(())
    /// ```
    pub fn load_refusals<'a>(
        &self,
        bytes: &'a [u8],
        host: &Configurations<'a>,
    ) -> impl Iterator<Item = LoadRefusal> + use<'a>
    where
        'g: 'a,
    {
        let area = host.area(self.components(), self.components());
        let misfits = match (area, self.sanitise(bytes)) {
            (Ok(area), Ok(sanitised)) => Some(misfits(*sanitised.image(), area)),
            _ => None,
        };
        let faults = self.faults(bytes).map(LoadRefusal::from);
        faults.chain(area.err().map(LoadRefusal::from)).chain(misfits.into_iter().flatten().map(LoadRefusal::from))
    }
}

/// Names everything in use that has no place of its own in an area.
fn misfits<'a>(image: Image<'a>, area: Area<'a>) -> impl Iterator<Item = WriteError> + use<'a> {
    let in_use = image.in_use();
    let homeless = in_use.minus(area.components());
    let no_place = (!homeless.is_empty()).then_some(WriteError::NoPlace { components: homeless });
    let of_other_size = in_use.minus(homeless).minus(ComponentSet::LEGACY).iter().filter_map(move |component| {
        let size = |geometry: &Geometry| geometry.row(component).map_or(0, |row| row.size_bytes);
        let (from_bytes, to_bytes) = (size(image.geometry()), size(area.layout().geometry()));
        (from_bytes != to_bytes).then_some(WriteError::SizeDiffers { component, from_bytes, to_bytes })
    });
    let overlap = check_overlaps(area.layout(), in_use.minus(homeless)).err();
    no_place.into_iter().chain(of_other_size).chain(overlap)
}
