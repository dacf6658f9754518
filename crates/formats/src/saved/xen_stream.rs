//! A Xen guest as it is saved or migrated: libxenctrl's stream, alone, within libxl's, or within the file of `xl save`.
//!
//! Xen's `docs/specs/libxc-migration-stream.pandoc` and `libxl-migration-stream.pandoc`, versions 2 and 3 of the former and 2 of
//! the latter. Headers are big-endian, records on x86 little-endian, each padded to eight bytes. HVM and PVH guests have one
//! record HVM_CONTEXT, PV guests one record X86_PV_VCPU_XSAVE a vCPU, which has XCR0 and all that XCR0 ever had before the
//! image. A file of `xl save` has the guest's configuration first (`tools/xl/xl.h`).

use std::io::{Read, Seek};

use selfsame_xstate::ComponentSet;

use super::extents::{Extent, Extents};
use super::fields::{be_u32_at, u16_at, u32_at, u64_at};
use super::source::Source;
use super::{SavedError, XenMasks, XenRecord, xen_hvm};

/// The file of `xl save`: 32 bytes, then byte order, two words of flags, and how long what is optional is.
const XL_MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";
const XL_ORDER: u32 = 0x0102_0304;
const XL_HEADER_BYTES: u64 = 48;

/// libxl's stream: eight bytes, version, options; a record of type 1 says that libxenctrl's stream follows.
const LIBXL_MAGIC: &[u8; 8] = b"LibxlFmt";
const LIBXL_VERSION: u32 = 2;
const LIBXL_HEADER_BYTES: u64 = 16;
const LIBXC_CONTEXT: u32 = 1;

/// libxenctrl's stream: marker, identity, version, options; then sixteen bytes about the guest.
const LIBXC_MAGIC: &[u8; 12] = b"\xff\xff\xff\xff\xff\xff\xff\xffXENF";
const LIBXC_VERSIONS: [u32; 2] = [2, 3];
const LIBXC_HEADERS_BYTES: u64 = 24 + 16;

/// Types of records in libxenctrl's stream.
const END: u32 = 0;
const X86_PV_VCPU_XSAVE: u32 = 6;
const HVM_CONTEXT: u32 = 9;
const RECORD_HEADER_BYTES: u64 = 8;
/// The vCPU's number and four reserved bytes, then XCR0 and all that it ever had.
const PV_BEFORE_IMAGE_BYTES: u64 = 24;

/// Whether a file begins as one of the three.
pub(super) fn is_stream(bytes: &[u8]) -> bool {
    bytes.starts_with(XL_MAGIC) || bytes.starts_with(LIBXL_MAGIC) || bytes.starts_with(LIBXC_MAGIC)
}

/// Finds the states of all vCPUs. What else the stream has, the guest's memory most of all, is passed over.
pub(super) fn find<F: Read + Seek>(source: &mut Source<F>, found: &mut Extents) -> Result<(), SavedError> {
    let mut at = 0;
    if source.array(at)?.as_ref() == Some(XL_MAGIC) {
        at = behind_xl_header(source)?;
    }
    if source.array(at)?.as_ref() == Some(LIBXL_MAGIC) {
        at = behind_libxl_records(source, at)?;
    }
    find_in_libxc(source, at, found)
}

/// Where the file of `xl save` goes on behind its header.
fn behind_xl_header<F: Read + Seek>(source: &mut Source<F>) -> Result<u64, SavedError> {
    let header: [u8; 48] = source.array(0)?.ok_or(SavedError::malformed(0, "the header is cut off"))?;
    if u32_at(&header, 32) != Some(XL_ORDER) {
        return Err(SavedError::malformed(32, "not the byte order of x86"));
    }
    let end = XL_HEADER_BYTES + u64::from(u32_at(&header, 44).unwrap_or_default());
    if end > source.len_bytes() {
        return Err(SavedError::malformed(44, "the guest's configuration is cut off"));
    }
    Ok(end)
}

