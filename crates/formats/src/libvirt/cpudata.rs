//! The raw dumps of libvirt's tests.
//!
//! ```text
//! <!-- Intel(R) Xeon(R) CPU           W3520  @ 2.67GHz -->
//! <cpudata arch='x86'>
//!   <cpuid eax_in='0x00000000' ecx_in='0x00' eax='0x0000000b' ebx='0x756e6547' ecx='0x6c65746e' edx='0x49656e69'/>
//!   <msr index='0x10a' edx='0x00000000' eax='0x000001eb'/>
//! </cpudata>
//! ```
//!
//! One logical CPU; the comment is the brand, which leaves 0x80000002 to 0x80000004 have too.

use selfsame_cpuid::Regs;

use super::xml::{Item, Tag, Xml};
use crate::collect::{self, MsrRow, Row, Section};
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::scan::hexadecimal;

/// Reads a file of the format.
pub(crate) fn read(bytes: &[u8]) -> Result<Dump, ReadError> {
    let mut xml = Xml::new(bytes);
    let mut section: Option<Section> = None;
    let mut findings = Findings::default();
    while let Some(item) = xml.next()? {
        let Item::Open(tag) = item else { continue };
        let number = xml.line(tag.offset);
        match (tag.name(), &mut section) {
            ("cpudata", None) => {
                if tag.attribute("arch").is_some_and(|arch| arch != "x86") {
                    return Err(xml.line_error(tag.offset, "expected arch='x86'"));
                }
                section = Some(Section::new(Some(0), number));
            }
            ("cpudata", Some(_)) => return Err(xml.line_error(tag.offset, "a second <cpudata>: expected one CPU")),
            ("cpuid", Some(section)) => {
                section.rows.push(row(&tag, number).ok_or(ReadError::Line { line: number, reason: ROW })?);
            }
            ("msr", Some(section)) => {
                section.msrs.push(msr(&tag, number).ok_or(ReadError::Line { line: number, reason: MSR })?);
            }
            _ => findings.note("text", Some(number), "tags that are neither <cpuid> nor <msr> are left out"),
        }
    }
    let cpus = collect::collect(section.into_iter().collect(), &mut findings)?;
    let source = Source::Converted(Format::LibvirtCpuData);
    Ok(Dump { name: String::new(), source, context: Vec::new(), cpus, findings: findings.into_vec() })
}

const ROW: &str = "expected `<cpuid eax_in='0x...' ecx_in='0x..' eax='0x...' ebx='0x...' ecx='0x...' edx='0x...'/>`";
const MSR: &str = "expected `<msr index='0x...' edx='0x...' eax='0x...'/>`";

fn row(tag: &Tag<'_>, line: usize) -> Option<Row> {
    let subleaf = match tag.attribute("ecx_in") {
        Some(text) => Some(hex(&text)?),
        None => None,
    };
    let leaf = hex(&tag.attribute("eax_in")?)?;
    let register = |name| tag.attribute(name).map_or(Some(0), |text| hex(&text));
    let regs = Regs::new(register("eax")?, register("ebx")?, register("ecx")?, register("edx")?);
    Some(Row { leaf, subleaf, regs, line })
}

fn msr(tag: &Tag<'_>, line: usize) -> Option<MsrRow> {
    let half = |name| hex(&tag.attribute(name)?).map(u64::from);
    let value = half("edx")? << 32 | half("eax")?;
    Some(MsrRow { index: hex(&tag.attribute("index")?)?, value: Some(value), line })
}

/// Reads `0x` and up to eight hexadecimal digits.
fn hex(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    hexadecimal(digits)?.try_into().ok()
}
