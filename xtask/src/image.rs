//! Packs a program for bare metal into a disk image: its boot sector, then what it loads.
//!
//! The boot sector is a section of the same ELF file (`hypervisor/src/boot_sector.s`) that no loader loads. It is told here
//! how much to load, to where, and what to enter.

use object::elf::FileHeader64;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, Object, ObjectSection};
use thiserror::Error;

const SECTOR_BYTES: usize = 512;

/// A disk's cylinder as BIOSes count: 16 heads with 63 sectors. An image of whole cylinders has a geometry.
const CYLINDER_BYTES: usize = 16 * 63 * SECTOR_BYTES;

/// The name of the section, where in it the packer writes, and how it ends.
const BOOT_SECTOR: &str = ".boot_sector";
const FIELDS_AT: usize = 0x1f0;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// The boot sector counts sectors in 16 bits.
const MAX_SECTORS: usize = u16::MAX as usize;

/// Why a program cannot be packed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ImageError {
    #[error("not an ELF file of 64 bits: {0}")]
    NotElf(#[from] object::Error),
    #[error("no section {BOOT_SECTOR} of {SECTOR_BYTES} bytes that ends in 55 aa: is it a program of hypervisor/?")]
    NoBootSector,
    #[error("nothing in it is loaded")]
    NothingLoaded,
    #[error("{what} is at {address:#x}, where 32-bit code cannot reach it")]
    TooHigh { what: &'static str, address: u64 },
    #[error("{bytes} bytes are loaded; a boot sector loads {} at most", MAX_SECTORS * SECTOR_BYTES)]
    TooLarge { bytes: u64 },
}

/// Packs an ELF file.
///
/// # Errors
/// When it is no program for bare metal, or larger than the boot sector can load.
pub(crate) fn pack(elf: &[u8]) -> Result<Vec<u8>, ImageError> {
    let file = ElfFile64::<LittleEndian>::parse(elf)?;
    let (load_address, loaded) = loaded(&file)?;
    let fields = [
        u32::try_from(loaded.len().div_ceil(SECTOR_BYTES)).map_err(|_| too_large(loaded.len() as u64))?,
        low(load_address, "the program")?,
        low(file.entry(), "the entry")?,
    ];
    let mut image = boot_sector(&file)?;
    for (place, field) in image[FIELDS_AT..].chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    image.extend(loaded);
    image.resize(image.len().next_multiple_of(CYLINDER_BYTES), 0);
    Ok(image)
}

fn boot_sector(file: &ElfFile64<'_, LittleEndian>) -> Result<Vec<u8>, ImageError> {
    let section = file.section_by_name(BOOT_SECTOR).ok_or(ImageError::NoBootSector)?;
    let bytes = section.data()?;
    let is_whole = bytes.len() == SECTOR_BYTES && bytes.ends_with(&SIGNATURE);
    if is_whole { Ok(bytes.to_vec()) } else { Err(ImageError::NoBootSector) }
}

/// The lowest physical address that is loaded, and the bytes from there on.
fn loaded(file: &ElfFile64<'_, LittleEndian>) -> Result<(u64, Vec<u8>), ImageError> {
    let endian = LittleEndian;
    let header: &FileHeader64<LittleEndian> = file.elf_header();
    let is_loaded = |segment: &&object::elf::ProgramHeader64<LittleEndian>| {
        segment.p_type(endian) == object::elf::PT_LOAD && segment.p_filesz(endian) > 0
    };
    let segments: Vec<_> = header.program_headers(endian, file.data())?.iter().filter(is_loaded).collect();
    let first = segments.iter().map(|segment| segment.p_paddr(endian)).min().ok_or(ImageError::NothingLoaded)?;
    let mut bytes = Vec::new();
    for segment in segments {
        let at = segment.p_paddr(endian) - first;
        let end = at.saturating_add(segment.p_filesz(endian));
        let (at, end) = match (usize::try_from(at), usize::try_from(end)) {
            (Ok(at), Ok(end)) if end <= MAX_SECTORS * SECTOR_BYTES => (at, end),
            _ => return Err(too_large(end)),
        };
        let data = segment.data(endian, file.data()).map_err(|()| ImageError::NothingLoaded)?;
        bytes.resize(bytes.len().max(end), 0);
        bytes[at..end].copy_from_slice(data);
    }
    Ok((first, bytes))
}

fn low(address: u64, what: &'static str) -> Result<u32, ImageError> {
    u32::try_from(address).map_err(|_| ImageError::TooHigh { what, address })
}

fn too_large(bytes: u64) -> ImageError {
    ImageError::TooLarge { bytes }
}