/// Where libxenctrl's stream begins in libxl's.
fn behind_libxl_records<F: Read + Seek>(source: &mut Source<F>, start: u64) -> Result<u64, SavedError> {
    let header: [u8; 16] = source.array(start)?.ok_or(SavedError::malformed(start, "the header is cut off"))?;
    if be_u32_at(&header, 8) != Some(LIBXL_VERSION) {
        return Err(SavedError::malformed(start + 8, "a version of libxl's stream that is not known here"));
    }
    if be_u32_at(&header, 12).is_none_or(|options| options & 1 != 0) {
        return Err(SavedError::malformed(start + 12, "not the byte order of x86"));
    }
    let mut at = start + LIBXL_HEADER_BYTES;
    loop {
        let record = record_at(source, at)?;
        at = record.next;
        match record.kind {
            LIBXC_CONTEXT => return Ok(at),
            END => return Err(SavedError::NoState { missing: "libxenctrl's stream" }),
            _ => {}
        }
    }
}

/// Finds the states in libxenctrl's stream.
fn find_in_libxc<F: Read + Seek>(source: &mut Source<F>, start: u64, found: &mut Extents) -> Result<(), SavedError> {
    let header: Option<[u8; 18]> = source.array(start)?;
    let Some(header) = header.filter(|header| header.starts_with(LIBXC_MAGIC)) else {
        return Err(SavedError::malformed(start, "no header of libxenctrl's stream"));
    };
    if be_u32_at(&header, 12).is_none_or(|version| !LIBXC_VERSIONS.contains(&version)) {
        return Err(SavedError::malformed(start + 12, "a version of libxenctrl's stream that is not known here"));
    }
    if u16_at(&header, 16).is_none_or(|options| options.to_be() & 1 != 0) {
        return Err(SavedError::malformed(start + 16, "not the byte order of x86"));
    }
    let mut at = start + LIBXC_HEADERS_BYTES;
    loop {
        let record = record_at(source, at)?;
        match record.kind {
            END => return Ok(()),
            HVM_CONTEXT => xen_hvm::find(source, record.body..record.end, found)?,
            X86_PV_VCPU_XSAVE => {
                let fields: Option<[u8; 24]> =
                    source.array(record.body)?.filter(|_| record.body + PV_BEFORE_IMAGE_BYTES <= record.end);
                let short = || SavedError::malformed(at, "the record of a vCPU's extended state is too short");
                let extent = pv_extent(&fields.ok_or_else(short)?, &record);
                // A vCPU that never had any writes its masks alone.
                if extent.len_bytes != 0 {
                    found.add(extent)?;
                }
            }
            _ => {}
        }
        at = record.next;
    }
}

/// Where the image of one vCPU of a PV guest lies in its record, which begins with these fields.
fn pv_extent(fields: &[u8], record: &Record) -> Extent {
    let mask = |offset| ComponentSet::from_bits(u64_at(fields, offset).unwrap_or_default());
    let offset = record.body + PV_BEFORE_IMAGE_BYTES;
    Extent {
        number: u32_at(fields, 0).unwrap_or_default(),
        offset,
        len_bytes: record.end - offset,
        xen: Some(XenMasks { kind: XenRecord::Pv, xcr0: mask(8), accumulated: mask(16) }),
    }
}

/// A record of either stream.
struct Record {
    kind: u32,
    /// Where its content begins and ends.
    body: u64,
    end: u64,
    /// Where the next one begins.
    next: u64,
}

fn record_at<F: Read + Seek>(source: &mut Source<F>, at: u64) -> Result<Record, SavedError> {
    let cut = || SavedError::malformed(at, "the record is cut off");
    let header: [u8; 8] = source.array(at)?.ok_or_else(cut)?;
    let len_bytes = u64::from(u32_at(&header, 4).unwrap_or_default());
    let body = at + RECORD_HEADER_BYTES;
    if body + len_bytes > source.len_bytes() {
        return Err(cut());
    }
    // The padding of the last record need not be there.
    let next = body + len_bytes.next_multiple_of(8);
    Ok(Record { kind: u32_at(&header, 0).unwrap_or_default(), body, end: body + len_bytes, next })
}
