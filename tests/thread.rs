//! The spine: one pool, followed from the dumps of its hosts to everything that is decided from them.
//!
//! Dumps → level → policy file → layout of the save area for that file → the answers of a CPUID exit, to every vCPU of a
//! topology too, and what KVM is given for each → the area on each host and the state in it → the same state on every other
//! host → two vCPUs with it on a machine of every host → the verdict on every host, by the library and, word for word, by the
//! command.
//!
//! One link is outside of this file, because it boots an emulator: `cargo xtask boot` gives the reference hypervisor a policy file
//! that was made here, and its guest reads exactly what the file says.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

#[path = "thread/machine.rs"]
mod machine;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use selfsame_cpuid::{
    ApicId, Check, Frozen, Host, Kind, Leaves, Leveller, Policy, PolicyFile, Stored, Topology, Trims, VcpuView,
};
use selfsame_formats::Source;
use selfsame_xstate::{
    AccumulatedXcr0, Component, ComponentSet, Configurations, Format, Geometry, Layout, LinearAddresses, Offsets,
    Reader,
};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pool's hosts by name, as their captures describe them to guests of `kind`.
fn pool(kind: Kind) -> Vec<(String, Host)> {
    let folder = root().join("fixtures/pool");
    let mut hosts: Vec<(String, Host)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let dump = selfsame_formats::read(&bytes, "unnamed", None).unwrap();
            let raw = dump.raw().leaves;
            let host = match dump.source {
                Source::Kvm => Host::from_offered(&raw, kind, &Trims::NONE),
                _ => Host::from_hardware(&raw, kind, &Trims::NONE),
            };
            (dump.name, host)
        })
        .collect();
    hosts.sort_by(|a, b| a.0.cmp(&b.0));
    hosts
}

/// Where each host of the pool keeps extended state, and how wide its addresses are.
fn geometries() -> Vec<(String, Geometry, LinearAddresses)> {
    let of = |leaves: &Leaves| {
        let is_wide = leaves.get(0x8000_0008, 0).eax >> 8 & 0xff == 57;
        let addresses = if is_wide { LinearAddresses::Bits57 } else { LinearAddresses::Bits48 };
        (leaves.geometry().usable(Offsets::Intel), addresses)
    };
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let dump = selfsame_formats::read(&std::fs::read(file.unwrap().path()).unwrap(), "unnamed", None).unwrap();
        let (geometry, addresses) = of(&dump.raw().leaves);
        (dump.name, geometry, addresses)
    };
    std::fs::read_dir(root().join("fixtures/pool")).unwrap().map(read).collect()
}

fn level(hosts: &[(String, Host)], kind: Kind) -> Policy {
    let mut leveller = Leveller::new(kind);
    for (name, host) in hosts {
        leveller.add(name, host.default());
    }
    leveller.finish().unwrap()
}

fn selfsame(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_selfsame")).current_dir(root()).args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_slice(&selfsame(&[arguments, &["--json"]].concat()).stdout).unwrap()
}

