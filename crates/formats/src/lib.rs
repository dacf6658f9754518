//! Dumps of machines in, captures out.
//!
//! [`read`] takes what a tool wrote about one machine, in any [`Format`], and gives a [`Dump`]: what CPUID answered on
//! every logical CPU, the MSRs that the file has, and a [`Finding`] for every piece of dirt that was met and how it was
//! taken. What cannot be taken is a [`ReadError`] with its line. [`write_capture`] writes a dump in the project's own
//! grammar ([`selfsame_cpuid::text`]), where equal dumps are equal bytes. Files with extended state of guests and processes
//! are read by [`saved`].
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
pub mod export;
mod findings;
mod instlatx64;
mod kvm_json;
pub mod libvirt;
mod machines;
mod models;
mod named;
mod nearest_name;
mod qemu_line;
mod qmp;
mod ranges;
mod raw;
mod rotated;
pub mod saved;
mod scan;
mod spelling;
mod subleaf;
mod xen_guests;
mod xen_policy;
mod xen_words;

use selfsame_cpuid::{Kind, text};

pub use capture_text::write_capture;
pub use detect::{Format, detect};
pub use dirt::examine;
pub use dump::{CpuDump, Dump, Source};
pub use error::{ReadError, UnknownFormat, UnknownSource};
pub use findings::Finding;
pub use machines::{Machines, Said};
pub use models::{Model, Models};
pub use named::{Kin, Kinship, NamedMachine, UnpackedMachine};
pub use raw::Raw;
pub use spelling::{Meaning, Spelling, meaning, suggestion};
pub use xen_guests::XenGuests;

/// Reads a dump of one machine; finds its format out where `format` does not say it.
///
/// `name` names the machine where the file does not, for example the file's stem. All of [`examine`] is done, too.
///
/// # Errors
///
/// Whatever cannot be a dump: empty or binary files, unknown formats, files without a CPU, malformed or cut rows; and
/// files of several machines, which [`read_all`] takes.
pub fn read(bytes: &[u8], name: &str, format: Option<Format>) -> Result<Dump, ReadError> {
    let machines = read_all(bytes, name, &Reading { format, ..Reading::default() })?;
    let count = machines.iter().map(|machines| machines.names.len()).sum();
    match <[Machines; 1]>::try_from(machines) {
        Ok([machines]) if count == 1 => Ok(machines.dump().into_owned()),
        _ => Err(ReadError::SeveralMachines { count }),
    }
}

/// How files are read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The format; found out where it is not said.
    pub format: Option<Format>,
    /// What the names of models mean.
    pub models: &'a Models,
    /// The kind of guest that is asked about: of several sets that a file of Xen's has, the one for this kind is taken.
    pub kind: Option<Kind>,
}

impl Default for Reading<'_> {
    fn default() -> Self {
        Self { format: None, models: Models::known(), kind: None }
    }
}

/// Reads all machines that a file tells of, at least one.
///
/// Most formats hold one machine, as [`read`] takes it. Machines of which the file says the same come together, in the
/// order of the first of each; those that the file does not name are called `name:1`, `name:2` and so on, with as many
/// digits as the last one has.
///
/// ```
/// use selfsame_formats::{Reading, read_all};
///
/// let hosts = b"<hosts>
///   <cpu><arch>x86_64</arch><model>Nehalem</model><vendor>Intel</vendor><topology sockets='1'/></cpu>
///   <cpu><arch>x86_64</arch><model>Westmere</model><vendor>Intel</vendor></cpu>
///   <cpu><arch>x86_64</arch><model>Nehalem</model><vendor>Intel</vendor><topology sockets='2'/></cpu>
/// </hosts>";
/// let machines = read_all(hosts, "pool", &Reading::default())?;
/// assert_eq!(machines[0].names, ["pool:1", "pool:3"]);
/// assert_eq!(machines[1].names, ["pool:2"]);
/// # Ok::<(), selfsame_formats::ReadError>(())
/// ```
///
/// # Errors
///
/// As [`read`], for the first machine that cannot be taken.
pub fn read_all(bytes: &[u8], name: &str, reading: &Reading<'_>) -> Result<Vec<Machines>, ReadError> {
    let Reading { format, models, kind } = *reading;
    // The grammar of captures names what is wrong with its bytes itself, by line.
    let is_ours = format.map_or_else(|| text::looks_like(bytes), |format| format == Format::Capture);
    let bytes = if is_ours { bytes } else { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) };
    if bytes.trim_ascii().is_empty() {
        return Err(ReadError::Empty);
    }
    if !is_ours && let Some(offset) = memchr::memchr(0, bytes) {
        return Err(ReadError::Binary { offset });
    }
    let mut machines = match format.or_else(|| detect(bytes)).ok_or(ReadError::UnknownFormat)? {
        Format::InstLatX64 => vec![Machines::one(instlatx64::read(bytes)?)],
        Format::CpuidRaw => vec![Machines::one(cpuid_raw::read(bytes)?)],
        Format::Capture => vec![Machines::one(capture::read(bytes)?)],
        Format::ProcCpuinfo => vec![Machines::one(cpuinfo::read(bytes)?)],
        Format::XenFeatureset => vec![Machines::one(xen_words::read(bytes, kind)?)],
        Format::XenPolicy => vec![Machines::one(xen_policy::read(bytes, kind)?)],
        Format::Qmp => vec![Machines::one(qmp::read(bytes)?)],
        Format::KvmJson => vec![Machines::one(kvm_json::read(bytes)?)],
        Format::LibvirtCpuData => vec![Machines::one(libvirt::read_cpudata(bytes)?)],
        Format::LibvirtCpu => libvirt::read_cpus(bytes, models)?,
        Format::QemuCpu => vec![Machines::one(qemu_line::read(bytes, models)?)],
    };
    Machines::finish(&mut machines, name);
    Ok(machines)
}

/// The example of the project's first page, which reads the CPU that it runs on.
#[cfg(all(doctest, target_arch = "x86_64"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
