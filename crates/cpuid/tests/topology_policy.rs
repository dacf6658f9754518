//! What a policy with a topology holds, what contradicts it, and who gives it.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod topology_hosts;

use proptest::prelude::*;
use selfsame_cpuid::{
    ApicId, Check, Host, Kind, Leveller, Policy, PolicyFile, Regs, Rule, Topology, TopologyCounts, Trims, VcpuView,
    feature,
};
use topology_hosts::{amd, amd_raw, faults, host, intel, intel_raw, topology_fault};

fn topology(text: &str) -> Topology {
    text.parse().unwrap()
}

fn with(mut policy: Policy, text: &str) -> Policy {
    policy.set_topology(Some(topology(text)));
    policy
}

fn has(policy: &Policy, name: &str) -> bool {
    policy.features().contains(feature(name).unwrap().place)
}

/// The policy with other registers in one leaf.
fn changed(policy: &Policy, leaf: u32, subleaf: u32, change: impl Fn(&mut Regs)) -> Policy {
    let mut policy = policy.clone();
    let mut regs = policy.leaves.get(leaf, subleaf);
    change(&mut regs);
    policy.leaves.set(leaf, subleaf, regs).unwrap();
    policy
}

/// The reasons why a host refuses a guest, by the subject and the rule.
fn refusals(guest: &Policy, host: &Host) -> Vec<(String, Rule)> {
    let mut refusals = Vec::new();
    let check = Check::new(guest, host);
    check.refusals(|refusal| refusals.push((refusal.what.to_string(), refusal.rule)));
    assert_eq!(check.is_accepted(), refusals.is_empty());
    refusals
}

proptest! {
    #[test]
    fn ids_lead_back_to_their_vcpus_in_trees_of_any_size(
        sockets in 1u16.., dies in 1u16..20, modules in 1u16..20, cores in 1u16..300, threads in 1u16..20, at in any::<u32>(),
    ) {
        let Ok(topology) = Topology::new(TopologyCounts { sockets, dies, modules, cores, threads }) else { return Ok(()) };
        let index = at % topology.vcpus();
        let id = topology.apic_id(index).unwrap();
        prop_assert_eq!(topology.index_of(id), Some(index));
        prop_assert_eq!(topology.position_of(id), topology.position(index));
        prop_assert!(id <= topology.last_apic_id() && id.x2apic() < 1 << 31);
        prop_assert!(index == 0 || topology.apic_id(index - 1).unwrap() < id);
    }

    #[test]
    fn any_id_is_answered_in_trees_of_any_size(
        sockets in 1u16.., dies in 1u16..200, modules in 1u16..200, cores in 1u16..200, threads in 1u16..200,
        id in any::<u32>(), subleaf in 0u32..9,
    ) {
        let counts = TopologyCounts { sockets, dies, modules, cores, threads };
        let Ok(topology) = Topology::new(counts) else { return Ok(()) };
        for mut policy in [intel(), amd()] {
            policy.set_topology(Some(topology));
            prop_assert!(faults(&policy).iter().all(|(_, rule)| *rule == Rule::Topology));
            let vcpu = VcpuView::new(ApicId::new(id));
            for leaf in [0xb, 0x1f, 0x8000_0026] {
                let told = policy.cpuid(leaf, subleaf, &vcpu);
                prop_assert!(told.is_zero() || told.edx == id);
            }
            let is_amd_like = policy.leaves.vendor().is_amd_like();
            prop_assert!(!is_amd_like || policy.cpuid(0x8000_001e, 0, &vcpu).eax == id);
        }
    }

    #[test]
    fn an_id_either_has_no_vcpu_or_is_that_vcpus(
        sockets in 1u16..5, dies in 1u16..5, cores in 1u16..65, threads in 1u16..4, id in 0u32..0x2000,
    ) {
        let topology = Topology::new(TopologyCounts { sockets, dies, cores, threads, ..TopologyCounts::ONE }).unwrap();
        if let Some(index) = topology.index_of(ApicId::new(id)) {
            prop_assert_eq!(topology.apic_id(index), Some(ApicId::new(id)));
        }
    }
}

