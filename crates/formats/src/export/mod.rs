//! Policies out: what an operator pastes into the stack that runs the guest.
//!
//! [`export`] writes a policy as a [`Target`] wants it. No target can say all that a policy says: what is lost, and from
//! which version of QEMU or libvirt on a name is known, is a [`Note`].
//!
//! Targets that begin with a named model take the *nearest* one: of the models of the guest's vendor, the one that
//! differs in the fewest features; of several, the one from which the fewest are taken away, then the newest signature,
//! then the first name.

mod cloud_hypervisor;
mod firecracker;
mod known_names;
mod kubevirt;
mod libvirt;
mod nearest;
mod notes;
mod proxmox;
mod psabi;
mod qemu;
mod xen;

use std::fmt;
use std::str::FromStr;

use selfsame_cpuid::{Kind, Policy};

use crate::models::Models;
use notes::Notes;

pub use notes::Note;

/// What a policy can be written for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Target {
    /// libvirt: `<cpu>` on the nearest named model.
    Libvirt,
    /// libvirt: `<cpu>` that names every feature, so that no later change of its models changes the guest.
    LibvirtRaw,
    /// QEMU: `-cpu` on the nearest named model.
    Qemu,
    /// QEMU: `-cpu base`, with everything said.
    QemuBase,
    /// Proxmox VE: a section of `/etc/pve/virtual-guest/cpu-models.conf`.
    Proxmox,
    /// Xen's `xl`: a line of a domain's configuration.
    Xl,
    /// Xen's featureset, as `xen-cpuid` prints it.
    XenFeatureset,
    /// XAPI's featureset of a pool.
    Xapi,
    /// Firecracker: a custom CPU template, in JSON.
    Firecracker,
    /// Cloud Hypervisor: the argument of `--cpus`.
    CloudHypervisor,
    /// KubeVirt: `spec.domain.cpu`, in YAML.
    KubeVirt,
    /// The level of the x86-64 ABI that programs may be built for.
    PsAbi,
}

impl Target {
    /// All targets.
    pub const ALL: [Self; 12] = [
        Self::Libvirt,
        Self::LibvirtRaw,
        Self::Qemu,
        Self::QemuBase,
        Self::Proxmox,
        Self::Xl,
        Self::XenFeatureset,
        Self::Xapi,
        Self::Firecracker,
        Self::CloudHypervisor,
        Self::KubeVirt,
        Self::PsAbi,
    ];

    /// The target's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Libvirt => "libvirt",
            Self::LibvirtRaw => "libvirt-raw",
            Self::Qemu => "qemu",
            Self::QemuBase => "qemu-base",
            Self::Proxmox => "proxmox",
            Self::Xl => "xl",
            Self::XenFeatureset => "xen-featureset",
            Self::Xapi => "xapi",
            Self::Firecracker => "firecracker",
            Self::CloudHypervisor => "cloud-hypervisor",
            Self::KubeVirt => "kubevirt",
            Self::PsAbi => "psabi",
        }
    }

    /// Whether a whole text has the form that [`export`] gives it for this target: an older export may be replaced by a
    /// newer one, and what people wrote around one may not.
    ///
    /// ```
    /// use selfsame_formats::export::Target;
    ///
    /// assert!(Target::Qemu.is_form_of("-cpu Haswell-v4,+aes\n"));
    /// assert!(!Target::Qemu.is_form_of("-m 4096\n-cpu Haswell-v4,+aes\n"));
    /// ```
    pub fn is_form_of(self, text: &str) -> bool {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let is_one = |prefix: &str| first.starts_with(prefix) && text.lines().count() == 1;
        let is_words = |separator| {
            let is_word = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_one("") && first.contains(separator) && first.split(separator).all(is_word)
        };
        match self {
            Self::Libvirt | Self::LibvirtRaw => {
                first.starts_with("<!-- ")
                    && lines.next() == Some(libvirt::OPENING)
                    && text.trim_end().ends_with("</cpu>")
            }
            Self::Qemu | Self::QemuBase => is_one("-cpu "),
            // Its file has a section of each model: only one that is alone may be replaced.
            Self::Proxmox => first.starts_with("cpu-model: ") && lines.all(|line| line.starts_with("    ")),
            Self::Xl => is_one("cpuid = \"host") || is_one("cpuid = [\"0x"),
            Self::XenFeatureset => is_words(':'),
            Self::Xapi => is_words('-'),
            Self::Firecracker => match serde_json::from_str(text) {
                Ok(serde_json::Value::Object(members)) => members.keys().all(|key| key.ends_with("_modifiers")),
                _ => false,
            },
            Self::CloudHypervisor => is_one("--cpus "),
            Self::KubeVirt => {
                text.starts_with("spec:\n  domain:\n    cpu:\n") && lines.skip(2).all(|line| line.starts_with("      "))
            }
            Self::PsAbi => is_one("x86-64-v"),
        }
    }

    /// Whether it runs guests of a kind.
    const fn runs(self, kind: Kind) -> bool {
        match self {
            Self::Xl | Self::XenFeatureset | Self::Xapi => kind.is_xen(),
            Self::PsAbi => true,
            _ => !kind.is_xen(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name is not that of a [`Target`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown target: known are {}", Target::ALL.map(Target::name).join(", "))]
pub struct UnknownTarget;

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        Self::ALL.into_iter().find(|target| target.name() == text).ok_or(UnknownTarget)
    }
}

/// A policy as a target wants it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Export {
    /// What the target reads, with a line feed at its end.
    pub text: String,
    /// What the text does not say, or says only to some versions.
    pub notes: Vec<Note>,
}

/// Why a policy cannot be written for a target at all.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The target runs no such guests.
    #[error(
        "{target} runs no {kind} guests: make the policy with --kind {}",
        if kind.is_xen() { "kvm" } else { "hvm or --kind pv" }
    )]
    Kind {
        /// The target.
        target: Target,
        /// The kind that the policy is for.
        kind: Kind,
    },
    /// The target begins with a named model, and the vendor has none.
    #[error("{target} begins with a named model, and knows none of vendor {vendor:?}; qemu-base needs none")]
    NoModel {
        /// The target.
        target: Target,
        /// The vendor's bytes.
        vendor: String,
    },
    /// The guest lacks what every x86-64 has.
    #[error("below x86-64-v1: without {}", missing.join(", "))]
    BelowBaseline {
        /// The features of x86-64-v1 that it lacks.
        missing: Vec<&'static str>,
    },
}

