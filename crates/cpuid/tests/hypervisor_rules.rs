//! What Xen and KVM make of a CPU by code, which no letter of a table says.

use selfsame_cpuid::{Check, Kind, Leaves};

mod cpus;

use cpus::{AMD, INTEL, cpu, has, host};

const XEN_KINDS: [Kind; 3] = [Kind::Hvm, Kind::HvmShadow, Kind::Pv];

fn of(name: &str, leaves: &Leaves, kind: Kind) -> [bool; 2] {
    let host = host(leaves, kind);
    [has(host.max(), name), has(host.default(), name)]
}

const NEVER: [bool; 2] = [false, false];
const MAX_ONLY: [bool; 2] = [true, false];
const ALWAYS: [bool; 2] = [true, true];

#[test]
fn clwb_and_rdrand_are_accepted_but_not_given_where_xen_hides_them() {
    for (model, signature) in [("Skylake-X", 0x50654), ("Cascade Lake", 0x50657), ("Cooper Lake", 0x5065b)] {
        assert_eq!(of("clwb", &cpu(INTEL, signature, &["clwb"]), Kind::Hvm), MAX_ONLY, "{model}");
        assert_eq!(of("clwb", &cpu(INTEL, signature, &[]), Kind::Hvm), NEVER, "{model}");
    }
    assert_eq!(of("clwb", &cpu(INTEL, 0x606a6, &["clwb"]), Kind::Hvm), ALWAYS, "Ice Lake");
    let ivybridge = cpu(INTEL, 0x306a9, &["rdrand"]);
    assert_eq!(of("rdrand", &ivybridge, Kind::Hvm), MAX_ONLY);
    assert_eq!(of("rdrand", &ivybridge, Kind::Kvm), ALWAYS, "KVM does not hide it");
}

#[test]
fn arch_capabilities_are_data_that_every_intel_host_has() {
    let (haswell, rome) = (cpu(INTEL, 0x306f2, &[]), cpu(AMD, 0x0083_0f10, &[]));
    for kind in Kind::ALL {
        assert_eq!(of("arch-capabilities", &haswell, kind), ALWAYS, "{kind}");
    }
    for kind in XEN_KINDS {
        assert_eq!(of("arch-capabilities", &rome, kind), NEVER, "{kind}");
    }
    assert_eq!(of("arch-capabilities", &rome, Kind::Kvm), MAX_ONLY, "new QEMU hides it on AMD");
    for made in ["skip-l1dfl-vmentry", "pschange-mc-no"] {
        assert_eq!(of(made, &haswell, Kind::Kvm), ALWAYS, "{made}");
    }
}

#[test]
fn kvm_says_immunities_that_no_cpu_says() {
    assert_eq!(of("its-no", &cpu(INTEL, 0x806f8, &[]), Kind::Kvm), ALWAYS, "Sapphire Rapids");
    assert_eq!(of("its-no", &cpu(INTEL, 0x50654, &[]), Kind::Kvm), ALWAYS, "Skylake-X");
    for (model, signature) in [("Cascade Lake", 0x50657), ("Ice Lake", 0x606a6), ("Rocket Lake", 0xa0671)] {
        assert_eq!(of("its-no", &cpu(INTEL, signature, &[]), Kind::Kvm), NEVER, "{model}");
    }
    for (model, signature, gds, rfds) in [
        ("Haswell", 0x306f2, ALWAYS, ALWAYS),
        ("Ice Lake", 0x606a6, MAX_ONLY, ALWAYS),
        ("Alder Lake", 0x90672, ALWAYS, NEVER),
        ("Sapphire Rapids", 0x806f8, ALWAYS, ALWAYS),
    ] {
        let leaves = cpu(INTEL, signature, &[]);
        assert_eq!([of("gds-no", &leaves, Kind::Kvm), of("rfds-no", &leaves, Kind::Kvm)], [gds, rfds], "{model}");
    }
    let caps = ["arch-capabilities", "taa-no"];
    assert_eq!(of("taa-no", &cpu(INTEL, 0x906a3, &caps), Kind::Kvm), NEVER, "no RTM says as much");
    assert_eq!(of("taa-no", &cpu(INTEL, 0x806f8, &[&caps[..], &["rtm"]].concat()), Kind::Kvm), ALWAYS);
    assert_eq!(of("taa-no", &cpu(INTEL, 0x906a3, &caps), Kind::Hvm), ALWAYS, "Xen gives what the CPU says");
}

