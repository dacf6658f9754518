//! What XRSTOR and XRSTORS do with a header: the second reading, apart from the strict one.

use crate::{Component, ComponentSet, Format, Header, MxcsrMask};

/// An instruction that loads an image.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RestoreInstruction {
    /// XRSTOR: user components, from either format (SDM vol. 1, 13.8).
    Xrstor,
    /// XRSTORS: all components, from the compacted format, in ring 0 (SDM vol. 1, 13.12).
    Xrstors,
}

/// An instruction about to load an image, on a CPU in a state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Restore {
    /// The instruction.
    pub instruction: RestoreInstruction,
    /// What it is asked for: the mask in EDX:EAX.
    pub requested: ComponentSet,
    /// XCR0.
    pub xcr0: ComponentSet,
    /// IA32_XSS, which only XRSTORS looks at.
    pub xss: ComponentSet,
    /// IA32_XFD: components whose use traps.
    pub xfd: ComponentSet,
    /// The bits of MXCSR.
    pub mxcsr_mask: MxcsrMask,
    /// Whether the CPU has the compacted format: 0xD.1.EAX bit 1.
    pub has_xsavec: bool,
}

impl Restore {
    /// XRSTOR of everything in `xcr0`, on a CPU with the compacted format, the common bits of MXCSR, and without XFD.
    #[must_use]
    pub const fn xrstor(xcr0: ComponentSet) -> Self {
        Self {
            instruction: RestoreInstruction::Xrstor,
            requested: xcr0,
            xcr0,
            xss: ComponentSet::EMPTY,
            xfd: ComponentSet::EMPTY,
            mxcsr_mask: MxcsrMask::COMMON,
            has_xsavec: true,
        }
    }

    /// XRSTORS of everything in `xcr0` and `xss`, otherwise as [`Restore::xrstor`].
    #[must_use]
    pub const fn xrstors(xcr0: ComponentSet, xss: ComponentSet) -> Self {
        let requested = xcr0.union(xss);
        Self { instruction: RestoreInstruction::Xrstors, requested, xss, ..Self::xrstor(xcr0) }
    }

    /// Returns what the instruction may load at all.
    const fn enabled(&self) -> ComponentSet {
        match self.instruction {
            RestoreInstruction::Xrstor => self.xcr0,
            RestoreInstruction::Xrstors => self.xcr0.union(self.xss),
        }
    }
}

/// Why an instruction faults on a header.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The image is compacted, and the CPU does not have the format.
    #[error("the cpu does not have the compacted format")]
    NoCompaction,
    /// XRSTORS loads compacted images only.
    #[error("xrstors loads compacted images only")]
    NotCompacted,
    /// The standard form: XSTATE_BV has bits that XCR0 has not, asked for or not.
    #[error("xstate_bv has {bits}, which xcr0 has not")]
    NotEnabled {
        /// The bits.
        bits: ComponentSet,
    },
    /// The standard form: bytes 8 to 23 of the header are not zero.
    #[error("bytes 8 to 23 of the header are not zero")]
    ReservedStandard,
    /// The compacted form: XCOMP_BV has bits that are not enabled, asked for or not.
    #[error("xcomp_bv has {bits}, which are not enabled")]
    PlaceNotEnabled {
        /// The bits.
        bits: ComponentSet,
    },
    /// The compacted form: XSTATE_BV has bits, 63 included, without a place in XCOMP_BV.
    #[error("xstate_bv has {bits}, which xcomp_bv gives no place to")]
    NoPlace {
        /// The bits.
        bits: ComponentSet,
    },
    /// The compacted form: bytes 16 to 63 of the header are not zero.
    #[error("bytes 16 to 63 of the header are not zero")]
    ReservedCompacted,
    /// MXCSR would be loaded with bits that it has not.
    #[error("mxcsr {mxcsr:#x} would be loaded")]
    Mxcsr {
        /// The value.
        mxcsr: u32,
    },
    /// A component would be loaded whose use traps.
    #[error("{components} would be loaded, and xfd traps them")]
    Xfd {
        /// The components.
        components: ComponentSet,
    },
}

impl Fault {
    /// Returns the vector of the exception: 7, #NM, for XFD, and 13, #GP, for the others.
    #[must_use]
    pub const fn vector(&self) -> u8 {
        match self {
            Self::Xfd { .. } => 7,
            _ => 13,
        }
    }
}

/// Tells whether an instruction faults on an image with this header and this MXCSR, and why (SDM vol. 1, 13.8.1, 13.8.2 and
/// 13.12; APM vol. 4, XRSTOR).
///
/// Faults that do not follow from the image are not told: alignment, CR0.TS, CR4.OSXSAVE, paging, ring. Nor are those of
/// values that a register refuses ([`ImageFault::Unlawful`](crate::ImageFault::Unlawful)).
///
/// What faults and what does not is *not* what is right and what is wrong: XRSTOR loads a standard image whose header has
/// garbage in bytes 24 to 63. The strict reading refuses all that is told here, and that as well.
///
/// ```
/// use selfsame_xstate::{ComponentSet, Fault, Header, HeaderFault, Restore, hardware_fault};
///
/// let xcr0 = ComponentSet::from_bits(0x7);
/// let header = Header { reserved: [0, 1, 0, 0, 0, 0], ..Header::default() };
/// assert_eq!(hardware_fault(&header, 0x1F80, &Restore::xrstor(xcr0)), None);
/// assert_eq!(header.check(xcr0, ComponentSet::EMPTY), Err(HeaderFault::ReservedTail));
///
/// let header = Header { xcomp_bv: 1 << 63, ..header };
/// assert_eq!(hardware_fault(&header, 0x1F80, &Restore::xrstor(xcr0)), Some(Fault::ReservedCompacted));
/// ```
#[must_use]
pub fn hardware_fault(header: &Header, mxcsr: u32, restore: &Restore) -> Option<Fault> {
    let requested = restore.requested.intersection(restore.enabled());
    let present = header.present();
    let is_mxcsr_loaded = match header.format() {
        Format::Standard => {
            if restore.instruction == RestoreInstruction::Xrstors {
                return Some(Fault::NotCompacted);
            }
            let bits = present.minus(restore.xcr0);
            if !bits.is_empty() {
                return Some(Fault::NotEnabled { bits });
            }
            if header.xcomp_bv != 0 || header.reserved.first() != Some(&0) {
                return Some(Fault::ReservedStandard);
            }
            requested.contains(Component::SSE) || requested.contains(Component::AVX)
        }
        Format::Compacted => {
            if !restore.has_xsavec {
                return Some(Fault::NoCompaction);
            }
            let bits = header.places().minus(restore.enabled());
            if !bits.is_empty() {
                return Some(Fault::PlaceNotEnabled { bits });
            }
            let bits = present.minus(header.places());
            if !bits.is_empty() {
                return Some(Fault::NoPlace { bits });
            }
            if header.reserved != [0; 6] {
                return Some(Fault::ReservedCompacted);
            }
            requested.intersection(present).contains(Component::SSE)
        }
    };
    if is_mxcsr_loaded && !restore.mxcsr_mask.allows(mxcsr) {
        return Some(Fault::Mxcsr { mxcsr });
    }
    let components = requested.intersection(present).intersection(restore.xfd);
    (!components.is_empty()).then_some(Fault::Xfd { components })
}
