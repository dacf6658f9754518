//! Cloud Hypervisor: the argument of `--cpus`.
//!
//! It gives guests what KVM gives on the host. Its CPU profiles are compiled in, one for a generation of CPUs: none can be
//! given at run time (cloud-hypervisor pull request 8029).

use selfsame_cpuid::{Policy, feature};

use super::notes::{Notes, said};

/// The argument: all of a policy that it has words for.
pub(super) fn cpus(policy: &Policy, notes: &mut Notes) -> String {
    let mut words = Vec::new();
    if let Some(topology) = policy.topology {
        let counts =
            [topology.counts().threads, topology.counts().cores, topology.counts().dies, topology.counts().sockets];
        let boot = counts.iter().map(|&count| u64::from(count)).product::<u64>();
        words.push(format!("boot={boot}"));
        words.push(format!("topology={}", counts.map(|count| count.to_string()).join(":")));
        if topology.counts().modules > 1 {
            notes.note("modules", "Cloud Hypervisor has no word for them: multiply cores or dies by them instead");
        }
    }
    let bits = policy.leaves.get(0x8000_0008, 0).eax & 0xff;
    if bits != 0 {
        words.push(format!("max_phys_bits={bits}"));
    }
    let features = policy.features();
    let has_amx = feature("amx-tile").is_some_and(|row| features.contains(row.place));
    if has_amx {
        words.push("features=amx".to_owned());
    }
    let is_told = |name: &str| has_amx && name.starts_with("amx-");
    let untold = said(policy).filter(|row| !is_told(row.name)).count();
    notes.note(
        format!("{untold} features"),
        "guests see what each host's KVM gives: only hosts that give exactly this level are the same to them; profiles are \
         compiled in and cannot be given",
    );
    notes.numbers(policy, &["maxphysaddr"], "each host's");
    format!("--cpus {}\n", words.join(","))
}
