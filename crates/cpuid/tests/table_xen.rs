//! The feature table agrees with Xen's public header and dependency table, but for the differences that are listed.
#![expect(clippy::panic, reason = "a helper that panics is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};

use selfsame_cpuid::{FEATURES, Feature, Kind, Offer, Relation, feature_at};

mod table_differences;
mod table_reference;

use table_differences::xen::{LOST_WITH, XEN_EDGES, XEN_ROWS};
use table_reference::{assert_all_listed, flattened, shared_csv};

const ATTRIBUTES: &str = "corpus/reference/xen_featureset_attributes.csv";
const DEPENDENCIES: &str = "corpus/reference/xen_feature_deps.csv";

/// What Xen's header says of a feature.
struct Attributes {
    name: String,
    word: usize,
    letters: String,
}

fn attributes(test: &str) -> Option<Vec<Attributes>> {
    let read = |fields: Vec<String>| {
        let [name, word, _, _, special, guests, rule, _] = fields.as_slice() else { panic!("{fields:?}") };
        let special = if special == "1" { "!" } else { "" };
        let rule = if rule.starts_with("accumulate") { "|" } else { "" };
        let word = word.parse().unwrap_or_else(|error| panic!("{word}: {error}"));
        Attributes { name: name.clone(), word, letters: format!("{special}{guests}{rule}") }
    };
    Some(shared_csv(test, ATTRIBUTES)?.into_iter().map(read).collect())
}

/// The edges of Xen's table as (prerequisite, dependent): the whole of MSR 0x10A, words 16 and 17, taken apart, and
/// Python's names that cannot begin with a digit put right.
fn edges(test: &str) -> Option<Vec<(String, String)>> {
    let of_msr: Vec<String> =
        attributes(test)?.into_iter().filter(|row| matches!(row.word, 16 | 17)).map(|row| row.name).collect();
    let mut edges = Vec::new();
    for fields in shared_csv(test, DEPENDENCIES)? {
        let [needs, dependent] = fields.as_slice() else { panic!("{fields:?}") };
        let plain = |name: &str| name.trim_start_matches('_').to_owned();
        if dependent.starts_with("(all MSR_ARCH_CAPS") {
            edges.extend(of_msr.iter().map(|name| (plain(needs), name.clone())));
        } else {
            edges.push((plain(needs), plain(dependent)));
        }
    }
    Some(edges)
}

fn of_xen(name: &str) -> &'static Feature {
    FEATURES.iter().find(|row| row.xen == name).unwrap_or_else(|| panic!("no row has Xen's name {name}"))
}

/// The offers to hvm, hvm-shadow and pv.
fn offers(row: &Feature) -> [Offer; 3] {
    [Kind::Hvm, Kind::HvmShadow, Kind::Pv].map(|kind| row.offer_to(kind))
}

/// What Xen's letters alone say: the offers, and whether a pool takes the bit from one member.
fn meaning(letters: &str) -> ([Offer; 3], bool) {
    let is_request = letters.contains(['a', 's', 'h']);
    let given = if is_request { Offer::Request } else { Offer::Hardware };
    let offers = match letters.trim_matches(['!', '|']).to_ascii_uppercase().as_str() {
        "A" => [given, given, given],
        "S" => [given, given, Offer::Never],
        "H" => [given, Offer::Never, Offer::Never],
        _ => [Offer::Never; 3],
    };
    (offers, letters.contains('|'))
}

fn described(row: &Feature) -> String {
    let [hvm, shadow, pv] = offers(row).map(Offer::name);
    format!("{}, {hvm} {shadow} {pv}", row.relation.name())
}

fn difference(name: &str, theirs: &str, ours: &str) -> String {
    format!("{name}: Xen says `{theirs}`, we say `{ours}`")
}

#[test]
fn every_relation_and_offer_is_xens_or_a_listed_difference() {
    let test = "every_relation_and_offer_is_xens_or_a_listed_difference";
    let Some(theirs) = attributes(test) else { return };
    let with_name = FEATURES.iter().filter(|row| !row.xen.is_empty()).count();
    assert_eq!(theirs.len(), with_name, "Xen's features and the rows with a Xen name");
    let mut differing = BTreeSet::new();
    for Attributes { name, letters, .. } in &theirs {
        let row = of_xen(name);
        // Any levels by OR where the bit may be set anywhere, and by AND elsewhere.
        let is_or = matches!(row.relation, Relation::Any) && offers(row).contains(&Offer::Anywhere);
        let is_levelled = matches!(row.relation, Relation::All | Relation::Any);
        if (offers(row), is_or) != meaning(letters) || !is_levelled {
            differing.insert(difference(name, letters, &described(row)));
        }
    }
    let listed = XEN_ROWS.iter().map(|row| difference(row.xen, row.theirs, row.ours)).collect();
    assert_all_listed("relations and offers other than Xen's", &differing, &listed);
}

