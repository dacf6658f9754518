//! libvirt's `<cpu>`.

use selfsame_cpuid::{Feature, Featureset, Policy, feature_at};

use super::known_names::{Namer, Since};
use super::nearest::{Nearest, spelled};
use super::notes::{Notes, has_vmx, is_paravirtual, tellable};
use crate::models::{Model, Models, is_vmx};

/// The tag of every definition.
pub(super) const OPENING: &str = "<cpu mode='custom' match='exact' check='full'>";

/// A definition on the nearest model; `None` where the vendor has none.
pub(super) fn on_nearest(policy: &Policy, name: &str, models: &Models, notes: &mut Notes) -> Option<String> {
    let nearest = nearest(policy, models, notes)?;
    Some(element(policy, name, models, &nearest, &nearest.added, &nearest.removed, notes))
}

/// The same with every feature named: what the policy has, and what it has not of all that libvirt can name.
///
/// Of those that the policy has not, only features that the oldest measured libvirt knows, or that the model has, are
/// named: more would need a newer libvirt for nothing.
pub(super) fn raw(policy: &Policy, name: &str, models: &Models, notes: &mut Notes) -> Option<String> {
    let nearest = nearest(policy, models, notes)?;
    let has_vmx = has_vmx(policy);
    let is_old = |row: &&Feature| {
        Namer::Libvirt.feature(row) == Since::Always && !is_paravirtual(row) && (has_vmx || !is_vmx(row.place))
    };
    let old: Featureset = tellable().filter(is_old).map(|row| row.place).collect();
    let removed = (old - nearest.all) | nearest.removed;
    Some(element(policy, name, models, &nearest, &nearest.all, &removed, notes))
}

/// The nearest of libvirt's models.
pub(super) fn nearest<'m>(policy: &Policy, models: &'m Models, notes: &mut Notes) -> Option<Nearest<'m>> {
    let features = |model: &Model| model.features;
    let nearest = Nearest::of(policy, models, Namer::Libvirt, features, |_| true, notes)?;
    if nearest.model.signature != Some(policy.leaves.signature()) {
        let model = nearest.model.signature.map_or_else(|| "QEMU's".to_owned(), |signature| signature.to_string());
        notes.note("signature", format!("libvirt gives the model's, {model}, not {}", policy.leaves.signature()));
    }
    Some(nearest)
}

fn element(
    policy: &Policy,
    name: &str,
    models: &Models,
    nearest: &Nearest<'_>,
    required: &Featureset,
    disabled: &Featureset,
    notes: &mut Notes,
) -> String {
    let mut lines = vec![
        // A comment ends at two hyphens.
        format!("<!-- {} -->", escaped(name).replace("--", "- -")),
        OPENING.to_owned(),
        format!("  <model fallback='forbid'>{}</model>", escaped(nearest.name)),
    ];
    match VENDORS.iter().find(|vendor| models.vendor(vendor).is_some_and(|bytes| Some(bytes) == nearest.model.vendor)) {
        Some(vendor) => lines.push(format!("  <vendor>{vendor}</vendor>")),
        None => {
            notes.note("vendor", "libvirt 11.3 has no name for it: it does not check that a host is of this vendor");
        }
    }
    if let Some(topology) = policy.topology {
        let [sockets, dies, cores, threads] =
            [topology.counts().sockets, topology.counts().dies, topology.counts().cores, topology.counts().threads];
        lines.push(format!("  <topology sockets='{sockets}' dies='{dies}' cores='{cores}' threads='{threads}'/>"));
        if topology.counts().modules > 1 {
            notes.note("modules", "libvirt has no word for them on x86: multiply cores or dies by them instead");
        }
    }
    let bits = policy.leaves.get(0x8000_0008, 0).eax & 0xff;
    if bits != 0 {
        lines.push(format!("  <maxphysaddr mode='emulate' bits='{bits}'/>"));
    }
    let policies = [(required, "require"), (disabled, "disable")];
    let mut features: Vec<(&Feature, &str)> = policies
        .iter()
        .flat_map(|(set, policy)| set.iter().filter_map(feature_at).map(move |row| (row, *policy)))
        .collect();
    features.sort_by_key(|(row, _)| row.place);
    for (row, policy) in features {
        lines.push(format!("  <feature policy='{policy}' name='{}'/>", Namer::Libvirt.spelling(row)));
    }
    lines.push("</cpu>\n".to_owned());
    let reason = "no element of <cpu>: the model's, or with <feature> elements of the domain each host's";
    notes.numbers(policy, &["maxphysaddr", "signature"], reason);
    lines.join("\n")
}

/// The vendors that libvirt's map names (src/cpu_map/x86_vendors.xml of 11.3).
const VENDORS: [&str; 3] = ["AMD", "Hygon", "Intel"];

fn escaped(text: &str) -> String {
    let is_plain = |c: char| !c.is_control();
    let text: String = text.chars().filter(|c| is_plain(*c)).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What a definition says beside its model: names and whether they are required.
pub(super) fn differences<'n>(nearest: &'n Nearest<'_>) -> impl Iterator<Item = (&'static str, bool)> + 'n {
    let required = spelled(&nearest.added, Namer::Libvirt).map(|name| (name, true));
    required.chain(spelled(&nearest.removed, Namer::Libvirt).map(|name| (name, false)))
}
