//! A save area in the caller's memory.

use core::fmt;
use core::ops::Range;

use crate::{
    AREA_ALIGN_BYTES, AccumulatedXcr0, Area, Component, ComponentSet, EXTENDED_START_BYTES, Format, Layout,
    LayoutError, SaveMethod,
};

/// FCW in the initial state of x87 (SDM vol. 1, 13.6).
const INITIAL_FCW: u16 = 0x37F;
/// MXCSR in the initial state of SSE (SDM vol. 1, 13.6).
const INITIAL_MXCSR: u32 = 0x1F80;
/// MXCSR and MXCSR_MASK, which belong to x87's bytes and to SSE's and AVX's state (SDM vol. 1, 13.4.1).
const MXCSR: Field = Field { at: 24, len: 8 };
/// XSTATE_BV and XCOMP_BV (SDM vol. 1, 13.4.2).
const XSTATE_BV: Field = Field { at: 512, len: 8 };
const XCOMP_BV: Field = Field { at: 520, len: 8 };
/// Set in XCOMP_BV of the compacted format.
const COMPACTED_BIT: u64 = 1 << 63;

/// A place in the legacy region or the header, both of which every area has.
#[derive(Clone, Copy)]
struct Field {
    at: usize,
    len: usize,
}

/// A save area in memory that the caller has, with what is in it.
///
/// Made by [`Area::init`], which erases the memory, or by [`Area::open`], which takes up what was left in it. The CPU saves
/// into [`AreaMut::bytes_mut`], and what it saved may be less than there is room for: the header is read anew every time.
pub struct AreaMut<'a> {
    area: Area<'a>,
    /// Exactly as long as the area says.
    bytes: &'a mut [u8],
}

/// Leaves the bytes out: they are a guest's secrets.
impl fmt::Debug for AreaMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AreaMut").field("area", &self.area).field("present", &self.present()).finish_non_exhaustive()
    }
}

impl<'g> Area<'g> {
    /// Puts the area into `memory`, with every component in its initial state and no byte of what was there before.
    ///
    /// `memory` may be longer than needed; the rest is left alone.
    ///
    /// # Errors
    ///
    /// Refuses memory that is too small or not aligned to [`AREA_ALIGN_BYTES`].
    pub fn init<'a>(&self, memory: &'a mut [u8]) -> Result<AreaMut<'a>, AreaMemoryError>
    where
        'g: 'a,
    {
        let bytes = self.own_bytes(memory)?;
        bytes.fill(0);
        let mut area = AreaMut { area: *self, bytes };
        area.put_initial_legacy();
        let (present, compaction) = match (self.method(), self.layout().format()) {
            // FXRSTOR reads no header: both components always are what the bytes say.
            (SaveMethod::Fxsave, _) => (ComponentSet::LEGACY, 0),
            (_, Format::Standard) => (ComponentSet::EMPTY, 0),
            // XRSTORS refuses an area whose XCOMP_BV does not name the format (SDM vol. 1, 13.12).
            (_, Format::Compacted) => (ComponentSet::EMPTY, COMPACTED_BIT | self.components().bits()),
        };
        area.write(XSTATE_BV, &present.bits().to_le_bytes());
        area.write(XCOMP_BV, &compaction.to_le_bytes());
        Ok(area)
    }

    /// Takes up an area that lies in `memory` since [`Area::init`], whatever has been saved into it.
    ///
    /// # Errors
    ///
    /// As [`Area::init`], and refuses a header that no save into this area leaves behind.
    pub fn open<'a>(&self, memory: &'a mut [u8]) -> Result<AreaMut<'a>, AreaMemoryError>
    where
        'g: 'a,
    {
        let area = AreaMut { area: *self, bytes: self.own_bytes(memory)? };
        area.held()?;
        Ok(area)
    }

    fn own_bytes<'a>(&self, memory: &'a mut [u8]) -> Result<&'a mut [u8], AreaMemoryError> {
        let (address, given_bytes) = (memory.as_ptr().addr(), memory.len());
        if !address.is_multiple_of(AREA_ALIGN_BYTES) {
            return Err(AreaMemoryError::Misaligned { address });
        }
        let needed_bytes = self.size_bytes();
        let len = usize::try_from(needed_bytes).unwrap_or(usize::MAX);
        memory.get_mut(..len).ok_or(AreaMemoryError::TooSmall { needed_bytes, given_bytes })
    }
}

