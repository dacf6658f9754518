//! What operators rely on: no input is written over, every answer is for whom it is meant, and nothing is said wrongly.

mod command;

use std::fs;
use std::path::Path;

use command::{fixtures, names, run, run_with, scratch};
use selfsame_cpuid::{FEATURES, Leaves, PolicyFile};
use serde_json::Value;

/// A copy of a fixture.
#[expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]
fn copy(fixture: &str, to: &Path) -> String {
    fs::copy(fixtures().join(fixture), to).unwrap();
    to.to_string_lossy().into_owned()
}

/// A policy of a fixture in a file.
fn policy(arguments: &[&str], to: &Path) -> String {
    let to = to.to_string_lossy().into_owned();
    let all = [&["policy"], arguments, &["-o", &to]].concat();
    assert_eq!(run(&all).status, 0);
    to
}

/// Text without its line breaks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asserts that a command ends with 2, says `message`, and leaves a file as it was.
#[expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]
#[track_caller]
fn assert_kept(arguments: &[&str], file: &str, message: &str) {
    let before = fs::read(file).unwrap();
    let ended = run(arguments);
    assert_eq!((ended.status, &*ended.stdout), (2, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    assert_eq!(fs::read(file).unwrap(), before);
}

#[test]
fn an_input_is_never_written_over() {
    let directory = scratch("over-input");
    let host = copy("pool/old", &directory.join("old"));
    let guest = policy(&["--from", "pool/old"], &directory.join("guest.policy"));
    let link = directory.join("link");
    fs::hard_link(&host, &link).unwrap();
    let link = link.to_string_lossy();
    assert_kept(&["level", &host, "pool/new", "-o", &host], &host, "old: is an input");
    assert_kept(&["level", &host, "-o", &link], &host, "link: is an input");
    assert_kept(&["level", &directory.to_string_lossy(), "-o", &host], &host, "old: is an input");
    assert_kept(&["level", "pool", "--running", &guest, "-o", &guest], &guest, "guest.policy: is an input");
    assert_kept(&["policy", "--from", &host, "-o", &host], &host, "old: is an input");
    assert_kept(&["policy", "--from", &guest, "cpuid=no-avx2", "-o", &guest], &guest, "guest.policy: is an input");
}

#[test]
fn a_policy_does_not_replace_a_capture_nor_a_capture_a_policy() {
    let directory = scratch("over-other");
    let host = copy("pool/old", &directory.join("old"));
    let guest = policy(&["--from", "pool/old"], &directory.join("guest.policy"));
    assert_kept(&["level", "pool", "-o", &host], &host, "is a dump of a machine, and a policy is to be written");
    assert_kept(&["policy", "--from", "amd", "-o", &host], &host, "is a dump of a machine");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        assert_kept(&["capture", "-o", &guest], &guest, "is a file that is no capture");
    }
    // Another tool's dump cannot be made again by this one, and notes can by none.
    let other = directory.join("other");
    let dump = "CPU 0:\n   0x00000000 0x00: eax=0x00000001 ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69\n   \
                0x00000001 0x00: eax=0x000006f7 ebx=0x00000000 ecx=0x00000000 edx=0x00000001\n";
    for text in [dump, "notes of mine\n"] {
        assert!(fs::write(&other, text).is_ok());
        let other = &*other.to_string_lossy();
        assert_kept(&["level", "pool", "-o", other], other, "--force to replace it");
        for target in ["libvirt", "qemu", "proxmox", "kubevirt", "firecracker"] {
            assert_kept(&["level", "pool", "--export", target, "-o", other], other, "no older export");
        }
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            assert_kept(&["capture", "-o", other], other, "is a file that is no capture");
        }
        assert_eq!(run(&["level", "-q", "pool", "-o", other, "--force"]).status, 0);
        assert!(fs::read(other).is_ok_and(|bytes| bytes.starts_with(b"selfsame 1 policy\n")));
    }
    assert_kept(&["level", &host, "-o", &host, "--force"], &host, "is an input");
    // A level may lie beside its hosts, and be made again.
    let level = directory.join("level.policy");
    for _ in 0..2 {
        let arguments = ["level", "-q", &directory.to_string_lossy(), "-o", &level.to_string_lossy()];
        assert_eq!(run(&arguments).status, 0);
    }
}

