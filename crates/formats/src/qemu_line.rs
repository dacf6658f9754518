//! QEMU's `-cpu`: its argument alone, or the whole command line that has it.
//!
//! ```text
//! qemu-system-x86_64 -M q35 -cpu Skylake-Server-v4,+avx512f,-hle,phys-bits=46,enforce -m 4G
//! ```
//!
//! A line means what it means under KVM, which changes every named model (QEMU target/i386/kvm/kvm-cpu.c).

use selfsame_cpuid::{Place, Signature};

use crate::by_name::{Identity, NamedCpu, note_unknown};
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::models::{Model, Models};
use crate::qmp::is_knob_name;
use crate::scan::{self, decimal, hexadecimal};
use crate::spelling::{Spelling, qemu_feature};

/// What an accelerator adds to every named model: KVM x2APIC; and the bit by which a guest knows that it is one.
pub(crate) const ACCELERATOR_ON: [&str; 2] = ["hypervisor", "x2apic"];

/// What an accelerator takes from every named model: KVM the first three, TCG the last, which KVM leaves to the model.
pub(crate) const ACCELERATOR_OFF: [&str; 4] = ["acpi", "monitor", "svm", "vme"];

/// What KVM adds to every named model in its own leaf.
pub(crate) const KVM_ON: [&str; 6] =
    ["kvmclock", "kvm-asyncpf", "kvmclock-stable-bit", "kvm-nopiodelay", "kvm-pv-eoi", "kvm-steal-time"];

/// Models that are whatever the host or the emulator has.
const HOSTS_OWN: [&str; 2] = ["host", "max"];

/// Whether a line has a `-cpu` with an argument.
pub(crate) fn is_row(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| argument(&words(text)).is_some())
}

/// Reads a file of the format.
pub(crate) fn read(bytes: &[u8], models: &Models) -> Result<Dump, ReadError> {
    let mut found: Option<(usize, String)> = None;
    let mut count = 0;
    for line in scan::lines(&joined(bytes)) {
        let text =
            std::str::from_utf8(line.text).map_err(|_| ReadError::Line { line: line.number, reason: "not UTF-8" })?;
        let words = words(text);
        if let Some(argument) = argument(&words).or_else(|| bare(&words)) {
            count += 1;
            found = found.or_else(|| Some((line.number, argument.to_owned())));
        }
    }
    let (line, argument) = found.ok_or(ReadError::UnknownFormat)?;
    let mut findings = Findings::default();
    if count > 1 {
        findings.note("-cpu", Some(line), format!("the first of {count}: give each a file of its own"));
    }
    let element = |error| ReadError::Element { line, error: Box::new(error) };
    let cpu = Line::parse(&argument, models, line, &mut findings).map_err(element)?.finish(&mut findings)?;
    let source = Source::Converted(Format::QemuCpu);
    Ok(Dump { name: String::new(), source, context: Vec::new(), cpus: vec![cpu], findings: findings.into_vec() })
}

/// The text with its continued lines in one: a shell's `\` at the end of a line.
fn joined(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let trimmed = line.trim_ascii_end();
        match trimmed.strip_suffix(b"\\") {
            Some(rest) if line.ends_with(b"\n") => {
                text.extend_from_slice(rest);
                text.push(b' ');
            }
            _ => text.extend_from_slice(line),
        }
    }
    text
}

/// The argument of the first `-cpu` of a command line.
fn argument(words: &[String]) -> Option<&str> {
    let mut words = words.iter().map(String::as_str);
    words.find(|word| matches!(*word, "-cpu" | "--cpu"))?;
    words.next().filter(|word| !word.is_empty() && !word.starts_with('-'))
}

/// A line that is nothing but an argument.
fn bare(words: &[String]) -> Option<&str> {
    let [word] = words else { return None };
    (!word.starts_with(['-', '#'])).then_some(word)
}

/// Splits a line as a shell does: at blanks that stand in no quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What one argument says.
struct Line {
    cpu: NamedCpu,
    avx10_version: Option<u32>,
}

