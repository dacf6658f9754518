//! Leaf 0xD: the XSAVE family, and the components that XCR0 and XSS may hold.

use super::leaf_01::XSAVE;
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Register, Word};

const XCR0_LOW: Word = Word::subleaf(0xd, 0, Register::Eax);
const XCR0_HIGH: Word = Word::subleaf(0xd, 0, Register::Edx);
const EAX1: Word = Word::subleaf(0xd, 1, Register::Eax);
const XSS_LOW: Word = Word::subleaf(0xd, 1, Register::Ecx);

pub(crate) const XGETBV1: Place = EAX1.bit(2);
pub(crate) const XSAVES: Place = EAX1.bit(3);
pub(crate) const XFD: Place = EAX1.bit(4);
pub(crate) const XSAVEC: Place = EAX1.bit(1);

/// The rows.
pub(crate) static ROWS: [Feature; 25] = [
    row(XCR0_LOW.bit(0), "xcr0-x87").relation(Derived).offer(Hardware, Hardware, Hardware, Hardware).because(
        "always there where the policy has XSAVE: bit 0 of XCR0 cannot be 0",
        "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
    ),
    row(XCR0_LOW.bit(1), "xcr0-sse")
        .relation(Derived)
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because("comes with XSAVE itself; Xen and KVM both allow it", "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1"),
    row(XCR0_LOW.bit(2), "xcr0-avx").relation(Derived).offer(Hardware, Hardware, Hardware, Hardware).because(
        "follows avx; some dumps of Zen 3 and Haswell set it over an empty subleaf",
        "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
    ),
    row(XCR0_LOW.bit(3), "xcr0-mpx-bndregs").relation(Derived).offer(Hardware, Request, Request, Never).because(
        "follows mpx; KVM drops it where VMX has no MPX controls, Xen gives MPX on request",
        "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
    ),
    row(XCR0_LOW.bit(4), "xcr0-mpx-bndcsr").relation(Derived).offer(Hardware, Request, Request, Never).because(
        "follows mpx; the pair with bndregs stands or falls together",
        "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
    ),
    row(XCR0_LOW.bit(5), "xcr0-avx512-opmask").relation(Derived).offer(Hardware, Hardware, Hardware, Hardware).because(
        "follows avx512f; illegal in XCR0 without both ZMM components",
        "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
    ),
    row(XCR0_LOW.bit(6), "xcr0-avx512-zmm-hi256")
        .relation(Derived)
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "follows avx512f; illegal in XCR0 without opmask and hi16-zmm",
            "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
        ),
    row(XCR0_LOW.bit(7), "xcr0-avx512-hi16-zmm")
        .relation(Derived)
        .offer(Hardware, Hardware, Hardware, Hardware)
        .because(
            "follows avx512f; illegal in XCR0 without opmask and zmm-hi256",
            "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
        ),
    row(XCR0_LOW.bit(9), "xcr0-pkru").relation(Derived).offer(Hardware, Hardware, Never, Never).because(
        "follows pku: Zen 2 reports the component without the feature",
        "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
    ),
    row(XCR0_LOW.bit(17), "xcr0-tileconfig").relation(Derived).offer(Hardware, Never, Never, Never).because(
        "follows amx-tile; Xen sizes its areas for it but gives no AMX to guests",
        "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
    ),
    row(XCR0_LOW.bit(18), "xcr0-tiledata").relation(Derived).offer(Hardware, Never, Never, Never).because(
        "follows amx-tile; KVM wants the permission of the process before it shows it",
        "SDM vol. 2A, CPUID.0DH.0:EAX; vol. 1, 13.1",
    ),
    row(XCR0_HIGH.bit(30), "xcr0-lwp").relation(Derived).because(
        "follows lwp, which no hypervisor gives; offset differs between family 15h parts",
        "APM vol. 3, app. E, Fn0000_000D_x0:EDX",
    ),
    row(EAX1.bit(0), "xsaveopt")
        .linux("xsaveopt")
        .xen("XSAVEOPT")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[XSAVE])
        .because(
            "saves only what changed; a guest picks its save instruction by it once, at boot",
            "SDM vol. 2A, CPUID.0DH.1:EAX",
        ),
    row(XSAVEC, "xsavec")
        .linux("xsavec")
        .xen("XSAVEC")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[XSAVE])
        .because(
            "compacted form without supervisor state; kept apart from XSAVES, which errata may take away",
            "SDM vol. 2A, CPUID.0DH.1:EAX",
        ),
    row(XGETBV1, "xgetbv1")
        .linux("xgetbv1")
        .xen("XGETBV1")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[XSAVE])
        .because(
            "XGETBV with ECX=1 reads what is in use; unprivileged, so nothing can emulate its absence",
            "SDM vol. 2A, CPUID.0DH.1:EAX",
        ),
    row(XSAVES, "xsaves")
        .linux("xsaves")
        .xen("XSAVES")
        .offer(Hardware, Hardware, Hardware, Never)
        .needs(&[XSAVE])
        .because(
            "needs XSS kept per guest: Xen not for PV; four corpus machines lost it to older KVM or erratum 1386",
            "SDM vol. 2A, CPUID.0DH.1:EAX",
        ),
    row(XFD, "xfd").linux("xfd").xen("XFD").offer(Hardware, Never, Never, Never).needs(&[XSAVES, XGETBV1]).because(
        "lets kernels grant AMX late; KVM switches the MSR, Xen does not; edges as Linux has them",
        "SDM vol. 2A, CPUID.0DH.1:EAX",
    ),
    row(XSS_LOW.bit(8), "xss-pt").relation(Derived).because(
        "follows intel-pt, but KVM and Xen keep trace MSRs by hand and never show the component",
        "SDM vol. 2A, CPUID.0DH.1:ECX; vol. 1, 13.1",
    ),
    row(XSS_LOW.bit(10), "xss-pasid").relation(Derived).because(
        "follows enqcmd; no hypervisor translates a guest's PASIDs",
        "SDM vol. 2A, CPUID.0DH.1:ECX; vol. 1, 13.1",
    ),
    row(XSS_LOW.bit(11), "xss-cet-u").relation(Derived).offer(Hardware, Never, Never, Never).because(
        "follows shstk and ibt; KVM shows both CET components or neither",
        "SDM vol. 2A, CPUID.0DH.1:ECX; vol. 1, 13.1",
    ),
    row(XSS_LOW.bit(12), "xss-cet-s").relation(Derived).offer(Hardware, Never, Never, Never).because(
        "follows shstk and ibt; KVM shows both CET components or neither",
        "SDM vol. 2A, CPUID.0DH.1:ECX; vol. 1, 13.1",
    ),
    row(XSS_LOW.bit(13), "xss-hdc").relation(Derived).because(
        "follows duty cycling of the package, which belongs to the host",
        "SDM vol. 2A, CPUID.0DH.1:ECX; vol. 1, 13.1",
    ),
    row(XSS_LOW.bit(14), "xss-uintr").relation(Derived).because(
        "follows uintr; no hypervisor delivers user interrupts to guests yet",
        "SDM vol. 2A, CPUID.0DH.1:ECX; vol. 1, 13.1",
    ),
    row(XSS_LOW.bit(15), "xss-lbr").relation(Derived).because(
        "follows arch-lbr; mainline KVM and Xen keep the guest's LBRs out of XSS",
        "SDM vol. 2A, CPUID.0DH.1:ECX; vol. 1, 13.1",
    ),
    row(XSS_LOW.bit(16), "xss-hwp")
        .relation(Derived)
        .because("follows hwp: power requests belong to the host", "SDM vol. 2A, CPUID.0DH.1:ECX; vol. 1, 13.1"),
];
