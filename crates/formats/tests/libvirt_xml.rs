//! What libvirt writes about CPUs is read in every form that it has; what others write never does harm.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that panics is a test that fails")]

use proptest::prelude::*;
use selfsame_cpuid::{Host, Kind, Trims, feature};
use selfsame_formats::libvirt::{CpuDefinition, Fit, GuestError, Obstacle, compare};
use selfsame_formats::{Format, Machines, Models, ReadError, Reading, Source, read, read_all};

fn all(text: &str) -> Result<Vec<Machines>, ReadError> {
    read_all(text.as_bytes(), "pool", &Reading::default())
}

fn refused(text: &str) -> String {
    match all(text) {
        Ok(machines) => panic!("{machines:?}"),
        Err(error) => error.to_string(),
    }
}

/// The names of some features of the one machine of a file.
fn has(text: &str, names: &[&str]) -> Vec<bool> {
    let dump = read(text.as_bytes(), "host", None).unwrap_or_else(|error| panic!("{error}"));
    let features = dump.raw().leaves.features();
    names.iter().map(|name| features.contains(feature(name).unwrap().place)).collect()
}

const HOST: &str = "\
<capabilities>
  <host>
    <uuid>4c4c4544-0042-3510-8051-b2c04f4d3432</uuid>
    <cpu>
      <arch>x86_64</arch>
      <model>Skylake-Server-IBRS</model>
      <vendor>Intel</vendor>
      <microcode version='33554532'/>
      <signature family='6' model='85' stepping='4'/>
      <counter name='tsc' frequency='2095078000' scaling='no'/>
      <topology sockets='1' dies='1' cores='16' threads='2'/>
      <maxphysaddr mode='emulate' bits='46'/>
      <feature name='ds'/>
      <feature name='rtm' policy='disable'/>
      <pages unit='KiB' size='4'/>
    </cpu>
    <topology>
      <cells num='1'>
        <cell id='0'>
          <cpus num='2'>
            <cpu id='0' socket_id='0' die_id='0' core_id='0' siblings='0'/>
            <cpu id='1' socket_id='0' die_id='0' core_id='1' siblings='1'/>
          </cpus>
        </cell>
      </cells>
    </topology>
  </host>
</capabilities>
";

#[test]
fn capabilities_tell_of_one_host_whatever_cpus_its_topology_numbers() {
    let machines = all(HOST).unwrap();
    let [machine] = &machines[..] else { panic!("{machines:?}") };
    assert_eq!(machine.names, ["pool"]);
    let dump = &machine.dump();
    assert_eq!(dump.source, Source::Converted(Format::LibvirtCpu));
    assert!(!dump.source.is_hardware() && dump.source.is_by_name());
    let cpu = &dump.cpus[0];
    assert_eq!(cpu.get(1, 0).unwrap().eax, 0x5_0654);
    assert_eq!(cpu.get(0x8000_0008, 0).unwrap().eax & 0xff, 46);
    assert_eq!(has(HOST, &["ds", "rtm", "spec-ctrl", "avx512f", "clflushopt"]), [true, false, true, true, false]);
}

#[test]
fn domain_capabilities_tell_of_their_host_model_alone() {
    let text = "\
<domainCapabilities>
  <path>/usr/bin/qemu-system-x86_64</path>
  <domain>kvm</domain>
  <machine>pc-q35-9.2</machine>
  <arch>x86_64</arch>
  <cpu>
    <mode name='host-passthrough' supported='yes'>
      <enum name='hostPassthroughMigratable'><value>on</value></enum>
    </mode>
    <mode name='host-model' supported='yes'>
      <model fallback='forbid'>EPYC-Rome</model>
      <vendor>AMD</vendor>
      <maxphysaddr mode='passthrough' limit='48'/>
      <feature policy='require' name='x2apic'/>
      <feature policy='disable' name='wbnoinvd'/>
    </mode>
    <mode name='custom' supported='yes'>
      <model usable='yes' vendor='Intel'>Nehalem</model>
      <model usable='no' vendor='AMD' deprecated='no'>EPYC-Genoa</model>
      <blockers model='EPYC-Genoa'><feature name='avx512f'/></blockers>
    </mode>
  </cpu>
</domainCapabilities>
";
    assert_eq!(has(text, &["x2apic", "sse4a", "wbnoinvd", "avx512f"]), [true, true, false, false]);
    let dump = read(text.as_bytes(), "host", None).unwrap();
    assert!(dump.context.contains(&("machine".to_owned(), "pc-q35-9.2".to_owned())));
    assert_eq!(dump.cpus[0].get(0x8000_0008, 0).unwrap().eax & 0xff, 48);
    let without = text.replace("name='host-model' supported='yes'", "name='host-model' supported='no'");
    assert!(refused(&without).contains("no <mode name='host-model' supported='yes'>"));
}

