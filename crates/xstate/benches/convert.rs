//! Images rewritten beside a copy of the same bytes, and what reading them costs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use selfsame_xstate::{Component, ComponentSet, Format, Geometry, Header, Layout, Reader};

#[path = "../tests/images/mod.rs"]
mod images;
mod least;
#[path = "../tests/machines/mod.rs"]
mod machines;

use images::{Style, Words, random_image};
use least::least;

/// Bytes where an image lies on hardware: aligned to 64.
#[repr(align(64))]
struct Area([u8; 11008]);

impl Area {
    fn of(bytes: &[u8]) -> Self {
        let mut area = Self([0; 11008]);
        area.0[..bytes.len()].copy_from_slice(bytes);
        area
    }
}

/// An image of `set` in which everything is in use.
fn image(geometry: &Geometry, format: Format, set: ComponentSet) -> Vec<u8> {
    let is_full = |bytes: &Vec<u8>| bytes[512..520] == set.bits().to_le_bytes();
    let mut words = Words::new(1);
    loop {
        let bytes = random_image(geometry, format, set, Style::Clean, &mut words);
        if let Some(bytes) = bytes.filter(is_full) {
            return bytes;
        }
    }
}

fn convert(c: &mut Criterion) {
    let (skylake, sapphire_rapids) = (machines::skylake(), machines::sapphire_rapids());
    let cases = [("avx-512", &skylake, 0x2E7), ("amx", &sapphire_rapids, 0x6_02E7)];
    for (name, geometry, set) in cases {
        let set = ComponentSet::from_bits(set);
        let reader = Reader::new(geometry, set);
        let layout = |format| Layout::new(format, set, geometry).unwrap_or_else(|error| unreachable!("{error}"));
        let (standard, compacted) = (layout(Format::Standard), layout(Format::Compacted));
        let from_standard = image(geometry, Format::Standard, set);
        let len = from_standard.len();
        let from_standard = Area::of(&from_standard);
        let from_compacted = Area::of(&image(geometry, Format::Compacted, set));
        let mut out = Area([0; 11008]);
        let mut group = c.benchmark_group(format!("{name}, {len} bytes"));
        group.bench_function("copy", |b| {
            least(b, || black_box(&mut out).0[..len].copy_from_slice(&black_box(&from_standard).0[..len]));
        });
        for (what, area, layout) in [
            ("standard to compacted", &from_standard, &compacted),
            ("compacted to standard", &from_compacted, &standard),
            ("standard to standard", &from_standard, &standard),
        ] {
            group.bench_function(format!("{what}, validated"), |b| {
                least(b, || match reader.read(black_box(&area.0)) {
                    Ok(image) => image.write(black_box(layout), &mut out.0),
                    Err(fault) => unreachable!("{fault}"),
                });
            });
        }
        group.bench_function("read strictly", |b| {
            least(b, || reader.read(black_box(&from_compacted.0)).map(|image| image.present()));
        });
        group.finish();
    }
}

fn lookup(c: &mut Criterion) {
    let geometry = machines::sapphire_rapids();
    let set = geometry.components();
    let mut group = c.benchmark_group("layout");
    for format in [Format::Standard, Format::Compacted] {
        let layout = Layout::new(format, set, &geometry).unwrap_or_else(|error| unreachable!("{error}"));
        group.bench_function(format!("lookup, {format:?}"), |b| {
            least(b, || black_box(&layout).range_bytes(black_box(Component::XTILEDATA)));
        });
        group.bench_function(format!("new, {format:?}"), |b| {
            least(b, || Layout::new(format, black_box(set), &geometry).map(|layout| layout.size_bytes()));
        });
    }
    group.finish();
}

fn header(c: &mut Criterion) {
    let (xcr0, xss) = (ComponentSet::from_bits(0x6_02E7), ComponentSet::from_bits(0x1800));
    let mut group = c.benchmark_group("header");
    for (name, xcomp_bv) in [("standard", 0), ("compacted", 1 << 63 | 0x6_02E7)] {
        let bytes = Header { xstate_bv: 0x6_02E7, xcomp_bv, reserved: [0; 6] }.to_bytes();
        group.bench_function(format!("validate, {name}"), |b| {
            least(b, || Header::from_bytes(black_box(&bytes)).check(black_box(xcr0), black_box(xss)));
        });
    }
    group.finish();
}

criterion_group!(benches, convert, lookup, header);
criterion_main!(benches);
