//! Leaf 0x12: what SGX can do.

use super::leaf_07_0_ebx::SGX;
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::subleaf(0x12, 0, Register::Eax);
const EBX: Word = Word::subleaf(0x12, 0, Register::Ebx);
const ATTRIBUTES: Word = Word::subleaf(0x12, 1, Register::Eax);
const XFRM: Word = Word::subleaf(0x12, 1, Register::Ecx);

pub(crate) const SGX1: Place = EAX.bit(0);

/// The rows.
pub(crate) static ROWS: [Feature; 28] = [
    row(SGX1, "sgx1").linux("sgx1").offer(Request, Never, Never, Never).needs(&[SGX]).because(
        "KVM passes it where the VMM brings enclave memory, which QEMU does on request; Xen never",
        "SDM vol. 2A, CPUID.12H.0:EAX",
    ),
    row(EAX.bit(1), "sgx2")
        .linux("sgx2")
        .offer(Request, Never, Never, Never)
        .needs(&[SGX1])
        .because("dynamic enclave memory; KVM passes it with sgx1", "SDM vol. 2A, CPUID.12H.0:EAX"),
    row(EAX.bit(5), "enclv-leaves").needs(&[SGX1]).because(
        "ENCLV oversubscribes enclave memory below a hypervisor; KVM leaves it out",
        "SDM vol. 2A, CPUID.12H.0:EAX",
    ),
    row(EAX.bit(6), "encls-leaves")
        .needs(&[SGX1])
        .because("ENCLS forms for oversubscription; KVM leaves them out", "SDM vol. 2A, CPUID.12H.0:EAX"),
    row(EAX.bit(7), "enclu-everifyreport2")
        .needs(&[SGX1])
        .because("checks reports of TDX guests; KVM leaves it out", "SDM vol. 2A, CPUID.12H.0:EAX"),
    row(EAX.bit(10), "sgx-eupdatesvn").linux("sgx_eupdatesvn").needs(&[SGX1]).because(
        "changes the security version of the whole package: the host's act (Linux edge)",
        "SDM vol. 2A, CPUID.12H.0:EAX",
    ),
    row(EAX.bit(11), "sgx-edeccssa")
        .linux("sgx_edeccssa")
        .offer(Request, Never, Never, Never)
        .needs(&[SGX1])
        .because("lets enclaves leave an AEX notification; KVM passes it (Linux edge)", "SDM vol. 2A, CPUID.12H.0:EAX"),
    row(EBX.bit(0), "sgx-exinfo").offer(Request, Never, Never, Never).needs(&[SGX1]).because(
        "faults inside enclaves are reported in the SSA frame; the one MISCSELECT bit that KVM passes",
        "SDM vol. 2A, CPUID.12H.0:EBX",
    ),
    row(EBX.bit(1), "miscselect-cpinfo")
        .needs(&[SGX1])
        .because("reports #CP inside enclaves; KVM masks MISCSELECT to exinfo", "SDM vol. 2A, CPUID.12H.0:EBX"),
    row(ATTRIBUTES.bit(0), "secs-attr-init").needs(&[SGX1]).because(
        "state of an enclave, set by EINIT; KVM masks it out of the attributes",
        "SDM vol. 2A, CPUID.12H.1:EAX",
    ),
    row(ATTRIBUTES.bit(1), "sgx-debug")
        .offer(Request, Never, Never, Never)
        .needs(&[SGX1])
        .because("unprivileged enclave attribute; KVM passes it", "SDM vol. 2A, CPUID.12H.1:EAX"),
    row(ATTRIBUTES.bit(2), "sgx-mode64")
        .offer(Request, Never, Never, Never)
        .needs(&[SGX1])
        .because("unprivileged enclave attribute: 64-bit enclaves; KVM passes it", "SDM vol. 2A, CPUID.12H.1:EAX"),
    row(ATTRIBUTES.bit(4), "sgx-provisionkey").offer(Request, Never, Never, Never).needs(&[SGX1]).because(
        "privileged attribute: KVM shows it to a VMM that opened the provisioning device",
        "SDM vol. 2A, CPUID.12H.1:EAX",
    ),
    row(ATTRIBUTES.bit(5), "sgx-tokenkey").offer(Request, Never, Never, Never).needs(&[SGX1]).because(
        "privileged attribute for launch enclaves; KVM passes it to a VMM that asks",
        "SDM vol. 2A, CPUID.12H.1:EAX",
    ),
    row(ATTRIBUTES.bit(6), "secs-attr-cet")
        .needs(&[SGX1])
        .because("CET inside enclaves; not among the attributes that KVM passes", "SDM vol. 2A, CPUID.12H.1:EAX"),
    row(ATTRIBUTES.bit(7), "sgx-kss").offer(Request, Never, Never, Never).needs(&[SGX1]).because(
        "key separation and sharing, an unprivileged attribute; KVM passes it",
        "SDM vol. 2A, CPUID.12H.1:EAX",
    ),
    row(ATTRIBUTES.bit(10), "sgx-aex-notify").offer(Request, Never, Never, Never).needs(&[SGX1]).because(
        "enclaves learn of asynchronous exits; KVM passes it as an unprivileged attribute",
        "SDM vol. 2A, CPUID.12H.1:EAX",
    ),
    row(XFRM.bit(0), "xfrm-x87")
        .relation(Derived)
        .offer(Request, Never, Never, Never)
        .because("enclave copy of XCR0 bit 0; the VMM makes it from the guest's XCR0", "SDM vol. 2A, CPUID.12H.1:ECX"),
    row(XFRM.bit(1), "xfrm-sse")
        .relation(Derived)
        .offer(Request, Never, Never, Never)
        .because("enclave copy of XCR0 bit 1; the VMM makes it from the guest's XCR0", "SDM vol. 2A, CPUID.12H.1:ECX"),
    row(XFRM.bit(2), "xfrm-avx").relation(Derived).offer(Request, Never, Never, Never).because(
        "enclave copy of the avx component, so no wider than the guest's XCR0",
        "SDM vol. 2A, CPUID.12H.1:ECX",
    ),
    row(XFRM.bit(3), "xfrm-mpx-bndregs").relation(Derived).offer(Request, Never, Never, Never).because(
        "enclave copy of the bndregs component, so no wider than the guest's XCR0",
        "SDM vol. 2A, CPUID.12H.1:ECX",
    ),
    row(XFRM.bit(4), "xfrm-mpx-bndcsr").relation(Derived).offer(Request, Never, Never, Never).because(
        "enclave copy of the bndcsr component, so no wider than the guest's XCR0",
        "SDM vol. 2A, CPUID.12H.1:ECX",
    ),
    row(XFRM.bit(5), "xfrm-avx512-opmask").relation(Derived).offer(Request, Never, Never, Never).because(
        "enclave copy of the opmask component, so no wider than the guest's XCR0",
        "SDM vol. 2A, CPUID.12H.1:ECX",
    ),
    row(XFRM.bit(6), "xfrm-avx512-zmm-hi256").relation(Derived).offer(Request, Never, Never, Never).because(
        "enclave copy of the zmm-hi256 component, so no wider than the guest's XCR0",
        "SDM vol. 2A, CPUID.12H.1:ECX",
    ),
    row(XFRM.bit(7), "xfrm-avx512-hi16-zmm").relation(Derived).offer(Request, Never, Never, Never).because(
        "enclave copy of the hi16-zmm component, so no wider than the guest's XCR0",
        "SDM vol. 2A, CPUID.12H.1:ECX",
    ),
    row(XFRM.bit(9), "xfrm-pkru").relation(Derived).offer(Request, Never, Never, Never).because(
        "enclave copy of the pkru component, so no wider than the guest's XCR0",
        "SDM vol. 2A, CPUID.12H.1:ECX",
    ),
    row(XFRM.bit(17), "xfrm-tileconfig").relation(Derived).offer(Request, Never, Never, Never).because(
        "enclave copy of the tile configuration, so no wider than the guest's XCR0",
        "SDM vol. 2A, CPUID.12H.1:ECX",
    ),
    row(XFRM.bit(18), "xfrm-tiledata")
        .relation(Derived)
        .offer(Request, Never, Never, Never)
        .because("enclave copy of the tile data, so no wider than the guest's XCR0", "SDM vol. 2A, CPUID.12H.1:ECX"),
];
