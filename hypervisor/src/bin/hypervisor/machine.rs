//! What the machine is, found out once: what its CPUs say, what follows from it for extended state and switches.

use core::fmt;

use selfsame_cpuid::{CAPTURED_MSRS, Check, Feature, Host, Kind, Leaves, Policy, Trims, feature, walk};
use selfsame_hypervisor::{Published, msr, set_cr4, write_xcr0};
use selfsame_switch::{PerDomainArea, Platform, Virtualisation, Visibility};
use selfsame_x86::cpuid;
use selfsame_xstate::{
    ConfigurationError, Configurations, Geometry, ReportedSizes, SaveMethod, SizeDisagreement, SizeField, Xcr0, Xss,
    cross_check,
};
use thiserror::Error;

use crate::guest::GuestError;

static RAW: Published<Leaves> = Published::new();
static GEOMETRY: Published<Geometry> = Published::new();
static CONFIGURATIONS: Published<Configurations<'static>> = Published::new();
static PLATFORM: Published<Platform> = Published::new();

const XSS: u32 = 0xda0;

/// The machine. All of its CPUs are alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) raw: &'static Leaves,
    pub(crate) configurations: &'static Configurations<'static>,
    pub(crate) platform: &'static Platform,
}

/// Why nothing can run here.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum MachineError {
    #[error("this CPU has neither VMX nor SVM")]
    NoVirtualisation,
    #[error("CR4.OSXSAVE faults, though CPUID says otherwise")]
    NoOsxsave,
    #[error("extended state: {0}")]
    Configuration(#[from] ConfigurationError),
    #[error("{name} is no feature")]
    Unknown { name: &'static str },
    #[error("a part of the survey was made twice")]
    Twice,
}

impl Machine {
    /// Finds out what the CPU says that this runs on, and switches on what every CPU has on.
    /// `unnamed` are features that it has and does not name.
    pub(crate) fn survey(unnamed: &'static str) -> Result<Self, MachineError> {
        let raw = publish(&RAW, raw(unnamed)?)?;
        let virtualisation = match (has(raw, "vmx"), has(raw, "svm")) {
            (true, _) => Virtualisation::Vmx,
            (_, true) => Virtualisation::Svm,
            _ => return Err(MachineError::NoVirtualisation),
        };
        let geometry = publish(&GEOMETRY, raw.geometry())?;
        let configurations = publish(&CONFIGURATIONS, Configurations::new(geometry)?)?;
        if configurations.method() != SaveMethod::Fxsave {
            set_cr4(CR4_OSXSAVE).map_err(|_| MachineError::NoOsxsave)?;
        }
        let per_domain = PerDomainArea::new(0xffff_8200_0000_0000).ok_or(MachineError::Twice)?;
        // Guests in VMX and SVM exit at CPUID, whatever the CPU has to level.
        let platform = Platform::new(raw, virtualisation, configurations, Visibility::Emulated, per_domain);
        Ok(Self { raw, configurations, platform: publish(&PLATFORM, platform)? })
    }

    /// The default policy of this machine, under an administrator's words. Guests run here as under KVM, with two-dimensional
    /// paging; they get what those get.
    pub(crate) fn policy(&self, trims: &Trims) -> Policy {
        let mut policy = Host::from_hardware(self.raw, Kind::Kvm, trims).default().clone();
        while let Some(feature) = self.not_made(&policy) {
            policy.leaves.remove(feature.place);
        }
        policy
    }

    /// A feature of the policy that this hypervisor would have to make, as others do, and does not.
    fn not_made(&self, policy: &Policy) -> Option<&'static Feature> {
        const NOT_MADE: [&str; 1] = ["umip"];
        let is_missing = |name: &str| has(&policy.leaves, name) && !has(self.raw, name);
        NOT_MADE.iter().find(|name| is_missing(name)).and_then(|name| feature(name))
    }

    /// Takes a policy that was made elsewhere, if a guest with it can run here.
    pub(crate) fn accepted(&self, policy: Policy) -> Result<Policy, GuestError> {
        if let Some(feature) = self.not_made(&policy) {
            return Err(GuestError::NotMade { name: feature.name });
        }
        let host = Host::from_hardware(self.raw, policy.kind, &Trims::NONE);
        let (mut refusals, mut first) = (0, None);
        Check::new(&policy, &host).refusals(|refusal| {
            refusals += 1;
            first.get_or_insert((refusal.what, refusal.rule));
        });
        match first {
            Some((what, rule)) => Err(GuestError::Refused { refusals, what, rule }),
            None => Ok(policy),
        }
    }

    /// Writes what the machine is, and how far its own sizes are those that are computed. Returns whether all are.
    pub(crate) fn report(&self, out: &mut impl fmt::Write) -> Result<bool, fmt::Error> {
        let (configurations, platform) = (self.configurations, self.platform);
        writeln!(out, "cpu {} {:?} {}", self.raw.vendor_name(), platform.virtualisation, configurations.method())?;
        writeln!(out, "xcr0 {:#x} xss {:#x}", platform.xcr0.bits(), platform.xss.bits())?;
        if configurations.method() == SaveMethod::Fxsave {
            return Ok(true);
        }
        let geometry = configurations.geometry();
        let enabled = configurations.host_kernel().max();
        let Ok(check) = cross_check(geometry, enabled, reported_sizes) else {
            writeln!(out, "sizes cannot be computed")?;
            return Ok(false);
        };
        let _ = reported_sizes(Xcr0::RESET, Xss::RESET);
        // Sizes of the compacted format are nothing to a hypervisor that does not use it, and areas that are larger than they
        // had to be hold everything.
        let is_used = |field| field != SizeField::Compacted || configurations.method() == SaveMethod::Xsaves;
        let is_harmless = |size: &SizeDisagreement| !is_used(size.field) || size.reported_bytes <= size.computed_bytes;
        let mut are_right = true;
        for disagreement in check.disagreements() {
            are_right &= is_harmless(&disagreement);
            let words = if is_harmless(&disagreement) { ", which does no harm" } else { "" };
            writeln!(out, "size: {disagreement}{words}")?;
        }
        writeln!(out, "sizes compared in {} states: {}", check.states(), if are_right { "right" } else { "wrong" })?;
        Ok(are_right)
    }
}

