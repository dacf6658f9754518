//! The answer to a CPUID exit beside a linear scan of `kvm_cpuid_entry2`, and the binary form of a policy of 64 leaves.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};
use selfsame_cpuid::{ApicId, Frozen, Kind, LEAF_ENTRY_BYTES, Policy, Regs, Stored, VcpuView};
use selfsame_xstate::ComponentSet;

#[path = "../../xstate/benches/least/mod.rs"]
mod least;

use least::least;

/// A Sapphire Rapids guest under KVM: 64 leaves that are not zero.
#[rustfmt::skip]
const ROWS: [(u32, u32, [u32; 4]); 64] = [
    (0x0, 0, [0x20, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]),
    (0x1, 0, [0x000c_06f2, 0x0010_0800, 0xfffa_3203, 0x1f8b_fbff]),
    (0x2, 0, [0x00fe_ff01, 0xf0, 0, 0]),
    (0x4, 0, [0x7c00_4121, 0x02c0_003f, 0x3f, 0]),
    (0x4, 1, [0x7c00_4122, 0x01c0_003f, 0x3f, 0]),
    (0x4, 2, [0x7c00_4143, 0x03c0_003f, 0x7ff, 0]),
    (0x4, 3, [0x7c0f_c163, 0x0380_003f, 0x1_bfff, 4]),
    (0x5, 0, [0x40, 0x40, 3, 0x2020]),
    (0x6, 0, [4, 0, 0, 0]),
    (0x7, 0, [2, 0xf1bf_07ab, 0x1b41_5f6e, 0xffd8_4432]),
    (0x7, 1, [0x1c30, 0, 0, 0]),
    (0x7, 2, [0, 0, 0, 0x3b]),
    (0xa, 0, [0x0730_0805, 0, 0, 0x8603]),
    (0xb, 0, [1, 2, 0x100, 0]),
    (0xb, 1, [6, 0x10, 0x201, 0]),
    (0xb, 2, [0, 0, 2, 0]),
    (0xd, 0, [0x6_02e7, 0x2b00, 0x2b00, 0]),
    (0xd, 1, [0x1f, 0x2a00, 0x1800, 0]),
    (0xd, 2, [0x100, 0x240, 0, 0]),
    (0xd, 5, [0x40, 0x440, 0, 0]),
    (0xd, 6, [0x200, 0x480, 0, 0]),
    (0xd, 7, [0x400, 0x680, 0, 0]),
    (0xd, 9, [8, 0xa80, 0, 0]),
    (0xd, 11, [0x10, 0, 1, 0]),
    (0xd, 12, [0x18, 0, 1, 0]),
    (0xd, 17, [0x40, 0xac0, 2, 0]),
    (0xd, 18, [0x2000, 0xb00, 6, 0]),
    (0x12, 0, [0x63, 1, 0, 0x381f]),
    (0x12, 1, [0xb6, 0, 0xe7, 0]),
    (0x12, 2, [0x8_0001, 0, 0x800_0001, 0]),
    (0x14, 0, [1, 0xf, 7, 0]),
    (0x14, 1, [0x249_0002, 0x3f_003f, 0, 0]),
    (0x15, 0, [2, 0xa8, 0x17d_7840, 0]),
    (0x16, 0, [0x834, 0xed8, 0x64, 0]),
    (0x18, 0, [8, 0, 0, 0]),
    (0x18, 1, [0, 0x8_0001, 0x10, 0x4022]),
    (0x18, 2, [0, 0x8_0006, 4, 0x4022]),
    (0x18, 3, [0, 0x10_000f, 1, 0x4125]),
    (0x18, 4, [0, 0x4_0001, 0x10, 0x4024]),
    (0x18, 5, [0, 0x4_0006, 8, 0x4024]),
    (0x18, 6, [0, 0x8_0001, 0x10, 0x4041]),
    (0x18, 7, [0, 0x8_0006, 8, 0x4041]),
    (0x18, 8, [0, 0x8_0009, 4, 0x4041]),
    (0x1c, 0, [0x4000_000b, 7, 7, 0]),
    (0x1d, 0, [1, 0, 0, 0]),
    (0x1d, 1, [0x0400_2000, 0x0008_0040, 0x10, 0]),
    (0x1e, 0, [0, 0x4010, 0, 0]),
    (0x1f, 0, [1, 2, 0x100, 0]),
    (0x1f, 1, [6, 0x10, 0x201, 0]),
    (0x1f, 2, [0, 0, 2, 0]),
    (0x20, 0, [0, 1, 0, 0]),
    (0x4000_0000, 0, [0x4000_0010, 0x4b4d_564b, 0x564b_4d56, 0x4d]),
    (0x4000_0001, 0, [0x0100_7efb, 0, 0, 0]),
    (0x4000_0010, 0, [0x001e_8480, 0x000f_4240, 0, 0]),
    (0x8000_0000, 0, [0x8000_0008, 0, 0, 0]),
    (0x8000_0001, 0, [0, 0, 0x121, 0x2c10_0800]),
    (0x8000_0002, 0, [0x6574_6e49, 0x2952_286c, 0x6f65_5820, 0x2952_286e]),
    (0x8000_0003, 0, [0x616c_5020, 0x756e_6974, 0x3438_206d, 0x4330_3038]),
    (0x8000_0004, 0, [0, 0, 0, 0x20]),
    (0x8000_0005, 0, [0, 0, 0x4005_0140, 0]),
    (0x8000_0006, 0, [0, 0, 0x0800_7040, 0]),
    (0x8000_0007, 0, [0, 0, 0, 0x100]),
    (0x8000_0008, 0, [0x0030_392e, 0x0100_d200, 0, 0]),
    (0x8000_0021, 0, [0x40, 0, 0, 0]),
];

