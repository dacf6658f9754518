//! Bad input gets one clear message and exit 2, a refusal exit 1; neither leaves a file behind.

mod command;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use command::{command, fixtures, names, run, run_with, scratch};

/// Asserts that the arguments are unusable and that the one message says `message`.
#[track_caller]
fn assert_unusable(arguments: &[&str], message: &str) {
    let ended = run(arguments);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"));
}

#[test]
fn unusable_files_are_named_with_what_is_wrong() {
    assert_unusable(&["show", "nowhere"], "selfsame: nowhere: cannot be read: no such file or directory");
    assert_unusable(&["show", "bad/empty"], "selfsame: bad/empty: the file is empty");
    assert_unusable(&["show", "bad/binary"], "selfsame: bad/binary: not a text file");
    assert_unusable(&["show", "bad/notes"], "selfsame: bad/notes: no row of a known format");
    assert_unusable(&["show", "bad/cut"], "selfsame: bad/cut: line 9: the file is cut off");
    assert_unusable(&["show", "bad/changed"], "selfsame: bad/changed: line 16: the lines above were changed");
    assert_unusable(&["diff", "pool", "amd"], "selfsame: pool: a directory; give one file");
    assert_unusable(&["switch", "cost", "--from", "pv", "--to", "hvm", "--cpu", "pool"], "a directory; give one file");
    assert_unusable(&["switch", "cost", "--from", "xen", "--to", "hvm"], "possible values: idle, pv, pv32, hvm");
    assert_unusable(&["level", "pool", "--running", "amd"], "make one with `selfsame policy --from amd`");
}

#[test]
fn what_a_file_says_is_kept_on_the_line_of_the_message() {
    let file = scratch("escapes").join("guest.xml");
    fs::write(&file, "<cpu><arch>x86_64</arch><model>Xevil&#10;selfsame: all is well&#27;[2J</model></cpu>").unwrap();
    let ended = run(&["show", file.to_str().unwrap()]);
    assert_eq!((ended.status, ended.stderr.lines().count()), (2, 1), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
}

#[test]
fn every_bad_file_of_a_directory_is_named_at_once() {
    let ended = run(&["level", "bad", "pool"]);
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.starts_with("selfsame: 5 of 8 files cannot be used (--skip-bad leaves them out):\n"));
    assert_eq!(ended.stderr.lines().count(), 6);
}

#[test]
fn bad_files_are_left_out_on_request_and_said_to_be() {
    let ended = run(&["level", "--json", "--skip-bad", "bad/empty", "bad/cut", "pool"]);
    assert_eq!(ended.status, 0);
    assert_eq!(ended.stderr.lines().filter(|line| line.starts_with("selfsame: note: left out: bad/")).count(), 2);
    let document = ended.json();
    assert_eq!(names(&document["hosts"], ""), ["new", "newest", "old"]);
    assert!(names(&document["findings"], "host").contains(&"bad/cut"));
    assert_unusable(&["level", "--skip-bad", "bad/empty"], "no host is left");
    assert_unusable(&["level", "--skip-bad", "bad"], "bad: no dump in this directory");
}

#[test]
fn names_that_nothing_has_get_a_suggestion() {
    assert_unusable(&["explain", "avx52f"], "no feature or number is called `avx52f`; did you mean avx512f?");
    assert_unusable(&["level", "pool", "--cpuid", "no-avx,no-pkuu"], "cpuid= word `no-pkuu`: no feature has this name");
    assert_unusable(&["level", "pool", "--cpuid", "xen:no-avx"], "the prefix is none of pv:, hvm: and kvm:");
    assert_unusable(&["level", "pool", "--kind", "kvn"], "kvm");
    assert_unusable(&["explain", "00000007.0.ebx[99]"], "no feature or number is called");
    assert_unusable(&["policy", "--from", "amd", "no-avx2"], "expected cpuid=WORDS");
    assert_unusable(&["policy", "--from", "amd", "--name", "a#b"], "a name is one line");
    assert_unusable(&["man", "nothing"], "no subcommand is called `nothing`");
}

#[test]
fn topologies_that_cannot_be_are_told_by_the_level_that_is_wrong() {
    for (topology, message) in [
        ("sockets=0", "sockets must be a number from 1 to 65535"),
        ("cores=4,threads=3x", "threads must be a number from 1 to 65535"),
        ("dies=70000", "dies must be a number from 1 to 65535"),
        ("cores=4,cores=4", "cores is there twice"),
        ("clusters=2", "expected sockets=N,dies=N,modules=N,cores=N,threads=N"),
        ("", "expected sockets=N"),
        ("cores=20000,threads=2", "take 16 bits, each count rounded up to a power of two; 15 is the most"),
    ] {
        assert_unusable(&["policy", "--from", "amd", "--topology", topology], message);
    }
}