/// CR4.OSXSAVE.
pub(crate) const CR4_OSXSAVE: selfsame_hypervisor::Cr4 = selfsame_hypervisor::Cr4::OsXsave;

/// Whether a CPU has a feature, by its canonical name.
pub(crate) fn has(leaves: &Leaves, name: &str) -> bool {
    feature(name).is_some_and(|feature| leaves.is_set(feature.place))
}

fn publish<T>(place: &'static Published<T>, value: T) -> Result<&'static T, MachineError> {
    place.publish(value).map_err(|_| MachineError::Twice)?;
    place.get().ok_or(MachineError::Twice)
}

fn raw(unnamed: &'static str) -> Result<Leaves, MachineError> {
    let mut raw = Leaves::new();
    // What the model has no place for, no policy can show.
    walk(cpuid, |leaf, subleaf, regs| _ = raw.set(leaf, subleaf.unwrap_or(0), regs));
    for index in CAPTURED_MSRS {
        if let Ok(value) = msr::read(index) {
            _ = raw.set_msr(index, value);
        }
    }
    for feature in missing(&raw) {
        raw.remove(feature.place);
    }
    for name in unnamed.split(',').filter(|name| !name.is_empty()) {
        raw.insert(feature(name).ok_or(MachineError::Unknown { name })?.place);
    }
    Ok(raw)
}

/// Features whose registers a switch writes, with one of them. Emulators name features whose registers they do not have:
/// Bochs has BPEXT without its masks.
const REGISTERS_OF: [(&str, u32); 3] = [("bpext", 0xc001_1027), ("spec-ctrl", 0x48), ("xfd", 0x1c4)];

/// The features that the CPU names, and whose registers it does not have.
fn missing(raw: &Leaves) -> impl Iterator<Item = &'static Feature> + use<> {
    let is_missing = REGISTERS_OF.map(|(name, register)| has(raw, name) && msr::read(register).is_err());
    REGISTERS_OF
        .into_iter()
        .zip(is_missing)
        .filter(|(_, is_missing)| *is_missing)
        .filter_map(|((name, _), _)| feature(name))
}

/// What leaf 0xD says while XCR0 and IA32_XSS are these.
fn reported_sizes(xcr0: Xcr0, xss: Xss) -> ReportedSizes {
    // A value that the CPU refuses shows in the sizes.
    _ = write_xcr0(xcr0.bits());
    if cpuid(0xd, 1).eax & 1 << 3 != 0 {
        #[expect(unsafe_code, reason = "UNSAFETY: writes IA32_XSS")]
        // SAFETY: nothing here saves state before the switcher of this CPU has written the host's value.
        let _ = unsafe { msr::write(XSS, xss.bits()) };
    }
    ReportedSizes { standard_bytes: cpuid(0xd, 0).ebx, compacted_bytes: cpuid(0xd, 1).ebx }
}
