//! The rules of levelling that a plain AND gets wrong, one by one.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use selfsame_cpuid::{
    Check, Host, Kind, Leaves, Leveller, Member, Policy, Regs, Rule, TrimReason, Trims, blame, kept_as_warning, unite,
};

mod cpus;

use cpus::{AMD, INTEL, cpu, has, host};

fn level(hosts: &[&Host]) -> Policy {
    let mut leveller = Leveller::new(hosts[0].kind());
    for (name, host) in ["a", "b", "c", "d"].iter().zip(hosts) {
        leveller.add(name, host.default());
    }
    leveller.finish().unwrap()
}

#[test]
fn md_clear_accumulates_under_xen_and_is_a_warning_under_kvm() {
    let (old, new) = (cpu(INTEL, 0x50654, &["md-clear"]), cpu(INTEL, 0x806f8, &[]));
    let xen = [&old, &new].map(|leaves| host(leaves, Kind::Hvm));
    assert!(has(&level(&[&xen[0], &xen[1]]), "md-clear"));

    let kvm = [&old, &new].map(|leaves| host(leaves, Kind::Kvm));
    let result = level(&[&kvm[0], &kvm[1]]);
    assert!(!has(&result, "md-clear"));
    let members = [Member { name: "old", host: &kvm[0] }, Member { name: "new", host: &kvm[1] }];
    let mut warnings = Vec::new();
    kept_as_warning(&result, &members, |w| warnings.push((w.feature.name, w.hosts().collect::<Vec<_>>())));
    assert_eq!(warnings, [("md-clear", vec!["old"])]);
    let mut unsafe_here = Vec::new();
    Check::new(&result, &kvm[0]).unsafe_here(|finding| unsafe_here.push((finding.what.to_string(), finding.rule)));
    assert_eq!(unsafe_here, [("md-clear".to_owned(), Rule::UnsafeHere)]);
    assert!(Check::new(&result, &kvm[0]).is_accepted(), "a finding, not a refusal");
}

#[test]
fn one_unsafe_host_tells_all_guests_of_xen_by_the_bit_that_they_can_read() {
    let caps = ["spec-ctrl", "arch-capabilities"];
    let rsba = cpu(INTEL, 0x50654, &[&caps[..], &["rsba"]].concat());
    let eibrs = cpu(INTEL, 0x806f8, &[&caps[..], &["ibrs-all", "rrsba"]].concat());
    let safe = cpu(INTEL, 0x806f8, &[&caps[..], &["ibrs-all"]].concat());
    let old = cpu(INTEL, 0x306f2, &["spec-ctrl"]);
    let [rsba, eibrs, safe, old] = [rsba, eibrs, safe, old].map(|leaves| host(&leaves, Kind::Hvm));
    let told = |hosts: &[&Host]| {
        let result = level(hosts);
        (has(&result, "rsba"), has(&result, "rrsba"))
    };
    assert_eq!(told(&[&eibrs, &safe]), (false, true), "IBRS_ALL is visible: RRSBA");
    assert_eq!(told(&[&rsba, &safe]), (true, false), "IBRS_ALL is lost: RSBA");
    assert_eq!(told(&[&rsba, &eibrs]), (true, false));
    assert_eq!(told(&[&rsba, &old]), (true, false), "Xen makes ARCH_CAPABILITIES where the CPU lacks it");
    let told_by_rsba = level(&[&rsba, &eibrs]);
    Check::new(&told_by_rsba, &eibrs).unsafe_here(|finding| panic!("{}: the guest is told by RSBA", finding.what));
    let members = [Member { name: "rsba", host: &rsba }, Member { name: "eibrs", host: &eibrs }];
    kept_as_warning(&told_by_rsba, &members, |warning| panic!("{}", warning.feature.name));
    for unsafe_host in [&rsba, &eibrs] {
        let result = level(&[unsafe_host, &safe]);
        assert!(Check::new(&result, &safe).is_accepted(), "every Intel maximum takes the warning");
    }
}

