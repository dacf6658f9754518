//! Core dumps of Linux on x86-64: each thread has a note NT_X86_XSTATE, and since Linux 6.12 the process has one that tells
//! where the CPU keeps components.
//!
//! Linux writes the notes of a thread after its NT_PRSTATUS (`fs/binfmt_elf.c`). The bytes of NT_X86_XSTATE are a standard
//! image as long as the host's XCR0 needs. NT_X86_XSAVE_LAYOUT has rows of four 32-bit words, component, size, offset and
//! flags, for every extended component that the host enables (`arch/x86/include/uapi/asm/elf.h`); flags are zero.

use std::io::{Read, Seek};
use std::ops::Range;

use object::LittleEndian;
use object::elf::{EM_X86_64, ET_CORE, FileHeader64, PN_XNUM, PT_NOTE};
use object::read::elf::FileHeader;
use selfsame_xstate::Row;

use super::SavedError;
use super::extents::{Extent, Extents, numbers};
use super::fields::{u32_at, u64_at};
use super::source::Source;
use crate::Finding;

/// Note names, without the zero that Linux writes behind them: not everybody counts it.
const CORE: &[u8] = b"CORE";
const LINUX: &[u8] = b"LINUX";
/// No name that counts here is longer, its padding included.
const MOST_NAME_BYTES: u64 = 8;
/// Note types (`include/uapi/linux/elf.h`).
const NT_PRSTATUS: u32 = 1;
const NT_X86_XSTATE: u32 = 0x202;
const NT_X86_XSAVE_LAYOUT: u32 = 0x205;
/// Where a 64-bit NT_PRSTATUS has the thread's id.
const PR_PID: u64 = 32;
/// As many components as there can be have a row each in NT_X86_XSAVE_LAYOUT.
const MOST_LAYOUT_BYTES: u64 = 63 * 16;

/// Linux and gdb write one segment of notes.
const MOST_SEGMENTS: usize = 1 << 16;

/// The rows of a note NT_X86_XSAVE_LAYOUT.
pub(super) type Rows = Vec<(u32, Row)>;

/// What the notes tell.
#[derive(Default)]
pub(super) struct Notes {
    /// The rows of NT_X86_XSAVE_LAYOUT.
    pub(super) layout: Option<Rows>,
    /// What is odd about the threads.
    pub(super) finding: Option<Finding>,
}

/// Whether a file is an ELF file at all.
pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Finds the states of all threads, and where components lie if the dump tells it.
pub(super) fn find<F: Read + Seek>(source: &mut Source<F>, found: &mut Extents) -> Result<Notes, SavedError> {
    let mut notes = Notes::default();
    for segment in segments_of_notes(source)? {
        let mut id = None;
        let mut at = segment.start;
        while at < segment.end {
            let note = note_at(source, at, &segment)?;
            match (&*note.name, note.kind) {
                (CORE, NT_PRSTATUS) => id = thread_id(source, &note)?,
                // Each thread has one of either.
                (LINUX, NT_X86_XSTATE) => {
                    let Range { start: offset, end } = note.desc;
                    found.add_apart(id.take(), Extent { number: 0, offset, len_bytes: end - offset, xen: None })?;
                }
                (LINUX, NT_X86_XSAVE_LAYOUT) => notes.layout = Some(rows(source, &note)?),
                _ => {}
            }
            at = note.next;
        }
    }
    notes.finding = made_up(&found.name_others());
    Ok(notes)
}

/// Says which numbers were made up: what else looks like the same thread is another one.
fn made_up(made_up: &[u32]) -> Option<Finding> {
    let numbers = numbers(made_up.iter().copied());
    let reason = format!("{numbers}: numbers made up for threads without such a note of their own, which tells the id");
    (!made_up.is_empty()).then(|| Finding { what: "NT_PRSTATUS".to_owned(), line: None, reason })
}

