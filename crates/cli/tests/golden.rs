//! What people and programs read, whole, over hosts that do not exist.

mod command;

use command::{run, scratch};
use insta::assert_snapshot;

#[test]
fn a_pool_of_three_generations_has_a_level() {
    let ended = run(&["level", "pool"]);
    assert_eq!((ended.status, &*ended.stderr), (0, ""));
    assert_snapshot!(ended.stdout);
}

#[test]
fn everything_about_a_level_is_told_on_request() {
    assert_snapshot!(run(&["level", "--verbose", "pool", "hybrid", "no-msrs"]).stdout);
}

#[test]
fn a_pool_of_two_vendors_has_no_level() {
    let ended = run(&["level", "pool", "amd"]);
    assert_eq!(ended.status, 1);
    assert_snapshot!(ended.stdout);
}

#[test]
fn a_level_in_json() {
    assert_snapshot!(run(&["level", "--json", "pool/old", "pool/new"]).stdout);
}

#[test]
fn a_hybrid_is_shown_with_what_only_some_of_its_cpus_have() {
    assert_snapshot!(run(&["show", "hybrid"]).stdout);
}

#[test]
fn a_host_in_json() {
    assert_snapshot!(run(&["show", "--json", "amd"]).stdout);
}

#[test]
fn a_guest_is_refused_with_every_reason() {
    let directory = scratch("golden-check");
    let guest = directory.join("newest.policy");
    let guest = guest.to_str().unwrap_or_default();
    assert_eq!(run(&["policy", "--from", "pool/newest", "--name", "web", "-o", guest]).status, 0);
    let ended = run(&["check", "--guest", guest, "--host", "pool"]);
    assert_eq!(ended.status, 1);
    assert_snapshot!("check", ended.stdout);
    assert_snapshot!("check_json", run(&["check", "--json", "--guest", guest, "--host", "pool/old"]).stdout);
    let ended = run(&["level", "pool", "--running", guest]);
    assert_eq!(ended.status, 1);
    assert_snapshot!("running", ended.stdout);
}

#[test]
fn a_feature_is_explained_down_to_the_root() {
    assert_snapshot!(run(&["explain", "vaes", "pool", "hybrid", "--cpuid", "no-avx"]).stdout);
    assert_snapshot!("explain_msr", run(&["explain", "rdctl-no", "pool", "no-msrs"]).stdout);
    assert_snapshot!("explain_number", run(&["explain", "maxphysaddr", "pool", "amd"]).stdout);
    assert_snapshot!("explain_rules", run(&["explain", "--rules"]).stdout);
}

#[test]
fn two_hosts_differ() {
    assert_snapshot!(run(&["diff", "pool/old", "pool/new"]).stdout);
}

/// The lines of a policy file that tell of its topology.
fn told(policy: &str) -> String {
    let leaves = ["00000000", "00000001", "00000004", "0000000b", "0000001f"];
    let extended = ["80000000", "80000001", "80000008", "8000001d", "8000001e", "80000026"];
    let is_told = |line: &&str| match line.strip_prefix("leaf ") {
        Some(rest) => leaves.iter().chain(&extended).any(|leaf| rest.starts_with(leaf)),
        None => line.starts_with("topology"),
    };
    policy.lines().filter(is_told).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_policy_tells_of_its_topology_in_its_vendors_leaves() {
    let shape = ["--topology", "sockets=2,dies=2,modules=2,cores=3,threads=2"];
    for (name, from, words) in [
        ("intel", "pool/newest", "cpuid=no-avx2"),
        ("amd", "../../../../fixtures/amd/milan-native.capture", "cpuid=topoext"),
    ] {
        let ended = run(&[&["policy", "--from", from, words][..], &shape].concat());
        assert_eq!((ended.status, &*ended.stderr), (0, ""));
        assert_snapshot!(format!("topology_{name}"), told(&ended.stdout));
    }
}

#[test]
fn a_policy_is_shown_with_its_topology() {
    let directory = scratch("golden-topology");
    let file = directory.join("web.policy");
    let file = file.to_str().unwrap_or_default();
    let shape = "sockets=2,cores=6,threads=2";
    assert_eq!(run(&["policy", "--from", "pool/old", "--topology", shape, "--name", "web", "-o", file]).status, 0);
    assert_snapshot!(run(&["show", file]).stdout);
}

#[test]
fn a_switch_costs_what_its_plan_writes_beside_xen_and_kvm() {
    let cost = |arguments: &[&str]| {
        let ended = run(&[&["switch", "cost"], arguments].concat());
        assert_eq!((ended.status, &*ended.stderr), (0, ""));
        ended.stdout
    };
    assert_snapshot!("switch_cost", cost(&["--from", "hvm", "--to", "hvm"]));
    assert_snapshot!("switch_cost_verbose", cost(&["--from", "hvm", "--to", "pv", "--cpu", "amd", "--verbose"]));
    assert_snapshot!("switch_cost_json", cost(&["--from", "pv32", "--to", "idle", "--cpu", "pool/old", "--json"]));
    assert_eq!(
        cost(&["--from", "idle", "--to", "idle", "-q"]),
        "idle to idle on a CPU with everything (vmx, xsaves, faulting): 0 writes, 0 MSR reads\n"
    );
}

#[test]
fn the_help_lists_the_commands() {
    assert_snapshot!(run(&["--help"]).stdout);
}

#[test]
fn the_readme_shows_what_its_first_command_prints() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```")).map(|(shown, _)| shown);
    let pool = root.join("fixtures/pool");
    assert_eq!(Some(&*run(&["level", pool.to_str().unwrap()]).stdout), shown);
}
