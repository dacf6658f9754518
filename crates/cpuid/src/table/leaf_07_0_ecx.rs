//! Leaf 7, subleaf 0, ECX: keys, shadow stacks, vectors of Ice Lake and stores to devices.

use selfsame_xstate::{Component, ComponentSet};

use super::leaf_0d::XSAVES;
use super::leaf_01::{AES, PCLMULQDQ, SSE2, XSAVE};
use super::leaf_07_0_ebx::{AVX2, AVX512BW, AVX512F, AVX512VL, SGX};
use super::leaf_80000001::LM;
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Register, Word};

const ECX: Word = Word::subleaf(0x7, 0, Register::Ecx);

pub(crate) const UMIP: Place = ECX.bit(2);
pub(crate) const PKU: Place = ECX.bit(3);
pub(crate) const WAITPKG: Place = ECX.bit(5);
pub(crate) const SHSTK: Place = ECX.bit(7);
pub(crate) const GFNI: Place = ECX.bit(8);
pub(crate) const VAES: Place = ECX.bit(9);
pub(crate) const VPCLMULQDQ: Place = ECX.bit(10);
pub(crate) const TME: Place = ECX.bit(13);
pub(crate) const LA57: Place = ECX.bit(16);
pub(crate) const RDPID: Place = ECX.bit(22);
pub(crate) const KEY_LOCKER: Place = ECX.bit(23);
pub(crate) const BUS_LOCK_DETECT: Place = ECX.bit(24);
pub(crate) const MOVDIR64B: Place = ECX.bit(28);
pub(crate) const ENQCMD: Place = ECX.bit(29);
pub(crate) const SGXLC: Place = ECX.bit(30);
pub(crate) const PKS: Place = ECX.bit(31);
pub(crate) const OSPKE: Place = ECX.bit(4);

