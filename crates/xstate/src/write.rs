//! Writing images: from any format and geometry to any other, in one canonical form.

use crate::component::{INITIALLY_SET_BITS, PARTLY_USED_BITS};
use crate::x87::{self, X87_BYTES, X87_INITIAL};
use crate::{Component, ComponentSet, EXTENDED_START_BYTES, Header, Image, LEGACY_BYTES, Layout, MXCSR_INITIAL};

const X87_START: usize = 0;
const MXCSR_START: usize = 24;
const XMM_START: usize = X87_BYTES;
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
        from_bytes: usize,
        /// Its size in the layout.
        to_bytes: usize,
    },
    /// The layout's geometry puts the component over the header or over another one that is in use.
    #[error("{component} would overwrite other state")]
    Overlap {
        /// The component.
        component: Component,
    },
}

/// The legacy region's state as a CPU would write it.
struct Legacy<'a> {
    x87: Option<[u8; X87_BYTES]>,
    xmm: Option<&'a [u8; XMM_BYTES]>,
}

impl Image<'_> {
    /// Returns the components that differ from their initial configuration.
    ///
    /// CPUs may save a component that is in its initial configuration, and which ones do differs (SDM vol. 1, 13.6): two
    /// images of the same state need not agree in [`Image::present`], but they agree in this. SSE is in use if MXCSR has
    /// another value than 0x1F80, as XSAVEC has it.
    #[must_use]
    pub fn in_use(&self) -> ComponentSet {
        self.in_use_with(&self.legacy_state())
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
    /// let image = Reader::new(&intel, everything, ComponentSet::EMPTY).read(&on_intel)?;
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
        let legacy = self.legacy_state();
        let in_use = self.in_use_with(&legacy);
        let homeless = in_use.minus(layout.components());
        if !homeless.is_empty() {
            return Err(WriteError::NoPlace { components: homeless });
        }
        let is_ascending = self.check_places(layout, in_use)?;
        if !is_ascending {
            check_overlaps(layout, in_use)?;
        }
        let needed_bytes = layout.size_bytes().max(EXTENDED_START_BYTES);
        let len_bytes = out.len();
        let too_small = WriteError::TooSmall { needed_bytes, len_bytes };
        let out = out.get_mut(..needed_bytes as usize).ok_or(too_small)?;
        let (start, _) = out.split_first_chunk_mut().ok_or(too_small)?;
        self.write_start(layout, &legacy, in_use, start);
        self.write_extended(layout, in_use, out);
        Ok(out.len())
    }

    /// Returns the legacy region as FXRSTOR loads it: without a header that says what is in its initial configuration.
    ///
    /// # Errors
    ///
    /// Names the components in use that FXRSTOR does not load.
    pub fn to_fxsave(&self) -> Result<[u8; LEGACY_BYTES as usize], WriteError> {
        let Legacy { x87, xmm } = self.legacy_state();
        let extended = self.in_use().minus(ComponentSet::LEGACY);
        if !extended.is_empty() {
            return Err(WriteError::NoPlace { components: extended });
        }
        let mut bytes = [0; LEGACY_BYTES as usize];
        write_legacy(&x87.unwrap_or(X87_INITIAL), self.mxcsr(), xmm, &mut bytes);
        Ok(bytes)
    }

    /// Returns x87 and XMM as far as they differ from their initial configuration.
    #[inline]
    fn legacy_state(&self) -> Legacy<'_> {
        let x87 = self.component(Component::X87).and_then(|bytes| bytes.first_chunk()).map(x87::canonical);
        let xmm = self.component(Component::SSE).and_then(|bytes| bytes.first_chunk());
        Legacy { x87: x87.filter(|bytes| *bytes != X87_INITIAL), xmm: xmm.filter(|bytes| !is_zero(*bytes)) }
    }

    #[inline]
    fn in_use_with(&self, legacy: &Legacy<'_>) -> ComponentSet {
        let mut in_use = ComponentSet::EMPTY;
        if legacy.x87.is_some() {
            in_use.insert(Component::X87);
        }
        if legacy.xmm.is_some() || self.mxcsr() != MXCSR_INITIAL {
            in_use.insert(Component::SSE);
        }
        for component in self.present().minus(ComponentSet::LEGACY) {
            if self.component(component).is_some_and(|bytes| !is_initial(component, bytes)) {
                in_use.insert(component);
            }
        }
        in_use
    }

    /// Compares the sizes of what is in use, and tells whether it lies in ascending order behind the header.
    #[inline]
    fn check_places(&self, layout: &Layout<'_>, in_use: ComponentSet) -> Result<bool, WriteError> {
        let mut is_ascending = true;
        let mut end = EXTENDED_START_BYTES;
        for component in in_use.minus(ComponentSet::LEGACY) {
            let (Some(from), Some(to)) = (self.layout().range_bytes(component), layout.range_bytes(component)) else {
                return Err(WriteError::NoPlace { components: component.into() });
            };
            if from.len() != to.len() {
                return Err(WriteError::SizeDiffers { component, from_bytes: from.len(), to_bytes: to.len() });
            }
            is_ascending &= to.start >= end;
            end = to.end;
        }
        Ok(is_ascending)
    }

    /// Writes legacy region and header.
    #[inline]
    fn write_start(
        &self,
        layout: &Layout<'_>,
        legacy: &Legacy<'_>,
        in_use: ComponentSet,
        out: &mut [u8; EXTENDED_START_BYTES as usize],
    ) {
        let header = Header::new(layout.format(), layout.components(), in_use);
        if let Some((region, rest)) = out.split_first_chunk_mut() {
            write_legacy(legacy.x87.as_ref().unwrap_or(&[0; X87_BYTES]), self.mxcsr(), legacy.xmm, region);
            if let Some(bytes) = rest.first_chunk_mut() {
                *bytes = header.to_bytes();
            }
        }
    }

    /// Copies the extended components that are in use, in as few runs as they lie in on both sides, and clears the rest.
    #[inline]
    fn write_extended(&self, layout: &Layout<'_>, in_use: ComponentSet, out: &mut [u8]) {
        let mut writer = Writer { from: self.bytes(), out, end: EXTENDED_START_BYTES as usize };
        let mut run = Run { from: 0, to: 0, len: 0 };
        for component in in_use.minus(ComponentSet::LEGACY) {
            // Both are there: `check_places` has seen them.
            let (Some(from), Some(to)) = (self.layout().range_bytes(component), layout.range_bytes(component)) else {
                continue;
            };
            let len = used_bytes(component, from.len());
            let next = Run { from: from.start as usize, to: to.start as usize, len };
            if !run.is_continued_by(&next) {
                writer.copy(&run);
                run = Run { len: 0, ..next };
            }
            run.len += len;
        }
        writer.copy(&run);
        writer.clear_up_to(writer.out.len());
    }
}

