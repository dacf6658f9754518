//! Which names QEMU and libvirt know, and from which version on.
//!
//! Measured, not read: QEMU's properties and models are the answers of `query-cpu-model-expansion` (type `full`, model
//! `base`) and `query-cpu-definitions` of QEMU 7.2.22, 10.0.13 and 11.1.2 as Debian packages them; libvirt's are its
//! `cpu_map` of 9.0.0 and 11.3.0. A version in a row is thus the first *measured* one that has the name. No name that an
//! older of them had is gone in a newer one. What no row lists, the oldest measured version knows.

use selfsame_cpuid::Feature;

/// Whose names they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Namer {
    Qemu,
    Libvirt,
}

/// Since when a name is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Since {
    /// The oldest version that was measured knows it.
    Always,
    /// The first measured version that knows it.
    Version(&'static str),
    /// No measured version knows it.
    Never,
}

impl Namer {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Qemu => "QEMU",
            Self::Libvirt => "libvirt",
        }
    }

    /// The oldest and the newest version that were measured.
    pub(super) const fn measured(self) -> (&'static str, &'static str) {
        match self {
            Self::Qemu => ("7.2", "11.1"),
            Self::Libvirt => ("9.0", "11.3"),
        }
    }

    /// Since when it has a name for a feature.
    pub(super) fn feature(self, row: &Feature) -> Since {
        let rows: &[Names] = match self {
            Self::Qemu => &QEMU,
            Self::Libvirt => &LIBVIRT,
        };
        if has_word(NOWHERE, row.name) { Since::Never } else { since(rows, row.name) }
    }

    /// Since when it has a model of this name.
    pub(super) fn model(self, name: &str) -> Since {
        if name == "x86-64" || name.starts_with("x86-64-v") {
            return Since::Never;
        }
        since(if self == Self::Qemu { &QEMU_MODELS } else { &LIBVIRT_MODELS }, name)
    }

    /// What it calls a feature for which it has a name.
    pub(super) fn spelling(self, row: &Feature) -> &'static str {
        let others = match self {
            Self::Qemu => &QEMU_SPELLINGS[..],
            Self::Libvirt => &LIBVIRT_SPELLINGS,
        };
        let other = others.iter().find(|(name, _)| *name == row.name);
        other.map_or(row.name, |(_, spelling)| spelling)
    }
}

/// Names that a version, or none, brought.
struct Names {
    since: Option<&'static str>,
    /// Separated by blanks.
    names: &'static str,
}

fn has_word(words: &str, word: &str) -> bool {
    words.split_ascii_whitespace().any(|known| known == word)
}

fn since(rows: &[Names], name: &str) -> Since {
    let row = rows.iter().find(|row| has_word(row.names, name));
    row.map_or(Since::Always, |row| row.since.map_or(Since::Never, Since::Version))
}

/// Features whose canonical name QEMU does not understand, and its own name.
static QEMU_SPELLINGS: [(&str, &str); 3] = [("apx", "apxf"), ("ibt", "cet-ibt"), ("shstk", "cet-ss")];

/// Features whose canonical name libvirt does not understand, and its own name; the others it spells as QEMU does.
static LIBVIRT_SPELLINGS: [(&str, &str); 12] = [
    ("cmp-legacy", "cmp_legacy"),
    ("ds-cpl", "ds_cpl"),
    ("fxsr-opt", "fxsr_opt"),
    ("lahf-lm", "lahf_lm"),
    ("mbm-local", "mbm_local"),
    ("mbm-total", "mbm_total"),
    ("nodeid-msr", "nodeid_msr"),
    ("pclmulqdq", "pclmuldq"),
    ("perfctr-core", "perfctr_core"),
    ("perfctr-nb", "perfctr_nb"),
    ("tsc-adjust", "tsc_adjust"),
    ("vmx-invept-single-context-noglobals", "vmx-invvpid-single-context-noglobals"),
];

