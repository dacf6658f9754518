//! What this CPU does with images, asked in user mode.
//!
//! [`Oracle::through`] puts an image into the registers and saves them again; between lies one piece of assembly that has
//! saved the caller's registers before and puts them back after, so that no other code ever runs with what was loaded.
//! With feature `user`, [`Oracle::try_through`] does so with bytes that may make XRSTOR fault, and survives.
#![expect(unsafe_code, reason = "UNSAFETY: loads registers, and puts the caller's back before it returns")]

use core::mem::offset_of;

use selfsame_xstate::{
    Component, ComponentSet, Format, Geometry, Image, Layout, LayoutError, MxcsrMask, Reader, WriteError,
};

use crate::cpuid;
use crate::xsave::{fxsave, xgetbv};

/// As many bytes as any known CPU's components need in either format, and half as many again.
pub const AREA_BYTES: usize = 16 * 1024;

/// An XSAVE area on the stack.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Area(pub(crate) [u8; AREA_BYTES]);

/// What the assembly works on; see `selfsame_x86_through`.
#[repr(C)]
pub(crate) struct Frame {
    /// Where the caller's registers wait.
    own: *mut Area,
    /// What is loaded.
    load: *const Area,
    load_mask: u64,
    /// Where the registers are saved after that.
    save: *mut Area,
    save_mask: u64,
    /// One to save compacted, zero for the standard format.
    is_compacted: u64,
}

core::arch::global_asm!(
    ".pushsection .text.selfsame_x86_through, \"ax\", @progbits",
    ".globl selfsame_x86_through, selfsame_x86_through_load, selfsame_x86_through_restore",
    ".type selfsame_x86_through, @function",
    ".balign 16",
    "selfsame_x86_through:",
    // RDI is the frame. The vector of a fault ends up in R8: whoever recovers from one continues at the end.
    "xor r8d, r8d",
    "mov rsi, [rdi + {own}]",
    "mov eax, -1",
    "mov edx, -1",
    "xsave64 [rsi]",
    "mov rsi, [rdi + {load}]",
    "mov eax, [rdi + {load_mask}]",
    "mov edx, [rdi + {load_mask} + 4]",
    "selfsame_x86_through_load:",
    "xrstor64 [rsi]",
    "mov rsi, [rdi + {save}]",
    "mov eax, [rdi + {save_mask}]",
    "mov edx, [rdi + {save_mask} + 4]",
    "cmp dword ptr [rdi + {is_compacted}], 0",
    "jne 2f",
    "xsave64 [rsi]",
    "jmp selfsame_x86_through_restore",
    "2:",
    "xsavec64 [rsi]",
    "selfsame_x86_through_restore:",
    "mov rsi, [rdi + {own}]",
    "mov eax, -1",
    "mov edx, -1",
    "xrstor64 [rsi]",
    "mov rax, r8",
    "ret",
    ".size selfsame_x86_through, . - selfsame_x86_through",
    ".popsection",
    own = const offset_of!(Frame, own),
    load = const offset_of!(Frame, load),
    load_mask = const offset_of!(Frame, load_mask),
    save = const offset_of!(Frame, save),
    save_mask = const offset_of!(Frame, save_mask),
    is_compacted = const offset_of!(Frame, is_compacted),
);

unsafe extern "sysv64" {
    /// Saves the caller's registers, loads a frame's image, saves again, and puts the caller's registers back.
    ///
    /// Returns the vector of the fault that ended it early, if somebody has recovered from one, and zero otherwise.
    ///
    /// # Safety
    ///
    /// 1. CR4.OSXSAVE is set, and the CPU has XSAVEC if the frame asks for it.
    /// 2. The frame's areas are as long as what is saved there; the caller's has a header of zeros.
    /// 3. The image makes no fault, or somebody recovers from it, by continuing at `selfsame_x86_through_restore` with the
    ///    vector in R8.
    /// 4. The image's PKRU, if it is loaded, leaves the areas and the stack within reach.
    fn selfsame_x86_through(frame: *const Frame) -> u64;
}

