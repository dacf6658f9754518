//! What `cpuid -r` writes.

use selfsame_formats::Format;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "cpuid_r",
    run,
    seeds,
    words: &["CPU:\n", "CPU 1:\n", "   0x0000000", " 0x00: ", "eax=0x", " ebx=0x", " ecx=0x", " edx=0x"],
    max_len_bytes: 2048,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::CpuidRaw);
}

fn seeds() -> Vec<Vec<u8>> {
    let rows = seeds::rows(|leaf, subleaf, regs| {
        let [eax, ebx, ecx, edx] = [regs.eax, regs.ebx, regs.ecx, regs.edx];
        format!("   {leaf:#010x} {subleaf:#04x}: eax={eax:#010x} ebx={ebx:#010x} ecx={ecx:#010x} edx={edx:#010x}\n")
    });
    rows.iter().map(|rows| format!("CPU 0:\n{rows}").into_bytes()).collect()
}