#[test]
fn a_topology_that_the_policy_cannot_tell_is_refused_and_leaves_no_file() {
    let directory = scratch("untold");
    let file = directory.join("guest.policy");
    let from = |arguments: &[&str]| {
        let path = file.to_string_lossy();
        let ended = run(&[&["policy", "-o", &*path, "--from"], arguments].concat());
        assert_eq!((ended.status, &*ended.stdout), (1, ""), "{ended:?}");
        assert!(!file.exists());
        ended.stderr
    };
    // Xen's PV guests have no x2APIC.
    let refused = from(&["pool/newest", "--kind", "pv", "--topology", "cores=300"]);
    assert!(refused.contains("x2apic: topology: is missing, but the topology has APIC ids up to 299"), "{refused}");
    let refused = from(&["pool/newest", "--topology", "cores=2", "cpuid=no-ht"]);
    assert!(refused.contains("ht: topology: the topology needs it, and it is taken away by cpuid= words"), "{refused}");
    let milan = "../../../../fixtures/amd/milan-native.capture";
    let refused = from(&[milan, "--topology", "dies=9", "cpuid=topoext"]);
    assert!(refused.contains("leaf 8000001e: topology: has no room"), "{refused}");
}

#[test]
fn an_offer_to_one_kind_says_nothing_about_another() {
    assert_unusable(&["level", "kvm", "--kind", "pv"], "this is what KVM offers to kvm guests");
}

#[test]
fn hosts_of_two_vendors_are_refused_and_leave_no_file() {
    let directory = scratch("vendors");
    let file = directory.join("level.policy");
    let ended = run(&["level", "--json", "pool", "amd", "-o", &file.to_string_lossy()]);
    assert_eq!(ended.status, 1);
    let document = ended.json();
    assert_eq!(document["refusals"][0]["what"], "vendor");
    assert_eq!(document["refusals"][0]["rule"], "equal");
    assert_eq!(document["refusals"][0]["values"][0]["value"], "AuthenticAMD");
    assert_eq!(document["features"], serde_json::json!([]));
    assert_eq!(document["policy"], serde_json::Value::Null);
    assert_eq!(fs::read_dir(&directory).map(Iterator::count).ok(), Some(0));
}

#[test]
fn a_feature_that_cannot_be_given_is_refused_by_its_rule() {
    for (word, rule) in [("pks", "offer-never"), ("avx512f", "not-on-host"), ("xsaves,no-xsave", "not-on-host")] {
        let ended = run(&["policy", "--from", "pool/old", &format!("cpuid={word}")]);
        assert_eq!((ended.status, &*ended.stdout), (1, ""), "{word}");
        assert!(ended.stderr.contains(&format!(": {rule}: ")), "{}", ended.stderr);
    }
    let ended = run(&["level", "--json", "pool", "--cpuid", "amx-tile"]);
    assert_eq!(ended.status, 1);
    assert_eq!(names(&ended.json()["refusals"][0]["hosts"], ""), ["new", "old"]);
}

#[test]
fn a_file_that_cannot_be_written_is_not_begun() {
    let directory = scratch("unwritable");
    let inside = directory.join("nowhere/level.policy");
    assert_unusable(&["level", "pool", "-o", &inside.to_string_lossy()], "cannot be written");
    assert_unusable(&["level", "pool", "-o", &directory.to_string_lossy()], "it is a directory");
    assert_eq!(fs::read_dir(&directory).map(Iterator::count).ok(), Some(0));
}

#[test]
fn a_changed_policy_is_refused_with_its_line() {
    let policy = run(&["policy", "--from", "pool/old"]).stdout;
    let changed = policy.replacen("kind kvm", "kind hvm", 1);
    let ended = run_with(&["check", "--guest", "-", "--host", "pool"], changed.as_bytes());
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.starts_with("selfsame: standard input: line "), "{}", ended.stderr);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut child = command(&["show", "--verbose", "pool"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{error}"));
    drop(child.stdout.take());
    let mut stderr = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        assert!(pipe.read_to_string(&mut stderr).is_ok());
    }
    assert_eq!(stderr, "");
    assert_eq!(child.wait().ok().and_then(|status| status.code()), Some(0));
}

#[test]
fn the_fixtures_are_where_the_tests_look() {
    assert!(fixtures().join("pool/README.md").is_file());
}
