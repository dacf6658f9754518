//! Leaf 0x23: extended architectural performance monitoring.
//!
//! KVM ends its PMU at leaf 0xA and does not show this one; Xen does not model it.

use super::leaf_07_1::ARCH_PERFMON_EXT;
use crate::feature::{Feature, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::subleaf(0x23, 0, Register::Eax);
const EBX: Word = Word::subleaf(0x23, 0, Register::Ebx);
const EVENTS: Word = Word::subleaf(0x23, 3, Register::Eax);
const PEBS: Word = Word::subleaf(0x23, 4, Register::Ebx);

pub(crate) const PERFMON_EVENTS_SUBLEAF: Place = EAX.bit(3);
pub(crate) const PERFMON_PEBS_CAPS_SUBLEAF: Place = EAX.bit(4);

/// The rows.
pub(crate) static ROWS: [Feature; 27] = [
    row(EAX.bit(0), "perfmon-subleaf-0")
        .needs(&[ARCH_PERFMON_EXT])
        .because("this very subleaf; without it the rest cannot be found", "SDM vol. 2A, CPUID.23H.0:EAX"),
    row(EAX.bit(1), "perfmon-counters-subleaf")
        .needs(&[ARCH_PERFMON_EXT])
        .because("bitmaps of counters instead of the counts of leaf 0xA", "SDM vol. 2A, CPUID.23H.0:EAX"),
    row(EAX.bit(2), "perfmon-acr-subleaf")
        .needs(&[ARCH_PERFMON_EXT])
        .because("counters that reload each other; KVM keeps the MSRs from guests", "SDM vol. 2A, CPUID.23H.0:EAX"),
    row(PERFMON_EVENTS_SUBLEAF, "perfmon-events-subleaf")
        .needs(&[ARCH_PERFMON_EXT])
        .because("announces subleaf 3, the events in positive logic", "SDM vol. 2A, CPUID.23H.0:EAX"),
    row(PERFMON_PEBS_CAPS_SUBLEAF, "perfmon-pebs-caps-subleaf")
        .needs(&[ARCH_PERFMON_EXT])
        .because("announces architectural PEBS, new in Panther Lake", "SDM vol. 2A, CPUID.23H.0:EAX"),
    row(EAX.bit(5), "perfmon-pebs-subleaf")
        .needs(&[PERFMON_PEBS_CAPS_SUBLEAF])
        .because("announces the counters that architectural PEBS can sample", "SDM vol. 2A, CPUID.23H.0:EAX"),
    row(EBX.bit(0), "perfmon-unitmask2")
        .needs(&[ARCH_PERFMON_EXT])
        .because("a second unit mask in event selects; a reserved bit elsewhere", "SDM vol. 2A, CPUID.23H.0:EBX"),
    row(EBX.bit(1), "perfmon-eq")
        .needs(&[ARCH_PERFMON_EXT])
        .because("the equal flag of event selects; a reserved bit elsewhere", "SDM vol. 2A, CPUID.23H.0:EBX"),
    row(EBX.bit(2), "rdpmc-user-disable")
        .needs(&[ARCH_PERFMON_EXT])
        .because("RDPMC can be refused to user mode counter by counter", "SDM vol. 2A, CPUID.23H.0:EBX"),
    row(EVENTS.bit(0), "core-cycles-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the cycles event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(1), "insn-retired-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the instructions-retired event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(2), "ref-cycles-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the reference-cycles event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(3), "llc-refs-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the last-level reference event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(4), "llc-misses-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the last-level miss event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(5), "br-insn-ret-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the branches-retired event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(6), "br-mispr-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the mispredict event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(7), "td-slots-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the topdown slots event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(8), "td-backend-bound-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the topdown backend-bound event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(9), "td-bad-spec-evt").needs(&[PERFMON_EVENTS_SUBLEAF]).because(
        "the topdown bad-speculation event, in positive logic; P-cores of Arrow Lake on",
        "SDM vol. 2A, CPUID.23H.3:EAX",
    ),
    row(EVENTS.bit(10), "td-frontend-bound-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the topdown frontend-bound event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(EVENTS.bit(11), "td-retiring-evt")
        .needs(&[PERFMON_EVENTS_SUBLEAF])
        .because("the topdown retiring event, in positive logic", "SDM vol. 2A, CPUID.23H.3:EAX"),
    row(PEBS.bit(3), "pebs-allow-in-record")
        .needs(&[PERFMON_PEBS_CAPS_SUBLEAF])
        .because("counters may be written into PEBS records", "ISE doc 319433-059, CPUID.23H.4:EBX"),
    row(PEBS.bit(4), "pebs-counters-gp")
        .needs(&[PERFMON_PEBS_CAPS_SUBLEAF])
        .because("records can hold the general-purpose counters", "ISE doc 319433-059, CPUID.23H.4:EBX"),
    row(PEBS.bit(5), "pebs-counters-fixed")
        .needs(&[PERFMON_PEBS_CAPS_SUBLEAF])
        .because("records can hold the fixed counters", "ISE doc 319433-059, CPUID.23H.4:EBX"),
    row(PEBS.bit(6), "pebs-counters-metrics")
        .needs(&[PERFMON_PEBS_CAPS_SUBLEAF])
        .because("records can hold the topdown metrics", "ISE doc 319433-059, CPUID.23H.4:EBX"),
    row(PEBS.bit(29), "pebs-gpr")
        .needs(&[PERFMON_PEBS_CAPS_SUBLEAF])
        .because("records can hold the general registers", "ISE doc 319433-059, CPUID.23H.4:EBX"),
    row(PEBS.bit(30), "pebs-aux")
        .needs(&[PERFMON_PEBS_CAPS_SUBLEAF])
        .because("records can hold the memory access details", "ISE doc 319433-059, CPUID.23H.4:EBX"),
];
