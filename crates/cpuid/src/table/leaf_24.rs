//! Leaf 0x24: what AVX10 can do.
//!
//! The version in EBX bits 7 to 0 is a value, not a row here.

use super::leaf_07_1::AVX10;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EBX: Word = Word::subleaf(0x24, 0, Register::Ebx);
const ECX1: Word = Word::subleaf(0x24, 1, Register::Ecx);

pub(crate) const AVX10_128: Place = EBX.bit(16);
pub(crate) const AVX10_256: Place = EBX.bit(17);

/// The rows.
pub(crate) static ROWS: [Feature; 4] = [
    row(AVX10_128, "avx10-128").offer(Hardware, Never, Never, Never).needs(&[AVX10]).because(
        "vectors of 128 bits; hangs off avx10, as in QEMU's gate on the whole leaf",
        "SDM vol. 2A, CPUID.24H.0:EBX",
    ),
    row(AVX10_256, "avx10-256").offer(Hardware, Never, Never, Never).needs(&[AVX10_128]).because(
        "a length brings the shorter ones along (QEMU's chain); KVM passes it since 6.12",
        "SDM vol. 2A, CPUID.24H.0:EBX",
    ),
    row(EBX.bit(18), "avx10-512").offer(Hardware, Never, Never, Never).needs(&[AVX10_256]).because(
        "a length brings the shorter ones along; the AVX10.2 spec makes it always 1",
        "SDM vol. 2A, CPUID.24H.0:EBX",
    ),
    row(ECX1.bit(2), "avx10-vnni-int").offer(Hardware, Never, Never, Never).needs(&[AVX10]).because(
        "integer dot products of AVX10; the name is Linux 7.0's, from when on KVM passes it",
        "AVX10.2 Architecture Specification rev. 5.0, CPUID.24H.1:ECX",
    ),
];