/// Features that QEMU 7.2 has no property for.
static QEMU: [Names; 3] = [
    Names {
        since: Some("10.0"),
        names: "\
         amd-psfd amx-complex amx-fp16 auto-ibrs avx-ifma avx-ne-convert avx-vnni-int16 avx-vnni-int8 avx10 \
         avx10-128 avx10-256 avx10-512 bhi-ctrl bhi-no cmpccxadd ddpd-u eraps fb-clear fbsdp-no fdp-excptn-only \
         flush-l1d fred fsrc fsrs fzrm gds-no ibpb-brtype intel-psfd ipred-ctrl kvm-asyncpf-vmexit lam \
         lfence-always-serializing lkgs mcdt-no no-nested-data-bp null-sel-clr-base overflow-recov pbrsb-no \
         perfmon-v2 prefetchiti psdp-no rfds-clear rfds-no rrsba-ctrl sbdr-ssdp-no sbpb sgx-aex-notify \
         sgx-edeccssa sha512 sm3 sm4 srso-no srso-user-kernel-no stibp-always-on succor vmx-any-errcode \
         vmx-enable-user-wait-pause vmx-entry-load-fred vmx-exit-secondary-ctls vmx-nested-exception vnmi wrmsrns \
         zero-fcs-fds",
    },
    Names {
        since: Some("11.1"),
        names: "\
         amx-avx512 amx-bf16-alias amx-complex-alias amx-fp16-alias amx-fp8 amx-int8-alias amx-movrs amx-tf32 apx \
         apx-nci-ndd-nf avx10-vnni-int fs-gs-base-ns gmet ibt its-no movrs msr-imm prefetchi shstk tsa-l1-no \
         tsa-sq-no verw-clear vmx-entry-load-cet vmx-exit-save-cet vmx-mbec",
    },
    Names {
        since: None,
        names: "\
         cmt cvt16 mbm-local mbm-total ospke osxsave pconfig vmx-ept-uc vmx-ept-wb vmx-invvpid-single-context",
    },
];

