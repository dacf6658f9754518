//! Writing images: from any format and geometry to any other, in one canonical form.

use crate::image::MXCSR_START;
use crate::initial::{is_initial, used_bytes};
use crate::twins::Piece;
use crate::x87::{self, X87_BYTES};
use crate::{
    Component, ComponentSet, EXTENDED_START_BYTES, Geometry, Header, Image, LEGACY_BYTES, Layout, MXCSR_INITIAL,
};

const XMM_BYTES: usize = 256;

/// Why an image cannot be written into a layout; nothing has been written then.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is too small. The image is never cut: the caller comes back with the size that it needs by now.
    #[error("the image needs {needed_bytes} bytes, and there are {len_bytes}")]
    TooSmall {
        /// The size of the image.
        needed_bytes: u32,
        /// The size of the buffer.
        len_bytes: usize,
    },
    /// Components are in use, and the layout has no place for them.
    #[error("{components} are in use, and the layout has no place for them")]
    NoPlace {
        /// The components.
        components: ComponentSet,
    },
    /// The two CPUs keep the component in different numbers of bytes.
    #[error("{component} has {from_bytes} bytes in the image and {to_bytes} in the layout")]
    SizeDiffers {
        /// The component.
        component: Component,
        /// Its size in the image.
        from_bytes: u32,
        /// Its size in the layout.
        to_bytes: u32,
    },
    /// The layout's geometry puts the component over the header or over another one that is in use.
    #[error("{component} would overwrite other state")]
    Overlap {
        /// The component.
        component: Component,
    },
}