#[test]
fn a_lost_prerequisite_takes_its_features_and_names_the_root() {
    let all = ["fpu", "fxsr", "sse", "sse2", "xsave", "avx", "avx2", "avx512f", "avx512bw", "avx512vbmi"];
    let mut full = cpu(INTEL, 0x50654, &all);
    full.set(0xd, 0, Regs::new(0xe7, 0x240, 2688, 0)).unwrap();
    let rows = [(2, 256, 576), (5, 64, 1088), (6, 512, 1152), (7, 1024, 1664)];
    for (subleaf, size, offset) in rows {
        full.set(0xd, subleaf, Regs::new(size, offset, 0, 0)).unwrap();
    }
    let trims: Trims = "no-avx2".parse().unwrap();
    let hosts = [host(&full, Kind::Kvm), Host::from_hardware(&full, Kind::Kvm, &trims)];
    assert!(has(hosts[0].default(), "avx512vbmi"));
    let result = level(&[&hosts[0], &hosts[1]]);
    assert_eq!(result.leaves.xcr0().bits(), 7, "the states of AVX-512 go with it");
    assert_eq!(result.leaves.get(0xd, 0).ecx, 832);
    let members = [Member { name: "whole", host: &hosts[0] }, Member { name: "trimmed", host: &hosts[1] }];
    let mut losses = Vec::new();
    blame(&result, &members, |loss| losses.push((loss.feature.name, loss.rule, loss.hosts().collect::<Vec<_>>())));
    assert!(losses.contains(&("avx512vbmi", Rule::Prerequisite, vec!["trimmed"])), "{losses:?}");
    assert!(losses.contains(&("avx2", Rule::NotOnHost, vec!["trimmed"])), "{losses:?}");
}

#[test]
fn an_offset_of_a_supervisor_component_costs_nothing() {
    let with_offset = |offset| {
        let mut leaves = cpu(INTEL, 0x806f8, &["fpu", "fxsr", "sse", "sse2", "xsave", "xsaves", "shstk"]);
        leaves.set(0xd, 0, Regs::new(0x3, 576, 576, 0)).unwrap();
        leaves.set(0xd, 1, Regs::new(0xf, 576, 0x1800, 0)).unwrap();
        leaves.set(0xd, 11, Regs::new(16, offset, 1, 0)).unwrap();
        leaves.set(0xd, 12, Regs::new(24, 0, 1, 0)).unwrap();
        leaves
    };
    let (sound, stale) = (with_offset(0), with_offset(0x40));
    let [a, b] = [&sound, &stale].map(|leaves| host(leaves, Kind::Kvm));
    assert!(has(b.default(), "shstk"));
    assert!(Check::new(b.default(), &b).is_accepted());
    assert_eq!(level(&[&a, &b]), level(&[&a, &a]));

    // Policies may come from elsewhere.
    let mut foreign = a.default().clone();
    foreign.leaves.set(0xd, 11, Regs::new(16, 0x40, 1, 0)).unwrap();
    let mut leveller = Leveller::new(Kind::Kvm);
    leveller.add("foreign", &foreign);
    leveller.add("sound", a.default());
    assert_eq!(&leveller.finish().unwrap(), &level(&[&a, &a]));

    // What the CPUs of one host say alike in all that counts is no difference.
    let mut differences = Vec::new();
    let one = unite([&sound, &stale], |what| differences.push(what.to_string())).unwrap();
    assert_eq!((one.xss().bits(), differences), (0x1800, Vec::new()));
}

