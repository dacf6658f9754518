//! Leaf 0xC0000001: PadLock and what followed it in Zhaoxin CPUs.
//!
//! Each unit has a bit that says it exists and one that says firmware left it enabled. Xen does not model the leaf. KVM
//! passes the units of VIA's time.

use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EDX: Word = Word::leaf(0xc000_0001, Register::Edx);

pub(crate) const SM2: Place = EDX.bit(0);
pub(crate) const XSTORE: Place = EDX.bit(2);
pub(crate) const CCS: Place = EDX.bit(4);
pub(crate) const XCRYPT: Place = EDX.bit(6);
pub(crate) const ACE2: Place = EDX.bit(8);
pub(crate) const PHE: Place = EDX.bit(10);
pub(crate) const PMM: Place = EDX.bit(12);
pub(crate) const PARALLAX: Place = EDX.bit(16);
pub(crate) const TM3: Place = EDX.bit(20);
pub(crate) const RNG2: Place = EDX.bit(22);
pub(crate) const PHE2: Place = EDX.bit(25);
pub(crate) const RSA: Place = EDX.bit(27);

/// The rows.
pub(crate) static ROWS: [Feature; 24] = [
    row(SM2, "sm2").linux("sm2").because(
        "signatures of the Chinese standard; KVM's list ends with VIA's units",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
    row(EDX.bit(1), "sm2-en")
        .linux("sm2_en")
        .needs(&[SM2])
        .because("firmware left SM2 enabled; follows its unit", "Linux, arch/x86/include/asm/cpufeatures.h, word 5"),
    row(XSTORE, "xstore")
        .linux("rng")
        .offer(Hardware, Never, Never, Never)
        .because("random numbers by XSTORE; KVM passes it", "VIA PadLock Programming Guide, C000_0001H:EDX"),
    row(EDX.bit(3), "xstore-en").linux("rng_en").offer(Hardware, Never, Never, Never).needs(&[XSTORE]).because(
        "firmware left XSTORE enabled; it faults where this is 0",
        "VIA PadLock Programming Guide, C000_0001H:EDX",
    ),
    row(CCS, "ccs").linux("ccs").because(
        "SM3 hash and SM4 cipher by REP prefixes; KVM's list ends with VIA's units",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
    row(EDX.bit(5), "ccs-en").linux("ccs_en").needs(&[CCS]).because(
        "firmware left SM3 and SM4 enabled; follows its unit",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
    row(XCRYPT, "xcrypt")
        .linux("ace")
        .offer(Hardware, Never, Never, Never)
        .because("AES by REP XCRYPT; KVM passes it", "VIA PadLock Programming Guide, C000_0001H:EDX"),
    row(EDX.bit(7), "xcrypt-en").linux("ace_en").offer(Hardware, Never, Never, Never).needs(&[XCRYPT]).because(
        "firmware left XCRYPT enabled; it faults where this is 0",
        "VIA PadLock Programming Guide, C000_0001H:EDX",
    ),
    row(ACE2, "ace2")
        .linux("ace2")
        .offer(Hardware, Never, Never, Never)
        .needs(&[XCRYPT])
        .because("more AES modes of the same unit; KVM passes it", "VIA PadLock Programming Guide, C000_0001H:EDX"),
    row(EDX.bit(9), "ace2-en")
        .linux("ace2_en")
        .offer(Hardware, Never, Never, Never)
        .needs(&[ACE2])
        .because("firmware left the added AES modes enabled", "VIA PadLock Programming Guide, C000_0001H:EDX"),
    row(PHE, "phe")
        .linux("phe")
        .offer(Hardware, Never, Never, Never)
        .because("SHA by REP XSHA; KVM passes it", "VIA PadLock Programming Guide, C000_0001H:EDX"),
    row(EDX.bit(11), "phe-en").linux("phe_en").offer(Hardware, Never, Never, Never).needs(&[PHE]).because(
        "firmware left XSHA enabled; it faults where this is 0",
        "VIA PadLock Programming Guide, C000_0001H:EDX",
    ),
    row(PMM, "pmm")
        .linux("pmm")
        .offer(Hardware, Never, Never, Never)
        .because("modular products by REP MONTMUL; KVM passes it", "VIA PadLock Programming Guide, C000_0001H:EDX"),
    row(EDX.bit(13), "pmm-en").linux("pmm_en").offer(Hardware, Never, Never, Never).needs(&[PMM]).because(
        "firmware left MONTMUL enabled; it faults where this is 0",
        "VIA PadLock Programming Guide, C000_0001H:EDX",
    ),
    row(PARALLAX, "parallax")
        .because("voltage control of the host", "Linux, arch/x86/include/asm/cpufeatures.h, word 5"),
    row(EDX.bit(17), "parallax-en")
        .needs(&[PARALLAX])
        .because("voltage control is on, on this host", "Linux, arch/x86/include/asm/cpufeatures.h, word 5"),
    row(TM3, "tm3").because("third thermal monitor of the host", "Linux, arch/x86/include/asm/cpufeatures.h, word 5"),
    row(EDX.bit(21), "tm3-en")
        .needs(&[TM3])
        .because("the third thermal monitor is on, on this host", "Linux, arch/x86/include/asm/cpufeatures.h, word 5"),
    row(RNG2, "rng2").linux("rng2").because(
        "second random generator; KVM's list ends with VIA's units",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
    row(EDX.bit(23), "rng2-en").linux("rng2_en").needs(&[RNG2]).because(
        "firmware left the second generator enabled; follows its unit",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
    row(PHE2, "phe2").linux("phe2").needs(&[PHE]).because(
        "SHA-384 and SHA-512; KVM's list ends with VIA's units",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
    row(EDX.bit(26), "phe2-en").linux("phe2_en").needs(&[PHE2]).because(
        "firmware left the longer hashes enabled; follows its unit",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
    row(RSA, "rsa").linux("rsa").because(
        "modular powers by REP XMODEXP; KVM's list ends with VIA's units",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
    row(EDX.bit(28), "rsa-en").linux("rsa_en").needs(&[RSA]).because(
        "firmware left XMODEXP enabled; follows its unit",
        "Linux, arch/x86/include/asm/cpufeatures.h, word 5",
    ),
];
