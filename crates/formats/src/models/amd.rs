//! AMD's models, and Hygon's.

use super::row::{AMD, HYGON, ModelRow, row};

/// The rows, each after the one that it is like.
pub(super) static ROWS: [ModelRow; 23] = [
    row("Opteron_G1")
        .also(&["Opteron_G1-v1"])
        .vendor(AMD)
        .signature(15, 0x6, 1)
        .with(
            "apic clflush cmov cx8 de fpu fxsr lm mca mce mmx msr mtrr nx pae pat pge pni pse pse36 sep sse sse2 \
             syscall tsc",
        )
        .qemu_has("vme"),
    row("Opteron_G2")
        .also(&["Opteron_G2-v1"])
        .like("Opteron_G1")
        .with("cx16 lahf-lm rdtscp svm")
        .qemu_has("vme")
        .qemu_lacks("rdtscp"),
    row("Opteron_G3")
        .also(&["Opteron_G3-v1"])
        .signature(16, 0x2, 3)
        .like("Opteron_G2")
        .with("abm misalignsse popcnt sse4a")
        .qemu_has("monitor vme"),
    row("Opteron_G4")
        .also(&["Opteron_G4-v1"])
        .signature(21, 0x1, 2)
        .like("Opteron_G3")
        .with("3dnowprefetch aes avx fma4 pclmulqdq pdpe1gb sse4.1 sse4.2 ssse3 xop xsave")
        .qemu_has("npt nrip-save vme"),
    row("Opteron_G5")
        .also(&["Opteron_G5-v1"])
        .signature(21, 0x2, 0)
        .like("Opteron_G4")
        .with("f16c fma tbm")
        .qemu_has("npt nrip-save vme"),
    row("EPYC")
        .also(&["EPYC-v1"])
        .signature(23, 0x1, 2)
        .like("Opteron_G5")
        .with(
            "adx arat avx2 bmi1 bmi2 clflushopt cr8legacy fsgsbase fxsr-opt mmxext movbe osvw rdrand rdseed sha-ni \
             smap smep vme xgetbv1 xsavec xsaveopt",
        )
        .without("fma4 tbm xop")
        .qemu_has("monitor npt nrip-save topoext"),
    row("EPYC-IBPB").also(&["EPYC-v2"]).like("EPYC").with("ibpb").qemu_has("monitor npt nrip-save topoext"),
    row("EPYC-v3")
        .like("EPYC-IBPB")
        .with("clzero npt nrip-save perfctr-core xsaveerptr xsaves")
        .qemu_has("monitor topoext"),
    row("EPYC-v4").like("EPYC-v3").qemu_has("monitor topoext"),
    row("EPYC-v5")
        .like("EPYC-v4")
        .with(
            "flushbyasid lbrv overflow-recov pause-filter pfthreshold succor tsc-scale v-vmsave-vmload vgif \
             vmcb-clean",
        )
        .qemu_has("monitor topoext"),
    row("EPYC-Rome")
        .also(&["EPYC-Rome-v1"])
        .signature(23, 0x31, 0)
        .like("EPYC-v3")
        .with("amd-stibp clwb rdpid umip wbnoinvd")
        .without("xsaves")
        .qemu_has("monitor topoext xsaves"),
    row("EPYC-Rome-v2").like("EPYC-Rome").with("amd-ssbd ibrs xsaves").qemu_has("monitor topoext"),
    row("EPYC-Rome-v3").like("EPYC-Rome-v2").qemu_has("monitor topoext"),
    row("EPYC-Rome-v4").like("EPYC-Rome-v3").without("xsaves").qemu_has("monitor topoext"),
    row("EPYC-Rome-v5")
        .like("EPYC-Rome-v4")
        .with(
            "flushbyasid lbrv overflow-recov pause-filter pfthreshold succor tsc-scale v-vmsave-vmload vgif \
             vmcb-clean",
        )
        .qemu_has("monitor topoext"),
    row("EPYC-Milan")
        .also(&["EPYC-Milan-v1"])
        .signature(25, 0x1, 1)
        .like("EPYC-Rome-v2")
        .with("erms fsrm invpcid pcid pku svme-addr-chk")
        .qemu_has("monitor topoext"),
    row("EPYC-Milan-v2")
        .like("EPYC-Milan")
        .with("amd-psfd lfence-always-serializing no-nested-data-bp null-sel-clr-base stibp-always-on vaes vpclmulqdq")
        .qemu_has("monitor topoext"),
    row("EPYC-Milan-v3")
        .like("EPYC-Milan-v2")
        .with(
            "flushbyasid lbrv overflow-recov pause-filter pfthreshold succor tsc-scale v-vmsave-vmload vgif \
             vmcb-clean",
        )
        .qemu_has("monitor topoext"),
    row("EPYC-Genoa")
        .also(&["EPYC-Genoa-v1"])
        .signature(25, 0x11, 0)
        .like("EPYC-Milan-v2")
        .with(
            "auto-ibrs avx512-bf16 avx512-vpopcntdq avx512bitalg avx512bw avx512cd avx512dq avx512f avx512ifma \
             avx512vbmi avx512vbmi2 avx512vl avx512vnni gfni la57 vnmi",
        )
        .qemu_has("monitor topoext"),
    row("EPYC-Genoa-v2")
        .like("EPYC-Genoa")
        .with(
            "flushbyasid fs-gs-base-ns lbrv overflow-recov pause-filter perfmon-v2 pfthreshold succor tsc-scale \
             v-vmsave-vmload vgif vmcb-clean",
        )
        .qemu_has("monitor topoext"),
    row("EPYC-Turin")
        .also(&["EPYC-Turin-v1"])
        .signature(26, 0x0, 0)
        .like("EPYC-Genoa-v2")
        .with("avx-vnni avx512-vp2intersect ibpb-brtype movdir64b movdiri prefetchi sbpb srso-user-kernel-no")
        .qemu_has("monitor topoext"),
    row("Dhyana")
        .also(&["Dhyana-v1"])
        .vendor(HYGON)
        .signature(24, 0x0, 1)
        .like("EPYC-IBPB")
        .without("aes pclmulqdq sha-ni")
        .qemu_has("monitor npt nrip-save topoext"),
    row("Dhyana-v2").like("Dhyana").with("npt nrip-save xsaves").qemu_has("monitor topoext"),
];
