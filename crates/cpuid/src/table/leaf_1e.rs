//! Leaf 0x1E: tile multiplication.
//!
//! Subleaf 1 gathers the AMX instructions; its first four bits repeat bits of leaf 7. `names.csv` has none of them; the
//! names are those of Linux 7.0 and QEMU 11.

use super::leaf_07_0_ebx::AVX512F;
use super::leaf_07_0_edx::{AMX_BF16, AMX_INT8, AMX_TILE};
use super::leaf_07_1::{AMX_COMPLEX, AMX_FP16};
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Register, Word};

const EAX1: Word = Word::subleaf(0x1e, 1, Register::Eax);

/// The rows.
pub(crate) static ROWS: [Feature; 8] = [
    row(EAX1.bit(0), "amx-int8-alias").offer(Hardware, Never, Never, Never).needs(&[AMX_INT8]).because(
        "repeats amx-int8 on CPUs with subleaf 1; KVM passes it since 7.0",
        "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059",
    ),
    row(EAX1.bit(1), "amx-bf16-alias").offer(Hardware, Never, Never, Never).needs(&[AMX_BF16]).because(
        "repeats amx-bf16 on CPUs with subleaf 1; KVM passes it since 7.0",
        "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059",
    ),
    row(EAX1.bit(2), "amx-complex-alias").offer(Hardware, Never, Never, Never).needs(&[AMX_COMPLEX]).because(
        "repeats amx-complex on CPUs with subleaf 1; KVM passes it since 7.0",
        "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059",
    ),
    row(EAX1.bit(3), "amx-fp16-alias").offer(Hardware, Never, Never, Never).needs(&[AMX_FP16]).because(
        "repeats amx-fp16 on CPUs with subleaf 1; KVM passes it since 7.0",
        "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059",
    ),
    row(EAX1.bit(4), "amx-fp8").offer(Hardware, Never, Never, Never).needs(&[AMX_TILE]).because(
        "products of 8-bit floats; KVM passes it since 7.0, Xen gives no AMX",
        "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059",
    ),
    row(EAX1.bit(6), "amx-tf32").offer(Hardware, Never, Never, Never).needs(&[AMX_TILE]).because(
        "products of TF32 numbers; KVM passes it since 7.0, Xen gives no AMX",
        "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059",
    ),
    row(EAX1.bit(7), "amx-avx512").offer(Hardware, Never, Never, Never).needs(&[AMX_TILE, AVX512F]).because(
        "moves between tiles and ZMM registers, so both states are needed; KVM since 7.0",
        "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059",
    ),
    row(EAX1.bit(8), "amx-movrs").offer(Hardware, Never, Never, Never).needs(&[AMX_TILE]).because(
        "tile loads with a read-shared hint; KVM passes it since 7.0, Xen gives no AMX",
        "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059",
    ),
];
