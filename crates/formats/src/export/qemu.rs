//! QEMU's `-cpu`.
//!
//! A feature that is neither added nor removed is the model's; what QEMU changes in every model under one accelerator is
//! therefore always said. Source of those: target/i386/kvm/kvm-cpu.c and target/i386/tcg/tcg-cpu.c of QEMU 10.2.

use selfsame_cpuid::{Feature, Featureset, Policy, feature};

use super::known_names::{Namer, Since};
use super::nearest::{Nearest, named, spelled};
use super::notes::{Notes, has_vmx, says_paravirtual, tellable};
use crate::models::{Model, Models, is_vmx};
use crate::qemu_line::{ACCELERATOR_OFF, ACCELERATOR_ON, KVM_ON};

/// Numbers that a line says.
const SAID: [&str; 6] =
    ["maxphysaddr", "avx10-version", "signature", "max-leaf", "max-extended-leaf", "leaf-7-max-subleaf"];

/// A line on the nearest model; `None` where the vendor has none.
pub(super) fn on_nearest(policy: &Policy, notes: &mut Notes) -> Option<String> {
    let features = |model: &Model| model.qemu_features;
    let nearest = Nearest::of(policy, Models::known(), Namer::Qemu, features, |_| true, notes)?;
    let mut words = vec![nearest.name.to_owned()];
    let signature = policy.leaves.signature();
    if nearest.model.signature != Some(signature) {
        words.extend(signature_words(policy));
    }
    words.extend(numbers(policy));
    let (added, removed) = always_said(policy, &nearest);
    words.extend(signed('+', &added));
    words.extend(signed('-', &removed));
    note_rest(policy, notes);
    Some(option(&words))
}

/// A line that leaves nothing to a model.
pub(super) fn on_base(policy: &Policy, notes: &mut Notes) -> String {
    let leaves = &policy.leaves;
    let all = named(policy, Namer::Qemu, notes);
    let mut words = vec!["base".to_owned(), format!("vendor={}", leaves.vendor_name())];
    words.extend(signature_words(policy));
    let highest = [("level", 0, 0), ("level-func7", 7, 0), ("xlevel", 0x8000_0000, 0)];
    for (name, leaf, subleaf) in highest {
        let number = leaves.get(leaf, subleaf).eax;
        if number != 0 {
            words.push(format!("{name}={number:#x}"));
        }
    }
    words.extend(numbers(policy));
    words.extend(signed('+', &all));
    if !says_paravirtual(policy) {
        notes.note(
            "paravirtual features",
            "the policy says nothing of KVM's own: base has none; add +kvmclock, +kvm-steal-time, +kvm-pv-eoi and \
             others as the hosts' kernels have them",
        );
    }
    note_rest(policy, notes);
    option(&words)
}

/// The option as a shell takes it: a vendor may have blanks.
fn option(words: &[String]) -> String {
    let argument = words.join(",");
    if argument.contains(' ') { format!("-cpu '{argument}'\n") } else { format!("-cpu {argument}\n") }
}

fn signature_words(policy: &Policy) -> [String; 3] {
    let signature = policy.leaves.signature();
    [
        format!("family={}", signature.family),
        format!("model={}", signature.model),
        format!("stepping={}", signature.stepping),
    ]
}

/// Numbers that have a property of their own.
fn numbers(policy: &Policy) -> Vec<String> {
    let mut words = Vec::new();
    let bits = policy.leaves.get(0x8000_0008, 0).eax & 0xff;
    if bits != 0 {
        words.push(format!("phys-bits={bits}"));
    }
    let version = policy.leaves.get(0x24, 0).ebx & 0xff;
    if version != 0 && feature("avx10").is_some_and(|row| policy.features().contains(row.place)) {
        words.push(format!("avx10-version={version}"));
    }
    words
}

/// What a line adds and removes, with all that an accelerator would change, and with every VMX control where the guest has
/// VMX: which of those a model has depends on its other features.
pub(super) fn always_said(policy: &Policy, nearest: &Nearest<'_>) -> (Featureset, Featureset) {
    let paravirtual = if says_paravirtual(policy) { &KVM_ON[..] } else { &[] };
    let said = ACCELERATOR_ON.iter().chain(&ACCELERATOR_OFF).chain(paravirtual);
    // What neither the policy nor the model has is named only where every version knows it.
    let is_old_control = |row: &&Feature| is_vmx(row.place) && Namer::Qemu.feature(row) == Since::Always;
    let old_controls = tellable().filter(|row| has_vmx(policy) && is_old_control(row));
    let said: Featureset = said.filter_map(|name| feature(name)).chain(old_controls).map(|row| row.place).collect();
    let controls: Featureset = nearest.all.iter().filter(|place| is_vmx(*place)).collect();
    (nearest.added | (said & nearest.all) | controls, nearest.removed | (said - nearest.all))
}

pub(super) fn signed(sign: char, set: &Featureset) -> impl Iterator<Item = String> + '_ {
    spelled(set, Namer::Qemu).map(move |name| format!("{sign}{name}"))
}

fn note_rest(policy: &Policy, notes: &mut Notes) {
    notes.numbers(policy, &SAID, "no property of -cpu: QEMU has its own, or with a switch such as pmu=on each host's");
    if let Some(topology) = policy.topology {
        let counts = topology.to_string().replace(' ', ",");
        notes.note("topology", format!("goes beside -cpu: -smp {counts}"));
    }
}
