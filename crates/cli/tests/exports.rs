//! A pool's level in the form of every target.

mod command;

use command::{run, scratch};
use insta::assert_snapshot;

const TARGETS: [&str; 12] = [
    "libvirt",
    "libvirt-raw",
    "qemu",
    "qemu-base",
    "proxmox",
    "xl",
    "xen-featureset",
    "xapi",
    "firecracker",
    "cloud-hypervisor",
    "kubevirt",
    "psabi",
];

fn kind(target: &str) -> &'static str {
    if matches!(target, "xl" | "xen-featureset" | "xapi") { "hvm" } else { "kvm" }
}

#[test]
fn a_pool_is_written_for_every_target_with_what_the_target_cannot_say() {
    for target in TARGETS {
        let ended = run(&["level", "--quiet", "pool", "--kind", kind(target), "--export", target]);
        assert_eq!(ended.status, 0, "{target}: {}", ended.stderr);
        let text = format!("{}---\n{}", ended.stdout, ended.stderr);
        assert_snapshot!(target.replace('-', "_"), text);
    }
}

#[test]
fn an_export_is_the_same_from_a_level_from_its_policy_and_in_json() {
    let directory = scratch("exports");
    let path = |name: &str| directory.join(name).to_str().unwrap_or_default().to_owned();
    let (policy, text) = (path("web.policy"), path("cpu.xml"));
    assert_eq!(run(&["level", "pool", "--name", "web", "-o", &policy]).status, 0);
    let of_policy = run(&["policy", "--from", &policy, "--export", "libvirt"]);
    assert_eq!(of_policy.status, 0);
    let of_level = run(&["level", "pool", "--name", "web", "--export", "libvirt"]);
    assert_eq!(of_policy.stdout, of_level.stdout);
    // An older export may be replaced.
    for _ in 0..2 {
        let ended = run(&["level", "pool", "--name", "web", "--export", "libvirt", "-o", &text]);
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(std::fs::read_to_string(&text).is_ok_and(|written| written == of_policy.stdout));
    }
    for arguments in [&["level", "pool", "--name", "web"][..], &["policy", "--from", &policy]] {
        let json = run(&[arguments, &["--json", "--export", "libvirt"]].concat()).json();
        assert_eq!(json["export"]["target"], "libvirt");
        assert_eq!(json["export"]["text"], of_policy.stdout);
        assert!(json["export"]["notes"].as_array().is_some_and(|notes| !notes.is_empty()));
        assert!(json["policy"].as_str().is_some_and(|policy| policy.starts_with("selfsame 1 policy\n")));
    }
}

#[test]
fn an_older_export_of_every_target_may_be_replaced_and_no_other_file() {
    let directory = scratch("exports-older");
    for target in TARGETS {
        let path = directory.join(target);
        let arguments = ["level", "-q", "pool", "--kind", kind(target), "--export", target, "-o"];
        let arguments = [&arguments[..], &[path.to_str().unwrap_or_default()]].concat();
        for _ in 0..2 {
            let ended = run(&arguments);
            assert_eq!(ended.status, 0, "{target}: {}", ended.stderr);
        }
        // Somebody wrote more beside it.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(std::fs::write(&path, format!("{text}memory = 4096\n")).is_ok());
        let ended = run(&arguments);
        assert_eq!(ended.status, 2, "{target}: {}", ended.stderr);
        assert!(ended.stderr.contains("--force"), "{}", ended.stderr);
    }
}

#[test]
fn models_of_an_export_are_those_of_the_map_that_is_given() {
    let map = scratch("exports-map");
    let write = |name: &str, text: &str| std::fs::write(map.join(name), format!("<cpus>{text}</cpus>")).is_ok();
    assert!(write("index.xml", "<arch name='x86'><include filename='models.xml'/></arch>"));
    let host = run(&["show", "--json", "pool/old"]).json();
    let features = host["features"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
    let features: String = features.map(|name| format!("<feature name='{name}'/>")).collect();
    let text = "<vendor name='Intel' string='GenuineIntel'/>";
    assert!(write("models.xml", &format!("{text}<model name='Ours'><vendor name='Intel'/>{features}</model>")));
    let directory = map.to_str().unwrap_or_default();
    for command in [&["level", "pool/old"][..], &["policy", "--from", "pool/old"]] {
        for target in ["libvirt", "libvirt-raw", "kubevirt"] {
            let plain = [command, &["--export", target]].concat();
            assert!(!run(&plain).stdout.contains("Ours"));
            let given = run(&[&plain[..], &["--cpu-map", directory]].concat());
            assert!(given.stdout.contains("Ours"), "{target}: {}{}", given.stdout, given.stderr);
        }
    }
}

#[test]
fn captures_and_policies_are_not_replaced_by_an_export() {
    let directory = scratch("exports-over");
    let policy = directory.join("web.policy");
    let policy = policy.to_str().unwrap_or_default();
    assert_eq!(run(&["policy", "--from", "pool/old", "-o", policy]).status, 0);
    let ended = run(&["level", "pool", "--export", "qemu", "-o", policy]);
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.contains("not written over"), "{}", ended.stderr);
}

#[test]
fn a_target_that_nobody_knows_is_answered_with_the_list() {
    let ended = run(&["level", "pool", "--export", "vmware"]);
    assert_eq!((ended.status, &*ended.stdout), (2, ""));
    for target in TARGETS {
        assert!(ended.stderr.contains(target), "{}", ended.stderr);
    }
}

#[test]
fn a_target_that_runs_other_guests_is_refused() {
    let ended = run(&["level", "pool", "--export", "xl"]);
    let text = "selfsame: --export: xl runs no kvm guests: make the policy with --kind hvm or --kind pv\n";
    assert_eq!((ended.status, &*ended.stdout, &*ended.stderr), (2, "", text));
}

#[test]
fn a_pool_without_a_level_is_not_exported() {
    let ended = run(&["level", "pool", "amd", "--export", "libvirt"]);
    assert_eq!(ended.status, 1);
    assert!(!ended.stdout.contains("<cpu"));
}