fn policy() -> Policy {
    let mut policy = Policy::empty(Kind::Kvm);
    for (leaf, subleaf, regs) in ROWS {
        policy.leaves.set(leaf, subleaf, regs.into()).unwrap_or_else(|error| unreachable!("{error}"));
    }
    policy
}

fn entries() -> Vec<kvm_cpuid_entry2> {
    let is_indexed = |leaf| matches!(leaf, 0x4 | 0x7 | 0xb | 0xd | 0x12 | 0x14 | 0x18 | 0x1d | 0x1e | 0x1f | 0x20);
    let entry = |(function, index, [eax, ebx, ecx, edx]): (u32, u32, [u32; 4])| kvm_cpuid_entry2 {
        function,
        index,
        flags: if is_indexed(function) { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } else { 0 },
        eax,
        ebx,
        ecx,
        edx,
        ..Default::default()
    };
    ROWS.into_iter().map(entry).collect()
}

/// What KVM does at an exit, without its dynamic bits (arch/x86/kvm/cpuid.c, cpuid_entry2_find).
fn scan(entries: &[kvm_cpuid_entry2], leaf: u32, subleaf: u32) -> Regs {
    let is_it = |entry: &&kvm_cpuid_entry2| {
        entry.function == leaf && (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX == 0 || entry.index == subleaf)
    };
    entries.iter().find(is_it).map_or(Regs::ZERO, |entry| Regs::new(entry.eax, entry.ebx, entry.ecx, entry.edx))
}

/// Takes the four registers one by one, as what puts them into a guest's does.
fn give(regs: Regs) {
    for register in regs.to_array() {
        black_box(register);
    }
}

const EXITS: [(&str, u32, u32); 7] = [
    ("leaf 1", 0x1, 0),
    ("leaf 7", 0x7, 0),
    ("leaf 0xd.0", 0xd, 0),
    ("leaf 0xd.1", 0xd, 1),
    ("leaf 80000001", 0x8000_0001, 0),
    ("out of range", 0x8000_0030, 0),
    ("outside the model", 0x2000_0000, 0),
];

fn exits(c: &mut Criterion) {
    let policy = policy();
    let entries = entries();
    let vcpu = VcpuView {
        xcr0: ComponentSet::from_bits(0x6_02e7),
        xss: ComponentSet::from_bits(0x1800),
        has_osxsave: true,
        has_pke: true,
        is_in_64_bit_mode: true,
        ..VcpuView::new(ApicId::new(5))
    };
    let mut group = c.benchmark_group("exit");
    for (name, leaf, subleaf) in EXITS {
        group.bench_function(format!("policy, {name}"), |b| {
            least(b, || give(black_box(&policy).cpuid(black_box(leaf), black_box(subleaf), black_box(&vcpu))));
        });
        group.bench_function(format!("scan of 64, {name}"), |b| {
            least(b, || give(scan(black_box(&entries), black_box(leaf), black_box(subleaf))));
        });
    }
    group.finish();
}

fn binary(c: &mut Criterion) {
    let leaves = Frozen::new(policy().leaves);
    let mut buffer = [0; 64 * LEAF_ENTRY_BYTES];
    assert_eq!(leaves.write_leaves(&mut buffer), Ok(64 * LEAF_ENTRY_BYTES));
    assert_eq!(Stored::read(&buffer, &[]).map(|stored| stored.to_leaves()).as_ref(), Ok(leaves.leaves()));
    let mut group = c.benchmark_group("binary, 64 leaves");
    group.bench_function("write", |b| {
        let mut buffer = [0; 64 * LEAF_ENTRY_BYTES];
        least(b, || black_box(&leaves).write_leaves(black_box(&mut buffer)));
    });
    group.bench_function("read strictly", |b| least(b, || Stored::read(black_box(&buffer), black_box(&[])).is_ok()));
    group.bench_function("to leaves", |b| {
        let stored = Stored::read(&buffer, &[]).unwrap_or_else(|error| unreachable!("{error}"));
        least(b, || black_box(&stored).to_leaves());
    });
    group.bench_function("freeze", |b| least(b, || Frozen::new(black_box(leaves.leaves()).clone())));
    group.finish();
}

criterion_group!(benches, exits, binary);
criterion_main!(benches);
