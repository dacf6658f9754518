//! Rules that no row can say: what depends on the model of the CPU, or on two features at once.

use crate::feature::Kind;
use crate::featureset::Featureset;
use crate::leaves::Leaves;
use crate::place::Place;
use crate::table::{
    leaf_01, leaf_06, leaf_07_0_ebx, leaf_07_0_ecx, leaf_07_0_edx, leaf_80000001, leaf_80000008, leaf_80000021, msr_10a,
};
use crate::vendor::{Signature, Vendor};

/// Bits that may be set anywhere but mean something on one vendor's CPUs only.
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

/// What KVM emulates for AMD guests in MSR 0x10A: immunities that all of AMD's CPUs have (kvm_get_arch_capabilities).
const IMMUNE_AMD: [Place; 8] = [
    leaf_07_0_edx::ARCH_CAPABILITIES,
    msr_10a::RDCTL_NO,
    msr_10a::SKIP_L1DFL_VMENTRY,
    msr_10a::MDS_NO,
    msr_10a::PSCHANGE_MC_NO,
    msr_10a::GDS_NO,
    msr_10a::RFDS_NO,
    msr_10a::ITS_NO,
];

/// What KVM makes on one vendor's CPUs only, in both policies of a host whose hardware has `host`.
fn kvm_makes(leaves: &Leaves, host: &Featureset, set: &mut Featureset) {
    if !leaves.vendor().is_amd_like() {
        // KVM tells Intel's guests of the same controls by AMD's bits as well (kvm_set_cpu_caps).
        for (intel, amd) in [
            (leaf_07_0_edx::SPEC_CTRL, leaf_80000008::IBPB),
            (leaf_07_0_edx::STIBP, leaf_80000008::AMD_STIBP),
            (leaf_07_0_edx::SSBD, leaf_80000008::AMD_SSBD),
        ] {
            if host.contains(intel) {
                set.insert(amd);
            }
        }
        return;
    }
    // UMIP is emulated through an Intel control; AMD's virtual machines have it from the hardware or not at all.
    if !host.contains(leaf_07_0_ecx::UMIP) {
        set.remove(leaf_07_0_ecx::UMIP);
    }
    // ... and AMD's guests by Intel's.
    if host.contains(leaf_80000008::IBPB) && host.contains(leaf_80000008::IBRS) {
        set.insert(leaf_07_0_edx::SPEC_CTRL);
    }
    if host.contains(leaf_80000008::AMD_STIBP) {
        set.insert(leaf_07_0_edx::STIBP);
    }
    if host.contains(leaf_80000008::AMD_SSBD) {
        set.insert(leaf_07_0_edx::SSBD);
    }
    // VIRT_SSBD stands for either way to disable store bypass: SPEC_CTRL, or LS_CFG, which families 0x15 to 0x18 have
    // (svm_set_cpu_caps, bsp_init_amd).
    let has_ls_cfg = (0x15..=0x18).contains(&leaves.signature().family);
    if has_ls_cfg || host.contains(leaf_80000008::AMD_SSBD) {
        set.insert(leaf_80000008::VIRT_SSBD);
    }
}

/// Takes SYSENTER from PV guests on AMD's CPUs, where it raises #UD in long mode, which all of Xen's PV guests run in (APM
/// vol. 3, SYSENTER).
fn withhold_sysenter(leaves: &Leaves, kind: Kind, set: &mut Featureset) {
    if kind == Kind::Pv && leaves.vendor().is_amd_like() {
        set.remove(leaf_01::SEP);
    }
}

/// Adjusts the maximum policy of a host whose hardware has `host`.
pub(crate) fn adjust_max(leaves: &Leaves, host: &Featureset, kind: Kind, set: &mut Featureset) {
    if !kind.is_xen() {
        kvm_makes(leaves, host, set);
        if leaves.vendor().is_amd_like() {
            for place in IMMUNE_AMD {
                set.insert(place);
            }
        } else if host.contains(leaf_07_0_edx::SPEC_CTRL) {
            set.insert(leaf_80000008::IBRS);
        }
        return;
    }
    speculation_controls(host, set);
    withhold_sysenter(leaves, kind, set);
    if leaves.vendor() == Vendor::Intel {
        // A guest that once saw ARCH_CAPABILITIES may come here from any other Intel host.
        set.insert(leaf_07_0_edx::ARCH_CAPABILITIES);
        // Where RTM works a guest may also be told that it always aborts: its XBEGIN does not fault.
        if set.contains(leaf_07_0_ebx::RTM) {
            set.insert(leaf_07_0_edx::RTM_ALWAYS_ABORT);
        }
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
        kvm_makes(leaves, host, set);
        return;
    }
    speculation_controls(host, set);
    withhold_sysenter(leaves, kind, set);
    if leaves.vendor() != Vendor::Intel {
        return;
    }
    let Signature { family, model, stepping } = leaves.signature();
    // SRBDS microcode made RDRAND slow on Ivy Bridge clients, and guests do well without it (XSA-320).
    if (family, model) == (6, 0x3a) {
        set.remove(leaf_01::RDRAND);
    }
    // CLWB brings data into the cache before writing it back on Skylake-X, and later microcode hides it (XSA-435).
    if (family, model) == (6, 0x55) && stepping <= 4 {
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