/// Features that libvirt 9.0 has no name for.
static LIBVIRT: [Names; 2] = [
    Names {
        since: Some("11.3"),
        names: "\
         amd-psfd amx-complex amx-fp16 auto-ibrs avx-ifma avx-ne-convert avx-vnni-int16 avx-vnni-int8 avx10 \
         avx10-128 avx10-256 avx10-512 bhi-ctrl cmpccxadd ddpd-u eraps fb-clear fbsdp-no fdp-excptn-only \
         flush-l1d fred fsrc fsrs fzrm gds-no ibpb-brtype intel-psfd ipred-ctrl lam lfence-always-serializing \
         lkgs mcdt-no no-nested-data-bp null-sel-clr-base overflow-recov pbrsb-no perfmon-v2 prefetchiti psdp-no \
         rfds-clear rfds-no rrsba-ctrl sbdr-ssdp-no sbpb sgx-aex-notify sgx-edeccssa sha512 sm3 sm4 srso-no \
         srso-user-kernel-no stibp-always-on succor vmx-activity-hlt vmx-activity-shutdown vmx-activity-wait-sipi \
         vmx-any-errcode vmx-apicv-register vmx-apicv-vid vmx-apicv-x2apic vmx-apicv-xapic vmx-cr3-load-noexit \
         vmx-cr3-store-noexit vmx-cr8-load-exit vmx-cr8-store-exit vmx-desc-exit vmx-enable-user-wait-pause \
         vmx-encls-exit vmx-entry-ia32e-mode vmx-entry-load-bndcfgs vmx-entry-load-efer vmx-entry-load-fred \
         vmx-entry-load-pat vmx-entry-load-perf-global-ctrl vmx-entry-load-pkrs vmx-entry-load-rtit-ctl \
         vmx-entry-noload-debugctl vmx-ept vmx-ept-1gb vmx-ept-2mb vmx-ept-advanced-exitinfo vmx-ept-execonly \
         vmx-ept-uc vmx-ept-wb vmx-eptad vmx-eptp-switching vmx-exit-ack-intr vmx-exit-clear-bndcfgs \
         vmx-exit-clear-rtit-ctl vmx-exit-load-efer vmx-exit-load-pat vmx-exit-load-perf-global-ctrl \
         vmx-exit-load-pkrs vmx-exit-nosave-debugctl vmx-exit-save-efer vmx-exit-save-pat \
         vmx-exit-save-preemption-timer vmx-exit-secondary-ctls vmx-flexpriority vmx-hlt-exit vmx-ins-outs \
         vmx-intr-exit vmx-invept vmx-invept-all-context vmx-invept-single-context \
         vmx-invept-single-context-noglobals vmx-invlpg-exit vmx-invpcid-exit vmx-invvpid vmx-invvpid-all-context \
         vmx-invvpid-single-addr vmx-invvpid-single-context vmx-io-bitmap vmx-io-exit vmx-monitor-exit \
         vmx-movdr-exit vmx-msr-bitmap vmx-mtf vmx-mwait-exit vmx-nested-exception vmx-nmi-exit vmx-page-walk-4 \
         vmx-page-walk-5 vmx-pause-exit vmx-ple vmx-pml vmx-posted-intr vmx-preemption-timer vmx-rdpmc-exit \
         vmx-rdrand-exit vmx-rdseed-exit vmx-rdtsc-exit vmx-rdtscp-exit vmx-secondary-ctls vmx-shadow-vmcs \
         vmx-store-lma vmx-true-ctls vmx-tsc-offset vmx-tsc-scaling vmx-unrestricted-guest vmx-vintr-pending \
         vmx-vmfunc vmx-vmwrite-vmexit-fields vmx-vnmi vmx-vnmi-pending vmx-vpid vmx-wbinvd-exit vmx-xsaves \
         vmx-zero-len-inject vnmi wrmsrns zero-fcs-fds",
    },
    Names {
        since: None,
        names: "\
         ace2 ace2-en amx-avx512 amx-bf16-alias amx-complex-alias amx-fp16-alias amx-fp8 amx-int8-alias amx-movrs \
         amx-tf32 apx apx-nci-ndd-nf avx10-vnni-int bhi-no fs-gs-base-ns full-width-write gmet ibt its-no \
         kvm-asyncpf kvm-asyncpf-int kvm-asyncpf-vmexit kvm-hint-dedicated kvm-mmu kvm-msi-ext-dest-id \
         kvm-nopiodelay kvm-poll-control kvm-pv-eoi kvm-pv-ipi kvm-pv-sched-yield kvm-pv-tlb-flush kvm-pv-unhalt \
         kvm-steal-time kvmclock kvmclock-stable-bit movrs msr-imm phe phe-en pmm pmm-en prefetchi shstk tsa-l1-no \
         tsa-sq-no verw-clear vmx-entry-load-cet vmx-exit-save-cet vmx-mbec xcrypt xcrypt-en xstore xstore-en",
    },
];

/// Models that QEMU 7.2 does not have.
static QEMU_MODELS: [Names; 3] = [
    Names {
        since: Some("10.0"),
        names: "\
         ClearwaterForest ClearwaterForest-v1 EPYC-Genoa EPYC-Genoa-v1 EPYC-Milan-v2 EPYC-Rome-v3 EPYC-Rome-v4 \
         EPYC-v4 GraniteRapids GraniteRapids-v1 GraniteRapids-v2 Icelake-Server-v7 SapphireRapids \
         SapphireRapids-v1 SapphireRapids-v2 SapphireRapids-v3 SierraForest SierraForest-v1 SierraForest-v2 \
         YongFeng YongFeng-v1 YongFeng-v2",
    },
    Names {
        since: Some("11.1"),
        names: "\
         ClearwaterForest-v2 ClearwaterForest-v3 DiamondRapids DiamondRapids-v1 EPYC-Genoa-v2 EPYC-Milan-v3 \
         EPYC-Rome-v5 EPYC-Turin EPYC-Turin-v1 EPYC-v5 GraniteRapids-v3 GraniteRapids-v4 GraniteRapids-v5 \
         SapphireRapids-v4 SierraForest-v3 YongFeng-v3",
    },
    Names { since: None, names: "Icelake-Client Icelake-Client-noTSX cpu64-rhel5 cpu64-rhel6 pentiumpro" },
];

