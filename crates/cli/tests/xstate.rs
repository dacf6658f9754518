//! `selfsame xstate`: what is shown of hosts and images, and what becomes of images between hosts.

mod command;
#[path = "../../formats/tests/saved_files/mod.rs"]
mod saved_files;
mod xstate_inputs;

use std::fs;

use command::{names, run, scratch};
use insta::assert_snapshot;
use saved_files::{core, hvm_context, hvm_xsave, layout_note, libxc, libxl, pv_xsave, record, thread, xl};
use xstate_inputs::{assert_ends, compacted, file, image, kvm_blob, out, policy, shown};

#[test]
fn a_host_is_shown_with_its_components_configurations_and_layouts() {
    assert_snapshot!("xstate_host", shown(&["pool/newest"]));
    assert_snapshot!("xstate_host_json", shown(&["--json", "amd"]));
    assert_eq!(shown(&["-q", "pool/old"]), "old: 3 components, xsave, 576 to 832 bytes a vCPU (standard 832)\n");
}

#[test]
fn the_documentation_quotes_the_command() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/xstate.md");
    let text = fs::read_to_string(FILE).unwrap();
    assert!(text.contains(&shown(&["../../../../fixtures/pool/sapphire_rapids.capture"])));
    let directory = scratch("xstate-documentation");
    let blob = file(&directory, "blob", &kvm_blob());
    assert!(text.contains(&shown(&[&blob])));
    let mut bytes = kvm_blob();
    bytes[560] = 1;
    let image = file(&directory, "vcpu0", &bytes);
    let web = policy(&directory, "amd", "cpuid=no-pku");
    let ended = run(&["xstate", "check", &image, "--policy", &web, "--host", "pool/old"]);
    assert!(text.contains(&ended.stdout), "{}", ended.stdout);
}

#[test]
fn a_policy_is_shown_with_what_its_guests_need() {
    let directory = scratch("xstate-policy");
    let without_amx = policy(&directory, "pool/newest", "cpuid=no-amx-tile");
    let document = run(&["xstate", "show", "--json", &without_amx]).json();
    assert_eq!(document["area"]["max_bytes"], 2440, "no bytes of AMX");
    assert_eq!(document["configurations"]["guest_user"]["max"], "0x2e7");
    assert_eq!(document["source"], "policy");
}

#[test]
fn what_no_feature_of_a_host_uses_is_not_kept_there() {
    let fixture = |name: &str| format!("{}/../../fixtures/amd/{name}.capture", env!("CARGO_MANIFEST_DIR"));
    let document = run(&["xstate", "show", "--json", &fixture("milan-kvm")]).json();
    assert_eq!((&document["save"], &document["xcr0"]), (&"fxsave".into(), &"0x0".into()));
    assert_eq!(document["configurations"]["guest_user"]["max"], "0x3");
    assert_eq!(document["findings"][0]["what"], "x87|sse|avx");
    let document = run(&["xstate", "show", "--json", &fixture("ryzen-cet-avx512")]).json();
    for configuration in ["host_kernel", "host_user", "guest_kernel", "guest_user"] {
        assert_eq!(document["configurations"][configuration]["max"], "0xe7", "neither pku nor cet");
    }
    assert_eq!(document["area"]["minimal_bytes"], 576);
    assert_eq!(document["findings"][0]["what"], "pkru|cet-u|cet-s");
    // User interrupts are the host's own.
    let document = run(&["xstate", "show", "--json", "../../../../fixtures/pool/sapphire_rapids.capture"]).json();
    assert_eq!((&document["xss"], &document["findings"]), (&"0x5800".into(), &serde_json::json!([])));
}

#[test]
fn a_host_without_xsave_takes_no_guest_that_has_it() {
    let directory = scratch("xstate-fxsave");
    let milan = format!("{}/../../fixtures/amd/milan-kvm.capture", env!("CARGO_MANIFEST_DIR"));
    let image = file(&directory, "vcpu0", &image(832, 3, &[(160, 1)]));
    let sse = policy(&directory, "amd", "cpuid=no-avx,no-pku");
    let check = |host: &str| {
        let ended = run(&["xstate", "check", &image, "--policy", &sse, "--from-host", "amd", "--host", host, "--json"]);
        (ended.status, ended.json()["refusals"].clone())
    };
    assert_eq!(check("amd").0, 0);
    let (status, refusals) = check(&milan);
    assert_eq!((status, names(&refusals, "what"), names(&refusals, "rule")), (1, vec!["xsave"], vec!["not-on-host"]));
}

