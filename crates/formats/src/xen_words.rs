//! Featuresets as Xen and its toolstacks exchange them: hexadecimal words of eight digits, joined by colons (`xen-cpuid`) or
//! dashes (XAPI's `cpu_info`), alone or behind a label.
//!
//! ```text
//! HVM Max      178bfbff:feda3223:2fd3fbff:75c237ff:0000000f:219c91a9:00400684:00000500:010cd257
//! features_hvm ( MRO): 178bfbff-feda3223-2fd3fbff-75c237ff
//! ```
//!
//! Positions are Xen's ABI ([`XEN_WORDS`]); a list may be shorter, from an older Xen, or longer, from a newer one.

use selfsame_cpuid::{Kind, Place, WordSource, XEN_WORDS};

use crate::by_name::{Identity, NamedCpu};
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::scan::{self, Line, take_hex};
use crate::spelling::Spelling;
use crate::xen_guests::{XenGuests, rank};

/// Which of several featuresets of one host is taken, the first that tells of the kind of guest that is asked for: what
/// guests may have, then what the hypervisor has, then what the CPU has.
const ORDER: [&str; 13] = [
    "hvm max",
    "features_hvm_host",
    "hvm default",
    "features_hvm",
    "hvm",
    "pv max",
    "features_pv_host",
    "pv default",
    "features_pv",
    "pv",
    "host",
    "features",
    "raw",
];

/// Whether a line ends with a featureset.
pub(crate) fn is_row(text: &[u8]) -> bool {
    split(text).is_some()
}

/// Reads a file of the format for guests of a kind, if one is asked for.
pub(crate) fn read(bytes: &[u8], kind: Option<Kind>) -> Result<Dump, ReadError> {
    let mut findings = Findings::default();
    let mut sets: Vec<Set> = Vec::new();
    let mut identity = Identity::default();
    let mut is_of_host = true;
    for line in scan::lines(bytes) {
        // Before what it found on the host, `xen-cpuid` prints all that Xen knows, with the same labels.
        match line.text {
            b"Static sets:" => is_of_host = false,
            b"Dynamic sets:" => is_of_host = true,
            _ => {}
        }
        if let Some((label, words)) = split(line.text) {
            sets.extend(is_of_host.then_some(Set { label, words, line: line.number }));
        } else {
            take_identity(line, &mut identity, &mut findings);
        }
    }
    let set = sets.iter().min_by_key(|set| rank(&set.label, &ORDER, kind)).ok_or(ReadError::UnknownFormat)?;
    if sets.len() > 1 {
        let reason = format!("one of {} featuresets; a file with another alone tells of that one", sets.len());
        findings.note(format!("`{}`", set.label), Some(set.line), reason);
    }
    note_length(set, &mut findings);
    let mut cpu = NamedCpu::new(Spelling::Xen, identity);
    for (bits, word) in set.words.iter().zip(XEN_WORDS) {
        for place in (0..32).filter(|bit| bits >> bit & 1 == 1).filter_map(|bit| Place::new(word, bit)) {
            cpu.insert(place);
        }
    }
    let mut cpu = cpu.finish(0, &mut findings)?;
    for word in XEN_WORDS.iter().take(set.words.len()) {
        // Bits that are all clear were told, too.
        if let WordSource::Msr { index, .. } = word.source() {
            cpu.msrs.entry(index).or_insert(Some(0));
        }
    }
    let cpus = vec![cpu];
    let source = XenGuests::of_label(&set.label).map_or(Source::Converted(Format::XenFeatureset), Source::Xen);
    Ok(Dump { name: String::new(), source, context: Vec::new(), cpus, findings: findings.into_vec() })
}

struct Set {
    /// In lower case; empty where the words stand alone.
    label: String,
    words: Vec<u32>,
    line: usize,
}

/// Says what a list of another length leaves open.
fn note_length(set: &Set, findings: &mut Findings) {
    let known = XEN_WORDS.len();
    let count = set.words.len();
    if count < known {
        let reason = format!("{count} of {known} words: what the others would say is not known; taken as not offered");
        findings.note("featureset", Some(set.line), reason);
    }
    for (number, bits) in set.words.iter().enumerate().skip(known).filter(|(_, bits)| **bits != 0) {
        let reason = format!("{bits:08x}: a word of a newer Xen, unknown here; left out");
        findings.note(format!("word {number}"), Some(set.line), reason);
    }
}

/// XAPI says beside its featuresets whose CPU it is.
fn take_identity(line: Line<'_>, identity: &mut Identity, findings: &mut Findings) {
    let text = std::str::from_utf8(line.text).unwrap_or_default();
    let pair = text.split_once(':').map(|(key, value)| (label_of(key), value.trim()));
    match pair.as_ref().map(|(key, value)| (&**key, *value)) {
        Some(("vendor", vendor)) => identity.vendor = vendor.as_bytes().try_into().ok(),
        Some(("modelname", brand)) => identity.brand = Some(brand.to_owned()),
        Some((
            "family" | "model" | "stepping" | "cpu_count" | "socket_count" | "threads_per_core" | "speed" | "flags",
            _,
        )) => {}
        _ if text.is_empty() => {}
        _ => findings.note("text", Some(line.number), "lines without a featureset are left out"),
    }
}

