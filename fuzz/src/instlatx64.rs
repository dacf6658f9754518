//! AIDA64's text.

use selfsame_formats::Format;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "instlatx64",
    run,
    seeds,
    words: &[
        "\n------[ CPUID Registers / Logical CPU #1 ]------\n",
        "\n------[ Logical CPU #2 ]------\n",
        "\n------[ MSR Registers ]------\n",
        "\n------[ MSR Registers / Logical CPU #1 ]------\n",
        "\nCPUID Registers (CPU #1):\n",
        "\nCPU#001 AffMask: 0x2\n",
        "\nProgram Version : AIDA64 v7\n",
        "\nCPUID 0000000",
        " [SL 02]",
        "\nMSR 0000048",
        ": < FAILED >\n",
        "0000-0000-",
    ],
    max_len_bytes: 2048,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::InstLatX64);
}

fn seeds() -> Vec<Vec<u8>> {
    let rows = seeds::rows(|leaf, subleaf, regs| {
        let words = format!("{:08X}-{:08X}-{:08X}-{:08X}", regs.eax, regs.ebx, regs.ecx, regs.edx);
        let subleaf = if subleaf == 0 { String::new() } else { format!(" [SL {subleaf:02X}]") };
        format!("CPUID {leaf:08X}: {words}{subleaf}\n")
    });
    let msrs = "------[ MSR Registers ]------\nMSR 0000010A: 0000-0000-2DA9-FDEC\nMSR 0000010B: < FAILED >\n";
    rows.iter().map(|rows| format!("------[ Logical CPU #0 ]------\n{rows}{msrs}").into_bytes()).collect()
}