#[test]
fn kvm_tells_each_vendors_guests_of_controls_in_the_others_words() {
    let intel = cpu(INTEL, 0x806f8, &["spec-ctrl", "stibp", "ssbd", "arch-capabilities", "ssb-no"]);
    for name in ["ibpb", "ibrs", "amd-stibp", "amd-ssbd", "amd-no-ssb", "amd-ibpb-ret"] {
        assert_eq!(of(name, &intel, Kind::Kvm), ALWAYS, "{name}");
    }
    let keeps_returns = ["spec-ctrl", "arch-capabilities", "ibrs-all"];
    assert_eq!(of("amd-ibpb-ret", &cpu(INTEL, 0x806f8, &keeps_returns), Kind::Kvm), NEVER);
    assert_eq!(of("amd-ibpb-ret", &cpu(INTEL, 0x90661, &keeps_returns), Kind::Kvm), ALWAYS, "Tremont");
    let pbrsb_no = [&keeps_returns[..], &["pbrsb-no"]].concat();
    assert_eq!(of("amd-ibpb-ret", &cpu(INTEL, 0x806f8, &pbrsb_no), Kind::Kvm), ALWAYS);

    let zen2 = ["ibpb", "ibrs"];
    let spec_ctrl = of("spec-ctrl", &cpu(AMD, 0x0083_0f10, &zen2), Kind::Kvm);
    assert_eq!(spec_ctrl, MAX_ONLY, "its IBPB does not cover returns, which KVM before 6.13 did not mind");
    let zen4 = [&zen2[..], &["amd-ibpb-ret"]].concat();
    assert_eq!(of("spec-ctrl", &cpu(AMD, 0x00a1_0f11, &zen4), Kind::Kvm), ALWAYS);
}

#[test]
fn kvm_gives_no_bus_lock_trap_and_no_immediate_msrs_on_amd() {
    let features = ["fpu", "fxsr", "sse", "sse2", "pae", "lm", "bus-lock-detect", "msr-imm"];
    for name in ["bus-lock-detect", "msr-imm"] {
        assert_eq!(of(name, &cpu(INTEL, 0x806f8, &features), Kind::Kvm), ALWAYS, "{name}");
        assert_eq!(of(name, &cpu(AMD, 0x00b0_0f21, &features), Kind::Kvm), NEVER, "{name}");
    }
}

#[test]
fn what_amds_cpus_do_without_saying_it_is_said_to_guests() {
    let bit = |name, signature, kind| of(name, &cpu(AMD, signature, &[]), kind);
    for kind in Kind::ALL {
        assert_eq!(bit("null-sel-clr-base", 0x0083_0f10, kind), ALWAYS, "Zen 2, {kind}");
        assert_eq!(bit("null-sel-clr-base", 0x0080_0f12, kind), NEVER, "Zen, {kind}");
        assert_eq!(bit("lfence-always-serializing", 0x0080_0f12, kind), ALWAYS, "{kind}");
        assert_eq!(of("lfence-always-serializing", &cpu(INTEL, 0x306f2, &[]), kind), NEVER, "{kind}");
    }
    assert_eq!(bit("lfence-always-serializing", 0x0010_0f42, Kind::Pv), ALWAYS);
    assert_eq!(bit("lfence-always-serializing", 0x0010_0f42, Kind::Kvm), NEVER, "KVM shows no leaf 0x80000021 there");
    assert_eq!(bit("no-smm-ctl-msr", 0x0080_0f12, Kind::Kvm), ALWAYS);
    let (rome, milan) = (cpu(AMD, 0x0083_0f10, &[]), cpu(AMD, 0x00a0_0f11, &["null-sel-clr-base"]));
    let [rome, milan] = [rome, milan].map(|leaves| host(&leaves, Kind::Kvm));
    assert!(Check::new(milan.default(), &rome).is_accepted());
}

