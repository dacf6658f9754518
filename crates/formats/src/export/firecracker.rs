//! Firecracker: a custom CPU template.
//!
//! A template changes bits of what KVM gives on a host: `0` and `1` set a bit, `x` leaves it. All bits that a policy
//! decides are set; those that follow the vCPU, or another bit, are left (docs/cpu_templates of Firecracker 1.16).

use std::collections::BTreeMap;

use selfsame_cpuid::{FEATURES, Policy, Register, Relation, VALUES, Word, WordSource, feature};
use serde_json::{Value, json};

use super::notes::{Notes, has_vmx, is_paravirtual, says_paravirtual};

/// KVM_CPUID_FLAG_SIGNIFCANT_INDEX: ECX selects a subleaf.
const INDEXED: u32 = 1;

/// The template.
pub(super) fn template(policy: &Policy, notes: &mut Notes) -> String {
    let mut leaves: BTreeMap<(u32, Option<u32>), BTreeMap<Register, Bits>> = BTreeMap::new();
    let mut msrs: BTreeMap<u32, [Bits; 2]> = BTreeMap::new();
    for word in Word::all() {
        let bits = Bits { decided: decided(policy, word), set: policy.leaves.word(word) };
        match word.source() {
            WordSource::Cpuid { leaf, subleaf, register } => {
                let is_there = !policy.leaves.get(leaf, subleaf.unwrap_or(0)).is_zero() || ALWAYS.contains(&leaf);
                if bits.decided != 0 && is_there {
                    leaves.entry((leaf, subleaf)).or_default().insert(register, bits);
                }
            }
            WordSource::Msr { index: index @ (0xce | 0xcf | 0x10a), is_high } => {
                let halves = msrs.entry(index).or_default();
                if let Some(half) = halves.get_mut(usize::from(is_high)) {
                    *half = bits;
                }
            }
            WordSource::Msr { .. } => {}
        }
    }
    let has = |name| feature(name).is_some_and(|row| policy.features().contains(row.place));
    // Without its bit of CPUID a guest may not read the MSR, and KVM may not have it.
    msrs.retain(|index, _| match index {
        0xcf => has("core-capability"),
        0x10a => has("arch-capabilities"),
        _ => true,
    });
    let cpuid: Vec<Value> =
        leaves.iter().map(|((leaf, subleaf), registers)| modifier(*leaf, *subleaf, registers)).collect();
    let msr: Vec<Value> = msrs
        .iter()
        .map(|(index, [low, high])| json!({"addr": format!("{index:#x}"), "bitmap": format!("0b{}{}", high.text(), low.text())}))
        .collect();
    note_rest(policy, has_vmx(policy), notes);
    let template = json!({"cpuid_modifiers": cpuid, "msr_modifiers": msr});
    format!("{template:#}\n")
}

/// Leaves whose features a template takes away even where the policy has none of them.
const ALWAYS: [u32; 1] = [7];

/// Bits of a word that a template sets, and their values.
#[derive(Clone, Copy, Debug, Default)]
struct Bits {
    decided: u32,
    set: u32,
}

impl Bits {
    /// A digit for every bit, the highest first.
    fn text(self) -> String {
        let digit = |bit: u32| match (self.decided >> bit & 1, self.set >> bit & 1) {
            (0, _) => 'x',
            (_, 0) => '0',
            _ => '1',
        };
        (0..32).rev().map(digit).collect()
    }
}

fn modifier(leaf: u32, subleaf: Option<u32>, registers: &BTreeMap<Register, Bits>) -> Value {
    let modifiers: Vec<Value> = registers
        .iter()
        .map(|(register, bits)| json!({"register": register.name(), "bitmap": format!("0b{}", bits.text())}))
        .collect();
    json!({
        "leaf": format!("{leaf:#x}"),
        "subleaf": format!("{:#x}", subleaf.unwrap_or(0)),
        "flags": if subleaf.is_some() { INDEXED } else { 0 },
        "modifiers": modifiers,
    })
}

/// The bits of a word that a policy decides: its features and numbers, and as zeros the bits that no manual names, which a
/// newer host may have. Left are those that follow the vCPU or other bits, and the vendor, which a template cannot change.
fn decided(policy: &Policy, word: Word) -> u32 {
    let is_kvms = says_paravirtual(policy);
    let is_decided =
        |relation| matches!(relation, Relation::All | Relation::Any | Relation::Min | Relation::Max | Relation::Equal);
    let (mut decided, mut left) = (0, 0);
    for row in FEATURES.iter().filter(|row| row.place.word() == word) {
        let bits = if is_decided(row.relation) && (is_kvms || !is_paravirtual(row)) { &mut decided } else { &mut left };
        *bits |= row.place.mask();
    }
    for row in VALUES.iter().filter(|row| row.word == word) {
        let bits = if is_decided(row.relation) && !row.name.starts_with("vendor-") { &mut decided } else { &mut left };
        *bits |= row.mask();
    }
    // MSR 0xCE tells of clocks, too, of which the model names nothing.
    let is_named_whole = !matches!(word.source(), WordSource::Msr { index: 0xce, .. });
    if decided != 0 && is_named_whole { !left } else { decided }
}

fn note_rest(policy: &Policy, has_vmx: bool, notes: &mut Notes) {
    notes.note(
        "rows",
        "Firecracker refuses a row for a leaf that a host's KVM does not list: take such rows out where all hosts are so",
    );
    notes.note("normalisation", "Firecracker sets topology, caches and the brand after the template");
    if has_vmx {
        notes.note("vmx", "Firecracker runs no nested guests: what its MSRs say is left as it is");
    }
    notes.topology(policy, "Firecracker numbers its vCPUs itself: vcpu_count and smt of the machine configuration");
}