impl<'a> AreaMut<'a> {
    /// Returns the area's description.
    #[must_use]
    pub const fn area(&self) -> &Area<'a> {
        &self.area
    }

    /// Returns the area's bytes, [`Area::size_bytes`] of them.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Returns the area's bytes for an instruction to save into, with a mask that is within [`Area::components`].
    #[must_use]
    pub const fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// Returns the components that are not in their initial state: XSTATE_BV.
    #[must_use]
    pub fn present(&self) -> ComponentSet {
        ComponentSet::from_bits(self.word(XSTATE_BV))
    }

    /// Moves the state into an area that holds more or less, in other memory.
    ///
    /// Components that are not in their initial state keep their content, and all other bytes are those of [`Area::init`]: what
    /// the new area has room for that the old one had not starts in its initial state. The old area is left as it is.
    ///
    /// ```
    /// use selfsame_xstate::{AccumulatedXcr0, Component, ComponentSet, Configurations, Geometry, ResizeError, Xcr0};
    ///
    /// let geometry = Geometry::read(|subleaf| match subleaf {
    ///     0 => [0x7, 0x240, 0x340, 0],
    ///     1 => [0xF, 0x240, 0, 0],
    ///     2 => [256, 576, 0, 0],
    ///     _ => [0; 4],
    /// });
    /// let configurations = Configurations::new(&geometry)?;
    /// let (small, large) = (configurations.minimal_area()?, configurations.area(geometry.user(), ComponentSet::EMPTY)?);
    ///
    /// #[repr(align(64))]
    /// struct Memory([u8; 1024]);
    /// let (mut old, mut new, mut newer) = (Memory([0; 1024]), Memory([0xAA; 1024]), Memory([0xAA; 1024]));
    /// let area = small.init(&mut old.0)?.resize_into(&large, &mut new.0, AccumulatedXcr0::START)?;
    ///
    /// // Now the guest enables AVX: its area cannot shrink any more.
    /// let accumulated = AccumulatedXcr0::START.with(Xcr0::new(0x7, large.permitted_xcr0())?);
    /// let refused = area.resize_into(&small, &mut newer.0, accumulated).unwrap_err();
    /// assert_eq!(refused, ResizeError::StillNeeded { components: Component::AVX.into() });
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Names the components that the new area lacks while the vCPU has ever enabled them or their state is there; refuses an
    /// area of another format or CPU, memory that does not fit, and an old header that no save leaves behind.
    pub fn resize_into<'b>(
        &self,
        area: &Area<'b>,
        memory: &'b mut [u8],
        accumulated: AccumulatedXcr0,
    ) -> Result<AreaMut<'b>, ResizeError> {
        let held = self.held()?;
        let present = self.present();
        let components = (accumulated.components() | present) - area.components();
        if !components.is_empty() {
            return Err(ResizeError::StillNeeded { components });
        }
        if area.method() != self.area.method() {
            return Err(ResizeError::OtherMethod { old: self.area.method(), new: area.method() });
        }
        let (here, there) = (self.area.layout().geometry(), area.layout().geometry());
        if let Some(component) = here.conflicts(there, present).next() {
            return Err(ResizeError::OtherGeometry { component });
        }
        let format = self.area.layout().format();
        let from = Layout::new(format, held, here)?;
        let mut resized = area.init(memory)?;
        for component in present {
            self.copy(component, &from, &mut resized).ok_or(ResizeError::OtherGeometry { component })?;
        }
        // XRSTOR loads MXCSR from a standard area whatever XSTATE_BV says; a compacted area has it with SSE only, and the
        // bytes of x87 have just brought a stale one along.
        if format == Format::Standard || present.contains(Component::SSE) {
            resized.write(MXCSR, self.field(MXCSR));
        } else {
            resized.write(MXCSR, &u64::from(INITIAL_MXCSR).to_le_bytes());
        }
        resized.write(XSTATE_BV, &present.bits().to_le_bytes());
        Ok(resized)
    }

    /// Copies the bytes of a component to its place in another area; `None` if it has no such place in one of them.
    fn copy(&self, component: Component, from: &Layout<'_>, to: &mut AreaMut<'_>) -> Option<()> {
        let into = to.area.layout().range_bytes(component)?;
        let old = self.bytes.get(index_range(&from.range_bytes(component)?)?)?;
        let new = to.bytes.get_mut(index_range(&into)?)?;
        (old.len() == new.len()).then(|| new.copy_from_slice(old))
    }

    /// Returns the components that the bytes are laid out for, as the header says.
    fn held(&self) -> Result<ComponentSet, AreaMemoryError> {
        let (xstate_bv, xcomp_bv) = (self.word(XSTATE_BV), self.word(XCOMP_BV));
        let room = self.area.components();
        let (is_format, held) = match self.area.layout().format() {
            Format::Standard => (xcomp_bv == 0, room),
            Format::Compacted => (xcomp_bv & COMPACTED_BIT != 0, ComponentSet::from_bits(xcomp_bv & !COMPACTED_BIT)),
        };
        if is_format && held.is_subset_of(room) && ComponentSet::from_bits(xstate_bv).is_subset_of(held) {
            Ok(held)
        } else {
            Err(AreaMemoryError::Header { xstate_bv, xcomp_bv })
        }
    }

    /// Writes what bytes have to say of the initial state where they are read without a bit in XSTATE_BV: FXRSTOR reads all,
    /// XRSTOR reads MXCSR.
    fn put_initial_legacy(&mut self) {
        self.write(Field { at: 0, len: 2 }, &INITIAL_FCW.to_le_bytes());
        self.write(MXCSR, &u64::from(INITIAL_MXCSR).to_le_bytes());
    }

    fn field(&self, Field { at, len }: Field) -> &[u8] {
        self.bytes.get(at..at + len).unwrap_or_default()
    }

    fn word(&self, field: Field) -> u64 {
        self.field(field).first_chunk().copied().map_or(0, u64::from_le_bytes)
    }

    fn write(&mut self, Field { at, len }: Field, value: &[u8]) {
        if let Some(bytes) = self.bytes.get_mut(at..at + len)
            && bytes.len() == value.len()
        {
            bytes.copy_from_slice(value);
        }
    }
}

