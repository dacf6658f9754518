//! `/proc/cpuinfo`.

use selfsame_cpuid::Kind;
use selfsame_formats::Format;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "cpuinfo",
    run,
    seeds,
    words: &[
        "processor\t: 1\n",
        "vendor_id\t: GenuineIntel\n",
        "vendor_id\t: AuthenticAMD\n",
        "cpu family\t: 6\n",
        "model\t\t: 85\n",
        "stepping\t: 4\n",
        "flags\t\t: ",
        "vmx flags\t: ",
        "bugs\t\t: ",
        "address sizes\t: 46 bits physical, 48 bits virtual\n",
    ],
    max_len_bytes: 1024,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::ProcCpuinfo);
}

fn seeds() -> Vec<Vec<u8>> {
    let text = |names: String| {
        format!(
            "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nstepping\t: 4\nflags\t\t:{names}\n\
             address sizes\t: 46 bits physical, 48 bits virtual\n\n"
        )
    };
    let names = seeds::features(Kind::Kvm).into_iter().map(|features| {
        let named = features.iter().filter(|row| !row.linux.is_empty());
        named.map(|row| format!(" {}", row.linux)).collect()
    });
    names.map(|names| text(names).into_bytes()).collect()
}
