//! QEMU: runs a kernel or a disk image under its interpreter (TCG).

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::bounded::{self, End, answer};
use super::machine::Machine;
use super::packages::Set;
use super::program::Program;
use super::run_error::{Reason, RunError, file_reason};
use super::run_folder::RunFolder;
use super::serial::Serial;
use super::version::Version;
use super::virsh::write_script;
use super::{Emulator, packages};

/// The oldest QEMU whose interpreter was tried: AVX and nested SVM came with it.
pub(crate) const LEAST: Version = Version { major: 7, minor: 2 };

/// What QEMU itself rounds a disk up to.
const SECTOR_BYTES: u64 = 512;

/// What stands before the version.
const BANNER: &str = "QEMU emulator version ";

/// The status with which QEMU ends after the byte 0x10 on port 0xf4: twice the byte and one.
const ENDED_WELL: i32 = 33;

/// A QEMU that can run images.
#[derive(Debug)]
pub(crate) struct Qemu {
    program: Program,
    version: Version,
    banner: String,
    pub(super) runs_dir: PathBuf,
}

/// What to start, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    pub(crate) boot: Boot<'a>,
    pub(crate) clock: Clock,
    /// More arguments of QEMU, as they are; `&[]` for most. Relative paths in them are relative to the folder of the
    /// run, which goes away with it.
    pub(crate) more: &'a [OsString],
}

/// What QEMU boots.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Boot<'a> {
    /// An uncompressed kernel: ELF with a PVH note or a multiboot header.
    Kernel(&'a Path),
    /// A raw disk image with a boot sector, which is copied first.
    Disk(&'a Path),
}

/// What the guest's TSC counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// Instructions, and the calendar is fixed, so that two runs of one kernel give the same bytes. Two runs of a disk
    /// image do not: its transfers end in the host's time. Waiting for many ticks takes long.
    Instructions,
    /// The host's time.
    Host,
}

impl Emulator for Qemu {
    const SET: Set = packages::QEMU;

    fn probe(program: Program, runs_dir: &Path) -> Option<Self> {
        let mut command = program.command();
        command.arg("--version");
        let text = answer(command)?;
        let banner = text.lines().find(|line| line.contains(BANNER))?.to_owned();
        Some(Self { program, version: Version::after(&banner, BANNER)?, banner, runs_dir: runs_dir.to_owned() })
    }

    fn version(&self) -> Version {
        self.version
    }

    fn lack(&self) -> Option<&'static str> {
        None
    }
}

/// What QEMU says of itself.
impl fmt::Display for Qemu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.banner)
    }
}

impl Qemu {
    /// The program.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Boots `start` on `machine`, and returns what it wrote to COM1 once it has asked for the end by writing 0x10 to
    /// port 0xf4.
    ///
    /// # Errors
    /// When QEMU refuses the machine or lacks a feature that is added, the image ends in another way or not within
    /// `limit`, or nothing came out.
    pub(crate) fn run(&self, start: Start<'_>, machine: &Machine<'_>, limit: Duration) -> Result<Serial, RunError> {
        let mut serial = Serial::default();
        match self.run_to(&mut serial, start, machine, limit) {
            Ok(()) => Ok(serial),
            Err(reason) => Err(RunError { machine: format!("QEMU {machine}"), reason, serial }),
        }
    }

    fn run_to(
        &self,
        serial: &mut Serial,
        start: Start<'_>,
        machine: &Machine<'_>,
        limit: Duration,
    ) -> Result<(), Reason> {
        let folder = RunFolder::create(&self.runs_dir).map_err(file_reason(&self.runs_dir))?;
        let mut command = self.command(machine);
        match start.boot {
            Boot::Kernel(path) => command.arg("-kernel").arg(path::absolute(path).map_err(file_reason(path))?),
            Boot::Disk(path) => {
                folder.copy_in(path, "disk.img", SECTOR_BYTES).map_err(file_reason(path))?;
                command.args(["-drive", "file=disk.img,format=raw,if=ide"])
            }
        };
        if matches!(start.clock, Clock::Instructions) {
            command.args(["-icount", "shift=0,sleep=off", "-rtc", "base=2023-11-14T22:13:20,clock=vm"]);
        }
        command.args(start.more).current_dir(folder.path());
        let started = Instant::now();
        let not_started = |source| Reason::NotStarted { program: self.program.to_string(), source };
        let (end, said) = bounded::output(command, || started.elapsed() < limit).map_err(not_started)?;

        *serial = Serial::from_bytes(&fs::read(folder.file("serial")).unwrap_or_default());
        judge(end, said.lines().map(str::to_owned).collect(), machine, limit)?;
        if serial.as_str().is_empty() { Err(Reason::NoSerial) } else { Ok(()) }
    }

