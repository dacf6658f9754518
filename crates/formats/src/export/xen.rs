//! What Xen's toolstacks take: `xl`'s words, and featuresets.

use std::collections::BTreeMap;

use selfsame_cpuid::{
    Feature, Featureset, Offer, Policy, Register, Relation, Signature, Vendor, WordSource, XEN_WORDS, feature,
};

use super::notes::{Notes, tellable};

/// The digits of a register that say nothing, the highest bit first.
const HOSTS: [u8; 32] = [b'x'; 32];

/// Family, model and stepping in leaf 1 EAX, without the processor type.
const SIGNATURE: u32 = 0x0fff_0fff;

/// Names that Xen 4.20 lacks.
const NEWER_NAMES: [&str; 3] = ["AVX512_BMM", "LASS", "MOVRS"];

/// A line of a domain's configuration: features that the domain must not have, and those that are not there by default.
///
/// Xen gives a new domain the host's default policy. The line takes away what the policy has not, and asks for what it
/// has on request only, or keeps as a warning.
///
/// `xl` has two languages for it, one a line. Registers say all of CPUID, the highest leaves among it; only names say what
/// is in MSR_ARCH_CAPS. Where there is nothing in it, guests do as well without its feature, and registers say that. Both have
/// a flaw: Xen makes no domain where a line names a leaf that the host has not. So a line names only leaves that the policy
/// has, which every host has then.
pub(super) fn xl(policy: &Policy, notes: &mut Notes) -> String {
    notes.topology(policy, "Xen makes the topology of its domains itself");
    let features = policy.features();
    for row in offered(policy).filter(|row| row.xen.is_empty() && features.contains(row.place)) {
        notes.note(row.name, "Xen has no name for it: each host's default");
    }
    if policy.leaves.msr(0x10a).is_some_and(|value| value != 0) {
        by_name(policy, notes)
    } else {
        by_register(policy, notes)
    }
}

/// The features that can be told, and that Xen's guests may have.
fn offered(policy: &Policy) -> impl Iterator<Item = &'static Feature> {
    tellable().filter(|row| row.offer_to(policy.kind) != Offer::Never)
}

/// What a line says of a feature, if it says anything.
fn said(policy: &Policy, features: &Featureset, row: &Feature) -> Option<bool> {
    let is_asked = row.offer_to(policy.kind) == Offer::Request || row.relation == Relation::Any;
    match features.contains(row.place) {
        true if is_asked => Some(true),
        true => None,
        false => Some(false),
    }
}

/// Names are those of Xen's public header as libxl understands them.
fn by_name(policy: &Policy, notes: &mut Notes) -> String {
    let (features, highest) = (policy.features(), Highest::of(policy));
    let mut words = vec!["host".to_owned()];
    if policy.leaves.get(1, 0).eax != 0 {
        let Signature { family, model, stepping } = policy.leaves.signature();
        words.extend([format!("family={family}"), format!("model={model}"), format!("stepping={stepping}")]);
    }
    for row in offered(policy).filter(|row| !row.xen.is_empty()) {
        let Some(is_on) = said(policy, &features, row) else { continue };
        match row.place.word().source() {
            WordSource::Cpuid { leaf, subleaf, .. } if !highest.reach(leaf, subleaf) => {
                // Without XSAVE nothing of leaf 0xD is left, and Xen gives guests with the MSR no leaf above 0x80000008.
                if leaf == 7 {
                    let leaf = format!("7.{}", subleaf.unwrap_or(0));
                    let reason =
                        format!("Xen makes no domain with a word for it on hosts without leaf {leaf}: each host's");
                    notes.note(row.name, reason);
                }
            }
            _ => {
                if NEWER_NAMES.contains(&row.xen) {
                    notes.note(row.name, "Xen 4.20 complains of the name, goes on, and gives the feature to nobody");
                }
                words.push(format!("{}={}", word(row.xen), u8::from(is_on)));
            }
        }
    }
    notes.note("names", "understood by libxl from Xen 4.19 on; older ones know fewer and other names");
    notes.numbers(policy, &[], "xl has no name for it beside those of features: each host's");
    format!("cpuid = \"{}\"\n", words.join(","))
}

/// A feature's name in libxl.
fn word(name: &str) -> String {
    match name {
        // There, `clflush` is the size of the line.
        "CLFLUSH" => "clfsh".to_owned(),
        _ => name.to_ascii_lowercase().replace('_', "-"),
    }
}

/// The digits of each register of a leaf.
type Registers = BTreeMap<(u32, Option<u32>, Register), [u8; 32]>;

