//! What `xen-cpuid -p` prints.

use selfsame_formats::Format;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "xen_policy",
    run,
    seeds,
    words: &[
        "Raw policy: 2 leaves, 1 MSRs\n",
        "HVM Max policy: 2 leaves, 1 MSRs\n",
        "PV Default policy: 2 leaves, 1 MSRs\n",
        " CPUID:\n",
        " MSRs:\n",
        ":ffffffff",
        " -> ",
        "  0000000",
    ],
    max_len_bytes: 2048,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::XenPolicy);
}

fn seeds() -> Vec<Vec<u8>> {
    let rows = seeds::rows(|leaf, subleaf, regs| {
        let subleaf = if matches!(leaf, 7 | 0xb | 0xd) { subleaf } else { u32::MAX };
        format!("  {leaf:08x}:{subleaf:08x} -> {:08x}:{:08x}:{:08x}:{:08x}\n", regs.eax, regs.ebx, regs.ecx, regs.edx)
    });
    let text = |rows: &String| {
        let count = rows.lines().count();
        let head = format!(
            "Raw policy: {count} leaves, 1 MSRs\n CPUID:\n  leaf     subleaf  -> eax      ebx      ecx      edx\n"
        );
        format!("{head}{rows} MSRs:\n  index    -> value\n  000000ce -> 0000000080000000\n").into_bytes()
    };
    rows.iter().map(text).collect()
}