#[test]
fn images_are_shown_with_what_is_in_use_and_who_loads_them() {
    let directory = scratch("xstate-images");
    let blob = file(&directory, "blob", &kvm_blob());
    assert_snapshot!("xstate_image", shown(&[&blob]));
    assert_snapshot!("xstate_image_json", shown(&["--json", &blob]));
    let line = "blob: standard, 4096 bytes, sse|avx|pkru in use: accepted\n";
    assert_eq!(shown(&["-q", &blob]), line);

    // A thread whose SSE is initial, and one with everything wrong that a header can have.
    let mut broken = image(2440, 0x8000_0000_0000_1A0F, &[(520, 1), (528, 1), (560, 1), (27, 0xFF)]);
    broken[464..472].copy_from_slice(&0x207u64.to_le_bytes());
    let layout = layout_note(&[[2, 256, 576], [9, 8, 2432]]);
    let dump = core(&[thread(100, &image(2440, 0x3, &[(0, 0x7F), (1, 0x03)])), thread(101, &broken), layout]);
    let dump = file(&directory, "core", &dump);
    assert_snapshot!("xstate_core", shown(&[&dump]));
    assert_eq!(
        shown(&["-q", &dump, "--vcpu", "100"]),
        "core, thread 100: standard, 2440 bytes, none in use: accepted\n"
    );
}

#[test]
fn every_defect_of_an_image_has_its_name_in_json() {
    let directory = scratch("xstate-defects");
    let broken = image(2440, 0x8000_0000_0000_040F, &[(520, 1), (528, 1), (560, 1), (27, 0xFF)]);
    let broken = file(&directory, "broken", &broken);
    let document = run(&["xstate", "show", "--json", &broken, "--from-host", "amd"]).json();
    let readings = &document["images"][0]["readings"];
    assert_eq!(names(readings, "reader"), ["strict", "xrstor", "kvm"]);
    let all = ["ReservedBit", "NotEnabled", "CompactionBits", "Reserved", "ReservedTail", "Mxcsr"];
    assert_eq!(names(&readings[0]["faults"], "name"), all);
    assert_eq!(names(&readings[1]["faults"], "name"), ["NotEnabled"]);
    assert_eq!(names(&readings[2]["faults"], "name"), ["Unsupported"]);
}

#[test]
fn vcpus_of_saved_xen_guests_are_shown_with_their_registers() {
    let directory = scratch("xstate-xen");
    let images = [image(832, 0x7, &[(0, 0x7F), (1, 0x03), (700, 9)]), image(832, 0, &[])];
    let context = hvm_context(&[hvm_xsave(0, 7, 7, &images[0]), hvm_xsave(1, 1, 7, &images[1])]);
    let hvm = file(&directory, "hvm", &context);
    let saved = file(&directory, "saved", &xl(b"{}", &libxl(&libxc(3, 2, &[record(9, &context)]))));
    let pv = libxc(3, 1, &[pv_xsave(0, 7, 7, &images[0]), pv_xsave(1, 1, 7, &images[1])]);
    let pv = file(&directory, "pv", &pv);
    assert_snapshot!("xstate_xen", shown(&[&saved, "--vcpu", "0"]));
    for path in [&hvm, &saved, &pv] {
        let document = run(&["xstate", "show", "--json", path]).json();
        let of = |index: usize, member: &str| document["images"][index][member].clone();
        assert_eq!((of(0, "number"), of(1, "number")), (0.into(), 1.into()));
        assert_eq!((of(1, "xcr0"), of(1, "accumulated_xcr0")), ("0x1".into(), "0x7".into()));
    }
}

