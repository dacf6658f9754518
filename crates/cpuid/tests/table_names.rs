//! The feature table names every bit as `names.csv` does, names nothing twice, and its prerequisites are whole.
#![expect(clippy::panic, reason = "a helper that panics is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};

use selfsame_cpuid::{FEATURES, Feature, Featureset, KEPT_LEAVES, Place, VALUES, feature, feature_at};

mod table_reference;

use table_reference::{assert_all_listed, flattened, shared_csv};

/// Rows of `names.csv` whose name says too little alone: their names come from x86-cpuid-db, which knows them within
/// their leaf only.
const RENAMED: [(&str, &str); 15] = [
    ("subleaf-0", "perfmon-subleaf-0"),
    ("counters-subleaf", "perfmon-counters-subleaf"),
    ("acr-subleaf", "perfmon-acr-subleaf"),
    ("events-subleaf", "perfmon-events-subleaf"),
    ("pebs-caps-subleaf", "perfmon-pebs-caps-subleaf"),
    ("pebs-subleaf", "perfmon-pebs-subleaf"),
    ("unitmask2", "perfmon-unitmask2"),
    ("eq", "perfmon-eq"),
    ("allow-in-record", "pebs-allow-in-record"),
    ("counters-gp", "pebs-counters-gp"),
    ("counters-fixed", "pebs-counters-fixed"),
    ("counters-metrics", "pebs-counters-metrics"),
    ("gpr", "pebs-gpr"),
    ("aux", "pebs-aux"),
    ("recovery", "transmeta-recovery"),
];

/// Rows that `names.csv` has not, which no project of its sources names, and the document that defines them.
const BEYOND: [(&str, &str); 16] = [
    ("amx-int8-alias", "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059"),
    ("amx-bf16-alias", "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059"),
    ("amx-complex-alias", "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059"),
    ("amx-fp16-alias", "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059"),
    ("amx-fp8", "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059"),
    ("amx-tf32", "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059"),
    ("amx-avx512", "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059"),
    ("amx-movrs", "SDM vol. 2A, CPUID.1EH.1:EAX; ISE doc 319433-059"),
    ("avx10-vnni-int", "AVX10.2 Architecture Specification rev. 5.0, CPUID.24H.1:ECX"),
    ("apx-nci-ndd-nf", "APX Architecture Specification, CPUID.29H.0:EBX"),
    ("cpuid-faulting", "SDM vol. 4, PLATFORM_INFO (0CEH)"),
    ("pfeh", "PPR 55898 (family 19h), CPUID_Fn80000007_EBX"),
    ("vmx-mbec", "SDM vol. 3D, A.3.3"),
    ("vmx-ept-sss", "SDM vol. 3D, A.10"),
    ("vmx-exit-save-cet", "SDM vol. 3D, A.4.1"),
    ("vmx-entry-load-cet", "SDM vol. 3D, A.5"),
];

/// Spellings that mean another bit in Linux or Xen, or another bit by vendor, and the one bit that they mean here: the
/// one that QEMU and libvirt mean.
const ONE_MEANING: [(&str, &str); 7] = [
    ("prefetchi", "80000021.eax[20]"),
    ("ssb-no", "msr:0000010a[4]"),
    ("mba", "00000010.0.ebx[3]"),
    ("ibrs", "80000008.ebx[14]"),
    ("ibpb", "80000008.ebx[12]"),
    ("stibp", "00000007.0.edx[27]"),
    ("ssbd", "00000007.0.edx[31]"),
];

fn row_at(place: &str) -> Option<&'static Feature> {
    feature_at(place.parse().unwrap_or_else(|error| panic!("{place}: {error}")))
}

