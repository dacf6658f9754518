//! libvirt's `<cpu>`, alone, several of them, and in the documents that have it.

use selfsame_cpuid::Kind;
use selfsame_formats::export::Target as Export;
use selfsame_formats::{Format, Reading, read_all};

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target { name: "libvirt_cpu", run, seeds, words: WORDS, max_len_bytes: 2048 };

/// The words of `<cpu>` elements and of what is around them.
pub(crate) const WORDS: &[&str] = &[
    "<capabilities><host>",
    "</host></capabilities>",
    "<domainCapabilities><arch>x86_64</arch><cpu><mode name='host-model' supported='yes'>",
    "</mode></cpu></domainCapabilities>",
    "<domain><name>guest</name>",
    "</domain>",
    "<cpu mode='custom' match='exact' check='full'>",
    "<cpu mode='host-model'/>",
    "<cpu match='minimum'>",
    "</cpu>",
    "<arch>x86_64</arch>",
    "<model fallback='forbid'>",
    "<model vendor_id='GenuineIntel'>",
    "</model>",
    "<vendor>AMD</vendor>",
    "<signature family='25' model='17' stepping='1'/>",
    "<maxphysaddr mode='emulate' bits='46'/>",
    "<topology sockets='1' cores='2' threads='1'/>",
    "<feature name='",
    "<feature policy='require' name='",
    "policy='force'",
    "policy='optional'",
    "policy='disable'",
    "policy='forbid'",
    "'/>",
    "&amp;",
    "<![CDATA[",
    "]]>",
    "<!-- ",
    " -->",
];

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    let reading = Reading { format: Some(Format::LibvirtCpu), ..Reading::default() };
    let Ok(machines) = read_all(bytes, "host", &reading) else { return };
    assert!(!machines.is_empty());
    for machines in machines {
        assert_eq!(machines.names.first(), Some(&machines.dump().name));
        law::of_dumps(&machines.dump());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let alone = elements();
    let around = |before: &str, after: &str| -> Vec<Vec<u8>> {
        let document = |cpu: &Vec<u8>| [before.as_bytes(), cpu, after.as_bytes()].concat();
        alone.iter().step_by(4).map(document).collect()
    };
    let domains = around("<domain type='kvm'><name>guest</name>", "</domain>");
    let hosts = around("<capabilities><host>", "</host></capabilities>");
    let pools = around("<hosts><cpu><arch>x86_64</arch><model>Nehalem</model><vendor>Intel</vendor></cpu>", "</hosts>");
    let offers = "<domainCapabilities><arch>x86_64</arch><cpu><mode name='host-model' supported='yes'>\
                  <model>EPYC</model><vendor>AMD</vendor><feature policy='require' name='x2apic'/>\
                  </mode></cpu></domainCapabilities>";
    alone.iter().cloned().chain(domains).chain(hosts).chain(pools).chain([offers.into()]).collect()
}

/// `<cpu>` elements that the project writes.
pub(crate) fn elements() -> Vec<Vec<u8>> {
    let kinds = [Export::Libvirt, Export::LibvirtRaw];
    let elements = kinds.into_iter().flat_map(|target| seeds::exports(Kind::Kvm, target));
    // Those that name everything are long, and a cut one is none.
    elements.filter(|element| element.len() <= TARGET.max_len_bytes).collect()
}
