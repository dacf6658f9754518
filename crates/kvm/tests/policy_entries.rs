//! This host's KVM as the judge of the entries that are made of a policy.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::{Write, stderr};
use std::path::Path;

use selfsame_cpuid::{Host, Kind, Topology, Trims};
use selfsame_kvm::kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use selfsame_kvm::kvm_ioctls::Kvm;
use selfsame_kvm::{entries, offered};

/// Where a KVM that runs its guests by page tables alone (PVM) puts features of the host over those of any guest.
const OF_THE_HOST: [u32; 3] = [0x1, 0x7, 0xd];

/// Says a line where the harness cannot keep it.
fn say(what: &str) {
    let _ = writeln!(stderr(), "{what}");
}

#[test]
fn kvm_takes_the_entries_of_a_policy_and_gives_them_back() {
    let kvm = match Kvm::new() {
        Ok(kvm) => kvm,
        Err(error) => return say(&format!("SKIPPED: /dev/kvm cannot be opened here: {error}")),
    };
    let is_pvm = Path::new("/sys/module/kvm_pvm").exists();
    if is_pvm {
        say("this KVM is PVM: it gives back leaves 1, 7 and 0xd with features of the host");
    }
    let is_compared = |entry: &&kvm_cpuid_entry2| !(is_pvm && OF_THE_HOST.contains(&entry.function));

    let host = Host::from_offered(&offered(&kvm).unwrap().leaves(), Kind::Kvm, &Trims::NONE);
    let mut policy = host.default().clone();
    let topology: Topology = "cores=2,threads=2".parse().unwrap();
    policy.set_topology(Some(topology));
    let vm = kvm.create_vm().unwrap();
    // Without one a guest has no APIC, and KVM says so in leaf 1.
    vm.create_irq_chip().unwrap();
    for number in 0..topology.vcpus() {
        let given = entries(&policy, topology.apic_id(number).unwrap());
        let vcpu = vm.create_vcpu(u64::from(number)).unwrap();
        vcpu.set_cpuid2(&CpuId::from_entries(&given).unwrap()).unwrap();
        let kept = vcpu.get_cpuid2(KVM_MAX_CPUID_ENTRIES).unwrap();
        let kept: Vec<_> = kept.as_slice().iter().filter(is_compared).collect();
        assert!(kept.len() > 10);
        assert_eq!(kept, given.iter().filter(is_compared).collect::<Vec<_>>(), "vCPU {number}");
    }
}
