//! The raw dumps of libvirt's tests.

use selfsame_formats::Format;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "libvirt_cpudata",
    run,
    seeds,
    words: &[
        "<cpudata arch='x86'>",
        "</cpudata>",
        "<cpuid eax_in='0x0000000",
        " ecx_in='0x0",
        " eax='0x",
        " ebx='0x",
        " ecx='0x",
        " edx='0x",
        "<msr index='0x10a' edx='0x",
        "'/>",
        "<!-- ",
        " -->",
    ],
    max_len_bytes: 2048,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::LibvirtCpuData);
}

fn seeds() -> Vec<Vec<u8>> {
    let rows = seeds::rows(|leaf, subleaf, regs| {
        let [eax, ebx, ecx, edx] = [regs.eax, regs.ebx, regs.ecx, regs.edx];
        let place = format!("eax_in='{leaf:#010x}' ecx_in='{subleaf:#04x}'");
        format!("  <cpuid {place} eax='{eax:#010x}' ebx='{ebx:#010x}' ecx='{ecx:#010x}' edx='{edx:#010x}'/>\n")
    });
    let msr = "  <msr index='0x10a' edx='0x00000000' eax='0x000001eb'/>\n";
    rows.iter()
        .map(|rows| format!("<!-- A CPU -->\n<cpudata arch='x86'>\n{rows}{msr}</cpudata>\n").into_bytes())
        .collect()
}
