//! What is written for another stack says what the policy says: it is read back, and its form is checked.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod corpus_files;
mod corpus_pools;

use std::collections::{BTreeMap, BTreeSet};

use corpus_pools::{Pool, machines, pools};
use selfsame_cpuid::{
    FEATURES, Feature, Featureset, Host, Kind, Leaves, Offer, Place, Policy, Regs, Relation, Trims, Vendor, WordSource,
    XEN_WORDS, feature, feature_at,
};
use selfsame_formats::export::{Export, Target, export};
use selfsame_formats::{Format, Meaning, Models, Spelling, meaning, read};

const POOLS: usize = 200;

/// Features that a file can tell: the others repeat bits, or follow the guest or leaf 0xD.
fn tellable() -> impl Iterator<Item = &'static Feature> {
    FEATURES.iter().filter(|row| {
        !matches!(row.relation, Relation::Derived | Relation::Dynamic | Relation::Local | Relation::Descriptive)
            && !row.place.to_string().starts_with("40000001")
    })
}

fn told() -> Featureset {
    tellable().map(|row| row.place).collect()
}

fn names(set: Featureset) -> Vec<&'static str> {
    set.iter().filter_map(|place| Some(feature_at(place)?.name)).collect()
}

fn exported(pool: &Pool<'_>, target: Target) -> Export {
    export(&pool.level, "pool", target, Models::known()).unwrap_or_else(|error| panic!("{}: {error}", pool.name()))
}

/// What the policy says, but for what the notes say that the target has no name for.
fn expected(pool: &Pool<'_>, export: &Export) -> Featureset {
    let nameless = export.notes.iter().filter(|note| note.reason.contains("has no name for it"));
    let lost: BTreeSet<&str> = nameless.flat_map(|note| &note.what).map(String::as_str).collect();
    let rows = tellable().filter(|row| pool.level.features().contains(row.place) && !lost.contains(row.name));
    rows.map(|row| row.place).collect()
}

/// Without VMX nobody reads its MSRs; without its later MSRs the controls are told in others, which names do not fill.
fn comparable(pool: &Pool<'_>) -> Featureset {
    let has = |name| pool.level.features().contains(feature(name).unwrap().place);
    let has_controls = has("vmx") && has("vmx-true-ctls");
    tellable().filter(|row| has_controls || !row.name.starts_with("vmx-")).map(|row| row.place).collect()
}

#[test]
fn what_is_written_for_qemu_and_libvirt_is_read_back_as_the_same_features() {
    let targets = [
        (Target::Qemu, Format::QemuCpu),
        (Target::QemuBase, Format::QemuCpu),
        (Target::Libvirt, Format::LibvirtCpu),
        (Target::LibvirtRaw, Format::LibvirtCpu),
    ];
    for pool in pools(machines(), Kind::Kvm, POOLS) {
        for (target, format) in targets {
            let export = exported(&pool, target);
            assert_eq!(selfsame_formats::detect(export.text.as_bytes()), Some(format));
            let dump = read(export.text.as_bytes(), "pool", None).unwrap();
            let unknown: Vec<_> =
                dump.findings.iter().filter(|finding| finding.reason.contains("no feature known")).collect();
            assert!(unknown.is_empty(), "{target}: {unknown:?}");
            let raw = dump.raw().leaves;
            let comparable = comparable(&pool);
            let expected = expected(&pool, &export) & comparable;
            let found = raw.features() & comparable;
            let (more, less) = (names(found - expected), names(expected - found));
            assert!(found == expected, "{} for {target}: more {more:?}, less {less:?}", pool.name());
            assert_eq!(raw.get(0x8000_0008, 0).eax & 0xff, pool.level.leaves.get(0x8000_0008, 0).eax & 0xff);
            if format == Format::QemuCpu {
                assert_eq!(raw.signature(), pool.level.leaves.signature(), "{}", pool.name());
                assert_eq!(raw.vendor(), pool.level.leaves.vendor());
            }
        }
    }
}

#[test]
fn featuresets_are_read_back_word_by_word() {
    for pool in pools(machines(), Kind::Hvm, POOLS) {
        for target in [Target::XenFeatureset, Target::Xapi] {
            let export = exported(&pool, target);
            assert_eq!(export.text.trim_end().split([':', '-']).count(), XEN_WORDS.len());
            let raw = read(export.text.as_bytes(), "pool", Some(Format::XenFeatureset)).unwrap().raw().leaves;
            let is_xens = |place: &Place| XEN_WORDS.contains(&place.word());
            let own = |set: Featureset| -> Featureset { (set & told()).iter().filter(is_xens).collect() };
            let (found, expected) = (own(raw.features()), own(pool.level.features()));
            assert!(found == expected, "{}: {:?}", pool.name(), names(found ^ expected));
        }
    }
}

/// A line for `xl` in our own words, and the highest leaves that it says, by the leaf that tells them.
struct XlLine {
    words: Vec<String>,
    highest: BTreeMap<u32, u32>,
}

