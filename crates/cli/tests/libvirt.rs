//! Hosts and guests in libvirt's words.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the failure itself")]

mod command;

use std::fs;

use command::{run, run_with, scratch};

fn cpu(model: &str, extra: &str) -> String {
    format!("<cpu><arch>x86_64</arch><model>{model}</model><vendor>Intel</vendor>\n{extra}\n</cpu>\n")
}

/// A file of the test's own.
fn file(test: &str, text: &str) -> String {
    let path = scratch(test).join("cpus.xml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_hosts_of_one_file_are_levelled_and_blamed_each() {
    let hosts = cpu("Nehalem", "<feature name='aes'/>") + &cpu("Westmere", "") + &cpu("Nehalem", "");
    let path = file("libvirt-level", &format!("<hosts>\n{hosts}</hosts>\n"));
    let level = run(&["level", "--json", &path]);
    assert_eq!(level.status, 0, "{}", level.stderr);
    let document = level.json();
    assert_eq!(document["hosts"], serde_json::json!(["cpus:1", "cpus:2", "cpus:3"]));
    let lost: Vec<_> = document["lost"].as_array().unwrap().iter().collect();
    let [aes] = lost[..] else { panic!("{lost:?}") };
    assert_eq!((&aes["feature"], &aes["hosts"]), (&"aes".into(), &serde_json::json!(["cpus:3"])));
    assert_eq!(document["vendor"], "GenuineIntel");
    // What a hypervisor said is not derived from hardware, and nothing is added to it.
    assert!(!document["features"].as_array().unwrap().iter().any(|name| name == "hypervisor"));
}

#[test]
fn many_hosts_that_are_alike_have_the_level_of_one_of_each() {
    let texts = [cpu("Haswell", "<feature name='vme'/>"), cpu("IvyBridge", ""), cpu("Haswell-noTSX", "")];
    let one = file("libvirt-few", &texts.concat());
    let many: String =
        (0..600).map(|i| texts[i % 3].replace("\n\n", &format!("\n<microcode version='{i}'/>\n"))).collect();
    let many = file("libvirt-many", &many);
    let (few, many) = (run(&["level", "--json", &one]).json(), run(&["level", "--json", &many]).json());
    assert_eq!(few["features"], many["features"]);
    assert_eq!(many["hosts"].as_array().unwrap().len(), 600);
    for (few, many) in few["lost"].as_array().unwrap().iter().zip(many["lost"].as_array().unwrap()) {
        assert_eq!((&few["feature"], &few["rule"]), (&many["feature"], &many["rule"]));
        assert_eq!(few["hosts"].as_array().unwrap().len() * 200, many["hosts"].as_array().unwrap().len());
    }
}

#[test]
fn a_guest_that_libvirt_defines_is_compared_as_virsh_does() {
    let host = file("libvirt-host", &cpu("Penryn", "<feature name='vmx'/>"));
    let check = |guest: &str| run_with(&["check", "--json", "--guest", "-", "--host", &host], guest.as_bytes());
    let comparison = |guest: &str| {
        let ended = check(guest);
        (ended.status, ended.json()["comparison"].as_str().unwrap().to_owned())
    };
    let guest = |attributes: &str, features: &str| format!("<cpu {attributes}><model>Penryn</model>{features}</cpu>");
    assert_eq!(comparison(&guest("match='exact'", "")), (0, "superset".to_owned()));
    assert_eq!(comparison(&guest("match='strict'", "<feature name='vmx'/>")), (0, "identical".to_owned()));
    assert_eq!(comparison(&guest("match='strict'", "")), (1, "incompatible".to_owned()));
    assert_eq!(comparison(&guest("", "<feature name='avx' policy='force'/>")), (0, "superset".to_owned()));
    assert_eq!(comparison(&guest("", "<feature name='avx'/>")), (1, "incompatible".to_owned()));
    let forbidden = check(&guest("", "<feature name='vmx' policy='forbid'/>")).json();
    assert_eq!(forbidden["refusals"][0]["what"], "vmx");
    assert_eq!(forbidden["refusals"][0]["reason"], "the guest's definition forbids it");
    // What a guest wants must be known, even if it would not miss it.
    let bogus = check(&guest("", "<feature name='avx521f' policy='optional'/>"));
    assert_eq!(bogus.status, 2);
    assert!(bogus.stderr.contains("no feature is called `avx521f`; did you mean avx512f?"), "{}", bogus.stderr);
    let bogus = check("<cpu><model>Bogus</model></cpu>");
    assert_eq!(bogus.status, 2);
    assert!(bogus.stderr.contains("no CPU model is called `Bogus`"), "{}", bogus.stderr);
}

#[test]
fn one_host_is_asked_for_and_several_are_not_taken() {
    let path = file("libvirt-several", &(cpu("Nehalem", "") + &cpu("Westmere", "")));
    for arguments in [["check", "--guest", &path, "--host", "amd"].as_slice(), &["diff", &path, "amd"]] {
        let ended = run(arguments);
        assert_eq!(ended.status, 2, "{arguments:?}");
        assert!(ended.stderr.contains("tells of 2 machines, where one is asked for"), "{}", ended.stderr);
    }
    assert_eq!(run(&["show", "--json", &path]).json().as_array().map(Vec::len), Some(2));
    let (level, policy) = (run(&["level", "-o", "-", &path]), run(&["policy", "--from", &path]));
    assert_eq!((policy.status, policy.stdout), (0, level.stdout));
}

#[test]
fn models_come_from_libvirts_map_where_it_is_given() {
    let map = scratch("cpu-map");
    let write = |name: &str, text: &str| fs::write(map.join(name), format!("<cpus>{text}</cpus>")).unwrap();
    write(
        "index.xml",
        "<arch name='x86'><include filename='x86_vendors.xml'/><include filename='x86_features.xml'/>
         <include filename='x86_Future.xml'/></arch><arch name='arm'><include filename='missing.xml'/></arch>",
    );
    write("x86_vendors.xml", "<vendor name='Intel' string='GenuineIntel'/>");
    write(
        "x86_features.xml",
        "<feature name='avx2'><cpuid eax_in='0x07' ecx_in='0x00' ebx='0x00000020'/></feature>
         <feature name='renamed-fma'><cpuid eax_in='0x01' ecx='0x00001000'/></feature>",
    );
    write("x86_Future.xml", "<model name='Future'><model name='Base'/></model>");
    let host = file("cpu-map-host", &cpu("Future", "<feature name='renamed-fma'/>"));
    let directory = map.to_str().unwrap();
    let without = run(&["show", &host]);
    assert_eq!(without.status, 2);
    assert!(without.stderr.contains("no CPU model is called `Future`"), "{}", without.stderr);
    let broken = run(&["show", &host, "--cpu-map", directory]);
    assert_eq!(broken.status, 2);
    assert!(broken.stderr.contains("x86_Future.xml: line 1: the map has no such model"), "{}", broken.stderr);
    write(
        "x86_Future.xml",
        "<model name='Future'><vendor name='Intel'/><feature name='renamed-fma'/><feature name='xsave'/>
         <feature name='avx'/><feature name='avx2'/><feature name='aes' removed='yes'/></model>",
    );
    let shown = run(&["show", "--json", &host, "--cpu-map", directory]).json();
    let features: Vec<&str> = shown["features"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert!(["fma", "avx2", "xsave"].iter().all(|name| features.contains(name)), "{features:?}");
    assert!(!features.contains(&"aes"));
    // What the map does not have is known here.
    let nehalem = file("cpu-map-nehalem", &cpu("Nehalem", ""));
    assert_eq!(run(&["show", &nehalem, "--cpu-map", directory]).status, 0);
    assert_eq!(run(&["show", &nehalem, "--cpu-map", "/nowhere"]).status, 2);
}

#[test]
fn the_format_can_be_said() {
    let host = file("format", &cpu("Nehalem", ""));
    assert_eq!(run(&["show", &host, "--format", "libvirt-cpu"]).status, 0);
    let wrong = run(&["show", &host, "--format", "cpuid-r"]);
    assert_eq!(wrong.status, 2);
    let unknown = run(&["show", &host, "--format", "vmware"]);
    assert_eq!(unknown.status, 2);
    assert!(unknown.stderr.contains("libvirt-cpudata"), "{}", unknown.stderr);
}
