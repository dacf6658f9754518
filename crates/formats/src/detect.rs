//! Which format a file has.

use std::fmt;
use std::str::FromStr;

use selfsame_cpuid::text::looks_like;

use crate::error::UnknownFormat;
use crate::scan::{self, Line};
use crate::{cpuid_raw, cpuinfo, instlatx64, kvm_json, qemu_line, xen_policy, xen_words};

/// A format that [`read`](crate::read) knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Format {
    /// The text that AIDA64 and EVEREST write, as collected by InstLatx64.
    InstLatX64,
    /// What Todd Allen's `cpuid -r` writes.
    CpuidRaw,
    /// Selfsame's own capture.
    Capture,
    /// Linux's `/proc/cpuinfo`.
    ProcCpuinfo,
    /// A featureset of Xen or XAPI: words in hexadecimal.
    XenFeatureset,
    /// What `xen-cpuid -p` prints.
    XenPolicy,
    /// QEMU's answer to `query-cpu-model-expansion`.
    Qmp,
    /// KVM's CPUID entries as JSON.
    KvmJson,
    /// The raw dumps of libvirt's tests: `<cpudata arch='x86'>`.
    LibvirtCpuData,
    /// libvirt's XML with a `<cpu>` in it: capabilities, domain capabilities, a domain, or `<cpu>` elements alone.
    LibvirtCpu,
    /// QEMU's `-cpu`, alone or in a whole command line.
    QemuCpu,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 11] = [
        Self::InstLatX64,
        Self::CpuidRaw,
        Self::Capture,
        Self::ProcCpuinfo,
        Self::XenFeatureset,
        Self::XenPolicy,
        Self::Qmp,
        Self::KvmJson,
        Self::LibvirtCpuData,
        Self::LibvirtCpu,
        Self::QemuCpu,
    ];

    /// The format's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InstLatX64 => "instlatx64",
            Self::CpuidRaw => "cpuid-r",
            Self::Capture => "capture",
            Self::ProcCpuinfo => "cpuinfo",
            Self::XenFeatureset => "xen-featureset",
            Self::XenPolicy => "xen-cpuid",
            Self::Qmp => "qmp",
            Self::KvmJson => "kvm-json",
            Self::LibvirtCpuData => "libvirt-cpudata",
            Self::LibvirtCpu => "libvirt-cpu",
            Self::QemuCpu => "qemu-cpu",
        }
    }

    /// Whether it tells what the hardware has, not what somebody offers to guests. What Xen's formats tell of offers has
    /// [`Source::Xen`](crate::Source::Xen) as its source.
    pub const fn is_hardware(self) -> bool {
        match self {
            Self::InstLatX64
            | Self::CpuidRaw
            | Self::Capture
            | Self::ProcCpuinfo
            | Self::XenFeatureset
            | Self::XenPolicy
            | Self::LibvirtCpuData => true,
            Self::Qmp | Self::KvmJson | Self::LibvirtCpu | Self::QemuCpu => false,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(UnknownFormat)
    }
}

/// Finds a file's format by its first row, wherever it is; a policy counts as a capture, and so does what looks like a
/// damaged one ([`looks_like`]).
pub fn detect(bytes: &[u8]) -> Option<Format> {
    if looks_like(bytes) {
        return Some(Format::Capture);
    }
    if bytes.trim_ascii_start().starts_with(b"{") || bytes.trim_ascii_start().starts_with(b"[") {
        return Some(json(bytes));
    }
    if bytes.trim_ascii_start().starts_with(b"<") {
        return xml_format(bytes);
    }
    scan::lines(bytes).find_map(|Line { text, .. }| {
        if instlatx64::is_row(text) {
            Some(Format::InstLatX64)
        } else if cpuid_raw::is_row(text) {
            Some(Format::CpuidRaw)
        } else if xen_policy::is_row(text) {
            Some(Format::XenPolicy)
        } else if xen_words::is_row(text) {
            Some(Format::XenFeatureset)
        } else if cpuinfo::is_row(text) {
            Some(Format::ProcCpuinfo)
        } else if qemu_line::is_row(text) {
            Some(Format::QemuCpu)
        } else {
            None
        }
    })
}

/// Which JSON it is: what is neither is taken for QEMU's, whose reader says what is wrong.
fn json(bytes: &[u8]) -> Format {
    let first = serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>().next();
    if first.and_then(Result::ok).is_some_and(|value| kvm_json::is_list(&value)) {
        Format::KvmJson
    } else {
        Format::Qmp
    }
}

/// Which of libvirt's documents an XML file is, by any of its tags.
fn xml_format(bytes: &[u8]) -> Option<Format> {
    const TAGS: [(&str, Format); 5] = [
        ("<cpudata", Format::LibvirtCpuData),
        ("<cpu", Format::LibvirtCpu),
        ("<capabilities", Format::LibvirtCpu),
        ("<domainCapabilities", Format::LibvirtCpu),
        ("<domain", Format::LibvirtCpu),
    ];
    let has_tag = |tag: &str| {
        let ends = |at: usize| bytes.get(at + tag.len()).is_some_and(|byte| b" \t\r\n/>".contains(byte));
        memchr::memmem::find_iter(bytes, tag).any(ends)
    };
    TAGS.iter().find(|(tag, _)| has_tag(tag)).map(|(_, format)| *format)
}

#[test]
fn a_format_is_known_by_its_first_row_after_any_other_text() {
    assert_eq!(detect(b"# notes\nCPU 3:\n   0x00000000 0x00: eax=0x1"), Some(Format::CpuidRaw));
    assert_eq!(detect(b"CPUID Revision : 1\nCPUID 00000000: 0"), Some(Format::InstLatX64));
    assert_eq!(detect(b"selfsame 1 policy\n"), Some(Format::Capture));
    assert_eq!(detect(b"\nselfsame 1 policy\n"), None);
    assert_eq!(detect(b"processor : 0\nflags : fpu\n"), Some(Format::ProcCpuinfo));
    assert_eq!(detect(b"HVM Max 00000001:00000002:00000003:00000004\n"), Some(Format::XenFeatureset));
    assert_eq!(detect(b"00000001-00000002-00000003-00000004-00000005"), Some(Format::XenFeatureset));
    assert_eq!(
        detect(b"Raw policy:\n  00000000:ffffffff -> 00000010:68747541:444d4163:69746e65"),
        Some(Format::XenPolicy)
    );
    assert_eq!(detect(b"#!/bin/sh\nexec qemu-system-x86_64 -m 4G -cpu EPYC,-svm\n"), Some(Format::QemuCpu));
    assert_eq!(detect(b"\n{\"return\": {}}"), Some(Format::Qmp));
    assert_eq!(detect(b"[{\"function\": 0}]"), Some(Format::KvmJson));
}