#[test]
fn a_converted_image_lies_in_the_other_hosts_places_and_comes_back_unchanged() {
    let directory = scratch("xstate-convert");
    let blob = file(&directory, "blob", &kvm_blob());
    let convert = |from: &str, arguments: &[&str], to: &str| {
        let (path, to) = out(&directory, to);
        let ended = run(&[&["xstate", "convert", from, "-o", &to], arguments].concat());
        assert_eq!((ended.status, &*ended.stderr), (0, ""));
        (fs::read(path).unwrap(), to, ended.stdout)
    };
    let (amd, amd_file, _) = convert(&blob, &["--to", "standard", "--from-host", "amd"], "amd");
    let (intel, intel_file, said) = convert(&blob, &["--to", "standard", "--host", "pool/new"], "intel");
    assert!(said.ends_with("intel: standard as on new, 2696 bytes, sse|avx|pkru in use\n"), "{said}");
    let at = |bytes: &[u8], places: [usize; 3]| places.map(|place| bytes[place]);
    assert_eq!((amd.len(), at(&amd, [160, 576, 2432])), (2440, [0xAA, 0xBB, 0x54]));
    assert_eq!((intel.len(), at(&intel, [160, 576, 2688])), (2696, [0xAA, 0xBB, 0x54]));
    let (compacted, compacted_file, _) =
        convert(&intel_file, &["--to", "compacted", "--from-host", "pool/new"], "compacted");
    assert_eq!((compacted.len(), at(&compacted, [160, 576, 832])), (840, [0xAA, 0xBB, 0x54]));
    let (back, ..) = convert(&compacted_file, &["--to", "standard", "--host", "amd"], "back");
    assert_eq!(back, amd);
    let (again, ..) = convert(&amd_file, &["--to", "standard", "--from-host", "amd"], "again");
    assert_eq!(again, amd);
}

#[test]
fn no_vendors_places_are_made_up_for_a_compacted_image() {
    let directory = scratch("xstate-open-places");
    let (written, to) = out(&directory, "out");
    let unmarked = file(&directory, "unmarked", &compacted(0));
    let convert = ["xstate", "convert", &*unmarked, "--to", "standard", "-o", &to];
    let message = "unmarked: does not say whose CPU saved it, and pkru lie in other places on Intel's and on AMD's";
    assert_ends(&convert, 2, message, &written);
    for (option, host, offset) in [("--host", "amd", 2432), ("--from-host", "amd", 2432), ("--host", "pool/new", 2688)]
    {
        assert_eq!(run(&[&convert[..], &[option, host]].concat()).status, 0);
        assert_eq!(fs::read(&written).unwrap()[offset], 0x54, "{option} {host}");
        fs::remove_file(&written).unwrap();
    }
    // The image tells it, or what is in use lies in the same places everywhere.
    let mut initial = compacted(0);
    initial[832] = 0;
    for (bytes, len, offset) in
        [(compacted(0x2_FFFF), 2440, 2432), (compacted(0xFFFF), 2696, 2688), (initial, 832, 576)]
    {
        let marked = file(&directory, "marked", &bytes);
        assert_eq!(run(&["xstate", "convert", &marked, "--to", "standard", "-o", &to]).status, 0);
        let bytes = fs::read(&written).unwrap();
        assert!(bytes.len() == len && bytes[offset] != 0, "{} bytes", bytes.len());
        fs::remove_file(&written).unwrap();
    }
    assert_eq!(run(&["xstate", "convert", &unmarked, "--to", "compacted", "-o", &to]).status, 0);
}

#[test]
fn the_help_of_convert_says_when_it_needs_a_host() {
    let help = run(&["xstate", "convert", "--help"]).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("[default: the one that saved it, where the image tells it]"), "{help}");
    assert!(help.contains("2: the image does not tell whose CPU saved it"), "{help}");
}

#[test]
fn what_does_not_fit_is_named_and_nothing_is_written() {
    let directory = scratch("xstate-misfit");
    let (written, to) = out(&directory, "out");
    let convert = |image: &[u8], arguments: &[&str], message: &str| {
        let file = file(&directory, "image", image);
        assert_ends(&[&["xstate", "convert", &*file, "-o", &to], arguments].concat(), 1, message, &written);
    };
    let blob = kvm_blob();
    convert(
        &blob,
        &["--to", "standard", "--host", "pool/old"],
        "pkru are in use, and the layout has no place for them",
    );
    let mut mxcsr = blob.clone();
    mxcsr[26] = 2;
    convert(&mxcsr, &["--to", "standard", "--host", "pool/new"], "mxcsr 0x21f80 has bits beyond 0xffff");
    let mut broken = blob;
    (broken[520], broken[560]) = (1, 1);
    convert(
        &broken,
        &["--to", "compacted"],
        "xcomp_bv is 0x1 in a standard image; bytes 24 to 63 of the header are not zero",
    );
    // Shadow stacks have no place in a standard image.
    let mut cet = image(600, 0x800, &[(576, 1)]);
    cet[520..528].copy_from_slice(&(1u64 << 63 | 0x803).to_le_bytes());
    convert(&cet, &["--to", "standard"], "cet-u are in use, and the layout has no place for them");
}

