//! Models that are no real CPU of the last twenty years, and the levels of the x86-64 ABI.

use super::row::{AMD, INTEL, ModelRow, row};

/// The rows, each after the one that it is like.
pub(super) static ROWS: [ModelRow; 20] = [
    row("486").also(&["486-v1"]).vendor(INTEL).signature(4, 0x8, 0).with("fpu pse vme"),
    row("pentium")
        .also(&["pentium-v1"])
        .vendor(INTEL)
        .signature(5, 0x4, 3)
        .with("cx8 de fpu mce mmx msr pse tsc vme")
        .qemu_has("apic"),
    row("pentium2")
        .also(&["pentium2-v1"])
        .signature(6, 0x5, 2)
        .like("pentium")
        .with("cmov fxsr mca mtrr pae pat pge pse36 sep")
        .qemu_has("apic"),
    row("pentium3").also(&["pentium3-v1"]).signature(6, 0x7, 3).like("pentium2").with("sse").qemu_has("apic"),
    row("pentiumpro").with("apic cmov cx8 de fpu fxsr mce mmx msr pae pat pge pse sep sse sse2 tsc"),
    row("coreduo")
        .also(&["coreduo-v1"])
        .vendor(INTEL)
        .signature(6, 0xe, 8)
        .like("pentiumpro")
        .with(
            "clflush mca monitor mtrr nx pni vme vmx-activity-hlt vmx-entry-ia32e-mode vmx-exit-ack-intr vmx-hlt-exit \
             vmx-intr-exit vmx-invlpg-exit vmx-io-bitmap vmx-io-exit vmx-monitor-exit vmx-movdr-exit vmx-msr-bitmap \
             vmx-mwait-exit vmx-nmi-exit vmx-pause-exit vmx-rdpmc-exit vmx-rdtsc-exit vmx-tsc-offset \
             vmx-vintr-pending",
        )
        .vmx_apart()
        .qemu_has("acpi ss"),
    row("n270")
        .also(&["n270-v1"])
        .vendor(INTEL)
        .signature(6, 0x1c, 2)
        .like("pentiumpro")
        .with("clflush mca monitor mtrr nx pni ssse3 vme")
        .qemu_has("acpi lahf-lm movbe ss"),
    row("core2duo")
        .also(&["core2duo-v1"])
        .signature(6, 0xf, 11)
        .like("coreduo")
        .with(
            "lm pse36 ssse3 syscall vmx-apicv-xapic vmx-cr8-load-exit vmx-cr8-store-exit vmx-flexpriority \
             vmx-ins-outs vmx-secondary-ctls vmx-vnmi vmx-vnmi-pending",
        )
        .vmx_apart()
        .qemu_has("acpi cx16 lahf-lm ss"),
    row("qemu32").also(&["qemu32-v1"]).vendor(INTEL).signature(6, 0x6, 3).like("pentiumpro").with("pni"),
    row("kvm32")
        .also(&["kvm32-v1"])
        .signature(15, 0x6, 1)
        .like("coreduo")
        .with("pse36")
        .without("monitor nx vme")
        .vmx_apart(),
    row("cpu64-rhel5").like("pentiumpro").with("clflush lm mca mtrr nx pni pse36 syscall"),
    row("cpu64-rhel6").like("cpu64-rhel5").with("cx16 lahf-lm"),
    row("qemu64")
        .also(&["qemu64-v1"])
        .vendor(AMD)
        .signature(15, 0x6b, 1)
        .like("cpu64-rhel5")
        .with("cx16 svm")
        .qemu_has("lahf-lm"),
    row("kvm64")
        .also(&["kvm64-v1"])
        .like("kvm32")
        .with("cx16 lm nx syscall vmx-cr8-load-exit vmx-cr8-store-exit vmx-flexpriority")
        .without("vmx-msr-bitmap")
        .vmx_apart(),
    row("athlon")
        .also(&["athlon-v1"])
        .vendor(AMD)
        .signature(6, 0x2, 3)
        .like("pentium3")
        .with("3dnow 3dnowext apic mmxext sse2")
        .without("mca")
        .qemu_has("mca"),
    row("phenom")
        .also(&["phenom-v1"])
        .vendor(AMD)
        .signature(16, 0x2, 3)
        .like("cpu64-rhel5")
        .with("3dnow 3dnowext fxsr-opt mmxext monitor svm")
        .qemu_has("abm cx16 lahf-lm npt pdpe1gb popcnt rdtscp sse4a"),
    row("x86-64-v1").also(&["x86-64"]).with("cmov cx8 fpu fxsr lm mmx sse sse2 syscall"),
    row("x86-64-v2").like("x86-64-v1").with("cx16 lahf-lm pni popcnt sse4.1 sse4.2 ssse3"),
    row("x86-64-v3").like("x86-64-v2").with("abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    row("x86-64-v4").like("x86-64-v3").with("avx512bw avx512cd avx512dq avx512f avx512vl"),
];
