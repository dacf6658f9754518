//! A file with saved images, and the CPU that saved them.

use std::path::{Path, PathBuf};

use selfsame_cpuid::{Leaves, Regs};
use selfsame_formats::saved::{self, Saved, SavedState};
use selfsame_xstate::{CetControls, ComponentSet, Configurations, Geometry, LinearAddresses, MxcsrMask};

use crate::args::ImageArguments;
use crate::document::{bytes_of, name_of};
use crate::host::load_one;
use crate::problem::Problem;
use crate::sources::Sources;
use crate::why::offsets;

/// A file with saved images.
pub(super) struct ImageFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl ImageFile {
    pub(super) fn of(path: &Path, bytes: Vec<u8>) -> Self {
        Self { path: path.to_owned(), bytes }
    }

    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        if path.is_dir() {
            return Err(Problem::Directory { path: path.to_owned() });
        }
        Ok(Self::of(path, bytes_of(path)?))
    }

    /// What the file is called.
    pub(super) fn name(&self) -> String {
        name_of(&self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The states in the file: all, or the one that is asked for.
    pub(super) fn saved(&self, arguments: &ImageArguments) -> Result<Saved<'_>, Problem> {
        let saved = saved::read(&self.bytes);
        let mut saved = saved.map_err(|source| Problem::Saved { path: self.path.clone(), source })?;
        if let Some(number) = arguments.vcpu {
            let numbers = numbers(&saved);
            saved.states.retain(|state| state.number == number);
            if saved.states.is_empty() {
                let (path, holder) = (self.path.clone(), saved.format.holder());
                return Err(Problem::NoSuchState { path, holder, number, numbers });
            }
        }
        Ok(saved)
    }

    /// The one state in the file, or the one that is asked for.
    pub(super) fn one_state(&self, arguments: &ImageArguments) -> Result<(Saved<'_>, SavedState<'_>), Problem> {
        let saved = self.saved(arguments)?;
        if let [state] = saved.states.as_slice() {
            let state = *state;
            return Ok((saved, state));
        }
        let (path, count, holder) = (self.path.clone(), saved.states.len(), saved.format.holder());
        Err(Problem::SeveralStates { path, count, holder, numbers: numbers(&saved) })
    }

    /// The CPU that saved a state: the host of `--from-host`, or what the file tells.
    pub(super) fn saver(
        &self,
        saved: &Saved<'_>,
        state: &SavedState<'_>,
        arguments: &ImageArguments,
    ) -> Result<Saver, Problem> {
        if let Some(path) = &arguments.from_host {
            let host = HostCpu::load(path)?;
            let evidence = format!("--from-host, {}", host.name);
            return Ok(Saver { cpu: host, evidence, is_certain: true, open: ComponentSet::EMPTY });
        }
        let origin = saved.origin(state).ok_or_else(|| Problem::NoOrigin { path: self.path.clone() })?;
        let is_certain = matches!(origin.evidence, saved::Evidence::LayoutNote | saved::Evidence::Compacted);
        let evidence = origin.evidence.to_string();
        // What the file does not tell is not what an image is refused for: it was a CPU that saved it.
        let (mxcsr_mask, addresses, cet) = (MxcsrMask::AMD, LinearAddresses::Bits57, CetControls::ALL);
        let cpu = HostCpu { name: self.name(), geometry: origin.geometry, mxcsr_mask, addresses, cet };
        Ok(Saver { cpu, evidence, is_certain, open: origin.open })
    }
}

/// The parts of CET that a CPU with these leaves has.
pub(super) fn cet(leaves: &Leaves) -> CetControls {
    let Regs { eax, ebx, ecx, edx } = leaves.get(7, 0);
    CetControls::from_leaf_7([eax, ebx, ecx, edx])
}

/// The numbers of all states, the first of many.
fn numbers(saved: &Saved<'_>) -> String {
    const MANY: usize = 16;
    let mut list: Vec<String> = saved.states.iter().take(MANY).map(|state| state.number.to_string()).collect();
    if saved.states.len() > MANY {
        list.push("...".to_owned());
    }
    list.join(", ")
}

/// The CPU that saved an image.
pub(super) struct Saver {
    pub(super) cpu: HostCpu,
    /// What tells where it keeps components.
    pub(super) evidence: String,
    /// Whether that is known and not only what its vendor always does.
    pub(super) is_certain: bool,
    /// What it may keep elsewhere in the standard format, because nothing tells whose CPU it is.
    pub(super) open: ComponentSet,
}

impl Saver {
    /// The CPU as the host that is to load a standard image, as far as it is known.
    ///
    /// # Errors
    ///
    /// Something in use lies in other places on each vendor's CPUs.
    pub(super) fn as_host(&self, path: &Path, in_use: ComponentSet) -> Result<HostCpu, Problem> {
        let components = in_use & self.open;
        if !components.is_empty() {
            return Err(Problem::OpenPlaces { path: path.to_owned(), components });
        }
        // What is not in use is left out, too: an image as long as one vendor's would tell of that vendor.
        let geometry = self.cpu.geometry.restricted(ComponentSet::ALL - self.open);
        Ok(HostCpu { geometry, ..self.cpu.clone() })
    }
}

/// What of a host's CPU matters for images.
#[derive(Clone)]
pub(super) struct HostCpu {
    pub(super) name: String,
    pub(super) geometry: Geometry,
    pub(super) mxcsr_mask: MxcsrMask,
    pub(super) addresses: LinearAddresses,
    pub(super) cet: CetControls,
}

impl HostCpu {
    /// The host of a dump, or what a policy's guests see.
    pub(super) fn load(path: &Path) -> Result<Self, Problem> {
        let machine = load_one(path, &Sources::default())?;
        Ok(Self::of(&machine.name, &machine.raw()))
    }

    pub(super) fn of(name: &str, leaves: &Leaves) -> Self {
        let mxcsr_mask = if leaves.vendor().is_amd_like() { MxcsrMask::AMD } else { MxcsrMask::COMMON };
        let linear_bits = leaves.get(0x8000_0008, 0).eax >> 8 & 0xFF;
        let addresses = if linear_bits == 57 { LinearAddresses::Bits57 } else { LinearAddresses::Bits48 };
        let geometry = leaves.geometry().usable(offsets(leaves));
        Self { name: name.to_owned(), geometry, mxcsr_mask, addresses, cet: cet(leaves) }
    }

    /// What a hypervisor keeps there.
    pub(super) fn configurations(&self) -> Result<Configurations<'_>, Problem> {
        Configurations::new(&self.geometry).map_err(|_| Problem::NoPlatform)
    }
}