impl XlLine {
    fn read(text: &str) -> Self {
        let value = text.strip_prefix("cpuid = ").and_then(|rest| rest.strip_suffix('\n')).unwrap();
        match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(leaves) => Self::of_registers(leaves),
            None => Self::of_names(value.trim_matches('"').strip_prefix("host").unwrap()),
        }
    }

    fn of_names(text: &str) -> Self {
        let mut words = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').unwrap();
            if ["family", "model", "stepping"].contains(&name) {
                continue;
            }
            let Some(Meaning::Feature(row)) = meaning(name, Spelling::Xen, Vendor::Unknown) else { panic!("{word}") };
            words.push(if value == "0" { format!("no-{}", row.name) } else { row.name.to_owned() });
        }
        Self { words, highest: BTreeMap::new() }
    }

    fn of_registers(text: &str) -> Self {
        let (mut words, mut highest) = (Vec::new(), BTreeMap::new());
        for text in text.split(", ") {
            let (leaf, registers) = text.trim_matches('"').split_once(':').unwrap();
            let mut numbers =
                leaf.split(',').map(|hex| u32::from_str_radix(hex.strip_prefix("0x").unwrap(), 16).unwrap());
            let leaf = numbers.next().unwrap();
            let subleaf = numbers.next().map_or(String::new(), |subleaf| format!(".{subleaf:x}"));
            for register in registers.split(',') {
                let (name, digits) = register.split_once('=').unwrap();
                assert!(digits.len() == 32 && digits.chars().all(|digit| "01x".contains(digit)), "{register}");
                let mask =
                    |digit: char| digits.chars().fold(0_u32, |mask, found| mask << 1 | u32::from(found == digit));
                if name == "eax" && [0, 7, 0x8000_0000].contains(&leaf) && subleaf != ".1" {
                    assert_eq!(mask('x'), 0);
                    highest.insert(leaf, mask('1'));
                } else if name != "eax" || ![1, 0x8000_0008].contains(&leaf) {
                    words.push(format!("{leaf:08x}{subleaf}.{name}={:x}", !mask('0')));
                    let asked = (0..32).filter(|bit| mask('1') >> bit & 1 == 1);
                    let place = |bit| format!("{leaf:08x}{subleaf}.{name}[{bit}]").parse().unwrap();
                    words.extend(asked.map(|bit| feature_at(place(bit)).unwrap().name.to_owned()));
                }
            }
        }
        Self { words, highest }
    }

    /// Whether the line leaves a domain the leaf of a feature.
    fn leaves(&self, row: &Feature) -> bool {
        let highest = |leaf| self.highest.get(&leaf).copied().unwrap_or(u32::MAX);
        match row.place.word().source() {
            WordSource::Cpuid { leaf, .. } if leaf >= 0x8000_0000 => leaf <= highest(0x8000_0000),
            WordSource::Cpuid { leaf: 7, subleaf, .. } => highest(0) >= 7 && subleaf.unwrap_or(0) <= highest(7),
            WordSource::Cpuid { leaf, .. } => leaf <= highest(0),
            WordSource::Msr { .. } => true,
        }
    }
}

#[test]
fn xls_lines_are_words_of_our_grammar_and_make_the_level_of_every_member() {
    let mut forms = BTreeSet::new();
    for kind in [Kind::Pv, Kind::Hvm] {
        for pool in pools(machines(), kind, POOLS) {
            let export = exported(&pool, Target::Xl);
            let line = XlLine::read(&export.text);
            forms.insert(line.highest.is_empty());
            let trims: Trims = line.words.join(",").parse().unwrap();
            let is_noted =
                |row: &Feature| export.notes.iter().any(|note| note.what.iter().any(|what| what == row.name));
            let is_intels = pool.level.leaves.vendor() == Vendor::Intel;
            let is_said = |row: &&Feature| match row.place.word().source() {
                // Xen gives leaves above 0x80000008 to AMD's guests only.
                WordSource::Cpuid { leaf, .. } if is_intels => leaf <= 0x8000_0008,
                WordSource::Cpuid { .. } => true,
                // Registers are of CPUID only.
                WordSource::Msr { .. } => line.highest.is_empty(),
            };
            // What hosts give on their own, where Xen has a name and every host may have it.
            let is_hosts = |row: &&Feature| !row.xen.is_empty() && row.offer_to(kind) == Offer::Hardware;
            let is_own = |row: &&Feature| is_hosts(row) && is_said(row) && !is_noted(row);
            let own: Featureset = tellable().filter(is_own).map(|row| row.place).collect();
            let left: Featureset = tellable().filter(|row| line.leaves(row)).map(|row| row.place).collect();
            for (name, raw) in &pool.members {
                let host = Host::from_hardware(raw, kind, &trims);
                let (found, expected) = (host.default().features() & left & own, pool.level.features() & own);
                let (more, less) = (names(found - expected), names(expected - found));
                assert!(found == expected, "{name} of {}: more {more:?}, less {less:?}", pool.name());
            }
        }
    }
    assert!(machines().is_empty() || forms.len() == 2);
}