// Both ends of the legacy region and the header are within every area.
const _: () = assert!(XCOMP_BV.at + XCOMP_BV.len <= EXTENDED_START_BYTES as usize);

fn index_range(range: &Range<u32>) -> Option<Range<usize>> {
    Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

/// Why memory cannot be an area.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AreaMemoryError {
    /// XSAVE and its kin fault on an area that is not aligned (SDM vol. 1, 13.4).
    #[error("an area at address {address:#x} is not aligned to 64 bytes")]
    Misaligned {
        /// Where the memory begins.
        address: usize,
    },
    /// The memory ends before the area.
    #[error("the area needs {needed_bytes} bytes and was given {given_bytes}")]
    TooSmall {
        /// What the area needs.
        needed_bytes: u32,
        /// What there is.
        given_bytes: usize,
    },
    /// The memory does not hold this area: format, components or both are not what is saved into it.
    #[error("not a header of this area: xstate_bv {xstate_bv:#x}, xcomp_bv {xcomp_bv:#x}")]
    Header {
        /// The header's XSTATE_BV.
        xstate_bv: u64,
        /// The header's XCOMP_BV.
        xcomp_bv: u64,
    },
}

/// Why an area cannot become another.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResizeError {
    /// The vCPU has state that there would be no room for.
    #[error("the vcpu has used {components}, and the new area has no room for it")]
    StillNeeded {
        /// All that there is no room for.
        components: ComponentSet,
    },
    /// Areas of two hosts: to convert between them is the business of images.
    #[error("an area for {old} cannot become one for {new}")]
    OtherMethod {
        /// What saves into the old area.
        old: SaveMethod,
        /// What saves into the new area.
        new: SaveMethod,
    },
    /// Areas of two hosts that place a component differently.
    #[error("{component} lies differently in the two areas")]
    OtherGeometry {
        /// The first such component.
        component: Component,
    },
    /// One of the memories cannot be an area.
    #[error(transparent)]
    Memory(#[from] AreaMemoryError),
    /// The old area cannot be laid out.
    #[error("the old area cannot be laid out")]
    Layout(#[from] LayoutError),
}