/// Bytes that lie together on both sides.
struct Run {
    from: usize,
    to: usize,
    len: usize,
}

impl Run {
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
        if let Some(gap) = self.out.get_mut(self.end..start) {
            gap.fill(0);
        }
        self.end = self.end.max(start);
    }
}

/// Refuses a layout that puts a component in use over the header or over another one.
///
/// Components that are out of order are rare (APX, LWP), and those that overlap are a defect of the geometry.
#[cold]
fn check_overlaps(layout: &Layout<'_>, in_use: ComponentSet) -> Result<(), WriteError> {
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

#[inline]
fn write_legacy(
    x87: &[u8; X87_BYTES],
    mxcsr: u32,
    xmm: Option<&[u8; XMM_BYTES]>,
    out: &mut [u8; LEGACY_BYTES as usize],
) {
    let (x87_bytes, rest) = out.split_at_mut(XMM_START - X87_START);
    x87_bytes.copy_from_slice(x87);
    if let Some(field) = x87_bytes.get_mut(MXCSR_START..).and_then(|rest| rest.first_chunk_mut()) {
        *field = mxcsr.to_le_bytes();
    }
    let (xmm_bytes, software) = rest.split_at_mut(XMM_BYTES);
    match xmm {
        Some(xmm) => xmm_bytes.copy_from_slice(xmm),
        None => xmm_bytes.fill(0),
    }
    software.fill(0);
}

/// How many of a component's bytes are copied.
#[inline]
fn used_bytes(component: Component, size_bytes: usize) -> usize {
    if PARTLY_USED_BITS >> component.index() & 1 == 0 {
        return size_bytes;
    }
    let used = component.described().and_then(|row| row.used_bytes);
    used.map_or(size_bytes, |used| size_bytes.min(used as usize))
}

/// Tells whether the bytes of an extended component are its initial configuration (SDM vol. 1, 13.6).
#[inline]
fn is_initial(component: Component, bytes: &[u8]) -> bool {
    let bytes = bytes.get(..used_bytes(component, bytes.len())).unwrap_or(bytes);
    if INITIALLY_SET_BITS >> component.index() & 1 == 0 {
        return is_zero(bytes);
    }
    let initial = component.described().map_or(0, |row| row.initial);
    match bytes.split_first_chunk() {
        Some((word, rest)) => u64::from_le_bytes(*word) == initial && is_zero(rest),
        None => false,
    }
}

/// Tells whether all bytes are zero; looks at 64 at a time, and mostly at no more.
#[inline]
fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let is_zero_block =
        |block: &[u8; 64]| block.as_chunks().0.iter().fold(0, |all, word| all | u128::from_le_bytes(*word)) == 0;
    blocks.iter().all(is_zero_block) && rest.iter().all(|byte| *byte == 0)
}
