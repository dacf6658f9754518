//! Leaf 6: thermal and power management.

use selfsame_xstate::{Component, ComponentSet};

use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::leaf(0x6, Register::Eax);
const ECX: Word = Word::leaf(0x6, Register::Ecx);
const EDX: Word = Word::leaf(0x6, Register::Edx);

pub(crate) const ARAT: Place = EAX.bit(2);
pub(crate) const HWP: Place = EAX.bit(7);
pub(crate) const HWP_PKG_REQ: Place = EAX.bit(11);
pub(crate) const HFI: Place = EAX.bit(19);
pub(crate) const APERFMPERF: Place = ECX.bit(0);

/// The rows.
pub(crate) static ROWS: [Feature; 26] = [
    row(EAX.bit(0), "dtherm").linux("dtherm").because(
        "the sensor reads one package's temperature; KVM and Xen empty the leaf but for ARAT",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(EAX.bit(1), "ida").linux("ida").because(
        "turbo is the host's to use and tells a guest nothing that it can rely on",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(ARAT, "arat").linux("arat").offer(Made, Never, Never, Never).because(
        "KVM's APIC timer never stops; old QEMU and KVM had not yet said so on 3 of 22 machines",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(EAX.bit(4), "pln").linux("pln").because(
        "power-limit interrupts come from the package the vCPU happens to run on",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(EAX.bit(5), "ecmd")
        .because("finer duty cycles for a clock modulation MSR that guests do not have", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(6), "pts").linux("pts").because("package thermal status is the host's", "SDM vol. 2A, CPUID.06H:EAX"),
    row(HWP, "hwp").linux("hwp").because(
        "one guest's request would bind the whole core; nobody passes IA32_HWP_REQUEST to guests",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(EAX.bit(8), "hwp-notify")
        .linux("hwp_notify")
        .needs(&[HWP])
        .because("interrupts on changes of HWP limits, useless without hwp", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(9), "hwp-act-window")
        .linux("hwp_act_window")
        .needs(&[HWP])
        .because("a field of IA32_HWP_REQUEST, which guests do not have", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(10), "hwp-epp")
        .linux("hwp_epp")
        .needs(&[HWP])
        .because("a field of IA32_HWP_REQUEST, which guests do not have", "SDM vol. 2A, CPUID.06H:EAX"),
    row(HWP_PKG_REQ, "hwp-pkg-req")
        .linux("hwp_pkg_req")
        .needs(&[HWP])
        .because("a request for the whole package, all guests on it included", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(13), "hdc-base-regs").components(ComponentSet::EMPTY.with(Component::HDC)).because(
        "forces a package into idle, which is the host's to do; component 13 holds IA32_PM_CTL1",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(EAX.bit(14), "turbo-boost-3-0")
        .because("favoured cores have no meaning for a vCPU that moves", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(15), "hwp-highest-perf-change").linux("hwp_highest_perf_change").needs(&[HWP]).because(
        "says that IA32_HWP_CAPABILITIES may change, a register that guests do not have",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(EAX.bit(16), "hwp-peci-override")
        .needs(&[HWP])
        .because("the board's management controller may override HWP", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(17), "hwp-flexible")
        .needs(&[HWP])
        .because("valid bits for fields of IA32_HWP_REQUEST", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(18), "hwp-fast")
        .needs(&[HWP])
        .because("speeds up writes of a register that guests do not have", "SDM vol. 2A, CPUID.06H:EAX"),
    row(HFI, "hfi").linux("hfi").because(
        "the feedback table lies in host memory and counts host cores; KVM patches for it were not merged",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(EAX.bit(20), "hwp-ignore-idle")
        .needs(&[HWP])
        .because("HWP ignores an idle sibling's request", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(22), "hwp-ctl")
        .needs(&[HWP_PKG_REQ])
        .because("chooses whether package requests apply", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(23), "thread-director")
        .needs(&[HFI])
        .because("classes of threads in the feedback table", "SDM vol. 2A, CPUID.06H:EAX"),
    row(EAX.bit(24), "dpti").linux("dpti").because(
        "one interrupt for all thermal thresholds of one package; no dump has it yet",
        "SDM vol. 2A, CPUID.06H:EAX",
    ),
    row(APERFMPERF, "aperfmperf").linux("aperfmperf").because(
        "counts at the host's frequency; KVM leaves the bit to the VMM, judgement: stays off",
        "SDM vol. 2A, CPUID.06H:ECX",
    ),
    row(ECX.bit(3), "epb")
        .linux("epb")
        .because("a bias for the core's own power control", "SDM vol. 2A, CPUID.06H:ECX"),
    row(EDX.bit(0), "perfcap-reporting")
        .needs(&[HFI])
        .because("a column of the feedback table", "SDM vol. 2A, CPUID.06H:EDX"),
    row(EDX.bit(1), "encap-reporting")
        .needs(&[HFI])
        .because("a column of the feedback table", "SDM vol. 2A, CPUID.06H:EDX"),
];