#[test]
fn unusable_images_are_told_apart_from_refused_ones() {
    let directory = scratch("xstate-unusable");
    let (written, to) = out(&directory, "out");
    let convert = |path: &str, message: &str| {
        assert_ends(&["xstate", "convert", path, "--to", "compacted", "-o", &to], 2, message, &written);
    };
    convert("nowhere", "nowhere: cannot be read: no such file or directory");
    convert("pool", "pool: a directory; give one file");
    convert("amd", "amd: no extended state of a known format");
    convert(&file(&directory, "short", &[0; 575]), "short: no extended state of a known format");
    let two = core(&[thread(5, &image(832, 3, &[])), thread(6, &image(832, 3, &[]))]);
    convert(&file(&directory, "cut", &two[..1000]), "cut: byte 64: its notes are cut off");
    let two = file(&directory, "two", &two);
    convert(&two, "has the state of 2 threads: say with --vcpu which one (5, 6)");
    let ended = run(&["xstate", "convert", &two, "--vcpu", "7", "--to", "compacted", "-o", &to]);
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.contains("has no state of thread 7, but of 5, 6"), "{}", ended.stderr);
    let unmarked = file(&directory, "unmarked", &image(4096, 0x200, &[]));
    convert(&unmarked, "does not say whose CPU saved it: give that host's dump with --from-host");
    let ended = run(&["xstate", "show", directory.join("short").to_str().unwrap()]);
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.contains("short: no extended state of a known format"), "{}", ended.stderr);
    let ended = run(&["xstate", "show", "bad/notes"]);
    assert_eq!(ended.status, 2);
    assert!(ended.stderr.contains("no row of a known format"), "{}", ended.stderr);
}

#[test]
fn a_guest_is_told_every_reason_why_it_cannot_load_an_image() {
    let directory = scratch("xstate-check");
    let mut bytes = kvm_blob();
    bytes[560] = 1;
    let image = file(&directory, "vcpu0", &bytes);
    let web = policy(&directory, "amd", "cpuid=no-pku");
    let check = ["xstate", "check", &*image, "--policy", &web, "--host", "pool/old"];
    let ended = run(&check);
    assert_eq!((ended.status, &*ended.stderr), (1, ""));
    assert_snapshot!("xstate_check", ended.stdout);
    assert_snapshot!("xstate_check_json", run(&[&check[..], &["--json"]].concat()).stdout);
    assert_eq!(run(&[&check[..], &["-q"]].concat()).stdout, "refused: 2 reasons\n");

    let sound = file(&directory, "sound", &kvm_blob());
    let all = policy(&directory, "amd", "cpuid=no-avx2");
    let ended = run(&["xstate", "check", &sound, "--policy", &all, "--host", "amd", "-q"]);
    assert_eq!((ended.status, &*ended.stdout), (0, "accepted\n"));
    let ended = run(&["xstate", "check", &sound, "--policy", &all, "--host", "pool/old"]);
    assert_eq!(ended.status, 1);
    assert!(ended.stdout.contains("the policy has pkru, which this host cannot keep"), "{}", ended.stdout);
    assert_eq!(run(&["xstate", "check", &sound, "--policy", "amd"]).status, 2);
}

