//! `selfsame xstate` with files that are large, odd or hostile: each is answered, or refused with the reason.

mod command;
#[path = "../../formats/tests/saved_files/mod.rs"]
mod saved_files;
mod xstate_inputs;

use std::fs::{self, File};
use std::io::Write;

use command::{names, run, run_with, scratch};
use saved_files::{core, hvm_context, hvm_xsave, layout_note, libxc, libxl, note, record, thread, xl};
use xstate_inputs::{assert_ends, compacted, file, image, kvm_blob, out, policy, shown};

#[test]
fn a_guest_with_more_memory_than_is_read_is_shown_converted_and_checked() {
    let directory = scratch("xstate-large");
    let context = hvm_context(&[hvm_xsave(0, 7, 7, &image(832, 7, &[(576, 0xBB)]))]);
    let whole = xl(b"{}", &libxl(&libxc(3, 2, &[record(9, &context)])));
    let at = whole.windows(4).position(|bytes| bytes == [9, 0, 0, 0]).unwrap();
    let (path, saved) = out(&directory, "saved");
    let mut large = File::create(&path).unwrap();
    // PAGE_DATA of 512 MiB, none of which takes room.
    large.write_all(&[&whole[..at], &[1, 0, 0, 0, 0, 0, 0, 0x20]].concat()).unwrap();
    large.set_len(at as u64 + 8 + (512 << 20)).unwrap();
    let mut large = File::options().append(true).open(&path).unwrap();
    large.write_all(&whole[at..]).unwrap();
    assert_eq!(shown(&["-q", &saved]), "saved, vcpu 0: standard, 832 bytes, x87|avx in use: accepted\n");
    let (written, to) = out(&directory, "avx");
    assert_eq!(run(&["xstate", "convert", &saved, "--to", "standard", "-o", &to]).status, 0);
    assert_eq!(fs::read(written).unwrap()[576], 0xBB);
    let web = policy(&directory, "amd", "cpuid=no-pku");
    assert_eq!(run(&["xstate", "check", &saved, "--policy", &web]).status, 0);
    fs::remove_file(path).unwrap();
}

#[test]
fn images_and_dumps_come_from_standard_input_too() {
    let line = |bytes: &[u8]| run_with(&["xstate", "show", "-q", "-"], bytes).stdout;
    assert_eq!(line(&kvm_blob()), "stdin: standard, 4096 bytes, sse|avx|pkru in use: accepted\n");
    let dump = fs::read(command::fixtures().join("pool/old")).unwrap();
    assert_eq!(line(&dump), "old: 3 components, xsave, 576 to 832 bytes a vCPU (standard 832)\n");
}