#[test]
fn every_name_of_names_csv_is_in_the_table_at_its_place() {
    let test = "every_name_of_names_csv_is_in_the_table_at_its_place";
    let Some(names) = shared_csv(test, "names.csv") else { return };
    let mut faults = Vec::new();
    let mut renamed = BTreeSet::new();
    for fields in &names {
        let [place, canonical, qemu, libvirt, linux, xen] = fields.as_slice() else { panic!("{fields:?}") };
        let Some(row) = row_at(place) else {
            faults.push(format!("{place} {canonical}: no row"));
            continue;
        };
        if row.name != canonical {
            renamed.insert(format!("{canonical} is {}", row.name));
        }
        for alias in qemu.split(' ').chain([libvirt.as_str()]).filter(|alias| !alias.is_empty()) {
            if feature(alias).is_none_or(|found| found.place != row.place) {
                faults.push(format!("{place} {canonical}: {alias} does not lead there"));
            }
        }
        for (whose, theirs, ours) in [("Linux", linux, row.linux), ("Xen", xen, row.xen)] {
            if theirs != ours {
                faults.push(format!("{place} {canonical}: {whose} says {theirs:?}, the row {ours:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let listed = RENAMED.iter().map(|(theirs, ours)| format!("{theirs} is {ours}")).collect();
    assert_all_listed("names other than in names.csv", &renamed, &listed);
}

#[test]
fn every_row_beyond_names_csv_is_listed_with_its_source() {
    let test = "every_row_beyond_names_csv_is_listed_with_its_source";
    let Some(names) = shared_csv(test, "names.csv") else { return };
    let there: BTreeSet<&str> = names.iter().filter_map(|fields| fields.first()).map(String::as_str).collect();
    let beyond = FEATURES
        .iter()
        .filter(|row| !there.contains(row.place.to_string().as_str()))
        .map(|row| format!("{}: {}", row.name, row.source))
        .collect();
    let listed = BEYOND.iter().map(|(name, source)| format!("{name}: {source}")).collect();
    assert_all_listed("rows beyond names.csv", &beyond, &listed);
}

#[test]
fn every_name_and_alias_is_unique_and_found() {
    let mut owners = BTreeMap::new();
    for row in &FEATURES {
        for name in [row.name].iter().chain(row.aliases) {
            assert!(!name.is_empty() && !name.contains(' '), "{:?} at {}", name, row.place);
            if let Some(other) = owners.insert(*name, row.place) {
                panic!("{name} names both {other} and {}", row.place);
            }
            assert_eq!(feature(name).map(|found| found.place), Some(row.place), "{name}");
        }
        assert_eq!(feature_at(row.place).map(|found| found.name), Some(row.name));
    }
}

#[test]
fn every_value_has_a_name_of_its_own() {
    let mut names: BTreeSet<&str> = FEATURES.iter().map(|row| row.name).collect();
    for row in &VALUES {
        assert!(names.insert(row.name), "{} is there twice", row.name);
    }
}

#[test]
fn ambiguous_spellings_have_one_meaning() {
    for (name, place) in ONE_MEANING {
        let found = feature(name).unwrap_or_else(|| panic!("{name} names nothing"));
        assert_eq!(found.place.to_string(), place, "{name}");
        assert_eq!(found.name, name, "an ambiguous spelling is a canonical name or nothing, never an alias");
    }
    for row in &FEATURES {
        for (name, _) in ONE_MEANING {
            assert!(!row.aliases.contains(&name), "{name} is an alias of {}", row.name);
        }
    }
}

#[test]
fn every_row_says_why_and_where_it_is_defined() {
    let features = FEATURES.iter().map(|row| (row.name, row.reason, row.source));
    let values = VALUES.iter().map(|row| (row.name, row.reason, row.source));
    let kept = KEPT_LEAVES.iter().map(|row| ("kept leaf", row.reason, row.source));
    for (name, reason, source) in features.chain(values).chain(kept) {
        assert!(reason.trim().len() > 10, "{name} has no reason");
        assert!(!source.trim().is_empty(), "{name} has no source");
    }
}

#[test]
fn every_prerequisite_has_a_row() {
    for row in &FEATURES {
        for &needs in row.needs {
            assert!(feature_at(needs).is_some(), "{} needs {needs}, which has no row", row.name);
        }
    }
}

#[test]
fn no_feature_needs_itself() {
    for row in &FEATURES {
        assert!(!flattened(row).contains(&row.place), "{} is in a cycle", row.name);
    }
}

/// What remains of all features without `key` when whatever lacks a prerequisite goes, again and again.
fn closed_without(key: Place) -> Featureset {
    let mut set: Featureset = FEATURES.iter().map(|row| row.place).filter(|&place| place != key).collect();
    loop {
        let before = set;
        for row in &FEATURES {
            if row.needs.iter().any(|&needs| !before.contains(needs)) {
                set.remove(row.place);
            }
        }
        if set == before {
            return set;
        }
    }
}

#[test]
fn clearing_a_feature_clears_exactly_what_needs_it_flattened() {
    for key in &FEATURES {
        let kept = closed_without(key.place);
        for row in FEATURES.iter().filter(|row| row.place != key.place) {
            let goes = !kept.contains(row.place);
            assert_eq!(goes, flattened(row).contains(&key.place), "{} without {}", row.name, key.name);
        }
    }
}
