//! Feature names as people read them: in groups, the notable ones first, long families folded.

use selfsame_cpuid::{Feature, Featureset, Place, Relation, VALUES, Value, WordSource, feature_at};

/// What people look for first.
const NOTABLE: [&str; 36] = [
    "avx10",
    "amx-tile",
    "amx-bf16",
    "amx-int8",
    "avx512f",
    "avx512vl",
    "avx512vnni",
    "avx512-bf16",
    "avx512-fp16",
    "apx",
    "avx2",
    "avx",
    "fma",
    "bmi2",
    "avx-vnni",
    "vaes",
    "vpclmulqdq",
    "gfni",
    "sha-ni",
    "aes",
    "la57",
    "pku",
    "shstk",
    "ibt",
    "vmx",
    "svm",
    "rtm",
    "pcid",
    "invpcid",
    "xsaves",
    "xsave",
    "rdrand",
    "fsrm",
    "erms",
    "popcnt",
    "sse4.2",
];

/// Longer families than this are folded into `vmx-* (83)`.
const LONG_FAMILY: usize = 6;
/// Wider numbers count nothing.
const WIDEST_COUNT: u8 = 16;
const FAMILIES: [&str; 1] = ["vmx-"];

/// The features of a set that say something of their own: not those that only repeat or follow from others.
pub(crate) fn own(set: &Featureset) -> impl Iterator<Item = &'static Feature> + '_ {
    set.iter().filter_map(feature_at).filter(|row| row.relation != Relation::Derived)
}

/// Names, long families folded unless everything is asked for.
pub(crate) fn folded(names: &[&str], is_verbose: bool) -> Vec<String> {
    let mut list = Vec::new();
    let mut is_folded = false;
    for name in names {
        let family = FAMILIES.iter().find(|family| name.starts_with(**family));
        let members = family.map_or(0, |family| names.iter().filter(|name| name.starts_with(family)).count());
        match family {
            Some(family) if members > LONG_FAMILY && !is_verbose => {
                if !std::mem::replace(&mut is_folded, true) {
                    list.push(format!("{family}* ({members})"));
                }
            }
            _ => list.push((*name).to_owned()),
        }
    }
    list
}

/// The few names that say most, and how many more there are.
pub(crate) fn notable(names: &[&'static str], few: usize) -> String {
    let rank = |name: &&'static str| NOTABLE.iter().position(|notable| notable == name).unwrap_or(NOTABLE.len());
    let mut ranked = names.to_vec();
    ranked.sort_by_key(rank);
    match ranked.get(..few) {
        Some(first) if names.len() > few + 1 => format!("{} and {} more", first.join(" "), names.len() - few),
        _ => ranked.join(" "),
    }
}

/// The features of a set by the leaf or MSR that tells of them.
pub(crate) fn by_leaf(set: &Featureset) -> Vec<(String, Vec<&'static str>)> {
    let mut groups: Vec<(String, Vec<&'static str>)> = Vec::new();
    for row in own(set) {
        let title = title(row.place);
        match groups.last_mut().filter(|(last, _)| *last == title) {
            Some((_, names)) => names.push(row.name),
            None => groups.push((title, vec![row.name])),
        }
    }
    groups
}

fn title(place: Place) -> String {
    match place.word().source() {
        WordSource::Msr { index: 0x480..=0x493, .. } => "vmx msrs".to_owned(),
        WordSource::Msr { index, .. } => format!("msr {index:x}"),
        WordSource::Cpuid { leaf, subleaf: Some(subleaf @ 1..), .. } => format!("leaf {leaf:x}.{subleaf:x}"),
        WordSource::Cpuid { leaf, .. } => format!("leaf {leaf:x}"),
    }
}

/// The rows of the value table that compare as numbers, and the highest leaves; the vendor's words are no numbers.
pub(crate) fn numbers() -> impl Iterator<Item = &'static Value> {
    VALUES.iter().filter(|row| match row.relation {
        Relation::Min | Relation::Max => true,
        Relation::Equal => !row.name.starts_with("vendor-"),
        Relation::Derived => is_highest(row.name),
        _ => false,
    })
}

fn is_highest(name: &str) -> bool {
    matches!(name, "max-leaf" | "max-extended-leaf") || name.ends_with("max-subleaf")
}

/// Whether a number is written in hexadecimal: leaves are so everywhere else, and what is wider than any count is a
/// register or a part of one.
pub(crate) fn is_hex(row: &Value) -> bool {
    // A size is counted in bytes however wide its field is.
    let is_count = ["size", "bytes", "palette"].iter().any(|count| row.name.contains(count));
    is_highest(row.name) || (row.width_bits > WIDEST_COUNT && !is_count)
}

/// A number as people read it.
pub(crate) fn number(row: &Value, value: u32) -> String {
    if is_hex(row) { format!("{value:#x}") } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notable_name_is_canonical() {
        for name in NOTABLE {
            assert_eq!(selfsame_cpuid::feature(name).map(|row| row.name), Some(name));
        }
    }

    #[test]
    fn long_families_are_folded_once() {
        let names = ["avx", "vmx-a", "vmx-b", "vmx-c", "vmx-d", "vmx-e", "vmx-f", "vmx-g", "pku"];
        assert_eq!(folded(&names, false), ["avx", "vmx-* (7)", "pku"]);
        assert_eq!(folded(&names, true).len(), names.len());
        assert_eq!(folded(&names[..4], false).len(), 4);
    }

    #[test]
    fn the_notable_come_first() {
        assert_eq!(notable(&["mmx", "sse", "de", "avx512f"], 2), "avx512f mmx and 2 more");
        assert_eq!(notable(&["mmx", "avx", "de"], 2), "avx mmx de");
    }
}
