//! Reading images: strictly, or mended with everything that was wrong named.

use crate::contents::{CetControls, LinearAddresses, RegisterWidths, unlawful};
use crate::{
    ComponentSet, Format, Geometry, HEADER_BYTES, Header, Image, ImageFault, LEGACY_BYTES, Layout, MxcsrMask,
    size_bytes,
};

/// What images are read against: where the CPU that wrote them keeps components, and what they may hold.
///
/// Images come from other hosts, files and guests, so nothing in them is trusted. There is *one* strict reading
/// ([`Reader::read`]): it refuses whatever XRSTOR or XRSTORS would fault on, and by name what loads today without being
/// lawful. [`Reader::sanitise`] takes what can be taken and tells what it mended. Neither copies a byte.
///
/// ```
/// use selfsame_xstate::{Component, ComponentSet, Geometry, HeaderFault, ImageFault, Reader};
///
/// let geometry = Geometry::read(|subleaf| match subleaf {
///     0 => [0x7, 0x240, 0x340, 0],
///     2 => [256, 576, 0, 0],
///     _ => [0; 4],
/// });
/// let reader = Reader::new(&geometry, ComponentSet::from_bits(0x7));
///
/// // AVX is there, and x87 and SSE are in their initial configuration.
/// let mut bytes = [0; 832];
/// bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
/// bytes[512] = 0b100;
/// bytes[576] = 0xAA;
/// let image = reader.read(&bytes)?;
/// assert_eq!(image.present(), ComponentSet::from(Component::AVX));
///
/// // PKRU is not enabled here: refused, or dropped.
/// bytes[513] = 0b10;
/// let fault = ImageFault::Header(HeaderFault::NotEnabled { components: Component::PKRU.into() });
/// assert_eq!(reader.read(&bytes).unwrap_err(), fault);
/// let sanitised = reader.sanitise(&bytes)?;
/// assert!(sanitised.mended().eq([fault]));
/// assert_eq!(sanitised.image().present(), ComponentSet::from(Component::AVX));
/// # Ok::<(), ImageFault>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Reader<'g> {
    geometry: &'g Geometry,
    xcr0: ComponentSet,
    xss: ComponentSet,
    mxcsr_mask: MxcsrMask,
    widths: RegisterWidths,
    /// The size of all that a standard image may hold, which most images are at least as long as; `None` without a layout.
    whole_standard_bytes: Option<usize>,
    /// All that a compacted image may hold, which most have a place for.
    whole_compacted: Option<Layout<'g>>,
}

impl<'g> Reader<'g> {
    /// Reads images of a CPU with this geometry, which may hold the components of `allowed`, on behalf of a CPU with the common
    /// bits of MXCSR, 48-bit addresses and all of CET.
    ///
    /// `allowed` is what a guest may have in XCR0 and IA32_XSS together: the geometry tells which belongs to which. It is a
    /// set and no value of the registers, because areas hold what no XCR0 can have: AMX's configuration without its data.
    ///
    /// A geometry from an untrusted source goes through [`Geometry::usable`] first: reading and writing are total without,
    /// but where components overlap, so do their bytes.
    #[must_use]
    pub fn new(geometry: &'g Geometry, allowed: ComponentSet) -> Self {
        let xss = geometry.supervisor_of(allowed);
        let xcr0 = allowed.minus(xss);
        let row = |component| geometry.row(component).copied();
        let whole_standard_bytes = size_bytes(Format::Standard, xcr0.union(ComponentSet::LEGACY), row);
        let whole = xcr0.union(xss).union(ComponentSet::LEGACY);
        Self {
            geometry,
            xcr0,
            xss,
            mxcsr_mask: MxcsrMask::COMMON,
            widths: RegisterWidths { addresses: LinearAddresses::Bits48, cet: CetControls::ALL },
            whole_standard_bytes: whole_standard_bytes.ok().and_then(|bytes| usize::try_from(bytes).ok()),
            whole_compacted: Layout::new(Format::Compacted, whole, geometry).ok(),
        }
    }

