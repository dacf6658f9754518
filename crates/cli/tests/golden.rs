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