impl Image<'_> {
    /// Returns the components that differ from their initial configuration.
    ///
    /// CPUs may save a component that is in its initial configuration, and which ones do differs (SDM vol. 1, 13.6): two
    /// images of the same state need not agree in [`Image::present`], but they agree in this. SSE is in use if MXCSR has
    /// another value than 0x1F80, as XSAVEC has it.
    #[must_use]
    pub fn in_use(&self) -> ComponentSet {
        let (mut in_use, _, _) = self.legacy_in_use();
        for (component, start, size_bytes) in self.extended() {
            let used_bytes = used_bytes(component, size_bytes);
            if self.present().contains(component) && !self.is_initial(component, start, used_bytes) {
                in_use.insert(component);
            }
        }
        in_use
    }

    /// Writes the state into the first bytes of `out`, and returns how many: the layout's size, and at least 576.
    ///
    /// What is written is *canonical*, so that equal states are equal bytes for a layout, wherever they were saved:
    ///
    /// * XSTATE_BV is [`Image::in_use`]: a component in its initial configuration is absent, and the bytes of what is absent
    ///   are zero, as are gaps, the bytes 416 to 511 for software, and the reserved bytes of components.
    /// * MXCSR is always there. XSTATE_BV has SSE if it is not 0x1F80, because the compacted form of XRSTOR would forget it
    ///   otherwise. MXCSR_MASK, which says what the saving CPU was, is zero.
    /// * Reserved bits of x87 have the values that CPUs give them, and ES and B follow from the exceptions. The pointers to
    ///   instruction and operand stay as they are: AMD CPUs keep them only while an exception is pending.
    /// * XCOMP_BV is the layout's set in the compacted format, and zero in the standard one.
    ///
    /// ```
    /// use selfsame_xstate::{ComponentSet, Format, Geometry, Layout, Reader};
    ///
    /// let with_pkru_at = |offset, size| Geometry::read(move |subleaf| match subleaf {
    ///     0 => [0x207, 0x240, size, 0],
    ///     1 => [0xF, 0x240, 0, 0],
    ///     2 => [256, 576, 0, 0],
    ///     9 => [8, offset, 0, 0],
    ///     _ => [0; 4],
    /// });
    /// let (intel, amd) = (with_pkru_at(0xA80, 0xA88), with_pkru_at(0x980, 0x988));
    ///
    /// let mut on_intel = [0; 0xA88];
    /// on_intel[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    /// on_intel[513] = 0b10;
    /// on_intel[0xA80] = 0x54;
    ///
    /// let everything = ComponentSet::from_bits(0x207);
    /// let image = Reader::new(&intel, everything).read(&on_intel)?;
    /// let mut on_amd = [0; 0x988];
    /// let layout = Layout::new(Format::Standard, everything, &amd)?;
    /// assert_eq!(image.write(&layout, &mut on_amd)?, 0x988);
    /// assert_eq!(on_amd[0x980], 0x54);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A buffer that is too small, with the size that is needed; components in use without a place, in the layout or in its
    /// format; a geometry that disagrees on a size or overwrites itself. `out` is unchanged then.
    pub fn write(&self, layout: &Layout<'_>, out: &mut [u8]) -> Result<usize, WriteError> {
        // What is in use is found while it is copied, unless some of it might have no place.
        if !self.is_welcome_in(layout) {
            self.check_places(layout)?;
        }
        let needed_bytes = layout.size_bytes().max(EXTENDED_START_BYTES);
        let too_small = WriteError::TooSmall { needed_bytes, len_bytes: out.len() };
        let out = out.get_mut(..needed_bytes as usize).ok_or(too_small)?;
        let in_use = self.write_extended(layout, out);
        let (legacy, rest) = out.split_first_chunk_mut().ok_or(too_small)?;
        let header = rest.first_chunk_mut().ok_or(too_small)?;
        let in_use = in_use.union(self.write_legacy(legacy));
        *header = Header::new(layout.format(), layout.components(), in_use).to_bytes();
        Ok(out.len())
    }

    /// Returns the legacy region as FXRSTOR loads it: without a header that says what is in its initial configuration.
    ///
    /// # Errors
    ///
    /// Names the components in use that FXRSTOR does not load.
    pub fn to_fxsave(&self) -> Result<[u8; LEGACY_BYTES as usize], WriteError> {
        let components = self.in_use().minus(ComponentSet::LEGACY);
        if !components.is_empty() {
            return Err(WriteError::NoPlace { components });
        }
        let mut bytes = [0; LEGACY_BYTES as usize];
        if !self.write_legacy(&mut bytes).contains(Component::X87)
            && let Some(control) = bytes.first_chunk_mut()
        {
            *control = x87::FCW_INITIAL.to_le_bytes();
        }
        Ok(bytes)
    }

    /// Tells, without looking at what is in use, whether all that is present has a place of its own.
    #[inline]
    fn is_welcome_in(&self, layout: &Layout<'_>) -> bool {
        self.present().is_subset_of(layout.components())
            && (self.present().contains(Component::SSE) || self.mxcsr() == MXCSR_INITIAL)
            && core::ptr::eq(self.geometry(), layout.geometry())
            && layout.is_ascending()
    }

    /// Sees whether all that is in use has a place of its size, which nothing else in use shares.
    fn check_places(&self, layout: &Layout<'_>) -> Result<(), WriteError> {
        let in_use = self.in_use();
        let homeless = in_use.minus(layout.components());
        if !homeless.is_empty() {
            return Err(WriteError::NoPlace { components: homeless });
        }
        let size = |geometry: &Geometry, component| geometry.row(component).map_or(0, |row| row.size_bytes);
        for component in in_use.minus(ComponentSet::LEGACY) {
            let (from_bytes, to_bytes) = (size(self.geometry(), component), size(layout.geometry(), component));
            if from_bytes != to_bytes {
                return Err(WriteError::SizeDiffers { component, from_bytes, to_bytes });
            }
        }
        if layout.is_ascending() { Ok(()) } else { check_overlaps(layout, in_use) }
    }

    /// Copies the extended components that are in use, clears the rest, and returns what was in use.
    #[inline]
    fn write_extended(&self, layout: &Layout<'_>, out: &mut [u8]) -> ComponentSet {
        let is_known = core::ptr::eq(self.geometry(), layout.geometry());
        let twins = layout.twins().filter(|_| is_known);
        if let Some(pieces) = twins.and_then(|twins| twins.pieces(self.format(), self.places(), layout.format())) {
            return self.write_pieces(pieces, out);
        }
        self.write_unknown(layout, out)
    }

    /// As [`Image::write_extended`], where the layout does not know the image's places.
    #[cold]
    #[inline(never)]
    fn write_unknown(&self, layout: &Layout<'_>, out: &mut [u8]) -> ComponentSet {
        let pieces = self.extended().filter_map(|(component, from, size_bytes)| {
            let used_bytes = used_bytes(component, size_bytes);
            // What is in use has a place: it was seen, or all that is present has one.
            Some(Piece { component, used_bytes, from, to: layout.offset_bytes(component)? })
        });
        self.write_pieces(pieces, out)
    }

    /// Copies the pieces that are in use, in as few runs as they lie in on both sides, clears the rest, and returns what was in
    /// use.
    #[inline]
    fn write_pieces(&self, mut pieces: impl Iterator<Item = Piece>, out: &mut [u8]) -> ComponentSet {
        let mut in_use = ComponentSet::EMPTY;
        let mut writer = Writer { from: self.bytes(), out, end: EXTENDED_START_BYTES as usize };
        let mut pending = Run::EMPTY;
        loop {
            let mut run = core::mem::replace(&mut pending, Run::EMPTY);
            // Nothing is copied in here, so that the loop keeps its variables in registers.
            for Piece { component, used_bytes, from, to } in pieces.by_ref() {
                if !self.present().contains(component) || self.is_initial(component, from, used_bytes) {
                    continue;
                }
                in_use.insert(component);
                // The reserved bytes behind the used ones are a gap like any other.
                let next = Run { from: from as usize, to: to as usize, len: used_bytes as usize };
                if run.len == 0 {
                    run = next;
                } else if run.is_continued_by(&next) {
                    run.len += next.len;
                } else {
                    pending = next;
                    break;
                }
            }
            writer.copy(&run);
            if pending.len == 0 {
                break;
            }
        }
        writer.clear_up_to(writer.out.len());
        in_use
    }

    /// Writes x87, MXCSR and XMM, clears the rest, and returns what was in use.
    #[inline]
    fn write_legacy(&self, out: &mut [u8; LEGACY_BYTES as usize]) -> ComponentSet {
        let (in_use, x87, xmm) = self.legacy_in_use();
        let Some((x87_out, rest)) = out.split_first_chunk_mut() else { return in_use };
        match x87 {
            Some(x87) => x87::write(x87, x87_out),
            None => x87_out.fill(0),
        }
        if let Some(field) = x87_out.get_mut(MXCSR_START..).and_then(|rest| rest.first_chunk_mut()) {
            *field = self.mxcsr().to_le_bytes();
        }
        let Some((xmm_out, software)) = rest.split_first_chunk_mut() else { return in_use };
        match xmm {
            Some(xmm) => *xmm_out = *xmm,
            None => xmm_out.fill(0),
        }
        software.fill(0);
        in_use
    }

    /// Returns what of x87 and SSE is in use, and the bytes of x87 and of XMM as far as they are.
    #[inline]
    fn legacy_in_use(&self) -> (ComponentSet, Option<&[u8; X87_BYTES]>, Option<&[u8; XMM_BYTES]>) {
        let (has_x87, has_sse) = (self.present().contains(Component::X87), self.present().contains(Component::SSE));
        let x87 = self.bytes().first_chunk().filter(|x87| has_x87 && !x87::is_initial(x87));
        let xmm = self.bytes().get(X87_BYTES..).and_then(|rest| rest.first_chunk());
        let xmm = xmm.filter(|xmm: &&[u8; XMM_BYTES]| has_sse && !is_initial(Component::SSE, *xmm));
        let mut in_use = ComponentSet::EMPTY;
        if x87.is_some() {
            in_use.insert(Component::X87);
        }
        if xmm.is_some() || self.mxcsr() != MXCSR_INITIAL {
            in_use.insert(Component::SSE);
        }
        (in_use, x87, xmm)
    }

    #[inline]
    fn is_initial(&self, component: Component, start: u32, used_bytes: u32) -> bool {
        let bytes = self.bytes().get(start as usize..).and_then(|rest| rest.get(..used_bytes as usize));
        bytes.is_none_or(|bytes| is_initial(component, bytes))
    }
}