/// Where the notes are: segments that share no byte, so that no note is read twice.
fn segments_of_notes<F: Read + Seek>(source: &mut Source<F>) -> Result<Vec<Range<u64>>, SavedError> {
    let head = source.bytes(0, source.len_bytes().min(64))?.unwrap_or_default();
    // ELFCLASS64, then ELFDATA2LSB.
    if head.get(4..6) != Some(&[2, 1]) {
        return Err(SavedError::NotCore);
    }
    let header = FileHeader64::<LittleEndian>::parse(&*head).map_err(SavedError::Elf)?;
    if (header.e_type(LittleEndian), header.e_machine(LittleEndian)) != (ET_CORE, EM_X86_64) {
        return Err(SavedError::NotCore);
    }
    let (start, count) = (header.e_phoff(LittleEndian), header.e_phnum(LittleEndian));
    let count = if count == PN_XNUM { true_count(source, header)? } else { u32::from(count) };
    if count != 0 && header.e_phentsize(LittleEndian) != 56 {
        return Err(SavedError::malformed(54, "program headers of another size"));
    }
    let mut segments = Vec::new();
    for index in 0..u64::from(count) {
        let at = start.saturating_add(index * 56);
        let cut = || SavedError::malformed(at, "the program header is cut off");
        let segment: [u8; 56] = source.array(at)?.ok_or_else(cut)?;
        let field = |offset| u64_at(&segment, offset).unwrap_or_default();
        let (offset, len_bytes) = (field(8), field(32));
        if u32_at(&segment, 0) != Some(PT_NOTE.0) || len_bytes == 0 {
            continue;
        }
        let end = offset.checked_add(len_bytes).filter(|&end| end <= source.len_bytes());
        if segments.len() == MOST_SEGMENTS {
            return Err(SavedError::malformed(at, "more segments of notes than a core dump has"));
        }
        segments.push(offset..end.ok_or_else(|| SavedError::malformed(at, "its notes are cut off"))?);
    }
    let mut sorted = segments.clone();
    sorted.sort_by_key(|segment| segment.start);
    match sorted.windows(2).find(|pair| matches!(pair, [one, next] if next.start < one.end)) {
        Some([_, next]) => Err(SavedError::malformed(next.start, "several segments have these notes")),
        _ => Ok(segments),
    }
}

/// How many program headers there are where a 16-bit field cannot tell it: the first section header does (gABI, `e_phnum`).
fn true_count<F: Read + Seek>(source: &mut Source<F>, header: &FileHeader64<LittleEndian>) -> Result<u32, SavedError> {
    let at = header.e_shoff(LittleEndian);
    let count: Option<[u8; 4]> = source.array(at.saturating_add(44))?.filter(|_| at != 0);
    count.map(u32::from_le_bytes).ok_or_else(|| {
        SavedError::malformed(at, "the section header that tells the number of program headers is missing")
    })
}

struct Note {
    /// The name without zeros behind it; empty where it is longer than any that counts here.
    name: Vec<u8>,
    kind: u32,
    /// Where its content lies.
    desc: Range<u64>,
    next: u64,
}

/// Reads the head of a note. All three parts are padded to four bytes, as Linux writes them whatever `p_align` says.
fn note_at<F: Read + Seek>(source: &mut Source<F>, at: u64, segment: &Range<u64>) -> Result<Note, SavedError> {
    let cut = || SavedError::malformed(at, "the note is cut off");
    let head: [u8; 12] = source.array(at)?.ok_or_else(cut)?;
    let [name_bytes, desc_bytes, kind] = [0, 4, 8].map(|offset| u32_at(&head, offset).unwrap_or_default());
    let name_bytes = u64::from(name_bytes);
    let start = at + 12 + name_bytes.next_multiple_of(4);
    let end = start + u64::from(desc_bytes);
    if end > segment.end {
        return Err(cut());
    }
    let name_bytes = if name_bytes <= MOST_NAME_BYTES { name_bytes } else { 0 };
    let mut name = source.bytes(at + 12, name_bytes)?.unwrap_or_default();
    name.truncate(name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    Ok(Note { name, kind, desc: start..end, next: at + (end - at).next_multiple_of(4) })
}

fn thread_id<F: Read + Seek>(source: &mut Source<F>, note: &Note) -> Result<Option<u32>, SavedError> {
    let at = note.desc.start + PR_PID;
    let id = source.array(at)?.filter(|_| at + 4 <= note.desc.end);
    Ok(id.map(u32::from_le_bytes))
}

/// The rows of a note NT_X86_XSAVE_LAYOUT; what is behind the last whole one is none.
fn rows<F: Read + Seek>(source: &mut Source<F>, note: &Note) -> Result<Rows, SavedError> {
    let Range { start, end } = note.desc;
    if end - start > MOST_LAYOUT_BYTES {
        return Err(SavedError::malformed(
            start,
            "a note NT_X86_XSAVE_LAYOUT with more rows than there can be components",
        ));
    }
    let row = |words: &[[u8; 4]; 4]| {
        let [component, size_bytes, offset_bytes, _flags] = words.map(u32::from_le_bytes);
        (component, Row { size_bytes, offset_bytes, ..Row::default() })
    };
    let desc = source.bytes(start, end - start)?.unwrap_or_default();
    Ok(desc.as_chunks::<4>().0.as_chunks::<4>().0.iter().map(row).collect())
}
