//! The feature table holds against dumps of real CPUs: what they set has a name, and what they have, its prerequisites.
#![expect(clippy::panic, reason = "a helper that panics is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};

use selfsame_cpuid::{FEATURES, Featureset, Place, Relation, VALUES, Word};

mod table_instlatx64;
mod table_reference;

use table_instlatx64::{Dump, dumps};
use table_reference::{assert_all_listed, named};

/// Bits that dumps set and the table does not name, and what is known of each.
const UNNAMED: [(&str, &str); 0] = [];

/// Leaves that dumps have, below their highest leaf, and that no policy holds.
const OUTSIDE: [(&str, &str); 0] = [];

/// The bits that have a row, of their own or within a value.
fn known() -> Vec<u32> {
    let mut words: Vec<u32> = Word::all().map(|_| 0).collect();
    let features = FEATURES.iter().map(|row| (row.place.word(), row.place.mask()));
    for (word, mask) in features.chain(VALUES.iter().map(|row| (row.word, row.mask()))) {
        if let Some(known) = words.get_mut(word.index()) {
            *known |= mask;
        }
    }
    words
}

/// The bits that a dump sets and the table does not name.
fn unnamed<'a>(dump: &'a Dump, known: &'a [u32]) -> impl Iterator<Item = Place> + 'a {
    let per_cpu =
        dump.cpus.iter().flat_map(move |cpu| Word::all().zip(known).map(|(word, k)| (word, cpu.word(word) & !k)));
    per_cpu.flat_map(|(word, bits)| {
        (0..32).filter(move |bit| bits >> bit & 1 == 1).filter_map(move |bit| Place::new(word, bit))
    })
}

#[test]
fn every_bit_that_a_dump_sets_is_named_or_listed_as_unknown() {
    let Some(dumps) = dumps("every_bit_that_a_dump_sets_is_named_or_listed_as_unknown") else { return };
    let known = known();
    let mut found: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for dump in &dumps {
        for place in unnamed(dump, &known) {
            found.entry(place.to_string()).or_default().insert(&dump.name);
        }
    }
    for (place, names) in &found {
        let example = names.first().copied().unwrap_or_default();
        println!("unnamed: {place} set by {} dumps, for example {example}", names.len());
    }
    let listed = UNNAMED.iter().map(|row| row.0.to_owned()).collect();
    assert_all_listed("bits without a name", &found.into_keys().collect(), &listed);
}

#[test]
fn every_leaf_that_a_dump_has_is_in_the_model_or_listed() {
    let Some(dumps) = dumps("every_leaf_that_a_dump_has_is_in_the_model_or_listed") else { return };
    let found = dumps.iter().flat_map(|dump| &dump.outside).map(|leaf| format!("{leaf:08x}")).collect();
    let listed = OUTSIDE.iter().map(|row| row.0.to_owned()).collect();
    assert_all_listed("leaves outside the model", &found, &listed);
}

/// Prerequisites that real CPUs break: the feature, what it needs, the dumps, and the cause.
const BROKEN: [(&str, &str, &[&str], &str); 0] = [];

/// The prerequisites that a set of features lacks, as feature and what it needs.
fn broken(set: &Featureset) -> impl Iterator<Item = (&'static str, Place)> + '_ {
    let is_asked = |relation| !matches!(relation, Relation::Derived | Relation::Dynamic | Relation::Local);
    let rows = FEATURES.iter().filter(move |row| set.contains(row.place) && is_asked(row.relation));
    rows.flat_map(|row| row.needs.iter().filter(|&&needs| !set.contains(needs)).map(|&needs| (row.name, needs)))
}

#[test]
fn every_prerequisite_holds_on_real_cpus_but_for_listed_dumps() {
    let Some(dumps) = dumps("every_prerequisite_holds_on_real_cpus_but_for_listed_dumps") else { return };
    let mut found = BTreeSet::new();
    for dump in &dumps {
        for cpu in &dump.cpus {
            found.extend(broken(&cpu.features()).map(|(name, needs)| format!("{name} needs {needs}: {}", dump.name)));
        }
    }
    let mut listed = BTreeSet::new();
    for (name, needs, files, cause) in BROKEN {
        assert!(cause.len() > 10, "{name} needs {needs}");
        listed.extend(files.iter().map(|file| format!("{name} needs {}: {file}", named(needs).place)));
    }
    assert_all_listed("prerequisites that real CPUs break", &found, &listed);
}