/// Splits a line into its label and its words, of which there are at least four: the first words of every Xen.
fn split(text: &[u8]) -> Option<(String, Vec<u32>)> {
    let start = text.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
    let (label, words) = text.split_at_checked(start)?;
    let words = words_of(words)?;
    let label = label_of(std::str::from_utf8(label).unwrap_or_default());
    // A row of registers is no featureset: it begins with the number of its leaf.
    let is_row = label.rsplit(' ').next().is_some_and(|last| words_of(last.as_bytes()).is_some());
    (words.len() >= 4 && !is_row).then_some((label, words))
}

fn words_of(text: &[u8]) -> Option<Vec<u32>> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        let (word, after) = take_hex::<8>(rest)?;
        words.push(word);
        match after {
            [] => return Some(words),
            [b':' | b'-', after @ ..] => rest = after,
            _ => return None,
        }
    }
}

/// `features_hvm ( MRO):` is `features_hvm`.
fn label_of(text: &str) -> String {
    let text = text.split_once('(').map_or(text, |(label, _)| label);
    text.trim().trim_end_matches(':').trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        read(text.as_bytes(), None).unwrap().findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_stand_where_xens_header_has_them() {
        let words: Vec<String> = (0..19).map(|word| format!("{:08x}", 1u32 << word)).collect();
        for joint in [":", "-"] {
            let raw = read(words.join(joint).as_bytes(), None).unwrap().raw().leaves;
            for (bit, word) in (0..).zip(XEN_WORDS) {
                let place = Place::new(word, bit).unwrap();
                let is_named = selfsame_cpuid::feature_at(place).is_some();
                assert!(!is_named || raw.is_set(place), "{place}");
            }
        }
    }

    #[test]
    fn rows_of_registers_are_no_featuresets() {
        let aida = b"CPUID 00000000: 0000001B-756E6547-6C65746E-49656E69 [Intel]\nCPUID 00000001: 000506E3-00100800-7FFAFBBF-BFEBFBFF\n";
        assert!(matches!(read(aida, None), Err(ReadError::UnknownFormat)));
    }

    #[test]
    fn a_short_featureset_says_what_it_leaves_open_and_a_long_one_what_is_lost() {
        assert!(told("00000001:00000000:00000000:00000000")[0].contains("4 of 19 words"));
        let long = ["00000001"; 20].join(":");
        assert!(told(&long).iter().any(|line| line.contains("word 19: 00000001")), "{:?}", told(&long));
        let zeros = format!("{}:00000000", ["00000001"; 19].join(":"));
        assert!(!told(&zeros).iter().any(|line| line.contains("word")), "{:?}", told(&zeros));
    }

    #[test]
    fn of_several_featuresets_the_one_for_the_kind_is_taken() {
        use Kind::{Hvm, HvmShadow, Kvm, Pv};
        let set = |label: &str, word: u32| format!("{label} {word:08x}:00000000:00000000:00000000\n");
        let xen = set("Raw", 0x11) + &set("Host", 9) + &set("PV Max", 5) + &set("HVM Max", 3);
        let xapi =
            "  vendor: GenuineIntel\n".to_owned() + &set("features_pv ( MRO):", 5) + &set("features_hvm ( MRO):", 3);
        let dump = |text: &str, kind| read(text.as_bytes(), kind).unwrap();
        for (kind, of_xen, of_xapi) in
            [(None, 3, 3), (Some(Hvm), 3, 3), (Some(Pv), 5, 5), (Some(HvmShadow), 9, 3), (Some(Kvm), 9, 3)]
        {
            for (text, edx) in [(&xen, of_xen), (&xapi, of_xapi)] {
                let dump = dump(text, kind);
                assert_eq!(dump.cpus[0].get(1, 0).unwrap().edx, edx, "{kind:?}");
                let source = match edx {
                    3 => Source::Xen(XenGuests::Hvm),
                    5 => Source::Xen(XenGuests::Pv),
                    _ => Source::Converted(Format::XenFeatureset),
                };
                assert_eq!(dump.source, source, "{kind:?}");
            }
        }
        let dump = dump(&xapi, None);
        assert_eq!(dump.raw().leaves.vendor(), selfsame_cpuid::Vendor::Intel);
    }

    #[test]
    fn what_xen_knows_of_is_not_what_the_host_has() {
        let text = "nr_features: 4\n\nStatic sets:\nPV Max 00000003:00000000:00000000:00000000\n\n\
            Dynamic sets:\nPV Max 00000001:00000000:00000000:00000000\n";
        let dump = read(text.as_bytes(), Some(Kind::Pv)).unwrap();
        assert_eq!(dump.cpus[0].get(1, 0).unwrap().edx, 1);
    }

    #[test]
    fn other_hexadecimal_words_are_no_featureset() {
        for text in
            ["00000000:00000001", "0000000g:00000000:00000000:00000000", "00000000::00000000:00000000:00000000", ""]
        {
            assert!(!is_row(text.as_bytes()), "{text}");
        }
    }
}