impl Line {
    fn parse(argument: &str, models: &Models, line: usize, findings: &mut Findings) -> Result<Self, ReadError> {
        // A comma that is written twice is one of a value; no value that has one counts here.
        let argument = argument.replace(",,", ";");
        let mut parts = argument.split(',');
        let name = parts.next().unwrap_or_default();
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        let model = model(name, models)?;
        let identity = identity(model, &parts, line, findings);
        let mut cpu = NamedCpu::new(Spelling::Qemu, identity);
        if let Some(model) = model {
            cpu.add_all(&model.qemu_features);
            for name in &model.unknown {
                note_unknown(name, Some(line), Spelling::Qemu, findings);
            }
            let off = ACCELERATOR_OFF.iter().filter(|name| **name != "vme").map(|name| (name, false));
            let on = ACCELERATOR_ON.iter().chain(&KVM_ON).map(|name| (name, true));
            for (place, is_on) in off.chain(on).filter_map(|(name, is_on)| Some((qemu_feature(name)?.place, is_on))) {
                cpu.put(place, is_on);
            }
        }
        let mut this = Self { cpu, avx10_version: None };
        // QEMU takes `+` and `-` after all others, in this order.
        let is_signed = |part: &&&str| part.starts_with(['+', '-']);
        for part in parts.iter().filter(|part| !is_signed(part)) {
            this.property(part, models, line, findings);
        }
        for (sign, is_on) in [('+', true), ('-', false)] {
            for name in parts.iter().filter_map(|part| part.strip_prefix(sign)) {
                this.put(name, is_on, models, line, findings);
            }
        }
        Ok(this)
    }

    fn property(&mut self, part: &str, models: &Models, line: usize, findings: &mut Findings) {
        let (name, value) = part.split_once('=').unwrap_or((part, "on"));
        let switch = match value {
            "on" | "yes" | "true" | "y" => Some(true),
            "off" | "no" | "false" | "n" => Some(false),
            _ => None,
        };
        match (&*name.replace('_', "-"), switch) {
            // The identity has them.
            ("vendor" | "family" | "model" | "stepping" | "phys-bits" | "model-id", _) => {}
            // Highest leaves, and what tells of the guest's place or speed.
            ("level" | "xlevel" | "xlevel2" | "level-func7" | "min-level" | "min-xlevel" | "min-xlevel2", _) => {}
            ("tsc-frequency" | "ucode-rev" | "host-phys-bits-limit" | "guest-phys-bits" | "lbr-fmt", _) => {}
            ("apic-id" | "socket-id" | "die-id" | "module-id" | "core-id" | "thread-id" | "node-id", _) => {}
            ("avx10-version", _) => self.avx10_version = number(value),
            (_, Some(is_on)) => self.put(name, is_on, models, line, findings),
            _ if is_knob_name(name) => {}
            _ => findings.note(format!("`{}`", shown(part)), Some(line), "no property known here: left out"),
        }
    }

    fn put(&mut self, name: &str, is_on: bool, models: &Models, line: usize, findings: &mut Findings) {
        match place(name, models) {
            Some(place) => self.cpu.put(place, is_on),
            None if is_knob_name(name) => {}
            None => note_unknown(name, Some(line), Spelling::Qemu, findings),
        }
    }

    fn finish(self, findings: &mut Findings) -> Result<crate::CpuDump, ReadError> {
        let mut cpu = self.cpu.finish(0, findings)?;
        if let (Some(version), Some(row)) = (self.avx10_version, cpu.leaves.get_mut(&(0x24, 0))) {
            row.ebx = row.ebx & !0xff | version & 0xff;
        }
        Ok(cpu)
    }
}

/// The model that a line names; none for `base`, which has nothing.
fn model<'m>(name: &str, models: &'m Models) -> Result<Option<&'m Model>, ReadError> {
    let name = name.strip_suffix("-x86_64-cpu").unwrap_or(name);
    if HOSTS_OWN.contains(&name) {
        return Err(ReadError::HostsOwnModel { name: name.to_owned() });
    }
    if name == "base" {
        return Ok(None);
    }
    models.get(name).map(Some).ok_or_else(|| ReadError::UnknownModel {
        name: shown(name),
        nearest: models.suggestion(name).map(str::to_owned),
    })
}

fn identity(model: Option<&Model>, parts: &[&str], line: usize, findings: &mut Findings) -> Identity {
    let said = |key: &str| {
        // The last one counts.
        let mut pairs = parts.iter().filter_map(|part| part.split_once('='));
        pairs.rfind(|(name, _)| is_spelled(name, key)).map(|(_, value)| value)
    };
    let mut number_of = |key: &str| {
        let text = said(key)?;
        let value = number(text);
        if value.is_none() {
            findings.note(format!("`{key}`"), Some(line), format!("`{}` is no number: left out", shown(text)));
        }
        value
    };
    let known = model.and_then(|model| model.signature);
    let family = number_of("family").and_then(|number| u16::try_from(number).ok());
    let numbers = ["model", "stepping"].map(|key| number_of(key).and_then(|number| u8::try_from(number).ok()));
    let signature = match (known, family, numbers) {
        (None, None, [None, None]) => None,
        (known, family, [model, stepping]) => {
            let known = known.unwrap_or_default();
            Some(Signature {
                family: family.unwrap_or(known.family),
                model: model.unwrap_or(known.model),
                stepping: stepping.unwrap_or(known.stepping),
            })
        }
    };
    // 0 means that the machine decides.
    let physical_bits = number_of("phys-bits").and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits != 0);
    let vendor = said("vendor").and_then(|vendor| vendor.as_bytes().try_into().ok());
    Identity {
        vendor: vendor.or(model.and_then(|model| model.vendor)),
        likeness: None,
        signature,
        physical_bits,
        brand: None,
    }
}

