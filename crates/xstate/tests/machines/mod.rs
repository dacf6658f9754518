//! Leaf 0xD of CPUs with published values, for the tests.
//!
//! Places are those of `COMPONENTS`' sources; a table of their own here keeps the tests independent of that table.
#![allow(dead_code, reason = "each test file uses some of the machines")]

use selfsame_xstate::{Component, ComponentSet, Geometry};

/// A row: component number, size, offset, ECX.
pub(crate) type Place = (u32, u32, u32, u32);

pub(crate) const CET: [Place; 2] = [(11, 16, 0, 1), (12, 24, 0, 1)];
const AVX: Place = (2, 256, 0x240, 0);

/// Splits a mask as the leaf does: the low word first.
pub(crate) fn words(mask: u64) -> [u32; 2] {
    ComponentSet::from_bits(mask).halves().into()
}

/// Makes a geometry of rows whose ECX bit 0 says which register they belong to, x87 and SSE included.
pub(crate) fn machine(reported_bytes: u32, rows: &[Place]) -> Geometry {
    let mask = |kind: u32| rows.iter().filter(|row| row.3 & 1 == kind).fold(0u64, |mask, row| mask | 1 << row.0);
    let ([user_low, user_high], [low, high]) = (words(mask(0) | 3), words(mask(1)));
    Geometry::read(|subleaf| match subleaf {
        0 => [user_low, 576, reported_bytes, user_high],
        1 => [0xF, 576, low, high],
        _ => rows.iter().find(|row| row.0 == subleaf).map_or([0; 4], |row| [row.1, row.2, row.3, 0]),
    })
}

/// AMD EPYC 7003, with shadow stacks.
pub(crate) fn milan() -> Geometry {
    machine(0x988, &[AVX, (9, 8, 0x980, 0), CET[0], CET[1]])
}

/// AMD EPYC 9004, with shadow stacks.
pub(crate) fn genoa() -> Geometry {
    machine(0x988, &[AVX, (5, 64, 0x340, 0), (6, 512, 0x380, 0), (7, 1024, 0x580, 0), (9, 8, 0x980, 0), CET[0], CET[1]])
}

/// Intel Skylake-X to Cascade Lake, with MPX.
pub(crate) fn skylake() -> Geometry {
    let rows = [
        AVX,
        (3, 64, 0x3C0, 0),
        (4, 64, 0x400, 0),
        (5, 64, 0x440, 0),
        (6, 512, 0x480, 0),
        (7, 1024, 0x680, 0),
        (8, 128, 0, 1),
        (9, 8, 0xA80, 0),
    ];
    machine(0xA88, &rows)
}

const SAPPHIRE_RAPIDS: [Place; 13] = [
    AVX,
    (5, 64, 0x440, 0),
    (6, 512, 0x480, 0),
    (7, 1024, 0x680, 0),
    (8, 128, 0, 1),
    (9, 8, 0xA80, 0),
    (10, 8, 0, 1),
    CET[0],
    CET[1],
    (14, 48, 0, 1),
    (15, 808, 0, 1),
    (17, 64, 0xAC0, 2),
    (18, 8192, 0xB00, 6),
];

/// Intel Xeon of the 4th generation.
pub(crate) fn sapphire_rapids() -> Geometry {
    machine(0x2B00, &SAPPHIRE_RAPIDS)
}

/// Sapphire Rapids' components and APX in the bytes that MPX had.
pub(crate) fn with_apx() -> Geometry {
    let mut rows = SAPPHIRE_RAPIDS.to_vec();
    rows.push((19, 128, 960, 0));
    machine(0x2B00, &rows)
}

/// AMD family 0x15: LWP right after AVX.
pub(crate) fn bulldozer() -> Geometry {
    machine(0x3C0, &[AVX, (62, 128, 0x340, 0)])
}

/// A CPU before XSAVE.
pub(crate) fn nehalem() -> Geometry {
    Geometry::read(|_| [0; 4])
}

/// Milan as Linux shows Zen 1 and 2 with old microcode: XSAVEC without XSAVES (AMD erratum 1386).
pub(crate) fn without_xsaves() -> Geometry {
    let milan = milan();
    Geometry::read(|subleaf| match subleaf {
        0 => [0x207, 576, 0x988, 0],
        1 => [0x7, 576, 0x1800, 0],
        _ => {
            let component = u8::try_from(subleaf).ok().and_then(Component::new);
            component.and_then(|component| milan.row(component)).map_or([0; 4], |row| row.registers())
        }
    })
}
