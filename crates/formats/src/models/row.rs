//! One row of the tables of models.

use selfsame_cpuid::Signature;

/// `GenuineIntel`.
pub(super) const INTEL: [u8; 12] = *b"GenuineIntel";
/// `AuthenticAMD`.
pub(super) const AMD: [u8; 12] = *b"AuthenticAMD";
/// `HygonGenuine`.
pub(super) const HYGON: [u8; 12] = *b"HygonGenuine";
/// `CentaurHauls`: VIA's name, under which Zhaoxin's CPUs go too.
pub(super) const CENTAUR: [u8; 12] = *b"CentaurHauls";

/// A model, by what makes it different from the one that it is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelRow {
    pub(super) name: &'static str,
    /// Other names of the same model: its version, or what it was called before there were versions.
    pub(super) also: &'static [&'static str],
    pub(super) vendor: Option<[u8; 12]>,
    pub(super) signature: Option<Signature>,
    /// A model of an earlier row, whose vendor, signature and features count where the row does not say otherwise.
    pub(super) like: Option<&'static str>,
    /// Canonical names of features, separated by blanks.
    pub(super) with: &'static str,
    pub(super) without: &'static str,
    pub(super) is_vmx_apart: bool,
    /// What QEMU's model of the name has, and lacks, beside libvirt's: libvirt froze its older ones as they were first.
    pub(super) qemu_has: &'static str,
    pub(super) qemu_lacks: &'static str,
}

/// Starts a row: a model without features.
pub(super) const fn row(name: &'static str) -> ModelRow {
    ModelRow {
        name,
        also: &[],
        vendor: None,
        signature: None,
        like: None,
        with: "",
        without: "",
        is_vmx_apart: false,
        qemu_has: "",
        qemu_lacks: "",
    }
}

impl ModelRow {
    pub(super) const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    pub(super) const fn vendor(self, vendor: [u8; 12]) -> Self {
        Self { vendor: Some(vendor), ..self }
    }

    pub(super) const fn signature(self, family: u16, model: u8, stepping: u8) -> Self {
        Self { signature: Some(Signature { family, model, stepping }), ..self }
    }

    pub(super) const fn like(self, like: &'static str) -> Self {
        Self { like: Some(like), ..self }
    }

    pub(super) const fn with(self, with: &'static str) -> Self {
        Self { with, ..self }
    }

    pub(super) const fn without(self, without: &'static str) -> Self {
        Self { without, ..self }
    }

    /// libvirt's elements name the model's VMX controls one by one: those that an element does not name are not there.
    pub(super) const fn vmx_apart(self) -> Self {
        Self { is_vmx_apart: true, ..self }
    }

    pub(super) const fn qemu_has(self, qemu_has: &'static str) -> Self {
        Self { qemu_has, ..self }
    }

    pub(super) const fn qemu_lacks(self, qemu_lacks: &'static str) -> Self {
        Self { qemu_lacks, ..self }
    }
}
