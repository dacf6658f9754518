//! Which packages are unpacked for what, as one table.

use super::version::Version;
use super::{bochs, qemu, virsh, xen};

/// The Debian suites that are tried, in this order: testing moves on less than unstable, and the stable release of 2025
/// (trixie) has QEMU but a Bochs that is too old.
const SUITES: &[&str] = &["forky", "sid", "trixie"];

/// Packages that are unpacked together, with all that they depend on, into a folder of their own.
#[derive(Debug)]
pub(crate) struct Set {
    /// The word for it, also the name of its folder.
    pub(crate) word: &'static str,
    /// What it is, for people.
    pub(crate) name: &'static str,
    /// The program, under each name it goes by.
    pub(crate) programs: &'static [&'static str],
    /// The package whose version counts.
    pub(crate) package: &'static str,
    /// The oldest version that will do.
    pub(crate) least: Version,
    /// What else is unpacked.
    pub(crate) more_packages: &'static [&'static str],
    /// The suites that are tried, in this order.
    pub(crate) suites: &'static [&'static str],
}

/// `bochs-term` is the display library that needs no display.
pub(crate) const BOCHS: Set = Set {
    word: "bochs",
    name: "Bochs",
    programs: &["bochs-bin", "bochs"],
    package: "bochs",
    least: bochs::LEAST,
    more_packages: &["bochs-term"],
    suites: SUITES,
};

/// Only the system emulator of x86, without a display.
pub(crate) const QEMU: Set = Set {
    word: "qemu",
    name: "QEMU",
    programs: &["qemu-system-x86_64"],
    package: "qemu-system-x86",
    least: qemu::LEAST,
    more_packages: &[],
    suites: SUITES,
};

/// virsh with its schema and its map of models, which lie in the package that libvirt's parts have in common.
pub(crate) const LIBVIRT: Set = Set {
    word: "libvirt",
    name: "virsh",
    programs: &["virsh"],
    package: "libvirt-clients",
    least: virsh::LEAST,
    more_packages: &["libvirt-common"],
    suites: SUITES,
};

/// Xen, its tools, a kernel for dom0, and a shell with all that a dom0 needs besides. Only the names of one release have
/// Xen's version in them: trixie's.
pub(crate) const XEN: Set = Set {
    word: "xen",
    name: "Xen",
    programs: &["xen-detect"],
    package: "xen-utils-4.20",
    least: xen::LEAST,
    more_packages: &["xen-hypervisor-4.20-amd64", "linux-image-amd64", "busybox-static"],
    suites: &["trixie"],
};

impl Set {
    /// What is asked of apt.
    pub(crate) fn packages(&self) -> Vec<&'static str> {
        std::iter::once(self.package).chain(self.more_packages.iter().copied()).collect()
    }
}
