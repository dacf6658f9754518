//! Folding policies into a level, and checking a guest against a host.

#![expect(clippy::expect_used, reason = "a bench without its input says so by panicking")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use selfsame_cpuid::{Check, Host, Kind, Leaves, Leveller, Regs, Trims};

#[path = "../../xstate/benches/least/mod.rs"]
mod least;

use least::least;

/// A server CPU of some generation: later ones have more, in leaves 1, 7, 0xD, 0x80000001, 0x80000008 and MSR 0x10A.
fn raw(generation: u32) -> Leaves {
    let mut leaves = Leaves::new();
    let ebx = [0xd19f_4fbb, 0xd39f_fffb, 0xf3bf_bffb, 0xf3bf_bfff][generation as usize % 4];
    let rows: [(u32, u32, Regs); 22] = [
        (0x0, 0, Regs::new(0x20, 0x756e_6547, 0x6c65_746e, 0x4965_6e69)),
        (0x1, 0, Regs::new(0x0005_0654 + generation * 0x10, 0x0040_0800, 0x7ffe_fbff, 0xbfeb_fbff)),
        (0x2, 0, Regs::new(0x0076_6301, 0x00f0_b5ff, 0, 0x00c3_0000)),
        (0x4, 0, Regs::new(0x1c00_4121, 0x01c0_003f, 0x3f, 0)),
        (0x4, 1, Regs::new(0x1c00_4122, 0x01c0_003f, 0x3f, 0)),
        (0x4, 2, Regs::new(0x1c00_4143, 0x03c0_003f, 0x3ff, 0)),
        (0x6, 0, Regs::new(0x4, 0, 0, 0)),
        (0x7, 0, Regs::new(0x1, ebx, 0x0040_04d8 | generation << 8, 0xbc00_0400)),
        (0xa, 0, Regs::new(0x0730_0802, 0, 0, 0x0000_0603)),
        (0xd, 0, Regs::new(0x2e7, 0xa88, 0xa88, 0)),
        (0xd, 1, Regs::new(0xf, 0xa08, 0x100, 0)),
        (0xd, 2, Regs::new(0x100, 0x240, 0, 0)),
        (0xd, 5, Regs::new(0x40, 0x440, 0, 0)),
        (0xd, 6, Regs::new(0x200, 0x480, 0, 0)),
        (0xd, 7, Regs::new(0x400, 0x680, 0, 0)),
        (0xd, 9, Regs::new(0x8, 0xa80, 0, 0)),
        (0x8000_0000, 0, Regs::new(0x8000_0008, 0, 0, 0)),
        (0x8000_0001, 0, Regs::new(0, 0, 0x121, 0x2c10_0800)),
        (0x8000_0002, 0, Regs::new(0x6574_6e49, 0x2952_286c, 0x6f65_5820, 0x2952_286e)),
        (0x8000_0006, 0, Regs::new(0, 0, 0x0100_6040, 0)),
        (0x8000_0007, 0, Regs::new(0, 0, 0, 0x100)),
        (0x8000_0008, 0, Regs::new(0x3030 + generation % 4, 0, 0, 0)),
    ];
    for (leaf, subleaf, regs) in rows {
        leaves.set(leaf, subleaf, regs).expect("the model has these leaves");
    }
    leaves.set_msr(0x10a, 0x0c0a_0000 | u64::from(generation)).expect("the model has this msr");
    leaves
}

fn check(c: &mut Criterion) {
    let host = Host::from_hardware(&raw(3), Kind::Kvm, &Trims::NONE);
    let guest = host.default().clone();
    assert!(Check::new(&guest, &host).is_accepted());
    c.bench_function("check/accepted", |b| {
        least(b, || Check::new(black_box(&guest), black_box(&host)).is_accepted());
    });
}

fn fold(c: &mut Criterion) {
    const POLICIES: usize = 100_000;
    let pool: Vec<_> = (0..POLICIES)
        .map(|i| {
            Host::from_hardware(&raw(u32::try_from(i % 4).unwrap_or(0)), Kind::Kvm, &Trims::NONE).default().clone()
        })
        .collect();
    let mut group = c.benchmark_group("level");
    group.throughput(Throughput::Elements(POLICIES as u64)).sample_size(20);
    group.bench_function("fold_100_000_policies", |b| {
        b.iter_batched(
            || Leveller::new(Kind::Kvm),
            |mut leveller| {
                for policy in &pool {
                    leveller.add("host", policy);
                }
                leveller.finish().is_ok()
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
    c.bench_function("level/derive_host", |b| {
        let raw = raw(3);
        least(b, || Host::from_hardware(black_box(&raw), Kind::Kvm, &Trims::NONE));
    });
}

criterion_group!(benches, check, fold);
criterion_main!(benches);