#[test]
fn listed_differences_are_in_the_order_of_their_places_and_say_why() {
    assert!(XEN_ROWS.iter().map(|row| of_xen(row.xen).place).is_sorted());
    assert!(XEN_ROWS.iter().map(|row| row.why).chain(XEN_EDGES.iter().map(|edge| edge.why)).all(|why| why.len() > 10));
}

#[test]
fn every_prerequisite_of_xen_is_kept_or_a_listed_difference() {
    let test = "every_prerequisite_of_xen_is_kept_or_a_listed_difference";
    let Some(edges) = edges(test) else { return };
    let missing = edges
        .iter()
        .filter(|(needs, dependent)| !flattened(of_xen(dependent)).contains(&of_xen(needs).place))
        .map(|(needs, dependent)| format!("{dependent} needs {needs}"))
        .collect();
    let listed = XEN_EDGES.iter().map(|edge| format!("{} needs {}", edge.feature, edge.needs)).collect();
    assert_all_listed("prerequisites of Xen", &missing, &listed);

    let theirs: BTreeSet<(&str, &str)> = edges.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let ours = FEATURES.iter().filter(|row| !row.xen.is_empty());
    let beyond = ours
        .flat_map(|row| row.needs.iter().filter_map(|&needs| Some((feature_at(needs)?.xen, row.xen))))
        .filter(|edge| !edge.0.is_empty() && !theirs.contains(edge))
        .count();
    println!("prerequisites between features with Xen names: {} in Xen, {beyond} more here", theirs.len());
}

/// For each key of Xen's table, the features that Xen loses with it.
fn lost_in_xen(edges: &[(String, String)]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut lost: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (needs, dependent) in edges {
        lost.entry(needs).or_default().insert(dependent);
    }
    loop {
        let before = lost.clone();
        for all in lost.values_mut() {
            let more: Vec<&str> = all.iter().filter_map(|name| before.get(name)).flatten().copied().collect();
            all.extend(more);
        }
        if lost == before {
            return lost;
        }
    }
}

/// The features with a Xen name that are lost here with `key`.
fn lost_here(key: &str) -> BTreeSet<&'static str> {
    let place = of_xen(key).place;
    let dependents = FEATURES.iter().filter(|row| !row.xen.is_empty() && flattened(row).contains(&place));
    dependents.map(|row| row.xen).collect()
}

#[test]
fn xens_edges_flatten_to_the_numbers_of_its_generator() {
    let test = "xens_edges_flatten_to_the_numbers_of_its_generator";
    let Some(edges) = edges(test) else { return };
    let lost = lost_in_xen(&edges);
    let measured = [
        ("XSAVE", 47),
        ("AVX", 34),
        ("ARCH_CAPS", 32),
        ("FXSR", 30),
        ("SSE", 28),
        ("AVX2", 27),
        ("SSE2", 26),
        ("AVX512F", 18),
        ("PAE", 17),
        ("LM", 14),
    ];
    for (key, count) in measured {
        assert_eq!(lost.get(key).map(BTreeSet::len), Some(count), "{key}");
    }
    assert_eq!((lost.len(), lost.values().map(BTreeSet::len).sum()), (32, 335), "keys and flattened edges");
}

#[test]
fn a_key_takes_with_it_what_it_takes_in_xen_but_for_listed_differences() {
    let test = "a_key_takes_with_it_what_it_takes_in_xen_but_for_listed_differences";
    let Some(edges) = edges(test) else { return };
    let is_left_out =
        |needs: &str, dependent: &str| XEN_EDGES.iter().any(|edge| (edge.needs, edge.feature) == (needs, dependent));
    let kept_edges: Vec<_> =
        edges.iter().filter(|(needs, dependent)| !is_left_out(needs, dependent)).cloned().collect();
    let (all, kept) = (lost_in_xen(&edges), lost_in_xen(&kept_edges));

    let mut counts = BTreeSet::new();
    for (&key, theirs) in &all {
        let ours = lost_here(key);
        let stays: Vec<_> = kept.get(key).into_iter().flatten().filter(|name| !ours.contains(*name)).collect();
        assert!(stays.is_empty(), "without {key} these stay here and go in Xen: {stays:?}");
        if ours.len() != theirs.len() {
            counts.insert(format!("{key}: {} in Xen, {} here", theirs.len(), ours.len()));
        } else {
            assert!(theirs.iter().all(|name| ours.contains(name)), "{key}");
        }
    }
    let listed = LOST_WITH.iter().map(|row| format!("{}: {} in Xen, {} here", row.key, row.theirs, row.ours)).collect();
    assert_all_listed("features lost with a key", &counts, &listed);
    assert!(LOST_WITH.iter().all(|row| row.why.len() > 10));
}
