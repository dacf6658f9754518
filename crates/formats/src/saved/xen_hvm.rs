//! The context of a Xen HVM guest: records one after the other, each with type, instance and length.
//!
//! `xen/include/public/hvm/save.h` and `xen/include/public/arch-x86/hvm/save.h`. The first record tells that it is one; those
//! of type 16 have a vCPU's extended state behind a mask that nobody reads, XCR0, and all that XCR0 ever had. Xen up to 4.3
//! wrote longer records, with zeros at the end.

use std::io::{Read, Seek};
use std::ops::Range;

use selfsame_xstate::ComponentSet;

use super::extents::{Extent, Extents};
use super::fields::{u16_at, u32_at, u64_at};
use super::source::Source;
use super::{SavedError, XenMasks, XenRecord};

/// Types of records.
const END: u16 = 0;
const HEADER: u16 = 1;
const CPU_XSAVE: u16 = 16;
/// Type, instance and length.
const DESCRIPTOR_BYTES: u64 = 8;
/// The first field of the header, and the only version there is.
const MAGIC: u32 = 0x5438_1286;
const VERSION: u32 = 1;
/// What is before the image in a record of type 16.
const BEFORE_IMAGE_BYTES: u64 = 24;

/// Whether a file begins with the header of a context.
pub(super) fn is_context(bytes: &[u8]) -> bool {
    u16_at(bytes, 0) == Some(HEADER) && u32_at(bytes, 8) == Some(MAGIC)
}

/// Finds the states of all vCPUs of a context that lies somewhere in its file.
pub(super) fn find<F: Read + Seek>(
    source: &mut Source<F>,
    context: Range<u64>,
    found: &mut Extents,
) -> Result<(), SavedError> {
    let header: Option<[u8; 16]> = source.array(context.start)?;
    if !header.is_some_and(|header| is_context(&header)) {
        return Err(SavedError::malformed(context.start, "no header of a Xen HVM context"));
    }
    if header.and_then(|header| u32_at(&header, 12)) != Some(VERSION) {
        return Err(SavedError::malformed(context.start + 12, "a version of Xen's HVM context that is not known here"));
    }
    let mut at = context.start;
    loop {
        let cut = || SavedError::malformed(at, "the record is cut off");
        let body = at + DESCRIPTOR_BYTES;
        let descriptor: [u8; 8] = source.array(at)?.filter(|_| body <= context.end).ok_or_else(cut)?;
        let kind = u16_at(&descriptor, 0);
        if kind == Some(END) {
            return Ok(());
        }
        let end = body + u64::from(u32_at(&descriptor, 4).unwrap_or_default());
        if end > context.end {
            return Err(cut());
        }
        if kind == Some(CPU_XSAVE) {
            let masks: Option<[u8; 16]> = source.array(body + 8)?.filter(|_| body + BEFORE_IMAGE_BYTES <= end);
            let short = || SavedError::malformed(at, "the record of a vCPU's extended state is too short");
            let masks = masks.ok_or_else(short)?;
            let mask = |offset| ComponentSet::from_bits(u64_at(&masks, offset).unwrap_or_default());
            let offset = body + BEFORE_IMAGE_BYTES;
            found.add(Extent {
                number: u16_at(&descriptor, 2).map(u32::from).unwrap_or_default(),
                offset,
                len_bytes: end - offset,
                xen: Some(XenMasks { kind: XenRecord::Hvm, xcr0: mask(0), accumulated: mask(8) }),
            })?;
        }
        at = end;
    }
}