#[test]
fn numbers_go_to_the_least_and_the_floor_holds() {
    let mut narrow = cpu(INTEL, 0x50654, &["pae"]);
    narrow.set(0x8000_0008, 0, Regs::new(0x3020, 0, 0, 0)).unwrap();
    let wide = cpu(INTEL, 0x50654, &["pae"]);
    let [narrow, wide] = [narrow, wide].map(|leaves| host(&leaves, Kind::Kvm));
    let result = level(&[&wide, &narrow]);
    assert_eq!(result.leaves.get(0x8000_0008, 0).eax & 0xff, 36, "PAE promises 36 bits");
    assert!(Check::new(&result, &narrow).is_accepted());
    let mut rules = Vec::new();
    Check::new(wide.default(), &narrow).refusals(|refusal| rules.push((refusal.what.to_string(), refusal.rule)));
    assert_eq!(rules, [("maxphysaddr".to_owned(), Rule::Min)]);
}

#[test]
fn a_width_that_some_host_does_not_say_is_what_pae_promises() {
    let (said, cut) = (cpu(INTEL, 0x806f8, &["pae", "ibpb"]), {
        let mut cut = cpu(INTEL, 0x806f8, &["pae", "spec-ctrl"]);
        cut.set(0x8000_0008, 0, Regs::ZERO).unwrap();
        cut
    });
    let hosts = [&said, &cut].map(|leaves| host(leaves, Kind::Kvm));
    for result in [level(&[&hosts[0], &hosts[1]]), level(&[&hosts[1]])] {
        assert_eq!(result.leaves.get(0x8000_0008, 0).eax, 0x2024, "the leaf is shown for IBPB");
        assert!(Check::new(&result, &hosts[1]).is_accepted());
        let mut zero = result.clone();
        zero.leaves.set(0x8000_0008, 0, Regs { eax: 0, ..result.leaves.get(0x8000_0008, 0) }).unwrap();
        assert!(result.verify(|_| ()) && !zero.verify(|_| ()), "no CPU has addresses of no bits");
    }
}

#[test]
fn what_a_newer_kvm_says_of_itself_is_not_passed_on() {
    let mut offered = cpu(INTEL, 0x806f8, &[]);
    offered.set(0x4000_0001, 0, Regs::new(1 << 20 | 1, 0, 0, 1 << 31)).unwrap();
    let host = Host::from_offered(&offered, Kind::Kvm, &Trims::NONE);
    assert_eq!(host.default().leaves.get(0x4000_0001, 0), Regs::new(1, 0, 0, 0));
    assert!(host.default().verify(|_| ()) && Check::new(host.default(), &host).is_accepted());
}

#[test]
fn what_follows_from_features_is_not_taken_away_alone() {
    for word in ["no-xcr0-avx", "no-osxsave", "hvm:no-xcr0-pkru"] {
        assert_eq!(word.parse::<Trims>().unwrap_err().reason, TrimReason::Follows, "{word}");
    }
}

