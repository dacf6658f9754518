//! Why an image is refused.

use crate::{ComponentSet, EXTENDED_START_BYTES, HeaderFault, LayoutError, MxcsrMask};

/// Why the strict reading refuses an image; see [`Reader::read`](crate::Reader::read).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFault {
    /// The bytes end before the header does.
    #[error("{len_bytes} bytes are fewer than the {EXTENDED_START_BYTES} of legacy region and header")]
    NoHeader {
        /// How many there are.
        len_bytes: usize,
    },
    /// The header breaks a rule.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// What the header gives a place to has none on the CPU that the image is from.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The bytes end before the last component does.
    #[error("{len_bytes} bytes are fewer than the {needed_bytes} of what is there")]
    TooShort {
        /// How many there are.
        len_bytes: usize,
        /// How many the header asks for.
        needed_bytes: u32,
    },
    /// Bytes follow a compacted image at an interface, where nothing describes them.
    #[error("{len_bytes} bytes are more than the {needed_bytes} of what is there")]
    TooLong {
        /// How many there are.
        len_bytes: usize,
        /// How many the header asks for.
        needed_bytes: u32,
    },
    /// MXCSR has bits that the CPU has not. Whether loading it faults follows from what is asked for; the strict reading refuses
    /// it wherever it is part of the image: in every standard one, and in a compacted one with SSE.
    #[error("mxcsr {mxcsr:#x} has bits beyond {:#x}, which are all that the cpu has", .mask.bits())]
    Mxcsr {
        /// The value.
        mxcsr: u32,
        /// The bits of the CPU.
        mask: MxcsrMask,
    },
    /// Components hold values that their registers refuse.
    #[error("{components} hold values that no cpu saves")]
    Unlawful {
        /// The components.
        components: ComponentSet,
    },
}

impl ImageFault {
    /// Tells whether [`Reader::sanitise`](crate::Reader::sanitise) mends it: where each component lies is known all the same.
    #[must_use]
    pub const fn is_mendable(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Mxcsr { .. } | Self::Unlawful { .. })
    }
}
