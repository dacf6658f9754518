//! What Xen refuses of a vCPU's record when a guest is restored, whatever its registers hold.
//!
//! `validate_xstate` in Xen's `xen/arch/x86/xstate.c`, `hvm_load_cpu_xsave_states` in `xen/arch/x86/hvm/hvm.c`, and
//! XEN_DOMCTL_setvcpuextstate in `xen/arch/x86/domctl.c`. Xen does not look at MXCSR. How long an image has to be is asked of
//! the CPU that restores it, wherever it was saved: `xstate_uncompressed_size` of all that XCR0 ever had.

use selfsame_xstate::{ComponentSet, Format, Geometry, Xcr0Error, xcr0_faults};

use super::SavedState;

/// What a record of Xen says of a vCPU beside its image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct XenMasks {
    /// The kind of record.
    pub kind: XenRecord,
    /// XCR0 when the state was saved.
    pub xcr0: ComponentSet,
    /// All that XCR0 ever had.
    pub accumulated: ComponentSet,
}

/// A kind of record that holds a vCPU's extended state: each is restored by a function of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum XenRecord {
    /// CPU_XSAVE in the context of an HVM or PVH guest.
    Hvm,
    /// X86_PV_VCPU_XSAVE of a PV guest.
    Pv,
}

/// Why Xen does not restore a vCPU from its record; see [`SavedState::record_faults`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// No XSETBV of the guest puts this into XCR0.
    #[error(transparent)]
    Xcr0(Xcr0Error),
    /// No XSETBVs of the guest have put this into XCR0, one after the other.
    #[error("what xcr0 ever had, taken as one value: {0}")]
    Accumulated(Xcr0Error),
    /// XCR0 has what it never had.
    #[error("xcr0 has {components}, which it never had by the record")]
    NeverEnabled {
        /// The components.
        components: ComponentSet,
    },
    /// A component is present that was never enabled.
    #[error("xstate_bv has {components}, which xcr0 never had by the record")]
    NotAccumulated {
        /// The components.
        components: ComponentSet,
    },
    /// The image is compacted.
    #[error("the image is compacted, and records hold standard ones")]
    Compacted,
    /// XCOMP_BV of a standard image is not zero.
    #[error("xcomp_bv is {xcomp_bv:#x}, and records hold zero there")]
    CompactionBits {
        /// The value.
        xcomp_bv: u64,
    },
    /// Bytes of the header that mean nothing yet are not zero. CPUs ignore most of them in a standard image; Xen does not.
    #[error("bytes 16 to 63 of the header are not zero")]
    ReservedBytes,
    /// The record does not hold all that was ever enabled, as the host lays it out.
    #[error("the record has an image of {len_bytes} bytes, and what xcr0 ever had takes {needed_bytes} on the host")]
    TooShort {
        /// How long the image is.
        len_bytes: usize,
        /// How long it would have to be.
        needed_bytes: usize,
    },
    /// A PV guest's record holds more than all that was ever enabled, be it zeros.
    #[error(
        "the record has an image of {len_bytes} bytes, and what xcr0 ever had takes {needed_bytes} on the host: that of a \
         pv guest has no more"
    )]
    TooLong {
        /// How long the image is.
        len_bytes: usize,
        /// How long it would have to be.
        needed_bytes: usize,
    },
    /// Xen up to 4.3 wrote zeros behind the image of an HVM guest's vCPU, and nothing else may be there.
    #[error("byte {offset} of the record's image lies behind all that xcr0 ever had, and is not zero")]
    Tail {
        /// The first such byte.
        offset: usize,
    },
}

impl SavedState<'_> {
    /// Names everything for which Xen refuses to restore this vCPU of a guest that may have `permitted` in XCR0; nothing if no
    /// record of Xen holds it. `host` is the CPU that is to restore it: what it does not have is not permitted there, and its
    /// places say how long the image has to be, even where all that moved is absent.
    ///
    /// ```
    /// use selfsame_formats::saved::{SavedState, XenMasks, XenRecord};
    /// use selfsame_xstate::{ComponentSet, Geometry};
    ///
    /// let cpu = Geometry::read(|subleaf| match subleaf {
    ///     0 => [7, 576, 832, 0],
    ///     2 => [256, 576, 0, 0],
    ///     _ => [0; 4],
    /// });
    /// let image = [0; 832];
    /// let [xcr0, accumulated] = [5, 7].map(ComponentSet::from_bits);
    /// let xen = Some(XenMasks { kind: XenRecord::Hvm, xcr0, accumulated });
    /// let state = SavedState { number: 0, image: &image, xen };
    /// let faults = state.record_faults(&cpu, ComponentSet::from_bits(7));
    /// assert_eq!(faults.iter().map(ToString::to_string).collect::<Vec<_>>(), ["xcr0 0x5 has avx without sse"]);
    /// ```
    pub fn record_faults(&self, host: &Geometry, permitted: ComponentSet) -> Vec<RecordFault> {
        let Some(XenMasks { kind, xcr0, accumulated }) = self.xen else { return Vec::new() };
        let header = self.header().unwrap_or_default();
        let permitted = permitted & (host.user() | ComponentSet::LEGACY);
        let mut faults: Vec<RecordFault> = xcr0_faults(xcr0.bits(), permitted).map(RecordFault::Xcr0).collect();
        faults.extend(xcr0_faults(accumulated.bits(), permitted).map(RecordFault::Accumulated));
        let beyond = |set: ComponentSet| Some(set - accumulated).filter(|components| !components.is_empty());
        faults.extend(beyond(xcr0).map(|components| RecordFault::NeverEnabled { components }));
        faults.extend(beyond(header.present()).map(|components| RecordFault::NotAccumulated { components }));
        faults.extend((header.reserved != [0; 6]).then_some(RecordFault::ReservedBytes));
        if header.format() == Format::Standard && header.xcomp_bv != 0 {
            faults.push(RecordFault::CompactionBits { xcomp_bv: header.xcomp_bv });
        }
        if header.format() == Format::Compacted {
            faults.push(RecordFault::Compacted);
        } else if let Ok(needed_bytes) = host.standard_size(accumulated) {
            let needed_bytes = usize::try_from(needed_bytes).unwrap_or(usize::MAX);
            let len_bytes = self.image.len();
            match self.image.get(needed_bytes..) {
                None => faults.push(RecordFault::TooShort { len_bytes, needed_bytes }),
                Some([]) => {}
                Some(_) if kind == XenRecord::Pv => faults.push(RecordFault::TooLong { len_bytes, needed_bytes }),
                Some(tail) => {
                    let offset = tail.iter().position(|&byte| byte != 0);
                    faults.extend(offset.map(|offset| RecordFault::Tail { offset: needed_bytes + offset }));
                }
            }
        }
        faults
    }
}
