//! Packs a program for bare metal into a disk image: its boot sector, then what it loads.
//!
//! The boot sector is a section of the same ELF file (`hypervisor/src/boot_sector.s`) that no loader loads. It is told
//! here how much to load, to where, and what to enter.

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

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: u64 = 0x10_0020;

    /// What the assembler makes of a boot sector: its fields empty, its signature there.
    fn sector() -> Vec<u8> {
        let mut sector = vec![0xcc; SECTOR_BYTES];
        sector[FIELDS_AT..].fill(0);
        sector[SECTOR_BYTES - 2..].copy_from_slice(&SIGNATURE);
        sector
    }

    /// An ELF file: header, segments by physical address, the boot sector, section names, section headers.
    fn elf(segments: &[(u64, &[u8])], boot_sector: &[u8]) -> Vec<u8> {
        const NAMES: &[u8] = b"\0.boot_sector\0.shstrtab\0";
        let (header_len, segment_len, section_len) = (64, 56, 64);
        let mut data = Vec::new();
        let data_at = header_len + segment_len * segments.len();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        let names_at = |data: &[u8]| data_at + data.len();
        let mut program_headers = Vec::new();
        for (address, bytes) in segments {
            let (offset, len) = (names_at(&data) as u64, bytes.len() as u64);
            program_headers.extend([1_u32, 5].map(u32::to_le_bytes).concat());
            program_headers
                .extend([offset, *address, *address, len, len + 0x1000, 0x1000].map(u64::to_le_bytes).concat());
            data.extend_from_slice(bytes);
        }
        let sector_at = names_at(&data) as u64;
        data.extend_from_slice(boot_sector);
        let names_offset = names_at(&data) as u64;
        data.extend_from_slice(NAMES);
        let sections_at = names_at(&data) as u64;
        let section = |name: u32, kind: u32, offset: u64, len: usize| {
            let words = [name, kind].map(u32::to_le_bytes).concat();
            let longs = [0, 0, offset, len as u64, 0, 1, 0].map(u64::to_le_bytes).concat();
            [words, longs].concat()
        };
        let mut sections = vec![0; section_len];
        sections.extend(section(1, 1, sector_at, boot_sector.len()));
        sections.extend(section(14, 3, names_offset, NAMES.len()));

        file.extend([2_u16, 62].map(u16::to_le_bytes).concat());
        file.extend(1_u32.to_le_bytes());
        file.extend([ENTRY, header_len as u64, sections_at].map(u64::to_le_bytes).concat());
        file.extend(0_u32.to_le_bytes());
        let counts =
            [header_len, segment_len, segments.len(), section_len, 3, 2].map(|count| u16::try_from(count).unwrap());
        file.extend(counts.map(u16::to_le_bytes).concat());
        [file, program_headers, data, sections].concat()
    }

    #[test]
    fn an_image_is_the_boot_sector_and_what_it_loads_from_the_lowest_address() {
        let elf = elf(&[(0x10_0400, b"data"), (0x10_0000, &[0x90; 600])], &sector());
        let image = pack(&elf).unwrap();
        assert_eq!(image.len(), CYLINDER_BYTES);
        assert_eq!(image[..FIELDS_AT], sector()[..FIELDS_AT]);
        let fields: Vec<u32> =
            image[FIELDS_AT..][..12].chunks(4).map(|f| u32::from_le_bytes(f.try_into().unwrap())).collect();
        assert_eq!(fields, [3, 0x10_0000, 0x10_0020], "1028 bytes are three sectors");
        assert_eq!(image[SECTOR_BYTES - 2..][..2], SIGNATURE);
        let loaded = &image[SECTOR_BYTES..];
        assert_eq!((&loaded[..600], &loaded[600..0x400]), ([0x90; 600].as_slice(), [0; 0x400 - 600].as_slice()));
        assert_eq!((&loaded[0x400..0x404], loaded[0x404]), (b"data".as_slice(), 0));
    }

    #[test]
    fn images_are_whole_cylinders() {
        let bytes = vec![1; CYLINDER_BYTES];
        let image = pack(&elf(&[(0x10_0000, &bytes)], &sector())).unwrap();
        assert_eq!(image.len(), 2 * CYLINDER_BYTES);
    }

    #[test]
    fn what_is_no_program_for_bare_metal_is_refused() {
        assert!(matches!(pack(b"#!/bin/sh\n"), Err(ImageError::NotElf(_))));
        let unsigned = vec![0; SECTOR_BYTES];
        assert!(matches!(pack(&elf(&[(0x10_0000, b"x")], &unsigned)), Err(ImageError::NoBootSector)));
        assert!(matches!(pack(&elf(&[(0x10_0000, b"x")], &sector()[..500])), Err(ImageError::NoBootSector)));
        assert!(matches!(pack(&elf(&[], &sector())), Err(ImageError::NothingLoaded)));
    }

    #[test]
    fn what_the_boot_sector_cannot_load_is_refused() {
        let apart: &[(u64, &[u8])] = &[(0x10_0000, b"x"), (0x1000_0000, b"y")];
        assert!(matches!(pack(&elf(apart, &sector())), Err(ImageError::TooLarge { .. })));
        let high: &[(u64, &[u8])] = &[(1 << 32, b"x")];
        assert!(matches!(pack(&elf(high, &sector())), Err(ImageError::TooHigh { address: 0x1_0000_0000, .. })));
    }
}