/// Why an image did not go through the registers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ThroughError {
    /// The image holds components that XCR0 has not, or that the kernel gives to user mode on request only.
    #[error("{components} cannot be loaded in user mode here")]
    NotHere {
        /// The components.
        components: ComponentSet,
    },
    /// The image's MXCSR has bits that this CPU has not.
    #[error("this cpu does not load mxcsr {mxcsr:#x}")]
    Mxcsr {
        /// The value.
        mxcsr: u32,
    },
    /// The image's PKRU would put the caller's own memory, which has key 0, out of reach.
    #[error("pkru {pkru:#x} would close key 0")]
    ClosesKey0 {
        /// The value.
        pkru: u32,
    },
    /// The CPU does not have the compacted format.
    #[error("this cpu does not save compacted images")]
    NoCompaction,
    /// What is asked for has no layout on this CPU.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The image does not fit this CPU's components.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The registers of the CPU that runs this, in user mode: what it does with an image, no model can know better.
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use selfsame_x86::Oracle;
/// use selfsame_xstate::{ComponentSet, Format};
///
/// let Some(oracle) = Oracle::of_this_cpu() else { return };
/// let reader = oracle.reader();
/// let mut bytes = [0; 576];
/// bytes[24..28].copy_from_slice(&0x3F80u32.to_le_bytes());
/// let image = reader.read(&bytes).unwrap();
///
/// let saved = oracle.through(&image, Format::Standard, oracle.xcr0()).unwrap();
/// assert_eq!(reader.read(saved.bytes()).unwrap().mxcsr(), 0x3F80);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Oracle {
    geometry: Geometry,
    xcr0: ComponentSet,
    mxcsr_mask: MxcsrMask,
}

/// What a CPU saved; made by [`Oracle::through`].
#[derive(Clone)]
pub struct Saved {
    area: Area,
    layout_bytes: usize,
}

impl Saved {
    /// Returns the image: the bytes of the layout that was asked for.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.area.0.get(..self.layout_bytes).unwrap_or(&self.area.0)
    }

    /// Returns what lies behind the image: [`Oracle::FILLER`], if the CPU has kept to the layout.
    #[must_use]
    pub fn behind(&self) -> &[u8] {
        self.area.0.get(self.layout_bytes..).unwrap_or(&[])
    }
}

impl Oracle {
    /// What areas are filled with before the CPU saves to them, but for the header: it is none of the CPU's own values.
    pub const FILLER: u8 = 0xA5;

    /// Asks the CPU about itself; `None` where it has no XSAVE, the kernel has not enabled it, or a save might not fit into
    /// [`AREA_BYTES`].
    #[must_use]
    pub fn of_this_cpu() -> Option<Self> {
        const OSXSAVE: u32 = 1 << 27;
        if cpuid(0, 0).eax < 0xD || cpuid(1, 0).ecx & OSXSAVE == 0 {
            return None;
        }
        let geometry = Geometry::read(|subleaf| cpuid(0xD, subleaf).to_array());
        // SAFETY: OSXSAVE is set, and register 0 always exists.
        let xcr0 = ComponentSet::from_bits(unsafe { xgetbv(0) });
        let is_small = |size: Result<u32, LayoutError>| size.is_ok_and(|bytes| bytes as usize <= AREA_BYTES);
        if !is_small(geometry.standard_size(xcr0)) || !is_small(geometry.compacted_size(xcr0)) {
            return None;
        }
        Some(Self { geometry, xcr0, mxcsr_mask: mxcsr_mask() })
    }

    /// Returns this CPU's geometry.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Returns XCR0.
    #[must_use]
    pub const fn xcr0(&self) -> ComponentSet {
        self.xcr0
    }

    /// Returns the bits of MXCSR.
    #[must_use]
    pub const fn mxcsr_mask(&self) -> MxcsrMask {
        self.mxcsr_mask
    }

