//! Images, and what tests of `selfsame xstate` do with them.
#![allow(dead_code, reason = "each test file uses some of the helpers")]
#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::run;

/// A standard image with these components present, made by the bytes at some places.
pub(crate) fn image(len: usize, xstate_bv: u64, bytes: &[(usize, u8)]) -> Vec<u8> {
    let mut image = vec![0; len];
    image[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    image[512..520].copy_from_slice(&xstate_bv.to_le_bytes());
    for &(at, byte) in bytes {
        image[at] = byte;
    }
    image
}

/// What KVM gives of an AMD guest whose XMM0, YMM0 and PKRU have values.
pub(crate) fn kvm_blob() -> Vec<u8> {
    let mut blob = image(4096, 0x206, &[(160, 0xAA), (576, 0xBB), (2432, 0x54)]);
    blob[28..32].copy_from_slice(&0x2_FFFFu32.to_le_bytes());
    blob[464..472].copy_from_slice(&0x207u64.to_le_bytes());
    blob
}

/// A file of one test, as an argument.
pub(crate) fn file(directory: &Path, name: &str, bytes: &[u8]) -> String {
    let path = directory.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A policy of a host, as an argument.
pub(crate) fn policy(directory: &Path, host: &str, words: &str) -> String {
    let path = directory.join("web.policy").to_str().unwrap().to_owned();
    let ended = run(&["policy", "--from", host, words, "--name", "web", "-o", &path]);
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    path
}

/// A file that is to be written, also as an argument.
pub(crate) fn out(directory: &Path, name: &str) -> (PathBuf, String) {
    let path = directory.join(name);
    (path.clone(), path.to_str().unwrap().to_owned())
}

/// What `xstate show` prints.
#[track_caller]
pub(crate) fn shown(arguments: &[&str]) -> String {
    let ended = run(&[&["xstate", "show"], arguments].concat());
    assert_eq!((ended.status, &*ended.stderr), (0, ""));
    ended.stdout
}

/// Asserts that a command ends with a status, says `message` on standard error, and writes nothing.
#[track_caller]
pub(crate) fn assert_ends(arguments: &[&str], status: i32, message: &str, written: &Path) {
    let ended = run(arguments);
    assert_eq!((ended.status, &*ended.stdout), (status, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    assert!(!written.exists());
}

/// A compacted image with YMM0 and PKRU.
pub(crate) fn compacted(mxcsr_mask: u32) -> Vec<u8> {
    let mut bytes = image(840, 0x204, &[(576, 0xBB), (832, 0x54)]);
    bytes[28..32].copy_from_slice(&mxcsr_mask.to_le_bytes());
    bytes[520..528].copy_from_slice(&(1u64 << 63 | 0x207).to_le_bytes());
    bytes
}
