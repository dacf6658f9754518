//! Rules that no row can say: what depends on the model of the CPU, or on two features at once.

use crate::feature::Kind;
use crate::featureset::Featureset;
use crate::leaves::Leaves;
use crate::place::Place;
use crate::policy::Policy;
use crate::table::{
    leaf_01, leaf_06, leaf_07_0_ebx, leaf_07_0_ecx, leaf_07_0_edx, leaf_07_1, leaf_80000001, leaf_80000008,
    leaf_80000021, msr_10a,
};
use crate::vendor::{Signature, Vendor};

/// Bits that need no hardware but mean something on one vendor's CPUs only.
const VENDORS_OWN: [(Place, Owner); 7] = [
    (leaf_07_0_edx::ARCH_CAPABILITIES, Owner::Intel),
    (leaf_07_0_edx::MD_CLEAR, Owner::Intel),
    (msr_10a::FB_CLEAR, Owner::Intel),
    (msr_10a::RFDS_CLEAR, Owner::Intel),
    (msr_10a::RSBA, Owner::Intel),
    (msr_10a::RRSBA, Owner::Intel),
    (leaf_80000021::VERW_CLEAR, Owner::Amd),
];

#[derive(Clone, Copy)]
enum Owner {
    Intel,
    Amd,
}

/// Takes out of `set` what is another vendor's.
pub(crate) fn keep_vendors_own(vendor: Vendor, set: &mut Featureset) {
    for (place, owner) in VENDORS_OWN {
        let is_own = match owner {
            Owner::Intel => vendor == Vendor::Intel,
            Owner::Amd => vendor.is_amd_like(),
        };
        if !is_own {
            set.remove(place);
        }
    }
}

/// Adds what KVM leaves to its VMMs to show, on every host and to every guest.
pub(crate) fn vmm_makes(kind: Kind, set: &mut Featureset) {
    if kind == Kind::Kvm {
        for place in [leaf_01::HYPERVISOR, leaf_01::TSC_DEADLINE, leaf_06::ARAT] {
            set.insert(place);
        }
    }
}

/// Adds what KVM leaves to its VMMs to show as the guest's topology has it: that a socket has several logical processors.
pub(crate) fn vmm_may_make(leaves: &Leaves, kind: Kind, set: &mut Featureset) {
    if kind == Kind::Kvm {
        set.insert(leaf_01::HT);
        if leaves.vendor().is_amd_like() {
            set.insert(leaf_80000001::CMP_LEGACY);
        }
    }
}

/// Adds to the features of AMD's hardware what it has and does not say, and Linux and Xen find out and tell their guests:
/// LFENCE serialises where it can be made to by DE_CFG, which both do (families 0x10 and 0x12 on; 0xF and 0x11 lack the MSR),
/// and null selectors clear bases from Zen 2 on.
pub(crate) fn add_unsaid(leaves: &Leaves, set: &mut Featureset) {
    if !leaves.vendor().is_amd_like() {
        return;
    }
    let Signature { family, model, .. } = leaves.signature();
    if family >= 0x10 && family != 0x11 {
        set.insert(leaf_80000021::LFENCE_ALWAYS_SERIALIZING);
    }
    if family == 0x17 && model >= 0x30 {
        set.insert(leaf_80000021::NULL_SEL_CLR_BASE);
    }
}

/// What KVM emulates for AMD guests in MSR 0x10A: immunities that all of AMD's CPUs have (kvm_get_arch_capabilities).
const IMMUNE_AMD: [Place; 7] = [
    leaf_07_0_edx::ARCH_CAPABILITIES,
    msr_10a::RDCTL_NO,
    msr_10a::SKIP_L1DFL_VMENTRY,
    msr_10a::MDS_NO,
    msr_10a::PSCHANGE_MC_NO,
    msr_10a::RFDS_NO,
    msr_10a::ITS_NO,
];

/// What KVM makes and withholds on one vendor's CPUs only, in both policies of a host whose hardware has `host`.
fn adjust_kvm(leaves: &Leaves, host: &Featureset, set: &mut Featureset) {
    if leaves.vendor().is_amd_like() {
        adjust_kvm_on_amd(leaves, host, set);
    } else {
        adjust_kvm_on_intel(leaves, host, set);
    }
}