#[test]
fn a_domain_is_called_by_its_name_and_says_something_only_when_expanded() {
    let domain = |cpu: &str| {
        format!("<domain type='kvm'>\n<name>web-1</name>\n<vcpu>2</vcpu>\n{cpu}\n<devices><disk/></devices></domain>\n")
    };
    let custom = domain(
        "<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>Haswell-noTSX</model>
         <feature policy='require' name='vme'/><feature policy='optional' name='f16c'/>
         <numa><cell id='0' cpus='0-1' memory='1' unit='GiB'/></numa></cpu>",
    );
    let machines = all(&custom).unwrap();
    assert_eq!(machines[0].names, ["web-1"]);
    assert_eq!(has(&custom, &["vme", "avx2", "f16c"]), [true, true, false]);
    let told = machines[0].dump().findings.iter().any(|finding| finding.reason.starts_with("policy='optional'"));
    assert!(told, "{:?}", machines[0].dump().findings);
    for mode in ["host-passthrough", "host-model", "maximum"] {
        let text = refused(&domain(&format!("<cpu mode='{mode}' check='none' migratable='on'/>")));
        assert!(text.starts_with(&format!("line 4: <cpu mode='{mode}'> does not say what the CPU has")), "{text}");
    }
    // A running guest's host-model is named.
    let running = "<cpu mode='host-model'><model>Westmere</model></cpu>";
    assert_eq!(has(&domain(running), &["aes"]), [true]);
    assert!(refused(&domain("<cpu><topology sockets='1'/></cpu>")).contains("no <cpu> element that says"));
    assert!(refused(&domain("")).contains("no <cpu> element that says"));
}

#[test]
fn elements_one_after_another_are_machines_with_or_without_a_wrapper() {
    let cpu = |model: &str, extra: &str| {
        format!("<cpu>\r\n<arch>x86_64</arch><model>{model}</model><vendor>Intel</vendor>{extra}</cpu>\r\n")
    };
    let text: String = (0..12)
        .map(|i| match i % 3 {
            0 => cpu("Nehalem", &format!("<topology sockets='{}' cores='1' threads='1'/>", i + 1)),
            1 => cpu("Westmere", ""),
            _ => cpu("Westmere", "<feature name='vmx'/>"),
        })
        .collect();
    for text in [text.clone(), format!("<?xml version='1.0'?>\n<hosts>{text}</hosts>"), format!("\u{feff}{text}")] {
        let machines = all(&text).unwrap();
        assert_eq!(machines.len(), 3);
        assert_eq!(machines[0].names, ["pool:01", "pool:04", "pool:07", "pool:10"]);
        assert_eq!(machines[1].names, ["pool:02", "pool:05", "pool:08", "pool:11"]);
        assert_eq!(machines[2].names, ["pool:03", "pool:06", "pool:09", "pool:12"]);
        assert_eq!(machines[0].dump().name, "pool:01");
    }
    let one = read(text.as_bytes(), "pool", None);
    assert_eq!(one, Err(ReadError::SeveralMachines { count: 12 }));
}

