//! Files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use selfsame_formats::export::Target;
use selfsame_formats::saved::{SavedFile, SavedFormat, SavedState};

use crate::document::{self, Document};
use crate::found::{entries, identity};
use crate::problem::Problem;
use crate::sources::Sources;
use crate::terminal::print;

/// What is to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    /// A policy.
    Policy,
    /// A capture.
    Capture,
    /// A policy in the form that another stack takes.
    Export(Target),
    /// An image of extended state.
    Image,
}

/// What may be written over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Over {
    /// An older output of the same kind, which can be made again.
    OwnKind,
    /// Whatever is there, but for an input.
    Anything,
}

impl Over {
    /// As `--force` says.
    pub(crate) const fn forced(is_forced: bool) -> Self {
        if is_forced { Self::Anything } else { Self::OwnKind }
    }
}

impl Written {
    /// What `-o` is to hold where a policy may be exported.
    pub(crate) const fn policy(target: Option<Target>) -> Self {
        match target {
            Some(target) => Self::Export(target),
            None => Self::Policy,
        }
    }
}

/// Whether a path is standard output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses to write over what cannot be made again: an input, somebody's capture, a file of another kind or of another
/// tool.
pub(crate) fn guard<'p>(
    path: Option<&Path>,
    written: Written,
    over: Over,
    inputs: impl IntoIterator<Item = &'p PathBuf>,
    is_json: bool,
) -> Result<(), Problem> {
    let Some(path) = path else { return Ok(()) };
    if is_stdout(path) {
        return if is_json { Err(Problem::TwoOutputs) } else { Ok(()) };
    }
    if !path.is_file() {
        return Ok(());
    }
    let is_it = |input: &Path| !is_stdout(input) && identity(input) == identity(path);
    for input in inputs {
        let is_input = if input.is_dir() {
            // Policies beside dumps are left out, so that a pool's level may lie with the pool.
            entries(input)?.iter().any(|file| is_it(file)) && !is_policy(path)
        } else {
            is_it(input)
        };
        if is_input {
            return Err(Problem::OverInput { path: path.to_owned() });
        }
    }
    let is_empty = fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    if is_empty || over == Over::Anything {
        return Ok(());
    }
    let what = match written {
        Written::Policy if is_policy(path) => return Ok(()),
        Written::Policy if is_dump(path) => "a dump of a machine, and a policy is to be written",
        Written::Policy => "no policy, and one is to be written",
        Written::Capture if is_ours(path) && is_dump(path) => return Ok(()),
        Written::Capture => "a file that is no capture",
        // What another stack takes has no mark of its own, but a form.
        Written::Export(_) if is_ours(path) => "a capture or a policy, and what another stack takes is to be written",
        Written::Export(target) if fs::read_to_string(path).is_ok_and(|text| target.is_form_of(&text)) => return Ok(()),
        Written::Export(_) => "no older export for the same target",
        Written::Image if is_own_image(path) => return Ok(()),
        Written::Image => "no image that selfsame wrote, and one is to be written",
    };
    Err(Problem::OverOther { path: path.to_owned(), what })
}

/// Whether a file is of the grammar that captures and policies share.
fn is_ours(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| selfsame_cpuid::text::looks_like(&bytes))
}

fn is_dump(path: &Path) -> bool {
    matches!(document::read(path, &Sources::default()), Ok(Document::Machines(_)))
}

fn is_policy(path: &Path) -> bool {
    matches!(document::read(path, &Sources::default()), Ok(Document::Policy(_)))
}

/// Whether a file is an image as `xstate` writes it, and nothing else.
fn is_own_image(path: &Path) -> bool {
    let saved = document::regular_file(path).ok().flatten().and_then(|file| SavedFile::read(file).ok());
    saved.is_some_and(|file| {
        let saved = file.saved();
        saved.format == SavedFormat::Xsave && saved.states.iter().all(SavedState::is_canonical)
    })
}

/// Writes a file; `-` is standard output.
///
/// The text is written beside the file and moved over it: who reads it meanwhile has the old text or the new one. Where
/// this fails, nothing is left.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Problem> {
    if is_stdout(path) {
        return print(text);
    }
    replace(path, text.as_bytes()).map_err(|source| Problem::Write { path: path.to_owned(), source })
}

/// The same of bytes that are no text.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    if is_stdout(path) {
        let mut out = io::stdout().lock();
        return out.write_all(bytes).and_then(|()| out.flush()).map_err(Problem::Output);
    }
    replace(path, bytes).map_err(|source| Problem::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays one, and what it names is replaced.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        // A pipe behind /dev/stdout has no name of its own.
        Err(_) if path.exists() => path.to_owned(),
        Err(_) => named_by_links(path)?,
    };
    let existing = fs::metadata(&target).ok();
    if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name a file in it"));
    }
    if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        // A device or a pipe: there is nothing to replace.
        return OpenOptions::new().write(true).open(&target)?.write_all(bytes);
    }
    let temporary = beside(&target)?;
    let result = write_new(&temporary, bytes, existing.as_ref()).and_then(|()| fs::rename(&temporary, &target));
    if result.is_err() {
        // It may never have come to be.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// What a path names behind its links, although it is not there and is to be made.
fn named_by_links(path: &Path) -> io::Result<PathBuf> {
    /// Linux follows as many (`path_resolution(7)`).
    const MOST_LINKS: usize = 40;
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(next) = fs::read_link(&target) else { return Ok(target) };
        target = target.parent().map(|parent| parent.join(&next)).unwrap_or(next);
    }
    Err(io::Error::other("its links name one another"))
}

fn beside(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let name = format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id());
    Ok(target.with_file_name(name))
}

fn write_new(path: &Path, bytes: &[u8], existing: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    if let Some(metadata) = existing {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}
