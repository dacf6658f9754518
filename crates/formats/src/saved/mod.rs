//! Extended state in the files of others: what was saved of a guest's or a process's registers.
//!
//! [`read`] finds every XSAVE area in a file: a plain one as `KVM_GET_XSAVE`, `KVM_GET_XSAVE2` or ptrace give it, those of the
//! threads of a Linux core dump, and those of the vCPUs of a Xen guest. Nothing is copied and nothing is judged here: the
//! areas are borrowed from the file, and [`selfsame_xstate::Reader`] reads them. To be read they need the places where their
//! CPU keeps components; [`Saved::origin`] tells them as far as the file does. [`SavedFile`] does the same with a file whose
//! memory is too much to be held: it keeps the areas alone.
//!
//! ```
//! use selfsame_formats::saved::{self, SavedFormat};
//!
//! // KVM's 4096 bytes: PKRU is present, and the host says what it has and which bits its MXCSR has.
//! let mut blob = [0; 4096];
//! blob[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
//! blob[28..32].copy_from_slice(&0x2_FFFFu32.to_le_bytes());
//! (blob[464], blob[465]) = (0x07, 0x02);
//! blob[513] = 0x02;
//! let saved = saved::read(&blob)?;
//! assert_eq!(saved.format, SavedFormat::Xsave);
//!
//! let origin = saved.origin(&saved.states[0]).unwrap();
//! assert_eq!(origin.evidence.to_string(), "bit 17 of mxcsr_mask, which only AMD CPUs have");
//! assert_eq!(origin.geometry.standard_size(origin.geometry.user())?, 2440);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canonical;
mod extents;
mod fields;
mod linux_core;
mod origin;
mod source;
mod xen_hvm;
mod xen_record;
mod xen_stream;
mod xsave;

use std::fmt;
use std::io::{self, Cursor, Read, Seek};

use selfsame_xstate::{ComponentSet, EXTENDED_START_BYTES, Geometry, Header, LEGACY_BYTES, MxcsrMask};

use crate::Finding;
use extents::{Extent, Extents, MOST_IMAGE_BYTES};
use source::Source;

pub use origin::{Doubt, Evidence, Origin};
pub use xen_record::{RecordFault, XenMasks, XenRecord};

/// A kind of file that holds extended state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SavedFormat {
    /// One XSAVE area: what `KVM_GET_XSAVE`, `KVM_GET_XSAVE2`, ptrace and Selfsame write.
    Xsave,
    /// A core dump of Linux on x86-64.
    LinuxCore,
    /// The context of a Xen HVM guest, as `XEN_DOMCTL_gethvmcontext` gives it.
    XenHvmContext,
    /// A Xen guest as `xl save` writes it, or libxl's or libxenctrl's part of that.
    XenStream,
}

impl SavedFormat {
    /// The format's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xsave => "xsave",
            Self::LinuxCore => "linux-core",
            Self::XenHvmContext => "xen-hvm-context",
            Self::XenStream => "xen-stream",
        }
    }

    /// What has extended state in such a file.
    pub const fn holder(self) -> &'static str {
        match self {
            Self::Xsave => "image",
            Self::LinuxCore => "thread",
            Self::XenHvmContext | Self::XenStream => "vcpu",
        }
    }
}

impl fmt::Display for SavedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a file holds of extended state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Saved<'a> {
    /// The kind of file.
    pub format: SavedFormat,
    /// The states, at least one, in the file's order; each number once.
    pub states: Vec<SavedState<'a>>,
    /// What was wrong with the file, and how it was taken.
    pub findings: Vec<Finding>,
    /// Where the CPU keeps components, by the file itself.
    layout: Option<Geometry>,
}