/// KVM tells Intel's guests of their controls by AMD's bits as well (kvm_set_cpu_caps of Linux 6.13).
fn adjust_kvm_on_intel(leaves: &Leaves, host: &Featureset, set: &mut Featureset) {
    for (intel, amd) in [
        (leaf_07_0_edx::SPEC_CTRL, leaf_80000008::IBPB),
        (leaf_07_0_edx::SPEC_CTRL, leaf_80000008::IBRS),
        (leaf_07_0_edx::STIBP, leaf_80000008::AMD_STIBP),
        (leaf_07_0_edx::SSBD, leaf_80000008::AMD_SSBD),
        (msr_10a::SSB_NO, leaf_80000008::AMD_NO_SSB),
    ] {
        if host.contains(intel) {
            set.insert(amd);
        }
    }
    let (vendor, signature) = (leaves.vendor(), leaves.signature());
    // Linux: X86_BUG_EIBRS_PBRSB, returns predicted from before the barrier.
    let is_open_to_pbrsb = host.contains(msr_10a::IBRS_ALL)
        && !host.contains(msr_10a::PBRSB_NO)
        && !is_model(signature, &[GOLDMONT_PLUS, TREMONT, TREMONT_D, TREMONT_L]);
    if host.contains(leaf_07_0_edx::SPEC_CTRL) && !is_open_to_pbrsb {
        set.insert(leaf_80000008::AMD_IBPB_RET);
    }
    // Who sees no RTM knows that there is no TAA (kvm_get_arch_capabilities).
    if !host.contains(leaf_07_0_ebx::RTM) {
        set.remove(msr_10a::TAA_NO);
    }
    if vendor != Vendor::Intel {
        return;
    }
    // Immunities that CPUs had before there was a bit for them.
    for (no, is_affected) in [
        (msr_10a::GDS_NO, is_model(signature, &GATHER_SAMPLED)),
        (msr_10a::RFDS_NO, host.contains(msr_10a::RFDS_CLEAR) || is_model(signature, &REGISTER_SAMPLED)),
        (msr_10a::ITS_NO, is_affected_by_its(signature)),
    ] {
        if !is_affected {
            set.insert(no);
        }
    }
}

const GOLDMONT_PLUS: u8 = 0x7a;
const TREMONT: u8 = 0x96;
const TREMONT_D: u8 = 0x86;
const TREMONT_L: u8 = 0x9c;

/// The models of family 6 that Linux knows to be open to gather data sampling: Skylake to Rocket Lake (cpu_vuln_blacklist).
const GATHER_SAMPLED: [u8; 13] = [0x4e, 0x55, 0x5e, 0x6a, 0x6c, 0x7e, 0x8c, 0x8d, 0x8e, 0x9e, 0xa5, 0xa6, 0xa7];

/// The models of family 6 that Linux knows to be open to register file data sampling: Atoms from Goldmont on, and hybrids with
/// them (cpu_vuln_blacklist).
const REGISTER_SAMPLED: [u8; 12] =
    [0x5c, 0x5f, GOLDMONT_PLUS, TREMONT_D, TREMONT, 0x97, 0x9a, TREMONT_L, 0xb7, 0xba, 0xbe, 0xbf];

fn is_model(signature: Signature, models: &[u8]) -> bool {
    signature.family == 6 && models.contains(&signature.model)
}

/// The CPUs that Linux knows to be open to indirect target selection (cpu_vuln_blacklist of 6.15).
fn is_affected_by_its(signature: Signature) -> bool {
    let Signature { family, model, stepping } = signature;
    let first_stepping = match model {
        // Skylake-X: Cascade Lake and Cooper Lake.
        0x55 => 6,
        // Kaby Lake: its successors.
        0x8e => 0xc,
        0x9e => 0xd,
        // Ice Lake, Tiger Lake, Comet Lake, Rocket Lake.
        0x6a | 0x6c | 0x7e | 0x8c | 0x8d | 0xa5 | 0xa6 | 0xa7 => 0,
        _ => return false,
    };
    family == 6 && stepping >= first_stepping
}