#[test]
fn what_is_read_at_once_is_what_is_read_alone() {
    let features = ["aes", "vmx", "pcid", "ss", "ds", "x2apic", "est", "tm2"];
    let element = |seed: usize| {
        let named: String = (0..features.len())
            .filter(|bit| seed >> bit & 1 == 1)
            .map(|bit| format!("<feature name='{}'/>\n", features[bit]))
            .collect();
        let model = ["Nehalem", "Westmere"][seed % 2];
        format!("<cpu><model>{model}</model><counter name='tsc' frequency='{seed}'/>\n{named}<pages size='4'/></cpu>\n")
    };
    let seeds: Vec<usize> = (0..400).map(|i| i * 37 % 251).collect();
    let text: String = seeds.iter().map(|seed| element(*seed)).collect();
    let machines = all(&text).unwrap();
    let mut together = vec![None; seeds.len()];
    for same in &machines {
        for name in &same.names {
            let number: usize = name.rsplit(':').next().unwrap().parse().unwrap();
            together[number - 1] = Some(same.dump().cpus.clone());
        }
    }
    for (seed, cpus) in seeds.iter().zip(together) {
        let alone = read(element(*seed).as_bytes(), "host", None).unwrap();
        assert_eq!(cpus, Some(alone.cpus), "{seed}");
    }
}

#[test]
fn text_between_children_that_were_read_before_says_nothing() {
    let host = "<cpu><arch>x86_64</arch><model>Nehalem</model><vendor>Intel</vendor><feature name='vmx'/></cpu>";
    let with = |text: &str| host.replace("><", &format!(">{text}<")).replace("</cpu>", &format!("{text}</cpu>"));
    for text in ["a", " a ", "&amp;", "<![CDATA[a]]>", "<!-- a -->", "<?a?>", "a<counter/>a", "<cache><bank/></cache>a"]
    {
        let machines = all(&format!("<hosts>{host}{}{}{host}</hosts>", with(text), with(text))).unwrap();
        let [machines] = &machines[..] else { panic!("{text}: {machines:?}") };
        assert_eq!(machines.names.len(), 4, "{text}");
    }
    // What follows the text must be well-formed, as anywhere.
    assert_eq!(
        refused("<hosts><cpu><arch></arch>a<arch></arch>a<[ \t"),
        "line 1: the file is cut off here: copy the whole file again"
    );
}

#[test]
fn names_that_nobody_knows_are_told_with_their_line_and_likeness() {
    let text = "<cpu>\n<model>Nehalem</model>\n<feature name='avx521f'/>\n<feature name='quantum'/>\n</cpu>\n";
    let dump = read(text.as_bytes(), "host", None).unwrap();
    let told: Vec<String> = dump.findings.iter().map(ToString::to_string).collect();
    let unknown = "no feature known here has this name, so it is left out";
    assert!(told.contains(&format!("line 3: `avx521f`: {unknown}; did you mean avx512f?")), "{told:?}");
    assert!(told.contains(&format!("line 4: `quantum`: {unknown}")), "{told:?}");
    assert!(refused("<cpu><feature name='quantum'/></cpu>").contains("none of the features that it names is known"));
    let model = refused("<cpu>\n<model>Nehalm</model></cpu>");
    assert_eq!(
        model,
        "line 1: no CPU model is called `Nehalm`; did you mean Nehalem?; --cpu-map DIR takes the models of a newer libvirt"
    );
    assert!(refused("<cpu><arch>aarch64</arch><model>cortex-a57</model></cpu>").contains("architecture aarch64"));
}

#[test]
fn a_guest_of_a_bogus_vendor_is_an_error_and_one_of_another_architecture_fits_no_host() {
    let dump =
        read(b"<cpu><arch>x86_64</arch><model>Nehalem</model><vendor>Intel</vendor></cpu>", "host", None).unwrap();
    let host = Host::from_vmm(&dump.raw().leaves, Kind::Kvm, &Trims::NONE);
    let ask = |text: &str| compare(&host, &CpuDefinition::parse(text.as_bytes()).unwrap(), Models::known());
    let bogus = ask("<cpu match='exact'><model>Nehalem</model><vendor>Bogus</vendor></cpu>");
    assert!(matches!(bogus, Err(GuestError::UnknownVendor { name }) if name == "Bogus"));
    let intel = ask("<cpu match='exact'><arch>i686</arch><model>Nehalem</model><vendor>Intel</vendor></cpu>").unwrap();
    assert_eq!(intel.fit, Fit::Identical);
    let amd = ask("<cpu match='exact'><model>Nehalem</model><vendor>AMD</vendor></cpu>").unwrap();
    assert_eq!(amd.fit, Fit::Incompatible);
    let arm = ask("<cpu match='exact'><arch>aarch64</arch><model>cortex-a57</model></cpu>").unwrap();
    assert!(arm.fit == Fit::Incompatible && matches!(arm.obstacles[..], [Obstacle::Architecture]));
}

