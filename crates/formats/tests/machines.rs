//! Machines that are hard to get right, as their dumps show them.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod corpus_files;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use selfsame_cpuid::{Featureset, Finding, Host, Kind, Leaves, Leveller, Trims, examine, feature, feature_at};
use selfsame_formats::{Dump, read};
use selfsame_xstate::{Component, ComponentSet, Offsets};

fn dumps() -> &'static BTreeMap<String, Dump> {
    static DUMPS: OnceLock<BTreeMap<String, Dump>> = OnceLock::new();
    DUMPS.get_or_init(|| {
        let read = |(name, bytes): (String, Vec<u8>)| (name.clone(), read(&bytes, &name, None).unwrap());
        corpus_files::instlatx64().into_iter().map(read).collect()
    })
}

/// The dump whose name contains `part`; `None` without a corpus.
fn dump(part: &str) -> Option<&'static Dump> {
    if dumps().is_empty() {
        return None;
    }
    let found = dumps().iter().find(|(name, _)| name.contains(part)).map(|(_, dump)| dump);
    Some(found.unwrap_or_else(|| unreachable!("the corpus has no {part}")))
}

fn names(set: Featureset) -> Vec<&'static str> {
    set.iter().filter_map(|place| Some(feature_at(place)?.name)).collect()
}

fn has(leaves: &Leaves, name: &str) -> bool {
    leaves.features().contains(feature(name).unwrap().place)
}

#[test]
fn computed_sizes_equal_the_cpus_own() {
    let mut compared = 0;
    for (name, dump) in dumps() {
        let raw = dump.raw().leaves;
        let offsets = raw.vendor().offsets();
        let (geometry, _) = raw.geometry().completed(offsets);
        if geometry.user().is_empty() {
            continue;
        }
        let size_bytes = geometry.standard_size(geometry.user()).unwrap();
        assert_eq!(size_bytes, geometry.reported_standard_size(), "{name}");
        compared += 1;
    }
    eprintln!("{compared} dumps with leaf 0xD");
    assert!(dumps().is_empty() || compared >= 100);
}

#[test]
fn computed_compacted_sizes_are_what_the_cpu_reports_for_its_current_state() {
    // Both EBX follow XCR0 and XSS as the dumping system had set them: some choice of both must give both sizes.
    let mut compared = 0;
    for (name, dump) in dumps() {
        let cpu = &dump.cpus[0];
        let (Some(leaf_0), Some(leaf_1)) = (cpu.get(0xd, 0), cpu.get(0xd, 1)) else { continue };
        let geometry = dump.raw().leaves.geometry();
        if leaf_1.ebx == 0 || !geometry.holes().is_empty() {
            continue;
        }
        let is_current = |set: &ComponentSet| geometry.standard_size(*set) == Ok(leaf_0.ebx);
        let mut states = subsets(geometry.user()).filter(is_current);
        let is_possible = states.any(|user| {
            subsets(geometry.supervisor()).any(|xss| geometry.compacted_size(user.union(xss)) == Ok(leaf_1.ebx))
        });
        assert!(is_possible, "{name}: {:#x} {:#x}", leaf_0.ebx, leaf_1.ebx);
        compared += 1;
    }
    eprintln!("{compared} dumps with a compacted size");
    assert!(dumps().is_empty() || compared >= 60);
}

/// Every subset of a set that has x87 and SSE if the set has.
fn subsets(set: ComponentSet) -> impl Iterator<Item = ComponentSet> {
    let legacy = set.intersection(ComponentSet::LEGACY);
    let others: Vec<Component> = set.minus(legacy).iter().collect();
    (0u32..1 << others.len()).map(move |mask| {
        let some = others.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, &c)| c);
        legacy.union(some.collect())
    })
}

#[test]
fn zen_2_has_pkru_state_without_pku() {
    for part in ["Rome_CPUID", "Renoir", "Lucienne", "0880F40", "0890F02", "0890F10"] {
        let Some(dump) = dump(part) else { return };
        let raw = dump.raw().leaves;
        assert!(raw.xcr0().contains(Component::PKRU) && !has(&raw, "pku"), "{part}");
        let mut is_told = false;
        examine(&raw, |finding| {
            is_told |= finding == Finding::StateAlone { components: ComponentSet::EMPTY.with(Component::PKRU) };
        });
        assert!(is_told, "{part}");
        let geometry = raw.geometry().usable(Offsets::Amd);
        let size_bytes = geometry.standard_size(geometry.user()).unwrap();
        assert_eq!((size_bytes, geometry.user().bits()), (896, 0x207), "{part}: PKRU takes 64 bytes there");
        let host = Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE);
        assert!(!host.default().leaves.xcr0().contains(Component::PKRU), "{part}");
        assert_eq!(host.default().leaves.get(0xd, 0).ecx, 832, "{part}");
    }
}