/// Bytes that lie together on both sides.
struct Run {
    from: usize,
    to: usize,
    len: usize,
}

impl Run {
    const EMPTY: Self = Self { from: 0, to: 0, len: 0 };

    fn is_continued_by(&self, next: &Self) -> bool {
        self.from + self.len == next.from && self.to + self.len == next.to
    }
}

/// Writes runs and clears what lies between.
struct Writer<'w> {
    from: &'w [u8],
    out: &'w mut [u8],
    /// All before this byte is written.
    end: usize,
}

impl Writer<'_> {
    #[inline]
    fn copy(&mut self, run: &Run) {
        self.clear_up_to(run.to);
        let from = self.from.get(run.from..).and_then(|rest| rest.get(..run.len));
        let to = self.out.get_mut(run.to..).and_then(|rest| rest.get_mut(..run.len));
        if let (Some(from), Some(to)) = (from, to) {
            to.copy_from_slice(from);
        }
        self.end = self.end.max(run.to + run.len);
    }

    #[inline]
    fn clear_up_to(&mut self, start: usize) {
        if start > self.end {
            if let Some(gap) = self.out.get_mut(self.end..start) {
                gap.fill(0);
            }
            self.end = start;
        }
    }
}

/// Refuses a layout that puts a component in use over the header or over another one.
///
/// Components that are out of order are rare (APX, LWP), and those that overlap are a defect of the geometry.
#[cold]
pub(crate) fn check_overlaps(layout: &Layout<'_>, in_use: ComponentSet) -> Result<(), WriteError> {
    let place = |component| Some((component, layout.range_bytes(component)?));
    for (component, one) in in_use.minus(ComponentSet::LEGACY).iter().filter_map(place) {
        let others = in_use.minus(ComponentSet::LEGACY).without(component);
        let is_over = others.iter().filter_map(place).any(|(_, other)| one.start < other.end && other.start < one.end);
        if is_over || one.start < EXTENDED_START_BYTES {
            return Err(WriteError::Overlap { component });
        }
    }
    Ok(())
}