    /// Returns the components that can be loaded here without asking the kernel: XCR0's, but for user-dynamic ones.
    #[must_use]
    pub fn loadable(&self) -> ComponentSet {
        let is_dynamic = |component: &Component| component.class() == Some(selfsame_xstate::Class::UserDynamic);
        self.xcr0.minus(self.xcr0.iter().filter(is_dynamic).collect())
    }

    /// Returns a reader for images that this CPU loads in user mode.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.geometry, self.loadable()).with_mxcsr_mask(self.mxcsr_mask)
    }

    /// Puts the caller's registers aside, loads an image into all that XCR0 has, saves the components of `mask` in a format,
    /// and puts the caller's registers back.
    ///
    /// The image may be of any geometry and format: it is written for this CPU first, in the standard format.
    ///
    /// # Errors
    ///
    /// An image that this CPU does not load, in user mode; a format that it does not have.
    pub fn through(&self, image: &Image<'_>, format: Format, mask: ComponentSet) -> Result<Saved, ThroughError> {
        let components = image.in_use().minus(self.loadable());
        if !components.is_empty() {
            return Err(ThroughError::NotHere { components });
        }
        if !self.mxcsr_mask.allows(image.mxcsr()) {
            return Err(ThroughError::Mxcsr { mxcsr: image.mxcsr() });
        }
        let pkru = image.component(Component::PKRU).and_then(|bytes| bytes.first_chunk()).copied();
        let pkru = u32::from_le_bytes(pkru.unwrap_or_default());
        if pkru & 0b11 != 0 {
            return Err(ThroughError::ClosesKey0 { pkru });
        }
        let mut load = Area([0; AREA_BYTES]);
        image.write(&Layout::new(Format::Standard, self.xcr0, &self.geometry)?, &mut load.0)?;
        // SAFETY: this CPU loads the image, as was just seen, and PKRU leaves key 0 open.
        unsafe { self.run(&load, self.xcr0, format, mask) }.map(|(saved, _)| saved)
    }

    /// Runs the assembly; returns what was saved, and the vector of the fault that somebody has recovered from.
    ///
    /// # Safety
    ///
    /// 1. `load` makes no fault, or somebody recovers from it.
    /// 2. Its PKRU leaves key 0 open, or is not in `load_mask`.
    pub(crate) unsafe fn run(
        &self,
        load: &Area,
        load_mask: ComponentSet,
        format: Format,
        save_mask: ComponentSet,
    ) -> Result<(Saved, u64), ThroughError> {
        if format == Format::Compacted && !self.geometry.has_xsavec() {
            return Err(ThroughError::NoCompaction);
        }
        let save_mask = save_mask.intersection(self.xcr0);
        let layout = Layout::new(format, save_mask.union(ComponentSet::LEGACY), &self.geometry)?;
        let mut own = Area([0; AREA_BYTES]);
        let mut saved = Saved { area: Area([Self::FILLER; AREA_BYTES]), layout_bytes: layout.size_bytes() as usize };
        // XSAVE keeps the bits of XSTATE_BV that it is not asked for.
        if let Some(header) = saved.area.0.get_mut(512..576) {
            header.fill(0);
        }
        let frame = Frame {
            own: &raw mut own,
            load,
            load_mask: load_mask.bits(),
            save: &raw mut saved.area,
            save_mask: save_mask.bits(),
            is_compacted: u64::from(format == Format::Compacted),
        };
        // SAFETY: 1: an `Oracle` exists only where OSXSAVE is set, and XSAVEC was asked for. 2: so does everything in XCR0
        // fit. 3 and 4 are the caller's.
        let vector = unsafe { selfsame_x86_through(&raw const frame) };
        Ok((saved, vector))
    }
}

/// Reads MXCSR_MASK, which only FXSAVE and XSAVE tell.
fn mxcsr_mask() -> MxcsrMask {
    let mut area = Area([0; AREA_BYTES]);
    // SAFETY: the area is aligned and long enough.
    unsafe { fxsave(area.0.as_mut_ptr()) };
    let field = area.0.get(28..).and_then(|rest| rest.first_chunk());
    MxcsrMask::from_field(field.map_or(0, |field| u32::from_le_bytes(*field)))
}