#[test]
fn the_last_topology_is_the_one_that_counts_and_none_leaves_nothing_behind() {
    for base in [intel(), amd()] {
        let shape = "sockets=2,dies=3,modules=2,cores=5,threads=2";
        let policy = with(base.clone(), shape);
        assert_eq!(with(policy.clone(), shape), policy);
        assert_eq!(with(with(base.clone(), "dies=2,cores=64"), shape), policy);
        // A guest that saw a highest leaf keeps it.
        let one = with(policy.clone(), "cores=1");
        assert_eq!(faults(&one), []);
        for leaf in [0, 0x8000_0000] {
            assert_eq!(one.leaves.get(leaf, 0), policy.leaves.get(leaf, 0));
        }
        let mut none = policy.clone();
        none.set_topology(None);
        let mut expected = policy.clone();
        expected.topology = None;
        for leaf in [0x1, 0x4, 0xb, 0x1f, 0x8000_0008, 0x8000_001d, 0x8000_001e, 0x8000_0026] {
            for subleaf in 0..8 {
                // Not every leaf has as many.
                let _ = expected.leaves.set(leaf, subleaf, base.leaves.get(leaf, subleaf));
            }
        }
        assert_eq!(none, expected);
    }
}

#[test]
fn without_a_topology_topology_leaves_answer_as_they_stand_with_ids() {
    let mut policy = changed(&amd(), 0x8000_0000, 0, |regs| regs.eax = 0x8000_0026);
    policy.leaves.set(0x8000_001e, 0, Regs::new(0, 0x105, 0x302, 0)).unwrap();
    policy.leaves.set(0x8000_0026, 0, Regs::new(1, 2, 0x100, 0)).unwrap();
    policy.leaves.set(0x8000_0026, 1, Regs::new(4, 16, 0x201, 0)).unwrap();
    let vcpu = VcpuView::new(ApicId::new(0x1234));
    assert_eq!(policy.cpuid(0x8000_001e, 0, &vcpu), Regs::new(0x1234, 0x105, 0x302, 0));
    assert_eq!(policy.cpuid(0x8000_0026, 1, &vcpu), Regs::new(4, 16, 0x201, 0x1234));
    assert_eq!(policy.cpuid(0xb, 1, &vcpu), Regs::new(0, 0, 1, 0x1234));
    assert_eq!(faults(&policy), []);
}

#[test]
fn subleaves_beyond_the_last_level_have_no_level_but_the_id() {
    let vcpu = VcpuView::new(ApicId::new(7));
    for (policy, leaf, end) in [(intel(), 0xb, 2), (intel(), 0x1f, 4), (amd(), 0x8000_0026, 4)] {
        let policy = with(policy, "dies=2,modules=2,cores=2,threads=2");
        assert_ne!(policy.cpuid(leaf, end - 1, &vcpu).ebx, 0);
        for subleaf in [end, end + 1, 0xff] {
            assert_eq!(policy.cpuid(leaf, subleaf, &vcpu), Regs::new(0, 0, subleaf, 7), "{leaf:#x}");
        }
    }
}

#[test]
fn vendors_see_their_own_leaves_only() {
    let shape = "dies=2,modules=2,cores=2,threads=2";
    let (intel, amd) = (with(intel(), shape), with(amd(), shape));
    for leaf in [0x8000_001d, 0x8000_001e, 0x8000_0026] {
        assert!(intel.leaves.get(leaf, 0).is_zero() && !amd.leaves.get(leaf, 0).is_zero(), "{leaf:#x}");
    }
    for leaf in [0x4, 0x1f] {
        assert!(amd.leaves.get(leaf, 0).is_zero() && !intel.leaves.get(leaf, 0).is_zero(), "{leaf:#x}");
    }
    assert_eq!((intel.leaves.get(0x8000_0008, 0).ecx, amd.leaves.get(0x8000_0008, 0).ecx), (0, 0x400f));
    assert!(has(&intel, "ht") && has(&amd, "ht") && has(&amd, "cmp-legacy") && !has(&intel, "cmp-legacy"));
}

