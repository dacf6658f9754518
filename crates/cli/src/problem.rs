//! Why the command cannot do what was asked: one message that says what, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use selfsame_cpuid::text::TextError;
use selfsame_cpuid::{Kind, TrimReason};
use selfsame_formats::ReadError;
use selfsame_formats::export::ExportError;
use selfsame_formats::libvirt::{CpuMapError, GuestError};
use selfsame_formats::saved::SavedError;
use selfsame_xstate::{ComponentSet, ConfigurationError};

/// Input that cannot be used, or a use that makes no sense. A refusal is not one: it is an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A file cannot be read.
    #[error("{}: cannot be read: {}", shown(path), io_text(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is larger than any dump.
    #[error("{}: larger than {limit_mib} MiB: is it a dump?", shown(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit_mib: u64,
    },
    /// A file is no dump.
    #[error("{}: {}", shown(path), printable(&source.to_string()))]
    Dump {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ReadError,
    },
    /// A file is no policy.
    #[error("{}: {source}", shown(path))]
    Policy {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: TextError,
    },
    /// A JSON file is not the output of `level` or `policy`.
    #[error("{}: JSON without a policy: give the output of `selfsame level --json`, or a policy file", shown(path))]
    Json {
        /// The file.
        path: PathBuf,
    },
    /// A JSON file tells of hosts without a level.
    #[error("{}: the hosts of this level were refused, so it holds no policy", shown(path))]
    RefusedLevel {
        /// The file.
        path: PathBuf,
    },
    /// Several files cannot be used.
    #[error("{} of {total} files cannot be used (--skip-bad leaves them out):{}", problems.len(), list(problems))]
    Several {
        /// Why, for each.
        problems: Vec<Problem>,
        /// How many files there are.
        total: usize,
    },
    /// A directory has no dump.
    #[error("{}: no dump in this directory{}", shown(path), hint.as_deref().unwrap_or_default())]
    NoDump {
        /// The directory.
        path: PathBuf,
        /// What there is instead.
        hint: Option<String>,
    },
    /// Every file was left out.
    #[error("no host is left: none of the {total} files can be used")]
    NothingLeft {
        /// How many files there are.
        total: usize,
    },
    /// A dump stands where a policy is asked for.
    #[error(
        "{}: this is a dump of a machine, not a policy; make one with `selfsame policy --from {}`",
        shown(path),
        shown(path)
    )]
    NotPolicy {
        /// The file.
        path: PathBuf,
    },
    /// A file tells of several machines where one is asked for.
    #[error("{}: tells of {count} machines, where one is asked for: give a file of one", shown(path))]
    SeveralMachines {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// libvirt's map of models cannot be used.
    #[error("--cpu-map: {0}")]
    CpuMap(#[from] CpuMapError),
    /// A guest's definition cannot be judged.
    #[error("{}: {}", shown(path), printable(&source.to_string()))]
    Guest {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: GuestError,
    },
    /// A directory stands where one file is asked for.
    #[error("{}: a directory; give one file", shown(path))]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// What a host says is about another kind of guest.
    #[error(
        "{}: {what} {found} guests; it says nothing about {wanted} guests (--kind {found} asks about those)",
        shown(path)
    )]
    Kind {
        /// The file.
        path: PathBuf,
        /// Whether it is a policy for, or what a hypervisor offers to.
        what: &'static str,
        /// The kind it is about.
        found: Kind,
        /// The kind that was asked for.
        wanted: Kind,
    },
    /// A word of `cpuid=` was not understood.
    #[error("cpuid= word `{word}`: {reason}{}", suggestion(suggestions))]
    Word {
        /// The word.
        word: String,
        /// Why.
        reason: TrimReason,
        /// What may have been meant.
        suggestions: Vec<&'static str>,
    },
    /// A positional word is not `cpuid=WORDS`.
    #[error("`{word}`: expected cpuid=WORDS, such as cpuid=no-avx2,hvm:no-pku; hosts go after --from")]
    NotWords {
        /// The word.
        word: String,
    },
    /// No feature has this name.
    #[error("no feature or number is called `{name}`{}", suggestion(suggestions))]
    UnknownFeature {
        /// The name.
        name: String,
        /// What may have been meant.
        suggestions: Vec<&'static str>,
    },
    /// A bit without a name.
    #[error("{place}: no manual known here names this bit; hosts that have it do not give it to guests")]
    UnnamedPlace {
        /// The place.
        place: String,
    },
    /// A policy has no form that the target takes.
    #[error("--export: {0}")]
    Export(#[from] ExportError),
    /// A manual page of no subcommand.
    #[error("no subcommand is called `{name}`; `selfsame --help` lists them")]
    UnknownCommand {
        /// The name.
        name: String,
    },
    /// The answer and the policy both want standard output.
    #[error("-o - and --json would both write to standard output; the JSON has the policy as its `policy` member")]
    TwoOutputs,
    /// The file to be written is one that is read.
    #[error("{}: is an input: it is not written over; give -o another name", shown(path))]
    OverInput {
        /// The file.
        path: PathBuf,
    },
    /// The file to be written is there and something else.
    #[error(
        "{}: is there and is {what}: it is not written over; give -o another name, or --force to replace it",
        shown(path)
    )]
    OverOther {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A policy of no CPU.
    #[error("{}: this policy has no vendor and no feature: no CPU is like that", shown(path))]
    NoVendor {
        /// The file.
        path: PathBuf,
    },
    /// A file of a format that is known and not read.
    #[error("{}: this is {what}; {hint}", shown(path))]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What to give instead.
        hint: &'static str,
    },
    /// A spelling of several features.
    #[error("`{name}` is the name of several features: {}; say which", candidates.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Their canonical names.
        candidates: Vec<&'static str>,
    },
    /// A file cannot be written.
    #[error("{}: cannot be written: {}; nothing was left there", shown(path), io_text(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No hypervisor would keep extended state by this leaf 0xD.
    #[error(
        "the cpu's leaf 0000000d contradicts itself: what is to be saved cannot be told (`selfsame show` says why)"
    )]
    NoPlatform,
    /// The same of a host that an image comes from or goes to.
    #[error("{told_by} contradicts itself, so what is kept there cannot be told: {source}")]
    NoConfigurations {
        /// What tells it, and in which file.
        told_by: String,
        /// What is wrong.
        source: ConfigurationError,
    },
    /// A file holds no extended state.
    #[error("{}: {source}", shown(path))]
    Saved {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: SavedError,
    },
    /// A file holds the states of several, where one is asked for.
    #[error("{}: has the state of {count} {holder}s: say with --vcpu which one ({numbers})", shown(path))]
    SeveralStates {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// Whose they are.
        holder: &'static str,
        /// Their numbers.
        numbers: String,
    },
    /// A file does not hold the state that is asked for.
    #[error("{}: has no state of {holder} {number}, but of {numbers}", shown(path))]
    NoSuchState {
        /// The file.
        path: PathBuf,
        /// Whose states it has.
        holder: &'static str,
        /// Whose was asked for.
        number: u32,
        /// Those that there are.
        numbers: String,
    },
    /// Nothing tells where the CPU that saved an image keeps components.
    #[error("{}: does not say whose CPU saved it: give that host's dump with --from-host", shown(path))]
    NoOrigin {
        /// The file.
        path: PathBuf,
    },
    /// A standard image is to be written, and nothing tells for whose CPU.
    #[error(
        "{}: does not say whose CPU saved it, and {components} lie in other places on Intel's and on AMD's: give the dump of \
         the host that is to load the image with --host, or of the one that saved it with --from-host",
        shown(path)
    )]
    OpenPlaces {
        /// The file.
        path: PathBuf,
        /// What is in use and lies in different places.
        components: ComponentSet,
    },
    /// The image would be written where the answer is.
    #[error("-o - and an answer would both write to standard output; give -o a file")]
    ImageBesideAnswer,
    /// Standard output cannot be written.
    #[error("standard output cannot be written: {}", io_text(.0))]
    Output(io::Error),
    /// The output cannot be put into its form.
    #[error("the answer cannot be written as JSON: {0}")]
    Serialise(#[from] serde_json::Error),
    /// This machine cannot be captured.
    #[error("{message}")]
    Capture {
        /// Why, with its causes.
        message: String,
    },
}

/// A path as it is printed: control characters would take the terminal over.
pub(crate) fn shown(path: &Path) -> String {
    if path.as_os_str() == "-" {
        return "standard input".to_owned();
    }
    printable(&path.to_string_lossy())
}

/// Text of unknown origin as it is printed.
pub(crate) fn printable(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// An error of the system without its number.
fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

fn list(problems: &[Problem]) -> String {
    /// A wrong directory would fill the terminal.
    const MANY: usize = 20;
    let mut text: String = problems.iter().take(MANY).map(|problem| format!("\n  {problem}")).collect();
    if problems.len() > MANY {
        text.push_str(&format!("\n  ... and {} more", problems.len() - MANY));
    }
    text
}

fn suggestion(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => format!("; did you mean {name}?"),
        [names @ .., last] => format!("; did you mean {} or {last}?", names.join(", ")),
    }
}
