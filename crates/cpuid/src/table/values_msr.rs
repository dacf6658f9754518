//! Fields of the MSRs that are no sets of features, in the order of their places.
//!
//! Only fields of compared words are here. A field may cover bits that have rows of their own where it combines bit by
//! bit (`All`, `Any`): those bits follow their row, the rest the field.

use crate::feature::{Offer::*, Relation::*};
use crate::place::Word;
use crate::value::{Value, value};

/// The rows.
pub(crate) static ROWS: [Value; 77] = [
    value("platform-info", Word::msr_low(0xce), 0, 31, Local)
        .offer(Never, Never, Never, Never)
        .because("ratios, limits and TDP of one CPU", "SDM vol. 4, PLATFORM_INFO (0CEH)"),
    value("platform-info-high", Word::msr_high(0xce), 0, 32, Local)
        .offer(Never, Never, Never, Never)
        .because("ratios, limits and TDP of one CPU", "SDM vol. 4, PLATFORM_INFO (0CEH)"),
    value("lbr-format", Word::msr_low(0x345), 0, 6, Local).offer(Never, Never, Never, Never).because(
        "KVM wants the host's exact format: equality would leave two generations without a level; 0 means none",
        "SDM vol. 4, table 2-2, 345H",
    ),
    value("pebs-traps", Word::msr_low(0x345), 6, 2, All).offer(Never, Never, Never, Never).because(
        "kinds of PEBS record; guest PEBS needs the host's own, and Xen reads 0",
        "SDM vol. 4, table 2-2, 345H",
    ),
    value("pebs-format", Word::msr_low(0x345), 8, 4, Min).offer(Never, Never, Never, Never).because(
        "layout of PEBS records; guest PEBS needs the host's own, and Xen reads 0",
        "SDM vol. 4, table 2-2, 345H",
    ),
    value("freeze-while-smm", Word::msr_low(0x345), 12, 1, All)
        .offer(Never, Never, Never, Never)
        .because("system management mode is the host's", "SDM vol. 4, table 2-2, 345H"),
    value("pebs-options", Word::msr_low(0x345), 14, 4, All).offer(Never, Never, Never, Never).because(
        "baseline, metrics, output to Processor Trace and timing of PEBS records: guest PEBS is the host's own",
        "SDM vol. 4, table 2-2, 345H",
    ),
    value("vmcs-revision", Word::msr_low(0x480), 0, 31, Local).offer(Never, Never, Never, Never).because(
        "KVM makes nested guests' VMCSs in a format of its own and says its number itself",
        "SDM vol. 3D, A.1",
    ),
    value("vmcs-size", Word::msr_high(0x480), 0, 13, Local)
        .offer(Never, Never, Never, Never)
        .because("KVM says the size of its own format; the CPU's is the host's matter", "SDM vol. 3D, A.1"),
    value("vmcs-address-width", Word::msr_high(0x480), 16, 1, Local)
        .offer(Never, Never, Never, Never)
        .because("limits VMCSs to 32-bit addresses on CPUs without long mode; KVM never does", "SDM vol. 3D, A.1"),
    value("dual-monitor", Word::msr_high(0x480), 17, 1, All)
        .offer(Never, Never, Never, Never)
        .because("a second monitor in system management mode, which is the host's", "SDM vol. 3D, A.1"),
    value("vmcs-memory-type", Word::msr_high(0x480), 18, 4, Local).offer(Never, Never, Never, Never).because(
        "write-back on every CPU, and nothing where firmware has VMX off; KVM says write-back itself",
        "SDM vol. 3D, A.1",
    ),
    value("vmx-pin-based-allowed-0", Word::msr_low(0x481), 0, 32, Derived)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that must be 1: what one host demands a hypervisor must set everywhere",
            "SDM vol. 3D, A.3.1",
        ),
    value("vmx-pin-based-allowed-1", Word::msr_high(0x481), 0, 32, Derived)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.3.1",
        ),
    value("vmx-processor-based-allowed-0", Word::msr_low(0x482), 0, 32, Derived)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that must be 1: what one host demands a hypervisor must set everywhere",
            "SDM vol. 3D, A.3.2",
        ),
    value("vmx-processor-based-allowed-1", Word::msr_high(0x482), 0, 17, Derived)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.3.2",
        ),
    value("vmx-processor-based-allowed-1-17", Word::msr_high(0x482), 17, 1, Derived)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.3.2"),
    value("vmx-processor-based-allowed-1-18", Word::msr_high(0x482), 18, 14, Derived)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.3.2",
        ),
    value("vmx-exit-allowed-0", Word::msr_low(0x483), 0, 32, Derived).offer(Hardware, Never, Never, Never).because(
        "settings that must be 1: what one host demands a hypervisor must set everywhere",
        "SDM vol. 3D, A.4.1",
    ),
    value("vmx-exit-allowed-1", Word::msr_high(0x483), 0, 24, Derived).offer(Hardware, Never, Never, Never).because(
        "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
        "SDM vol. 3D, A.4.1",
    ),
    value("vmx-exit-allowed-1-24", Word::msr_high(0x483), 24, 4, Derived)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.4.1"),
    value("vmx-exit-allowed-1-28", Word::msr_high(0x483), 28, 1, Derived).offer(Hardware, Never, Never, Never).because(
        "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
        "SDM vol. 3D, A.4.1",
    ),
    value("vmx-exit-allowed-1-29", Word::msr_high(0x483), 29, 3, Derived)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.4.1"),
    value("vmx-entry-allowed-0", Word::msr_low(0x484), 0, 32, Derived)
        .offer(Hardware, Never, Never, Never)
        .because("settings that must be 1: what one host demands a hypervisor must set everywhere", "SDM vol. 3D, A.5"),
    value("vmx-entry-allowed-1", Word::msr_high(0x484), 0, 10, Derived).offer(Hardware, Never, Never, Never).because(
        "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
        "SDM vol. 3D, A.5",
    ),
    value("vmx-entry-allowed-1-10", Word::msr_high(0x484), 10, 2, Derived)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.5"),
    value("vmx-entry-allowed-1-12", Word::msr_high(0x484), 12, 5, Derived)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.5",
        ),
    value("vmx-entry-allowed-1-17", Word::msr_high(0x484), 17, 3, Derived)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.5"),
    value("vmx-entry-allowed-1-20", Word::msr_high(0x484), 20, 1, Derived)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.5",
        ),
    value("vmx-entry-allowed-1-21", Word::msr_high(0x484), 21, 11, Derived)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.5"),
    value("vmx-timer-rate", Word::msr_low(0x485), 0, 5, Local)
        .offer(Never, Never, Never, Never)
        .because("KVM emulates the preemption timer at a rate of its own, 5, and accepts no other", "SDM vol. 3D, A.6"),
    value("vmx-pt", Word::msr_low(0x485), 14, 1, All)
        .offer(Never, Never, Never, Never)
        .because("Processor Trace in VMX operation, which KVM gives no nested hypervisor", "SDM vol. 3D, A.6"),
    value("vmx-smbase-read", Word::msr_low(0x485), 15, 1, All)
        .offer(Never, Never, Never, Never)
        .because("system management mode is the host's", "SDM vol. 3D, A.6"),
    value("vmx-cr3-targets", Word::msr_low(0x485), 16, 9, Min)
        .offer(Never, Never, Never, Never)
        .because("4 on every CPU; KVM gives 0 and refuses a larger number", "SDM vol. 3D, A.6"),
    value("vmx-max-msr-list", Word::msr_low(0x485), 25, 3, Min)
        .offer(Never, Never, Never, Never)
        .because("512 more MSRs a step; KVM gives 0, which is 512, and refuses a larger number", "SDM vol. 3D, A.6"),
    value("vmx-smm-vmxoff", Word::msr_low(0x485), 28, 1, All)
        .offer(Never, Never, Never, Never)
        .because("system management mode is the host's", "SDM vol. 3D, A.6"),
    value("vmx-mseg-revision", Word::msr_high(0x485), 0, 32, Local).offer(Never, Never, Never, Never).because(
        "of the second monitor in system management mode; KVM says 0 and accepts no other",
        "SDM vol. 3D, A.6",
    ),
    value("vmx-cr0-fixed-0", Word::msr_low(0x486), 0, 32, Any)
        .offer(Hardware, Never, Never, Never)
        .because("bits that must be 1 in VMX operation: what one host demands holds everywhere", "SDM vol. 3D, A.7"),
    value("vmx-cr0-fixed-0-high", Word::msr_high(0x486), 0, 32, Any)
        .offer(Hardware, Never, Never, Never)
        .because("bits that must be 1 in VMX operation: what one host demands holds everywhere", "SDM vol. 3D, A.7"),
    value("vmx-cr0-fixed-1", Word::msr_low(0x487), 0, 32, All)
        .offer(Hardware, Never, Never, Never)
        .because("bits that may be 1 in VMX operation; all of the low half on every CPU", "SDM vol. 3D, A.7"),
    value("vmx-cr0-fixed-1-high", Word::msr_high(0x487), 0, 32, All)
        .offer(Hardware, Never, Never, Never)
        .because("bits that may be 1 in VMX operation; none of the high half", "SDM vol. 3D, A.7"),
    value("vmx-cr4-fixed-0", Word::msr_low(0x488), 0, 32, Any)
        .offer(Hardware, Never, Never, Never)
        .because("bits that must be 1 in VMX operation: what one host demands holds everywhere", "SDM vol. 3D, A.8"),
    value("vmx-cr4-fixed-0-high", Word::msr_high(0x488), 0, 32, Any)
        .offer(Hardware, Never, Never, Never)
        .because("bits that must be 1 in VMX operation: what one host demands holds everywhere", "SDM vol. 3D, A.8"),
    value("vmx-cr4-fixed-1", Word::msr_low(0x489), 0, 32, All)
        .offer(Hardware, Never, Never, Never)
        .because("bits that may be 1 in VMX operation; KVM rebuilds it from the guest's features", "SDM vol. 3D, A.8"),
    value("vmx-cr4-fixed-1-high", Word::msr_high(0x489), 0, 32, All)
        .offer(Hardware, Never, Never, Never)
        .because("bits that may be 1 in VMX operation; KVM rebuilds it from the guest's features", "SDM vol. 3D, A.8"),
    value("vmcs-enum", Word::msr_low(0x48a), 1, 9, Min)
        .offer(Hardware, Never, Never, Never)
        .because("the highest index of a VMCS field; a hypervisor loops up to it", "SDM vol. 3D, A.9"),
    value("vmx-secondary-allowed-0", Word::msr_low(0x48b), 0, 32, Any).offer(Hardware, Never, Never, Never).because(
        "settings that must be 1: none on any CPU, as no secondary control is 1 by default",
        "SDM vol. 3D, A.3.3",
    ),
    value("vmx-secondary-allowed-1-18", Word::msr_high(0x48b), 18, 2, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.3.3"),
    value("vmx-secondary-allowed-1-21", Word::msr_high(0x48b), 21, 4, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.3.3"),
    value("vmx-secondary-allowed-1-27", Word::msr_high(0x48b), 27, 5, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.3.3"),
    value("vmx-true-pin-based-allowed-0", Word::msr_low(0x48d), 0, 32, Any)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that must be 1: what one host demands a hypervisor must set everywhere",
            "SDM vol. 3D, A.3.1",
        ),
    value("vmx-true-pin-based-allowed-1", Word::msr_high(0x48d), 0, 32, All)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.3.1",
        ),
    value("vmx-true-processor-based-allowed-0", Word::msr_low(0x48e), 0, 32, Any)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that must be 1: what one host demands a hypervisor must set everywhere",
            "SDM vol. 3D, A.3.2",
        ),
    value("vmx-true-processor-based-allowed-1", Word::msr_high(0x48e), 0, 17, All)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.3.2",
        ),
    value("vmx-true-processor-based-allowed-1-17", Word::msr_high(0x48e), 17, 1, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.3.2"),
    value("vmx-true-processor-based-allowed-1-18", Word::msr_high(0x48e), 18, 14, All)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.3.2",
        ),
    value("vmx-true-exit-allowed-0", Word::msr_low(0x48f), 0, 32, Any).offer(Hardware, Never, Never, Never).because(
        "settings that must be 1: what one host demands a hypervisor must set everywhere",
        "SDM vol. 3D, A.4.1",
    ),
    value("vmx-true-exit-allowed-1", Word::msr_high(0x48f), 0, 24, All).offer(Hardware, Never, Never, Never).because(
        "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
        "SDM vol. 3D, A.4.1",
    ),
    value("vmx-true-exit-allowed-1-24", Word::msr_high(0x48f), 24, 1, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.4.1"),
    value("vmx-true-exit-allowed-1-26", Word::msr_high(0x48f), 26, 2, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.4.1"),
    value("vmx-true-exit-allowed-1-28", Word::msr_high(0x48f), 28, 1, All)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.4.1",
        ),
    value("vmx-true-exit-allowed-1-30", Word::msr_high(0x48f), 30, 1, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.4.1"),
    value("vmx-true-entry-allowed-0", Word::msr_low(0x490), 0, 32, Any)
        .offer(Hardware, Never, Never, Never)
        .because("settings that must be 1: what one host demands a hypervisor must set everywhere", "SDM vol. 3D, A.5"),
    value("vmx-true-entry-allowed-1", Word::msr_high(0x490), 0, 10, All).offer(Hardware, Never, Never, Never).because(
        "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
        "SDM vol. 3D, A.5",
    ),
    value("vmx-true-entry-allowed-1-10", Word::msr_high(0x490), 10, 2, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.5"),
    value("vmx-true-entry-allowed-1-12", Word::msr_high(0x490), 12, 5, All)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.5",
        ),
    value("vmx-true-entry-allowed-1-17", Word::msr_high(0x490), 17, 1, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.5"),
    value("vmx-true-entry-allowed-1-19", Word::msr_high(0x490), 19, 1, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.5"),
    value("vmx-true-entry-allowed-1-20", Word::msr_high(0x490), 20, 1, All)
        .offer(Hardware, Never, Never, Never)
        .because(
            "settings that may be 1: named ones have rows, the rest is AND, so that what must be 1 may be",
            "SDM vol. 3D, A.5",
        ),
    value("vmx-true-entry-allowed-1-21", Word::msr_high(0x490), 21, 1, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.5"),
    value("vmx-true-entry-allowed-1-24", Word::msr_high(0x490), 24, 8, All)
        .offer(Never, Never, Never, Never)
        .because("settings without a name that CPUs have and KVM's nested VMX has not", "SDM vol. 3D, A.5"),
    value("vmx-functions", Word::msr_low(0x491), 0, 32, All)
        .offer(Hardware, Never, Never, Never)
        .because("one bit a VM function; EPTP switching, the only one, has a row", "SDM vol. 3D, A.11"),
    value("vmx-functions-high", Word::msr_high(0x491), 0, 32, All)
        .offer(Hardware, Never, Never, Never)
        .because("one bit a VM function; none of the high half is defined", "SDM vol. 3D, A.11"),
    value("vmx-tertiary-allowed-1", Word::msr_low(0x492), 0, 32, All).offer(Never, Never, Never, Never).because(
        "all 64 bits say what may be 1, with no half of allowed 0-settings; KVM's nested VMX has none",
        "SDM vol. 3D, A.3.4",
    ),
    value("vmx-tertiary-allowed-1-high", Word::msr_high(0x492), 0, 32, All).offer(Never, Never, Never, Never).because(
        "all 64 bits say what may be 1, with no half of allowed 0-settings; KVM's nested VMX has none",
        "SDM vol. 3D, A.3.4",
    ),
    value("vmx-exit-secondary-allowed-1", Word::msr_low(0x493), 0, 32, All).offer(Never, Never, Never, Never).because(
        "all 64 bits say what may be 1, with no half of allowed 0-settings; KVM's nested VMX has none",
        "SDM vol. 3D, A.4.2",
    ),
    value("vmx-exit-secondary-allowed-1-high", Word::msr_high(0x493), 0, 32, All)
        .offer(Never, Never, Never, Never)
        .because(
            "all 64 bits say what may be 1, with no half of allowed 0-settings; KVM's nested VMX has none",
            "SDM vol. 3D, A.4.2",
        ),
];
