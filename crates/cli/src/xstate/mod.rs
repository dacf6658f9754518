//! `xstate`: what hosts keep of a guest's registers, and what was saved of them.

mod arguments;
mod check;
mod convert;
mod drawing;
mod host_page;
mod image_file;
mod image_page;
mod kept;
mod readings;

use selfsame_formats::ReadError;
use selfsame_formats::saved::SavedError;
use selfsame_xstate::Format;

use crate::Verdict;
use crate::document;
use crate::host::Machine;
use crate::problem::Problem;
use crate::sources::Sources;
use arguments::XstateShowArguments;
use image_file::{ImageFile, Opened};

pub(crate) use arguments::{XstateArguments, XstateCommand};
pub(crate) use check::run as check;
pub(crate) use convert::run as convert;

/// `xstate show`: a saved image, or else a dump or policy.
pub(crate) fn show(arguments: &XstateShowArguments) -> Result<Verdict, Problem> {
    let path = &arguments.file;
    let bytes = match ImageFile::open(path, &arguments.image)? {
        Opened::Saved(file) => return image_page::show(&file, arguments.output),
        Opened::Other(Some(bytes)) => bytes,
        Opened::Other(None) => document::bytes_of(path)?,
    };
    let document = document::of_bytes(path, &bytes, &Sources::default()).map_err(|problem| match problem {
        // What is no text was meant as an image.
        Problem::Dump { path, source: ReadError::Binary { .. } } => {
            Problem::Saved { path, source: SavedError::Unknown }
        }
        problem => problem,
    })?;
    let machine = Machine::one_of(path, &document)?;
    host_page::show(&machine, arguments.output)
}

/// As on the command line.
const fn format_name(format: Format) -> &'static str {
    match format {
        Format::Standard => "standard",
        Format::Compacted => "compacted",
    }
}