#[test]
fn highest_leaves_rise_for_levels_that_no_lower_leaf_tells() {
    let max = |policy: Policy| [0, 0x8000_0000].map(|leaf| policy.leaves.get(leaf, 0).eax);
    let [basic, extended] = max(intel());
    assert_eq!([basic, extended], [0xb, 0x8000_0008]);
    assert_eq!(max(with(intel(), "sockets=2,cores=8,threads=2")), [basic, extended]);
    assert_eq!(max(with(intel(), "dies=2")), [0x1f, extended]);
    assert_eq!(max(with(intel(), "modules=2")), [0x1f, extended]);
    assert_eq!(max(with(amd(), "cores=8")), [basic, 0x8000_0021], "leaf 0x80000021 was there");
    assert_eq!(max(with(amd(), "modules=2")), [basic, 0x8000_0026]);
    // A CPU that has leaf 0x1F has it for simple trees too, as hardware does.
    let tall = changed(&intel(), 0, 0, |regs| regs.eax = 0x20);
    assert_eq!(with(tall, "cores=8,threads=2").leaves.get(0x1f, 1), Regs::new(4, 16, 0x201, 0));
}

#[test]
fn a_leaf_that_tells_another_topology_is_a_fault() {
    let shape = "sockets=2,dies=2,modules=2,cores=3,threads=2";
    let cases: [(Policy, &[(u32, u32)]); 2] = [
        (with(intel(), shape), &[(0x4, 0), (0x4, 3), (0xb, 0), (0xb, 1), (0xb, 2), (0x1f, 0), (0x1f, 3), (0x1f, 4)]),
        (with(amd(), shape), &[(0xb, 1), (0x8000_001d, 3), (0x8000_0026, 0), (0x8000_0026, 3), (0x8000_0026, 4)]),
    ];
    for (policy, places) in cases {
        assert_eq!(faults(&policy), []);
        for &(leaf, subleaf) in places {
            let other = changed(&policy, leaf, subleaf, |regs| regs.eax ^= 1 << 14);
            assert!(faults(&other).contains(&(format!("leaf {leaf:08x}"), Rule::Topology)), "{leaf:#x}");
        }
        let other = changed(&policy, 1, 0, |regs| regs.ebx ^= 1 << 16);
        assert_eq!(faults(&other), topology_fault("leaf 00000001"));
        let mut stray = policy.clone();
        stray.set_topology(Some(topology("cores=2")));
        stray.topology = policy.topology;
        assert!(faults(&stray).iter().all(|(_, rule)| *rule == Rule::Topology) && faults(&stray).len() > 3);
    }
    let amd = with(amd(), shape);
    assert_eq!(faults(&changed(&amd, 0x8000_0008, 0, |r| r.ecx ^= 1)), topology_fault("leaf 80000008"));
    assert_eq!(faults(&changed(&amd, 0x8000_001e, 0, |r| r.ebx ^= 1 << 8)), topology_fault("leaf 8000001e"));
}

#[test]
fn features_that_contradict_the_topology_are_faults() {
    let (ht, cmp_legacy) = (1 << 28, 1 << 1);
    let several = with(amd(), "threads=2");
    assert_eq!(faults(&changed(&several, 1, 0, |r| r.edx &= !ht)), topology_fault("ht"));
    assert_eq!(faults(&changed(&several, 0x8000_0001, 0, |r| r.ecx &= !cmp_legacy)), topology_fault("cmp-legacy"));
    let one = with(amd(), "sockets=4");
    assert!(!has(&one, "ht") && !has(&one, "cmp-legacy"));
    assert_eq!(faults(&changed(&one, 1, 0, |r| r.edx |= ht)), topology_fault("ht"));
    assert_eq!(faults(&changed(&one, 0x8000_0001, 0, |r| r.ecx |= cmp_legacy)), topology_fault("cmp-legacy"));
    // Linux takes CMP_LEGACY as leave to ignore threads, so an Intel CPU must not have it.
    let intel = with(intel(), "threads=2");
    assert_eq!(faults(&changed(&intel, 0x8000_0001, 0, |r| r.ecx |= cmp_legacy)), topology_fault("cmp-legacy"));
}

#[test]
fn leaf_8000001e_without_topoext_is_a_fault() {
    let policy = changed(&with(amd(), "threads=2"), 0x8000_0001, 0, |regs| regs.ecx &= !(1 << 22));
    let faults = faults(&policy);
    assert!(faults.contains(&("leaf 8000001e".to_owned(), Rule::Topology)), "{faults:?}");
}

