//! libvirt's own cases of baselines and comparisons come out the same through the ordinary leveller and check, but for
//! the named rules of `docs/levelling.md`.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that panics is a test that fails")]

use std::collections::BTreeSet;
use std::path::Path;

use selfsame_cpuid::{Feature, Featureset, Host, Kind, Leveller, Policy, Relation, Trims, Vendor};
use selfsame_formats::libvirt::{CpuDefinition, Fit, GuestError, compare};
use selfsame_formats::{ReadError, Reading, read_all};

mod libvirt_files;
#[path = "../../cpuid/tests/table_differences/libvirt.rs"]
#[expect(dead_code, reason = "the document has all of it")]
mod rules;

use libvirt_files::{cpu_map, csv, host, libvirt, machines};
use rules::LIBVIRT_RULES;

/// Features of libvirt's results that ours lack: the case or machine, the feature, and the rule that takes it.
const DIFFERENCES: [(&str, &str, &str); 4] = [
    ("baseline features", "osxsave", "answered-at-exit"),
    ("baseline features EXPAND_FEATURES", "osxsave", "answered-at-exit"),
    ("baseline Westmere+Nehalem", "osxsave", "answered-at-exit"),
    ("baseline Westmere+Nehalem MIGRATABLE", "osxsave", "answered-at-exit"),
];

/// The hosts of a file, each as one kind of guest meets it.
fn hosts(path: &Path, kind: Kind, trims: &Trims) -> Vec<(String, Host)> {
    let host = |dump: &selfsame_formats::Dump| Host::from_vmm(&dump.raw().leaves, kind, trims);
    let all = machines(path);
    all.iter().flat_map(|same| same.names.iter().map(|name| (name.clone(), host(&same.dump())))).collect()
}

fn level(hosts: &[(String, Host)], kind: Kind) -> Option<Policy> {
    let mut leveller = Leveller::new(kind);
    for (name, host) in hosts {
        leveller.add(name, host.default());
    }
    leveller.finish().ok()
}

/// The features that a file of one `<cpu>` names, before anything is made of them.
fn named(path: &Path) -> Featureset {
    let [machine] = &machines(path)[..] else { panic!("{}: not one machine", path.display()) };
    machine.dump().raw().leaves.features()
}

/// Names a rule for a feature that one of libvirt's definitions has and the policy made of it lacks.
fn rule_of(row: &Feature, policy: &Policy) -> &'static str {
    let lacks = |place: &selfsame_cpuid::Place| !policy.leaves.features().contains(*place);
    match row.needs.iter().find(|place| lacks(place)) {
        _ if row.relation == Relation::Dynamic => "answered-at-exit",
        Some(_) if row.name.starts_with("mbm-") => "needs-unnamed",
        Some(_) => "needs-another",
        None => panic!("{} is lost for no reason", row.name),
    }
}

#[test]
fn baselines_have_the_features_of_libvirts_but_for_named_rules() {
    let Some(dir) = libvirt() else { return };
    let mut count = 0;
    let mut found = BTreeSet::new();
    for case in csv(&dir.join("CASES.csv")).iter().filter(|case| case["kind"].ends_with("baseline")) {
        let flags = case["flags"].trim_start_matches("VIR_CONNECT_BASELINE_CPU_");
        let label = format!("{} {} {flags}", case["kind"], case["case"]);
        let label = label.trim_end().to_owned();
        // libvirt's map marks these two as keeping a guest from moving.
        let trims: Trims = if flags == "MIGRATABLE" { "no-invtsc,no-xsaves" } else { "" }.parse().unwrap();
        let inputs = [&case["input1"], &case["input2"]].into_iter().filter(|input| !input.is_empty());
        let pool: Vec<_> = inputs.flat_map(|input| hosts(&dir.join(input), Kind::Kvm, &trims)).collect();
        let Some(level) = level(&pool, Kind::Kvm) else {
            assert_eq!(case["expected"], "-1", "{label}: no level");
            continue;
        };
        assert_eq!(case["expected"], "0", "{label}: a level");
        let expected = dir.join(&case["expected_file"]);
        let [(_, host)] = &hosts(&expected, Kind::Kvm, &Trims::NONE)[..] else { panic!("{label}: one result") };
        assert_eq!(level.leaves.features(), host.default().leaves.features(), "{label}");
        // libvirt leaves the vendor out if some input does.
        let vendors = [&level, host.default()].map(|policy| policy.leaves.vendor());
        assert!(vendors[0] == vendors[1] || vendors[1] == Vendor::Unknown, "{label}: {vendors:?}");
        let lost = named(&expected) - level.leaves.features();
        assert!((level.leaves.features() - named(&expected)).is_empty(), "{label}");
        for row in libvirt_files::own(&lost) {
            found.insert((label.clone(), row.name, rule_of(row, &level)));
        }
        // libvirt's own test asks the same: every input can run its baseline.
        let result = CpuDefinition::parse(&std::fs::read(&expected).unwrap()).unwrap();
        for (name, host) in &pool {
            assert!(selfsame_cpuid::Check::new(&level, host).is_accepted(), "{label}: {name}");
            if case["kind"] == "cpuid-baseline" {
                let verdict = compare(host, &result, cpu_map().unwrap()).unwrap();
                assert_eq!(verdict.obstacles.len(), 0, "{label}: {name}: {verdict:?}");
            }
        }
        count += 1;
    }
    assert!(count >= 10, "{count} cases");
    let listed: BTreeSet<_> = DIFFERENCES.into_iter().collect();
    let found: BTreeSet<_> = found.iter().map(|(label, name, rule)| (label.as_str(), *name, *rule)).collect();
    assert_eq!(found, listed);
}