/// The rows.
pub(crate) static ROWS: [Feature; 25] = [
    row(ECX.bit(0), "prefetchwt1").xen("PREFETCHWT1").offer(Never, Hardware, Hardware, Hardware).because(
        "a prefetch that older CPUs read as a NOP; Zhaoxin reports it besides Xeon Phi; KVM does not pass it",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
    row(ECX.bit(1), "avx512vbmi")
        .linux("avx512vbmi")
        .xen("AVX512_VBMI")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512BW])
        .because("byte permutes need the 64-bit masks of avx512bw", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(UMIP, "umip").linux("umip").xen("UMIP").offer(Made, Hardware, Hardware, Never).because(
        "KVM emulates it on Intel, as 3 machines show; on AMD it is as the host has it, by a rule in code",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
    row(PKU, "pku")
        .linux("pku")
        .xen("PKU")
        .offer(Hardware, Hardware, Never, Never)
        .needs(&[XSAVE, LM])
        .components(ComponentSet::EMPTY.with(Component::PKRU))
        .because(
            "keys live in 4-level tables that shadow and PV do not keep; KVM needs two-dimensional paging",
            "SDM vol. 2A, CPUID.07H.0:ECX",
        ),
    row(OSPKE, "ospke")
        .linux("ospke")
        .xen("OSPKE")
        .relation(Dynamic)
        .offer(Hardware, Hardware, Never, Never)
        .needs(&[PKU])
        .because(
            "mirrors the guest's CR4.PKE at the moment of the exit, offered where pku is",
            "SDM vol. 2A, CPUID.07H.0:ECX",
        ),
    row(WAITPKG, "waitpkg").linux("waitpkg").xen("WAITPKG").offer(Hardware, Never, Never, Never).because(
        "KVM reports it where VT-x has user wait and pause, else TPAUSE faults; Xen does not handle its MSR",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
    row(ECX.bit(6), "avx512vbmi2")
        .linux("avx512_vbmi2")
        .xen("AVX512_VBMI2")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512BW, AVX512VL])
        .because("byte compress and shift forms at every vector length", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(SHSTK, "shstk")
        .aliases(&["cet-ss"])
        .linux("shstk")
        .xen("CET_SS")
        .offer(Hardware, Never, Never, Never)
        .needs(&[XSAVES])
        .components(ComponentSet::EMPTY.with(Component::CET_U).with(Component::CET_S))
        .because(
            "Linux 6.18 gives it to guests with two-dimensional paging; Xen keeps shadow stacks to itself",
            "SDM vol. 2A, CPUID.07H.0:ECX",
        ),
    row(GFNI, "gfni").linux("gfni").xen("GFNI").offer(Hardware, Hardware, Hardware, Hardware).needs(&[SSE2]).because(
        "Galois-field forms exist on XMM alone (Tremont), so avx is not a parent",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
    row(VAES, "vaes")
        .linux("vaes")
        .xen("VAES")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2, AES])
        .because("AES rounds on YMM registers; the ZMM forms follow avx512f", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(VPCLMULQDQ, "vpclmulqdq")
        .linux("vpclmulqdq")
        .xen("VPCLMULQDQ")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX2, PCLMULQDQ])
        .because("carry-less multiply on YMM registers; the ZMM forms follow avx512f", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(ECX.bit(11), "avx512vnni")
        .linux("avx512_vnni")
        .xen("AVX512_VNNI")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512VL])
        .because(
            "dot products; every CPU that has them has avx512vl, which Linux requires and which brings avx512f",
            "SDM vol. 2A, CPUID.07H.0:ECX",
        ),
    row(ECX.bit(12), "avx512bitalg")
        .linux("avx512_bitalg")
        .xen("AVX512_BITALG")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512BW, AVX512VL])
        .because("byte popcount into 64-bit masks, at every vector length", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(TME, "tme")
        .linux("tme")
        .xen("TME")
        .because("memory encryption is set up by firmware and invisible to a guest", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(ECX.bit(14), "avx512-vpopcntdq")
        .linux("avx512_vpopcntdq")
        .xen("AVX512_VPOPCNTDQ")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[AVX512F])
        .because("Knights Mill has it without avx512vl", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(LA57, "la57").linux("la57").xen("LA57").offer(Hardware, Never, Never, Never).needs(&[LM]).because(
        "five-level paging passes by CPUID even where the host uses four; Xen has no such guests",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
    row(RDPID, "rdpid").linux("rdpid").xen("RDPID").offer(Hardware, Hardware, Hardware, Hardware).because(
        "reads TSC_AUX; the older KVM of Ice-Lake-Server did not report it yet",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
    row(KEY_LOCKER, "key-locker").needs(&[SSE2]).because(
        "the wrapping key is loaded per CPU and cannot be read back, so no guest can move with it",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
    row(BUS_LOCK_DETECT, "bus-lock-detect")
        .linux("bus_lock_detect")
        .xen("BLD")
        .offer(Hardware, Never, Never, Never)
        .because(
            "#DB on a bus lock through DEBUGCTL, which KVM gives on Intel, SVM withholds, and Xen does not know",
            "SDM vol. 2A, CPUID.07H.0:ECX",
        ),
    row(ECX.bit(25), "cldemote")
        .linux("cldemote")
        .xen("CLDEMOTE")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("a cache hint that older CPUs read as a NOP", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(ECX.bit(27), "movdiri")
        .linux("movdiri")
        .xen("MOVDIRI")
        .offer(Hardware, Request, Request, Request)
        .because("direct stores matter with devices only; Xen wants them asked for", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(MOVDIR64B, "movdir64b")
        .linux("movdir64b")
        .xen("MOVDIR64B")
        .offer(Hardware, Request, Request, Request)
        .because("64-byte direct stores to devices; Xen wants them asked for", "SDM vol. 2A, CPUID.07H.0:ECX"),
    row(ENQCMD, "enqcmd")
        .linux("enqcmd")
        .xen("ENQCMD")
        .needs(&[XSAVES])
        .components(ComponentSet::EMPTY.with(Component::PASID))
        .because(
            "stamps the process's PASID of the host's IOMMU on a store; no hypervisor translates it",
            "SDM vol. 2A, CPUID.07H.0:ECX",
        ),
    row(SGXLC, "sgxlc").linux("sgx_lc").xen("SGX_LC").offer(Request, Never, Never, Never).needs(&[SGX]).because(
        "launch key hashes in MSRs; comes and goes with sgx, lost by the same machines",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
    row(PKS, "pks").xen("PKS").offer(Never, Hardware, Never, Never).needs(&[LM]).because(
        "needs PKRS switched and 4-level tables: Xen does with HAP, KVM's support was never merged",
        "SDM vol. 2A, CPUID.07H.0:ECX",
    ),
];
