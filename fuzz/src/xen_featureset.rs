//! Xen's and XAPI's featuresets.

use selfsame_cpuid::Kind;
use selfsame_formats::Format;
use selfsame_formats::export::Target as Export;

use crate::{Target, law, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "xen_featureset",
    run,
    seeds,
    words: &[
        "Raw ",
        "Host ",
        "HVM Max ",
        "PV Default ",
        "features_hvm ( MRO): ",
        "vendor ( RO): ",
        "cpu_info",
        "00000000:",
    ],
    max_len_bytes: 1024,
};

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    law::of_files(bytes, Format::XenFeatureset);
}

fn seeds() -> Vec<Vec<u8>> {
    let xen = seeds::exports(Kind::Hvm, Export::XenFeatureset);
    let labelled = xen.iter().map(|words| [b"HVM Max ".as_slice(), words, b"Raw ", words].concat());
    let xapi = seeds::exports(Kind::Hvm, Export::Xapi);
    let of_host = xapi.iter().map(|words| [b"vendor: GenuineIntel\nfeatures_hvm ( MRO): ".as_slice(), words].concat());
    labelled.chain(of_host).chain(xapi.iter().cloned()).collect()
}
