//! What the command answers: documents, files, and that they agree with each other and with the library.

mod command;

use std::fs;

use command::{fixtures, names, run, run_with, scratch};
use selfsame_cpuid::{Check, Host, Kind, PolicyFile, Rule, Trims, feature};

#[test]
fn every_document_has_its_members() {
    let policy = run(&["policy", "--json", "--from", "pool/new"]).json();
    let documents = [
        (
            vec!["show", "--json", "pool/new"],
            "schema name source vendor family model stepping brand cpus features xcr0 xss xstate levelling findings",
        ),
        (
            vec!["level", "--json", "pool"],
            "schema kind hosts featureset features values vendor signature xcr0 xss xstate lost kept_as_warning \
             refusals findings policy running",
        ),
        (
            vec!["check", "--json", "--guest", "pool/old", "--host", "pool/new"],
            "schema accepted guest host refusals findings",
        ),
        (vec!["policy", "--json", "--from", "pool"], "schema name kind features refusals findings policy"),
        (
            vec!["explain", "--json", "avx2", "pool"],
            "schema name place aliases relation offers needs reason source hosts",
        ),
        (vec!["explain", "--json", "maxphysaddr", "pool"], "schema name place relation reason source hosts"),
        (vec!["explain", "--json", "--rules"], "schema rules"),
        (vec!["diff", "--json", "pool/old", "pool/new"], "schema a b only_a only_b values leaves"),
    ];
    for (arguments, members) in documents {
        let document = run(&arguments).json();
        for member in members.split_whitespace() {
            assert!(document.get(member).is_some(), "{arguments:?} {member}");
        }
        assert_eq!(document["schema"], 1);
    }
    assert!(policy["policy"].as_str().is_some_and(|text| text.starts_with("selfsame 1 policy\n")));
}

#[test]
fn one_host_is_an_object_and_a_directory_an_array() {
    assert!(run(&["show", "--json", "amd"]).json().is_object());
    assert!(run(&["show", "--json", "pool"]).json().is_array());
    assert!(run(&["show", "--json", "amd", "hybrid"]).json().is_array());
    assert!(run(&["check", "--json", "--guest", "amd", "--host", "amd", "hybrid"]).json().is_array());
}

#[test]
fn registers_are_text_and_sizes_are_numbers() {
    let document = run(&["show", "--json", "pool/newest"]).json();
    assert_eq!(document["xcr0"], "0x602e7");
    assert_eq!(document["xstate"]["standard_size"], 11008);
    assert_eq!(document["xstate"]["compacted_size"], 10752);
    assert_eq!(document["family"], 6);
    assert_eq!(document["model"], 0x8f);
    let features = names(&document["features"], "");
    let places: Vec<_> = features.iter().map(|name| feature(name).map(|row| row.place)).collect();
    assert!(places.is_sorted() && !places.contains(&None));
}

#[test]
fn the_order_of_hosts_does_not_matter_and_each_counts_once() {
    let level = run(&["level", "--json", "pool"]);
    assert_eq!(level.stdout, run(&["level", "--json", "pool/old", "pool/newest", "pool/new"]).stdout);
    assert_eq!(level.stdout, run(&["level", "--json", "pool", "pool/old", "./pool/new"]).stdout);
}

#[test]
fn a_policy_with_a_topology_waits_for_a_guest_with_that_one() {
    let directory = scratch("topologies");
    let shaped = |name: &str, arguments: &[&str]| {
        let file = directory.join(name).to_string_lossy().into_owned();
        let ended = run(&[&["policy", "--from", "pool/newest", "-o", &file], arguments].concat());
        assert_eq!(ended.status, 0, "{ended:?}");
        file
    };
    let large = shaped("large", &["--topology", "sockets=2,cores=6,threads=2"]);
    let small = shaped("small", &["--topology", "cores=4"]);
    let plain = shaped("plain", &[]);
    for words in ["", "no-avx512f"] {
        let without = |name: &str, topology: &str| match words {
            "" => name.to_owned(),
            _ => shaped(&format!("{topology}{words}"), &["--topology", topology, "--cpuid", words]),
        };
        let (large_guest, small_guest) = (without(&large, "sockets=2,cores=6,threads=2"), without(&small, "cores=4"));
        let check = |guest: &str, host: &str| {
            let words: &[&str] = if words.is_empty() { &[] } else { &["--cpuid", words] };
            run(&[&["check", "--json", "--guest", guest, "--host", host], words].concat())
        };
        for (guest, host) in [(&large_guest, &small), (&small_guest, &large)] {
            let refused = check(guest, host);
            assert_eq!(refused.status, 1, "{refused:?}");
            let refusals = &refused.json()["refusals"];
            assert_eq!((names(refusals, "rule"), names(refusals, "what")), (vec!["topology"], vec!["topology"]));
            assert!(refusals[0]["host"].as_str().is_some_and(|text| text.starts_with("sockets=")), "{refusals}");
        }
        for (guest, host) in [(&large_guest, &large), (&small_guest, &small), (&large_guest, &plain)] {
            assert_eq!(check(guest, host).status, 0, "{guest} {host} {words}");
        }
    }
}