#[test]
fn verdicts_of_comparisons_are_libvirts() {
    let Some(dir) = libvirt() else { return };
    let models = cpu_map().unwrap();
    let mut count = 0;
    for case in csv(&dir.join("CASES.csv")).iter().filter(|case| case["kind"] == "compare") {
        let [(_, host)] = &hosts(&dir.join(&case["input1"]), Kind::Kvm, &Trims::NONE)[..] else { panic!("one host") };
        let guest = CpuDefinition::parse(&std::fs::read(dir.join(&case["input2"])).unwrap()).unwrap();
        let verdict = match compare(host, &guest, models) {
            Ok(comparison) => {
                assert_eq!(comparison.fit == Fit::Incompatible, !comparison.obstacles.is_empty());
                &comparison.fit.name().to_uppercase()
            }
            Err(GuestError::UnknownFeature { .. } | GuestError::Definition(ReadError::UnknownModel { .. })) => "ERROR",
            Err(error) => panic!("{}: {error}", case["case"]),
        };
        assert_eq!(verdict, case["expected"], "{}", case["case"]);
        count += 1;
    }
    assert!(count >= 18, "{count} cases");
}

#[test]
fn what_a_cpu_element_names_is_what_guests_get_but_for_named_rules() {
    let Some(dir) = libvirt() else { return };
    let models = cpu_map().unwrap();
    let known: BTreeSet<&str> = LIBVIRT_RULES.iter().map(|rule| rule.name).collect();
    let mut used = BTreeSet::new();
    let mut count = 0;
    let folders = ["machines", "cases"].map(|folder| std::fs::read_dir(dir.join(folder)).unwrap());
    for path in folders.into_iter().flatten().map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let is_cpu = path.extension().is_some_and(|extension| extension == "xml") && !text.contains("<cpudata");
        if !is_cpu || text.contains("ogus") {
            continue;
        }
        let all = read_all(&bytes, "host", &Reading { models, ..Reading::default() });
        for machine in all.unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
            let dump = machine.dump();
            let names = dump.findings.iter().filter(|finding| finding.what.starts_with('`'));
            assert_eq!(names.count(), 0, "{}: {:?}", path.display(), dump.findings);
            let named = dump.raw().leaves.features();
            let host = host(&dump);
            let given = host.default().leaves.features();
            assert!((given - named).is_empty(), "{}", path.display());
            used.extend(libvirt_files::own(&(named - given)).map(|row| rule_of(row, host.default())));
            host.default().verify(|fault| panic!("{}: {:?}: {fault}", path.display(), fault.what()));
            count += 1;
        }
    }
    assert!(count > 100, "{count} elements");
    assert!(used.is_subset(&known), "{used:?}");
    assert_eq!(used.len(), 3, "{used:?}");
}

#[test]
fn md_clear_of_one_host_is_a_warning_for_kvm_and_kept_for_hvm() {
    let Some(dir) = libvirt() else { return };
    let paths =
        ["Cooperlake", "Ice-Lake-Server"].map(|name| dir.join(format!("machines/x86_64-cpuid-{name}-json.xml")));
    let md_clear = selfsame_cpuid::feature("md-clear").unwrap().place;
    for (kind, is_kept) in [(Kind::Kvm, false), (Kind::Hvm, true)] {
        let pool: Vec<_> = paths.iter().flat_map(|path| hosts(path, kind, &Trims::NONE)).collect();
        let level = level(&pool, kind).unwrap();
        assert_eq!(level.leaves.is_set(md_clear), is_kept, "{kind}");
        let members: Vec<_> = pool.iter().map(|(name, host)| selfsame_cpuid::Member { name, host }).collect();
        let mut warned = Vec::new();
        selfsame_cpuid::kept_as_warning(&level, &members, |warning| warned.push(warning.feature.name));
        assert_eq!(warned.contains(&"md-clear"), !is_kept, "{kind}: {warned:?}");
    }
}
