//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use selfsame_cpuid::{Kind, Topology};
use selfsame_formats::Format;
use selfsame_formats::export::Target;

use crate::xstate::XstateArguments;

/// What the command line asks for.
#[derive(Debug, Parser)]
#[command(
    name = "selfsame",
    version,
    about = "Says what CPU a virtual machine can be given on every host of a pool, and why",
    long_about = "Says what CPU a virtual machine can be given on every host of a pool, and why.\n\n\
        A host is a dump of its CPUs: a capture by `selfsame capture`, the output of `cpuid -r`, an AIDA64/InstLatx64 \
        text file, or XML of libvirt with its `<cpu>`. Where a host is asked for, a directory means every dump in it, and \
        `-` reads one from standard input.",
    after_help = "Exit status: 0 done or accepted, 1 refused, 2 unusable input or usage.\n\n\
        Example: capture each host, then see what they can all give:\n  \
        selfsame capture -o pool/$(hostname -s)\n  selfsame level pool\n  selfsame level pool -o web.policy\n  \
        selfsame check --guest web.policy --host pool",
    max_term_width = 100
)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what hosts or policies have: features, extended state, and what is odd about them
    #[command(after_help = "Example:\n  selfsame show pool/bnode3\n  selfsame show --json pool | jq '.[].features'")]
    Show(ShowArguments),
    /// Find the CPU that all hosts can give, and say what each of them costs the pool
    #[command(
        after_help = "Exit status 1: the hosts have no level, a feature asked for is not in it, or a running guest \
        would not survive.\n\nExample:\n  selfsame level pool\n  selfsame level pool --kind hvm --cpuid no-avx512f -o \
        web.policy\n  selfsame level pool new-host.txt --running web.policy\n  selfsame level pool --export libvirt -o cpu.xml"
    )]
    Level(LevelArguments),
    /// Say whether a guest can run on hosts, with every reason why not
    #[command(after_help = "Exit status 1: some host refuses the guest.\n\nExample:\n  \
        selfsame check --guest web.policy --host pool/bnode3\n  selfsame check --guest web.policy --host pool --strict")]
    Check(CheckArguments),
    /// Write the policy of a host, of a pool's level, or of a level with other words
    #[command(after_help = "Exit status 1: a feature asked for cannot be given.\n\nExample:\n  \
        selfsame policy --from pool/bnode3 -o bnode3.policy\n  \
        selfsame policy --from web.policy cpuid=no-avx2,hvm:no-pku --topology sockets=1,cores=4,threads=2")]
    Policy(PolicyArguments),
    /// Explain a feature or number: what it is, who gets it, and why a host does not give it
    #[command(after_help = "Example:\n  selfsame explain avx512f pool\n  selfsame explain '00000007.0.ebx[16]'\n  \
        selfsame explain --rules")]
    Explain(ExplainArguments),
    /// Show in what two hosts or policies differ
    #[command(after_help = "Exit status 0, whether they differ or not.\n\nExample:\n  \
        selfsame diff pool/bnode3 pool/bnode4\n  selfsame diff before.policy after.policy")]
    Diff(DiffArguments),
    /// Capture this machine: every logical CPU, or what its KVM offers
    #[command(after_help = "MSRs tell of features too; only root can read them.\n\nExample:\n  \
        sudo selfsame capture -o pool/$(hostname -s)\n  selfsame capture --kvm -o pool-kvm/$(hostname -s)")]
    Capture(CaptureArguments),
    /// Tell what a context switch writes
    Switch(SwitchArguments),
    /// Show, convert and check extended state: what hosts keep of a guest's registers, and what was saved of them
    Xstate(XstateArguments),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  selfsame completions bash > /etc/bash_completion.d/selfsame")]
    Completions(CompletionsArguments),
    /// Print a manual page
    #[command(after_help = "Example:\n  selfsame man | man -l -\n  selfsame man level > selfsame-level.1")]
    Man(ManArguments),
}

/// How much to print, and for whom.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Print one JSON document
    ///
    /// `show` and `check` print an object if exactly one FILE is given that is a file, and an array for a directory or for
    /// several.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print one line
    #[arg(short, long, help_heading = "Output", conflicts_with_all = ["json", "verbose"])]
    pub(crate) quiet: bool,
    /// Print every name and every finding
    #[arg(short, long, help_heading = "Output", conflicts_with = "json")]
    pub(crate) verbose: bool,
}

/// How files are read.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourceArguments {
    /// Read files of hosts in this format instead of finding it out
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) format: Option<Format>,
    /// Take CPU models from libvirt's map in this directory [default: the models of this program, then
    /// /usr/share/libvirt/cpu_map]
    #[arg(long, value_name = "DIR")]
    pub(crate) cpu_map: Option<PathBuf>,
}