fn adjust_kvm_on_amd(leaves: &Leaves, host: &Featureset, set: &mut Featureset) {
    // UMIP is emulated through an Intel control; AMD's virtual machines have it from the hardware or not at all.
    if !host.contains(leaf_07_0_ecx::UMIP) {
        set.remove(leaf_07_0_ecx::UMIP);
    }
    // SVM has no support for these yet (svm_set_cpu_caps).
    set.remove(leaf_07_0_ecx::BUS_LOCK_DETECT);
    set.remove(leaf_07_1::MSR_IMM);
    // Intel's IBPB covers returns, AMD's by a bit of its own (kvm_set_cpu_caps of Linux 6.13).
    let spec_ctrl = [leaf_80000008::IBPB, leaf_80000008::AMD_IBPB_RET, leaf_80000008::IBRS];
    if spec_ctrl.iter().all(|&place| host.contains(place)) {
        set.insert(leaf_07_0_edx::SPEC_CTRL);
    }
    if host.contains(leaf_80000008::AMD_STIBP) {
        set.insert(leaf_07_0_edx::STIBP);
    }
    if host.contains(leaf_80000008::AMD_SSBD) {
        set.insert(leaf_07_0_edx::SSBD);
    }
    // VIRT_SSBD stands for either way to disable store bypass: SPEC_CTRL or LS_CFG (svm_set_cpu_caps).
    if has_ls_cfg_ssbd(leaves) || host.contains(leaf_80000008::AMD_SSBD) {
        set.insert(leaf_80000008::VIRT_SSBD);
    }
    // KVM shows leaf 0x80000021 where the CPU has leaf 0x8000001D, for which QEMU asks blindly then: from family 0x15 on
    // (__do_cpuid_func, case 0x80000000).
    if leaves.signature().family >= 0x15 {
        set.insert(leaf_80000021::NO_SMM_CTL_MSR);
    } else {
        set.remove(leaf_80000021::LFENCE_ALWAYS_SERIALIZING);
    }
}

/// Whether store bypass can be disabled in LS_CFG, as in families 0x15 to 0x18 (Linux, bsp_init_amd; Xen, amd_init_ssbd).
fn has_ls_cfg_ssbd(leaves: &Leaves) -> bool {
    leaves.vendor().is_amd_like() && (0x15..=0x18).contains(&leaves.signature().family)
}

/// What Xen adjusts in both policies of a host whose hardware has `host`.
fn adjust_xen(leaves: &Leaves, host: &Featureset, kind: Kind, set: &mut Featureset) {
    speculation_controls(host, set);
    if kind != Kind::Pv {
        return;
    }
    // SYSENTER raises #UD in long mode, which all of Xen's PV guests run in (APM vol. 3, SYSENTER).
    if leaves.vendor().is_amd_like() {
        set.remove(leaf_01::SEP);
    }
    // Kernels of PV guests run in ring 3 like their processes, and there only BP_SPEC_REDUCE keeps the promise
    // (calculate_pv_max_policy).
    if !host.contains(leaf_80000021::SRSO_BP_SPEC_REDUCE) {
        set.remove(leaf_80000021::SRSO_USER_KERNEL_NO);
    }
}

/// Whether Xen makes VIRT_SSBD for HVM guests that have no better way to disable store bypass (amd_virt_spec_ctrl).
fn is_virt_ssbd_made(leaves: &Leaves, host: &Featureset, kind: Kind) -> bool {
    let can_be = host.contains(leaf_80000008::VIRT_SSBD) || has_ls_cfg_ssbd(leaves);
    kind != Kind::Pv && can_be && !host.contains(leaf_80000008::AMD_SSBD)
}

/// Adjusts the maximum policy of a host whose hardware has `host`.
pub(crate) fn adjust_max(leaves: &Leaves, host: &Featureset, kind: Kind, set: &mut Featureset) {
    if !kind.is_xen() {
        adjust_kvm(leaves, host, set);
        // Microcode against gather sampling counts as immunity, and no dump tells of it.
        set.insert(msr_10a::GDS_NO);
        if leaves.vendor().is_amd_like() {
            for place in IMMUNE_AMD {
                set.insert(place);
            }
            if host.contains(leaf_80000008::AMD_NO_SSB) {
                set.insert(msr_10a::SSB_NO);
            }
            // Guests of KVM before 6.13 saw it for these two alone.
            if host.contains(leaf_80000008::IBPB) && host.contains(leaf_80000008::IBRS) {
                set.insert(leaf_07_0_edx::SPEC_CTRL);
            }
        }
        return;
    }
    adjust_xen(leaves, host, kind, set);
    if kind == Kind::Pv {
        // Xen before 4.19 let PV guests see it. Those who live in spite of that may come.
        set.insert(leaf_01::X2APIC);
    } else if is_virt_ssbd_made(leaves, host, kind) || host.contains(leaf_80000008::AMD_SSBD) {
        set.insert(leaf_80000008::VIRT_SSBD);
    }
    // Where RTM works a guest may also be told that it always aborts: its XBEGIN does not fault.
    if leaves.vendor() == Vendor::Intel && set.contains(leaf_07_0_ebx::RTM) {
        set.insert(leaf_07_0_edx::RTM_ALWAYS_ABORT);
    }
}