#[test]
fn hosts_of_one_name_are_told_apart() {
    let document = run(&["level", "--json", "twin", "pool/new"]).json();
    assert_eq!(names(&document["hosts"], ""), ["new", "new (2)"]);
}

#[test]
fn standard_input_is_a_host() {
    let dump = fs::read(fixtures().join("pool/old")).unwrap();
    let mut document = run_with(&["level", "--json", "-", "pool/new"], &dump).json();
    assert_eq!(document["costs"][1]["path"], "standard input");
    document["costs"][1]["path"] = "pool/old".into();
    assert_eq!(document, run(&["level", "--json", "pool/old", "pool/new"]).json());
}

#[test]
fn the_level_is_accepted_by_every_host_of_its_pool_for_every_kind() {
    let directory = scratch("accepted");
    for kind in Kind::ALL.map(Kind::name) {
        let file = directory.join(kind);
        let file = file.to_string_lossy();
        assert_eq!(run(&["level", "-q", "pool", "hybrid", "--kind", kind, "-o", &file]).status, 0);
        let ended = run(&["check", "-q", "--guest", &file, "--host", "pool", "hybrid"]);
        assert_eq!((ended.status, &*ended.stdout), (0, "accepted by 4 of 4 hosts\n"), "{kind}");
        assert_eq!(run(&["level", "-q", "pool", "hybrid", "--kind", kind, "--running", &file]).status, 0);
    }
}

#[test]
fn a_policy_is_the_same_file_from_the_pool_its_json_and_itself() {
    let directory = scratch("policies");
    let (file, json) = (directory.join("level.policy"), directory.join("level.json"));
    let document = run(&["level", "--json", "pool", "-o", &file.to_string_lossy()]);
    fs::write(&json, &document.stdout).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(document.json()["policy"], *text);
    for source in [&*file.to_string_lossy(), &*json.to_string_lossy(), "pool"] {
        assert_eq!(run(&["policy", "--from", source]).stdout, text, "{source}");
    }
    let mut again = String::new();
    PolicyFile::parse(text.as_bytes()).unwrap().write(&mut again).unwrap();
    assert_eq!(again, text);
}

#[test]
fn words_take_features_and_all_that_needs_them_away() {
    let ended = run(&["policy", "--json", "--from", "pool/newest", "cpuid=no-avx2,hvm:no-pku"]);
    let document = ended.json();
    let features = names(&document["features"], "");
    assert!(!features.contains(&"avx2") && !features.contains(&"avx512f") && features.contains(&"pku"));
    assert_eq!(
        run(&["policy", "--json", "--from", "pool/newest", "--cpuid", "no-avx2,hvm:no-pku"]).stdout,
        ended.stdout
    );
}

#[test]
fn topology_and_name_stand_in_the_policy() {
    let arguments = ["policy", "--from", "pool/old", "--topology", "sockets=2,cores=4,threads=2", "--name", "web"];
    let text = run(&arguments).stdout;
    let file = PolicyFile::parse(text.as_bytes()).unwrap();
    assert_eq!(file.name, "web");
    assert_eq!(file.policy.topology.map(|topology| topology.counts().cores), Some(4));
    assert_eq!(file.policy.leaves.get(0xb, 1).to_array(), [3, 8, 0x201, 0]);
}

#[test]
fn hosts_take_the_policies_that_were_shaped_from_them() {
    let directory = scratch("shaped");
    let file = directory.join("shaped.policy");
    let file = &*file.to_string_lossy();
    for host in ["pool", "pool/newest", "amd", "hybrid", "kvm"] {
        let shape = "sockets=2,dies=2,modules=2,cores=3,threads=2";
        let made = run(&["policy", "--from", host, "--topology", shape, "-o", file]);
        assert_eq!((made.status, &*made.stderr), (0, ""), "{host}");
        let checked = run(&["check", "--guest", file, "--host", host]);
        assert_eq!(checked.status, 0, "{host}: {}", checked.stdout);
        assert!(!run(&["show", "--json", file]).stdout.contains("\"rule\""), "{host}: no finding");
    }
}

#[test]
fn words_keep_the_topology_of_a_policy_and_a_new_one_replaces_it() {
    let directory = scratch("reshaped");
    let first = directory.join("first.policy");
    let first = &*first.to_string_lossy();
    let shape = |from, arguments: &[&str]| run(&[&["policy", "--from", from][..], arguments].concat()).stdout;
    assert_eq!(run(&["policy", "--from", "pool/newest", "--topology", "cores=6,threads=2", "-o", first]).status, 0);
    let both = shape("pool/newest", &["--topology", "cores=6,threads=2", "cpuid=no-avx2"]);
    assert_eq!(shape(first, &["cpuid=no-avx2"]), both);
    let other = shape("pool/newest", &["--topology", "sockets=3"]);
    assert_eq!(shape(first, &["--topology", "sockets=3"]), other);
}