#[test]
fn ids_above_254_need_x2apic() {
    let without = changed(&intel(), 1, 0, |regs| regs.ecx &= !(1 << 21));
    for (shape, is_possible) in [("cores=255", true), ("cores=256", false), ("sockets=64,cores=3", true)] {
        let expected = if is_possible { vec![] } else { topology_fault("x2apic") };
        assert_eq!(faults(&with(without.clone(), shape)), expected, "{shape}");
        assert_eq!(faults(&with(intel(), shape)), []);
    }
    // 129 sockets of two ids each: fewer vCPUs than ids.
    assert_eq!(faults(&with(without, "sockets=86,cores=3")), topology_fault("x2apic"));
}

#[test]
fn leaf_8000001e_must_have_room() {
    for (fits, beyond) in [
        ("threads=256", "threads=257"),
        ("cores=256", "cores=257"),
        ("dies=4,cores=64", "dies=5,cores=64"),
        ("dies=8", "dies=9"),
        ("sockets=128,dies=2", "sockets=129,dies=2"),
    ] {
        assert_eq!(faults(&with(amd(), fits)), [], "{fits}");
        assert_eq!(faults(&with(amd(), beyond)), topology_fault("leaf 8000001e"), "{beyond}");
        let without = host(&amd_raw(), "no-topoext").default().clone();
        assert_eq!(faults(&with(without, beyond)), [], "{beyond}");
    }
}

#[test]
fn fields_that_are_too_narrow_are_full_and_not_wrapped() {
    let wide = with(intel(), "dies=2,cores=512,threads=2");
    assert_eq!(wide.leaves.get(1, 0).ebx >> 16 & 0xff, 0xff);
    assert_eq!(wide.leaves.get(4, 3).eax >> 14, 63 << 12 | 1023);
    assert_eq!(with(intel(), "cores=8192").leaves.get(4, 3).eax >> 14 & 0xfff, 0xfff);
    let wide = with(amd(), "dies=2,cores=256");
    assert_eq!(wide.leaves.get(1, 0).ebx >> 16 & 0xff, 0xff);
    assert_eq!(wide.leaves.get(0x8000_0008, 0).ecx, 0x90ff);
}

#[test]
fn every_host_of_the_pool_takes_its_policy_with_any_topology() {
    for raw in [intel_raw(), amd_raw()] {
        let hardware = host(&raw, "");
        // KVM's own list has neither HTT nor CMP_LEGACY: its VMMs say what the topology is.
        let mut list = raw.clone();
        for (leaf, change) in [(1, (|r| r.edx &= !(1 << 28)) as fn(&mut Regs)), (0x8000_0001, |r| r.ecx &= !2)] {
            let mut regs = list.get(leaf, 0);
            change(&mut regs);
            list.set(leaf, 0, regs).unwrap();
        }
        let offered = Host::from_offered(&list, Kind::Kvm, &Trims::NONE);
        assert!(!has(offered.default(), "ht"));
        for shape in ["cores=1", "sockets=2,dies=2,modules=2,cores=3,threads=2", "sockets=2,cores=200"] {
            for host in [&hardware, &offered] {
                let guest = with(host.default().clone(), shape);
                assert_eq!(refusals(&guest, host), [], "{shape}");
                assert_eq!(faults(&guest), [], "{shape}");
            }
        }
        let trimmed = host(&raw, "no-ht");
        assert_eq!(
            refusals(&with(trimmed.default().clone(), "cores=2"), &trimmed)[0],
            ("ht".to_owned(), Rule::NotOnHost)
        );
    }
}

#[test]
fn a_policy_that_waits_for_a_guest_gives_one_topology() {
    let guest = with(intel(), "cores=4,threads=2");
    let mut topologies = Vec::new();
    for given in ["cores=4,threads=2", "cores=8"] {
        let host = Host::from_policy(&with(intel(), given));
        topologies.push(refusals(&guest, &host));
    }
    assert_eq!(topologies, [vec![], topology_fault("topology")]);
    let host = Host::from_policy(&guest);
    assert_eq!(refusals(&intel(), &host), topology_fault("topology"));
    assert_eq!(refusals(&guest, &Host::from_policy(&with_no_topology(&guest))), []);
}

fn with_no_topology(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.set_topology(None);
    policy
}

