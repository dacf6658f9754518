//! Reading dumps: text in, raw leaves of a host out.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A dump of `cpus` logical CPUs, some 90 rows each as an AIDA64 dump of a server has them.
fn dump(cpus: u32) -> String {
    let mut text = String::new();
    for cpu in 0..cpus {
        let _ = writeln!(text, "------[ CPUID Registers / Logical CPU #{cpu} ]------\n");
        let _ = writeln!(text, "allcpu: Package 0 / Core {cpu} / Thread 0: Valid\n");
        let _ = writeln!(text, "CPUID 00000000: 00000020-756E6547-6C65746E-49656E69 [GenuineIntel]");
        let _ = writeln!(text, "CPUID 00000001: 000806F8-{:02X}800800-7FFEFBFF-BFEBFBFF", cpu & 0xff);
        for subleaf in 0..4 {
            let _ = writeln!(text, "CPUID 00000004: 7C00412{subleaf}-02C0003F-0000003F-00000000 [SL 0{subleaf}]");
        }
        let _ = writeln!(text, "CPUID 00000007: 00000002-F3BFFFBF-1A6D5F6E-FFDD4432 [SL 00]");
        let _ = writeln!(text, "CPUID 0000000D: 000602E7-00002B00-00002B00-00000000 [SL 00] [x87]");
        let _ = writeln!(text, "CPUID 0000000D: 0000001F-00002A00-00001900-00000000 [SL 01] [SSE]");
        for leaf in 0x80..0xc0 {
            let _ = writeln!(text, "CPUID 000000{leaf:02X}: 00000000-00000000-00000000-00000000");
        }
        let _ = writeln!(text, "CPUID 80000000: 80000008-00000000-00000000-00000000");
        let _ = writeln!(text, "CPUID 80000001: 00000000-00000000-00000121-2C100800");
        let _ = writeln!(text, "CPUID 80000008: 0000392E-00000200-00000000-00000000\n");
    }
    text
}

fn read(c: &mut Criterion) {
    // The corpus's mean: 24 logical CPUs and 120 kB a dump.
    let text = dump(24);
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Bytes(text.len() as u64 * 1_000)).sample_size(10);
    group.bench_function("1_000_dumps_of_24_cpus", |b| {
        b.iter(|| {
            for _ in 0..1_000 {
                let dump = selfsame_formats::read(black_box(text.as_bytes()), "host", None);
                assert!(dump.is_ok_and(|dump| dump.raw().leaves.signature().model == 0x8f));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
