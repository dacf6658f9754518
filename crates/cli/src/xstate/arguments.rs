//! The command line of `xstate`, as clap reads it.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use selfsame_xstate::Format;

use crate::args::Output;

/// `xstate`
#[derive(Args, Debug)]
pub(crate) struct XstateArguments {
    /// What to do with extended state.
    #[command(subcommand)]
    pub(crate) command: XstateCommand,
}

/// What to do with extended state.
#[derive(Debug, Subcommand)]
pub(crate) enum XstateCommand {
    /// Show what a host or policy keeps and where, or what is in a saved image and who would load it
    #[command(
        after_help = "Images are what KVM_GET_XSAVE or KVM_GET_XSAVE2 gives, core dumps of Linux, contexts of Xen HVM \
        guests, and guests as `xl save` writes them. Files may be of any size; of standard input and pipes, no more than \
        256 MiB are read.\n\nExample:\n  selfsame xstate show pool/bnode3\n  \
        selfsame xstate show core.1234"
    )]
    Show(XstateShowArguments),
    /// Write a saved image in the other format, or as another host keeps it
    #[command(
        after_help = "The image is written in its canonical form: equal states are equal bytes. KVM_SET_XSAVE takes \
        standard images only, and reads 4096 bytes or more: put zeros behind shorter ones.\n\n\
        Exit status 1: the image is not lawful, or what is in use does not fit; 2: the image does not tell whose CPU \
        saved it, and that matters. Nothing is written then.\n\nExample:\n  \
        selfsame xstate convert vcpu0 --to compacted -o vcpu0.compacted\n  \
        selfsame xstate convert vcpu0 --from-host pool/bnode3 --to standard --host pool/bnode4 -o vcpu0.bnode4"
    )]
    Convert(XstateConvertArguments),
    /// Say whether a guest with a policy can load a saved image on a host, with every reason why not
    #[command(after_help = "Exit status 1: the guest cannot load the image as it is, whether or not --sanitise wrote \
        another. --json prints an array for a file with several states.\n\nExample:\n  \
        selfsame xstate check vcpu0 --policy web.policy --host pool/bnode4\n  \
        selfsame xstate check vcpu0 --policy web.policy --sanitise -o vcpu0.lawful")]
    Check(XstateCheckArguments),
}

/// Which state of a file is meant, and which CPU saved it.
#[derive(Args, Debug)]
pub(crate) struct ImageArguments {
    /// The dump of the host that saved the image [default: what the file tells of it]
    #[arg(long, value_name = "DUMP")]
    pub(crate) from_host: Option<PathBuf>,
    /// The state of this vCPU, or of the thread with this id, where a file has several
    #[arg(long, value_name = "NUMBER")]
    pub(crate) vcpu: Option<u32>,
}

/// `xstate show`
#[derive(Args, Debug)]
pub(crate) struct XstateShowArguments {
    /// A dump, a policy, or a saved image
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) image: ImageArguments,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `xstate convert`
#[derive(Args, Debug)]
pub(crate) struct XstateConvertArguments {
    /// A saved image
    pub(crate) file: PathBuf,
    /// The format
    #[arg(long, value_name = "FORMAT", value_parser = image_format_parser())]
    pub(crate) to: Format,
    /// The dump of the host that is to load the image [default: the one that saved it, where the image tells it]
    #[arg(long, value_name = "DUMP")]
    pub(crate) host: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) image: ImageArguments,
    /// Write the image here
    #[arg(short = 'o', long = "output", value_name = "FILE", required = true)]
    pub(crate) written: PathBuf,
    /// Replace FILE of -o whatever it is, unless it is an input; without it, only an image that selfsame wrote
    #[arg(long)]
    pub(crate) force: bool,
}

/// `xstate check`
#[derive(Args, Debug)]
pub(crate) struct XstateCheckArguments {
    /// A saved image
    pub(crate) file: PathBuf,
    /// The guest's policy
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: PathBuf,
    /// The dump of the host that is to load the image [default: one that has what the policy has]
    #[arg(long, value_name = "DUMP")]
    pub(crate) host: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) image: ImageArguments,
    /// Write the nearest image that can be loaded: what is not lawful becomes initial
    #[arg(long, requires = "written")]
    pub(crate) sanitise: bool,
    /// Write that image here
    #[arg(short = 'o', long = "output", value_name = "FILE", requires = "sanitise", id = "written")]
    pub(crate) written: Option<PathBuf>,
    /// Replace FILE of -o whatever it is, unless it is an input; without it, only an image that selfsame wrote
    #[arg(long, requires = "written")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

fn image_format_parser() -> impl TypedValueParser<Value = Format> {
    use Format::{Compacted, Standard};
    PossibleValuesParser::new(["standard", "compacted"])
        .map(|text| if text == "standard" { Standard } else { Compacted })
}