#[test]
fn a_level_has_the_topology_on_which_the_policies_among_its_hosts_agree() {
    for base in [intel(), amd()] {
        let level = |policies: [&Policy; 3]| {
            let mut leveller = Leveller::new(Kind::Kvm);
            for (name, policy) in ["a", "b", "c"].into_iter().zip(policies) {
                leveller.add(name, policy);
            }
            leveller.finish()
        };
        let (a, b) = (with(base.clone(), "dies=2,cores=8,threads=2"), with(base.clone(), "cores=5,threads=3"));
        let agreed = level([&base, &a, &a]).unwrap();
        assert_eq!(agreed.topology, a.topology);
        assert!(
            agreed.verify(|_| ())
                && [&base, &a].iter().all(|host| refusals(&agreed, &Host::from_policy(host)).is_empty())
        );
        assert_eq!(level([&a, &base, &a]).unwrap(), agreed);
        for disagreement in [level([&a, &base, &b]).unwrap_err(), level([&b, &a, &base]).unwrap_err()] {
            assert!(disagreement.iter().map(|(what, rule)| (what.to_string(), rule)).eq(topology_fault("topology")));
        }
        assert_eq!(level([&base, &base, &base]).unwrap().topology, None);
    }
}

#[test]
fn a_policy_file_keeps_the_topology_in_one_spelling() {
    let policy = with(amd(), "sockets=2,dies=2,cores=3,threads=2");
    let mut text = String::new();
    let file = PolicyFile { name: "web", source: None, context: None, policy };
    file.write(&mut text).unwrap();
    assert_eq!(PolicyFile::parse(text.as_bytes()).unwrap(), file);
    let line = "topology sockets=2 dies=2 cores=3 threads=2";
    assert!(text.contains(&format!("\n{line}\n")));
    for other in [
        "topology sockets=2 dies=2 modules=1 cores=3 threads=2",
        "topology sockets=2 cores=3 dies=2 threads=2",
        "topology sockets=2,dies=2,cores=3,threads=2",
        "topology sockets=2 dies=2 cores=3",
        "topology sockets=2 dies=2 cores=3 threads=0",
        "topology sockets=2 dies=2 cores=3 threads=40000",
    ] {
        let body = text.replace(line, other);
        let body = &body[..body.rfind("end ").unwrap()];
        let resealed = format!("{body}end {:08x}\n", crc_32c(body.as_bytes()));
        let error = PolicyFile::parse(resealed.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("expected `topology "), "{other}: {error}");
    }
}

#[test]
fn the_example_of_the_documentation_is_what_a_vcpu_reads() {
    let shape = "sockets=2,dies=2,cores=3,threads=2";
    let vcpu = VcpuView::new(topology(shape).apic_id(17).unwrap());
    let intel: &[(u32, u32)] = &[(1, 0), (4, 0), (4, 3), (0xb, 0), (0xb, 1), (0x1f, 0), (0x1f, 1), (0x1f, 2)];
    let amd_levels = [0, 1, 2, 3].map(|subleaf| (0x8000_0026, subleaf));
    let amd_leaves =
        [(1, 0), (0xb, 0), (0xb, 1), (0x8000_0008, 0), (0x8000_001d, 0), (0x8000_001d, 3), (0x8000_001e, 0)];
    let amd_leaves = [&amd_leaves[..], &amd_levels].concat();
    let mut text = String::from("```text\n");
    for (policy, leaves) in [(with(self::intel(), shape), intel), (with(amd(), shape), &amd_leaves)] {
        text.push_str(&format!("{}\n", policy.leaves.vendor_name()));
        for &(leaf, subleaf) in leaves {
            let place = if matches!(leaf, 0x1 | 0x8000_0008 | 0x8000_001e) {
                format!("{leaf:08x}  ")
            } else {
                format!("{leaf:08x}.{subleaf}")
            };
            // Only the registers that tell of the topology.
            let told: &[usize] = match leaf {
                0x1 => &[1],
                0x4 | 0x8000_001d => &[0],
                0x8000_0008 => &[2],
                _ => &[0, 1, 2, 3],
            };
            let regs = policy.cpuid(leaf, subleaf, &vcpu).to_array();
            let shown =
                [0, 1, 2, 3].map(|i| if told.contains(&i) { format!("{:08x}", regs[i]) } else { ".".repeat(8) });
            text.push_str(&format!("  {place}   {}\n", shown.join(" ")));
        }
    }
    text.push_str("```\n");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/topology.md")).unwrap();
    assert!(page.contains(&text), "docs/topology.md should have:\n{text}");
}

/// CRC-32C, bit by bit.
fn crc_32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}
