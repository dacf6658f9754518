//! Leaf 0x8000000A: what SVM can do.
//!
//! Xen has no names for these bits; its nested SVM (on request, with HAP) passes the few that are marked so. KVM passes more
//! than the corpus machines show, whose kernels are older: all that svm_set_cpu_caps of Linux 6.14 has with `nested=1`, and
//! QEMU gives it unasked.

use super::leaf_80000001::SVM;
use super::leaf_80000008::INVLPGB;
use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const ECX: Word = Word::leaf(0x8000_000a, Register::Ecx);
const EDX: Word = Word::leaf(0x8000_000a, Register::Edx);

pub(crate) const NPT: Place = EDX.bit(0);
pub(crate) const PAUSE_FILTER: Place = EDX.bit(10);
pub(crate) const AVIC: Place = EDX.bit(13);
pub(crate) const X2AVIC: Place = EDX.bit(18);

/// The rows.
pub(crate) static ROWS: [Feature; 28] = [
    row(ECX.bit(4), "pml").needs(&[SVM]).because(
        "page-modification logging; KVM uses it itself and gives nested guests none",
        "APM vol. 3, app. E, Fn8000_000A:ECX",
    ),
    row(ECX.bit(6), "x2avic-ext")
        .linux("x2avic_ext")
        .needs(&[X2AVIC])
        .because("x2AVIC beyond 512 vCPUs; nested AVIC does not exist", "APM vol. 3, app. E, Fn8000_000A:ECX"),
    row(NPT, "npt").linux("npt").offer(Hardware, Request, Never, Never).needs(&[SVM]).because(
        "nested paging for nested guests; kept on all four corpus machines",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(EDX.bit(1), "lbrv").linux("lbrv").offer(Hardware, Request, Never, Never).needs(&[SVM]).because(
        "LBR virtualisation, nested in KVM since 2022; Xen's nested SVM has it",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(EDX.bit(2), "svm-lock").aliases(&["svm_lock"]).linux("svm_lock").needs(&[SVM]).because(
        "locks SVM by VM_CR; dropped on all four corpus machines, neither hypervisor models the lock",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(EDX.bit(3), "nrip-save")
        .aliases(&["nrip_save"])
        .linux("nrip_save")
        .offer(Hardware, Request, Never, Never)
        .needs(&[SVM])
        .because(
            "next RIP in the VMCB; kept on all corpus machines that have it",
            "APM vol. 3, app. E, Fn8000_000A:EDX",
        ),
    row(EDX.bit(4), "tsc-scale")
        .aliases(&["tsc_scale"])
        .linux("tsc_scale")
        .offer(Hardware, Never, Never, Never)
        .needs(&[SVM])
        .because("nested TSC ratio in KVM since 2021", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(5), "vmcb-clean")
        .aliases(&["vmcb_clean"])
        .linux("vmcb_clean")
        .offer(Made, Request, Never, Never)
        .needs(&[SVM])
        .because("clean bits may be ignored, so hypervisors make it", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(6), "flushbyasid").linux("flushbyasid").offer(Made, Never, Never, Never).needs(&[SVM]).because(
        "a nested hypervisor may ask for one address space to be flushed, and KVM flushes all",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(EDX.bit(7), "decodeassists")
        .linux("decodeassists")
        .offer(Never, Request, Never, Never)
        .needs(&[SVM])
        .because("Xen's nested SVM fills in the decoded bytes, KVM's does not", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(PAUSE_FILTER, "pause-filter")
        .aliases(&["pause_filter"])
        .linux("pausefilter")
        .offer(Hardware, Request, Never, Never)
        .needs(&[SVM])
        .because(
            "PAUSE intercept counter, nested in KVM since 2022; Xen's nested SVM passes it",
            "APM vol. 3, app. E, Fn8000_000A:EDX",
        ),
    row(EDX.bit(12), "pfthreshold")
        .linux("pfthreshold")
        .offer(Hardware, Never, Never, Never)
        .needs(&[PAUSE_FILTER])
        .because("PAUSE filter threshold, nested in KVM since 2022", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(AVIC, "avic")
        .linux("avic")
        .needs(&[NPT])
        .because("KVM takes AVIC for itself and gives nested guests none", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(15), "v-vmsave-vmload")
        .linux("v_vmsave_vmload")
        .offer(Hardware, Never, Never, Never)
        .needs(&[NPT])
        .because("VMSAVE and VMLOAD without exits, nested in KVM since 2022", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(16), "vgif")
        .linux("vgif")
        .offer(Hardware, Never, Never, Never)
        .needs(&[SVM])
        .because("virtual global interrupt flag, nested in KVM since 2022", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(17), "gmet").linux("gmet").needs(&[NPT]).because(
        "execute trap for guest mode pages; nested guests get none yet",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(X2AVIC, "x2avic")
        .linux("x2avic")
        .needs(&[AVIC])
        .because("KVM takes x2AVIC for itself and gives nested guests none", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(19), "sss-check").needs(&[NPT]).because(
        "shadow-stack checks in nested tables; not passed to nested hypervisors",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(EDX.bit(20), "v-spec-ctrl").linux("v_spec_ctrl").needs(&[SVM]).because(
        "SPEC_CTRL is switched by hardware for KVM itself; nested guests get none",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(EDX.bit(21), "ro-gpt").needs(&[NPT]).because(
        "guest page tables in read-only nested pages; not passed to nested hypervisors",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(EDX.bit(23), "h-mce-override")
        .needs(&[SVM])
        .because("machine checks of guests go to the host", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(24), "tlbsync-int")
        .needs(&[SVM, INVLPGB])
        .because("TLBSYNC intercept; nothing to intercept without INVLPGB", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(25), "vnmi")
        .linux("vnmi")
        .offer(Hardware, Never, Never, Never)
        .needs(&[SVM])
        .because("virtual NMI, nested in KVM since 2023; EPYC-Genoa has it", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(26), "ibs-virt")
        .needs(&[SVM])
        .because("IBS state of guests switched by hardware; guests get no IBS", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(27), "ext-lvt-off-chg")
        .needs(&[SVM])
        .because("extended LVT offset of virtual IBS; guests get no IBS", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(28), "svme-addr-chk").linux("svme_addr_chk").offer(Made, Never, Never, Never).needs(&[SVM]).because(
        "VMRUN on a bad address exits rather than faults; KVM does so itself; EPYC-Milan has it",
        "APM vol. 3, app. E, Fn8000_000A:EDX",
    ),
    row(EDX.bit(29), "bus-lock-threshold")
        .linux("bus_lock_threshold")
        .needs(&[SVM])
        .because("bus locks counted by the host", "APM vol. 3, app. E, Fn8000_000A:EDX"),
    row(EDX.bit(30), "idle-hlt")
        .linux("idle_hlt")
        .needs(&[SVM])
        .because("HLT exit without pending events, of KVM's own use", "APM vol. 3, app. E, Fn8000_000A:EDX"),
];