/// Adjusts the default policy of a host whose hardware has `host`.
pub(crate) fn adjust_default(leaves: &Leaves, host: &Featureset, kind: Kind, set: &mut Featureset) {
    // What always aborts is of no use: a new guest sees one of the two, never both. Linux hides RTM from itself too.
    if host.contains(leaf_07_0_edx::RTM_ALWAYS_ABORT) {
        set.remove(leaf_07_0_ebx::RTM);
        set.remove(leaf_07_0_ebx::HLE);
    }
    if !kind.is_xen() {
        adjust_kvm(leaves, host, set);
        return;
    }
    adjust_xen(leaves, host, kind, set);
    if is_virt_ssbd_made(leaves, host, kind) {
        set.insert(leaf_80000008::VIRT_SSBD);
    } else {
        set.remove(leaf_80000008::VIRT_SSBD);
    }
    if leaves.vendor() != Vendor::Intel {
        return;
    }
    let Signature { family, model, .. } = leaves.signature();
    // Ivy Bridge clients leak what RDRAND gives, and get no microcode against it (XSA-320).
    if (family, model) == (6, 0x3a) {
        set.remove(leaf_01::RDRAND);
    }
    // Microcode against gather sampling makes CLWB slow on Skylake-X, Cascade Lake and Cooper Lake (XSA-435).
    if (family, model) == (6, 0x55) {
        set.remove(leaf_07_0_ebx::CLWB);
    }
    if !host.contains(leaf_07_0_edx::RTM_ALWAYS_ABORT) {
        set.remove(leaf_07_0_edx::RTM_ALWAYS_ABORT);
    }
}

/// Controls that Xen derives from one another, in every policy: who has IBRS in one vendor's form has STIBP, and Intel's
/// IBRS brings AMD's IBPB bit.
fn speculation_controls(host: &Featureset, set: &mut Featureset) {
    if set.contains(leaf_07_0_edx::SPEC_CTRL) {
        set.insert(leaf_07_0_edx::STIBP);
    }
    if set.contains(leaf_80000008::IBRS) {
        set.insert(leaf_80000008::AMD_STIBP);
    }
    if host.contains(leaf_07_0_edx::SPEC_CTRL) {
        set.insert(leaf_80000008::IBPB);
    }
}

/// Takes from Xen's guests the speculation controls that stand without the MSR that they are bits of. (KVM makes them
/// from the other vendor's bits, so no row of the table says it.)
pub(crate) fn settle_speculation(kind: Kind, set: &mut Featureset) {
    if !kind.is_xen() {
        return;
    }
    for (control, needs) in [
        (leaf_07_0_edx::STIBP, leaf_07_0_edx::SPEC_CTRL),
        (leaf_07_0_edx::SSBD, leaf_07_0_edx::SPEC_CTRL),
        (leaf_80000008::AMD_STIBP, leaf_80000008::IBRS),
        (leaf_80000008::AMD_SSBD, leaf_80000008::IBRS),
    ] {
        if !set.contains(needs) {
            set.remove(control);
        }
    }
}

/// Whether a set says that return predictions may be unsafe.
pub(crate) fn is_rsba_known(set: &Featureset) -> bool {
    set.contains(msr_10a::RSBA) || set.contains(msr_10a::RRSBA)
}

/// Whether a Xen guest that lacks a warning is told the same by the other of RSBA and RRSBA: it is told by one of them.
pub(crate) fn is_told_otherwise(place: Place, guest: &Policy) -> bool {
    let is_one = place == msr_10a::RSBA || place == msr_10a::RRSBA;
    is_one && guest.kind.is_xen() && is_rsba_known(&guest.features())
}

/// Tells a Xen guest of unsafe return predictions by the one bit that it can read: RRSBA where it sees IBRS_ALL, RSBA
/// where it does not. `is_unsafe` says that some host has either. Other kinds keep what they have: KVM gives these bits
/// as the host has them.
pub(crate) fn settle_rsba(is_unsafe: bool, kind: Kind, set: &mut Featureset) {
    if !kind.is_xen() || !is_unsafe || !set.contains(leaf_07_0_edx::ARCH_CAPABILITIES) {
        return;
    }
    let (right, wrong) =
        if set.contains(msr_10a::IBRS_ALL) { (msr_10a::RRSBA, msr_10a::RSBA) } else { (msr_10a::RSBA, msr_10a::RRSBA) };
    set.insert(right);
    set.remove(wrong);
}
