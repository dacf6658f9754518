//! Bochs: runs a disk image on one of its CPU models.

mod log;

use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::bounded::{self, answer};
use super::machine::Machine;
use super::packages::Set;
use super::program::Program;
use super::run_error::{Reason, RunError, file_reason};
use super::run_folder::RunFolder;
use super::serial::Serial;
use super::version::Version;
use super::{Emulator, packages};

/// The oldest Bochs whose XSAVES, CET, PKU and SVM can be relied on.
pub(crate) const LEAST: Version = Version { major: 3, minor: 1 };

/// The disk geometry that Bochs finds by itself: whole cylinders of 16 heads with 63 sectors of 512 bytes.
const CYLINDER_BYTES: u64 = 16 * 63 * 512;

/// How often the log is looked at while the image runs.
const LOOK: Duration = Duration::from_millis(100);

/// A Bochs that can run images.
#[derive(Debug)]
pub(crate) struct Bochs {
    program: Program,
    version: Version,
    banner: String,
    models: Vec<String>,
    pub(super) runs_dir: PathBuf,
}

impl Emulator for Bochs {
    const SET: Set = packages::BOCHS;

    fn probe(program: Program, runs_dir: &Path) -> Option<Self> {
        let mut command = Self::command(&program);
        command.args(["--help", "cpu"]);
        let text = answer(command)?;
        let version = Version::after(&text, "Bochs x86 Emulator ")?;
        Some(Self { program, version, banner: banner(&text), models: models(&text), runs_dir: runs_dir.to_owned() })
    }

    fn version(&self) -> Version {
        self.version
    }

    /// It runs without a display through a plugin that Debian packs apart (`bochs-term`).
    fn lack(&self) -> Option<&'static str> {
        let mut command = Self::command(&self.program);
        // The second directive is an error on purpose: it ends Bochs where it would start.
        command.args(["-n", "-q", "display_library: term", "cpu: model=."]);
        let has_term =
            answer(command).is_some_and(|text| text.contains(log::PANIC) && !text.contains("display library"));
        (!has_term).then_some("the display library `term`")
    }
}

/// What Bochs says of itself.
impl fmt::Display for Bochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.banner)
    }
}

impl Bochs {
    /// The program.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// The CPU models it knows, in its own order.
    pub(crate) fn models(&self) -> &[String] {
        &self.models
    }

    /// What it is, in one word: `bochs-3.1`.
    pub(crate) fn word(&self) -> String {
        format!("bochs-{}", self.version)
    }

    /// Boots `disk_image` on `machine`, and returns what it wrote to COM1 once it has asked for the end by writing
    /// `Shutdown` to port 0x8900.
    ///
    /// The image is copied first, so that it may be of any length and several runs may use it at once. Two runs of one
    /// image on one machine give the same bytes.
    ///
    /// # Errors
    /// When Bochs refuses the machine, the image faults for good or does not end within `limit`, or nothing came out.
    pub(crate) fn run(&self, disk_image: &Path, machine: &Machine<'_>, limit: Duration) -> Result<Serial, RunError> {
        let mut serial = Serial::default();
        match self.run_to(&mut serial, disk_image, machine, limit) {
            Ok(()) => Ok(serial),
            Err(reason) => Err(RunError { machine: format!("Bochs {machine}"), reason, serial }),
        }
    }

    fn run_to(
        &self,
        serial: &mut Serial,
        disk_image: &Path,
        machine: &Machine<'_>,
        limit: Duration,
    ) -> Result<(), Reason> {
        let folder = RunFolder::create(&self.runs_dir).map_err(file_reason(&self.runs_dir))?;
        folder.copy_in(disk_image, "disk.img", CYLINDER_BYTES).map_err(file_reason(disk_image))?;
        let control = folder.file("control");
        fs::write(&control, run_control(machine)).map_err(file_reason(&control))?;
        let mut command = Self::command(&self.program);
        command.args(["-q", "-f", "control"]).current_dir(folder.path());
        let log = folder.file("log");
        let (start, mut looked) = (Instant::now(), Instant::now());
        let has_patience = || {
            let is_time_to_look = looked.elapsed() >= LOOK;
            if is_time_to_look {
                looked = Instant::now();
            }
            start.elapsed() < limit && !(is_time_to_look && log::ends_in_triple_fault(&log))
        };
        let not_started = |source| Reason::NotStarted { program: self.program.to_string(), source };
        let (end, said) = bounded::output(command, has_patience).map_err(not_started)?;

        *serial = Serial::from_bytes(&fs::read(folder.file("serial")).unwrap_or_default());
        // Until the log file is open, Bochs writes to its standard streams.
        let logged = fs::read(&log).unwrap_or_default();
        log::judge(end, &(said + &String::from_utf8_lossy(&logged)), limit)?;
        if serial.as_str().is_empty() { Err(Reason::NoSerial) } else { Ok(()) }
    }