#[test]
fn a_layout_that_no_cpu_has_is_named_with_its_file() {
    let directory = scratch("xstate-lying-layout");
    let (written, to) = out(&directory, "out");
    let layout = layout_note(&[[2, 256, 0xFFFF_FFF0], [5, 64, 832], [6, 512, 896], [7, 1024, 1408]]);
    let dump = file(&directory, "core", &core(&[thread(5, &image(2440, 3, &[])), layout]));
    let ended = run(&["xstate", "convert", &dump, "--to", "standard", "-o", &to]);
    assert_eq!(ended.status, 2);
    for part in [
        "NT_X86_XSAVE_LAYOUT: avx ends at byte 4294967536, beyond the reported 4294967295",
        "core: its note NT_X86_XSAVE_LAYOUT contradicts itself, so what is kept there cannot be told",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert!(!written.exists());
    let document = run(&["xstate", "show", "--json", &dump]).json();
    assert_eq!(names(&document["findings"], "what"), ["NT_X86_XSAVE_LAYOUT"]);
}

#[test]
fn threads_that_cannot_be_read_or_named_are_told_and_hide_no_other() {
    let directory = scratch("xstate-threads");
    let (written, to) = out(&directory, "out");
    let convert = |path: &str, message: &str| {
        assert_ends(&["xstate", "convert", path, "--to", "standard", "-o", &to], 2, message, &written);
    };
    let short = file(&directory, "short", &core(&[thread(5, &[0; 100])]));
    convert(&short, "too short: an image of extended state has 576 bytes or more");
    let some = file(&directory, "some", &core(&[thread(5, b""), thread(6, &image(832, 7, &[]))]));
    let text = shown(&[&some]);
    assert!(text.contains("some, thread 6") && text.contains("too short: 5: left out"), "{text}");
    let ended = run(&["xstate", "convert", &some, "--to", "standard", "-o", &to]);
    assert_eq!(ended.status, 0);
    assert!(ended.stderr.contains("some: too short: 5: left out"), "{}", ended.stderr);
    fs::remove_file(&written).unwrap();
    let nameless = [1, 2].map(|byte| note(b"LINUX", 0x202, &image(832, 2, &[(160, byte)])));
    let nameless = file(&directory, "nameless", &core(&nameless));
    convert(&nameless, "has the state of 2 threads: say with --vcpu which one (0, 1)");
    assert_eq!(run(&["xstate", "convert", &nameless, "--vcpu", "1", "--to", "standard", "-o", &to]).status, 0);
    assert_eq!(fs::read(&written).unwrap()[160], 2);
}

#[test]
fn mxcsr_is_judged_by_the_mask_that_the_image_has() {
    let directory = scratch("xstate-mxcsr");
    let accepted = |mask: u32| {
        let mut bytes = image(832, 7, &[(26, 2)]);
        bytes[28..32].copy_from_slice(&mask.to_le_bytes());
        let document = run(&["xstate", "show", "--json", &file(&directory, "image", &bytes)]).json();
        let readings = document["images"][0]["readings"].as_array().unwrap().clone();
        readings.iter().map(|reading| reading["accepted"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(accepted(0xFFFF), [false; 3], "bit 17 is AMD's");
    assert_eq!(accepted(0x2_FFFF), [true; 3]);
    assert_eq!(accepted(0), [true; 3], "whose it is, is not known");
}

#[test]
fn xrstors_is_no_instruction_of_a_host_without_it() {
    let directory = scratch("xstate-xrstors");
    let mut bytes = compacted(0);
    bytes[512..528].copy_from_slice(&[4u64, 1 << 63 | 7].map(u64::to_le_bytes).concat());
    let image = file(&directory, "image", &bytes);
    let readings = |host: &str| {
        let document = run(&["xstate", "show", "--json", &image, "--from-host", host]).json();
        document["images"][0]["readings"].clone()
    };
    let old = readings("pool/old");
    assert_eq!(names(&old, "reader"), ["strict", "xrstor", "xrstors", "kvm"]);
    assert_eq!(names(&old[2]["faults"], "name"), ["NoXsaves"]);
    let without_xsave = readings("../../../../fixtures/amd/milan-kvm.capture");
    assert_eq!(names(&without_xsave[1]["faults"], "name"), ["NoXsave"]);
}

#[test]
fn intels_places_are_shown_with_a_doubt_where_the_mask_is_amds() {
    let directory = scratch("xstate-doubt");
    let mut bytes = image(2688, 0xE7, &[(576, 1)]);
    bytes[28..32].copy_from_slice(&0x2_FFFFu32.to_le_bytes());
    bytes[464] = 0xE7;
    let dump = file(&directory, "core", &core(&[thread(5, &bytes)]));
    let text = shown(&[&dump]);
    assert!(text.contains("by its length, that of Intel CPUs; but bit 17 of mxcsr_mask is set"), "{text}");
    let findings = run(&["xstate", "show", "--json", &dump]).json()["images"][0]["findings"].clone();
    assert_eq!((names(&findings, "what"), names(&findings, "severity")), (vec!["places"], vec!["warning"]));
    let (_, to) = out(&directory, "out");
    let ended = run(&["xstate", "convert", &dump, "--to", "standard", "-o", &to]);
    assert!(ended.status == 0 && ended.stderr.contains("core: places: by its length"), "{}", ended.stderr);
}
