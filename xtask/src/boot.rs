//! Boots the reference hypervisor, with guests that verify their own state, and reads what it says.

mod scenario;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use selfsame_cpuid::text::{Document, Statement, TextWriter};
use selfsame_cpuid::{Host, Kind, Policy, PolicyFile, TrimError, Trims, VcpuView, feature, walk};
use selfsame_hypervisor::{EmbedError, embed_parameters};
use thiserror::Error;

pub(crate) use self::scenario::{SCENARIOS, Scenario, Vehicle};

use crate::bare::{self, BareError, BareProgram};
use crate::capture_models::{CaptureModelsError, Payload};
use crate::emulator::{Bochs, Boot, Clock, Emulators, Machine, Missing, Qemu, RunError, Serial, Start};
use crate::image::{self, ImageError};
use crate::report::{RED, duration_text};
use crate::workspace::Workspace;

/// The programs.
const GUEST: &str = "guest";
const HYPERVISOR: &str = "hypervisor";
/// Names the guest's disk image to the hypervisor's build.
const GUEST_IMAGE_VARIABLE: &str = "SELFSAME_GUEST_IMAGE";

const PASSED: &str = "passed";

/// Many times what a scenario takes on a quiet machine.
const LIMIT: Duration = Duration::from_secs(240);

/// Why a scenario did not pass.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum BootError {
    #[error(transparent)]
    Build(#[from] BareError),
    #[error("the parameters: {0}")]
    Parameters(#[from] EmbedError),
    #[error("the image with its parameters: {0}")]
    Pack(#[from] ImageError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Capture(#[from] CaptureModelsError),
    #[error("the scenario's cpuid= words: {0}")]
    Trims(#[from] TrimError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{0}")]
    Missing(String),
    #[error("{scenario} on {machine}: {reason}; it says:\n{serial}")]
    Said { scenario: &'static str, machine: String, reason: String, serial: String },
    #[error("{failed} of {all} scenarios failed; why is said above")]
    Failed { failed: usize, all: usize },
}

impl From<&Missing> for BootError {
    fn from(missing: &Missing) -> Self {
        Self::Missing(missing.to_string())
    }
}

/// A machine as `--cpu` names it: `MODEL[,+FEATURE][,-FEATURE]`; `qemu:MODEL` is one of QEMU's.
#[derive(Clone, Debug)]
pub(crate) struct CpuWords {
    vehicle: Vehicle,
    model: String,
    add: Vec<String>,
    remove: Vec<String>,
}

impl FromStr for CpuWords {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let model = words.next().filter(|model| !model.is_empty()).ok_or("expected MODEL[,+FEATURE][,-FEATURE]")?;
        let (vehicle, model) = match model.strip_prefix("qemu:") {
            Some(model) => (Vehicle::Qemu, model),
            None => (Vehicle::Bochs, model),
        };
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        for word in words {
            match (word.strip_prefix('+'), word.strip_prefix('-')) {
                (Some(feature), _) => add.push(feature.to_owned()),
                (_, Some(feature)) => remove.push(feature.to_owned()),
                _ => return Err(format!("{word}: expected +FEATURE or -FEATURE")),
            }
        }
        Ok(Self { vehicle, model: model.to_owned(), add, remove })
    }
}

/// The hypervisor, built for bare metal with its guest in it.
pub(crate) struct Hypervisor {
    program: BareProgram,
    folder: PathBuf,
}

impl Hypervisor {
    /// Builds it.
    ///
    /// # Errors
    /// When it or its guest does not build.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self, BootError> {
        let guest = bare::build(workspace, GUEST)?;
        let variable = [(GUEST_IMAGE_VARIABLE, guest.image.as_path())];
        let program = bare::build_with(workspace, HYPERVISOR, &variable)?;
        let folder = workspace.target_dir().join("boot");
        fs::create_dir_all(&folder).map_err(in_file(&folder))?;
        Ok(Self { program, folder })
    }

    /// Writes the program with parameters: the ELF file, and the disk image of it.
    fn with_parameters(&self, name: &str, text: &str) -> Result<BareProgram, BootError> {
        let mut elf = fs::read(&self.program.elf).map_err(in_file(&self.program.elf))?;
        embed_parameters(&mut elf, text)?;
        let path = self.folder.join(name);
        let disk = path.with_extension("img");
        fs::write(&disk, image::pack(&elf)?).map_err(in_file(&disk))?;
        fs::write(&path, elf).map_err(in_file(&path))?;
        Ok(BareProgram { elf: path, image: disk })
    }
}

/// Where scenarios run.
struct Vehicles<'a> {
    bochs: Result<&'a Bochs, &'a Missing>,
    qemu: Result<&'a Qemu, &'a Missing>,
}

impl Vehicles<'_> {
    fn run(&self, vehicle: Vehicle, program: &BareProgram, machine: &Machine<'_>) -> Result<Serial, BootError> {
        Ok(match vehicle {
            Vehicle::Bochs => self.bochs?.run(&program.image, machine, LIMIT)?,
            Vehicle::Qemu => {
                let start = Start { boot: Boot::Kernel(&program.elf), clock: Clock::Instructions, more: &[] };
                match self.qemu?.run(start, machine, LIMIT) {
                    // A failure has a status of its own, and says why in what it wrote.
                    Err(error) if !error.serial.as_str().is_empty() => error.serial,
                    outcome => outcome?,
                }
            }
        })
    }
}