#[test]
fn a_policy_on_standard_output_is_alone_there() {
    let ended = run(&["level", "pool", "-o", "-"]);
    assert!(
        ended.stdout.starts_with("selfsame 1 policy\n") && ended.stdout.lines().last().unwrap().starts_with("end ")
    );
    assert!(ended.stderr.contains("the CPU that kvm guests can have on all 3 hosts"), "{}", ended.stderr);
    let ended = run(&["level", "-q", "pool", "amd", "-o", "-"]);
    assert_eq!((ended.status, &*ended.stdout), (1, ""));
    for arguments in
        [["level", "--json", "pool", "-o", "-"].as_slice(), &["policy", "--json", "--from", "amd", "-o", "-"]]
    {
        let ended = run(arguments);
        assert_eq!((ended.status, &*ended.stdout), (2, ""));
        assert!(ended.stderr.contains("-o - and --json"), "{}", ended.stderr);
    }
}

#[test]
fn a_running_guest_of_another_kind_is_refused_as_input() {
    let directory = scratch("running-kind");
    let guest = policy(&["--from", "pool/old", "--kind", "hvm"], &directory.join("hvm.policy"));
    assert_kept(&["level", "pool", "--running", &guest], &guest, "this is a policy for hvm guests");
    assert_eq!(run(&["level", "-q", "pool", "--kind", "hvm", "--running", &guest]).status, 0);
}

#[test]
fn what_the_dump_lacks_is_not_said_to_be_lacking_on_the_host() {
    let document = run(&["check", "--json", "--guest", "pool/newest", "--host", "no-msrs"]).json();
    let refusals = document["refusals"].as_array().unwrap();
    let of = |what: &str| refusals.iter().find(|refusal| refusal["what"] == what).map(|refusal| &refusal["reason"]);
    let reason = of("rdctl-no").and_then(Value::as_str).unwrap();
    assert_eq!(reason, "the host's dump lacks msr 0x10a: what it tells of counts as absent");
}

#[test]
fn words_and_hosts_are_not_blamed_for_each_other() {
    let lost = |words: &str, feature: &str| {
        let document = run(&["level", "--json", "pool/new", "pool/newest", "--cpuid", words]).json();
        let lost = document["lost"].as_array().unwrap().iter().find(|lost| lost["feature"] == feature).cloned();
        lost.unwrap_or_else(|| panic!("{feature}"))
    };
    let avx2 = lost("no-avx2", "avx2");
    assert_eq!((&avx2["rule"], &avx2["hosts"]), (&"offer-never".into(), &serde_json::json!([])));
    assert_eq!(avx2["because"], "taken away by cpuid= words");
    let avx512f = lost("no-avx2", "avx512f");
    assert_eq!((&avx512f["rule"], &avx512f["hosts"]), (&"prerequisite".into(), &serde_json::json!([])));
    // A host that lacks it still costs it.
    let amx = lost("no-amx-tile", "amx-tile");
    assert_eq!((&amx["rule"], &amx["hosts"]), (&"not-on-host".into(), &serde_json::json!(["new"])));
}

#[test]
fn findings_have_a_severity_and_missing_msrs_are_not_malformed() {
    let document = run(&["show", "--json", "no-msrs"]).json();
    let findings = document["findings"].as_array().unwrap();
    let msr = findings.iter().find(|finding| finding["what"] == "msr:0000010a").unwrap();
    assert_eq!((&msr["rule"], &msr["severity"]), (&"not-on-host".into(), &"warning".into()));
    assert!(findings.iter().all(|finding| finding["severity"] == "warning" || finding["severity"] == "notice"));
}