/// Two dumps were taken under Hyper-V, whose leaf 0x40000001 says `Hv#1`.
#[test]
fn what_another_hypervisor_says_is_no_feature_of_kvm() {
    let hypervisors = dumps().values().filter(|dump| dump.cpus.iter().any(|cpu| cpu.get(0x4000_0001, 0).is_some()));
    let mut count = 0;
    for dump in hypervisors {
        let named = names(dump.raw().leaves.features());
        assert!(!named.iter().any(|name| name.starts_with("kvm-")), "{}: {named:?}", dump.name);
        count += 1;
    }
    assert!(dumps().is_empty() || count == 2, "{count}");
}

#[test]
fn zen_2_and_zen_3_level_though_their_pkru_lies_apart() {
    let (Some(rome), Some(zen_3)) = (dump("Rome_CPUID"), dump("A20F10_K19_Vermeer")) else { return };
    let hosts = [rome, zen_3].map(|dump| Host::from_hardware(&dump.raw().leaves, Kind::Kvm, &Trims::NONE));
    let mut leveller = Leveller::new(Kind::Kvm);
    leveller.add("rome", hosts[0].default());
    leveller.add("vermeer", hosts[1].default());
    let level = leveller.finish().unwrap();
    assert_eq!(level.leaves.xcr0().bits(), 7);
    assert!(!has(&level.leaves, "pku") && has(&level.leaves, "avx2"));
}

#[test]
fn zhaoxin_family_7_keeps_its_extended_model() {
    for (part, model) in [("00307B2_KX6000_01", 0x3b), ("00607B1_KX7000_05", 0x6b)] {
        let Some(dump) = dump(part) else { return };
        let signature = dump.raw().leaves.signature();
        assert_eq!((signature.family, signature.model), (7, model), "{part}");
    }
}

#[test]
fn a_host_whose_cpus_differ_is_the_level_of_its_cpus() {
    for part in ["AlderLakeP_00", "MeteorLake_07", "ArrowLake_07", "PantherLakeL_01", "WildcatLake_02"] {
        let Some(dump) = dump(part) else { return };
        let raw = dump.raw();
        assert!(!raw.differences.is_empty(), "{part}: the cores differ");
        for cpu in &dump.cpus {
            let alone = Dump { cpus: vec![cpu.clone()], ..dump.clone() }.raw().leaves;
            let beyond = raw.leaves.features() - alone.features();
            let all = beyond.iter().filter_map(feature_at).filter(|row| row.relation == selfsame_cpuid::Relation::All);
            assert_eq!(all.count(), 0, "{part} cpu {}: {:?}", cpu.number, names(beyond));
        }
    }
}

#[test]
fn the_order_of_logical_cpus_does_not_matter() {
    for part in ["AlderLakeP_00", "MeteorLake_07"] {
        let Some(dump) = dump(part) else { return };
        let mut reversed = dump.clone();
        reversed.cpus.reverse();
        let hosts = [dump, &reversed].map(|d| Host::from_hardware(&d.raw().leaves, Kind::Kvm, &Trims::NONE));
        assert_eq!(hosts[0].default().features(), hosts[1].default().features());
    }
}

#[test]
fn hosts_of_one_signature_differ_by_exactly_their_own_bits() {
    let mut groups: BTreeMap<(String, u32), Vec<(&String, Featureset)>> = BTreeMap::new();
    for (name, dump) in dumps() {
        let raw = dump.raw().leaves;
        let key = (raw.vendor_name().to_string(), raw.get(1, 0).eax);
        groups.entry(key).or_default().push((name, raw.features()));
    }
    let mut pairs = 0;
    let mut differing = 0;
    for group in groups.values().filter(|group| group.len() > 1) {
        for pair in group.windows(2) {
            let only = pair[0].1 ^ pair[1].1;
            assert_eq!(only, (pair[0].1 - pair[1].1) | (pair[1].1 - pair[0].1));
            pairs += 1;
            differing += usize::from(!only.is_empty());
            eprintln!("{} against {}: {:?}", pair[0].0, pair[1].0, names(only));
        }
    }
    assert!(dumps().is_empty() || (pairs >= 13 && differing > 0), "{pairs} pairs, {differing} differ");
}

#[test]
fn lost_rows_of_leaf_0xd_are_those_of_the_vendor() {
    for (part, component) in
        [("0850F00_K17_Zen_CPUID3", 2), ("0A20F10_K19_Vermeer_CPUID1", 9), ("0050656_CascadeLakeSP", 9)]
    {
        let Some(dump) = dump(part) else { return };
        let raw = dump.raw().leaves;
        let component = Component::new(component).unwrap();
        assert!(raw.geometry().holes().contains(component), "{part}");
        let mut is_told = false;
        examine(&raw, |finding| is_told |= finding == Finding::RowFilled { component });
        assert!(is_told, "{part}");
        let host = Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE);
        assert!(host.default().leaves.xcr0().contains(component), "{part}");
    }
}

#[test]
fn syscall_hidden_by_a_32_bit_dump_is_not_lost() {
    let Some(dump) = dump("00306E4_IvyBridgeEP") else { return };
    let raw = dump.raw().leaves;
    assert!(!has(&raw, "syscall") && has(&raw, "lm"));
    let mut is_told = false;
    examine(&raw, |finding| is_told |= finding == Finding::SyscallHidden);
    assert!(is_told);
    assert!(has(&Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE).default().leaves, "syscall"));
}
