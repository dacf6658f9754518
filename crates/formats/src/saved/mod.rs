//! Extended state in the files of others: what was saved of a guest's or a process's registers.
//!
//! [`read`] finds every XSAVE area in a file: a plain one as `KVM_GET_XSAVE`, `KVM_GET_XSAVE2` or ptrace give it, those of the
//! threads of a Linux core dump, and those of the vCPUs of a Xen guest. Nothing is copied and nothing is judged here: the
//! areas are borrowed from the file, and [`selfsame_xstate::Reader`] reads them. To be read they need the places where their
//! CPU keeps components; [`Saved::origin`] tells them as far as the file does.
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

mod fields;
mod linux_core;
mod origin;
mod xen_hvm;
mod xen_record;
mod xen_stream;
mod xsave;

use std::fmt;

use selfsame_xstate::{ComponentSet, EXTENDED_START_BYTES, Row};

pub use origin::{Evidence, Origin};
pub use xen_record::RecordFault;

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
    /// Where the CPU keeps extended components, by the file itself: number and row.
    layout: Option<Vec<(u32, Row)>>,
}

/// The extended state of one vCPU or thread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SavedState<'a> {
    /// The number of the vCPU, or the thread's id; 0 in [`SavedFormat::Xsave`].
    pub number: u32,
    /// The XSAVE area, from the legacy region on; whatever is behind it in its record or file is part of it.
    pub image: &'a [u8],
    /// XCR0 when the state was saved, where the file says it (Xen).
    pub xcr0: Option<ComponentSet>,
    /// All that XCR0 ever had, where the file says it (Xen).
    pub accumulated_xcr0: Option<ComponentSet>,
}

impl SavedState<'_> {
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
        /// Where it begins.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Finds out what kind of file it is, by its content.
///
/// An XSAVE area has no mark: whatever is long enough and has zeros where a header has reserved bytes is taken for one, unless
/// most of these bytes are something else.
pub fn detect(bytes: &[u8]) -> Option<SavedFormat> {
    if linux_core::is_elf(bytes) {
        Some(SavedFormat::LinuxCore)
    } else if xen_stream::is_stream(bytes) {
        Some(SavedFormat::XenStream)
    } else if xen_hvm::is_context(bytes) {
        Some(SavedFormat::XenHvmContext)
    } else if xsave::is_area(bytes) {
        Some(SavedFormat::Xsave)
    } else {
        None
    }
}

/// Reads the extended state of everybody in a file.
///
/// # Errors
///
/// Files of another kind, without extended state, or cut off.
pub fn read(bytes: &[u8]) -> Result<Saved<'_>, SavedError> {
    let format = detect(bytes).ok_or(SavedError::Unknown)?;
    let (states, layout) = match format {
        SavedFormat::Xsave => (xsave::read(bytes), None),
        SavedFormat::LinuxCore => linux_core::read(bytes)?,
        SavedFormat::XenHvmContext => (xen_hvm::read(bytes, 0)?, None),
        SavedFormat::XenStream => (xen_stream::read(bytes)?, None),
    };
    Ok(Saved { format, states: last_of_each(states), layout })
}

/// Streams of guests that were checkpointed have the state of a vCPU several times: the last one counts.
fn last_of_each(states: Vec<SavedState<'_>>) -> Vec<SavedState<'_>> {
    let mut at = std::collections::BTreeMap::new();
    let mut last: Vec<SavedState<'_>> = Vec::new();
    for state in states {
        match at.get(&state.number).and_then(|&index: &usize| last.get_mut(index)) {
            Some(older) => *older = state,
            None => {
                at.insert(state.number, last.len());
                last.push(state);
            }
        }
    }
    last
}
