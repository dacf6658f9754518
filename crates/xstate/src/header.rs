//! The XSAVE header: what an image says of itself, and whether it may say so.

use crate::{ComponentSet, Format, HEADER_BYTES};

/// Bit 63 of XCOMP_BV: the image is compacted (SDM vol. 1, 13.4.2).
const COMPACTED: u64 = 1 << 63;

/// The 64 bytes after the legacy region (SDM vol. 1, 13.4.2; APM vol. 2, 11.5.2), as they are, lawful or not.
///
/// ```
/// use selfsame_xstate::{ComponentSet, Header, HeaderFault};
///
/// let (xcr0, xss) = (ComponentSet::from_bits(0x7), ComponentSet::EMPTY);
/// let header = Header { xstate_bv: 0x7, ..Header::default() };
/// assert_eq!(header.check(xcr0, xss), Ok(()));
///
/// let header = Header { xstate_bv: 0x207, xcomp_bv: 0x7, ..Header::default() };
/// assert!(header.faults(xcr0, xss).eq([
///     HeaderFault::NotEnabled { components: ComponentSet::from_bits(0x200) },
///     HeaderFault::CompactionBits { xcomp_bv: 0x7 },
/// ]));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Header {
    /// Bytes 0 to 7, XSTATE_BV: the components that the image holds; the others are in their initial configuration.
    pub xstate_bv: u64,
    /// Bytes 8 to 15, XCOMP_BV: bit 63 makes the image compacted, and the others say which components have a place in it.
    pub xcomp_bv: u64,
    /// Bytes 16 to 63, which must be zero.
    pub reserved: [u64; 6],
}

/// A rule that a header breaks, by the strict reading.
///
/// All but [`ReservedTail`](Self::ReservedTail) make XRSTOR fault, each in the form it concerns; see
/// [`hardware_fault`](crate::hardware_fault).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// XSTATE_BV has bit 63, which is no component.
    #[error("xstate_bv has bit 63, which is no component")]
    ReservedBit,
    /// XSTATE_BV has components that are enabled neither in XCR0 nor in IA32_XSS.
    #[error("xstate_bv has {components}, which may not be there")]
    NotEnabled {
        /// The components.
        components: ComponentSet,
    },
    /// XSTATE_BV of a standard image has supervisor components, which only the compacted format holds.
    #[error("xstate_bv has {components}, which the standard format never holds")]
    Supervisor {
        /// The components.
        components: ComponentSet,
    },
    /// XCOMP_BV has bits without bit 63, which would give them a meaning.
    #[error("xcomp_bv is {xcomp_bv:#x} in a standard image")]
    CompactionBits {
        /// The value.
        xcomp_bv: u64,
    },
    /// XCOMP_BV of a compacted image has components that are enabled neither in XCR0 nor in IA32_XSS.
    #[error("xcomp_bv has {components}, which may not be there")]
    PlaceNotEnabled {
        /// The components.
        components: ComponentSet,
    },
    /// XSTATE_BV of a compacted image has components that XCOMP_BV gives no place to.
    #[error("xstate_bv has {components}, which xcomp_bv gives no place to")]
    NoPlace {
        /// The components.
        components: ComponentSet,
    },
    /// Bytes 16 to 23 are not zero.
    #[error("bytes 16 to 23 of the header are not zero")]
    Reserved,
    /// Bytes 24 to 63 are not zero. XRSTOR ignores them in the standard form, and faults in the compacted one.
    #[error("bytes 24 to 63 of the header are not zero")]
    ReservedTail,
}

