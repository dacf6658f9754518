//! Policies of hosts that have all that topologies need.

use selfsame_cpuid::{Host, Kind, Leaves, Policy, Rule, Trims};

const INTEL: [u32; 3] = [0x756e_6547, 0x6c65_746e, 0x4965_6e69];
const AMD: [u32; 3] = [0x6874_7541, 0x444d_4163, 0x6974_6e65];

/// What the hardware says: APIC, x2APIC, SSE2 and what it needs, caches as 64 threads share them.
fn raw(vendor: [u32; 3]) -> Leaves {
    let mut raw = Leaves::new();
    let [ebx, ecx, edx] = vendor;
    let mut set = |leaf, subleaf, regs: [u32; 4]| raw.set(leaf, subleaf, regs.into()).unwrap();
    set(0, 0, [0x16, ebx, ecx, edx]);
    set(1, 0, [0x00a0_0f11, 0x1b10_0800, 1 << 21, 0x178b_fbff]);
    set(0x8000_0000, 0, [0x8000_0021, 0, 0, 0]);
    set(0x8000_0001, 0, [0x00a0_0f11, 0, if vendor == AMD { 0x0040_0002 } else { 0 }, 0x2fd3_fbff]);
    set(0x8000_0008, 0, [0x3030, 0, 0x703f, 0]);
    // A cache of data and one of code, then one at each level.
    let caches = [0x7c00_4121, 0x7c00_4122, 0x7c00_4143, 0x7c0f_c163, 0x7c0f_c183];
    for (subleaf, eax) in (0..).zip(caches) {
        set(if vendor == AMD { 0x8000_001d } else { 0x4 }, subleaf, [eax, 0x01c0_003f, 0x3f, 0]);
    }
    raw
}

/// The host with `words` as its administrator's.
pub(crate) fn host(raw: &Leaves, words: &str) -> Host {
    Host::from_hardware(raw, Kind::Kvm, &words.parse::<Trims>().unwrap())
}

pub(crate) fn intel_raw() -> Leaves {
    raw(INTEL)
}

pub(crate) fn amd_raw() -> Leaves {
    raw(AMD)
}

/// The default policy of the host on Intel.
pub(crate) fn intel() -> Policy {
    host(&intel_raw(), "x2apic").default().clone()
}

/// The default policy of the host on AMD, with leaf 0x8000001E.
pub(crate) fn amd() -> Policy {
    host(&amd_raw(), "topoext").default().clone()
}

/// What is wrong with a policy, by the subject and the rule.
pub(crate) fn faults(policy: &Policy) -> Vec<(String, Rule)> {
    let mut faults = Vec::new();
    policy.verify(|fault| faults.push((fault.what().to_string(), fault.rule())));
    faults
}

/// One fault of the topology.
pub(crate) fn topology_fault(what: &str) -> Vec<(String, Rule)> {
    vec![(what.to_owned(), Rule::Topology)]
}
