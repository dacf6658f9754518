//! What Xen's toolstacks take: `xl`'s words, and featuresets.

use selfsame_cpuid::{Featureset, Offer, Policy, Relation, XEN_WORDS};

use super::notes::{Notes, tellable};

/// A line of a domain's configuration: features that the domain must not have, and those that are not there by default.
///
/// Xen gives a new domain the host's default policy; the words take away what the policy has not, and ask for what it has
/// on request only, or keeps as a warning. Names are those of Xen's public header, in lower case, with dashes, as libxl
/// understands them from Xen 4.19 on.
pub(super) fn xl(policy: &Policy, notes: &mut Notes) -> String {
    let features = policy.features();
    let mut words = vec!["host".to_owned()];
    for row in tellable().filter(|row| row.offer_to(policy.kind) != Offer::Never) {
        let has = features.contains(row.place);
        if row.xen.is_empty() {
            if has {
                notes.note(row.name, "Xen has no name for it: each host's default");
            }
            continue;
        }
        let is_asked = row.offer_to(policy.kind) == Offer::Request || row.relation == Relation::Any;
        if !has {
            words.push(format!("{}=0", word(row.xen)));
        } else if is_asked {
            words.push(format!("{}=1", word(row.xen)));
        }
    }
    let bits = policy.leaves.get(0x8000_0008, 0).eax & 0xff;
    if bits != 0 {
        notes.note(
            "maxphysaddr",
            format!(
                "libxl has no word for it; the older form has: cpuid = [\"0x80000008:eax={}{bits:08b}\"]",
                "x".repeat(24)
            ),
        );
    }
    notes.note("names", "understood by libxl from Xen 4.19 on; older ones know fewer and other names");
    notes.numbers(policy, &["maxphysaddr"], "libxl has no word for it: each host's");
    notes.topology(policy, "Xen makes the topology of its domains itself");
    format!("cpuid = \"{}\"\n", words.join(","))
}

fn word(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
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