#[test]
fn a_check_says_what_the_library_says_word_for_word() {
    let policy = |path| run(&["policy", "--from", path]).stdout;
    let (old, newest) = (policy("pool/old"), policy("pool/newest"));
    let (old, newest) = (PolicyFile::parse(old.as_bytes()).unwrap(), PolicyFile::parse(newest.as_bytes()).unwrap());
    let directory = scratch("word-for-word");
    let (host, guest) = (directory.join("old"), directory.join("newest"));
    let text = |file: &PolicyFile<'_>| {
        let mut text = String::new();
        file.write(&mut text).unwrap();
        text
    };
    fs::write(&host, text(&old)).unwrap();
    fs::write(&guest, text(&newest)).unwrap();
    let arguments = ["check", "--json", "--guest", &guest.to_string_lossy(), "--host", &host.to_string_lossy()];
    let document = run(&arguments).json();

    let offered = Host::from_offered(&old.policy.leaves, Kind::Kvm, &Trims::NONE);
    let mut expected = Vec::new();
    Check::new(&newest.policy, &offered).refusals(|refusal| {
        expected.push((refusal.what.to_string(), refusal.rule.name(), refusal.reason.to_string()));
    });
    let refusals = document["refusals"].as_array().unwrap();
    let said: Vec<_> =
        refusals.iter().map(|refusal| ["what", "rule", "reason"].map(|m| refusal[m].as_str().unwrap())).collect();
    assert_eq!(said, expected.iter().map(|(what, rule, reason)| [&**what, rule, reason]).collect::<Vec<_>>());
    assert!(said.iter().any(|[what, ..]| *what == "avx512f"));
}

#[test]
fn a_running_guest_would_not_survive_where_its_features_are_not() {
    let directory = scratch("running");
    let guest = directory.join("newest.policy");
    assert_eq!(run(&["policy", "--from", "pool/newest", "-o", &guest.to_string_lossy()]).status, 0);
    let ended = run(&["level", "--json", "pool", "--running", &directory.to_string_lossy()]);
    assert_eq!(ended.status, 1);
    let document = ended.json();
    let verdicts: Vec<_> = document["running"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["host"].as_str().unwrap(), r["accepted"] == true))
        .collect();
    assert_eq!(verdicts, [("new", false), ("newest", true), ("old", false)]);
    // The highest leaves stay what the guest saw: AMX has leaf 0x1e.
    assert_eq!(document["values"]["max-leaf"], "0x1e");
}

#[test]
fn a_host_that_needs_a_warning_is_a_finding_and_strictly_a_refusal() {
    let directory = scratch("strict");
    let guest = directory.join("no-md-clear.policy");
    let guest = guest.to_string_lossy();
    assert_eq!(run(&["policy", "--from", "pool/new", "cpuid=no-md-clear", "-o", &guest]).status, 0);
    let document = run(&["check", "--json", "--guest", &guest, "--host", "pool/new"]).json();
    assert_eq!(document["accepted"], true);
    assert!(names(&document["findings"], "rule").contains(&"unsafe-here"));
    let ended = run(&["check", "-q", "--strict", "--guest", &guest, "--host", "pool/new"]);
    assert_eq!((ended.status, &*ended.stdout), (1, "refused: 1 reason\n"));
}

#[test]
fn cpus_that_differ_and_msrs_that_are_missing_are_findings() {
    let document = run(&["show", "--json", "hybrid"]).json();
    let finding = document["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == "avx512f");
    assert_eq!(finding.map(|finding| finding["reason"].clone()), Some("only on cpu 0-2 of 0-3".into()));
    assert!(!names(&document["features"], "").contains(&"avx512f"));
    let document = run(&["show", "--json", "no-msrs"]).json();
    assert!(names(&document["findings"], "what").contains(&"msr:0000010a"));
}

#[test]
fn every_rule_that_is_printed_is_of_the_closed_list() {
    let document = run(&["explain", "--json", "--rules"]).json();
    assert_eq!(names(&document["rules"], "name"), Rule::ALL.map(Rule::name));
}

#[test]
fn colour_is_for_terminals() {
    for arguments in [&["level", "pool"][..], &["show", "pool"], &["explain", "avx2", "pool"]] {
        assert!(!run(arguments).stdout.contains('\x1b'));
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).stdout.contains("selfsame"));
    }
    assert!(run(&["man"]).stdout.contains(".TH selfsame 1"));
    assert!(run(&["man", "level"]).stdout.contains("skip\\-bad"));
    for command in ["show", "level", "check", "policy", "explain", "diff", "capture", "completions", "man"] {
        assert!(run(&[command, "--help"]).stdout.contains("Example"), "{command}");
    }
}