/// Digits are those of `xl.cfg`: `0`, `1`, and `x` for the host's default.
fn by_register(policy: &Policy, notes: &mut Notes) -> String {
    let (features, highest) = (policy.features(), Highest::of(policy));
    let mut registers = Registers::new();
    let mut say = |leaf, subleaf, register, mask: u32, value: u32| {
        let digits = registers.entry((leaf, subleaf, register)).or_insert(HOSTS);
        for (bit, digit) in digits.iter_mut().rev().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1) {
            *digit = if value >> bit & 1 == 1 { b'1' } else { b'0' };
        }
    };
    let hidden = feature("arch-capabilities").filter(|row| features.contains(row.place));
    if let Some(row) = hidden {
        notes.note(row.name, "hidden: its msr is empty, which a line by register cannot say of hosts where it is not");
    }
    for row in offered(policy) {
        let WordSource::Cpuid { leaf, subleaf, register } = row.place.word().source() else { continue };
        let is_hidden = hidden.is_some_and(|hidden| hidden.place == row.place);
        let Some(is_on) = (if is_hidden { Some(false) } else { said(policy, &features, row) }) else { continue };
        if highest.reach(leaf, subleaf) {
            say(leaf, subleaf, register, row.place.mask(), if is_on { u32::MAX } else { 0 });
        }
    }
    if highest.basic < policy.leaves.get(0, 0).eax {
        let reason =
            format!("{:#x}: some host may lack what is behind it, which the others have to hide", highest.basic);
        notes.note("highest leaf", reason);
    }
    for (leaf, subleaf, last) in [
        (0, None, Some(highest.basic)),
        (7, Some(0), highest.leaf_7),
        (0x8000_0000, None, Some(highest.extended).filter(|last| *last != 0)),
    ] {
        if let Some(last) = last {
            say(leaf, subleaf, Register::Eax, u32::MAX, last);
        }
    }
    let signature = policy.leaves.get(1, 0).eax & SIGNATURE;
    if signature != 0 {
        say(1, None, Register::Eax, SIGNATURE, signature);
    }
    let bits = policy.leaves.get(0x8000_0008, 0).eax & 0xff;
    if bits != 0 {
        say(0x8000_0008, None, Register::Eax, 0xff, bits);
    }
    notes.numbers(policy, &["maxphysaddr"], "each host's");
    written(&registers)
}

/// Registers as `xl` takes them: `"LEAF:NAME=DIGITS,…"` for each leaf.
fn written(registers: &Registers) -> String {
    let mut leaves: Vec<(String, Vec<String>)> = Vec::new();
    for ((leaf, subleaf, register), digits) in registers {
        let leaf = subleaf.map_or(format!("{leaf:#x}"), |subleaf| format!("{leaf:#x},{subleaf:#x}"));
        let word = format!("{}={}", register.name(), String::from_utf8_lossy(digits));
        match leaves.last_mut().filter(|(last, _)| *last == leaf) {
            Some((_, words)) => words.push(word),
            None => leaves.push((leaf, vec![word])),
        }
    }
    let leaves: Vec<String> = leaves.iter().map(|(leaf, words)| format!("\"{leaf}:{}\"", words.join(","))).collect();
    format!("cpuid = [{}]\n", leaves.join(", "))
}

/// The highest leaves that every host of a policy has.
struct Highest {
    /// Below 7 where some host may lack leaf 7.
    basic: u32,
    /// The highest subleaf of leaf 7, where every host has it.
    leaf_7: Option<u32>,
    extended: u32,
}

impl Highest {
    /// A policy's own highest leaves reach no further than what all its hosts have, with one exception: x2APIC, which Xen
    /// makes anywhere, takes them to leaf 0xB. Leaf 7 is below that, and old CPUs end before it.
    fn of(policy: &Policy) -> Self {
        let eax = |leaf| policy.leaves.get(leaf, 0).eax;
        let features = policy.features();
        let has = |name| feature(name).is_some_and(|row| features.contains(row.place));
        let is_in_leaf_7 = |row: &&Feature| matches!(row.place.word().source(), WordSource::Cpuid { leaf: 7, .. });
        let is_told = selfsame_cpuid::FEATURES
            .iter()
            .filter(is_in_leaf_7)
            .any(|row| row.relation == Relation::All && features.contains(row.place));
        // Intel's CPUs have leaf 0xA since SSSE3.
        let is_late = eax(0) >= 0xd || policy.leaves.vendor() == Vendor::Intel && has("ssse3");
        let leaf_7 = (eax(0) >= 7 && (is_told || is_late)).then(|| eax(7));
        let basic = if leaf_7.is_some() { eax(0) } else { eax(0).min(6) };
        Self { basic, leaf_7, extended: eax(0x8000_0000) }
    }

    fn reach(&self, leaf: u32, subleaf: Option<u32>) -> bool {
        match leaf {
            0x8000_0000.. => leaf <= self.extended,
            7 => self.leaf_7.is_some_and(|highest| subleaf.unwrap_or(0) <= highest),
            _ => leaf <= self.basic,
        }
    }
}

/// The featureset in Xen's words, joined as the toolstack does it.
pub(super) fn words(policy: &Policy, joint: &str, notes: &mut Notes) -> String {
    let features = policy.features();
    for row in tellable().filter(|row| features.contains(row.place) && !XEN_WORDS.contains(&row.place.word())) {
        notes.note(row.name, "no word of Xen's featureset has it");
    }
    notes.numbers(policy, &[], "no part of a featureset");
    notes.topology(policy, "no part of a featureset");
    format!("{}\n", shown(policy, &features).replace(':', joint))
}

/// Xen's words as the leaves show them: bits that repeat others, or follow the guest, are part of them.
fn shown(policy: &Policy, features: &Featureset) -> String {
    let words = XEN_WORDS.map(|word| policy.leaves.word(word) & named_bits(word) | features.word(word));
    words.map(|word| format!("{word:08x}")).join(":")
}

fn named_bits(word: selfsame_cpuid::Word) -> u32 {
    selfsame_cpuid::FEATURES.iter().filter(|row| row.place.word() == word).fold(0, |bits, row| bits | row.place.mask())
}
