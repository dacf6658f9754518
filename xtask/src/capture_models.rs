//! Captures CPU models of Bochs with the capture payload, from ring 0.
//!
//! The payload knows what CPUID says and not what machine it runs on: the name and where it ran are written in here.

mod table;

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selfsame_formats::{Dump, ReadError, read, write_capture};
use thiserror::Error;

pub(crate) use self::table::{ROWS, Row};

use crate::bare::{self, BareError, BareProgram};
use crate::emulator::{Bochs, Boot, Clock, Machine, Qemu, RunError, Serial, Start};
use crate::report::{RED, duration_text};
use crate::workspace::Workspace;

/// The program that is booted.
const PAYLOAD: &str = "capture";

/// The CPUs of each machine: enough to have what differs between CPUs.
const CPUS: u32 = 2;

/// The word of a capture's context for where it was made.
const EMULATOR: &str = "emulator";

/// Many times what a capture takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Why captures could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum CaptureModelsError {
    #[error(transparent)]
    Build(#[from] BareError),
    #[error("{0}")]
    OnQemu(Failure),
    #[error("{0}")]
    OnBochs(Failure),
    #[error("the payload finds levelling hardware where there is none: {context:?}")]
    Levelling { context: Vec<(String, String)> },
    #[error("{failed} of {all} captures failed; why is said above")]
    Failed { failed: usize, all: usize },
}

/// Why one capture failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    #[error("{0}")]
    Run(#[from] RunError),
    #[error("what came out is no capture: {error}\n{serial}")]
    NoCapture { error: ReadError, serial: String },
    #[error("the payload writes another form than `write_capture`, or what `read` mends: {}", .findings.join("; "))]
    OtherForm { findings: Vec<String> },
    #[error("it is not as {}", path.display())]
    Differs { path: PathBuf },
    #[error("a second run gives another capture")]
    SecondDiffers,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// The payload, ready to boot.
pub(crate) struct Payload(BareProgram);

impl Payload {
    /// Builds it.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self, CaptureModelsError> {
        Ok(Self(bare::build(workspace, PAYLOAD)?))
    }

    /// Captures one machine.
    fn capture(&self, bochs: &Bochs, row: &Row) -> Result<String, Failure> {
        let machine = Machine { add: row.add, remove: row.remove, cpus: CPUS, ..Machine::new(row.model) };
        let mut dump = parsed(&bochs.run(&self.0.image, &machine, LIMIT)?)?;
        name(&mut dump, bochs.word(), row);
        Ok(write_capture(&dump))
    }

    /// Captures any machine of Bochs's.
    ///
    /// # Errors
    /// When the payload does not run on it, or what comes out is no capture.
    pub(crate) fn capture_on_bochs(&self, bochs: &Bochs, machine: &Machine<'_>) -> Result<Dump, CaptureModelsError> {
        let serial = bochs.run(&self.0.image, machine, LIMIT).map_err(Failure::from);
        serial.and_then(|serial| parsed(&serial)).map_err(CaptureModelsError::OnBochs)
    }

    /// Captures any machine of QEMU's.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn capture_on_qemu(&self, qemu: &Qemu, machine: &Machine<'_>) -> Result<Dump, CaptureModelsError> {
        let start = Start { boot: Boot::Kernel(&self.0.elf), clock: Clock::Instructions, more: &[] };
        let serial = qemu.run(start, machine, LIMIT).map_err(Failure::from);
        serial.and_then(|serial| parsed(&serial)).map_err(CaptureModelsError::OnQemu)
    }

    /// Looks for levelling hardware on QEMU's interpreter, which accepts every write to the MSRs and drops it.
    ///
    /// # Errors
    /// When it is found there, or the payload does not run.
    pub(crate) fn finds_no_levelling(&self, qemu: &Qemu) -> Result<(), CaptureModelsError> {
        let dump = self.capture_on_qemu(qemu, &Machine { cpus: CPUS, ..Machine::new("max") })?;
        let is_none = dump.context.iter().any(|(key, value)| key == "levelling" && value == "none");
        if is_none { Ok(()) } else { Err(CaptureModelsError::Levelling { context: dump.context }) }
    }
}

/// Reads what the payload wrote, which has to be in the one form that captures have.
fn parsed(serial: &Serial) -> Result<Dump, Failure> {
    let text = serial.as_str();
    let no_capture = |error| Failure::NoCapture { error, serial: serial.tail(5).join("\n") };
    let dump = read(text.as_bytes(), "unnamed", None).map_err(no_capture)?;
    if write_capture(&dump) == text {
        Ok(dump)
    } else {
        Err(Failure::OtherForm { findings: dump.findings.iter().map(ToString::to_string).collect() })
    }
}

/// Writes into the dump what it is of.
fn name(dump: &mut Dump, emulator: String, row: &Row) {
    dump.name = row.name.to_owned();
    let words = [
        (EMULATOR, emulator),
        ("model", row.model.to_owned()),
        ("added", row.add.join(",")),
        ("removed", row.remove.join(",")),
    ];
    let told = words.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value));
    dump.context.splice(0..0, told);
}

impl Row {
    fn file(&self, folder: &Path) -> PathBuf {
        folder.join(self.folder).join(self.name).with_extension("capture")
    }
}

