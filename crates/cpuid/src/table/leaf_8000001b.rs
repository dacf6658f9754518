//! Leaf 0x8000001B: what instruction-based sampling can do.
//!
//! KVM and Xen zero the leaf. Firmware may clear `ibs` and leave this leaf filled (Zen, Dali, Hygon), so no
//! row needs it.

use crate::feature::{Feature, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::leaf(0x8000_001b, Register::Eax);

pub(crate) const IBS_FLAGS: Place = EAX.bit(0);
pub(crate) const IBS_OP_SAMPLING: Place = EAX.bit(2);
pub(crate) const IBS_OP_COUNT: Place = EAX.bit(4);

/// The rows.
pub(crate) static ROWS: [Feature; 12] = [
    row(IBS_FLAGS, "ibs-flags").because(
        "the leaf is valid; meaningless without sampling, which guests do not get",
        "APM vol. 3, app. E, Fn8000_001B:EAX",
    ),
    row(EAX.bit(1), "ibs-fetch-sampling")
        .needs(&[IBS_FLAGS])
        .because("samples of instruction fetches hold host addresses", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(IBS_OP_SAMPLING, "ibs-op-sampling")
        .needs(&[IBS_FLAGS])
        .because("samples of executed operations hold host addresses", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(EAX.bit(3), "ibs-rdwr-op-counter")
        .needs(&[IBS_OP_SAMPLING])
        .because("the operation counter can be read and set", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(IBS_OP_COUNT, "ibs-op-count")
        .needs(&[IBS_OP_SAMPLING])
        .because("counts dispatched operations instead of cycles", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(EAX.bit(5), "ibs-branch-target")
        .needs(&[IBS_OP_SAMPLING])
        .because("samples tell the target of a branch", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(EAX.bit(6), "ibs-op-counters-ext")
        .needs(&[IBS_OP_COUNT])
        .because("operation counters are seven bits longer", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(EAX.bit(7), "ibs-rip-invalid-chk")
        .needs(&[IBS_OP_SAMPLING])
        .because("samples tell when their RIP is invalid", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(EAX.bit(8), "ibs-op-branch-fuse")
        .needs(&[IBS_OP_SAMPLING])
        .because("samples tell of fused branches", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(EAX.bit(9), "ibs-fetch-ctl-ext").needs(&[IBS_FLAGS]).because(
        "a second fetch control MSR; two Zen 3 parts report it with fetch sampling off",
        "APM vol. 3, app. E, Fn8000_001B:EAX",
    ),
    row(EAX.bit(10), "ibs-op-data-4")
        .needs(&[IBS_OP_SAMPLING])
        .because("a fourth data MSR, on late family 15h", "APM vol. 3, app. E, Fn8000_001B:EAX"),
    row(EAX.bit(11), "ibs-l3-miss-filter")
        .needs(&[IBS_FLAGS])
        .because("samples can be limited to L3 misses, since Zen 4", "APM vol. 3, app. E, Fn8000_001B:EAX"),
];