/// The extended state in a file that is not held as a whole: a guest's memory may be larger than this machine's.
///
/// ```
/// use selfsame_formats::saved::{SavedFile, SavedFormat};
///
/// let file = std::io::Cursor::new([0; 832]);
/// let file = SavedFile::read(file)?;
/// assert_eq!(file.saved().format, SavedFormat::Xsave);
/// # Ok::<(), selfsame_formats::saved::SavedError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SavedFile {
    /// Whatever is no image.
    saved: Saved<'static>,
    /// The image of each state.
    images: Vec<Vec<u8>>,
}

impl SavedFile {
    /// Finds the extended state of everybody in a file and reads it; the rest is passed over.
    ///
    /// # Errors
    ///
    /// As [`read`]; and a file that cannot be read.
    pub fn read(file: impl Read + Seek) -> Result<Self, SavedError> {
        let mut source = Source::new(file)?;
        let (extents, saved) = find(&mut source)?;
        let mut images = Vec::with_capacity(extents.len());
        for Extent { offset, len_bytes, .. } in &extents {
            images.push(source.bytes(*offset, *len_bytes)?.unwrap_or_default());
        }
        let saved = Saved { states: extents.iter().map(|extent| extent.state(&[])).collect(), ..saved };
        Ok(Self { saved, images })
    }

    /// What the file holds.
    pub fn saved(&self) -> Saved<'_> {
        let states = self.saved.states.iter().zip(&self.images).map(|(state, image)| SavedState { image, ..*state });
        Saved { states: states.collect(), ..self.saved.clone() }
    }
}

/// The extended state of one vCPU or thread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SavedState<'a> {
    /// The number of the vCPU, or the thread's id; 0 in [`SavedFormat::Xsave`].
    pub number: u32,
    /// The XSAVE area, from the legacy region on; whatever is behind it in its record or file is part of it.
    pub image: &'a [u8],
    /// What Xen says beside it.
    pub xen: Option<XenMasks>,
}

/// Where MXCSR_MASK lies (SDM vol. 1, 10.5.1).
const MXCSR_MASK: usize = 28;

impl SavedState<'_> {
    /// The image's header; `None` where the image is too short to have one, as no state of [`read`] is.
    pub fn header(&self) -> Option<Header> {
        let header = self.image.get(LEGACY_BYTES as usize..)?.first_chunk()?;
        Some(Header::from_bytes(header))
    }

    /// The bits of MXCSR that the CPU has which saved the state: [`MxcsrMask::AMD`] where MXCSR_MASK has bit 17, misaligned SSE,
    /// which is AMD's alone (APM vol. 1, 4.2.2), otherwise [`MxcsrMask::COMMON`]; `None` where nobody wrote it and it is zero.
    pub fn mxcsr_mask(&self) -> Option<MxcsrMask> {
        let mask = fields::u32_at(self.image, MXCSR_MASK).filter(|&mask| mask != 0)?;
        let of_amd = MxcsrMask::AMD.bits() & !MxcsrMask::COMMON.bits();
        Some(if mask & of_amd == 0 { MxcsrMask::COMMON } else { MxcsrMask::AMD })
    }

    /// What the host has in its XCR0, which Linux writes into bytes 464 to 471; `None` where they are zero.
    pub fn host_mask(&self) -> Option<ComponentSet> {
        let mask = fields::u64_at(self.image, 464)?;
        (mask != 0).then_some(ComponentSet::from_bits(mask))
    }
}

/// Why a file has no extended state that can be read. Offsets count from the file's first byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// The file is of no format that holds extended state.
    #[error(
        "no extended state of a known format: an XSAVE area of {EXTENDED_START_BYTES} bytes or more, a Linux core dump, or a \
         Xen guest"
    )]
    Unknown,
    /// An ELF file that cannot be read.
    #[error("no readable ELF file: {0}")]
    Elf(object::Error),
    /// An ELF file of another kind.
    #[error("an ELF file, and no core dump of a 64-bit x86 process")]
    NotCore,
    /// The file is whole, and nobody's extended state is in it.
    #[error("no extended state is in it: {missing} is missing")]
    NoState {
        /// What would hold it.
        missing: &'static str,
    },
    /// Something in the file is cut off, or contradicts itself.
    #[error("byte {offset}: {reason}")]
    Malformed {
        /// Where it begins; files may be larger than memory.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// There are more images than any guest or process has.
    #[error("more than {limit_mib} MiB of extended state: no guest or process has as many registers")]
    TooMuch {
        /// The most that is kept.
        limit_mib: u64,
    },
    /// The file cannot be read.
    #[error("cannot be read: {kind}")]
    Read {
        /// The cause.
        kind: io::ErrorKind,
    },
}