#[test]
fn only_one_named_file_is_an_object() {
    let directory = scratch("shape");
    copy("pool/old", &directory.join("old"));
    let directory = directory.to_string_lossy();
    assert!(run(&["check", "--json", "--guest", "pool/old", "--host", &directory]).json().is_array());
    assert!(run(&["check", "--json", "--guest", "pool/old", "--host", "pool/old"]).json().is_object());
    assert!(run(&["show", "--json", &directory]).json().is_array());
    assert!(flat(&run(&["show", "--help"]).stdout).contains("an array for a directory or for several"));
}

#[test]
fn leaves_and_registers_are_hexadecimal_and_counts_are_numbers() {
    let values = run(&["level", "--json", "pool"]).json()["values"].clone();
    assert_eq!(values["max-extended-leaf"], "0x80000008");
    assert!(values["max-leaf"].is_string() && values["maxphysaddr"].is_number());
    let explained = run(&["explain", "--json", "max-leaf", "pool"]).json();
    assert!(explained["hosts"][0]["raw"].as_str().is_some_and(|text| text.starts_with("0x")));
}

#[test]
fn one_line_says_which_hosts_refuse() {
    let ended = run(&["check", "-q", "--guest", "pool/newest", "--host", "pool"]);
    assert_eq!(ended.status, 1);
    assert!(ended.stdout.starts_with("accepted by 1 of 3 hosts; refused by: new ("), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 1);
}

