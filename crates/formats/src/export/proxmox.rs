//! Proxmox VE's custom CPU models: `/etc/pve/virtual-guest/cpu-models.conf`.
//!
//! A custom model may name any flag of QEMU; only the flags of one VM are from a short list (PVE/QemuServer/CPUConfig.pm
//! of qemu-server). Its `reported-model` must be of a list of its own, which has the names that QEMU had before there were
//! versions in every release.

use selfsame_cpuid::Policy;

use super::known_names::Namer;
use super::nearest::{Nearest, is_version};
use super::notes::Notes;
use super::qemu::{always_said, signed};
use crate::models::{Model, Models};

/// A section for a policy; `None` where the vendor has no model.
pub(super) fn section(policy: &Policy, name: &str, notes: &mut Notes) -> Option<String> {
    let features = |model: &Model| model.qemu_features;
    let is_allowed = |name: &str| !is_version(name) && !LACKING.contains(&name);
    let nearest = Nearest::of(policy, Models::known(), Namer::Qemu, features, is_allowed, notes)?;
    let (added, removed) = always_said(policy, &nearest);
    let flags: Vec<String> = signed('+', &added).chain(signed('-', &removed)).collect();
    let section = section_name(name);
    let mut text = format!("cpu-model: {section}\n");
    if !flags.is_empty() {
        text.push_str(&format!("    flags {}\n", flags.join(";")));
    }
    let bits = policy.leaves.get(0x8000_0008, 0).eax & 0xff;
    if bits != 0 {
        text.push_str(&format!("    phys-bits {bits}\n"));
    }
    text.push_str(&format!("    reported-model {}\n", nearest.name));
    if nearest.model.signature != Some(policy.leaves.signature()) {
        notes.note("signature", "no setting: guests see the reported model's family, model and stepping");
    }
    notes.note(
        "usage",
        format!("goes to /etc/pve/virtual-guest/cpu-models.conf; VMs take it as `cpu: custom-{section}`"),
    );
    notes.note("enforce", "Proxmox adds it: a VM does not start on a host that lacks a flag");
    notes.numbers(policy, &["maxphysaddr", "signature"], "no setting of a CPU model: the model's, or each host's");
    notes.topology(policy, "a VM's own settings: sockets, cores; Proxmox has one die and one thread a core");
    Some(text)
}

/// Models that QEMU has and Proxmox does not let a custom model report.
const LACKING: [&str; 4] = ["Denverton", "Snowridge", "YongFeng", "n270"];

/// A section's name: letters, digits, dashes and underscores.
fn section_name(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "selfsame".to_owned() } else { name.to_owned() }
}