impl SavedError {
    const fn malformed(offset: u64, reason: &'static str) -> Self {
        Self::Malformed { offset, reason }
    }
}

/// Finds out what kind of file it is, by its content.
///
/// An XSAVE area has no mark: whatever is long enough and has zeros where a header has reserved bytes is taken for one, unless
/// most of these bytes are something else.
pub fn detect(bytes: &[u8]) -> Option<SavedFormat> {
    format_of(bytes, bytes.len() as u64)
}

/// The same by how a file begins, as far as [`HEAD_BYTES`], and how long it is.
fn format_of(head: &[u8], len_bytes: u64) -> Option<SavedFormat> {
    if linux_core::is_elf(head) {
        Some(SavedFormat::LinuxCore)
    } else if xen_stream::is_stream(head) {
        Some(SavedFormat::XenStream)
    } else if xen_hvm::is_context(head) {
        Some(SavedFormat::XenHvmContext)
    } else if len_bytes <= MOST_IMAGE_BYTES && xsave::is_area(head) {
        Some(SavedFormat::Xsave)
    } else {
        None
    }
}

/// By as many bytes each format is known.
const HEAD_BYTES: u64 = EXTENDED_START_BYTES as u64;

/// Reads the extended state of everybody in a file.
///
/// # Errors
///
/// Files of another kind, without extended state, or cut off.
pub fn read(bytes: &[u8]) -> Result<Saved<'_>, SavedError> {
    let (extents, saved) = find(&mut Source::new(Cursor::new(bytes))?)?;
    let image = |extent: &Extent| {
        let [start, len] = [extent.offset, extent.len_bytes].map(|number| usize::try_from(number).unwrap_or_default());
        bytes.get(start..).and_then(|rest| rest.get(..len)).unwrap_or_default()
    };
    Ok(Saved { states: extents.iter().map(|extent| extent.state(image(extent))).collect(), ..saved })
}

/// Finds where the states lie, and all that the file tells besides.
fn find<F: Read + Seek>(source: &mut Source<F>) -> Result<(Vec<Extent>, Saved<'static>), SavedError> {
    let len_bytes = source.len_bytes();
    let head = source.bytes(0, len_bytes.min(HEAD_BYTES))?.unwrap_or_default();
    let format = format_of(&head, len_bytes).ok_or(SavedError::Unknown)?;
    let mut found = Extents::default();
    let (mut findings, mut layout) = (Vec::new(), None);
    let missing = match format {
        SavedFormat::Xsave => {
            found.add(Extent { number: 0, offset: 0, len_bytes, xen: None })?;
            "an image"
        }
        SavedFormat::LinuxCore => {
            let notes = linux_core::find(source, &mut found)?;
            findings.extend(notes.finding);
            if let Some(rows) = notes.layout {
                let (geometry, defects) = origin::of_rows(&rows);
                findings.extend(defects);
                layout = Some(geometry);
            }
            "a note NT_X86_XSTATE"
        }
        SavedFormat::XenHvmContext => {
            xen_hvm::find(source, 0..len_bytes, &mut found)?;
            "a record CPU_XSAVE"
        }
        SavedFormat::XenStream => {
            xen_stream::find(source, &mut found)?;
            "a record HVM_CONTEXT or X86_PV_VCPU_XSAVE"
        }
    };
    let (extents, too_short) = found.finish(missing)?;
    findings.extend(too_short);
    Ok((extents, Saved { format, states: Vec::new(), findings, layout }))
}