#[test]
fn a_vendor_is_a_whole_name() {
    for word in ["00000000.ebx=0", "00000000.edx=ffffffff", "no-00000000.ecx[3]", "kvm:00000000.ecx=1"] {
        assert_eq!(word.parse::<Trims>().unwrap_err().reason, TrimReason::Vendor, "{word}");
    }
    let half = host(&cpu([0, 0, INTEL[2]], 0x806f8, &[]), Kind::Kvm);
    assert!(half.default().verify(|_| ()) && half.default().leaves.vendor_name() == Leaves::new().vendor_name());
    let mut policy = host(&cpu(INTEL, 0x806f8, &[]), Kind::Kvm).default().clone();
    assert!(policy.verify(|_| ()));
    let name = policy.leaves.get(0, 0);
    policy.leaves.set(0, 0, Regs { ebx: 0, ..name }).unwrap();
    let mut said = Vec::new();
    policy.verify(|fault| said.push(format!("{} {fault}", fault.what())));
    assert_eq!(said, [r#"vendor is "\x00\x00\x00\x00ineIntel", of which a part is zero"#]);
}

#[test]
fn vendors_have_no_level() {
    let [a, b] = [cpu(INTEL, 0x50654, &[]), cpu(AMD, 0xa00f11, &[])].map(|leaves| host(&leaves, Kind::Kvm));
    let mut leveller = Leveller::new(Kind::Kvm);
    leveller.add("a", a.default());
    leveller.add("b", b.default());
    let disagreement = leveller.finish().unwrap_err();
    assert!(disagreement.iter().all(|(_, rule)| rule == Rule::Equal));
    assert!(disagreement.values().any(|row| row.name == "vendor-ebx"));
    assert_eq!(disagreement.to_string(), "the hosts disagree on vendor-ebx, vendor-ecx, vendor-edx");
    assert_eq!(Leveller::new(Kind::Kvm).finish().unwrap_err().to_string(), "there are no hosts");
    assert!(Leveller::new(Kind::Kvm).finish().is_err(), "no hosts, no level");
}

#[test]
fn the_level_has_the_least_signature() {
    let hosts = [0x806f8, 0x50654, 0x606a6].map(|signature| host(&cpu(INTEL, signature, &[]), Kind::Kvm));
    assert_eq!(level(&[&hosts[0], &hosts[1], &hosts[2]]).leaves.get(1, 0).eax, 0x50654);
}

#[test]
fn rtm_and_its_abort_are_never_both_given() {
    let aborting = host(&cpu(INTEL, 0x506e3, &["rtm", "hle", "rtm-always-abort"]), Kind::Hvm);
    assert!(!has(aborting.default(), "rtm") && has(aborting.default(), "rtm-always-abort"));
    let working = host(&cpu(INTEL, 0x506e3, &["rtm"]), Kind::Hvm);
    assert!(has(working.default(), "rtm") && !has(working.default(), "rtm-always-abort"));
    assert!(has(working.max(), "rtm-always-abort"), "a guest that was told so may come");
}

#[test]
fn umip_is_made_by_kvm_on_intel_only() {
    assert!(has(host(&cpu(INTEL, 0x306f2, &[]), Kind::Kvm).max(), "umip"));
    assert!(!has(host(&cpu(AMD, 0x800f12, &[]), Kind::Kvm).max(), "umip"));
    assert!(has(host(&cpu(AMD, 0x830f10, &["umip"]), Kind::Kvm).max(), "umip"));
}

#[test]
fn an_offer_is_the_maximum_but_for_what_vmms_add() {
    let offered = cpu(INTEL, 0x306f2, &["tsc", "apic", "spec-ctrl", "arch-capabilities", "rdctl-no"]);
    let host = Host::from_offered(&offered, Kind::Kvm, &Trims::NONE);
    assert!(!has(host.max(), "umip") && !has(host.max(), "pschange-mc-no"));
    assert!(has(host.max(), "tsc-deadline") && has(host.max(), "hypervisor") && has(host.max(), "rdctl-no"));
}

#[test]
fn ibt_needs_the_state_that_holds_its_msrs() {
    assert!(!has(host(&cpu(INTEL, 0x806f8, &["ibt"]), Kind::Kvm).max(), "ibt"));
}

#[test]
fn vmx_without_its_msrs_is_not_given() {
    assert!(!has(host(&cpu(INTEL, 0x806f8, &["vmx"]), Kind::Kvm).max(), "vmx"));
    assert!(has(host(&cpu(INTEL, 0x806f8, &["vmx", "vmx-true-ctls"]), Kind::Kvm).max(), "vmx"));
}

#[test]
fn a_default_one_control_that_is_taken_away_must_be_one() {
    let mut raw = cpu(INTEL, 0x806f8, &["vmx", "vmx-true-ctls"]);
    raw.set_msr(0x48e, 0xfff9_fffe_0400_6172).unwrap();
    let trims: Trims = "no-vmx-cr3-load-noexit".parse().unwrap();
    let whole = host(&raw, Kind::Kvm);
    assert!(has(whole.default(), "vmx-cr3-load-noexit"));
    let trimmed = Host::from_hardware(&raw, Kind::Kvm, &trims);
    let value = trimmed.default().leaves.msr(0x48e).unwrap();
    assert_eq!((value >> 15 & 1, value >> 47 & 1), (1, 1), "it must be 1, and may be");
    assert!(!Check::new(whole.default(), &trimmed).is_accepted(), "who counts on 0 is refused");
}

#[test]
fn logical_cpus_unite_in_any_order() {
    let mut demanding = cpu(INTEL, 0x50654, &["vmx", "vmx-true-ctls"]);
    demanding.set_msr(0x48e, 0xfff9_fffe_0400_e172).unwrap();
    let mut free = cpu(INTEL, 0x50657, &["vmx", "vmx-true-ctls"]);
    free.set_msr(0x48e, 0xfff9_fffe_0400_6172).unwrap();
    let unite = |cpus: [&Leaves; 2]| {
        let mut differences = Vec::new();
        let host = unite(cpus, |what| differences.push(what.to_string())).unwrap();
        (host, differences)
    };
    let (one, differences) = unite([&demanding, &free]);
    assert_eq!(unite([&free, &demanding]), (one.clone(), differences.clone()));
    assert_eq!(one.get(1, 0).eax, 0x50654, "the least signature");
    assert_eq!(differences, ["vmx-cr3-load-noexit"]);
}

#[test]
fn kvm_gives_no_more_counters_than_it_has() {
    let mut raw = cpu(INTEL, 0x806f8, &[]);
    raw.set(0xa, 0, Regs::new(0x0830_0805, 0, 7, 0x8604)).unwrap();
    assert_eq!(host(&raw, Kind::Kvm).max().leaves.get(0xa, 0).eax & 0xff, 2);
}

#[test]
fn linear_addresses_follow_la57_and_lm() {
    let width = |features: &[&str]| {
        host(&cpu(INTEL, 0x806f8, features), Kind::Kvm).max().leaves.get(0x8000_0008, 0).eax >> 8 & 0xff
    };
    let long = ["fpu", "fxsr", "sse", "sse2", "pae", "lm"];
    assert_eq!((width(&["pae"]), width(&long), width(&[&long[..], &["la57"]].concat())), (32, 48, 57));
}

#[test]
fn xen_keeps_a_control_only_with_the_msr_that_it_is_a_bit_of() {
    let raw = cpu(INTEL, 0x50654, &["spec-ctrl", "stibp", "ssbd"]);
    let trims: Trims = "hvm:no-spec-ctrl".parse().unwrap();
    let trimmed = Host::from_hardware(&raw, Kind::Hvm, &trims);
    assert!(!has(trimmed.default(), "stibp") && !has(trimmed.max(), "ssbd"));
}

#[test]
fn a_state_that_the_host_lacks_is_refused_with_its_name() {
    let host = host(&cpu(INTEL, 0x50654, &[]), Kind::Kvm);
    let mut guest = host.default().clone();
    guest.leaves.set(0xd, 0, Regs::new(0x203, 0, 0, 0)).unwrap();
    let mut refusals = Vec::new();
    Check::new(&guest, &host).refusals(|refusal| refusals.push(refusal.what.to_string()));
    assert!(refusals.contains(&"pkru".to_owned()), "{refusals:?}");
    assert!(!Check::new(&guest, &host).is_accepted());
}

#[test]
fn trims_take_away_ask_for_and_mask_by_kind() {
    let raw = cpu(INTEL, 0x50654, &["avx2", "rdseed", "clflush", "smep", "invtsc", "tsc"]);
    let default = |words: &str, kind| {
        let trims: Trims = words.parse().unwrap();
        Host::from_hardware(&raw, kind, &trims).default().clone()
    };
    assert!(has(&default("", Kind::Kvm), "rdseed"));
    assert!(!has(&default("no-rdseed", Kind::Kvm), "rdseed"));
    assert!(has(&default("hvm:no-rdseed", Kind::Kvm), "rdseed"));
    assert!(!has(&default("hvm:no-rdseed", Kind::HvmShadow), "rdseed"));
    assert!(!has(&default("00000007.0.ebx=fffbffff", Kind::Kvm), "rdseed"));
    assert!(!has(&default("", Kind::Kvm), "invtsc") && has(&default("invtsc", Kind::Kvm), "invtsc"), "on request");
    assert!(!has(&default("no-x2apic", Kind::Kvm), "x2apic"), "what is made can be taken away");
    for words in ["no-rdsed", "xen:no-rdseed", "00000008.eax=0", "00000007.0.ebx=xyz", "00000007.0.ebx=100000000"] {
        assert!(words.parse::<Trims>().is_err(), "{words}");
    }
}

#[test]
fn a_policy_file_holds_every_policy_and_nothing_else() {
    let raw = cpu(INTEL, 0x50654, &["md-clear", "arch-capabilities", "rdctl-no", "clflush"]);
    let policy = host(&raw, Kind::Hvm).default().clone();
    let file = selfsame_cpuid::PolicyFile { name: "web 1", source: Some("test"), context: Some("a=1 b=2"), policy };
    let mut text = String::new();
    file.write(&mut text).unwrap();
    let read = selfsame_cpuid::PolicyFile::parse(text.as_bytes()).unwrap();
    assert_eq!(read, file);
    for at in 0..text.len() {
        for changed in [b'0', b'f', b' ', b'\n', b'#', 0, 0xff] {
            let mut bytes = text.clone().into_bytes();
            if bytes[at] == changed {
                continue;
            }
            bytes[at] = changed;
            let error = selfsame_cpuid::PolicyFile::parse(&bytes).unwrap_err();
            assert!(error.to_string().starts_with("line "), "{error}");
        }
        let error = selfsame_cpuid::PolicyFile::parse(&text.as_bytes()[..at]).unwrap_err();
        assert!(error.to_string().starts_with("line "), "{error}");
    }
}

#[test]
fn who_asks_for_monitor_gets_lines_that_are_right_on_every_host() {
    let with_lines = |min, max, substates| {
        let mut leaves = cpu(INTEL, 0x50654, &["monitor"]);
        leaves.set(0x5, 0, Regs::new(min, max, 1, substates)).unwrap();
        leaves
    };
    let hosts = [with_lines(64, 64, 0x0002_0120), with_lines(32, 128, 0x0011_1010)];
    let asked: Trims = "monitor,mwait-ext".parse().unwrap();
    let [a, b] = hosts.each_ref().map(|leaves| Host::from_hardware(leaves, Kind::Kvm, &asked));
    let both = level(&[&a, &b]);
    assert_eq!(both.leaves.get(0x5, 0), Regs::new(32, 128, 1, 0x0001_0010));
    assert!([&a, &b].iter().all(|host| Check::new(&both, host).is_accepted()));
    let alone = level(&[&a]);
    let (mut rules, mut said) = (Vec::new(), Vec::new());
    Check::new(&alone, &b).refusals(|refusal| {
        rules.push(refusal.rule);
        said.push(refusal.to_string());
    });
    assert_eq!(rules[..2], [Rule::Min, Rule::Max]);
    assert_eq!(
        said[..2],
        [
            "monitor-line-min: what MONITOR watches is sure to lie within the smallest line (guest: 64, host: 32)",
            "monitor-line-max: what is kept apart by the largest line wakes no neighbour on any host (guest: 64, host: 128)"
        ]
    );

    let monitor: Trims = "monitor".parse().unwrap();
    let without_counts = Host::from_hardware(&hosts[0], Kind::Kvm, &monitor);
    assert_eq!(
        without_counts.default().leaves.get(0x5, 0),
        Regs::new(64, 64, 0, 0),
        "EDX counts with MWAIT's extensions"
    );

    let unasked = level(&[&host(&hosts[0], Kind::Kvm)]);
    assert_eq!(unasked.leaves.get(0x5, 0), Regs::ZERO);
    assert!(Check::new(&unasked, &b).is_accepted(), "no line is not one that is too small");
}