#[test]
fn virt_ssbd_is_for_hvm_guests_without_a_better_way() {
    for kind in [Kind::Hvm, Kind::HvmShadow] {
        assert_eq!(of("virt-ssbd", &cpu(AMD, 0x0080_0f12, &[]), kind), ALWAYS, "LS_CFG");
        let better = ["ibrs", "amd-ssbd"];
        assert_eq!(of("virt-ssbd", &cpu(AMD, 0x0083_0f10, &better), kind), MAX_ONLY, "SPEC_CTRL is better");
        assert_eq!(of("virt-ssbd", &cpu(AMD, 0x0010_0f42, &[]), kind), NEVER, "neither");
    }
    assert_eq!(of("virt-ssbd", &cpu(AMD, 0x0080_0f12, &[]), Kind::Pv), NEVER);
}

#[test]
fn srso_us_no_is_true_for_pv_kernels_with_bp_spec_reduce_only() {
    let without = cpu(AMD, 0x00b4_0f40, &["srso-user-kernel-no"]);
    let with = cpu(AMD, 0x00b0_0f21, &["srso-user-kernel-no", "srso-bp-spec-reduce"]);
    assert_eq!(of("srso-user-kernel-no", &without, Kind::Pv), NEVER);
    assert_eq!(of("srso-user-kernel-no", &with, Kind::Pv), ALWAYS);
    assert_eq!(of("srso-user-kernel-no", &without, Kind::Hvm), ALWAYS);
}

#[test]
fn hvm_guests_never_set_lmsle_and_are_told_so() {
    for leaves in [
        cpu(INTEL, 0x306f2, &["fpu", "fxsr", "sse", "sse2", "pae", "lm"]),
        cpu(AMD, 0x0080_0f12, &["fpu", "fxsr", "sse", "sse2", "pae", "lm"]),
    ] {
        assert_eq!(of("efer-lmsle-mbz", &leaves, Kind::Hvm), ALWAYS);
        assert_eq!(of("efer-lmsle-mbz", &leaves, Kind::Pv), NEVER);
    }
}

#[test]
fn pv_guests_that_saw_x2apic_may_come_and_new_ones_do_not_see_it() {
    let leaves = cpu(INTEL, 0x806f8, &["apic", "x2apic"]);
    assert_eq!(of("x2apic", &leaves, Kind::Pv), MAX_ONLY, "Xen 5420aa165d");
}

#[test]
fn nothing_is_made_in_leaf_7_of_a_cpu_that_ends_before_it() {
    let mut tulsa = cpu(INTEL, 0xf68, &[]);
    let leaf_0 = tulsa.get(0, 0);
    tulsa.set(0, 0, selfsame_cpuid::Regs { eax: 6, ..leaf_0 }).unwrap_or_else(|error| unreachable!("{error}"));
    for kind in Kind::ALL {
        assert_eq!(of("arch-capabilities", &tulsa, kind), MAX_ONLY, "{kind}");
        assert_eq!(host(&tulsa, kind).default().leaves.get(7, 0), selfsame_cpuid::Regs::ZERO, "{kind}");
    }
}

#[test]
fn kvm_makes_what_nested_svm_can_do_without_hardware() {
    for name in ["vmcb-clean", "flushbyasid", "svme-addr-chk"] {
        assert_eq!(of(name, &cpu(AMD, 0x0080_0f12, &["svm"]), Kind::Kvm), ALWAYS, "{name}");
        assert_eq!(of(name, &cpu(AMD, 0x0080_0f12, &[]), Kind::Kvm), NEVER, "{name}, without svm");
    }
    assert_eq!(of("ssb-no", &cpu(AMD, 0x00a0_0f11, &["amd-no-ssb"]), Kind::Kvm), MAX_ONLY);
}
