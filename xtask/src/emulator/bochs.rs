//! Bochs: runs a disk image on one of its CPU models.

use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::bounded::{Bounded, End};
use super::machine::Machine;
use super::packages::Set;
use super::program::{Program, answer};
use super::run_error::{Reason, RunError, file_reason};
use super::run_folder::RunFolder;
use super::serial::Serial;
use super::version::Version;
use super::{Emulator, packages};

/// The oldest Bochs whose XSAVES, CET, PKU and SVM can be relied on.
pub(crate) const LEAST: Version = Version { major: 3, minor: 1 };

/// The disk geometry that Bochs finds by itself: whole cylinders of 16 heads with 63 sectors of 512 bytes.
const CYLINDER_BYTES: u64 = 16 * 63 * 512;

/// How many of the emulator's own lines an error shows.
const LOG_LINES: usize = 4;

/// What Bochs says when an image asks for the end; to Bochs that is a panic like any other.
/// How Bochs marks a panic.
const PANIC: &str = ">>PANIC<< ";

const SHUTDOWN: &str = "Shutdown port: shutdown requested";

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
        let has_term = answer(command).is_some_and(|text| text.contains(PANIC) && !text.contains("display library"));
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
    /// When Bochs refuses the machine, the image does not end within `limit`, or nothing came out.
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
        let output = folder.file("output");
        let stream = fs::File::create_new(&output).map_err(file_reason(&output))?;
        let mut command = Self::command(&self.program);
        command.args(["-q", "-f", "control"]).current_dir(folder.path());
        command.stderr(stream.try_clone().map_err(file_reason(&output))?).stdout(stream);
        let not_started = |source| Reason::NotStarted { program: self.program.to_string(), source };
        let end = Bounded::start(command).map_err(not_started)?.wait(limit).map_err(not_started)?;

        *serial = Serial::from_bytes(&fs::read(folder.file("serial")).unwrap_or_default());
        // Until the log file is open, Bochs writes to its standard streams.
        let log: Vec<LogLine> =
            [output, folder.file("log")].iter().flat_map(fs::read).flat_map(|bytes| log_lines(&bytes)).collect();
        judge(end, &log, limit)?;
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

/// What a run came to, by its log: the process's own status is 1 in every case.
fn judge(end: End, log: &[LogLine], limit: Duration) -> Result<(), Reason> {
    let panics = panics(log);
    let warnings = || tail(log.iter().filter(|line| line.level != 'i').map(|line| line.text.clone()).collect());
    match end {
        _ if !panics.is_empty() => Err(Reason::Panic(panics)),
        End::Killed => Err(Reason::TimeLimit { limit, log: warnings() }),
        End::Exited(_) if log.iter().any(|line| line.text.contains(SHUTDOWN)) => Ok(()),
        End::Exited(status) => Err(Reason::Ended { status, log: warnings() }),
    }
}

/// One line of Bochs's log, `TICKS LEVEL [UNIT] TEXT` without the blanks: `00004429894w[CPU0  ] HLT with IF=0`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogLine {
    /// `p` for a panic, `e` for an error, `w` for a warning, `i` for information.
    level: char,
    text: String,
}

impl LogLine {
    fn parse(line: &str) -> Option<Self> {
        let (head, text) = line.split_once(']')?;
        let (ticks, unit) = head.split_once('[')?;
        let level = ticks.trim_start_matches(|c: char| c.is_ascii_digit());
        let text = format!("{} {}", unit.trim(), text.trim()).trim().to_owned();
        Some(Self { level: level.parse().ok()?, text })
    }
}

fn log_lines(bytes: &[u8]) -> Vec<LogLine> {
    String::from_utf8_lossy(bytes).lines().filter_map(LogLine::parse).collect()
}

/// The panics that are no ends asked for, each after the error that led to it, if the line before it is one.
fn panics(log: &[LogLine]) -> Vec<String> {
    let before = std::iter::once(None).chain(log.iter().map(Some));
    let pairs = before.zip(log).filter(|(_, line)| line.level == 'p' && !line.text.contains(SHUTDOWN));
    let both = pairs.flat_map(|(before, line)| [before.filter(|line| line.level == 'e'), Some(line)]);
    tail(both.flatten().map(|line| line.text.replace(PANIC, "")).collect())
}

fn tail(mut lines: Vec<String>) -> Vec<String> {
    lines.split_off(lines.len().saturating_sub(LOG_LINES))
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
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended() -> End {
        End::Exited(ExitStatus::from_raw(0x100))
    }

    fn judged(end: End, log: &str) -> Result<(), Reason> {
        judge(end, &log_lines(log.as_bytes()), Duration::from_secs(1))
    }

    #[test]
    fn an_end_that_the_image_asked_for_is_no_panic() {
        assert!(judged(ended(), "00004436765p[UNMAP ] >>PANIC<< Shutdown port: shutdown requested\n").is_ok());
    }

    #[test]
    fn a_panic_is_told_with_the_error_before_it() {
        let log = "00000000000e[      ] control:5: detection enabled\n\
                   00000000000i[      ] lt_dlhandle is 0x5\n\
                   00000000000e[      ] control:1: wrong value for parameter 'model'\n\
                   00000000000p[      ] >>PANIC<< control:1: cpu directive malformed.\n";
        let Err(Reason::Panic(lines)) = judged(ended(), log) else { panic!("no panic") };
        assert_eq!(lines, ["control:1: wrong value for parameter 'model'", "control:1: cpu directive malformed."]);
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_an_error() {
        assert!(matches!(judged(ended(), ""), Err(Reason::Ended { .. })));
    }

    #[test]
    fn what_is_killed_tells_its_warnings() {
        let log = "00004428143i[CPU0  ] | CR3=0x00000000\n\
                   00004428143w[CPU0  ] exception(): 3rd (13) exception with no resolution\n";
        let Err(Reason::TimeLimit { log, .. }) = judged(End::Killed, log) else { panic!("no time limit") };
        assert_eq!(log, ["CPU0 exception(): 3rd (13) exception with no resolution"]);
    }

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
