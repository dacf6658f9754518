//! Leaf 0x8000001F: encrypted memory and encrypted guests.
//!
//! KVM shows what its SEV module was loaded with; QEMU fills the leaf for encrypted guests only. Xen empties it.

use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::leaf(0x8000_001f, Register::Eax);
const EBX: Word = Word::leaf(0x8000_001f, Register::Ebx);

pub(crate) const SME: Place = EAX.bit(0);
pub(crate) const SEV: Place = EAX.bit(1);
pub(crate) const SEV_ES: Place = EAX.bit(3);
pub(crate) const SEV_SNP: Place = EAX.bit(4);
pub(crate) const VM_PERMISSION_LEVELS: Place = EAX.bit(5);

/// The rows.
pub(crate) static ROWS: [Feature; 29] = [
    row(SME, "sme")
        .linux("sme")
        .because("memory encryption by C-bit is turned on by the host", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(SEV, "sev").linux("sev").offer(Request, Never, Never, Never).because(
        "shown by KVM with sev=1, but never with sme, so no edge; reaches guests launched encrypted",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(2), "vm-page-flush")
        .linux("vm_page_flush")
        .needs(&[SEV])
        .because("MSR by which the host flushes a guest's page", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(SEV_ES, "sev-es").linux("sev_es").offer(Request, Never, Never, Never).needs(&[SEV]).because(
        "shown by KVM with sev_es=1; reaches guests that are launched so",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(SEV_SNP, "sev-snp").linux("sev_snp").offer(Request, Never, Never, Never).needs(&[SEV_ES]).because(
        "shown by KVM with sev_snp=1 since 6.11; reaches guests that are launched so",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(VM_PERMISSION_LEVELS, "vm-permission-levels")
        .needs(&[SEV_SNP])
        .because("KVM clears the number of levels: it runs guests at one", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(6), "rpmquery")
        .needs(&[SEV_SNP])
        .because("RMPQUERY is an instruction of the encrypted guest's levels", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(7), "vmpl-sss").needs(&[VM_PERMISSION_LEVELS]).because(
        "supervisor shadow stack by permission level; KVM has one level",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(8), "snp-secure-tsc")
        .linux("snp_secure_tsc")
        .offer(Request, Never, Never, Never)
        .needs(&[SEV_SNP])
        .because(
            "TSC that the host cannot set; KVM gives it at launch since 2025",
            "APM vol. 3, app. E, Fn8000_001F:EAX",
        ),
    row(EAX.bit(9), "v-tsc-aux")
        .linux("v_tsc_aux")
        .needs(&[SEV_ES])
        .because("TSC_AUX switched by hardware; of use to the host alone", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(10), "sme-coherent").linux("sme_coherent").offer(Request, Never, Never, Never).needs(&[SEV]).because(
        "caches agree between encrypted and plain views; KVM zeroes the leaf without sev",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(11), "req-64bit-hypervisor")
        .needs(&[SEV])
        .because("encrypted guests need a 64-bit host", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(12), "restricted-injection").needs(&[SEV_ES]).because(
        "interrupts go by a doorbell page; set at launch, not by CPUID; client Zen 3 has it without SNP",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(13), "alternate-injection").needs(&[SEV_ES]).because(
        "interrupts are injected by a higher level; set at launch, not by CPUID",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(14), "debug-swap")
        .linux("debug_swap")
        .needs(&[SEV_ES])
        .because("debug registers are swapped; set at launch in SEV_FEATURES", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(15), "disallow-host-ibs").needs(&[SEV_ES]).because(
        "keeps host sampling out of a guest; set at launch in SEV_FEATURES",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(16), "virt-transparent-enc")
        .needs(&[SME])
        .because("encrypts all of a guest without its help; a host setting", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(17), "vmgexit-parameter").needs(&[SEV_ES]).because(
        "VMGEXIT parameter in the save area; set at launch in SEV_FEATURES",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(18), "virt-tom-msr").needs(&[SEV_ES]).because(
        "top of memory by MSR for encrypted guests; set at launch in SEV_FEATURES",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(19), "virt-ibs")
        .needs(&[SEV_ES])
        .because("IBS state of encrypted guests; set at launch in SEV_FEATURES", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(21), "rmpread")
        .linux("rmpread")
        .needs(&[SEV_SNP])
        .because("RMPREAD is an instruction of the host", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(23), "segmented-rmp")
        .linux("segmented_rmp")
        .needs(&[SEV_SNP])
        .because("layout of the host's page ownership table", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(24), "vmsa-reg-protection").needs(&[SEV_SNP]).because(
        "save area registers are scrambled; set at launch in SEV_FEATURES",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(25), "smt-protection")
        .needs(&[SEV_SNP])
        .because("holds the sibling idle; set at launch in SEV_FEATURES", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(27), "allowed-sev-features")
        .linux("allowed_sev_features")
        .needs(&[SEV_ES])
        .because("the host limits what a guest may turn on at launch", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EAX.bit(28), "svsm").linux("svsm").needs(&[SEV_SNP]).because(
        "MSR of the secure services page (judgement on the edge: no dump has it)",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(29), "nested-virt-snp-msr").needs(&[SEV_SNP]).because(
        "MSR forms of RMPUPDATE and PSMASH for nested hosts (judgement on the edge)",
        "APM vol. 3, app. E, Fn8000_001F:EAX",
    ),
    row(EAX.bit(30), "hv-inuse-wr-allowed")
        .linux("hv_inuse_wr_allowed")
        .needs(&[SEV_SNP])
        .because("the host may write pages in use by the hardware", "APM vol. 3, app. E, Fn8000_001F:EAX"),
    row(EBX.bit(31), "coherency-sfw-no").linux("coherency_sfw_no").because(
        "no software flush is needed when page ownership changes; the host's concern",
        "APM vol. 3, app. E, Fn8000_001F:EBX",
    ),
];
