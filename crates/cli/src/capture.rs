//! Captures this machine: what CPUID answers on every CPU, or what KVM can give to guests.
//!
//! CPUID is executed on each online CPU by a thread that is bound to it; MSRs come from `/dev/cpu/N/msr`, eight bytes a
//! read at the MSR's own offset. (A buffered reader there reads on past the MSR and returns its neighbours shifted by
//! bytes: published dumps carry such values.) What a capture lacks, its findings say.

mod context;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use selfsame_cpuid::CAPTURED_MSRS;
use selfsame_formats::{CpuDump, Dump, Finding, Source};
use selfsame_kvm::OfferedError;
use selfsame_kvm::kvm_ioctls::Kvm;
use selfsame_x86::cpuid;
use selfsame_xstate::{COMPONENTS, Class};

use context::Host;

/// Why this machine could not be captured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CaptureError {
    /// The kernel's list of online CPUs is not a list.
    #[error("{} should list CPUs as `0-3,8`; it says `{text}`", path.display())]
    CpuList {
        /// Where it was read.
        path: PathBuf,
        /// What it says.
        text: String,
    },
    /// The CPUs that are there could not be told.
    #[error("cannot find out which CPUs are online")]
    Online {
        /// The cause.
        source: io::Error,
    },
    /// No online CPU runs this process.
    #[error("this process may not run on any online CPU; run it outside of the container or cpuset")]
    NoCpu,
    /// A CPU's number is beyond what a thread can be bound to.
    #[error("cpu {cpu} cannot be captured: threads are bound to the first {limit} CPUs at most")]
    TooManyCpus {
        /// The CPU.
        cpu: u32,
        /// The first number that is too high.
        limit: usize,
    },
    /// A thread could not be started for a CPU.
    #[error("cannot start a thread for cpu {cpu}")]
    Thread {
        /// The CPU.
        cpu: u32,
        /// The cause.
        source: io::Error,
    },
    /// A thread could not be bound to a CPU.
    #[error("cannot bind a thread to cpu {cpu}")]
    Bind {
        /// The CPU.
        cpu: u32,
        /// The cause.
        source: io::Error,
    },
    /// A CPU went offline in the middle of the capture.
    #[error("cpu {cpu} went offline while it was captured; let the CPUs be and capture again")]
    WentOffline {
        /// The CPU.
        cpu: u32,
    },
    /// There is no KVM.
    #[error(
        "{} is not there: this machine runs no KVM; load kvm_intel or kvm_amd and see that virtualization \
         is on in the firmware (in a virtual machine: nested virtualization on its host)", path.display()
    )]
    NoKvm {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// KVM is there, and not for this user.
    #[error("{} may not be opened by this user; run as root or as a member of the device's group, usually kvm", path.display())]
    KvmDenied {
        /// The device.
        path: PathBuf,
    },
    /// KVM is there and cannot be opened.
    #[error("cannot open {}", path.display())]
    KvmOpen {
        /// The device.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// KVM does not say what it offers.
    #[error("/dev/kvm does not say what it offers")]
    Kvm(#[from] OfferedError),
}

/// Captures what CPUID and the MSRs say on every online CPU of this machine.
///
/// `name` is the machine's name in the capture, by default its host name up to the first dot. `progress` is told how many
/// of how many CPUs are done, first with none. CPUs on which this process may not run, and MSRs that it may not read, are
/// left out with a finding.
///
/// # Errors
///
/// Any cause for which the capture would be of less than the machine without saying so; see [`CaptureError`].
pub(crate) fn machine(name: Option<&str>, progress: &mut dyn FnMut(usize, usize)) -> Result<Dump, CaptureError> {
    Host::this().machine(name, progress)
}

/// Captures what this machine's KVM can give to guests, as the one CPU 0 of a capture.
///
/// `name` is as for [`machine`]. The process is then permitted to give its guests every component that needs permission,
/// as a VMM would be: KVM offers AMX only to such a process.
///
/// # Errors
///
/// KVM is not there, not for this user, or does not answer; see [`CaptureError`].
pub(crate) fn kvm(name: Option<&str>) -> Result<Dump, CaptureError> {
    Host::this().kvm(name)
}

/// What became of work that was to run on one CPU.
#[derive(Debug)]
enum Bound<T> {
    /// It ran there from beginning to end.
    Ran(T),
    /// The CPU is online, and not for this process.
    Forbidden,
}

/// What `/dev/cpu/N/msr` gave.
#[derive(Debug)]
enum Msrs {
    /// Every MSR was read, or faulted.
    Read(BTreeMap<u32, Option<u64>>),
    /// None was read: why, and what can be done.
    Unread(String),
}

const NO_MSR_DEVICE: &str = "not read: there is no /dev/cpu/N/msr; `modprobe msr` as root and capture again";
const MSR_DENIED: &str = "not read: /dev/cpu/N/msr is for root with CAP_SYS_RAWIO; capture again as root";
const MSR_LEFT: &str = "not read: /dev/cpu/N/msr went away meanwhile; capture again";
const FORBIDDEN: &str = "left out: online, but not for this process; capture again outside of the container or cpuset";

impl Host {
    fn machine(&self, name: Option<&str>, progress: &mut dyn FnMut(usize, usize)) -> Result<Dump, CaptureError> {
        let numbers = self.online()?;
        let (mut cpus, mut forbidden, mut unread) = (Vec::new(), Vec::new(), BTreeMap::<String, Vec<u32>>::new());
        progress(0, numbers.len());
        for (done, &number) in (1..).zip(&numbers) {
            match self.bound(number, || walked(number))? {
                Bound::Forbidden => forbidden.push(number),
                Bound::Ran(mut cpu) => {
                    match self.msrs(number)? {
                        Msrs::Read(msrs) => cpu.msrs = msrs,
                        Msrs::Unread(reason) => unread.entry(reason).or_default().push(number),
                    }
                    cpus.push(cpu);
                }
            }
            progress(done, numbers.len());
        }
        if cpus.is_empty() {
            return Err(CaptureError::NoCpu);
        }
        let mut findings = Vec::new();
        if !forbidden.is_empty() {
            findings.push(finding(subject("cpu", &forbidden), FORBIDDEN));
        }
        for (reason, numbers) in unread {
            let is_all = numbers.len() == cpus.len();
            let what = if is_all { "msr".to_owned() } else { subject("msr of cpu", &numbers) };
            findings.push(finding(what, reason));
        }
        Ok(Dump { name: self.name(name), source: Source::Cpuid, context: self.context(), cpus, findings })
    }

    fn kvm(&self, name: Option<&str>) -> Result<Dump, CaptureError> {
        // KVM copies leaves of the CPU that asks: one CPU, the same each time, so that captures can be compared.
        for number in self.online()? {
            if let Bound::Ran(result) = self.bound(number, || self.offered())? {
                let (cpu, findings) = result?;
                let (name, context) = (self.name(name), self.context());
                return Ok(Dump { name, source: Source::Kvm, context, cpus: vec![cpu], findings });
            }
        }
        Err(CaptureError::NoCpu)
    }

    fn offered(&self) -> Result<(CpuDump, Vec<Finding>), CaptureError> {
        let path = self.path("dev/kvm");
        let kvm = open_kvm(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => CaptureError::NoKvm { path },
            // The device file is there, its module is not.
            _ if is_no_device(&source) => CaptureError::NoKvm { path },
            ErrorKind::PermissionDenied => CaptureError::KvmDenied { path },
            _ => CaptureError::KvmOpen { path, source },
        })?;
        let refusals: Vec<_> = COMPONENTS
            .iter()
            .filter(|row| row.class == Class::UserDynamic)
            .filter_map(|row| Some((row.component, selfsame_kvm::request_permission(row.component).err()?)))
            .collect();
        let offered = selfsame_kvm::offered(&kvm)?;
        let mut cpu = CpuDump::new(0);
        for (leaf, subleaf, regs) in offered.rows {
            // In a dump, what is absent is zero.
            if !regs.is_zero() {
                cpu.leaves.insert((leaf, subleaf.unwrap_or(0)), regs);
            }
        }
        cpu.msrs = offered.msrs;
        let findings = refusals
            .into_iter()
            .filter(|(component, _)| has_component(component.index()))
            .map(|(component, error)| {
                finding(component.to_string(), format!("the CPU has it, the kernel refuses it to guests: {error}"))
            })
            .collect();
        Ok((cpu, findings))
    }

    /// The numbers of the online CPUs, ascending.
    fn online(&self) -> Result<Vec<u32>, CaptureError> {
        let path = self.path("sys/devices/system/cpu/online");
        match fs::read_to_string(&path) {
            Ok(text) => cpu_list(&text).ok_or_else(|| CaptureError::CpuList { path, text: text.trim().to_owned() }),
            // Without /sys: the CPUs that this process may use.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let set = sched_getaffinity(None).map_err(|error| CaptureError::Online { source: error.into() })?;
                let is_allowed = |&(_, index): &(u32, usize)| set.is_set(index);
                Ok((0..).zip(0..CpuSet::MAX_CPU).filter(is_allowed).map(|(number, _)| number).collect())
            }
            Err(source) => Err(CaptureError::Online { source }),
        }
    }

    /// Runs `work` on one CPU, in a thread of its own.
    fn bound<T: Send>(&self, cpu: u32, work: impl FnOnce() -> T + Send) -> Result<Bound<T>, CaptureError> {
        let limit = CpuSet::MAX_CPU;
        let index = usize::try_from(cpu).ok().filter(|&index| index < limit);
        let index = index.ok_or(CaptureError::TooManyCpus { cpu, limit })?;
        let outcome = thread::scope(|scope| {
            let run = || {
                let mut set = CpuSet::new();
                set.set(index);
                sched_setaffinity(None, &set)?;
                let result = work();
                // A CPU that goes offline hands its threads to the others, bound or not.
                Ok((sched_getcpu() == index).then_some(result))
            };
            let thread = thread::Builder::new().spawn_scoped(scope, run)?;
            Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        match outcome.map_err(|source| CaptureError::Thread { cpu, source })? {
            Ok(Some(result)) => Ok(Bound::Ran(result)),
            Ok(None) => Err(CaptureError::WentOffline { cpu }),
            Err(Errno::INVAL) if self.online()?.contains(&cpu) => Ok(Bound::Forbidden),
            Err(Errno::INVAL) => Err(CaptureError::WentOffline { cpu }),
            Err(error) => Err(CaptureError::Bind { cpu, source: error.into() }),
        }
    }

    /// Reads the MSRs of one CPU.
    fn msrs(&self, cpu: u32) -> Result<Msrs, CaptureError> {
        let file = match File::open(self.path(&format!("dev/cpu/{cpu}/msr"))) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.no_msrs(cpu, NO_MSR_DEVICE),
            Err(error) if is_no_device(&error) => return self.no_msrs(cpu, NO_MSR_DEVICE),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(Msrs::Unread(MSR_DENIED.into())),
            Err(error) => return Ok(Msrs::Unread(format!("not read: /dev/cpu/N/msr cannot be opened: {error}"))),
        };
        let mut msrs = BTreeMap::new();
        for &index in &CAPTURED_MSRS {
            let value = match read_msr(&file, index) {
                Ok(value) => Some(value),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => None,
                Err(error) if is_no_device(&error) => return self.no_msrs(cpu, MSR_LEFT),
                Err(error) => {
                    return Ok(Msrs::Unread(format!("not read: /dev/cpu/N/msr failed at {index:#x}: {error}")));
                }
            };
            msrs.insert(index, value);
        }
        Ok(Msrs::Read(msrs))
    }

    /// A missing MSR device is a matter of its driver, unless the CPU is gone.
    fn no_msrs(&self, cpu: u32, reason: &str) -> Result<Msrs, CaptureError> {
        let is_online = self.online()?.contains(&cpu);
        if is_online { Ok(Msrs::Unread(reason.to_owned())) } else { Err(CaptureError::WentOffline { cpu }) }
    }
}

/// What CPUID answers on the CPU that runs the caller.
fn walked(number: u32) -> CpuDump {
    let mut cpu = CpuDump::new(number);
    selfsame_cpuid::walk(cpuid, |leaf, subleaf, regs| {
        cpu.leaves.insert((leaf, subleaf.unwrap_or(0)), regs);
    });
    cpu
}

/// Reads one MSR: exactly its eight bytes at exactly its offset, unbuffered.
fn read_msr(file: &File, index: u32) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, u64::from(index))?;
    Ok(u64::from_le_bytes(bytes))
}

