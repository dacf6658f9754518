//! The project's own captures.

use selfsame_formats::Format;

use crate::check::with_check;
use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "capture",
    run,
    seeds: seeds::captures,
    words: &[
        "\nname ",
        "\nsource cpuid\n",
        "\nsource kvm\n",
        "\ncontext a=b",
        "\ncpu 0-3,8\n",
        "\nleaf 0000",
        "\nmsr  0000",
        "  fault\n",
        " --  ",
        " # ",
    ],
    max_len_bytes: 2048,
};

/// Reads the bytes as they are, and with the check that their lines ask for.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::Capture);
    if let Some(checked) = with_check(bytes).filter(|checked| checked != bytes) {
        law::of_files(&checked, Format::Capture);
    }
}