/// How hosts are read.
#[derive(Args, Clone, Debug)]
pub(crate) struct Reading {
    /// Leave out files that cannot be read, with a warning
    #[arg(long)]
    pub(crate) skip_bad: bool,
    #[command(flatten)]
    pub(crate) sources: SourceArguments,
}

/// `show`
#[derive(Args, Debug)]
pub(crate) struct ShowArguments {
    /// Dumps, policies, or directories of dumps
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `level`
#[derive(Args, Debug)]
pub(crate) struct LevelArguments {
    /// Dumps, policies, or directories of dumps
    #[arg(required = true, value_name = "HOST")]
    pub(crate) hosts: Vec<PathBuf>,
    /// The kind of guest
    #[arg(long, value_name = "KIND", default_value = "kvm", value_parser = kind_parser())]
    pub(crate) kind: Kind,
    /// Features to take away or to ask for: no-avx512f,hvm:no-pku,invtsc
    #[arg(long, value_name = "WORDS")]
    pub(crate) cpuid: Vec<String>,
    /// Policies of guests that run already: say where they would not survive, and keep the level's highest leaves
    #[arg(long, value_name = "POLICY", num_args = 1..)]
    pub(crate) running: Vec<PathBuf>,
    /// Write the level in the form that another stack takes, to standard output or to FILE of -o
    #[arg(long, value_name = "TARGET", value_parser = target_parser())]
    pub(crate) export: Option<Target>,
    /// Write the level as a policy file
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Replace FILE of -o whatever it is, unless it is an input
    #[arg(long, requires = "file")]
    pub(crate) force: bool,
    /// The policy's name
    #[arg(long, value_parser = name_parser)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `check`
#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    /// The guest: a policy file, or a host whose default policy it has
    #[arg(long, value_name = "POLICY")]
    pub(crate) guest: PathBuf,
    /// Dumps, policies, or directories of dumps
    #[arg(long = "host", value_name = "HOST", num_args = 1.., required = true)]
    pub(crate) hosts: Vec<PathBuf>,
    /// The kind of guest, where a policy does not say it [default: kvm]
    #[arg(long, value_name = "KIND", value_parser = kind_parser())]
    pub(crate) kind: Option<Kind>,
    /// Refuse also hosts that need a warning of which the guest does not know
    #[arg(long)]
    pub(crate) strict: bool,
    /// The cpuid= words of the hosts
    #[arg(long, value_name = "WORDS")]
    pub(crate) cpuid: Vec<String>,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `policy`
#[derive(Args, Debug)]
pub(crate) struct PolicyArguments {
    /// A dump, a directory of dumps or a file of several (their level is taken), a policy file, or the JSON of `level`
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Features to take away or to ask for, as cpuid=no-avx2,hvm:no-pku
    #[arg(value_name = "cpuid=WORDS")]
    pub(crate) words: Vec<String>,
    /// The kind of guest, where a policy does not say it [default: kvm]
    #[arg(long, value_name = "KIND", value_parser = kind_parser())]
    pub(crate) kind: Option<Kind>,
    /// The same words without cpuid=
    #[arg(long, value_name = "WORDS")]
    pub(crate) cpuid: Vec<String>,
    /// The guest's processors: sockets=2,cores=8,threads=2 (also dies of a socket, modules of a die)
    ///
    /// Counts need not be powers of two; what is left out counts 1. All leaves that tell of it are written, and the features
    /// ht and, on AMD, cmp-legacy follow it.
    #[arg(long, value_name = "TOPOLOGY")]
    pub(crate) topology: Option<Topology>,
    /// The policy's name
    #[arg(long, value_parser = name_parser)]
    pub(crate) name: Option<String>,
    /// Write it in the form that another stack takes instead of as a policy file
    #[arg(long, value_name = "TARGET", value_parser = target_parser())]
    pub(crate) export: Option<Target>,
    /// Write the policy here instead of to standard output
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Replace FILE of -o whatever it is, unless it is an input
    #[arg(long, requires = "file")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `explain`
#[derive(Args, Debug)]
pub(crate) struct ExplainArguments {
    /// A feature by any of its names or by its place, or a number such as maxphysaddr
    #[arg(required_unless_present = "rules", value_name = "FEATURE")]
    pub(crate) feature: Option<String>,
    /// Dumps, policies, or directories of dumps
    #[arg(value_name = "HOST")]
    pub(crate) hosts: Vec<PathBuf>,
    /// List the rules by which something is refused or lost
    #[arg(long, conflicts_with = "feature")]
    pub(crate) rules: bool,
    /// The kind of guest, where a policy does not say it
    #[arg(long, value_name = "KIND", default_value = "kvm", value_parser = kind_parser())]
    pub(crate) kind: Kind,
    /// The cpuid= words of the hosts
    #[arg(long, value_name = "WORDS")]
    pub(crate) cpuid: Vec<String>,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `diff`
#[derive(Args, Debug)]
pub(crate) struct DiffArguments {
    /// A dump or a policy
    pub(crate) a: PathBuf,
    /// Another
    pub(crate) b: PathBuf,
    #[command(flatten)]
    pub(crate) sources: SourceArguments,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `capture`
#[derive(Args, Debug)]
pub(crate) struct CaptureArguments {
    /// Capture what this machine's KVM can give to guests instead of what its CPUs have
    #[arg(long)]
    pub(crate) kvm: bool,
    /// The machine's name in the capture [default: the host name]
    #[arg(long, value_parser = name_parser)]
    pub(crate) name: Option<String>,
    /// Write the capture here instead of to standard output
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Replace FILE of -o whatever it is, unless it is an input
    #[arg(long, requires = "file")]
    pub(crate) force: bool,
}

/// `switch`
#[derive(Args, Debug)]
pub(crate) struct SwitchArguments {
    /// What to tell of switches.
    #[command(subcommand)]
    pub(crate) command: SwitchCommand,
}

/// What to tell of switches.
#[derive(Debug, Subcommand)]
pub(crate) enum SwitchCommand {
    /// Count what a CPU is written to between two guests, beside what Xen and KVM write
    #[command(after_help = "Counts, not cycles.\n\nExample:\n  selfsame switch cost --from hvm --to hvm\n  \
        selfsame switch cost --from pv --to hvm --cpu pool/bnode3")]
    Cost(SwitchCostArguments),
}

/// `switch cost`
#[derive(Args, Debug)]
pub(crate) struct SwitchCostArguments {
    /// Who leaves
    #[arg(long, value_name = "KIND", value_parser = side_parser())]
    pub(crate) from: Side,
    /// Who comes
    #[arg(long, value_name = "KIND", value_parser = side_parser())]
    pub(crate) to: Side,
    /// A dump of the CPU [default: one with everything]
    #[arg(long, value_name = "DUMP")]
    pub(crate) cpu: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Who is on a CPU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// No vCPU.
    Idle,
    /// A vCPU.
    Vcpu(selfsame_switch::VcpuKind),
}

impl Side {
    /// The name of [`Side::Idle`].
    pub(crate) const IDLE: &str = "idle";
    const ALL: [Self; 4] = [
        Self::Idle,
        Self::Vcpu(selfsame_switch::VcpuKind::Pv64),
        Self::Vcpu(selfsame_switch::VcpuKind::Pv32),
        Self::Vcpu(selfsame_switch::VcpuKind::Hvm),
    ];