/// Writes a policy for a target.
///
/// `name` is what people call the policy; `models` tells what names of models mean to libvirt. What they mean to QEMU is
/// known ([`Models::known`]).
///
/// ```
/// use selfsame_cpuid::{Kind, Policy, Regs};
/// use selfsame_formats::Models;
/// use selfsame_formats::export::{Target, export};
///
/// let mut policy = Policy::empty(Kind::Kvm);
/// policy.leaves.set(0, 0, Regs::new(1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69))?;
/// policy.leaves.set(1, 0, Regs::new(0x106a5, 0, 0, 0x0780_0131))?;
/// let line = export(&policy, "small", Target::QemuBase, Models::known()).unwrap().text;
/// assert!(line.starts_with("-cpu base,vendor=GenuineIntel,family=6,model=26,stepping=5,"), "{line}");
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
///
/// # Errors
///
/// The target runs no guests of the policy's kind, has no model of its vendor, or no word for so little.
pub fn export(policy: &Policy, name: &str, target: Target, models: &Models) -> Result<Export, ExportError> {
    if !target.runs(policy.kind) {
        return Err(ExportError::Kind { target, kind: policy.kind });
    }
    let mut notes = Notes::default();
    let no_model = || ExportError::NoModel { target, vendor: policy.leaves.vendor_name().to_string() };
    let text = match target {
        Target::Libvirt => libvirt::on_nearest(policy, name, models, &mut notes).ok_or_else(no_model)?,
        Target::LibvirtRaw => libvirt::raw(policy, name, models, &mut notes).ok_or_else(no_model)?,
        Target::Qemu => qemu::on_nearest(policy, &mut notes).ok_or_else(no_model)?,
        Target::QemuBase => qemu::on_base(policy, &mut notes),
        Target::Proxmox => proxmox::section(policy, name, &mut notes).ok_or_else(no_model)?,
        Target::Xl => xen::xl(policy, &mut notes),
        Target::XenFeatureset => xen::words(policy, ":", &mut notes),
        Target::Xapi => xen::words(policy, "-", &mut notes),
        Target::Firecracker => firecracker::template(policy, &mut notes),
        Target::CloudHypervisor => cloud_hypervisor::cpus(policy, &mut notes),
        Target::KubeVirt => kubevirt::cpu(policy, models, &mut notes).ok_or_else(no_model)?,
        Target::PsAbi => psabi::level(policy, &mut notes).map_err(|missing| ExportError::BelowBaseline { missing })?,
    };
    Ok(Export { text, notes: notes.into_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_read_back_from_its_name() {
        for target in Target::ALL {
            assert_eq!(target.name().parse(), Ok(target));
        }
        assert_eq!("vmware".parse::<Target>(), Err(UnknownTarget));
    }

    #[test]
    fn targets_refuse_kinds_of_guests_that_they_do_not_run() {
        for kind in Kind::ALL {
            for target in Target::ALL.into_iter().filter(|target| !target.runs(kind)) {
                let refused = export(&Policy::empty(kind), "none", target, Models::known());
                assert_eq!(refused, Err(ExportError::Kind { target, kind }));
            }
        }
    }
}