#[test]
fn one_pool_is_followed_from_its_dumps_to_its_guests() {
    let hosts = pool(Kind::Kvm);
    assert!(hosts.len() >= 2, "a pool has hosts");
    let level = level(&hosts, Kind::Kvm);

    // Level → policy file: the command's file is the library's policy, and reads back byte for byte.
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("thread-{}.policy", std::process::id()));
    let made = selfsame(&["level", "fixtures/pool", "--name", "thread", "-o", file.to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bytes = std::fs::read(&file).unwrap();
    let stored = PolicyFile::parse(&bytes).unwrap();
    assert_eq!(stored.policy, level);
    let mut again = String::new();
    stored.write(&mut again).unwrap();
    assert_eq!(again.as_bytes(), bytes);

    // Policy file → binary form → the same policy.
    let frozen = Frozen::new(stored.policy.leaves.clone());
    let received = Stored::read(frozen.leaf_entries(), frozen.msr_entries()).unwrap();
    assert_eq!(received.to_leaves(), level.leaves);

    follow_to_the_exits(&stored.policy);
    follow_to_the_vcpus(&stored.policy, &file, &hosts);
    follow_to_the_areas(&stored.policy);
    // With the level a guest's state is welcome everywhere; with its own host's policy it may have what others cannot keep.
    let refused = |(name, host): &(String, Host)| {
        assert_eq!(follow_the_state(name, &stored.policy, "level"), 0, "{name}");
        follow_the_state(name, host.default(), "own")
    };
    assert!(hosts.iter().map(refused).sum::<usize>() > 0, "a mixed pool");
    follow_to_the_machine(&stored.policy);

    // Every host accepts the level: by the library and by the command.
    for (name, host) in &hosts {
        assert!(Check::new(&level, host).is_accepted(), "{name}");
    }
    let folder = root().join("fixtures/pool");
    for host in std::fs::read_dir(folder).unwrap() {
        let host = host.unwrap().path();
        let check = ["check", "--guest", file.to_str().unwrap(), "--host", host.to_str().unwrap()];
        assert_eq!(selfsame(&check).status.code(), Some(0), "{}", host.display());
        assert_eq!(json(&check)["accepted"], Value::Bool(true));
    }
    std::fs::remove_file(&file).unwrap();
}

/// Policy → area and layout for it → what the guest's CPUID says of the area.
fn follow_to_the_exits(policy: &Policy) {
    let geometry = policy.leaves.geometry();
    let (xcr0, xss) = (policy.leaves.xcr0(), policy.leaves.xss());
    let standard = Layout::new(Format::Standard, xcr0, &geometry).unwrap().size_bytes();
    let compacted = Layout::new(Format::Compacted, xcr0 | xss, &geometry).unwrap().size_bytes();
    assert_eq!(policy.leaves.get(0xd, 0).ecx, standard, "0xD.0.ECX is the size for the maximum XCR0");
    let vcpu = VcpuView { xcr0: xcr0.with(Component::X87), xss, has_osxsave: true, ..VcpuView::new(ApicId::new(1)) };
    if !xcr0.is_empty() {
        assert_eq!(policy.cpuid(0xd, 0, &vcpu).ebx, standard);
        assert_eq!(policy.cpuid(0xd, 0, &VcpuView::new(ApicId::new(1))).ebx, 576, "XCR0 is 1 after reset");
    }
    if policy.cpuid(0xd, 1, &vcpu).eax & 0xa != 0 {
        assert_eq!(policy.cpuid(0xd, 1, &vcpu).ebx, compacted);
    }
    assert_eq!(policy.cpuid(1, 0, &vcpu).ebx >> 24, 1, "the APIC id is the vCPU's");
    assert_eq!(xcr0.intersection(ComponentSet::LEGACY).is_empty(), xcr0.is_empty());
}

/// Policy → the same with a topology, by the command and by the library → what its vCPUs read → the hosts that take it.
fn follow_to_the_vcpus(policy: &Policy, file: &Path, hosts: &[(String, Host)]) {
    let made = selfsame(&["policy", "--from", file.to_str().unwrap(), "--topology", "sockets=2,cores=3,threads=2"]);
    let stored = PolicyFile::parse(&made.stdout).unwrap();
    let topology: Topology = "sockets=2 cores=3 threads=2".parse().unwrap();
    let mut shaped = policy.clone();
    shaped.set_topology(Some(topology));
    assert_eq!(stored.policy, shaped);
    for (index, id) in [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13].into_iter().enumerate() {
        let vcpu = VcpuView::new(topology.apic_id(u32::try_from(index).unwrap()).unwrap());
        assert_eq!(shaped.cpuid(1, 0, &vcpu).ebx >> 24, id);
        let levels = [0, 1].map(|subleaf| shaped.cpuid(0xb, subleaf, &vcpu));
        assert_eq!(levels.map(|level| (level.eax, level.ebx, level.edx)), [(1, 2, id), (3, 6, id)]);
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        follow_to_kvm(&shaped, vcpu);
    }
    for (name, host) in hosts {
        assert!(Check::new(&shaped, host).is_accepted(), "{name}");
    }
}

/// Policy → what KVM is given for a vCPU → the same answers.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn follow_to_kvm(policy: &Policy, vcpu: VcpuView) {
    let entries = selfsame_kvm::entries(policy, vcpu.apic_id);
    let vcpu = VcpuView { is_in_64_bit_mode: true, ..vcpu };
    let rows = policy.leaves.rows().map(|(leaf, subleaf, _)| (leaf, subleaf.unwrap_or(0)));
    for (leaf, index) in rows.chain([(0xb, 0), (0xb, 1), (0x8000_001e, 0)]) {
        let found = entries.iter().find(|entry| (entry.function, entry.index) == (leaf, index));
        let given = found.map(|entry| [entry.eax, entry.ebx, entry.ecx, entry.edx]).unwrap_or_default();
        assert_eq!(given, policy.cpuid(leaf, index, &vcpu).to_array(), "{leaf:#x} {index}");
    }
}

