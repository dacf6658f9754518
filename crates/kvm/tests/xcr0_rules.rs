//! This host's KVM as the judge of what `selfsame_xstate` takes and refuses for XCR0.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::io::{Write, stderr};

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_xcr, kvm_xcrs};
use selfsame_kvm::kvm_ioctls::{Kvm, VcpuFd};
use selfsame_xstate::{ComponentSet, KvmXcrs, Xcr0, kvm_set_xcrs};

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

/// A vCPU of a host with XSAVE that was given all that its KVM has, and what that is; or a loud skip.
fn machine() -> Option<(Kvm, VcpuFd, ComponentSet)> {
    // Not `eprintln`: the harness keeps what a passing test prints.
    let skipped = |why: &str| drop(writeln!(stderr(), "SKIPPED: {why}"));
    let kvm = Kvm::new().inspect_err(|error| skipped(&format!("/dev/kvm cannot be opened here: {error}"))).ok()?;
    let vcpu = kvm.create_vm().unwrap().create_vcpu(0).unwrap();
    if vcpu.get_xcrs().map_or(0, |xcrs| xcrs.nr_xcrs) == 0 {
        skipped("this host has no XSAVE");
        return None;
    }
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap();
    let leaf = cpuid.as_slice().iter().find(|entry| (entry.function, entry.index) == (0xD, 0)).unwrap();
    let supported = ComponentSet::from_halves(leaf.eax, leaf.edx);
    Some((kvm, vcpu, supported))
}

#[test]
fn kvm_takes_and_refuses_lists_of_registers_as_computed() {
    let Some((kvm, vcpu, supported)) = machine() else { return };
    vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap()).unwrap();
    let sixteen = [(0, 3); 16];
    let lists: [&[(u32, u64)]; 9] = [
        &[],
        &[(1, 0), (7, u64::MAX)],
        &[(0, 3), (0, 1)],
        &[(0, 3), (0, 4)],
        &[(1, 4), (0, 3)],
        &[(0, 4), (0, 3)],
        &[(0, 1 << 62)],
        &sixteen,
        &[(0, 3); 17],
    ];
    for (entries, flags) in lists.into_iter().flat_map(|list| [0, 1, 1 << 31].map(|flags| (list, flags))) {
        let mut xcrs = kvm_xcrs { nr_xcrs: u32::try_from(entries.len()).unwrap(), flags, ..kvm_xcrs::default() };
        for (place, &(xcr, value)) in xcrs.xcrs.iter_mut().zip(entries) {
            // What is reserved is ignored.
            *place = kvm_xcr { xcr, value, reserved: u32::MAX };
        }
        let read = || vcpu.get_xcrs().unwrap().xcrs[0].value;
        let before = read();
        let computed = kvm_set_xcrs(&KvmXcrs { entries, flags }, Some(supported));
        assert_eq!(vcpu.set_xcrs(&xcrs).is_ok(), computed.is_ok(), "{entries:?}, flags {flags:#x}");
        let after = computed.ok().flatten().map_or(before, Xcr0::bits);
        assert_eq!(read(), after, "{entries:?}, flags {flags:#x}");
    }
}

#[test]
fn kvm_takes_and_refuses_every_xcr0_as_the_rules_say() {
    let Some((kvm, vcpu, supported)) = machine() else { return };
    assert_eq!(vcpu.get_xcrs().unwrap().xcrs[0].value, Xcr0::RESET.bits());
    for value in values() {
        let is_legal = Xcr0::new(value, ComponentSet::EMPTY).is_ok();
        assert_eq!(is_taken(&vcpu, value), is_legal, "{value:#x} before the policy is set");
    }

    vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap()).unwrap();
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
