//! Images of extended state between the CPUs of the corpus.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod corpus_files;
#[path = "../../xstate/tests/images/mod.rs"]
mod images;

use std::collections::BTreeMap;

use selfsame_formats::read;
use selfsame_xstate::{ComponentSet, Format, Geometry, Layout, MxcsrMask, Reader};

use images::{Style, Words, legal_sets, random_image};

/// The different geometries of the corpus, by the first dump that has each.
fn geometries() -> Vec<(String, Geometry)> {
    let mut found: BTreeMap<String, (String, Geometry)> = BTreeMap::new();
    for (name, bytes) in corpus_files::instlatx64() {
        let Ok(dump) = read(&bytes, &name, None) else { continue };
        let raw = dump.raw().leaves;
        let offsets = raw.vendor().offsets();
        let geometry = raw.geometry().usable(offsets);
        if !geometry.user().is_empty() {
            found.entry(format!("{geometry:?}")).or_insert((name, geometry));
        }
    }
    found.into_values().collect()
}

fn write(reader: &Reader<'_>, bytes: &[u8], layout: &Layout<'_>) -> Vec<u8> {
    let image = reader.read(bytes).unwrap();
    let mut out = vec![0xA5; layout.size_bytes() as usize];
    assert_eq!(image.write(layout, &mut out), Ok(out.len()));
    out
}

fn reader(geometry: &Geometry) -> Reader<'_> {
    Reader::new(geometry, geometry.components()).with_mxcsr_mask(MxcsrMask::AMD)
}

#[test]
fn canonical_images_come_back_from_every_other_cpu_unchanged() {
    let geometries = geometries();
    let (mut travels, mut sets, mut moved) = (0u64, 0u64, 0u64);
    for (home, here) in &geometries {
        for set in legal_sets(here) {
            sets += 1;
            let mut words = Words::new(set.bits() ^ sets);
            let everything = Layout::new(Format::Compacted, set, here).unwrap();
            let user = Layout::new(Format::Standard, set, here).unwrap();
            let dirty = random_image(here, Format::Compacted, set, Style::Dirty, &mut words).unwrap();
            let canonical = write(&reader(here), &dirty, &everything);
            let dirty = random_image(here, Format::Standard, set, Style::Dirty, &mut words).unwrap();
            let standard = write(&reader(here), &dirty, &user);
            for (away, there) in &geometries {
                let is_there = |component| match (here.row(component), there.row(component)) {
                    (Some(one), Some(another)) => one.size_bytes == another.size_bytes,
                    _ => ComponentSet::LEGACY.contains(component),
                };
                let are_there = |layout: &Layout<'_>| layout.components().iter().all(is_there);
                if are_there(&everything) {
                    let compacted_there = Layout::new(Format::Compacted, set, there).unwrap();
                    let elsewhere = write(&reader(here), &canonical, &compacted_there);
                    let back = write(&reader(there), &elsewhere, &everything);
                    assert_eq!(back, canonical, "{home} to {away} and back with {set}");
                    travels += 1;
                }
                if are_there(&user) {
                    let compacted_here = Layout::new(Format::Compacted, user.components(), here).unwrap();
                    let standard_there = Layout::new(Format::Standard, user.components(), there).unwrap();
                    let compacted = write(&reader(here), &standard, &compacted_here);
                    let elsewhere = write(&reader(here), &compacted, &standard_there);
                    let back = write(&reader(there), &elsewhere, &user);
                    assert_eq!(back, standard, "{home} to {away} and back with {user:?}");
                    travels += 1;
                    moved += u64::from(elsewhere != standard);
                }
            }
        }
    }
    eprintln!("{} geometries, {sets} sets, {travels} travels, {moved} to other places", geometries.len());
    assert!(geometries.is_empty() || (geometries.len() >= 10 && moved > 1000));
}
