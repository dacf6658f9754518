//! KubeVirt: `spec.domain.cpu` of a VirtualMachineInstance, which libvirt's names fill.

use selfsame_cpuid::Policy;

use super::libvirt::{differences, nearest};
use super::notes::Notes;
use crate::models::Models;

/// The element on the nearest model; `None` where the vendor has none.
pub(super) fn cpu(policy: &Policy, models: &Models, notes: &mut Notes) -> Option<String> {
    let nearest = nearest(policy, models, notes)?;
    let mut text = format!("spec:\n  domain:\n    cpu:\n      model: {}\n", nearest.name);
    if let Some(topology) = policy.topology {
        let [sockets, cores, threads] = [topology.counts().sockets, topology.counts().cores, topology.counts().threads];
        text.push_str(&format!("      sockets: {sockets}\n      cores: {cores}\n      threads: {threads}\n"));
        if topology.counts().dies > 1 || topology.counts().modules > 1 {
            notes.note("topology", "KubeVirt has no dies and modules: multiply cores by them instead");
        }
    }
    let mut features = differences(&nearest).peekable();
    if features.peek().is_some() {
        text.push_str("      features:\n");
    }
    for (name, is_required) in features {
        let policy = if is_required { "require" } else { "disable" };
        text.push_str(&format!("      - name: {name}\n        policy: {policy}\n"));
    }
    notes.note("usage", "of a VirtualMachineInstance; a VirtualMachine has it under spec.template");
    notes.numbers(policy, &["signature"], "KubeVirt has no field for it: the model's, or each node's");
    Some(text)
}
