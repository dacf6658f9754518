//! The spine: one pool, followed from the dumps of its hosts to everything that is decided from them.
//!
//! Dumps → level → policy file → layout of the save area for that file → the answers of a CPUID exit, to every vCPU of a
//! topology too → two vCPUs with it on a machine of every host → the verdict on every host, by the library and, word for
//! word, by the command.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

#[path = "thread/machine.rs"]
mod machine;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use selfsame_cpuid::{
    ApicId, Check, Frozen, Host, Kind, Leveller, Policy, PolicyFile, Stored, Topology, Trims, VcpuView,
};
use selfsame_formats::Source;
use selfsame_xstate::{Component, ComponentSet, Format, Layout};
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
    }
    for (name, host) in hosts {
        assert!(Check::new(&shaped, host).is_accepted(), "{name}");
    }
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