#[test]
fn a_standard_image_in_another_vendors_places_is_refused_until_it_is_converted() {
    let directory = scratch("xstate-moved");
    let image = file(&directory, "vcpu0", &kvm_blob());
    let web = policy(&directory, "amd", "cpuid=no-avx2");
    let check = |image: &str, host: &str| {
        let ended =
            run(&["xstate", "check", image, "--policy", &web, "--from-host", host, "--host", "pool/new", "--json"]);
        (ended.status, ended.json()["refusals"].clone())
    };
    let (status, refusals) = check(&image, "amd");
    assert_eq!((status, names(&refusals, "what"), names(&refusals, "rule")), (1, vec!["pkru"], vec!["layout"]));
    assert!(refusals[0]["reason"].as_str().unwrap().contains("`selfsame xstate convert --host` moves it"));
    let (_, moved) = out(&directory, "moved");
    assert_eq!(run(&["xstate", "convert", &image, "--to", "standard", "--host", "pool/new", "-o", &moved]).status, 0);
    assert_eq!(check(&moved, "pool/new"), (0, serde_json::json!([])));
    // What is absent, and what a compacted image has, is loaded from nowhere else.
    let absent = file(&directory, "absent", &image_of_avx());
    assert_eq!(check(&absent, "amd").0, 0);
    assert_eq!(check(&file(&directory, "compacted", &compacted(0)), "amd").0, 0);
}

/// What KVM gives of an AMD guest whose PKRU is initial.
fn image_of_avx() -> Vec<u8> {
    let mut blob = kvm_blob();
    blob[513] = 0;
    blob
}

#[test]
fn several_states_are_answered_for_each() {
    let directory = scratch("xstate-several");
    let layout = layout_note(&[[2, 256, 576], [9, 8, 2432]]);
    let images = [image(2440, 0x7, &[]), image(2440, 0x200, &[(2432, 1)])];
    let dump = core(&[thread(5, &images[0]), thread(6, &images[1]), layout]);
    let dump = file(&directory, "core", &dump);
    let web = policy(&directory, "amd", "cpuid=no-pku");
    let ended = run(&["xstate", "check", &dump, "--policy", &web, "--json"]);
    assert_eq!(ended.status, 1);
    let document = ended.json();
    assert_eq!([0, 1].map(|index: usize| document[index]["accepted"].as_bool()), [Some(true), Some(false)]);
    let line = run(&["xstate", "check", &dump, "--policy", &web, "-q"]).stdout;
    assert_eq!(line, "refused: thread 6 (1 reason)\n");
    assert_eq!(run(&["xstate", "check", &dump, "--policy", &web, "-q", "--vcpu", "5"]).stdout, "accepted\n");
}

#[test]
fn a_vcpu_that_xen_would_not_restore_is_refused() {
    let directory = scratch("xstate-record");
    let web = policy(&directory, "amd", "cpuid=no-pku");
    let check = |xcr0: u64, accumulated: u64, image: &[u8]| {
        let context = file(&directory, "hvm", &hvm_context(&[hvm_xsave(0, xcr0, accumulated, image)]));
        let ended = run(&["xstate", "check", &context, "--policy", &web, "--json"]);
        let refusals = ended.json()["refusals"].clone();
        assert_eq!(ended.status == 0, refusals == serde_json::json!([]), "{refusals}");
        names(&refusals, "reason").join("; ")
    };
    let sound = image(832, 7, &[]);
    assert_eq!(check(7, 7, &sound), "");
    assert_eq!(check(3, 7, &[&sound[..], &[0; 64]].concat()), "", "as Xen 4.3 wrote it");
    for (xcr0, accumulated, image, reason) in [
        (7, 0x207, image(2440, 7, &[]), "what xcr0 ever had, taken as one value: xcr0 0x207 has unsupported pkru"),
        (0x207, 0x207, image(2440, 7, &[]), "xcr0 0x207 has unsupported pkru; what xcr0 ever had"),
        (7, u64::MAX, sound.clone(), "what xcr0 ever had, taken as one value: xcr0 0xffffffffffffffff has unsupported"),
        (5, 7, sound.clone(), "xcr0 0x5 has avx without sse"),
        (7, 3, image(576, 3, &[]), "xcr0 has avx, which it never had by the record"),
        (7, 6, sound.clone(), "what xcr0 ever had, taken as one value: xcr0 0x6 lacks x87"),
        (3, 3, sound.clone(), "xstate_bv has avx, which xcr0 never had by the record"),
        (7, 7, image(896, 7, &[(890, 1)]), "byte 890 of the record's image lies behind all that xcr0 ever had"),
        (7, 7, image(800, 3, &[]), "the record has an image of 800 bytes, and what xcr0 ever had takes 832"),
        (7, 7, compacted_of_avx(), "the image is compacted, and records hold standard ones"),
    ] {
        let reasons = check(xcr0, accumulated, &image);
        assert!(reasons.contains(reason), "{reasons}");
    }
}