    /// Reads on behalf of a CPU with these bits of MXCSR.
    #[must_use]
    pub const fn with_mxcsr_mask(self, mxcsr_mask: MxcsrMask) -> Self {
        Self { mxcsr_mask, ..self }
    }

    /// Reads on behalf of a CPU with linear addresses of this width.
    #[must_use]
    pub const fn with_addresses(self, addresses: LinearAddresses) -> Self {
        Self { widths: RegisterWidths { addresses, ..self.widths }, ..self }
    }

    /// Reads on behalf of a CPU, mostly that which a guest sees, with these parts of CET.
    #[must_use]
    pub const fn with_cet(self, cet: CetControls) -> Self {
        Self { widths: RegisterWidths { cet, ..self.widths }, ..self }
    }

    /// Reads an image strictly. Bytes behind it are left alone: an area may be larger than what is in it.
    ///
    /// # Errors
    ///
    /// The first of [`Reader::faults`].
    // An image that is returned goes through memory in words and is moved in larger pieces: the second waits for the first, as
    // long as the whole reading takes.
    #[inline(always)]
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Result<Image<'a>, ImageFault>
    where
        'g: 'a,
    {
        let header = Header::from_bytes(header_of(bytes)?);
        header.check(self.xcr0, self.xss)?;
        let image = self.place(bytes, header, header.present())?;
        if !self.mxcsr_mask.allows(image.mxcsr()) {
            return Err(self.mxcsr_fault(&image));
        }
        let components = self.unlawful(&image);
        if components.is_empty() { Ok(image) } else { Err(ImageFault::Unlawful { components }) }
    }

    /// Names everything that is wrong with an image, by the strict reading.
    pub fn faults(&self, bytes: &[u8]) -> impl Iterator<Item = ImageFault> + use<> {
        let (header, no_header) = match header_of(bytes) {
            Ok(header) => (Header::from_bytes(header), None),
            Err(fault) => (Header::default(), Some(fault)),
        };
        // Without a header there is no image, and that is all that can be said.
        let placed = no_header.is_none().then(|| self.place(bytes, header, self.allowed(&header)));
        let (no_place, mxcsr, contents) = match placed {
            Some(Ok(image)) => {
                let components = self.unlawful(&image);
                let is_lawful = self.mxcsr_mask.allows(image.mxcsr());
                let contents = (!components.is_empty()).then_some(ImageFault::Unlawful { components });
                (None, (!is_lawful).then(|| self.mxcsr_fault(&image)), contents)
            }
            Some(Err(fault)) => (Some(fault), None, None),
            None => (None, None, None),
        };
        let header = header.faults(self.xcr0, self.xss).map(ImageFault::from);
        no_header.into_iter().chain(header).chain([no_place, mxcsr, contents].into_iter().flatten())
    }

