//! QEMU's `-cpu`.

use selfsame_cpuid::Kind;
use selfsame_formats::Format;
use selfsame_formats::export::Target as Export;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "qemu_cpu",
    run,
    seeds,
    words: &[
        "-cpu ",
        "qemu-system-x86_64 ",
        "Skylake-Server-v4",
        "EPYC-Genoa",
        ",vendor=GenuineIntel",
        ",family=",
        ",model=",
        ",stepping=",
        ",phys-bits=",
        ",avx10-version=",
        ",enforce",
        "=on",
        "=off",
        ",+vmx",
        ",-avx",
        " \\\n",
        "\"",
        "'",
    ],
    max_len_bytes: 512,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::QemuCpu);
}

fn seeds() -> Vec<Vec<u8>> {
    let named = seeds::exports(Kind::Kvm, Export::Qemu);
    let whole = named.iter().map(|cpu| [b"qemu-system-x86_64 -m 4G \\\n  ".as_slice(), cpu].concat());
    named.iter().cloned().chain(whole).chain(seeds::exports(Kind::Kvm, Export::QemuBase)).collect()
}
