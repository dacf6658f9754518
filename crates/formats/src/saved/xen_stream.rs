//! A Xen guest as it is saved or migrated: libxenctrl's stream, alone, within libxl's, or within the file of `xl save`.
//!
//! Xen's `docs/specs/libxc-migration-stream.pandoc` and `libxl-migration-stream.pandoc`, versions 2 and 3 of the former and 2 of
//! the latter. Headers are big-endian, records on x86 little-endian, each padded to eight bytes. HVM and PVH guests have one
//! record HVM_CONTEXT, PV guests one record X86_PV_VCPU_XSAVE a vCPU, which has XCR0 and all that XCR0 ever had before the
//! image. A file of `xl save` has the guest's configuration first (`tools/xl/xl.h`).

use selfsame_xstate::ComponentSet;

use super::fields::{be_u32_at, bytes_at, u16_at, u32_at, u64_at};
use super::{SavedError, SavedState, xen_hvm};

/// The file of `xl save`: 32 bytes, then byte order, two words of flags, and how long what is optional is.
const XL_MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";
const XL_ORDER: u32 = 0x0102_0304;
const XL_HEADER_BYTES: usize = 48;

/// libxl's stream: eight bytes, version, options; a record of type 1 says that libxenctrl's stream follows.
const LIBXL_MAGIC: &[u8; 8] = b"LibxlFmt";
const LIBXL_VERSION: u32 = 2;
const LIBXL_HEADER_BYTES: usize = 16;
const LIBXC_CONTEXT: u32 = 1;

/// libxenctrl's stream: marker, identity, version, options; then sixteen bytes about the guest.
const LIBXC_MAGIC: &[u8; 12] = b"\xff\xff\xff\xff\xff\xff\xff\xffXENF";
const LIBXC_VERSIONS: [u32; 2] = [2, 3];
const LIBXC_HEADERS_BYTES: usize = 24 + 16;

/// Types of records in libxenctrl's stream.
const END: u32 = 0;
const X86_PV_VCPU_XSAVE: u32 = 6;
const HVM_CONTEXT: u32 = 9;
const RECORD_HEADER_BYTES: usize = 8;
/// The vCPU's number and four reserved bytes, then XCR0 and all that it ever had.
const PV_BEFORE_IMAGE_BYTES: usize = 24;

/// Whether a file begins as one of the three.
pub(super) fn is_stream(bytes: &[u8]) -> bool {
    bytes.starts_with(XL_MAGIC) || bytes.starts_with(LIBXL_MAGIC) || bytes.starts_with(LIBXC_MAGIC)
}

/// Reads the states of all vCPUs.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<SavedState<'_>>, SavedError> {
    let mut at = 0;
    if bytes.starts_with(XL_MAGIC) {
        at = behind_xl_header(bytes)?;
    }
    if from(bytes, at).starts_with(LIBXL_MAGIC) {
        at = behind_libxl_records(bytes, at)?;
    }
    let states = read_libxc(bytes, at)?;
    if states.is_empty() {
        return Err(SavedError::NoState { missing: "a record HVM_CONTEXT or X86_PV_VCPU_XSAVE" });
    }
    Ok(states)
}

fn from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// Where the file of `xl save` goes on behind its header.
fn behind_xl_header(bytes: &[u8]) -> Result<usize, SavedError> {
    let malformed = |offset, reason| SavedError::Malformed { offset, reason };
    if u32_at(bytes, 32) != Some(XL_ORDER) {
        return Err(malformed(32, "not the byte order of x86"));
    }
    let optional = u32_at(bytes, 44).and_then(|len| usize::try_from(len).ok());
    let end = optional.and_then(|len| len.checked_add(XL_HEADER_BYTES)).filter(|&end| end <= bytes.len());
    end.ok_or_else(|| malformed(44, "the guest's configuration is cut off"))
}

/// Where libxenctrl's stream begins in libxl's.
fn behind_libxl_records(bytes: &[u8], start: usize) -> Result<usize, SavedError> {
    let malformed = |at: usize, reason| SavedError::Malformed { offset: start.saturating_add(at), reason };
    let stream = from(bytes, start);
    if be_u32_at(stream, 8) != Some(LIBXL_VERSION) {
        return Err(malformed(8, "a version of libxl's stream that is not known here"));
    }
    if be_u32_at(stream, 12).is_none_or(|options| options & 1 != 0) {
        return Err(malformed(12, "not the byte order of x86"));
    }
    let mut at = LIBXL_HEADER_BYTES;
    loop {
        let record = record_at(stream, at).ok_or_else(|| malformed(at, "the record is cut off"))?;
        at = record.end;
        match record.kind {
            LIBXC_CONTEXT => return Ok(start.saturating_add(at)),
            END => return Err(SavedError::NoState { missing: "libxenctrl's stream" }),
            _ => {}
        }
    }
}

/// Reads libxenctrl's stream.
fn read_libxc(bytes: &[u8], start: usize) -> Result<Vec<SavedState<'_>>, SavedError> {
    let malformed = |at: usize, reason| SavedError::Malformed { offset: start.saturating_add(at), reason };
    let stream = from(bytes, start);
    if !stream.starts_with(LIBXC_MAGIC) {
        return Err(malformed(0, "no header of libxenctrl's stream"));
    }
    if be_u32_at(stream, 12).is_none_or(|version| !LIBXC_VERSIONS.contains(&version)) {
        return Err(malformed(12, "a version of libxenctrl's stream that is not known here"));
    }
    if u16_at(stream, 16).is_none_or(|options| options.to_be() & 1 != 0) {
        return Err(malformed(16, "not the byte order of x86"));
    }
    let (mut states, mut at) = (Vec::new(), LIBXC_HEADERS_BYTES);
    loop {
        let record = record_at(stream, at).ok_or_else(|| malformed(at, "the record is cut off"))?;
        match record.kind {
            END => return Ok(states),
            HVM_CONTEXT => {
                states.extend(xen_hvm::read(record.body, start.saturating_add(at + RECORD_HEADER_BYTES))?);
            }
            X86_PV_VCPU_XSAVE => {
                let state = pv_state(record.body);
                let state = state.ok_or_else(|| malformed(at, "the record of a vCPU's extended state is too short"))?;
                // A vCPU that never had any writes its masks alone.
                states.extend(Some(state).filter(|state| !state.image.is_empty()));
            }
            _ => {}
        }
        at = record.end;
    }
}

/// The state of one vCPU of a PV guest.
fn pv_state(body: &[u8]) -> Option<SavedState<'_>> {
    Some(SavedState {
        number: u32_at(body, 0)?,
        image: body.get(PV_BEFORE_IMAGE_BYTES..)?,
        xcr0: Some(ComponentSet::from_bits(u64_at(body, 8)?)),
        accumulated_xcr0: Some(ComponentSet::from_bits(u64_at(body, 16)?)),
    })
}

/// A record of either stream.
struct Record<'a> {
    kind: u32,
    body: &'a [u8],
    /// Where the next one begins.
    end: usize,
}

fn record_at(stream: &[u8], at: usize) -> Option<Record<'_>> {
    let header = bytes_at(stream, at, RECORD_HEADER_BYTES)?;
    let len = usize::try_from(u32_at(header, 4)?).ok()?;
    let body = bytes_at(stream, at + RECORD_HEADER_BYTES, len)?;
    // The padding of the last record need not be there.
    let end = (at + RECORD_HEADER_BYTES).checked_add(len.checked_next_multiple_of(8)?)?;
    Some(Record { kind: u32_at(header, 0)?, body, end })
}