    /// Reads an image and drops or mends what the strict reading refuses, as far as it is known where each component lies.
    ///
    /// Components that may not be there or hold unlawful values are put into their initial configuration, bits that MXCSR has
    /// not are cleared, and reserved bytes are ignored. Nothing is written: [`Image::write`] writes what was taken.
    ///
    /// # Errors
    ///
    /// The first of [`Reader::faults`] that cannot be mended: too few bytes, or a component without a place.
    pub fn sanitise<'a>(&self, bytes: &'a [u8]) -> Result<Sanitised<'a>, ImageFault>
    where
        'g: 'a,
    {
        let header = Header::from_bytes(header_of(bytes)?);
        let image = self.place(bytes, header, self.allowed(&header))?;
        let lawful = image.present().minus(self.unlawful(&image));
        let image = image.restricted(lawful, self.mxcsr_mask);
        Ok(Sanitised { image, reader: *self, bytes })
    }

    /// Returns what an image may hold.
    pub(crate) const fn components(&self) -> ComponentSet {
        self.xcr0.union(self.xss)
    }

    /// Returns what a header's image holds that it may.
    fn allowed(&self, header: &Header) -> ComponentSet {
        let allowed = match header.format() {
            Format::Standard => self.xcr0,
            Format::Compacted => self.xcr0.union(self.xss).intersection(header.places()),
        };
        header.present().intersection(allowed).intersection(ComponentSet::ALL)
    }

    /// Finds the components of an image; only `present` is taken from it.
    #[inline]
    fn place<'a>(&self, bytes: &'a [u8], header: Header, present: ComponentSet) -> Result<Image<'a>, ImageFault>
    where
        'g: 'a,
    {
        let format = header.format();
        let (places, whole_bytes) = match format {
            // What is taken is a subset of XCR0.
            Format::Standard => (present.union(ComponentSet::LEGACY), self.whole_standard_bytes),
            Format::Compacted => {
                let places = header.places().union(ComponentSet::LEGACY);
                (places, self.whole_compacted(places).map(|layout| layout.size_bytes() as usize))
            }
        };
        // Where all that might be there fits, what is there need not be added up.
        let bytes = match whole_bytes.and_then(|whole| bytes.get(..whole)) {
            Some(bytes) => bytes,
            None => self.taken_by_size(bytes, format, places)?,
        };
        Ok(Image::new(bytes, self.geometry, format, places, present))
    }

    /// Returns the bytes of an image that may be shorter than all that might be there.
    #[cold]
    fn taken_by_size<'a>(&self, bytes: &'a [u8], format: Format, places: ComponentSet) -> Result<&'a [u8], ImageFault> {
        let needed_bytes = size_bytes(format, places, |component| self.geometry.row(component).copied())?;
        let taken = usize::try_from(needed_bytes).ok().and_then(|needed| bytes.get(..needed));
        taken.ok_or(ImageFault::TooShort { len_bytes: bytes.len(), needed_bytes })
    }

    /// Returns the layout of compacted images with these places, x87 and SSE included, if it is that of all they may have.
    #[inline]
    fn whole_compacted(&self, places: ComponentSet) -> Option<&Layout<'g>> {
        self.whole_compacted.as_ref().filter(|layout| layout.components() == places)
    }

    #[inline]
    fn unlawful(&self, image: &Image<'_>) -> ComponentSet {
        let whole = self.whole_compacted(image.places()).filter(|_| image.format() == Format::Compacted);
        unlawful(image.present(), self.widths, |component| match whole {
            Some(layout) => {
                let range = layout.range_bytes(component)?;
                image.bytes().get(range.start as usize..range.end as usize)
            }
            None => image.component(component),
        })
    }

    #[cold]
    fn mxcsr_fault(&self, image: &Image<'_>) -> ImageFault {
        ImageFault::Mxcsr { mxcsr: image.mxcsr(), mask: self.mxcsr_mask }
    }
}

/// An image of which only what is lawful was taken; made by [`Reader::sanitise`].
#[derive(Clone, Copy, Debug)]
pub struct Sanitised<'a> {
    image: Image<'a>,
    reader: Reader<'a>,
    bytes: &'a [u8],
}

impl<'a> Sanitised<'a> {
    /// Returns what was taken.
    #[must_use]
    pub const fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// Names everything that was mended; nothing where the strict reading takes the image.
    pub fn mended(&self) -> impl Iterator<Item = ImageFault> + use<> {
        self.reader.faults(self.bytes)
    }
}

#[inline]
fn header_of(bytes: &[u8]) -> Result<&[u8; HEADER_BYTES as usize], ImageFault> {
    let header = bytes.get(LEGACY_BYTES as usize..).and_then(|rest| rest.first_chunk());
    header.ok_or(ImageFault::NoHeader { len_bytes: bytes.len() })
}
