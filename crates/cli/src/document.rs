//! One file: a dump of a machine, or a policy.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use selfsame_cpuid::{Policy, PolicyFile};
use selfsame_formats::{Machines, ReadError};

use crate::problem::{Problem, printable};
use crate::sources::Sources;

/// No dump is larger: what is, is a disk image or the like, and memory is not for it. What is read here and there may be.
const LIMIT_MIB: u64 = 256;

/// What a file holds.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    /// What the CPUs of machines, or their hypervisors, said; at least one.
    Machines(Vec<Machines>),
    /// What a guest sees.
    Policy(Box<StoredPolicy>),
}

impl Document {
    /// How many machines it tells of.
    pub(crate) fn machine_count(&self) -> usize {
        match self {
            Self::Machines(all) => all.iter().map(|same| same.names.len()).sum(),
            Self::Policy(_) => 0,
        }
    }
}

/// A policy with what its file says about it.
#[derive(Clone, Debug)]
pub(crate) struct StoredPolicy {
    /// What people call it.
    pub(crate) name: String,
    /// Where it came from.
    pub(crate) source: Option<String>,
    /// How it was made.
    pub(crate) context: Option<String>,
    /// The policy.
    pub(crate) policy: Policy,
}

impl StoredPolicy {
    fn of(file: &PolicyFile<'_>) -> Self {
        Self {
            name: printable(file.name),
            source: file.source.map(printable),
            context: file.context.map(printable),
            policy: file.policy.clone(),
        }
    }

    /// The text of its file.
    pub(crate) fn text(&self) -> String {
        let Self { name, source, context, policy } = self;
        let (source, context) = (source.as_deref(), context.as_deref());
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = PolicyFile { name, source, context, policy: policy.clone() }.write(&mut text);
        text
    }
}

/// Reads a file; `-` is standard input.
pub(crate) fn read(path: &Path, sources: &Sources) -> Result<Document, Problem> {
    of_bytes(path, &bytes_of(path)?, sources)
}

/// What a file is called that does not say it itself.
pub(crate) fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    if path.as_os_str() == "-" { "stdin".to_owned() } else { printable(&stem) }
}

/// The same of bytes that were read already.
pub(crate) fn of_bytes(path: &Path, bytes: &[u8], sources: &Sources) -> Result<Document, Problem> {
    let name = name_of(path);
    if is_own_json(bytes) {
        return json_policy(path, bytes).map(|policy| Document::Policy(Box::new(policy)));
    }
    match sources.read(bytes, &name) {
        Ok(machines) => Ok(Document::Machines(machines)),
        Err(ReadError::Policy) => policy(path, bytes).map(|policy| Document::Policy(Box::new(policy))),
        Err(source) => Err(match other_format(bytes) {
            Some((what, hint)) => Problem::OtherFormat { path: path.to_owned(), what, hint },
            None => Problem::Dump { path: path.to_owned(), source },
        }),
    }
}

/// What a file is that is known here and not read, and what to do about it.
fn other_format(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const PACKED: [(&[u8], &str); 4] = [
        (b"\x1f\x8b", "a gzip archive"),
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"BZh", "a bzip2 archive"),
    ];
    if let Some((_, what)) = PACKED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some((what, "unpack it first"));
    }
    None
}

/// Reads a file that must hold a policy.
pub(crate) fn read_policy(path: &Path) -> Result<StoredPolicy, Problem> {
    match read(path, &Sources::default())? {
        Document::Policy(policy) => Ok(*policy),
        Document::Machines(_) => Err(Problem::NotPolicy { path: path.to_owned() }),
    }
}

/// Whether standard input was read: it would be empty the next time.
static IS_STDIN_READ: AtomicBool = AtomicBool::new(false);

/// The bytes of a file, all at once; `-` is standard input.
pub(crate) fn bytes_of(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let limit = LIMIT_MIB << 20;
    let read = || -> io::Result<usize> {
        if path.as_os_str() == "-" {
            if IS_STDIN_READ.swap(true, Ordering::Relaxed) {
                return Err(io::Error::other("asked for a second time, and it comes once"));
            }
            io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
        } else {
            let file = File::open(path)?;
            // What grows while it is read is copied again and again.
            let expected = file.metadata().map_or(0, |metadata| metadata.len().min(limit));
            bytes.reserve_exact(usize::try_from(expected).unwrap_or(0).saturating_add(1));
            file.take(limit + 1).read_to_end(&mut bytes)
        }
    };
    let count = { read }().map_err(|source| Problem::Read { path: path.to_owned(), source })?;
    if count as u64 > limit {
        return Err(Problem::TooLarge { path: path.to_owned(), limit_mib: LIMIT_MIB });
    }
    Ok(bytes)
}

/// A file that can be read here and there, however large it is; none where it comes from front to end.
pub(crate) fn regular_file(path: &Path) -> Result<Option<File>, Problem> {
    if path.as_os_str() == "-" || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(None);
    }
    File::open(path).map(Some).map_err(|source| Problem::Read { path: path.to_owned(), source })
}

fn policy(path: &Path, text: &[u8]) -> Result<StoredPolicy, Problem> {
    let file = PolicyFile::parse(text).map_err(|source| Problem::Policy { path: path.to_owned(), source })?;
    if crate::host::vendor(&file.policy.leaves).is_empty() && file.policy.leaves.features().is_empty() {
        return Err(Problem::NoVendor { path: path.to_owned() });
    }
    Ok(StoredPolicy::of(&file))
}

/// Whether the text is JSON that this command printed: it says its schema.
fn is_own_json(bytes: &[u8]) -> bool {
    let is_object = bytes.trim_ascii_start().starts_with(b"{");
    let first = || serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>().next();
    is_object && first().and_then(Result::ok).is_some_and(|value| value.get("schema").is_some())
}

/// Takes the `policy` member out of the JSON of `level` or `policy`.
fn json_policy(path: &Path, bytes: &[u8]) -> Result<StoredPolicy, Problem> {
    let no_policy = || Problem::Json { path: path.to_owned() };
    let document: serde_json::Value = serde_json::from_slice(bytes).map_err(|_| no_policy())?;
    match document.get("policy") {
        Some(serde_json::Value::String(text)) => policy(path, text.as_bytes()),
        Some(serde_json::Value::Null) => Err(Problem::RefusedLevel { path: path.to_owned() }),
        _ => Err(no_policy()),
    }
}
