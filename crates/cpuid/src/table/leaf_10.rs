//! Leaf 0x10: allocation of shared resources.

use super::leaf_07_0_ebx::RDT_A;
use crate::feature::{Feature, row};
use crate::place::{Place, Register, Word};

const EBX: Word = Word::subleaf(0x10, 0, Register::Ebx);
const L3_ECX: Word = Word::subleaf(0x10, 1, Register::Ecx);
const L2_ECX: Word = Word::subleaf(0x10, 2, Register::Ecx);
const MBA_ECX: Word = Word::subleaf(0x10, 3, Register::Ecx);

pub(crate) const CAT_L3: Place = EBX.bit(1);
pub(crate) const CAT_L2: Place = EBX.bit(2);
pub(crate) const MBA: Place = EBX.bit(3);

/// The rows.
pub(crate) static ROWS: [Feature; 10] = [
    row(CAT_L3, "cat-l3").linux("cat_l3").needs(&[RDT_A]).because(
        "divides the L3 by class of service for the whole package: host only, KVM zeroes leaf 0x10",
        "SDM vol. 2A, CPUID.10H.0:EBX",
    ),
    row(CAT_L2, "cat-l2")
        .linux("cat_l2")
        .needs(&[RDT_A])
        .because("divides the L2, which guests share with the host's other work", "SDM vol. 2A, CPUID.10H.0:EBX"),
    row(MBA, "mba").linux("mba").needs(&[RDT_A]).because(
        "throttles memory bandwidth by class of service; classes belong to the host",
        "SDM vol. 2A, CPUID.10H.0:EBX",
    ),
    row(L3_ECX.bit(1), "l3-cat-cos-infreq-updates").needs(&[CAT_L3]).because(
        "asks for rare mask changes; of use only to who sets the masks, the host",
        "SDM vol. 2A, CPUID.10H.1:ECX",
    ),
    row(L3_ECX.bit(2), "cdp-l3")
        .linux("cdp_l3")
        .needs(&[CAT_L3])
        .because("splits the L3 masks into code and data, a mode of the package", "SDM vol. 2A, CPUID.10H.1:ECX"),
    row(L3_ECX.bit(3), "cat-sparse-1s-l3")
        .needs(&[CAT_L3])
        .because("allows L3 masks with holes; the masks are the host's", "SDM vol. 2A, CPUID.10H.1:ECX"),
    row(L2_ECX.bit(2), "cdp-l2")
        .linux("cdp_l2")
        .needs(&[CAT_L2])
        .because("splits the L2 masks into code and data, a mode of the core", "SDM vol. 2A, CPUID.10H.2:ECX"),
    row(L2_ECX.bit(3), "cat-sparse-1s-l2")
        .needs(&[CAT_L2])
        .because("allows L2 masks with holes; the masks are the host's", "SDM vol. 2A, CPUID.10H.2:ECX"),
    row(MBA_ECX.bit(0), "per-thread-mba")
        .linux("per_thread_mba")
        .needs(&[MBA])
        .because("one throttle per thread instead of per core; host only", "SDM vol. 2A, CPUID.10H.3:ECX"),
    row(MBA_ECX.bit(2), "mba-delay-linear").needs(&[MBA]).because(
        "says how throttle values scale; of use only to who sets them, the host",
        "SDM vol. 2A, CPUID.10H.3:ECX",
    ),
];
