//! KVM's entries as JSON.

use selfsame_formats::Format;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "kvm_json",
    run,
    seeds,
    words: &[
        "{\"entries\": [",
        "], \"msrs\": [{\"index\": 266, \"data\": \"0x1f\"}]}",
        "{\"function\": 7, ",
        "\"index\": 0, ",
        "\"flags\": 1, ",
        "\"eax\": ",
        "\"ebx\": ",
        "\"ecx\": ",
        "\"edx\": ",
        "\"0x80000008\"",
        "4294967295",
        "},",
    ],
    max_len_bytes: 2048,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::KvmJson);
}

fn seeds() -> Vec<Vec<u8>> {
    let rows = seeds::rows(|leaf, subleaf, regs| {
        let flags = u8::from(matches!(leaf, 7 | 0xb | 0xd));
        let [eax, ebx, ecx, edx] = [regs.eax, regs.ebx, regs.ecx, regs.edx];
        let place = format!(r#""function": {leaf}, "index": {subleaf}, "flags": {flags}"#);
        format!(",\n{{{place}, \"eax\": {eax}, \"ebx\": {ebx}, \"ecx\": \"{ecx:#x}\", \"edx\": {edx}}}")
    });
    rows.iter().map(|rows| format!("[{}]", rows.trim_start_matches(',')).into_bytes()).collect()
}
