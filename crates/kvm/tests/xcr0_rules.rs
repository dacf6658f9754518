//! This host's KVM as the judge of what `selfsame_xstate` takes and refuses for XCR0.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::{Write, stderr};

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_xcr, kvm_xcrs};
use selfsame_kvm::kvm_ioctls::{Kvm, VcpuFd};
use selfsame_xstate::{ComponentSet, Xcr0};

/// Asks KVM whether a vCPU can have this XCR0.
fn is_taken(vcpu: &VcpuFd, value: u64) -> bool {
    let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..kvm_xcrs::default() };
    xcrs.xcrs[0] = kvm_xcr { xcr: 0, value, ..kvm_xcr::default() };
    vcpu.set_xcrs(&xcrs).is_ok()
}

/// Every value of ten bits, and of the bits above next to some; all of twenty bits would take KVM a minute.
fn values() -> impl Iterator<Item = u64> {
    let singles = (0..64).flat_map(|bit| [1 << bit, 1 << bit | 1, 1 << bit | 7]);
    let above = (0..1 << 4).flat_map(|amx| [1, 3, 7, 0xE7, 0x2E7].map(|low| amx << 16 | low));
    (0..1 << 10).chain(singles).chain(above)
}

#[test]
fn kvm_takes_and_refuses_every_xcr0_as_the_rules_say() {
    // Not `eprintln`: the harness keeps what a passing test prints.
    let skipped = |why: &str| drop(writeln!(stderr(), "SKIPPED: {why}"));
    let Ok(kvm) = Kvm::new().inspect_err(|error| skipped(&format!("/dev/kvm cannot be opened here: {error}"))) else {
        return;
    };
    let vcpu = kvm.create_vm().unwrap().create_vcpu(0).unwrap();
    if vcpu.get_xcrs().map_or(0, |xcrs| xcrs.nr_xcrs) == 0 {
        return skipped("this host has no XSAVE");
    }
    assert_eq!(vcpu.get_xcrs().unwrap().xcrs[0].value, Xcr0::RESET.bits());
    for value in values() {
        let is_legal = Xcr0::new(value, ComponentSet::EMPTY).is_ok();
        assert_eq!(is_taken(&vcpu, value), is_legal, "{value:#x} before the policy is set");
    }

    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap();
    let leaf = cpuid.as_slice().iter().find(|entry| (entry.function, entry.index) == (0xD, 0)).unwrap();
    let supported = ComponentSet::from_bits(u64::from(leaf.edx) << 32 | u64::from(leaf.eax));
    vcpu.set_cpuid2(&cpuid).unwrap();
    let mut taken = 0;
    for value in values() {
        let legal = Xcr0::new(value, supported);
        assert_eq!(is_taken(&vcpu, value), legal.is_ok(), "{value:#x} of {supported}");
        if let Ok(xcr0) = legal {
            assert_eq!(vcpu.get_xcrs().unwrap().xcrs[0].value, xcr0.bits());
            taken += 1;
        }
    }
    eprintln!("{taken} values taken of {supported}");
    assert!(taken >= 2);
}