#[test]
fn files_that_are_the_same_and_hosts_of_one_name_are_noted() {
    let directory = scratch("same");
    copy("pool/old", &directory.join("old"));
    fs::hard_link(directory.join("old"), directory.join("older")).unwrap();
    let ended = run(&["level", "--json", &directory.to_string_lossy()]);
    assert!(ended.stderr.contains("the same file as"), "{}", ended.stderr);
    assert_eq!(names(&ended.json()["hosts"], ""), ["old"]);
    let ended = run(&["level", "--json", "twin", "pool/new"]);
    assert!(ended.stderr.contains("that of twin is new (2) here"), "{}", ended.stderr);
    assert_eq!(names(&ended.json()["costs"], "path"), ["pool/new", "twin"]);
    let document = run(&["diff", "--json", "twin", "pool/new"]).json();
    assert_eq!((&document["a"], &document["b"]), (&"new (twin)".into(), &"new (pool/new)".into()));
    let ended = run(&["check", "--guest", "twin", "--host", "pool/new"]);
    assert!(
        ended.stdout.contains("new (twin) can") && ended.stdout.contains("run on new (pool/new)"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_policy_without_a_vendor_is_no_input() {
    let text = run(&["policy", "--from", "pool/old"]).stdout;
    let mut file = PolicyFile::parse(text.as_bytes()).unwrap();
    file.policy.leaves = Leaves::new();
    let mut empty = String::new();
    file.write(&mut empty).unwrap();
    for arguments in [["show", "-"].as_slice(), &["level", "-"], &["check", "--guest", "-", "--host", "amd"]] {
        let ended = run_with(arguments, empty.as_bytes());
        assert_eq!((ended.status, &*ended.stdout), (2, ""), "{arguments:?}");
        assert!(ended.stderr.contains("this policy has no vendor"), "{}", ended.stderr);
    }
}

#[test]
fn spellings_of_linux_and_xen_are_understood() {
    let without = |words: &str| run(&["policy", "--from", "pool/newest", "--cpuid", words]);
    let expected = without("no-avx512vnni,kvm:no-sha-ni").stdout;
    assert!(expected.starts_with("selfsame 1 policy\n"));
    assert_eq!(without("no-avx512_vnni,kvm:no-sha_ni").stdout, expected);
    assert_eq!(without("NO-AVX512_VNNI,kvm:no-SHA_NI").stdout, expected);
    assert_eq!(run(&["explain", "--json", "AVX512_VNNI"]).json()["name"], "avx512vnni");
    // Every other spelling finds its row or says between which it cannot choose.
    for row in &FEATURES {
        for other in [row.linux, row.xen].into_iter().filter(|other| !other.is_empty()).take(1) {
            if row.place.word().index() % 16 == 0 {
                let ended = run(&["explain", "-q", other]);
                assert!(ended.status == 0 || ended.stderr.contains("several features"), "{other}: {}", ended.stderr);
            }
        }
    }
    assert!(run(&["explain", "EQ"]).stderr.contains("perfmon-eq"));
    assert!(run(&["level", "pool", "--cpuid", "no-eq"]).stderr.contains("perfmon-eq"));
}

#[test]
fn lines_keep_to_the_width_and_long_names_lose_their_middle() {
    let directory = scratch("long-names");
    let text = fs::read_to_string(fixtures().join("pool/old")).unwrap();
    let name = "compute-node-with-a-very-long-name.rack17.datacentre-3.example.com";
    let policy = run_with(&["policy", "--from", "-", "--name", name], text.as_bytes()).stdout;
    let file = directory.join("host");
    fs::write(&file, policy).unwrap();
    for arguments in
        [vec!["level", &*file.to_string_lossy(), "pool"], vec!["check", "--guest", "pool/newest", "--host"]]
    {
        let mut arguments = arguments;
        if arguments[0] == "check" {
            arguments.extend(["pool"]);
        }
        let ended = run(&arguments);
        let long: Vec<&str> = ended.stdout.lines().filter(|line| line.chars().count() > 100).collect();
        assert!(long.is_empty(), "{long:?}");
    }
    let page = run(&["level", &file.to_string_lossy(), "pool"]).stdout;
    assert!(page.contains("compute-n\u{2026}7.datacentre-3.example.com"), "{page}");
}

#[test]
fn a_finding_of_many_hosts_is_told_once() {
    let directory = scratch("one-finding");
    for i in 0..9 {
        copy("no-msrs", &directory.join(format!("host{i}")));
    }
    let page = run(&["level", &directory.to_string_lossy()]).stdout;
    assert_eq!(page.matches("the CPU has arch-capabilities").count(), 1, "{page}");
    assert!(page.contains("and 3 more)"), "{page}");
}

#[test]
fn the_counts_for_people_are_those_of_the_documents() {
    let page = run(&["level", "pool"]).stdout;
    let heading = page.lines().find(|line| line.starts_with("The level: ")).unwrap();
    let numbers: usize = heading.split(' ').filter_map(|word| word.parse::<usize>().ok()).sum();
    assert_eq!(numbers, run(&["level", "--json", "pool"]).json()["features"].as_array().unwrap().len(), "{heading}");
    assert!(flat(&run(&["show", "pool/old"]).stdout).contains("guests get only some of what the hardware has"));
}

#[test]
fn moves_that_would_fail_are_counted_in_english() {
    let directory = scratch("moves");
    let guest = policy(&["--from", "pool/newest"], &directory.join("guest.policy"));
    let ended = run(&["level", "-q", "pool", "--running", &guest]);
    assert!(ended.stdout.starts_with("refused: 2 moves of running guests would fail; "), "{}", ended.stdout);
}

#[test]
fn a_cpu_is_called_by_what_is_known_of_it_and_once() {
    for (cpu, called) in [
        ("", "unknown CPU"),
        ("<vendor>AMD</vendor>", "AuthenticAMD"),
        ("<signature family='23' model='49'/>", "family 23 model 0x31 stepping 0"),
        ("<vendor>AMD</vendor><signature family='23' model='49'/>", "AuthenticAMD family 23 model 0x31 stepping 0"),
    ] {
        let file = format!("<cpu><arch>x86_64</arch>{cpu}<feature name='fpu'/></cpu>");
        let line = run_with(&["show", "-q", "-"], file.as_bytes()).stdout;
        assert!(line.starts_with(&format!("stdin: {called}, ")) && line.matches("family").count() < 2, "{line}");
        let page = run_with(&["show", "-"], file.as_bytes()).stdout;
        assert!(page.contains(&format!("  cpu             {called}\n")), "{page}");
        let vendor = called.replace("AMD f", "AMD, f");
        assert_eq!(page.contains(&format!("  vendor          {vendor}\n")), !cpu.is_empty(), "{page}");
    }
}

#[test]
fn formats_that_are_not_read_are_named() {
    for (bytes, what) in [
        (b"\x1f\x8b\x08\0\0\0".as_slice(), "a gzip archive; unpack it first"),
        (b"\xfd7zXZ\0\0", "an xz archive"),
        (
            b"<capabilities>\n  <host><cpu/></host>\n</capabilities>\n",
            "line 2: no <cpu> element that says what a CPU has",
        ),
        (
            b"{\"return\": {\"model\": {\"name\": \"base\"}}}",
            "no expanded CPU model: ask QEMU with `query-cpu-model-expansion`",
        ),
    ] {
        let ended = run_with(&["show", "-"], bytes);
        assert_eq!((ended.status, &*ended.stdout), (2, ""), "{what}");
        assert!(ended.stderr.contains(what), "{}", ended.stderr);
    }
}

/// A dump that lost its end says of its last CPU less than that CPU is: nobody may find that out from the level.
#[test]
fn a_file_that_lost_its_end_is_told_with_the_level() {
    let cpu = |number: u32, rows: &[&str]| format!("CPU {number}:\n{}", rows.concat());
    let rows = [
        "   0x00000000 0x00: eax=0x00000007 ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69\n",
        "   0x00000001 0x00: eax=0x000806f8 ebx=0x00000800 ecx=0x00000000 edx=0x00000001\n",
        "   0x00000007 0x00: eax=0x00000000 ebx=0x00000100 ecx=0x00000000 edx=0x00000000\n",
    ];
    let dir = scratch("lost-end");
    let file = dir.join("host.txt");
    fs::write(&file, cpu(0, &rows) + &cpu(1, &rows[..2])).unwrap();
    let said = flat(&run(&["level", file.to_str().unwrap()]).stdout);
    assert!(said.contains("ends at leaf 00000001 instead of 00000007: the file may be cut off"), "{said}");

    // A K10 ends its basic leaves at 5, and has extended ones like all of AMD's CPUs.
    let amd = [
        "   0x00000000 0x00: eax=0x00000001 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65\n",
        "   0x00000001 0x00: eax=0x00100f22 ebx=0x00000800 ecx=0x00000000 edx=0x00000001\n",
    ];
    fs::write(&file, cpu(0, &amd)).unwrap();
    let said = flat(&run(&["level", file.to_str().unwrap()]).stdout);
    assert!(said.contains("ends at leaf 00000001 instead of 80000000: the file may be cut off"), "{said}");
}

#[test]
fn standard_input_comes_once() {
    let ended = run_with(&["diff", "-", "-"], &fs::read(fixtures().join("pool/old")).unwrap());
    assert_eq!(ended.status, 2, "{}", ended.stdout);
    assert!(ended.stderr.contains("asked for a second time"), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn links_that_name_one_another_stay_links() {
    let dir = scratch("link-loop");
    let (a, b) = (dir.join("a"), dir.join("b"));
    std::os::unix::fs::symlink(&b, &a).unwrap();
    std::os::unix::fs::symlink(&a, &b).unwrap();
    let pool = fixtures().join("pool");
    let ended = run(&["level", pool.to_str().unwrap(), "--force", "-o", a.to_str().unwrap()]);
    assert_eq!(ended.status, 2, "{}", ended.stdout);
    assert!(ended.stderr.contains("its links name one another"), "{}", ended.stderr);
    assert!(fs::symlink_metadata(&a).unwrap().is_symlink());
}
