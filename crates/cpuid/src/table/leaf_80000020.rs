//! Leaf 0x80000020: AMD's control of shared resources.
//!
//! Classes of service and counters belong to the host: KVM zeroes the leaf, Xen empties it.

use super::leaf_0f::{MBM_LOCAL, MBM_TOTAL};
use super::leaf_10::CAT_L3;
use super::leaf_80000008::AMD_MBA;
use crate::feature::{Feature, row};
use crate::place::{Place, Register, Word};

const EBX: Word = Word::subleaf(0x8000_0020, 0, Register::Ebx);
const BMEC_ECX: Word = Word::subleaf(0x8000_0020, 3, Register::Ecx);

pub(crate) const BMEC: Place = EBX.bit(3);

/// The rows.
pub(crate) static ROWS: [Feature; 13] = [
    row(EBX.bit(1), "amd-l3mbe")
        .needs(&[AMD_MBA])
        .because("limits L3 external bandwidth by class of service", "APM vol. 3, app. E, Fn8000_0020_x0:EBX"),
    row(EBX.bit(2), "smba")
        .linux("smba")
        .needs(&[AMD_MBA])
        .because("limits bandwidth to slow memory by class of service", "APM vol. 3, app. E, Fn8000_0020_x0:EBX"),
    row(BMEC, "bmec").linux("bmec").needs(&[MBM_TOTAL, MBM_LOCAL]).because(
        "bandwidth counters can choose what they count (Linux edges)",
        "APM vol. 3, app. E, Fn8000_0020_x0:EBX",
    ),
    row(EBX.bit(4), "l3rr")
        .because("reserves a range of the L3 for an address range", "APM vol. 3, app. E, Fn8000_0020_x0:EBX"),
    row(EBX.bit(5), "abmc")
        .linux("abmc")
        .needs(&[MBM_TOTAL])
        .because("counters are assigned to RMIDs by hand", "APM vol. 3, app. E, Fn8000_0020_x0:EBX"),
    row(EBX.bit(6), "sdciae")
        .linux("sdciae")
        .needs(&[CAT_L3])
        .because("keeps device writes to their part of the L3 (Linux edge)", "APM vol. 3, app. E, Fn8000_0020_x0:EBX"),
    row(BMEC_ECX.bit(0), "bmec-local-reads")
        .needs(&[BMEC])
        .because("local reads can be counted", "APM vol. 3, app. E, Fn8000_0020_x3:ECX"),
    row(BMEC_ECX.bit(1), "bmec-remote-reads")
        .needs(&[BMEC])
        .because("remote reads can be counted", "APM vol. 3, app. E, Fn8000_0020_x3:ECX"),
    row(BMEC_ECX.bit(2), "bmec-local-nontemp-wr")
        .needs(&[BMEC])
        .because("local non-temporal writes can be counted", "APM vol. 3, app. E, Fn8000_0020_x3:ECX"),
    row(BMEC_ECX.bit(3), "bmec-remote-nontemp-wr")
        .needs(&[BMEC])
        .because("remote non-temporal writes can be counted", "APM vol. 3, app. E, Fn8000_0020_x3:ECX"),
    row(BMEC_ECX.bit(4), "bmec-local-slow-mem-rd")
        .needs(&[BMEC])
        .because("reads from local slow memory can be counted", "APM vol. 3, app. E, Fn8000_0020_x3:ECX"),
    row(BMEC_ECX.bit(5), "bmec-remote-slow-mem-rd")
        .needs(&[BMEC])
        .because("reads from remote slow memory can be counted", "APM vol. 3, app. E, Fn8000_0020_x3:ECX"),
    row(BMEC_ECX.bit(6), "bmec-all-dirty-victims")
        .needs(&[BMEC])
        .because("evictions of dirty lines can be counted", "APM vol. 3, app. E, Fn8000_0020_x3:ECX"),
];