    /// As on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Idle => Self::IDLE,
            Self::Vcpu(selfsame_switch::VcpuKind::Pv64) => "pv",
            Self::Vcpu(selfsame_switch::VcpuKind::Pv32) => "pv32",
            Self::Vcpu(selfsame_switch::VcpuKind::Hvm) => "hvm",
        }
    }

    /// The kind of the vCPU.
    pub(crate) const fn kind(self) -> Option<selfsame_switch::VcpuKind> {
        match self {
            Self::Idle => None,
            Self::Vcpu(kind) => Some(kind),
        }
    }
}

/// `completions`
#[derive(Args, Debug)]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `man`
#[derive(Args, Debug)]
pub(crate) struct ManArguments {
    /// The subcommand whose page is wanted
    pub(crate) command: Option<String>,
}

fn target_parser() -> impl TypedValueParser<Value = Target> {
    PossibleValuesParser::new(Target::ALL.map(Target::name)).try_map(|text| text.parse::<Target>())
}

fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|text| text.parse::<Format>())
}

fn kind_parser() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name)).try_map(|text| text.parse::<Kind>())
}

fn side_parser() -> impl TypedValueParser<Value = Side> {
    PossibleValuesParser::new(Side::ALL.map(Side::name))
        .map(|text| Side::ALL.into_iter().find(|side| side.name() == text).unwrap_or(Side::Idle))
}

/// A name of the grammar: one line, without a comment.
fn name_parser(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    let is_barred = |c: char| c.is_control() || c == '#';
    if name.is_empty() || name.contains(is_barred) {
        return Err("a name is one line of text without `#`");
    }
    Ok(name.to_owned())
}