#[test]
fn a_xen_record_is_as_long_as_the_host_that_loads_it_wants() {
    let directory = scratch("xstate-record-host");
    let web = policy(&directory, "amd", "cpuid=no-avx2");
    let check = |from: &str, host: &str, image: &[u8]| {
        let context = file(&directory, "hvm", &hvm_context(&[hvm_xsave(0, 0x207, 0x207, image)]));
        let hosts = ["--from-host", from, "--host", host];
        let ended = run(&[&["xstate", "check", &context, "--policy", &web, "--json"], &hosts[..]].concat());
        (ended.status, ended.json()["refusals"].clone())
    };
    let [of_amd, of_intel] = [image(2440, 7, &[]), image(2696, 7, &[])];
    assert_eq!(check("amd", "amd", &of_amd).0, 0);
    let (status, refusals) = check("amd", "pool/new", &of_amd);
    assert_eq!((status, names(&refusals, "what"), names(&refusals, "rule")), (1, vec!["record"], vec!["layout"]));
    let reason = "the record has an image of 2440 bytes, and what xcr0 ever had takes 2696 on the host";
    assert_eq!(names(&refusals, "reason"), [reason]);
    assert_eq!(check("pool/new", "amd", &of_intel).0, 0, "the tail is zero");
    let reasons = names(&check("amd", "pool/old", &of_amd).1, "reason").join("; ");
    assert!(reasons.contains("xcr0 0x207 has unsupported pkru"), "{reasons}");
}

#[test]
fn the_record_of_a_pv_guest_has_nothing_behind_the_image() {
    let directory = scratch("xstate-record-pv");
    let web = policy(&directory, "amd", "cpuid=no-pku");
    let check = |image: &[u8]| {
        let saved = file(&directory, "pv", &libxc(3, 1, &[pv_xsave(0, 7, 7, image)]));
        names(&run(&["xstate", "check", &saved, "--policy", &web, "--json"]).json()["refusals"], "reason").join("; ")
    };
    assert_eq!(check(&image(832, 7, &[])), "");
    let reason = "the record has an image of 896 bytes, and what xcr0 ever had takes 832 on the host: that of a pv guest \
                  has no more";
    assert_eq!(check(&image(896, 7, &[])), reason);
    assert_eq!(check(&image(896, 7, &[(890, 1)])), reason);
}

fn compacted_of_avx() -> Vec<u8> {
    let mut bytes = image(832, 4, &[]);
    bytes[520..528].copy_from_slice(&(1u64 << 63 | 7).to_le_bytes());
    bytes
}

#[test]
fn the_nearest_image_is_written_on_request_and_can_be_loaded() {
    let directory = scratch("xstate-sanitise");
    let mut bytes = kvm_blob();
    (bytes[560], bytes[27]) = (1, 0x80);
    let broken = file(&directory, "broken", &bytes);
    let web = policy(&directory, "amd", "cpuid=no-pku");
    let (written, to) = out(&directory, "mended");
    let ended = run(&["xstate", "check", &broken, "--policy", &web, "--sanitise", "-o", &to, "-q"]);
    assert_eq!((ended.status, &*ended.stdout), (1, "refused: 3 reasons\n"));
    assert!(ended.stderr.contains("3 faults mended, sse|avx in use"), "{}", ended.stderr);
    let ended = run(&["xstate", "check", &to, "--policy", &web, "-q"]);
    assert_eq!((ended.status, &*ended.stdout), (0, "accepted\n"));
    let mended = fs::read(&written).unwrap();
    assert_eq!(([mended[160], mended[576]], &mended[24..28]), ([0xAA, 0xBB], &0x1F80u32.to_le_bytes()[..]));

    fs::remove_file(&written).unwrap();
    let short = file(&directory, "short", &kvm_blob()[..700]);
    let ended = run(&["xstate", "check", &short, "--policy", &web, "--sanitise", "-o", &to, "-q"]);
    assert_eq!(ended.status, 1);
    assert!(ended.stderr.contains("mended: not written: 700 bytes are fewer"), "{}", ended.stderr);
    assert!(!written.exists());
}