/// Models that libvirt 9.0 does not have.
static LIBVIRT_MODELS: [Names; 2] = [
    Names {
        since: Some("11.3"),
        names: "\
         486-v1 Broadwell-v1 Broadwell-v2 Broadwell-v3 Broadwell-v4 Cascadelake-Server-v1 Cascadelake-Server-v2 \
         Cascadelake-Server-v3 Cascadelake-Server-v4 Cascadelake-Server-v5 Conroe-v1 Cooperlake-v1 Cooperlake-v2 \
         Denverton Denverton-v1 Denverton-v2 Denverton-v3 Dhyana-v1 Dhyana-v2 EPYC-Genoa EPYC-Genoa-v1 \
         EPYC-Milan-v1 EPYC-Milan-v2 EPYC-Rome-v1 EPYC-Rome-v2 EPYC-Rome-v3 EPYC-Rome-v4 EPYC-v1 EPYC-v2 EPYC-v3 \
         EPYC-v4 GraniteRapids GraniteRapids-v1 GraniteRapids-v2 Haswell-v1 Haswell-v2 Haswell-v3 Haswell-v4 \
         Icelake-Server-v1 Icelake-Server-v2 Icelake-Server-v3 Icelake-Server-v4 Icelake-Server-v5 \
         Icelake-Server-v6 Icelake-Server-v7 IvyBridge-v1 IvyBridge-v2 KnightsMill KnightsMill-v1 Nehalem-v1 \
         Nehalem-v2 Opteron_G1-v1 Opteron_G2-v1 Opteron_G3-v1 Opteron_G4-v1 Opteron_G5-v1 Penryn-v1 \
         SandyBridge-v1 SandyBridge-v2 SapphireRapids SapphireRapids-v1 SapphireRapids-v2 SapphireRapids-v3 \
         SierraForest SierraForest-v1 Skylake-Client-v1 Skylake-Client-v2 Skylake-Client-v3 Skylake-Client-v4 \
         Skylake-Server-v1 Skylake-Server-v2 Skylake-Server-v3 Skylake-Server-v4 Skylake-Server-v5 Snowridge-v1 \
         Snowridge-v2 Snowridge-v3 Snowridge-v4 Westmere-v1 Westmere-v2 athlon-v1 core2duo-v1 coreduo-v1 kvm32-v1 \
         kvm64-v1 n270-v1 pentium-v1 pentium2-v1 pentium3-v1 phenom-v1 qemu32-v1 qemu64-v1",
    },
    Names {
        since: None,
        names: "\
         ClearwaterForest ClearwaterForest-v1 ClearwaterForest-v2 ClearwaterForest-v3 DiamondRapids \
         DiamondRapids-v1 EPYC-Genoa-v2 EPYC-Milan-v3 EPYC-Rome-v5 EPYC-Turin EPYC-Turin-v1 EPYC-v5 \
         GraniteRapids-v3 GraniteRapids-v4 GraniteRapids-v5 SapphireRapids-v4 SierraForest-v2 SierraForest-v3 \
         YongFeng YongFeng-v1 YongFeng-v2 YongFeng-v3",
    },
];