fn open_kvm(path: &Path) -> io::Result<Kvm> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    Kvm::new_with_path(path).map_err(|error| io::Error::from_raw_os_error(error.errno()))
}

/// Whether leaf 0xD of this CPU enumerates a component for XCR0.
fn has_component(index: u8) -> bool {
    let user = if cpuid(0, 0).eax >= 0xd { cpuid(0xd, 0) } else { return false };
    (u64::from(user.eax) | u64::from(user.edx) << 32) >> index & 1 == 1
}

/// Whether a device file stands for nothing, its driver or its CPU being gone.
fn is_no_device(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NXIO | Errno::NODEV))
}

fn finding(what: String, reason: impl Into<String>) -> Finding {
    Finding { what, line: None, reason: reason.into() }
}

/// Reads the kernel's form of a set of CPUs, `0-3,8`.
fn cpu_list(text: &str) -> Option<Vec<u32>> {
    const LIMIT: u32 = 1 << 16;
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= LIMIT || numbers.last().is_some_and(|&previous| previous >= first) {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Names CPUs, ascending, as `cpu 0-3,8`.
fn subject(kind: &str, numbers: &[u32]) -> String {
    let runs = numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let runs: Vec<_> = runs
        .filter_map(|run| match run {
            [] => None,
            [number] => Some(number.to_string()),
            [first, .., last] => Some(format!("{first}-{last}")),
        })
        .collect();
    format!("{kind} {}", runs.join(","))
}

#[cfg(test)]
mod tests {
    use super::context::tests::Files;
    use super::*;

    fn skip_without_kvm() -> bool {
        let missing = File::options().read(true).write(true).open("/dev/kvm").err();
        missing.inspect(|error| eprintln!("SKIPPED: /dev/kvm cannot be opened here: {error}")).is_some()
    }

    #[test]
    fn cpu_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list("0\n"), Some(vec![0]));
        assert_eq!(cpu_list("0-2,4,6-7\n"), Some(vec![0, 1, 2, 4, 6, 7]));
        for text in ["", "\n", "a", "1-", "-1", "3-1", "1,1", "0-65536", "0-4294967295", "0,,1"] {
            assert_eq!(cpu_list(text), None, "{text}");
        }
    }

    #[test]
    fn cpus_are_named_in_ranges() {
        assert_eq!(subject("cpu", &[0, 1, 2, 4, 6, 7]), "cpu 0-2,4,6-7");
        assert_eq!(cpu_list("0-2,4,6-7").map(|list| subject("cpu", &list)).as_deref(), Some("cpu 0-2,4,6-7"));
    }

    #[test]
    fn an_msr_is_the_eight_bytes_at_its_own_offset() {
        let bytes: String = ('a'..='z').cycle().take(0x20).collect();
        let files = Files::new("read", &[("msr", &bytes)]);
        let file = File::open(files.0.path("msr")).unwrap();
        assert_eq!(read_msr(&file, 3).unwrap().to_le_bytes(), *b"defghijk");
        assert_eq!(read_msr(&file, 0).unwrap().to_le_bytes(), *b"abcdefgh");
        assert_eq!(read_msr(&file, 0x1c).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_msrs_of_a_cpu_are_read_from_its_own_device() {
        let files = Files::new("msrs", &[("dev/cpu/1/msr", "")]);
        let device = File::options().write(true).open(files.0.path("dev/cpu/1/msr")).unwrap();
        // A hole: every MSR reads as zero.
        device.set_len(1 << 32).unwrap();
        let Msrs::Read(msrs) = files.0.msrs(1).unwrap() else { panic!("the device is there") };
        assert!(msrs.keys().eq(&CAPTURED_MSRS));
        assert!(msrs.values().all(|value| *value == Some(0)));
    }

    #[test]
    fn msrs_without_a_device_are_a_finding_that_says_what_to_do() {
        let files = Files::new("no-msr", &[("sys/devices/system/cpu/online", "0-1\n")]);
        let Msrs::Unread(reason) = files.0.msrs(1).unwrap() else { panic!("there is no device") };
        assert!(reason.contains("modprobe msr"), "{reason}");
        // CPU 2 is not online.
        assert!(matches!(files.0.msrs(2), Err(CaptureError::WentOffline { cpu: 2 })));
    }

    #[test]
    fn a_cpu_that_is_gone_is_an_error() {
        let files = Files::new("offline", &[("sys/devices/system/cpu/online", "0\n")]);
        assert!(matches!(files.0.bound(1023, || ()), Err(CaptureError::WentOffline { cpu: 1023 })));
        assert!(matches!(files.0.bound(60_000, || ()), Err(CaptureError::TooManyCpus { cpu: 60_000, .. })));
    }

    #[test]
    fn a_cpu_that_is_forbidden_is_left_out_with_a_finding() {
        let files = Files::new("forbidden", &[("sys/devices/system/cpu/online", "0,1022-1023\n")]);
        let dump = files.0.machine(Some("a"), &mut |_, _| ()).unwrap();
        assert_eq!(dump.cpus.iter().map(|cpu| cpu.number).collect::<Vec<_>>(), [0]);
        assert_eq!(dump.findings[0].what, "cpu 1022-1023");
        let none = Files::new("none", &[("sys/devices/system/cpu/online", "1023\n")]);
        assert!(matches!(none.0.machine(None, &mut |_, _| ()), Err(CaptureError::NoCpu)));
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        let files = Files::new("list", &[("sys/devices/system/cpu/online", "many\n")]);
        let error = files.0.machine(None, &mut |_, _| ()).unwrap_err();
        assert!(
            error.to_string().ends_with("sys/devices/system/cpu/online should list CPUs as `0-3,8`; it says `many`")
        );
    }

    #[test]
    fn a_machine_without_kvm_is_told_what_to_do() {
        let files = Files::new("no-kvm", &[("sys/devices/system/cpu/online", "0\n")]);
        let error = files.0.kvm(None).unwrap_err();
        assert!(matches!(error, CaptureError::NoKvm { .. }));
        assert!(error.to_string().contains("load kvm_intel or kvm_amd"), "{error}");
    }

    /// What a dump is after it was written and read; its findings are of the moment.
    fn rewritten(dump: &Dump) -> Dump {
        let written = selfsame_formats::write_capture(dump);
        Dump { findings: dump.findings.clone(), ..selfsame_formats::read(written.as_bytes(), "", None).unwrap() }
    }

    #[test]
    fn this_machine_captures_the_same_twice_and_as_cpuid_answers() {
        let mut seen = Vec::new();
        let dump = machine(Some("here"), &mut |done, total| seen.push((done, total))).unwrap();
        assert_eq!(dump, machine(Some("here"), &mut |_, _| ()).unwrap());
        assert_eq!(dump, rewritten(&dump));

        let online = Host::this().online().unwrap();
        assert_eq!(seen, (0..=online.len()).map(|done| (done, online.len())).collect::<Vec<_>>());
        for cpu in &dump.cpus {
            assert!(cpu.leaves.contains_key(&(0, 0)) && cpu.leaves.contains_key(&(1, 0)));
            let direct = || cpu.leaves.keys().map(|&(leaf, subleaf)| ((leaf, subleaf), cpuid(leaf, subleaf))).collect();
            let Bound::Ran(direct) = Host::this().bound(cpu.number, direct).unwrap() else {
                panic!("cpu {}", cpu.number)
            };
            assert_eq!(cpu.leaves, direct, "cpu {}", cpu.number);
        }
    }

    #[test]
    fn this_kvm_captures_the_same_twice() {
        if skip_without_kvm() {
            return;
        }
        let dump = kvm(None).unwrap();
        assert_eq!((dump.source, dump.cpus.len()), (Source::Kvm, 1));
        assert!(dump.cpus[0].leaves.contains_key(&(0, 0)));
        assert_eq!(dump, kvm(None).unwrap());
        assert_eq!(dump, rewritten(&dump));
    }
}