/// Xen makes no domain where a line names a leaf that the host has not.
#[test]
fn xls_lines_name_no_leaf_that_a_member_lacks() {
    for pool in pools(machines(), Kind::Hvm, POOLS) {
        let line = XlLine::read(&exported(&pool, Target::Xl).text);
        for word in &line.words {
            let name = word.strip_prefix("no-").unwrap_or(word);
            let word = match name.split_once('=') {
                Some((word, _)) => format!("{word}[0]").parse::<Place>().unwrap().word(),
                None => feature(name).unwrap().place.word(),
            };
            let WordSource::Cpuid { leaf, subleaf, .. } = word.source() else { continue };
            // Others run no such guests.
            let runs_guests = |raw: &Leaves| ["vmx", "svm"].iter().any(|name| raw.has(feature(name).unwrap().place));
            for (member, raw) in pool.members.iter().filter(|(_, raw)| runs_guests(raw)) {
                // Xen raises it where it makes LFENCE serialise, and says so in that leaf.
                let raised = if raw.vendor().is_amd_like() { 0x8000_0021 } else { 0 };
                let highest = raw.get(leaf & 0x8000_0000, 0).eax.max(raised);
                assert!(leaf <= highest, "{leaf:x} on {member}");
                assert!(leaf != 7 || subleaf.unwrap_or(0) <= raw.get(7, 0).eax, "7.{subleaf:x?} on {member}");
            }
        }
    }
}

/// libxl's `clflush` is the size of the line: the feature has another name there.
#[test]
fn a_guest_without_clflush_keeps_the_size_of_its_lines() {
    let mut policy = Policy::empty(Kind::Hvm);
    policy.leaves.set(0, 0, Regs::new(7, 0x756e_6547, 0x6c65_746e, 0x4965_6e69)).unwrap();
    policy.leaves.insert(feature("arch-capabilities").unwrap().place);
    policy.leaves.insert(feature("rdctl-no").unwrap().place);
    let text = export(&policy, "small", Target::Xl, Models::known()).unwrap().text;
    assert!(text.contains(",clfsh=0,") && !text.contains("clflush="), "{text}");
}

#[test]
fn templates_of_firecracker_set_every_feature_and_are_well_formed() {
    for pool in pools(machines(), Kind::Kvm, POOLS) {
        let text = exported(&pool, Target::Firecracker).text;
        let template: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut on = Featureset::EMPTY;
        let digits = |bitmap: &serde_json::Value, count: usize| -> Vec<char> {
            let digits: Vec<char> = bitmap.as_str().unwrap().strip_prefix("0b").unwrap().chars().rev().collect();
            assert_eq!(digits.len(), count);
            assert!(digits.iter().all(|digit| "01x".contains(*digit)));
            digits
        };
        for row in template["cpuid_modifiers"].as_array().unwrap() {
            let hex = |key: &str| u32::from_str_radix(&row[key].as_str().unwrap()[2..], 16).unwrap();
            for modifier in row["modifiers"].as_array().unwrap() {
                let register = modifier["register"].as_str().unwrap();
                let subleaf = if row["flags"] == 1 { format!(".{:x}", hex("subleaf")) } else { String::new() };
                for (bit, digit) in digits(&modifier["bitmap"], 32).into_iter().enumerate() {
                    if digit == '1' {
                        on.insert(format!("{:08x}{subleaf}.{register}[{bit}]", hex("leaf")).parse().unwrap());
                    }
                }
            }
        }
        for row in template["msr_modifiers"].as_array().unwrap() {
            let index = u32::from_str_radix(&row["addr"].as_str().unwrap()[2..], 16).unwrap();
            for (bit, digit) in digits(&row["bitmap"], 64).into_iter().enumerate() {
                if digit == '1' {
                    on.insert(format!("msr:{index:08x}[{bit}]").parse().unwrap());
                }
            }
        }
        let is_vmxs =
            |place: &Place| (0x480..=0x493).any(|msr| place.to_string().starts_with(&format!("msr:{msr:08x}")));
        let all: Featureset = (pool.level.features() & told()).iter().filter(|place| !is_vmxs(place)).collect();
        assert!(all.is_subset_of(&on), "{}: {:?}", pool.name(), names(all - on));
        let extra = (on & told()) - pool.level.features();
        assert!(extra.is_empty(), "{}: {:?}", pool.name(), names(extra));
    }
}

#[test]
fn levels_of_the_abi_are_those_whose_features_all_are_there() {
    for pool in pools(machines(), Kind::Kvm, POOLS) {
        let export = exported(&pool, Target::PsAbi);
        let level = Models::known().get(export.text.trim_end()).unwrap();
        assert!(level.features.is_subset_of(&pool.level.features()), "{}", pool.name());
        for name in export.notes.iter().flat_map(|note| &note.what) {
            assert!(!pool.level.features().contains(feature(name).unwrap().place), "{name}");
        }
        assert_eq!(export.notes.is_empty(), level.name == "x86-64-v4", "{}", pool.name());
    }
}

#[test]
fn the_same_policy_is_written_in_the_same_bytes() {
    for pool in pools(machines(), Kind::Kvm, 10) {
        for target in
            Target::ALL.into_iter().filter(|target| !matches!(target.name(), "xl" | "xen-featureset" | "xapi"))
        {
            assert_eq!(exported(&pool, target), exported(&pool, target));
        }
    }
}
