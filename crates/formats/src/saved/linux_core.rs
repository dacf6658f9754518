//! Core dumps of Linux on x86-64: each thread has a note NT_X86_XSTATE, and since Linux 6.12 the process has one that tells
//! where the CPU keeps components.
//!
//! Linux writes the notes of a thread after its NT_PRSTATUS (`fs/binfmt_elf.c`). The bytes of NT_X86_XSTATE are a standard
//! image as long as the host's XCR0 needs. NT_X86_XSAVE_LAYOUT has rows of four 32-bit words, component, size, offset and
//! flags, for every extended component that the host enables (`arch/x86/include/uapi/asm/elf.h`); flags are zero.

use object::LittleEndian;
use object::elf::{EM_X86_64, ET_CORE, FileHeader64, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use selfsame_xstate::Row;

use super::fields::u32_at;
use super::{SavedError, SavedState};

/// Note names.
const CORE: &[u8] = b"CORE";
const LINUX: &[u8] = b"LINUX";
/// Note types (`include/uapi/linux/elf.h`).
const NT_PRSTATUS: u32 = 1;
const NT_X86_XSTATE: u32 = 0x202;
const NT_X86_XSAVE_LAYOUT: u32 = 0x205;
/// Where a 64-bit NT_PRSTATUS has the thread's id.
const PR_PID: usize = 32;

type Layout = Vec<(u32, Row)>;

/// Whether a file is an ELF file at all.
pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Reads the states of all threads, and where components lie if the dump tells it.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<SavedState<'_>>, Option<Layout>), SavedError> {
    // ELFCLASS64, then ELFDATA2LSB.
    if bytes.get(4..6) != Some(&[2, 1]) {
        return Err(SavedError::NotCore);
    }
    let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(SavedError::Elf)?;
    if (header.e_type(LittleEndian), header.e_machine(LittleEndian)) != (ET_CORE, EM_X86_64) {
        return Err(SavedError::NotCore);
    }
    let (mut states, mut layout) = (Vec::new(), None);
    for segment in header.program_headers(LittleEndian, bytes).map_err(SavedError::Elf)? {
        if segment.p_type(LittleEndian) != PT_NOTE {
            continue;
        }
        let Some(mut notes) = segment.notes(LittleEndian, bytes).map_err(SavedError::Elf)? else { continue };
        let mut thread = 0;
        while let Some(note) = notes.next().map_err(SavedError::Elf)? {
            match (note.name(), note.n_type(LittleEndian).0) {
                (CORE, NT_PRSTATUS) => thread = u32_at(note.desc(), PR_PID).unwrap_or_default(),
                (LINUX, NT_X86_XSTATE) => {
                    states.push(SavedState { number: thread, image: note.desc(), xcr0: None, accumulated_xcr0: None });
                }
                (LINUX, NT_X86_XSAVE_LAYOUT) => layout = Some(rows(note.desc())),
                _ => {}
            }
        }
    }
    if states.is_empty() {
        return Err(SavedError::NoState { missing: "a note NT_X86_XSTATE" });
    }
    Ok((states, layout))
}

/// The rows of a note NT_X86_XSAVE_LAYOUT; what is behind the last whole one is none.
fn rows(desc: &[u8]) -> Layout {
    let row = |words: &[[u8; 4]; 4]| {
        let [component, size_bytes, offset_bytes, _flags] = words.map(u32::from_le_bytes);
        (component, Row { size_bytes, offset_bytes, ..Row::default() })
    };
    desc.as_chunks::<4>().0.as_chunks::<4>().0.iter().map(row).collect()
}
