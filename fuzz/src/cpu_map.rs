//! The files of libvirt's map of models.

use std::path::Path;

use selfsame_formats::Models;

use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "cpu_map",
    run,
    seeds,
    words: &[
        "<cpus>",
        "</cpus>",
        "<arch name='x86'>",
        "<include filename='",
        "<vendor name='Intel' string='GenuineIntel'/>",
        "<feature name='",
        "<cpuid eax_in='0x00000007' ecx_in='0x00'",
        "<msr index='0x10a'",
        " edx='0x00000001'",
        "<model name='",
        "</model>",
        "<signature family='6' model='45' stepping='0-3,7'/>",
        "added='yes'",
        "removed='yes'",
        "'/>",
    ],
    max_len_bytes: 1536,
};

const INDEX: &[u8] = b"<cpus><arch name='x86'><include filename='models.xml'/></arch></cpus>";

/// Reads the bytes up to the first NUL as the index and the others as each file that it names; without a NUL, as the one
/// file of a sound index. What is taken finds its models by their names.
pub fn run(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == 0);
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let (index, file) = second.map_or((INDEX, first), |file| (first, file));
    let read = |path: &Path| Ok(if path.ends_with("index.xml") { index } else { file }.to_vec());
    let Ok(models) = Models::read_cpu_map_by(Path::new("map"), read) else { return };
    assert!(models.iter().next().is_some());
    for (name, _) in models.iter() {
        assert!(models.get(name).is_some());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let file = "<cpus>\n\
        <vendor name='Intel' string='GenuineIntel'/>\n\
        <feature name='fpu'><cpuid eax_in='0x01' edx='0x00000001'/></feature>\n\
        <feature name='own'><cpuid eax_in='0x07' ecx_in='0x01' eax='0x00000800'/></feature>\n\
        <feature name='other' migratable='no'><msr index='0x10a' edx='0x00000001' eax='0x00000000'/></feature>\n\
        <model name='first'><decode host='on' guest='off'/><signature family='6' model='42' stepping='0-3,7'/>\
        <vendor name='Intel'/><feature name='fpu'/><feature name='own'/></model>\n\
        <model name='second'><model name='first'/><feature name='own' removed='yes'/>\
        <feature name='vmx-ept' added='yes'/><feature name='nobodys'/></model>\n</cpus>\n";
    vec![file.into(), [INDEX, b"\0", file.as_bytes()].concat()]
}