/// Where the committed captures are.
pub(crate) fn fixtures(workspace: &Workspace) -> PathBuf {
    workspace.root().join("fixtures")
}

/// The emulator that the committed captures were made on, if it is another than `bochs`: what its models are may
/// differ.
pub(crate) fn other_emulator(bochs: &Bochs, folder: &Path) -> Option<String> {
    let text = fs::read(ROWS.first()?.file(folder)).ok()?;
    let (_, word) = read(&text, "unnamed", None).ok()?.context.into_iter().find(|(key, _)| key == EMULATOR)?;
    (word != bochs.word()).then_some(word)
}

/// Writes a capture of each row below `folder`, as many at once as there are processors.
///
/// # Errors
/// When any capture failed; the others are written.
pub(crate) fn write(payload: &Payload, bochs: &Bochs, rows: &[&Row], folder: &Path) -> Result<(), CaptureModelsError> {
    for_each(rows, |row| {
        let capture = payload.capture(bochs, row)?;
        let path = row.file(folder);
        let written = fs::create_dir_all(folder.join(row.folder)).and_then(|()| fs::write(&path, capture));
        written.map_err(|source| Failure::File { path, source })
    })
}

/// Makes each row's capture again, twice, and compares with what is below `folder`.
///
/// # Errors
/// When any differs or failed.
pub(crate) fn compare(payload: &Payload, bochs: &Bochs, folder: &Path) -> Result<(), CaptureModelsError> {
    let rows: Vec<&Row> = ROWS.iter().collect();
    for_each(&rows, |row| {
        let path = row.file(folder);
        let committed = fs::read_to_string(&path).map_err(|source| Failure::File { path: path.clone(), source })?;
        if payload.capture(bochs, row)? != committed {
            return Err(Failure::Differs { path });
        }
        if payload.capture(bochs, row)? != committed {
            return Err(Failure::SecondDiffers);
        }
        Ok(())
    })
}

/// Works on rows, as many at once as there are processors, and shows how each came out.
fn for_each(rows: &[&Row], work: impl Fn(&Row) -> Result<(), Failure> + Sync) -> Result<(), CaptureModelsError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = Mutex::new(0_usize);
    let all = rows.len();
    let worker = || {
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            let result = work(row);
            let took = duration_text(start.elapsed());
            // One line at a time, numbered as they are shown.
            let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            *done += 1;
            let Row { folder, name, model, .. } = row;
            match result {
                Ok(()) => anstream::println!("[{done:2}/{all}] {folder}/{name}: {model}, {took}"),
                Err(failure) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    anstream::println!("[{done:2}/{all}] {folder}/{name}: {RED}FAILED{RED:#} after {took}: {failure}");
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get).min(all) {
            scope.spawn(worker);
        }
    });
    match failed.into_inner() {
        0 => Ok(()),
        failed => Err(CaptureModelsError::Failed { failed, all }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "selfsame 1 capture\nname unnamed\nsource cpuid\ncontext levelling=none\ncpu 0\n\
                           leaf 00000000 --  00000001 756e6547 6c65746e 49656e69\nend a6491785\n";

    #[test]
    fn a_capture_tells_what_it_is_of_before_what_the_payload_says() {
        let mut dump = parsed(&Serial::from_bytes(PRINTED.as_bytes())).unwrap();
        let row =
            Row { add: &["cet", "pku"], ..Row { name: "zen", folder: "amd", model: "ryzen", add: &[], remove: &[] } };
        name(&mut dump, "bochs-3.1".to_owned(), &row);
        let capture = write_capture(&dump);
        assert!(
            capture.contains("\nname zen\n")
                && capture.contains("\ncontext emulator=bochs-3.1 model=ryzen added=cet,pku levelling=none\n"),
            "{capture}"
        );
        assert_eq!(row.file(Path::new("fixtures")), Path::new("fixtures/amd/zen.capture"));
    }

    #[test]
    fn what_is_not_in_the_one_form_of_captures_is_refused() {
        let commented = PRINTED.replace("cpu 0\n", "cpu 0 # the only one\n").replace("a6491785", "9531fc55");
        assert!(matches!(parsed(&Serial::from_bytes(commented.as_bytes())), Err(Failure::OtherForm { .. })));
        let cut = PRINTED.replace("end a6491785\n", "");
        assert!(matches!(parsed(&Serial::from_bytes(cut.as_bytes())), Err(Failure::NoCapture { .. })));
    }

    #[test]
    fn every_row_is_worked_on_and_the_failed_are_counted() {
        let rows: Vec<&Row> = ROWS.iter().collect();
        let done = Mutex::new(Vec::new());
        let result = for_each(&rows, |row| {
            done.lock().unwrap().push(row.name);
            if row.folder == "old" { Err(Failure::SecondDiffers) } else { Ok(()) }
        });
        let old = ROWS.iter().filter(|row| row.folder == "old").count();
        assert!(
            matches!(result, Err(CaptureModelsError::Failed { failed, all }) if (failed, all) == (old, ROWS.len()))
        );
        let mut done = done.into_inner().unwrap();
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        done.sort_unstable();
        names.sort_unstable();
        assert_eq!(done, names);
    }
}