impl Header {
    /// Reads the header from its 64 bytes.
    #[must_use]
    #[inline]
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES as usize]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let [xstate_bv, xcomp_bv, reserved @ ..] = words;
        Self { xstate_bv, xcomp_bv, reserved }
    }

    /// Returns the header's 64 bytes, the inverse of [`Header::from_bytes`].
    #[must_use]
    #[inline]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES as usize] {
        let [a, b, c, d, e, f] = self.reserved;
        let mut bytes = [0; HEADER_BYTES as usize];
        let words = [self.xstate_bv, self.xcomp_bv, a, b, c, d, e, f];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    /// Makes the header of an image that holds `present` where the components of `places` have one.
    #[must_use]
    #[inline]
    pub(crate) const fn new(format: Format, places: ComponentSet, present: ComponentSet) -> Self {
        let xcomp_bv = match format {
            Format::Standard => 0,
            Format::Compacted => COMPACTED | places.bits(),
        };
        Self { xstate_bv: present.bits(), xcomp_bv, reserved: [0; 6] }
    }

    /// Returns the format that bit 63 of XCOMP_BV selects.
    #[must_use]
    #[inline]
    pub const fn format(&self) -> Format {
        if self.xcomp_bv & COMPACTED == 0 { Format::Standard } else { Format::Compacted }
    }

    /// Returns what XSTATE_BV says is there, bit 63 included.
    #[must_use]
    #[inline]
    pub const fn present(&self) -> ComponentSet {
        ComponentSet::from_bits(self.xstate_bv)
    }

    /// Returns what XCOMP_BV gives a place to: bits 0 to 62.
    #[must_use]
    #[inline]
    pub const fn places(&self) -> ComponentSet {
        ComponentSet::from_bits(self.xcomp_bv & !COMPACTED)
    }

    /// Reads the header strictly, where `xcr0` and `xss` are what an image may hold.
    ///
    /// Whether a component is enabled in the right register is not asked: whoever names one in `xcr0` means a user component.
    ///
    /// # Errors
    ///
    /// The first of [`Header::faults`].
    #[inline]
    pub fn check(&self, xcr0: ComponentSet, xss: ComponentSet) -> Result<(), HeaderFault> {
        let reserved = self.reserved.iter().fold(0, |all, word| all | word);
        let (allowed, has_places) = match self.format() {
            Format::Standard => (xcr0, self.xcomp_bv == 0),
            Format::Compacted => (self.places(), self.places().is_subset_of(xcr0.union(xss))),
        };
        let allowed = allowed.intersection(ComponentSet::ALL);
        if has_places && reserved == 0 && self.present().is_subset_of(allowed) {
            return Ok(());
        }
        self.first_fault(xcr0, xss)
    }

    /// Names every rule that the header breaks, by the strict reading.
    pub fn faults(&self, xcr0: ComponentSet, xss: ComponentSet) -> impl Iterator<Item = HeaderFault> + Clone + use<> {
        let enabled = xcr0.union(xss).intersection(ComponentSet::ALL);
        let present = self.present().intersection(ComponentSet::ALL);
        let is_standard = self.format() == Format::Standard;
        let [low, tail @ ..] = self.reserved;
        let some = |components: ComponentSet| (!components.is_empty()).then_some(components);
        let standard = |components| some(components).filter(|_| is_standard);
        let compacted = |components| some(components).filter(|_| !is_standard);
        [
            (self.present() != present).then_some(HeaderFault::ReservedBit),
            some(present.minus(enabled)).map(|components| HeaderFault::NotEnabled { components }),
            standard(present.intersection(enabled).minus(xcr0))
                .map(|components| HeaderFault::Supervisor { components }),
            (is_standard && self.xcomp_bv != 0).then_some(HeaderFault::CompactionBits { xcomp_bv: self.xcomp_bv }),
            compacted(self.places().minus(enabled)).map(|components| HeaderFault::PlaceNotEnabled { components }),
            compacted(present.minus(self.places())).map(|components| HeaderFault::NoPlace { components }),
            (low != 0).then_some(HeaderFault::Reserved),
            (tail != [0; 5]).then_some(HeaderFault::ReservedTail),
        ]
        .into_iter()
        .flatten()
    }

    #[cold]
    fn first_fault(&self, xcr0: ComponentSet, xss: ComponentSet) -> Result<(), HeaderFault> {
        self.faults(xcr0, xss).next().map_or(Ok(()), Err)
    }
}
