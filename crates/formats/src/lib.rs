//! Dumps of machines in, captures out.
//!
//! [`read`] takes what a tool wrote about one machine, in any [`Format`], and gives a [`Dump`]: what CPUID answered on
//! every logical CPU, the MSRs that the file has, and a [`Finding`] for every piece of dirt that was met and how it was
//! taken. What cannot be taken is a [`ReadError`] with its line. [`write_capture`] writes a dump in the project's own
//! grammar ([`selfsame_cpuid::text`]), where equal dumps are equal bytes.
//!
//! ```
//! let text = b"\
//! CPU 0:
//!    0x00000000 0x00: eax=0x00000001 ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69
//!    0x00000001 0x00: eax=0x000006f7 ebx=0x00000000 ecx=0x00000000 edx=0x00000001
//!    0x20000000 0x00: eax=0x000006f7 ebx=0x00000000 ecx=0x00000000 edx=0x00000001
//! ";
//! let dump = selfsame_formats::read(text, "bnode3", None)?;
//! assert_eq!(dump.cpus[0].get(1, 0).unwrap().eax, 0x6f7);
//! assert_eq!(dump.findings[0].what, "20000000");
//! assert_eq!(dump.findings[0].reason, "out of range: repeats the highest basic leaf, 00000001; left out");
//!
//! let capture = selfsame_formats::write_capture(&dump);
//! assert!(capture.starts_with("selfsame 1 capture\nname bnode3\nsource converted:cpuid-r\ncpu 0\n"));
//! # Ok::<(), selfsame_formats::ReadError>(())
//! ```
#![forbid(unsafe_code)]

mod by_name;
mod capture;
mod capture_text;
mod collect;
mod cpuid_raw;
mod cpuinfo;
mod detect;
mod dirt;
mod dump;
mod error;
mod findings;
mod instlatx64;
mod kvm_json;
mod qmp;
mod ranges;
mod raw;
mod scan;
mod spelling;
mod subleaf;
mod xen_policy;
mod xen_words;

use selfsame_cpuid::text;

pub use capture_text::write_capture;
pub use detect::{Format, detect};
pub use dirt::examine;
pub use dump::{CpuDump, Dump, Source};
pub use error::{ReadError, UnknownFormat, UnknownSource};
pub use findings::Finding;
pub use raw::Raw;
pub use spelling::{Meaning, Spelling, meaning, suggestion};

/// Reads a dump of one machine; finds its format out where `format` does not say it.
///
/// `name` names the machine where the file does not, for example the file's stem. All of [`examine`] is done, too.
///
/// # Errors
///
/// Whatever cannot be a dump: empty or binary files, unknown formats, files without a CPU, malformed or cut rows; and
/// files of several machines, which [`read_all`] takes.
pub fn read(bytes: &[u8], name: &str, format: Option<Format>) -> Result<Dump, ReadError> {
    let dumps = read_all(bytes, name, format)?;
    let [dump] = <[Dump; 1]>::try_from(dumps).map_err(|dumps| ReadError::SeveralMachines { count: dumps.len() })?;
    Ok(dump)
}

/// Reads the dumps of all machines that a file tells of, at least one, in the order of the file.
///
/// Most formats hold one machine, as [`read`] takes it. Where a file holds several that it does not name, they are called
/// `name#1`, `name#2` and so on.
///
/// # Errors
///
/// As [`read`], for the first machine that cannot be taken.
pub fn read_all(bytes: &[u8], name: &str, format: Option<Format>) -> Result<Vec<Dump>, ReadError> {
    // The grammar of captures names what is wrong with its bytes itself, by line.
    let is_ours = format.map_or_else(|| text::looks_like(bytes), |format| format == Format::Capture);
    let bytes = if is_ours { bytes } else { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) };
    if bytes.trim_ascii().is_empty() {
        return Err(ReadError::Empty);
    }
    if !is_ours && bytes.contains(&0) {
        let offset = bytes.iter().position(|&b| b == 0).unwrap_or_default();
        return Err(ReadError::Binary { offset });
    }
    let mut dumps = match format.or_else(|| detect(bytes)).ok_or(ReadError::UnknownFormat)? {
        Format::InstLatX64 => vec![instlatx64::read(bytes)?],
        Format::CpuidRaw => vec![cpuid_raw::read(bytes)?],
        Format::Capture => vec![capture::read(bytes)?],
        Format::ProcCpuinfo => vec![cpuinfo::read(bytes)?],
        Format::XenFeatureset => vec![xen_words::read(bytes)?],
        Format::XenPolicy => vec![xen_policy::read(bytes)?],
        Format::Qmp => vec![qmp::read(bytes)?],
        Format::KvmJson => vec![kvm_json::read(bytes)?],
    };
    let name = capture_text::name_of(name);
    let is_alone = dumps.len() == 1;
    for (number, dump) in (1..).zip(&mut dumps) {
        if dump.name.is_empty() {
            dump.name = if is_alone { name.clone() } else { format!("{name}#{number}") };
        }
        let found = examine(dump);
        dump.findings.extend(found);
    }
    Ok(dumps)
}