/// Runs the scenarios of one vehicle.
///
/// # Errors
/// When one does not pass.
pub(crate) fn on(workspace: &Workspace, emulators: &Emulators, vehicle: Vehicle) -> Result<(), BootError> {
    let scenarios = SCENARIOS.iter().filter(|scenario| scenario.vehicle == vehicle);
    run_all(workspace, emulators, scenarios, None)
}

/// Runs a scenario by its name, or all; on `cpu` instead of their own machine if one is named.
///
/// # Errors
/// When one does not pass.
pub(crate) fn boot(
    workspace: &Workspace,
    emulators: &Emulators,
    name: Option<&str>,
    cpu: Option<&CpuWords>,
) -> Result<(), BootError> {
    let default = if cpu.is_some() { Some("two-guests") } else { None };
    let is_meant = |scenario: &&Scenario| name.or(default).is_none_or(|name| scenario.name == name);
    run_all(workspace, emulators, SCENARIOS.iter().filter(is_meant), cpu)
}

fn run_all(
    workspace: &Workspace,
    emulators: &Emulators,
    scenarios: impl Iterator<Item = &'static Scenario>,
    cpu: Option<&CpuWords>,
) -> Result<(), BootError> {
    let vehicles = Vehicles { bochs: emulators.bochs(), qemu: emulators.qemu() };
    let hypervisor = Hypervisor::build(workspace)?;
    let scenarios: Vec<&Scenario> = scenarios.collect();
    let (mut failed, all) = (0, scenarios.len());
    for scenario in scenarios {
        let start = Instant::now();
        let outcome = run(workspace, &hypervisor, &vehicles, scenario, cpu);
        let took = duration_text(start.elapsed());
        match outcome {
            Ok(serial) => {
                anstream::println!("ok      {} ({took})", scenario.name);
                for line in serial.lines().filter(|line| is_report(line) || all == 1) {
                    anstream::println!("          {line}");
                }
            }
            Err(error) => {
                failed += 1;
                anstream::println!("{RED}FAILED{RED:#}  {} ({took}): {error}", scenario.name);
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(BootError::Failed { failed, all }) }
}

/// Whether a line is one of the report, and not a guest's.
fn is_report(line: &str) -> bool {
    ["cpu ", "guest ", "executed "].iter().any(|beginning| line.starts_with(beginning))
}

fn run(
    workspace: &Workspace,
    hypervisor: &Hypervisor,
    vehicles: &Vehicles<'_>,
    scenario: &'static Scenario,
    cpu: Option<&CpuWords>,
) -> Result<Serial, BootError> {
    let words = |words: &'static [&'static str]| words.to_vec();
    let (add, remove) = match cpu {
        Some(cpu) => (cpu.add.iter().map(String::as_str).collect(), cpu.remove.iter().map(String::as_str).collect()),
        None => (words(scenario.add), words(scenario.remove)),
    };
    let (vehicle, model) = cpu.map_or((scenario.vehicle, scenario.model), |cpu| (cpu.vehicle, cpu.model.as_str()));
    let machine = Machine { add: &add, remove: &remove, cpus: 2, ..Machine::new(model) };
    let said = |reason: String, serial: &Serial| BootError::Said {
        scenario: scenario.name,
        machine: machine.to_string(),
        reason,
        serial: serial.as_str().to_owned(),
    };

    let policy = if scenario.compares_cpuid {
        let payload = Payload::build(workspace)?;
        let dump = match vehicle {
            Vehicle::Bochs => payload.capture_on_bochs(vehicles.bochs?, &machine)?,
            Vehicle::Qemu => payload.capture_on_qemu(vehicles.qemu?, &machine)?,
        };
        let trims: Trims = if scenario.trims.is_empty() { Trims::NONE } else { scenario.trims.parse()? };
        let mut raw = dump.raw().leaves;
        scenario.unnamed.iter().filter_map(|name| feature(name)).for_each(|feature| raw.insert(feature.place));
        Some(Host::from_hardware(&raw, Kind::Kvm, &trims).default().clone())
    } else {
        None
    };
    let mut text = scenario.parameters.to_owned();
    if !scenario.unnamed.is_empty() {
        text += &format!("unnamed {}\n", scenario.unnamed.join(","));
    }
    if let Some(policy) = &policy {
        text += &format!("policy {}\n{}", scenario::LISTING_GUEST, policy_file(policy));
    }
    let program = hypervisor.with_parameters(scenario.name, &text)?;
    let serial = vehicles.run(vehicle, &program, &machine)?;
    if serial.last_line() != Some(PASSED) {
        return Err(said("its last line is not `passed`".to_owned(), &serial));
    }
    let mut lines = serial.lines();
    let missing = scenario.says.iter().find(|words| !lines.any(|line| line.contains(**words)));
    drop(lines);
    if let Some(missing) = missing {
        return Err(said(format!("no line says `{missing}` where one should"), &serial));
    }
    if let Some(policy) = &policy {
        let (expected, found) = (listing(policy), listed(&serial));
        if expected != found {
            let missing: Vec<&str> = expected.lines().filter(|line| !found.contains(line)).collect();
            let reason =
                format!("its guest reads another CPUID than the policy's; of the policy's, it lacks {missing:#?}");
            return Err(said(reason, &serial));
        }
        anstream::println!(
            "        {}: a guest reads {} leaves as its policy file has them",
            machine,
            found.lines().count()
        );
    }
    Ok(serial)
}

/// The file that `selfsame policy` writes.
fn policy_file(policy: &Policy) -> String {
    let mut text = String::new();
    let file = PolicyFile { name: "boot", source: None, context: None, policy: policy.clone() };
    // Writing to a string does not fail.
    let _ = file.write(&mut text);
    text
}

/// What a guest reads of a policy when it has switched everything on, leaf by leaf, in the capture's grammar.
fn listing(policy: &Policy) -> String {
    let leaves = &policy.leaves;
    let view = VcpuView {
        xcr0: if leaves.xcr0().is_empty() { VcpuView::RESET.xcr0 } else { leaves.xcr0() },
        xss: leaves.xss(),
        has_osxsave: true,
        has_pke: true,
        is_in_64_bit_mode: true,
        ..VcpuView::RESET
    };
    let mut text = String::new();
    let Ok(mut rows) = TextWriter::begin(&mut text, Document::Capture) else { return String::new() };
    walk(
        |leaf, subleaf| policy.cpuid(leaf, subleaf, &view),
        |leaf, subleaf, regs| {
            // As above.
            let _ = rows.statement(&Statement::Leaf(leaf, subleaf, regs));
        },
    );
    text.split_inclusive('\n').skip(1).collect()
}

/// What the guest has listed.
fn listed(serial: &Serial) -> String {
    let prefix = format!("{}: ", scenario::LISTING_GUEST);
    let lines = serial.lines().filter_map(|line| line.strip_prefix(&prefix));
    let rows = lines.skip_while(|line| *line != "cpuid begin").skip(1).take_while(|line| *line != "cpuid end");
    rows.flat_map(|row| [row, "\n"]).collect()
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> BootError {
    let path = path.to_owned();
    move |source| BootError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_a_model_with_features_added_and_removed() {
        let cpu: CpuWords = "ryzen,+pku,-xsaves,+cet".parse().unwrap();
        assert_eq!((cpu.vehicle, cpu.model.as_str()), (Vehicle::Bochs, "ryzen"));
        assert_eq!((cpu.add, cpu.remove), (vec!["pku".to_owned(), "cet".to_owned()], vec!["xsaves".to_owned()]));
        assert_eq!("qemu:max".parse::<CpuWords>().unwrap().vehicle, Vehicle::Qemu);
        assert!("".parse::<CpuWords>().is_err());
        assert!("ryzen,pku".parse::<CpuWords>().is_err());
    }

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_parameters_that_fit() {
        for (number, scenario) in SCENARIOS.iter().enumerate() {
            assert!(SCENARIOS.iter().skip(number + 1).all(|other| other.name != scenario.name), "{}", scenario.name);
            assert!(scenario.parameters.len() < selfsame_hypervisor::MAX_TEXT_BYTES);
            assert!(!scenario.compares_cpuid || scenario.parameters.contains("print=cpuid"));
        }
    }
}
