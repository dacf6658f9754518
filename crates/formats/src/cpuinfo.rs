//! `/proc/cpuinfo`: one block per logical CPU, with the features that the running kernel shows under Linux's names.
//!
//! ```text
//! processor       : 0
//! vendor_id       : GenuineIntel
//! cpu family      : 6
//! flags           : fpu vme de pse tsc msr
//! ```
//!
//! It is part of the truth only: a bit that the kernel does not know, has disabled or finds not worth a word is not there,
//! and neither are leaf 0xD, MSRs and VMX capabilities.

use std::collections::BTreeMap;

use selfsame_cpuid::Signature;

use crate::by_name::{Identity, NamedCpu};
use crate::collect::{Identities, same_machine};
use crate::detect::Format;
use crate::dump::{CpuDump, Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::scan::{self, decimal};
use crate::spelling::Spelling;

/// Whether a line can be the first of a block.
pub(crate) fn is_row(text: &[u8]) -> bool {
    pair(text)
        .is_some_and(|(key, value)| key == b"processor" && !value.is_empty() && value.iter().all(u8::is_ascii_digit))
}

/// Reads a file of the format.
pub(crate) fn read(bytes: &[u8]) -> Result<Dump, ReadError> {
    let mut findings = Findings::default();
    let mut cpus = BTreeMap::new();
    let mut block = Block::default();
    for line in scan::lines(bytes) {
        if line.text.is_empty() {
            continue;
        }
        let Some((key, value)) = pair(line.text) else {
            findings.note("text", Some(line.number), "lines that are not `KEY : VALUE` are left out");
            continue;
        };
        if key == b"processor" {
            std::mem::take(&mut block).end(&mut cpus, &mut findings)?;
            block.number = Some(number(value, line.number)?);
        }
        block.take(key, value, line.number);
    }
    block.end(&mut cpus, &mut findings)?;
    let cpus: Vec<CpuDump> = cpus.into_values().collect();
    if cpus.is_empty() {
        return Err(ReadError::NoCpu);
    }
    findings.note(
        "/proc/cpuinfo",
        None,
        "partial: features that the running kernel shows by name; it has no leaf 0xD, no MSR (so no vmx), and not every bit",
    );
    same_machine(&cpus, &Identities::new(), &mut findings)?;
    let source = Source::Converted(Format::ProcCpuinfo);
    Ok(Dump {
        name: String::new(),
        source,
        context: vec![("partial".into(), "1".into())],
        cpus,
        findings: findings.into_vec(),
    })
}

/// The lines of one logical CPU.
#[derive(Default)]
struct Block<'a> {
    number: Option<u32>,
    vendor: Option<[u8; 12]>,
    family: Option<u16>,
    model: Option<u8>,
    stepping: Option<u8>,
    brand: Option<String>,
    physical_bits: Option<u8>,
    flags: Option<(&'a [u8], usize)>,
}

impl<'a> Block<'a> {
    fn take(&mut self, key: &[u8], value: &'a [u8], line: usize) {
        match key {
            b"vendor_id" => self.vendor = vendor(value),
            b"cpu family" => self.family = decimal(text(value)),
            b"model" => self.model = decimal(text(value)),
            b"stepping" => self.stepping = decimal(text(value)),
            b"model name" => self.brand = Some(text(value).to_owned()),
            b"flags" => self.flags = Some((value, line)),
            // `48 bits physical, 48 bits virtual`
            b"address sizes" => {
                self.physical_bits = text(value).split_once(" bits physical").and_then(|(bits, _)| decimal(bits));
            }
            _ => {}
        }
    }

    fn end(self, cpus: &mut BTreeMap<u32, CpuDump>, findings: &mut Findings) -> Result<(), ReadError> {
        let Some(number) = self.number else { return Ok(()) };
        let Some((flags, line)) = self.flags else {
            findings.note(format!("cpu {number}"), None, "has no line `flags`: left out");
            return Ok(());
        };
        let signature = match (self.family, self.model) {
            (Some(family), Some(model)) => Some(Signature { family, model, stepping: self.stepping.unwrap_or(0) }),
            _ => None,
        };
        let identity = Identity {
            vendor: self.vendor,
            likeness: None,
            signature,
            physical_bits: self.physical_bits,
            brand: self.brand,
        };
        let mut cpu = NamedCpu::new(Spelling::Linux, identity);
        for flag in text(flags).split_ascii_whitespace() {
            cpu.add(flag, Some(line), findings);
        }
        if cpus.insert(number, cpu.finish(number, findings)?).is_some() {
            return Err(ReadError::TwoCpus { line, cpu: number });
        }
        Ok(())
    }
}

/// `KEY : VALUE`, as the kernel writes it.
fn pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|&b| b == b':')?;
    let (key, value) = line.split_at_checked(at)?;
    Some((key.trim_ascii(), value.get(1..)?.trim_ascii()))
}

fn number(value: &[u8], line: usize) -> Result<u32, ReadError> {
    let whole = scan::take_cpu_number(value).filter(|(_, rest)| rest.is_empty());
    let reason = "expected `processor : NUMBER`, the number below 65536";
    whole.map(|(number, _)| number).ok_or(ReadError::Line { line, reason })
}

/// The twelve bytes; the kernel trims the spaces of `  Shanghai  `.
fn vendor(value: &[u8]) -> Option<[u8; 12]> {
    if value == b"Shanghai" { Some(*b"  Shanghai  ") } else { value.try_into().ok() }
}

/// What is not UTF-8 is no word of the kernel's.
fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEL: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: A CPU\n\
        stepping\t: 7\nflags\t\t: fpu sse sse2 ht lm nx avx xsave constant_tsc nosuchflag\n\
        address sizes\t: 46 bits physical, 48 bits virtual\n\n";

    #[test]
    fn a_block_gives_identity_width_and_features() {
        let dump = read(INTEL.as_bytes()).unwrap();
        let raw = dump.raw().leaves;
        assert_eq!(raw.signature(), Signature { family: 6, model: 85, stepping: 7 });
        assert_eq!(raw.get(0x8000_0008, 0).eax, 0x302e);
        assert!(raw.features().contains("00000001.ecx[28]".parse().unwrap()));
        let told: Vec<String> = dump.findings.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains("line 7: `nosuchflag`")), "{told:?}");
        assert!(told.iter().any(|line| line.contains("partial")), "{told:?}");
        assert!(!told.iter().any(|line| line.contains("constant_tsc")), "{told:?}");
    }

    #[test]
    fn two_blocks_of_one_number_are_refused() {
        let twice = [INTEL, INTEL].concat();
        assert_eq!(read(twice.as_bytes()), Err(ReadError::TwoCpus { line: 16, cpu: 0 }));
    }

    #[test]
    fn blocks_of_two_vendors_are_refused() {
        let other = INTEL.replace("processor\t: 0", "processor\t: 1").replace("GenuineIntel", "AuthenticAMD");
        let refused = read([INTEL, &other].concat().as_bytes());
        assert!(matches!(refused, Err(ReadError::TwoMachines { cpu: 1, first: 0, what: "vendor", .. })), "{refused:?}");
    }

    #[test]
    fn a_cpu_without_flags_is_left_out() {
        assert_eq!(read(b"processor : 0\nvendor_id : GenuineIntel\n"), Err(ReadError::NoCpu));
        assert!(matches!(read(b"processor : x\n"), Err(ReadError::Line { line: 1, .. })));
    }
}
