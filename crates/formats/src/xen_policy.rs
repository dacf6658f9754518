//! What `xen-cpuid -p` prints: whole policies, leaf by leaf.
//!
//! ```text
//! Raw policy: 32 leaves, 2 MSRs
//!  CPUID:
//!   leaf     subleaf  -> eax      ebx      ecx      edx
//!   00000000:ffffffff -> 00000010:68747541:444d4163:69746e65
//!  MSRs:
//!   index    -> value
//!   000000ce -> 0000000080000000
//! ```

use selfsame_cpuid::{Kind, Regs};

use crate::collect::{self, MsrRow, Row, Section};
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::scan::{self, Line, take_hex};
use crate::xen_guests::{XenGuests, rank};

/// Which of several policies is taken, the first that tells of the kind of guest that is asked for: what the CPU says decides
/// for every kind.
const ORDER: [&str; 6] = ["raw", "host", "hvm max", "hvm default", "pv max", "pv default"];

/// Whether a line is a row of leaves.
pub(crate) fn is_row(text: &[u8]) -> bool {
    leaf_row(text, 0).is_some()
}

/// Reads a file of the format for guests of a kind, if one is asked for.
pub(crate) fn read(bytes: &[u8], kind: Option<Kind>) -> Result<Dump, ReadError> {
    let mut findings = Findings::default();
    let mut policies: Vec<(String, Section)> = Vec::new();
    for line in scan::lines(bytes) {
        let Line { number, text, .. } = line;
        if let Some(name) = header(text) {
            policies.push((name, Section::new(Some(0), number)));
            continue;
        }
        let leaf = leaf_row(text, number);
        let msr = msr_row(text, number);
        if leaf.is_none() && msr.is_none() {
            if text.iter().take(2).all(u8::is_ascii_hexdigit) && text.windows(2).any(|pair| pair == b"->") {
                return Err(malformed(line));
            }
            continue;
        }
        if policies.is_empty() {
            findings.note("policy", Some(number), "rows before any `NAME policy:`: taken as the raw policy's");
            policies.push(("raw".into(), Section::new(Some(0), number)));
        }
        if let Some((_, section)) = policies.last_mut() {
            section.rows.extend(leaf);
            section.msrs.extend(msr);
        }
    }
    let count = policies.len();
    let first = policies.into_iter().min_by_key(|(name, _)| rank(name, &ORDER, kind));
    let (name, section) = first.ok_or(ReadError::NoCpu)?;
    if count > 1 {
        let reason = format!("one of {count} policies; a file with another alone tells of that one");
        findings.note(format!("`{name} policy`"), Some(section.line), reason);
    }
    let cpus = collect::collect(vec![section], &mut findings)?;
    let source = XenGuests::of_label(&name).map_or(Source::Converted(Format::XenPolicy), Source::Xen);
    Ok(Dump { name: String::new(), source, context: Vec::new(), cpus, findings: findings.into_vec() })
}

const fn malformed(line: Line<'_>) -> ReadError {
    let reason = "expected `LEAF:SUBLEAF -> EAX:EBX:ECX:EDX` or `MSR -> VALUE`, in eight and sixteen digits";
    if line.is_open { ReadError::CutOff { line: line.number } } else { ReadError::Line { line: line.number, reason } }
}

/// `HVM Max policy: 40 leaves, 2 MSRs`.
fn header(text: &[u8]) -> Option<String> {
    let (name, _) = std::str::from_utf8(text).ok()?.split_once(" policy:")?;
    Some(name.trim().to_ascii_lowercase())
}

fn leaf_row(text: &[u8], line: usize) -> Option<Row> {
    let (leaf, rest) = take_hex::<8>(text)?;
    let (subleaf, rest) = take_hex::<8>(rest.strip_prefix(b":")?)?;
    let mut rest = rest.strip_prefix(b" -> ")?;
    let mut registers = [0; 4];
    for (at, register) in registers.iter_mut().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(b":")?;
        }
        (*register, rest) = take_hex::<8>(rest)?;
    }
    let subleaf = if subleaf == u32::MAX { None } else { Some(subleaf) };
    rest.is_empty().then_some(Row { leaf, subleaf, regs: Regs::from(registers), line })
}

fn msr_row(text: &[u8], line: usize) -> Option<MsrRow> {
    let (index, rest) = take_hex::<8>(text)?;
    let (high, rest) = take_hex::<8>(rest.strip_prefix(b" -> ")?)?;
    let (low, rest) = take_hex::<8>(rest)?;
    rest.is_empty().then_some(MsrRow { index, value: Some(u64::from(high) << 32 | u64::from(low)), line })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "Raw policy: 2 leaves, 1 MSRs\n CPUID:\n  leaf     subleaf  -> eax      ebx      ecx      edx     \n  \
        00000000:ffffffff -> 00000001:756e6547:6c65746e:49656e69\n  \
        00000001:ffffffff -> 000506e3:00000000:00000000:00000001\n MSRs:\n  index    -> value           \n  \
        000000ce -> 0000000080000000\n";

    #[test]
    fn rows_of_leaves_and_msrs_are_read() {
        let dump = read(RAW.as_bytes(), None).unwrap();
        assert_eq!(dump.cpus[0].get(1, 0).unwrap().eax, 0x506e3);
        assert_eq!(dump.cpus[0].msr(0xce), Some(1 << 31));
        assert!(dump.source.is_hardware());
    }

    #[test]
    fn the_raw_policy_is_preferred_and_a_guests_alone_is_an_offer() {
        let hvm = RAW.replace("Raw policy", "HVM Max policy").replace("000506e3", "000506e4");
        let both = read([&hvm, RAW].concat().as_bytes(), Some(Kind::Hvm)).unwrap();
        assert_eq!(both.cpus[0].get(1, 0).unwrap().eax, 0x506e3);
        assert!(both.findings[0].reason.contains("one of 2 policies"));
        assert_eq!(read(hvm.as_bytes(), None).unwrap().source, Source::Xen(XenGuests::Hvm));
        let domain = RAW.replace("Raw policy", "Domain 7 policy");
        assert_eq!(read(domain.as_bytes(), None).unwrap().source, Source::Xen(XenGuests::Unsaid));
    }

    #[test]
    fn without_the_hardware_the_policy_of_the_kind_is_taken() {
        let max = |kind: &str, eax| RAW.replace("Raw", kind).replace("000506e3", eax);
        let text = [max("PV Max", "000506e4"), max("HVM Max", "000506e5")].concat();
        for (kind, guests, eax) in [
            (None, XenGuests::Hvm, 0x506e5),
            (Some(Kind::Hvm), XenGuests::Hvm, 0x506e5),
            (Some(Kind::Pv), XenGuests::Pv, 0x506e4),
        ] {
            let dump = read(text.as_bytes(), kind).unwrap();
            assert_eq!((dump.source, dump.cpus[0].get(1, 0).unwrap().eax), (Source::Xen(guests), eax), "{kind:?}");
        }
    }

    #[test]
    fn a_row_that_is_cut_short_is_refused_with_its_line() {
        let cut = RAW.replace("000506e3:00000000:00000000:00000001", "000506e3:0000");
        assert!(matches!(read(cut.as_bytes(), None), Err(ReadError::Line { line: 5, .. })));
        let end = RAW.find("6c65746e").unwrap();
        assert_eq!(read(&RAW.as_bytes()[..end], None), Err(ReadError::CutOff { line: 4 }));
    }
}
