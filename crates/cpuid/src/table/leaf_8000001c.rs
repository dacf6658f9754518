//! Leaf 0x8000001C: lightweight profiling.
//!
//! EDX is what the CPU can, EAX what the OS has turned on. No hypervisor gives `lwp`.

use super::leaf_80000001::LWP;
use crate::feature::{Feature, Relation::*, row};
use crate::place::{Register, Word};

const EAX: Word = Word::leaf(0x8000_001c, Register::Eax);
const ECX: Word = Word::leaf(0x8000_001c, Register::Ecx);
const EDX: Word = Word::leaf(0x8000_001c, Register::Edx);

/// The rows.
pub(crate) static ROWS: [Feature; 25] = [
    row(EAX.bit(0), "os-lwp-avail")
        .relation(Dynamic)
        .because("follows XCR0 bit 62 and LWP_CFG: 0 in every dump", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(EAX.bit(1), "os-lwpval")
        .relation(Dynamic)
        .because("LWPVAL as LWP_CFG allows it at the moment", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(EAX.bit(2), "os-lwp-ire").relation(Dynamic).because(
        "instructions-retired samples as LWP_CFG allows them at the moment",
        "APM vol. 3, app. E, Fn8000_001C:EAX",
    ),
    row(EAX.bit(3), "os-lwp-bre")
        .relation(Dynamic)
        .because("branch samples as LWP_CFG allows them at the moment", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(EAX.bit(4), "os-lwp-dme")
        .relation(Dynamic)
        .because("cache-miss samples as LWP_CFG allows them at the moment", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(EAX.bit(5), "os-lwp-cnh")
        .relation(Dynamic)
        .because("clock samples as LWP_CFG allows them at the moment", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(EAX.bit(6), "os-lwp-rnh")
        .relation(Dynamic)
        .because("reference-clock samples as LWP_CFG allows them at the moment", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(EAX.bit(29), "os-lwp-cont")
        .relation(Dynamic)
        .because("continuous mode as LWP_CFG allows it at the moment", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(EAX.bit(30), "os-lwp-ptsc")
        .relation(Dynamic)
        .because("time stamps in records as LWP_CFG allows them at the moment", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(EAX.bit(31), "os-lwp-int")
        .relation(Dynamic)
        .because("overflow interrupts as LWP_CFG allows them at the moment", "APM vol. 3, app. E, Fn8000_001C:EAX"),
    row(ECX.bit(5), "lwp-data-addr")
        .needs(&[LWP])
        .because("miss samples hold the data address", "APM vol. 3, app. E, Fn8000_001C:ECX"),
    row(ECX.bit(28), "lwp-branch-predict")
        .needs(&[LWP])
        .because("branch samples can be limited by prediction", "APM vol. 3, app. E, Fn8000_001C:ECX"),
    row(ECX.bit(29), "lwp-ip-filtering")
        .needs(&[LWP])
        .because("samples can be limited by address", "APM vol. 3, app. E, Fn8000_001C:ECX"),
    row(ECX.bit(30), "lwp-cache-levels")
        .needs(&[LWP])
        .because("miss samples can be limited by cache level", "APM vol. 3, app. E, Fn8000_001C:ECX"),
    row(ECX.bit(31), "lwp-cache-latency")
        .needs(&[LWP])
        .because("miss samples can be limited by latency", "APM vol. 3, app. E, Fn8000_001C:ECX"),
    row(EDX.bit(0), "hw-lwp-avail")
        .needs(&[LWP])
        .because("repeats lwp; set on half the cores of Opteron 6300 as well", "APM vol. 3, app. E, Fn8000_001C:EDX"),
    row(EDX.bit(1), "hw-lwpval")
        .needs(&[LWP])
        .because("samples of program values by LWPVAL", "APM vol. 3, app. E, Fn8000_001C:EDX"),
    row(EDX.bit(2), "hw-lwp-ire")
        .needs(&[LWP])
        .because("samples of retired instructions", "APM vol. 3, app. E, Fn8000_001C:EDX"),
    row(EDX.bit(3), "hw-lwp-bre")
        .needs(&[LWP])
        .because("samples of retired branches", "APM vol. 3, app. E, Fn8000_001C:EDX"),
    row(EDX.bit(4), "hw-lwp-dme")
        .needs(&[LWP])
        .because("samples of data cache misses; no known CPU", "APM vol. 3, app. E, Fn8000_001C:EDX"),
    row(EDX.bit(5), "hw-lwp-cnh")
        .needs(&[LWP])
        .because("samples of clocks not halted; no known CPU", "APM vol. 3, app. E, Fn8000_001C:EDX"),
    row(EDX.bit(6), "hw-lwp-rnh")
        .needs(&[LWP])
        .because("samples of reference clocks; no known CPU", "APM vol. 3, app. E, Fn8000_001C:EDX"),
    row(EDX.bit(29), "hw-lwp-cont")
        .needs(&[LWP])
        .because("sampling without a limit, on Steamroller and Excavator", "APM vol. 3, app. E, Fn8000_001C:EDX"),
    row(EDX.bit(30), "hw-lwp-ptsc").needs(&[LWP]).because(
        "records hold the performance time stamp, on Steamroller and Excavator",
        "APM vol. 3, app. E, Fn8000_001C:EDX",
    ),
    row(EDX.bit(31), "hw-lwp-int")
        .needs(&[LWP])
        .because("interrupt when the ring buffer fills up", "APM vol. 3, app. E, Fn8000_001C:EDX"),
];