    /// The command without arguments. `TERM` is for the display library, which wants one although it shows nothing.
    fn command(program: &Program) -> Command {
        let mut command = program.command();
        command.env("TERM", "vt100");
        if let Some(root) = program.root() {
            command.env("LTDL_LIBRARY_PATH", Program::library_dir(root).join("bochs/plugins"));
            command.env("BXSHARE", root.join("usr/share/bochs"));
        }
        command
    }
}

/// The lines of the banner, between two lines of `=`, in one.
fn banner(text: &str) -> String {
    let block = text.lines().skip_while(|line| !line.starts_with("====")).skip(1);
    let lines: Vec<&str> = block.take_while(|line| !line.starts_with("====")).map(str::trim).collect();
    lines.join(", ")
}

/// The models in the answer to `--help cpu`: the block of lines after the title, up to the next blank line.
fn models(text: &str) -> Vec<String> {
    let block = text.lines().map(str::trim).skip_while(|line| *line != "Supported CPU models:").skip(1);
    block.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The run-control file; paths are relative to the folder of the run.
///
/// Few emulated instructions a second make a byte on the serial port cheap, and change no speed. `ignore_bad_msrs=0`
/// makes an unknown MSR a #GP as on hardware. The clock is fixed, so that equal runs are equal.
fn run_control(machine: &Machine<'_>) -> String {
    let mut cpu = format!("cpu: model={}, count={}, ips=10000000", machine.model, machine.cpus);
    for (directive, names) in [("add_features", machine.add), ("exclude_features", machine.remove)] {
        if !names.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(cpu, ", {directive}=\"{}\"", names.join(" "));
        }
    }
    let memory_mib = machine.memory_mib;
    format!(
        r#"{cpu}, reset_on_triple_fault=0, ignore_bad_msrs=0
megs: {memory_mib}
romimage: file="$BXSHARE/BIOS-bochs-latest", options=fastboot
vgaromimage: file="$BXSHARE/VGABIOS-lgpl-latest"
ata0-master: type=disk, path=disk.img, mode=flat
boot: disk
display_library: term
com1: enabled=1, mode=file, dev=serial
port_e9_hack: enabled=0
log: log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
clock: sync=none, time0=1700000000
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_is_what_stands_between_the_bars() {
        let text = "i[SIM   ] quit\n====\n    Bochs x86 Emulator 3.1\n  Built on a day\n====\n";
        assert_eq!(banner(text), "Bochs x86 Emulator 3.1, Built on a day");
    }

    #[test]
    fn models_are_the_block_after_their_title() {
        let text =
            "00000000000i[PLUGIN] loaded\nSupported CPU models:\n\ni386\nryzen\n\n00000000000i[SIM   ] quit_sim\n";
        assert_eq!(models(text), ["i386", "ryzen"]);
    }

    #[test]
    fn features_stand_on_the_cpu_line_only_where_there_are_some() {
        let first_line = |machine: &Machine<'_>| run_control(machine).lines().next().unwrap_or_default().to_owned();
        assert_eq!(
            first_line(&Machine::new("ryzen")),
            "cpu: model=ryzen, count=1, ips=10000000, reset_on_triple_fault=0, ignore_bad_msrs=0"
        );
        assert_eq!(
            first_line(&Machine { add: &["cet", "pku"], remove: &["svm"], cpus: 2, ..Machine::new("ryzen") }),
            "cpu: model=ryzen, count=2, ips=10000000, add_features=\"cet pku\", exclude_features=\"svm\", \
             reset_on_triple_fault=0, ignore_bad_msrs=0"
        );
    }
}
