//! Inputs that name features say what dumps of the same machines say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic in a test is the failure itself")]

mod corpus_files;

use std::collections::BTreeSet;

use selfsame_cpuid::{FEATURES, Host, Kind, Relation, Trims};
use selfsame_formats::{Dump, Format, read};

fn dump(path: &str) -> Option<Dump> {
    let bytes = std::fs::read(corpus_files::corpus()?.join(path)).unwrap();
    Some(read(&bytes, "sample", None).unwrap_or_else(|error| panic!("{path}: {error}")))
}

/// What a guest of KVM sees by default, but for what follows from the exit or from leaf 0xD.
fn default_features(dump: &Dump) -> BTreeSet<&'static str> {
    let host = Host::from_hardware(&dump.raw().leaves, Kind::Kvm, &Trims::NONE);
    let set = host.default().leaves.features();
    let own = FEATURES.iter().filter(|row| !matches!(row.relation, Relation::Derived | Relation::Dynamic));
    own.filter(|row| set.contains(row.place)).map(|row| row.name).collect()
}

#[test]
fn proc_cpuinfo_lacks_only_what_linux_does_not_show() {
    let Some(cpuinfo) = dump("reference/sample_proc_cpuinfo_same_host.txt") else { return };
    let cpuid = dump("reference/sample_cpuid-r_allcpus_format.txt").unwrap();
    assert_eq!(cpuinfo.source.to_string(), "converted:cpuinfo");
    assert_eq!(cpuinfo.cpus.len(), 2);
    let (shown, all) = (default_features(&cpuinfo), default_features(&cpuid));
    let extra: Vec<_> = shown.difference(&all).collect();
    assert!(extra.is_empty(), "named but not in CPUID: {extra:?}");
    let hidden: Vec<_> = all.difference(&shown).copied().collect();
    assert_eq!(hidden, HIDDEN, "in CPUID but not in flags");
    let leaves = [&cpuinfo, &cpuid].map(|dump| dump.raw().leaves);
    assert_eq!(leaves[0].signature(), leaves[1].signature());
    assert_eq!(leaves[0].vendor(), leaves[1].vendor());
    assert_eq!(leaves[0].get(0x8000_0008, 0).eax & 0xffff, leaves[1].get(0x8000_0008, 0).eax & 0xffff);
}

/// Bits of the sample's CPU that its Linux shows no flag for.
const HIDDEN: [&str; 5] = ["fp-256", "movu-preferred", "shstk", "tsa-l1-no", "tsa-sq-no"];

#[test]
fn qemus_answers_are_read_with_every_property_known() {
    let Some(root) = corpus_files::corpus() else { return };
    let mut count = 0;
    for file in std::fs::read_dir(root.join("libvirt/machines")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let dump = read(&std::fs::read(&path).unwrap(), "machine", None).unwrap();
        assert_eq!(dump.source, selfsame_formats::Source::Converted(Format::Qmp));
        let unknown: Vec<_> =
            dump.findings.iter().filter(|finding| finding.reason.contains("no feature known")).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
        count += 1;
    }
    assert!(count > 20, "{count}");
}
