//! Topologies, as they are written in policies and on the command line.

use selfsame_cpuid::Topology;

use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "topology",
    run,
    seeds,
    words: &["sockets=", "dies=", "modules=", "cores=", "threads=", " ", ",", "65535", "4096"],
    max_len_bytes: 80,
};

/// Reads the text: a topology is written back as itself, and numbers its vCPUs without a gap.
pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(topology) = text.parse::<Topology>() else { return };
    assert_eq!(topology.to_string().parse(), Ok(topology));
    for index in [0, topology.vcpus() / 2, topology.vcpus() - 1] {
        let apic_id = topology.apic_id(index).expect("a vCPU has an APIC id");
        assert_eq!(topology.index_of(apic_id), Some(index));
        assert!(apic_id <= topology.last_apic_id());
    }
    assert_eq!(topology.apic_id(topology.vcpus()), None);
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "sockets=1 cores=1 threads=1",
        "sockets=2 cores=6 threads=2",
        "sockets=2 dies=4 modules=2 cores=3 threads=2",
        "sockets=4,cores=128,threads=2",
    ];
    texts.map(Into::into).to_vec()
}