/// Memory for an area: aligned as areas are.
#[repr(align(64))]
struct Memory([u8; 16 * 1024]);

fn states(policy: &Policy) -> ComponentSet {
    policy.leaves.xcr0() | policy.leaves.xss()
}

/// State in everything that a policy's guest may have in XCR0, as a host keeps it: the bytes of a standard image.
fn image(geometry: &Geometry, states: ComponentSet) -> Vec<u8> {
    let layout = Layout::new(Format::Standard, states | ComponentSet::LEGACY, geometry).unwrap();
    let mut bytes = vec![0; layout.size_bytes() as usize];
    for (component, place) in layout.places() {
        bytes[place.start as usize + usize::from(component == Component::X87) * 32] = 1;
    }
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    bytes[512..520].copy_from_slice(&layout.components().bits().to_le_bytes());
    bytes
}

/// Policy → the area on each host: minimal, then as large as the level needs, then as large as the host's own guests need, with
/// the state staying what it is.
fn follow_to_the_areas(level: &Policy) {
    let hosts = pool(Kind::Kvm);
    for (name, geometry, _) in geometries() {
        let (_, host) = hosts.iter().find(|(other, _)| *other == name).unwrap();
        let configurations = Configurations::new(&geometry).unwrap();
        let dynamic = ComponentSet::from(Component::XTILEDATA);
        let (states, own) = (states(level), states(host.default()));
        let minimal = configurations.minimal_area().unwrap();
        let area = configurations.area(states, dynamic).unwrap();
        let larger = configurations.area(states | own, dynamic).unwrap();
        assert!(
            states.is_subset_of(area.components()) && area.components().is_subset_of(larger.components()),
            "{name}"
        );
        let has_less = area.components() != larger.components();
        assert_eq!(area.size_bytes() < larger.size_bytes(), has_less, "{name}");
        let without_amx = geometry.restricted(ComponentSet::ALL - ComponentSet::AMX);
        let elsewhere = Configurations::new(&without_amx).unwrap().area(states, dynamic).unwrap();
        assert_eq!(area.size_bytes(), elsewhere.size_bytes(), "{name}: the level has no AMX, and pays nothing for it");

        let [mut first, mut second, mut third] = [(); 3].map(|()| Memory([0xAA; 16 * 1024]));
        let born = minimal.init(&mut first.0).unwrap();
        let mut running = born.resize_into(&area, &mut second.0, AccumulatedXcr0::START).unwrap();
        let bytes = image(&geometry, states);
        let reader = Reader::new(&geometry, states);
        reader.read(&bytes).unwrap().write(area.layout(), running.bytes_mut()).unwrap();
        let before = running.bytes().to_vec();
        let saved = Reader::new(&geometry, area.components()).read(&before).unwrap();
        assert_eq!(saved.in_use(), states | ComponentSet::LEGACY, "{name}");
        let grown = running.resize_into(&larger, &mut third.0, AccumulatedXcr0::START).unwrap();
        let kept = Reader::new(&geometry, larger.components()).read(grown.bytes()).unwrap();
        assert_eq!((kept.in_use(), kept.mxcsr()), (saved.in_use(), saved.mxcsr()), "{name}");
        for component in saved.in_use() {
            assert_eq!(kept.component(component), saved.component(component), "{name}: {component}");
        }
    }
}

