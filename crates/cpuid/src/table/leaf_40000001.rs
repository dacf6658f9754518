//! Leaf 0x40000001: what KVM offers to guests that know it.
//!
//! KVM makes all of this in software, so no host lacks it for want of hardware. A dump of hardware has none of it; an
//! offered source lists what its kernel and VMM can do.

use crate::feature::{Feature, Offer::*, row};
use crate::place::{Place, Register, Word};

const EAX: Word = Word::leaf(0x4000_0001, Register::Eax);
const EDX: Word = Word::leaf(0x4000_0001, Register::Edx);

pub(crate) const KVM_STEAL_TIME: Place = EAX.bit(5);

/// The rows.
pub(crate) static ROWS: [Feature; 19] = [
    row(EAX.bit(0), "kvmclock").offer(Anywhere, Never, Never, Never).because(
        "clock page by the old pair of MSRs; KVM still serves both pairs",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(1), "kvm-nopiodelay").aliases(&["kvm_nopiodelay"]).offer(Anywhere, Never, Never, Never).because(
        "port 0x80 delays are pointless; a hint that is true under any KVM",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(2), "kvm-mmu").aliases(&["kvm_mmu"]).offer(Anywhere, Never, Never, Never).because(
        "deprecated paging hypercalls; current KVM no longer reports it, old guests ignore its loss",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(3), "kvm-clocksource2").offer(Anywhere, Never, Never, Never).because(
        "clock page by the new pair of MSRs; usable without the old pair, so no edge",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(4), "kvm-asyncpf").aliases(&["kvm_asyncpf"]).offer(Anywhere, Never, Never, Never).because(
        "page-fault notification by MSR 0x4b564d02; without kvm-asyncpf-int no current guest uses it",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(KVM_STEAL_TIME, "kvm-steal-time").aliases(&["kvm_steal_time"]).offer(Anywhere, Never, Never, Never).because(
        "time lost to other vCPUs; KVM reports it where the host's scheduler keeps statistics",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(6), "kvm-pv-eoi")
        .aliases(&["kvm_pv_eoi"])
        .offer(Anywhere, Never, Never, Never)
        .because("end of interrupt by memory instead of an exit", "Linux, Documentation/virt/kvm/x86/cpuid.rst"),
    row(EAX.bit(7), "kvm-pv-unhalt")
        .aliases(&["kvm_pv_unhalt"])
        .offer(Anywhere, Never, Never, Never)
        .because("kicks a halted vCPU, for paravirtual spin locks", "Linux, Documentation/virt/kvm/x86/cpuid.rst"),
    row(EAX.bit(9), "kvm-pv-tlb-flush").offer(Anywhere, Never, Never, Never).needs(&[KVM_STEAL_TIME]).because(
        "flushes preempted vCPUs late; it learns of preemption by the steal-time page",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(10), "kvm-asyncpf-vmexit").offer(Anywhere, Never, Never, Never).because(
        "page-not-present notifications may reach a nested hypervisor as an exit",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(11), "kvm-pv-ipi")
        .offer(Anywhere, Never, Never, Never)
        .because("many IPIs by one hypercall", "Linux, Documentation/virt/kvm/x86/cpuid.rst"),
    row(EAX.bit(12), "kvm-poll-control")
        .aliases(&["kvm_poll_control"])
        .offer(Anywhere, Never, Never, Never)
        .because("the guest may turn the host's HLT polling off", "Linux, Documentation/virt/kvm/x86/cpuid.rst"),
    row(EAX.bit(13), "kvm-pv-sched-yield").offer(Anywhere, Never, Never, Never).because(
        "yields to a preempted vCPU by hypercall; alone of no harm",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(14), "kvm-asyncpf-int").aliases(&["kvm_asyncpf_int"]).offer(Anywhere, Never, Never, Never).because(
        "page-ready events by interrupt vector; guests since 5.9 look at this bit alone, so no edge",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(15), "kvm-msi-ext-dest-id").offer(Anywhere, Never, Never, Never).because(
        "15-bit APIC ids in MSIs; the VMM's interrupt routing, not the CPU, must know them",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(16), "kvm-hc-map-gpa-range").offer(Anywhere, Never, Never, Never).because(
        "an encrypted guest tells which pages it shares; the VMM sets the bit if it listens",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(17), "kvm-migration-control").offer(Anywhere, Never, Never, Never).because(
        "an encrypted guest says when it may migrate; the VMM sets the bit if it listens",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EAX.bit(24), "kvmclock-stable-bit").offer(Anywhere, Never, Never, Never).because(
        "clock pages agree between vCPUs, so guests skip the cross-check",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
    row(EDX.bit(0), "kvm-hint-dedicated").offer(Anywhere, Never, Never, Never).because(
        "the VMM's promise that vCPUs are never preempted; nothing in hardware stands behind it",
        "Linux, Documentation/virt/kvm/x86/cpuid.rst",
    ),
];
