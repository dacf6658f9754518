//! Writes a file of many `<cpu>` elements, as `virsh cpu-baseline` and `selfsame level` read it, for measurements:
//! `libvirt_hosts [COUNT [own]]`.
//!
//! The hosts are of Intel's models from Nehalem on, each with microcode, clock and topology of its own; with `own`,
//! each also lacks features that no other one lacks.

use std::io::{self, Write};

use selfsame_cpuid::{Relation, Vendor, feature_at};
use selfsame_formats::Models;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(5000);
    let has_own = arguments.next().is_some_and(|word| word == "own");
    let is_whole = |name: &str| name.ends_with("-v1");
    let models: Vec<_> = Models::known()
        .iter()
        .filter(|(name, model)| is_whole(name) && model.vendor() == Vendor::Intel && model.features.len() > 30)
        .collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    writeln!(out, "<hosts>")?;
    for (i, (name, model)) in (0..count).zip(models.iter().cycle()) {
        let (signature, features) = (model.signature.unwrap_or_default(), model.qemu_features - model.features);
        writeln!(out, "<cpu>\n  <arch>x86_64</arch>\n  <model>{name}</model>\n  <vendor>Intel</vendor>")?;
        writeln!(out, "  <microcode version='{}'/>", 0x0200_0000 + i)?;
        let (family, number) = (signature.family, signature.model);
        writeln!(out, "  <signature family='{family}' model='{number}' stepping='{}'/>", signature.stepping)?;
        writeln!(out, "  <counter name='tsc' frequency='{}' scaling='no'/>", 2_000_000_000 + i * 1009)?;
        writeln!(out, "  <topology sockets='1' dies='1' cores='{}' threads='2'/>", i % 64 + 1)?;
        writeln!(out, "  <maxphysaddr mode='emulate' bits='{}'/>", 36 + i % 3 * 5)?;
        let rows = features.iter().filter_map(feature_at).filter(|row| row.relation == Relation::All);
        for (_, row) in rows.enumerate().filter(|(bit, _)| !has_own || i >> (bit % 13) & 1 == 0) {
            writeln!(out, "  <feature name='{}'/>", row.name)?;
        }
        for name in ["ds", "acpi", "ss", "ht", "tm", "pbe", "dtes64", "monitor", "ds_cpl", "vmx", "est", "tm2", "xtpr"]
        {
            writeln!(out, "  <feature name='{name}'/>")?;
        }
        writeln!(out, "  <pages unit='KiB' size='4'/>\n  <pages unit='KiB' size='2048'/>\n</cpu>")?;
    }
    writeln!(out, "</hosts>")?;
    out.flush()
}