/// The state of a guest on host `from` → the same state on every host, where it can be there: by the library and the command.
/// Returns how many refuse it.
fn follow_the_state(from: &str, policy: &Policy, whose: &str) -> usize {
    let folder = root().join("fixtures/pool");
    let host_file = |name: &str| folder.join(format!("{name}.capture")).to_str().unwrap().to_owned();
    let scratch = |what: &str| {
        let name = format!("thread-{from}-{whose}-{}.{what}", std::process::id());
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).to_str().unwrap().to_owned()
    };
    let [policy_file, image_file, written] = ["policy", "image", "written"].map(scratch);
    let mut text = String::new();
    PolicyFile { name: "guest", source: None, context: None, policy: policy.clone() }.write(&mut text).unwrap();
    std::fs::write(&policy_file, text).unwrap();

    let hosts = geometries();
    let (_, here, _) = hosts.iter().find(|(name, ..)| name == from).unwrap();
    let states = states(policy) | ComponentSet::LEGACY;
    let bytes = image(here, states);
    std::fs::write(&image_file, &bytes).unwrap();
    let mut refused = 0;
    for (to, there, addresses) in &hosts {
        let host = Configurations::new(there).unwrap();
        let reader = Reader::new(here, states).with_addresses(*addresses);
        let words: Vec<String> = reader.load_refusals(&bytes, &host).map(|refusal| refusal.to_string()).collect();
        refused += usize::from(!words.is_empty());

        let (from_file, to_file) = (host_file(from), host_file(to));
        let hosts = ["--from-host", &*from_file, "--host", &to_file];
        let said = json(&[&["xstate", "check", &*image_file, "--policy", &policy_file], &hosts[..]].concat());
        let reasons = said["refusals"].as_array().unwrap().iter().map(|refusal| refusal["reason"].as_str().unwrap());
        assert_eq!(reasons.collect::<Vec<_>>(), words, "{from} to {to}");
        assert_eq!(said["accepted"], words.is_empty());

        let convert = ["xstate", "convert", &*image_file, "--to", "standard", "-o", &written];
        let converted = selfsame(&[&convert[..], &hosts].concat());
        if words.is_empty() {
            assert!(converted.status.success(), "{}", String::from_utf8_lossy(&converted.stderr));
            let image = reader.read(&bytes).unwrap();
            let places = image.in_use() | host.guest_user().default();
            let layout = Layout::new(Format::Standard, places, there).unwrap();
            let mut expected = vec![0; layout.size_bytes() as usize];
            image.write(&layout, &mut expected).unwrap();
            assert_eq!(std::fs::read(&written).unwrap(), expected, "{from} to {to}");
            std::fs::remove_file(&written).unwrap();
        }
    }
    for file in [policy_file, image_file] {
        std::fs::remove_file(file).unwrap();
    }
    refused
}

/// Policy → an area for it and a machine for each host of the pool → two vCPUs with it that take turns on a CPU. A guest that
/// gets all of its host, too.
fn follow_to_the_machine(policy: &Policy) {
    let mut machines = 0;
    for file in std::fs::read_dir(root().join("fixtures/pool")).unwrap() {
        let dump = selfsame_formats::read(&std::fs::read(file.unwrap().path()).unwrap(), "unnamed", None).unwrap();
        let raw = dump.raw().leaves;
        if dump.source == Source::Kvm {
            continue;
        }
        machine::follow(policy, &raw);
        machine::follow(Host::from_hardware(&raw, Kind::Kvm, &Trims::NONE).default(), &raw);
        machines += 1;
    }
    assert!(machines >= 2, "a pool has hosts");
}

#[test]
fn the_command_refuses_a_guest_with_the_librarys_words() {
    let hosts = pool(Kind::Kvm);
    let folder = root().join("fixtures/pool");
    let mut refused = 0;
    for (guest_name, guest) in &hosts {
        let guest_file =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{guest_name}-{}.policy", std::process::id()));
        let mut text = String::new();
        let file = PolicyFile { name: guest_name, source: None, context: None, policy: guest.default().clone() };
        file.write(&mut text).unwrap();
        std::fs::write(&guest_file, text).unwrap();
        for (host_name, host) in &hosts {
            let mut words = Vec::new();
            Check::new(guest.default(), host).refusals(|refusal| {
                words.push((refusal.what.to_string(), refusal.rule.to_string(), refusal.reason.to_string()));
            });
            let host_file = folder.join(format!("{host_name}.capture"));
            let check = ["check", "--guest", guest_file.to_str().unwrap(), "--host", host_file.to_str().unwrap()];
            let said = json(&check);
            let text = |refusal: &Value, member: &str| refusal[member].as_str().unwrap().to_owned();
            let said: Vec<_> = said["refusals"]
                .as_array()
                .unwrap()
                .iter()
                .map(|refusal| (text(refusal, "what"), text(refusal, "rule"), text(refusal, "reason")))
                .collect();
            assert_eq!(said, words, "{guest_name} on {host_name}");
            assert_eq!(selfsame(&check).status.code(), Some(i32::from(!words.is_empty())));
            refused += usize::from(!words.is_empty());
        }
        std::fs::remove_file(&guest_file).unwrap();
    }
    assert!(refused > 0, "some guest of a mixed pool is refused somewhere");
}
