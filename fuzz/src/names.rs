//! Names of features, as others spell them.

use selfsame_cpuid::{Vendor, feature, feature_at};
use selfsame_formats::{Meaning, Models, Spelling, meaning, suggestion};

use crate::{Target, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "names",
    run,
    seeds: seeds::names,
    words: &["avx512", "vmx-", "no-", "sse4", "ibrs", "md_clear", "cmp_legacy", "tsc-adjust", "EPYC-", "-noTSX", "-v2"],
    max_len_bytes: 24,
};

/// Looks the name up: what is suggested instead of a name is a name.
pub fn run(bytes: &[u8]) {
    let Ok(name) = str::from_utf8(bytes) else { return };
    for spelling in [Spelling::Qemu, Spelling::Linux, Spelling::Xen] {
        for vendor in [Vendor::Intel, Vendor::Amd] {
            if let Some(Meaning::Feature(row)) = meaning(name, spelling, vendor) {
                assert!(feature_at(row.place).is_some() && feature(row.name).is_some());
            }
        }
    }
    let near = suggestion(name, Spelling::Xen);
    assert!(near.is_none_or(|near| meaning(&near, Spelling::Xen, Vendor::Intel).is_some()));
    let near = Models::known().suggestion(name);
    assert!(near.is_none_or(|near| Models::known().get(near).is_some()));
}