    /// Writes a script that runs it as it is, with the files that it needs of its own.
    ///
    /// # Errors
    /// When the script cannot be written.
    pub(crate) fn script(&self) -> io::Result<PathBuf> {
        let data = self.data();
        let first: Vec<&Path> = data.iter().flat_map(|dir| [Path::new("-L"), dir]).collect();
        write_script(&self.runs_dir, "qemu-system-x86_64", &self.program.script(&first))
    }

    /// The folders of its firmware, where it would not find it by itself.
    fn data(&self) -> Vec<PathBuf> {
        let dirs = ["usr/share/qemu", "usr/share/seabios"];
        self.program.root().map(|root| dirs.map(|dir| root.join(dir)).to_vec()).unwrap_or_default()
    }

    fn command(&self, machine: &Machine<'_>) -> Command {
        let mut command = self.program.command();
        for dir in self.data() {
            command.arg("-L").arg(dir);
        }
        command.args(["-accel", "tcg", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "file:serial"]);
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-cpu", &cpu(machine)]);
        command.args(["-smp", &machine.cpus.to_string(), "-m", &machine.memory_mib.to_string()]);
        command
    }
}

/// The model and its changes as `-cpu` wants them.
fn cpu(machine: &Machine<'_>) -> String {
    let added = machine.add.iter().map(|name| format!(",+{name}"));
    let removed = machine.remove.iter().map(|name| format!(",-{name}"));
    std::iter::once(machine.model.to_owned()).chain(added).chain(removed).collect()
}

fn judge(end: End, said: Vec<String>, machine: &Machine<'_>, limit: Duration) -> Result<(), Reason> {
    // QEMU only warns of a feature that its interpreter lacks, and runs another machine than was asked for.
    let is_lack = |line: &str| machine.add.iter().any(|name| line.contains(&format!(".{name} [bit ")));
    let lacks: Vec<String> = said.iter().filter(|line| is_lack(line)).cloned().collect();
    match end {
        _ if !lacks.is_empty() => Err(Reason::Panic(lacks)),
        End::Killed => Err(Reason::TimeLimit { limit, log: said }),
        End::Exited(status) if status.code() == Some(ENDED_WELL) => Ok(()),
        End::Exited(status) if status.code() == Some(1) && !said.is_empty() => Err(Reason::Panic(said)),
        End::Exited(status) => Err(Reason::Ended { status, log: said }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn judged(code: i32, said: &str, machine: &Machine<'_>) -> Result<(), Reason> {
        let end = End::Exited(ExitStatus::from_raw(code << 8));
        judge(end, said.lines().map(str::to_owned).collect(), machine, Duration::from_secs(1))
    }

    #[test]
    fn a_machine_is_one_word_for_qemu() {
        assert_eq!(cpu(&Machine::new("max")), "max");
        assert_eq!(
            cpu(&Machine { add: &["svm"], remove: &["avx", "pku"], ..Machine::new("max") }),
            "max,+svm,-avx,-pku"
        );
    }

    #[test]
    fn only_the_status_of_the_exit_port_is_an_end() {
        let machine = Machine::new("max");
        assert!(judged(33, "", &machine).is_ok());
        assert!(matches!(judged(35, "", &machine), Err(Reason::Ended { .. })));
        assert!(matches!(judged(0, "", &machine), Err(Reason::Ended { .. })));
        let refusal = "qemu-system-x86_64: unable to find CPU model 'no-such'";
        assert!(matches!(judged(1, refusal, &machine), Err(Reason::Panic(lines)) if lines == [refusal]));
    }

    #[test]
    fn a_feature_that_was_asked_for_and_is_not_there_is_an_error() {
        let warning = "qemu: warning: TCG doesn't support requested feature: CPUID.0DH:EAX.xsaves [bit 3]";
        assert!(judged(33, warning, &Machine::new("Skylake-Server")).is_ok());
        let asked = Machine { add: &["xsaves"], ..Machine::new("max") };
        assert!(matches!(judged(33, warning, &asked), Err(Reason::Panic(_))));
    }
}
