//! What `selfsame xstate` writes over, and what not.

mod command;
#[path = "../../formats/tests/saved_files/mod.rs"]
mod saved_files;
mod xstate_inputs;

use std::fs;

use command::{run, scratch};
use saved_files::{core, hvm_context, hvm_xsave, libxc, libxl, record, thread, xl};
use xstate_inputs::{file, image, kvm_blob, out, policy};

#[test]
fn nothing_but_an_older_image_of_its_own_is_written_over_without_force() {
    let directory = scratch("xstate-over");
    let blob = file(&directory, "blob", &kvm_blob());
    let context = hvm_context(&[hvm_xsave(0, 7, 7, &image(832, 7, &[]))]);
    let others = [
        file(&directory, "notes.txt", b"mine\n"),
        file(&directory, "other.core", &core(&[thread(5, &image(832, 7, &[]))])),
        file(&directory, "guest.xl", &xl(b"{}", &libxl(&libxc(3, 2, &[record(9, &context)])))),
        file(&directory, "hvm", &context),
        file(&directory, "of-kvm", &kvm_blob()),
        file(&directory, "zeros", &[0; 4096]),
        file(&directory, "host", &fs::read(command::fixtures().join("pool/old")).unwrap()),
        policy(&directory, "amd", "cpuid=no-pku"),
    ];
    let convert = ["xstate", "convert", &*blob, "--to", "standard", "-o"];
    let web = directory.join("web.policy").to_str().unwrap().to_owned();
    let check = ["xstate", "check", &*blob, "--policy", &web, "--sanitise", "-o"];
    for to in &others {
        let before = fs::read(to).unwrap();
        for command in [&convert[..], &check] {
            let ended = run(&[command, &[to]].concat());
            assert_eq!(ended.status, 2, "{to}");
            let reason =
                if ended.stderr.contains("is an input") { "is an input" } else { "no image that selfsame wrote" };
            assert!(ended.stderr.contains(reason), "{}", ended.stderr);
            assert_eq!(fs::read(to).unwrap(), before);
        }
        assert_eq!(run(&[&convert[..], &[to, "--force"]].concat()).status, 0);
        assert_eq!(fs::read(to).unwrap().len(), 2440);
        // Now it is one.
        for format in ["compacted", "standard", "standard"] {
            assert_eq!(run(&["xstate", "convert", &blob, "--to", format, "-o", to]).status, 0);
        }
    }
}

#[test]
fn inputs_are_not_written_over_by_force_either() {
    let directory = scratch("xstate-over-input");
    let blob = file(&directory, "blob", &kvm_blob());
    let host = file(&directory, "amd", &fs::read(command::fixtures().join("amd")).unwrap());
    for to in [&blob, &host] {
        let before = fs::read(to).unwrap();
        let ended = run(&["xstate", "convert", &blob, "--to", "standard", "--host", &host, "--force", "-o", to]);
        assert_eq!(ended.status, 2);
        assert!(ended.stderr.contains("is an input"), "{}", ended.stderr);
        assert_eq!(fs::read(to).unwrap(), before);
    }
}

#[test]
fn the_image_that_another_is_made_of_does_not_go_where_the_answer_is() {
    let directory = scratch("xstate-answer");
    let blob = file(&directory, "blob", &kvm_blob());
    let web = policy(&directory, "amd", "cpuid=no-pku");
    let ended = run(&["xstate", "check", &blob, "--policy", &web, "--sanitise", "-o", "-"]);
    assert_eq!((ended.status, &*ended.stdout), (2, ""));
}

#[cfg(unix)]
#[test]
fn a_link_stays_one_whether_or_not_there_is_something_behind_it() {
    let directory = scratch("xstate-links");
    let blob = file(&directory, "blob", &kvm_blob());
    let (link, to) = out(&directory, "link");
    fs::create_dir(directory.join("images")).unwrap();
    std::os::unix::fs::symlink("second", &link).unwrap();
    std::os::unix::fs::symlink("images/vcpu0", directory.join("second")).unwrap();
    for _ in ["made", "replaced"] {
        assert_eq!(run(&["xstate", "convert", &blob, "--to", "standard", "-o", &to]).status, 0);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(directory.join("images/vcpu0")).unwrap().len(), 2440);
    }
    let piped = run(&["policy", "--from", "amd", "-o", "/dev/stdout"]);
    assert!(piped.status == 0 && piped.stdout.contains("selfsame 1 policy"), "a pipe is written to: {}", piped.stderr);
    std::os::unix::fs::symlink("nowhere/vcpu0", directory.join("lost")).unwrap();
    let lost = directory.join("lost").to_str().unwrap().to_owned();
    let ended = run(&["xstate", "convert", &blob, "--to", "standard", "-o", &lost]);
    assert_eq!(ended.status, 2);
    assert!(fs::symlink_metadata(&lost).unwrap().is_symlink());
}