/// Whether a name is `key`, which has dashes, with dashes or underscores.
fn is_spelled(name: &str, key: &str) -> bool {
    name.len() == key.len() && name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte }).eq(key.bytes())
}

fn place(name: &str, models: &Models) -> Option<Place> {
    qemu_feature(name).map(|row| row.place).or_else(|| models.feature(name))
}

/// A decimal number, or a hexadecimal one after `0x`.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => hexadecimal(digits)?.try_into().ok(),
        None => decimal(text),
    }
}

/// Text of a file as a message has it.
fn shown(text: &str) -> String {
    const LONG: usize = 64;
    text.chars().take(LONG).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_cpuid::{Leaves, Vendor, feature};

    fn leaves(text: &str) -> Leaves {
        read(text.as_bytes(), Models::known()).unwrap().raw().leaves
    }

    fn has(leaves: &Leaves, name: &str) -> bool {
        leaves.features().contains(feature(name).unwrap().place)
    }

    #[test]
    fn a_line_is_its_model_with_what_it_adds_and_takes_away() {
        let line = "Skylake-Server-v4,+hle,-avx512f,vendor=GenuineIntel,phys-bits=46,stepping=7,check,enforce,pku=off";
        let cpu = leaves(line);
        assert_eq!(cpu.signature(), Signature { family: 6, model: 85, stepping: 7 });
        assert!(has(&cpu, "hle") && has(&cpu, "avx2") && has(&cpu, "x2apic"));
        assert!(!has(&cpu, "avx512f") && !has(&cpu, "pku"));
        assert_eq!(cpu.get(0x8000_0008, 0).eax & 0xff, 46);
        let whole = format!("qemu-system-x86_64 -M q35 \\\n  -cpu '{line}' \\\n -m 4G\n");
        assert_eq!(leaves(&whole), cpu);
    }

    #[test]
    fn signs_count_more_than_switches_wherever_they_stand() {
        let cpu = leaves("-cpu Nehalem,+avx,avx=off,-sse4_2,sse4.2=on");
        assert!(has(&cpu, "avx") && !has(&cpu, "sse4.2"));
    }

    #[test]
    fn base_has_what_is_said() {
        let cpu = leaves("-cpu base,vendor=AuthenticAMD,family=0x19,model=1,stepping=1,+fpu,tsc");
        assert_eq!(cpu.vendor(), Vendor::Amd);
        assert_eq!(cpu.signature(), Signature { family: 25, model: 1, stepping: 1 });
        assert!(has(&cpu, "fpu") && has(&cpu, "tsc") && !has(&cpu, "x2apic"));
    }

    #[test]
    fn models_that_say_nothing_and_those_that_nobody_knows_are_refused() {
        for name in HOSTS_OWN {
            let refused = read(format!("-cpu {name},+avx").as_bytes(), Models::known());
            let error = Box::new(ReadError::HostsOwnModel { name: name.to_owned() });
            assert_eq!(refused, Err(ReadError::Element { line: 1, error }));
        }
        let refused = read(b"-cpu Skylake-Serber", Models::known()).unwrap_err().to_string();
        assert!(refused.contains("did you mean Skylake-Server?"), "{refused}");
    }

    #[test]
    fn names_that_nobody_knows_are_findings() {
        let dump =
            read(b"-cpu Nehalem,+avx521f,future-number=3,hv-time=on,phys-bits=40,model-id=a,,b", Models::known())
                .unwrap();
        let about: Vec<&str> = dump.findings.iter().map(|finding| &*finding.what).collect();
        assert_eq!(about, ["`future-number=3`", "`avx521f`"]);
    }

    #[test]
    fn lines_without_the_option_are_another_format() {
        assert!(!is_row(b"-cpuid 3") && !is_row(b"-cpu") && !is_row(b"-cpu -m") && is_row(b"qemu -cpu max"));
    }
}