#[test]
fn entities_are_not_expanded_and_comments_and_cdata_do_no_harm() {
    let text = "<!DOCTYPE cpu [<!ENTITY a 'Nehalem'><!ENTITY b '&a;&a;&a;&a;'>]>\n\
        <cpu><!-- </cpu> <feature name='avx'/> --><model><![CDATA[Nehalem]]></model>\
        <feature name='a&#101;s'/><feature name='&quot;'/></cpu>";
    let dump = read(text.as_bytes(), "host", None).unwrap();
    assert_eq!(has(text, &["aes", "avx"]), [true, false]);
    assert!(dump.findings.iter().any(|finding| finding.what == "`\"`"), "{:?}", dump.findings);
    assert!(refused("<cpu><model>&a;</model></cpu>").contains("entities are not expanded here"));
}

#[test]
fn what_is_not_well_formed_or_too_deep_is_refused_with_its_line() {
    for (text, reason) in [
        ("<cpu>\n<model>Nehalem</model>\n<feature name='aes'", "line 3: the file is cut off here"),
        ("<cpu>\n<model>Nehalem</model>\n", "the file is cut off here"),
        ("<cpu>\n<model>Nehalem</cpu>\n</model>", "line 2: not well-formed XML"),
        ("<cpu>\n<model>Nehalem</model>\n<feature/>\n</cpu>", "line 3: expected `<feature name='...'/>`"),
        ("<cpu>\n<feature name='aes' policy='maybe'/></cpu>", "line 2: expected policy="),
        ("<cpu match='some'><model>Nehalem</model></cpu>", "line 1: expected match="),
        ("<cpu mode='some'><model>Nehalem</model></cpu>", "line 1: expected mode="),
    ] {
        assert!(refused(text).contains(reason), "{text}: {}", refused(text));
    }
    let deep = format!("<cpu>{}", "<a>".repeat(100_000));
    assert!(refused(&deep).contains("nested deeper"));
    let many = format!("<cpu>{}</cpu>", "<feature name='aes'/>".repeat(5000));
    assert!(refused(&many).contains("more features than any CPU has"));
}

#[test]
fn raw_dumps_are_refused_where_a_row_is_not_one() {
    let dump = |row: &str| format!("<!-- a CPU -->\n<cpudata arch='x86'>\n{row}\n</cpudata>\n");
    for row in [
        "<cpuid eax_in='0' ecx_in='0x00' eax='0x0' ebx='0x0' ecx='0x0' edx='0x0'/>",
        "<cpuid eax_in='0x0' ecx_in='0x00' eax='0x123456789' ebx='0x0' ecx='0x0' edx='0x0'/>",
        "<cpuid ecx_in='0x00' eax='0x0'/>",
        "<cpuid eax_in='0x+1' ecx_in='0x00' eax='0x0' ebx='0x0' ecx='0x0' edx='0x0'/>",
        "<msr index='0x10a' eax='0x0'/>",
        "<msr eax='0x0' edx='0x0'/>",
    ] {
        assert!(refused(&dump(row)).starts_with("line 3: expected `<"), "{row}: {}", refused(&dump(row)));
    }
    assert!(refused(&dump("").replace("x86", "ppc64")).contains("expected arch='x86'"));
    assert_eq!(all(&dump("")).err(), Some(ReadError::NoCpu));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_xml_is_refused_or_read_and_never_panics(
        seed in prop::collection::vec((0..HOST.len(), any::<u8>()), 0..8),
        cut in 0..HOST.len(),
    ) {
        let mut bytes = HOST.as_bytes().to_vec();
        for (at, byte) in seed {
            bytes[at] = byte;
        }
        bytes.truncate(HOST.len() - cut / 4);
        for format in [None, Some(Format::LibvirtCpu), Some(Format::LibvirtCpuData)] {
            let _ = read_all(&bytes, "host", &Reading { format, ..Reading::default() });
        }
        let _ = CpuDefinition::parse(&bytes);
    }
}