/// Features that neither has a name for.
const NOWHERE: &str = "\
    100mhz-steps abmc acc-power addr-msk-ext aes-keylocker aes-keylocker-wide allowed-sev-features \
    alternate-injection amd-fast-cppc amd-fsrc amd-fsrs amd-htr-cores amd-ibpb-ret amd-ibrs-same-mode amd-l3mbe \
    amd-lbr-pmc-freeze amd-lbr-v2 amd-mba amd-ppin amd-workload-class anythread-deprecation aperfmperf \
    arch-perfmon-ext avx512-bmm bmec bmec-all-dirty-victims bmec-local-nontemp-wr bmec-local-reads \
    bmec-local-slow-mem-rd bmec-remote-nontemp-wr bmec-remote-reads bmec-remote-slow-mem-rd bpext br-insn-ret-evt \
    br-mispr-evt brs btc-no bus-lock-threshold cat-l2 cat-l3 cat-sparse-1s-l2 cat-sparse-1s-l3 ccs ccs-en cdp-l2 \
    cdp-l3 cet-sss coherency-sfw-no connected-standby core-cycles-evt cpb cppc cppc-perf-prio cpuid-faulting cqm-llc \
    cqm-occup-llc cr3-filtering dca-enabled-in-bios debug-swap digital-temp disallow-host-ibs doitm dpti dtherm ecmd \
    efer-lmsle-mbz efro encap-reporting encls-leaves enclu-everifyreport2 enclv-leaves energy-filtering enqcmd epb \
    epsf event-trace ext-lvt-off-chg fb-clear-ctrl fp-128 fp-256 fsrsc gds-ctrl gp-on-user-cpuid h-mce-override \
    hdc-base-regs hfi hreset hreset-thread-director hv-inuse-wr-allowed hw-assert hw-lwp-avail hw-lwp-bre hw-lwp-cnh \
    hw-lwp-cont hw-lwp-dme hw-lwp-int hw-lwp-ire hw-lwp-ptsc hw-lwp-rnh hw-lwpval hw-pstate hw-thermal-control hwp \
    hwp-act-window hwp-ctl hwp-epp hwp-fast hwp-flexible hwp-highest-perf-change hwp-ignore-idle hwp-notify \
    hwp-peci-override hwp-pkg-req hybrid-cpu ibrs-always ibrs-fast ibs-branch-target ibs-fetch-ctl-ext \
    ibs-fetch-sampling ibs-flags ibs-l3-miss-filter ibs-op-branch-fuse ibs-op-count ibs-op-counters-ext ibs-op-data-4 \
    ibs-op-sampling ibs-rdwr-op-counter ibs-rip-invalid-chk ibs-virt ida idle-hlt ign-umonitor insn-retired-evt \
    intel-ppin invlpgb io-rdt-cmt io-rdt-mbm ip-filtering irperf iwkey-rand key-locker kl-cpl0-only kl-msr-iwkey \
    kl-no-decrypt kl-no-encrypt kvm-clocksource2 kvm-hc-map-gpa-range kvm-migration-control l3-cat-cos-infreq-updates \
    l3c-qm-overflow-bit l3rr lass lbr-branch-filter lbr-branch-type lbr-call-stack lbr-cpl lbr-deep-c-reset \
    lbr-ip-is-lip lbr-mispredict lbr-timed-lbr llc-misses-evt llc-refs-evt loadiwkey-no-backup longrun lrti \
    lwp-branch-predict lwp-cache-latency lwp-cache-levels lwp-data-addr lwp-ip-filtering mba mba-delay-linear mcommit \
    mcu-ctrl mcu-ext mem-hmk-mode misc-pkg-ctrl miscselect-cpinfo mon-umon-mitg movu-preferred mp msrlist mtc-timing \
    mwait-ext mwait-irq-break mwaitx nested-virt-snp-msr nmi-src no-backend-bound no-bad-speculation \
    no-br-insn-retired no-br-misses-retired no-core-cycle no-frontend-bound no-instruction-retired no-invd \
    no-lbr-inserts no-llc-misses no-llc-reference no-reference-cycles no-retiring no-smm-ctl-msr no-topdown-slots \
    opcode-reclaim os-lwp-avail os-lwp-bre os-lwp-cnh os-lwp-cont os-lwp-dme os-lwp-int os-lwp-ire os-lwp-ptsc \
    os-lwp-rnh os-lwpval ovrclk-status parallax parallax-en pb-opt-ctrl pebs-allow-in-record pebs-aux \
    pebs-counters-fixed pebs-counters-gp pebs-counters-metrics pebs-gpr per-thread-mba perfcap-reporting perfctr-llc \
    perfmon-acr-subleaf perfmon-counters-subleaf perfmon-eq perfmon-events-subleaf perfmon-pebs-caps-subleaf \
    perfmon-pebs-subleaf perfmon-subleaf-0 perfmon-unitmask2 pfeh phe2 phe2-en pln pml power-event-trace \
    powernow-freq-id powernow-volt-id prefetch-ctl-msr prefetchwt1 proc-feedback psb-cyc psb-pmi-preserve pts ptsc \
    ptwrite rapl rdpmc-user-disable rdpru rdt-a ref-cycles-evt req-64bit-hypervisor restricted-injection rmpread rng2 \
    rng2-en ro-gpt rpmquery rrsba rsa rsa-en rtm-always-abort sdbg sdciae secs-attr-cet secs-attr-init segmented-rmp \
    sev sev-es sev-snp sgx-eupdatesvn sgx-keys single-range-output slsm sm2 sm2-en smba smca sme sme-coherent \
    smm-page-cfg-lock smt-protection snp-secure-tsc srbds-ctrl srso-bp-spec-reduce sss-check svsm sw-thermal-control \
    td-backend-bound-evt td-bad-spec-evt td-frontend-bound-evt td-retiring-evt td-slots-evt thermal-trip \
    thread-director tlb-flush-nested tlbsync-int tlbsync-sfw-no tm3 tm3-en tme tnt-disable topa-multiple-entries \
    topa-output trace-transport-output transmeta-recovery tsx-force-abort turbo-boost-3-0 uc-lock-dis uintr uiret-uif \
    upper-addr-ignore v-spec-ctrl v-tsc-aux virt-ibs virt-tom-msr virt-transparent-enc vm-page-flush \
    vm-permission-levels vmgexit-parameter vmpl-sss vmsa-reg-protection vmx-ept-sss wbinvd-int x2avic x2avic-ext \
    xapic-status xcr0-avx xcr0-avx512-hi16-zmm xcr0-avx512-opmask xcr0-avx512-zmm-hi256 xcr0-lwp xcr0-mpx-bndcsr \
    xcr0-mpx-bndregs xcr0-pkru xcr0-sse xcr0-tileconfig xcr0-tiledata xcr0-x87 xfrm-avx xfrm-avx512-hi16-zmm \
    xfrm-avx512-opmask xfrm-avx512-zmm-hi256 xfrm-mpx-bndcsr xfrm-mpx-bndregs xfrm-pkru xfrm-sse xfrm-tileconfig \
    xfrm-tiledata xfrm-x87 xss-cet-s xss-cet-u xss-hdc xss-hwp xss-lbr xss-pasid xss-pt xss-uintr";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Models;
    use crate::spelling::{Meaning, Spelling, meaning};
    use selfsame_cpuid::{FEATURES, Vendor, feature};

    #[test]
    fn every_name_of_the_tables_is_that_of_a_feature_or_of_a_model_and_stands_once() {
        for rows in [&QEMU[..], &LIBVIRT[..]] {
            let names: Vec<&str> =
                rows.iter().map(|row| row.names).chain([NOWHERE]).flat_map(str::split_ascii_whitespace).collect();
            let mut once = names.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), names.len());
            for name in names {
                assert_eq!(feature(name).map(|row| row.name), Some(name));
            }
        }
        for row in QEMU_MODELS.iter().chain(&LIBVIRT_MODELS) {
            for name in row.names.split_ascii_whitespace() {
                assert!(Models::known().get(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn every_spelling_means_the_feature_that_it_is_written_for() {
        for row in &FEATURES {
            for namer in [Namer::Qemu, Namer::Libvirt] {
                let Some(Meaning::Feature(found)) = meaning(namer.spelling(row), Spelling::Qemu, Vendor::Unknown)
                else {
                    panic!("{}", row.name)
                };
                assert_eq!(found.place, row.place, "{}", row.name);
            }
        }
    }
}
