//! Intel's models, and Zhaoxin's.

use super::row::{CENTAUR, INTEL, ModelRow, row};

/// The rows, each after the one that it is like.
pub(super) static ROWS: [ModelRow; 70] = [
    row("Conroe")
        .also(&["Conroe-v1"])
        .vendor(INTEL)
        .signature(6, 0xf, 3)
        .with(
            "apic clflush cmov cx8 de fpu fxsr lahf-lm lm mca mce mmx msr mtrr nx pae pat pge pni pse pse36 sep sse \
             sse2 ssse3 syscall tsc vmx-activity-hlt vmx-apicv-xapic vmx-cr8-load-exit vmx-cr8-store-exit \
             vmx-entry-ia32e-mode vmx-exit-ack-intr vmx-flexpriority vmx-hlt-exit vmx-ins-outs vmx-intr-exit \
             vmx-invlpg-exit vmx-io-bitmap vmx-io-exit vmx-monitor-exit vmx-movdr-exit vmx-msr-bitmap vmx-mwait-exit \
             vmx-nmi-exit vmx-pause-exit vmx-rdpmc-exit vmx-rdtsc-exit vmx-secondary-ctls vmx-tsc-offset \
             vmx-vintr-pending vmx-vnmi vmx-vnmi-pending",
        )
        .vmx_apart()
        .qemu_has("vme"),
    row("Penryn")
        .also(&["Penryn-v1"])
        .signature(6, 0x17, 3)
        .like("Conroe")
        .with("cx16 sse4.1 vmx-entry-load-perf-global-ctrl vmx-exit-load-perf-global-ctrl vmx-wbinvd-exit")
        .vmx_apart()
        .qemu_has("vme"),
    row("Nehalem")
        .also(&["Nehalem-v1"])
        .signature(6, 0x1a, 3)
        .like("Penryn")
        .with(
            "popcnt sse4.2 vmx-apicv-x2apic vmx-cr3-load-noexit vmx-cr3-store-noexit vmx-desc-exit \
             vmx-entry-load-efer vmx-entry-load-pat vmx-entry-noload-debugctl vmx-ept vmx-ept-1gb vmx-ept-2mb \
             vmx-ept-execonly vmx-exit-load-efer vmx-exit-load-pat vmx-exit-nosave-debugctl vmx-exit-save-efer \
             vmx-exit-save-pat vmx-exit-save-preemption-timer vmx-invept vmx-invept-all-context \
             vmx-invept-single-context vmx-invept-single-context-noglobals vmx-invvpid vmx-invvpid-all-context \
             vmx-invvpid-single-addr vmx-mtf vmx-page-walk-4 vmx-preemption-timer vmx-rdtscp-exit vmx-true-ctls \
             vmx-vpid",
        )
        .vmx_apart()
        .qemu_has("vme"),
    row("Nehalem-IBRS").also(&["Nehalem-v2"]).like("Nehalem").with("spec-ctrl").vmx_apart().qemu_has("vme"),
    row("Westmere")
        .also(&["Westmere-v1"])
        .signature(6, 0x2c, 1)
        .like("Nehalem")
        .with("aes vmx-store-lma vmx-unrestricted-guest")
        .vmx_apart()
        .qemu_has("arat pclmulqdq vme"),
    row("Westmere-IBRS")
        .also(&["Westmere-v2"])
        .like("Westmere")
        .with("spec-ctrl")
        .vmx_apart()
        .qemu_has("arat pclmulqdq vme"),
    row("SandyBridge")
        .also(&["SandyBridge-v1"])
        .signature(6, 0x2a, 1)
        .like("Westmere")
        .with("avx pclmulqdq rdtscp tsc-deadline x2apic xsave")
        .vmx_apart()
        .qemu_has("arat vme xsaveopt"),
    row("SandyBridge-IBRS")
        .also(&["SandyBridge-v2"])
        .like("SandyBridge")
        .with("spec-ctrl")
        .vmx_apart()
        .qemu_has("arat vme xsaveopt"),
    row("IvyBridge")
        .also(&["IvyBridge-v1"])
        .signature(6, 0x3a, 9)
        .like("SandyBridge")
        .with("erms f16c fsgsbase rdrand smep vme vmx-apicv-register vmx-apicv-vid vmx-posted-intr vmx-rdrand-exit")
        .vmx_apart()
        .qemu_has("arat xsaveopt"),
    row("IvyBridge-IBRS")
        .also(&["IvyBridge-v2"])
        .like("IvyBridge")
        .with("spec-ctrl")
        .vmx_apart()
        .qemu_has("arat xsaveopt"),
    row("Haswell")
        .also(&["Haswell-v1"])
        .signature(6, 0x3c, 4)
        .like("IvyBridge")
        .with(
            "avx2 bmi1 bmi2 fma hle invpcid movbe pcid rtm vmx-eptad vmx-eptp-switching vmx-invpcid-exit \
             vmx-shadow-vmcs vmx-vmfunc vmx-vmwrite-vmexit-fields",
        )
        .without("f16c rdrand vme")
        .vmx_apart()
        .qemu_has("abm arat f16c rdrand vme xsaveopt"),
    row("Haswell-noTSX")
        .also(&["Haswell-v2"])
        .signature(6, 0x3c, 1)
        .like("Haswell")
        .without("hle rtm")
        .vmx_apart()
        .qemu_has("abm arat f16c rdrand vme xsaveopt"),
    row("Haswell-IBRS")
        .also(&["Haswell-v3"])
        .like("Haswell")
        .with("spec-ctrl")
        .vmx_apart()
        .qemu_has("abm arat f16c rdrand vme xsaveopt"),
    row("Haswell-noTSX-IBRS")
        .also(&["Haswell-v4"])
        .signature(6, 0x3c, 1)
        .like("Haswell-IBRS")
        .without("hle rtm")
        .vmx_apart()
        .qemu_has("abm arat f16c rdrand vme xsaveopt"),
    row("Broadwell")
        .also(&["Broadwell-v1"])
        .signature(6, 0x3d, 2)
        .like("Haswell")
        .with("3dnowprefetch adx rdseed smap vmx-pml vmx-rdseed-exit")
        .vmx_apart()
        .qemu_has("abm arat f16c rdrand vme xsaveopt"),
    row("Broadwell-noTSX")
        .also(&["Broadwell-v2"])
        .like("Broadwell")
        .without("hle rtm")
        .vmx_apart()
        .qemu_has("abm arat f16c rdrand vme xsaveopt"),
    row("Broadwell-IBRS")
        .also(&["Broadwell-v3"])
        .like("Broadwell")
        .with("spec-ctrl")
        .vmx_apart()
        .qemu_has("abm arat f16c rdrand vme xsaveopt"),
    row("Broadwell-noTSX-IBRS")
        .also(&["Broadwell-v4"])
        .like("Broadwell-IBRS")
        .without("hle rtm")
        .vmx_apart()
        .qemu_has("abm arat f16c rdrand vme xsaveopt"),
    row("Skylake-Client")
        .also(&["Skylake-Client-v1"])
        .signature(6, 0x5e, 3)
        .like("Broadwell")
        .with("abm arat f16c rdrand vme xgetbv1 xsavec xsaveopt")
        .without("vmx-apicv-register vmx-apicv-vid vmx-apicv-x2apic vmx-posted-intr")
        .vmx_apart(),
    row("Skylake-Client-IBRS").also(&["Skylake-Client-v2"]).like("Skylake-Client").with("spec-ctrl").vmx_apart(),
    row("Skylake-Client-noTSX-IBRS")
        .also(&["Skylake-Client-v3"])
        .like("Skylake-Client-IBRS")
        .with("vmx-xsaves")
        .without("hle rtm")
        .vmx_apart(),
    row("Skylake-Client-v4").like("Skylake-Client-noTSX-IBRS").with("xsaves").without("vmx-invvpid"),
    row("Skylake-Server")
        .also(&["Skylake-Server-v1"])
        .signature(6, 0x55, 4)
        .like("Broadwell")
        .with(
            "abm arat avx512bw avx512cd avx512dq avx512f avx512vl clwb f16c pdpe1gb rdrand vme xgetbv1 xsavec \
             xsaveopt",
        )
        .without("vmx-eptp-switching")
        .vmx_apart()
        .qemu_has("clflushopt pku"),
    row("Skylake-Server-IBRS")
        .also(&["Skylake-Server-v2"])
        .like("Skylake-Server")
        .with("spec-ctrl")
        .vmx_apart()
        .qemu_has("pku"),
    row("Skylake-Server-noTSX-IBRS")
        .also(&["Skylake-Server-v3"])
        .like("Skylake-Server-IBRS")
        .with("vmx-eptp-switching vmx-xsaves")
        .without("hle rtm")
        .vmx_apart()
        .qemu_has("pku"),
    row("Skylake-Server-v4").like("Skylake-Server-noTSX-IBRS").with("pku").without("vmx-invvpid vmx-xsaves"),
    row("Skylake-Server-v5").like("Skylake-Server-v4").with("xsaves vmx-xsaves"),
    row("Cascadelake-Server")
        .also(&["Cascadelake-Server-v1"])
        .signature(6, 0x55, 6)
        .like("Skylake-Server-IBRS")
        .with("avx512vnni clflushopt ssbd")
        .vmx_apart()
        .qemu_has("pku"),
    row("Cascadelake-Server-v2")
        .like("Cascadelake-Server")
        .with("arch-capabilities ibrs-all mds-no pku rdctl-no skip-l1dfl-vmentry")
        .without("vmx-invvpid"),
    row("Cascadelake-Server-noTSX")
        .also(&["Cascadelake-Server-v3"])
        .signature(6, 0x55, 6)
        .like("Skylake-Server-noTSX-IBRS")
        .with("avx512vnni clflushopt ssbd")
        .vmx_apart()
        .qemu_has("arch-capabilities ibrs-all mds-no pku rdctl-no skip-l1dfl-vmentry"),
    row("Cascadelake-Server-v4").like("Cascadelake-Server-v2").with("vmx-eptp-switching").without("hle rtm"),
    row("Cascadelake-Server-v5").like("Cascadelake-Server-v4").with("xsaves vmx-xsaves"),
    row("Icelake-Client").vendor(INTEL).signature(6, 0x7e, 0).with(
        "3dnowprefetch abm adx aes apic arat avx avx2 avx512-vpopcntdq avx512bitalg avx512vbmi avx512vbmi2 \
             avx512vnni bmi1 bmi2 clflush cmov cx16 cx8 de erms f16c fma fpu fsgsbase fxsr gfni hle invpcid lahf-lm \
             lm mca mce mmx movbe mpx msr mtrr nx pae pat pcid pclmulqdq pge pku pni popcnt pse pse36 rdrand rdseed \
             rdtscp rtm sep smap smep spec-ctrl ssbd sse sse2 sse4.1 sse4.2 ssse3 syscall tsc tsc-deadline umip vaes \
             vme vpclmulqdq wbnoinvd x2apic xgetbv1 xsave xsavec xsaveopt",
    ),
    row("Icelake-Client-noTSX").like("Icelake-Client").without("hle rtm"),
    row("Icelake-Server")
        .also(&["Icelake-Server-v1"])
        .signature(6, 0x86, 0)
        .like("Cascadelake-Server")
        .with("avx512-vpopcntdq avx512bitalg avx512vbmi avx512vbmi2 gfni la57 pku umip vaes vpclmulqdq wbnoinvd")
        .without("vmx-pml vmx-rdseed-exit")
        .vmx_apart(),
    row("Icelake-Server-noTSX")
        .also(&["Icelake-Server-v2"])
        .like("Icelake-Server")
        .with("vmx-eptp-switching vmx-page-walk-5 vmx-pml vmx-rdseed-exit vmx-xsaves")
        .without("hle rtm")
        .vmx_apart(),
    row("Icelake-Server-v3")
        .like("Icelake-Server")
        .with("arch-capabilities ibrs-all mds-no pschange-mc-no rdctl-no skip-l1dfl-vmentry taa-no")
        .without("hle rtm vmx-invvpid"),
    row("Icelake-Server-v4")
        .signature(6, 0x6a, 0)
        .like("Icelake-Server-v3")
        .with("avx512ifma fsrm rdpid sha-ni vmx-eptp-switching vmx-pml vmx-rdseed-exit"),
    row("Icelake-Server-v5").like("Icelake-Server-v4").with("xsaves vmx-xsaves"),
    row("Icelake-Server-v6").like("Icelake-Server-v5").with("vmx-page-walk-5"),
    row("Icelake-Server-v7").like("Icelake-Server-v6").with("hle rtm"),
    row("Cooperlake")
        .also(&["Cooperlake-v1"])
        .signature(6, 0x55, 10)
        .like("Cascadelake-Server-v5")
        .with("avx512-bf16 hle pschange-mc-no rtm stibp taa-no vmx-invvpid")
        .without("xsaves")
        .vmx_apart(),
    row("Cooperlake-v2").like("Cooperlake").with("xsaves").without("vmx-invvpid"),
    row("Snowridge")
        .also(&["Snowridge-v1"])
        .signature(6, 0x86, 1)
        .like("Cascadelake-Server-noTSX")
        .with("arch-capabilities cldemote core-capability gfni movdir64b movdiri sha-ni split-lock-detect umip")
        .without(
            "abm adx avx avx2 avx512bw avx512cd avx512dq avx512f avx512vl avx512vnni bmi1 bmi2 f16c fma invpcid pcid",
        )
        .vmx_apart()
        .qemu_has("monitor mpx"),
    row("Snowridge-v2").like("Snowridge").without("vmx-invvpid vmx-xsaves").qemu_has("monitor"),
    row("Snowridge-v3").like("Snowridge-v2").with("xsaves vmx-xsaves").qemu_has("monitor"),
    row("Snowridge-v4").like("Snowridge-v3").without("core-capability split-lock-detect").qemu_has("monitor"),
    row("SapphireRapids")
        .also(&["SapphireRapids-v1"])
        .signature(6, 0x8f, 4)
        .like("Icelake-Server-v7")
        .with(
            "amx-bf16 amx-int8 amx-tile avx-vnni avx512-bf16 avx512-fp16 bus-lock-detect fsrc fsrs fzrm serialize \
             tsx-ldtrk xfd vmx-invvpid",
        )
        .vmx_apart(),
    row("SapphireRapids-v2").like("SapphireRapids").with("fbsdp-no psdp-no sbdr-ssdp-no").without("vmx-invvpid"),
    row("SapphireRapids-v3").like("SapphireRapids-v2").with("cldemote movdir64b movdiri ss tsc-adjust"),
    row("SapphireRapids-v4").like("SapphireRapids-v3"),
    row("GraniteRapids")
        .also(&["GraniteRapids-v1"])
        .signature(6, 0xad, 0)
        .like("SapphireRapids-v2")
        .with("amx-fp16 mcdt-no pbrsb-no prefetchiti vmx-invvpid"),
    row("GraniteRapids-v2")
        .signature(6, 0xad, 1)
        .like("SapphireRapids-v3")
        .with("amx-fp16 avx10 avx10-128 avx10-256 avx10-512 mcdt-no pbrsb-no prefetchiti"),
    row("GraniteRapids-v3").like("GraniteRapids-v2"),
    row("GraniteRapids-v4").like("GraniteRapids-v3").with("ibt shstk"),
    row("GraniteRapids-v5").like("GraniteRapids-v4").with("its-no"),
    row("SierraForest")
        .also(&["SierraForest-v1"])
        .signature(6, 0xaf, 0)
        .like("Cascadelake-Server-v5")
        .with(
            "avx-ifma avx-ne-convert avx-vnni avx-vnni-int8 bus-lock-detect cmpccxadd fbsdp-no fsrm fsrs gfni mcdt-no \
             pbrsb-no pschange-mc-no psdp-no rdpid sbdr-ssdp-no serialize sha-ni umip vaes vpclmulqdq wbnoinvd \
             vmx-invvpid",
        )
        .without("avx512bw avx512cd avx512dq avx512f avx512vl avx512vnni"),
    row("SierraForest-v2")
        .signature(6, 0xaf, 3)
        .like("SierraForest")
        .with("cldemote gds-no lam movdir64b movdiri rfds-no ss tsc-adjust")
        .qemu_has("bhi-ctrl intel-psfd ipred-ctrl rrsba-ctrl"),
    row("SierraForest-v3").like("SierraForest-v2").qemu_has("bhi-ctrl intel-psfd ipred-ctrl rrsba-ctrl"),
    row("Denverton")
        .also(&["Denverton-v1"])
        .signature(6, 0x5f, 1)
        .like("Snowridge-v4")
        .with("mpx rdctl-no skip-l1dfl-vmentry")
        .without("cldemote clwb gfni movdir64b movdiri umip xsaves vmx-xsaves")
        .qemu_has("monitor"),
    row("Denverton-v2").like("Denverton").without("mpx"),
    row("Denverton-v3").like("Denverton-v2").with("xsaves vmx-xsaves"),
    row("KnightsMill")
        .also(&["KnightsMill-v1"])
        .signature(6, 0x85, 0)
        .like("Icelake-Client-noTSX")
        .with("avx512-4fmaps avx512-4vnniw avx512cd avx512er avx512f avx512pf pdpe1gb ss")
        .without(
            "avx512bitalg avx512vbmi avx512vbmi2 avx512vnni gfni invpcid mpx pcid pku smap spec-ctrl ssbd umip vaes \
             vpclmulqdq wbnoinvd xgetbv1 xsavec",
        ),
    row("ClearwaterForest")
        .also(&["ClearwaterForest-v1"])
        .signature(6, 0xdd, 0)
        .like("SierraForest-v2")
        .with("avx-vnni-int16 bhi-ctrl bhi-no ddpd-u intel-psfd ipred-ctrl prefetchiti rrsba-ctrl sha512 sm3 sm4")
        .without("vmx-invvpid"),
    row("ClearwaterForest-v2").like("ClearwaterForest").with("ibt shstk"),
    row("ClearwaterForest-v3").like("ClearwaterForest-v2").with("its-no"),
    row("DiamondRapids")
        .also(&["DiamondRapids-v1"])
        .signature(19, 0x1, 0)
        .like("GraniteRapids-v4")
        .with(
            "amx-avx512 amx-bf16-alias amx-complex amx-complex-alias amx-fp16-alias amx-fp8 amx-int8-alias amx-movrs \
             amx-tf32 apx apx-nci-ndd-nf avx-ifma avx-ne-convert avx-vnni-int8 avx10-vnni-int bhi-ctrl bhi-no \
             cmpccxadd ddpd-u fdp-excptn-only flush-l1d fred gds-no intel-psfd ipred-ctrl lam lkgs md-clear movrs \
             rfds-no rrsba-ctrl stibp wrmsrns zero-fcs-fds vmx-activity-shutdown vmx-activity-wait-sipi \
             vmx-enable-user-wait-pause vmx-entry-load-fred vmx-exit-secondary-ctls vmx-nested-exception \
             vmx-tsc-scaling",
        )
        .without("avx10-128 avx10-256 avx10-512")
        .qemu_has("avx10-128 avx10-256 avx10-512"),
    row("YongFeng")
        .also(&["YongFeng-v1"])
        .vendor(CENTAUR)
        .signature(7, 0xb, 3)
        .like("Broadwell-noTSX-IBRS")
        .with(
            "abm ace2 acpi arch-capabilities f16c invtsc mds-no monitor pdpe1gb phe phe-en pku pmm pmm-en \
             pschange-mc-no rdctl-no rdpid rdrand sha-ni skip-l1dfl-vmentry ss ssb-no umip vme xcrypt xcrypt-en \
             xsaveopt xstore xstore-en",
        )
        .without("erms vmx-rdseed-exit"),
    row("YongFeng-v2").signature(7, 0x5b, 3).like("YongFeng"),
    row("YongFeng-v3").like("YongFeng-v2"),
];
