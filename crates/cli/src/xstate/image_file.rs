//! A file with saved images, and the CPU that saved them.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use selfsame_cpuid::{Leaves, Policy, Regs};
use selfsame_formats::saved::{Evidence, Saved, SavedError, SavedFile, SavedState};
use selfsame_xstate::{CetControls, ComponentSet, Configurations, Geometry, LinearAddresses, MxcsrMask};

use super::arguments::ImageArguments;
use super::kept;
use crate::document::{self, name_of};
use crate::finding::Finding;
use crate::host::load_one;
use crate::problem::{Problem, shown};
use crate::sources::Sources;
use crate::terminal::note;

/// A file with saved images.
pub(super) struct ImageFile {
    path: PathBuf,
    file: SavedFile,
    /// The CPU of `--from-host`.
    from_host: Option<Rc<HostCpu>>,
    /// The number of `--vcpu`.
    vcpu: Option<u32>,
}

/// A file as far as it was read to find out what is in it.
pub(super) enum Opened {
    /// There are images in it.
    Saved(Box<ImageFile>),
    /// Something else, with its bytes where they cannot be read again.
    Other(Option<Vec<u8>>),
}

impl ImageFile {
    /// Looks for images in a file of any size. What cannot be read here and there, such as standard input, is read whole.
    pub(super) fn open(path: &Path, arguments: &ImageArguments) -> Result<Opened, Problem> {
        if path.is_dir() {
            return Err(Problem::Directory { path: path.to_owned() });
        }
        let (found, bytes) = match document::regular_file(path)? {
            Some(file) => (SavedFile::read(file), None),
            None => {
                let bytes = document::bytes_of(path)?;
                (SavedFile::read(Cursor::new(&bytes)), Some(bytes))
            }
        };
        let file = match found {
            Ok(file) => file,
            Err(SavedError::Unknown) => return Ok(Opened::Other(bytes)),
            Err(source) => return Err(Problem::Saved { path: path.to_owned(), source }),
        };
        let from_host = arguments.from_host.as_deref().map(HostCpu::load).transpose()?.map(Rc::new);
        Ok(Opened::Saved(Box::new(Self { path: path.to_owned(), file, from_host, vcpu: arguments.vcpu })))
    }

    /// Reads a file that must have images.
    pub(super) fn read(path: &Path, arguments: &ImageArguments) -> Result<Self, Problem> {
        match Self::open(path, arguments)? {
            Opened::Saved(file) => Ok(*file),
            Opened::Other(_) => Err(Problem::Saved { path: path.to_owned(), source: SavedError::Unknown }),
        }
    }

    /// What the file is called.
    pub(super) fn name(&self) -> String {
        name_of(&self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The states in the file: all, or the one that is asked for.
    pub(super) fn saved(&self) -> Result<Saved<'_>, Problem> {
        let mut saved = self.file.saved();
        if let Some(number) = self.vcpu {
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
    pub(super) fn one_state(&self) -> Result<(Saved<'_>, SavedState<'_>), Problem> {
        let saved = self.saved()?;
        if let [state] = saved.states.as_slice() {
            let state = *state;
            return Ok((saved, state));
        }
        let (path, count, holder) = (self.path.clone(), saved.states.len(), saved.format.holder());
        Err(Problem::SeveralStates { path, count, holder, numbers: numbers(&saved) })
    }

    /// Says what is odd about the file, beside an answer.
    pub(super) fn note_findings(&self, saved: &Saved<'_>) {
        for finding in &saved.findings {
            note(&format!("{}: {finding}", shown(&self.path)));
        }
    }

    /// The CPU that saved a state: the host of `--from-host`, or what the file tells.
    pub(super) fn saver(&self, saved: &Saved<'_>, state: &SavedState<'_>) -> Result<Saver, Problem> {
        if let Some(host) = &self.from_host {
            let evidence = format!("--from-host, {}", host.name);
            return Ok(Saver { cpu: Rc::clone(host), evidence, doubt: None, open: ComponentSet::EMPTY });
        }
        let origin = saved.origin(state).ok_or_else(|| Problem::NoOrigin { path: self.path.clone() })?;
        let evidence = origin.evidence.to_string();
        let doubt = match (origin.doubt, origin.evidence) {
            (Some(doubt), _) => {
                let reason = format!("by {evidence}; but {doubt}; --from-host says where components lie");
                Some(Finding::malformed("places", reason).loud())
            }
            (None, Evidence::LayoutNote | Evidence::Compacted) => None,
            (None, _) => {
                let reason = format!("where components lie is told by {evidence}; --from-host says it for certain");
                Some(Finding::malformed("places", reason))
            }
        };
        let what = match origin.evidence {
            Evidence::LayoutNote => "its note NT_X86_XSAVE_LAYOUT",
            _ => "what it tells of its cpu",
        };
        // What the file does not tell is not what an image is refused for: it was a CPU that saved it.
        let mxcsr_mask = state.mxcsr_mask().unwrap_or(MxcsrMask::AMD);
        let (addresses, cet) = (LinearAddresses::Bits57, CetControls::ALL);
        let told_by = format!("{}: {what}", shown(&self.path));
        let (name, geometry) = (self.name(), origin.geometry);
        let cpu = Rc::new(HostCpu { name, told_by, geometry, mxcsr_mask, addresses, cet });
        Ok(Saver { cpu, evidence, doubt, open: origin.open })
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
    pub(super) cpu: Rc<HostCpu>,
    /// What tells where it keeps components.
    pub(super) evidence: String,
    /// That this is only what its vendor always does, or even less certain; loud then.
    pub(super) doubt: Option<Finding>,
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
        Ok(HostCpu { geometry, ..(*self.cpu).clone() })
    }
}

/// What of a host's CPU matters for images.
#[derive(Clone)]
pub(super) struct HostCpu {
    pub(super) name: String,
    /// What tells its geometry, and in which file.
    told_by: String,
    pub(super) geometry: Geometry,
    pub(super) mxcsr_mask: MxcsrMask,
    pub(super) addresses: LinearAddresses,
    pub(super) cet: CetControls,
}

impl HostCpu {
    /// The host of a dump, or what a policy's guests see.
    pub(super) fn load(path: &Path) -> Result<Self, Problem> {
        let machine = load_one(path, &Sources::default())?;
        Ok(Self::of(&machine.name, path, &machine.raw(), kept::geometry(&machine)?))
    }

    /// What a policy's guests see.
    pub(super) fn of_policy(name: &str, path: &Path, policy: &Policy) -> Self {
        Self::of(name, path, &policy.leaves, kept::of_policy(&policy.leaves, policy.kind))
    }

    fn of(name: &str, path: &Path, leaves: &Leaves, geometry: Geometry) -> Self {
        let mxcsr_mask = if leaves.vendor().is_amd_like() { MxcsrMask::AMD } else { MxcsrMask::COMMON };
        let linear_bits = leaves.get(0x8000_0008, 0).eax >> 8 & 0xFF;
        let addresses = if linear_bits == 57 { LinearAddresses::Bits57 } else { LinearAddresses::Bits48 };
        let told_by = format!("{}: leaf 0000000d", shown(path));
        Self { name: name.to_owned(), told_by, geometry, mxcsr_mask, addresses, cet: cet(leaves) }
    }

    /// What a hypervisor keeps there.
    pub(super) fn configurations(&self) -> Result<Configurations<'_>, Problem> {
        let refused = |source| Problem::NoConfigurations { told_by: self.told_by.clone(), source };
        Configurations::new(&self.geometry).map_err(refused)
    }
}
