//! `xstate convert`: an image in the other format, or as another host keeps it.

use selfsame_xstate::{ComponentSet, Configurations, Format, Image, InterfaceError, Layout, Reader, WriteError};

use super::format_name;
use super::image_file::{HostCpu, ImageFile};
use crate::Verdict;
use crate::args::XstateConvertArguments;
use crate::output_file::{self, Written, is_stdout};
use crate::problem::{Problem, shown};
use crate::terminal::{complain, print};

pub(crate) fn run(arguments: &XstateConvertArguments) -> Result<Verdict, Problem> {
    let inputs = std::iter::once(&arguments.file).chain(&arguments.host).chain(&arguments.image.from_host);
    output_file::guard(Some(&arguments.written), Written::Image, inputs, false)?;
    let file = ImageFile::read(&arguments.file)?;
    let saved = file.one_state(&arguments.image)?;
    let Some(state) = saved.states.first() else { return Ok(Verdict::Refused) };
    let saver = file.saver(&saved, state, &arguments.image)?;
    let host = arguments.host.as_deref().map(HostCpu::load).transpose()?;
    let host = host.as_ref().unwrap_or(&saver.cpu);
    let configurations = host.configurations()?;

    // MXCSR and addresses have to be lawful where the image is going.
    let allowed = saver.cpu.geometry.components() | ComponentSet::LEGACY;
    let reader =
        Reader::new(&saver.cpu.geometry, allowed).with_mxcsr_mask(host.mxcsr_mask).with_addresses(host.addresses);
    let mut reasons: Vec<String> = reader.faults(state.image).map(|fault| fault.to_string()).collect();
    let image = reader.read(state.image);
    let written = image.as_ref().map(|image| write(image, arguments.to, &configurations));
    let bytes = match written {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            reasons.push(error.to_string());
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    if !reasons.is_empty() {
        complain(&format!("{}: refused: {}", shown(file.path()), reasons.join("; ")));
        return Ok(Verdict::Refused);
    }
    output_file::write_bytes(&arguments.written, &bytes)?;
    if !is_stdout(&arguments.written) {
        let in_use = image.map(|image| image.in_use()).unwrap_or_default();
        let (path, format) = (shown(&arguments.written), format_name(arguments.to));
        print(&format!("{path}: {format} as on {}, {} bytes, {in_use} in use\n", host.name, bytes.len()))?;
    }
    Ok(Verdict::Done)
}

/// Writes an image as a host keeps it, whole or not at all.
///
/// A standard image is as long as what guests of the host have without asking, and what is in use; a compacted one has places
/// for what is in use.
pub(super) fn write(image: &Image<'_>, format: Format, host: &Configurations<'_>) -> Result<Vec<u8>, InterfaceError> {
    let in_use = image.in_use();
    let supervisor = in_use.iter().filter(|&component| host.geometry().is_supervisor(component)).collect();
    let wanted = match format {
        // What has no place in the format is an error, not left out.
        Format::Standard if in_use.intersection(supervisor).is_empty() => in_use | host.guest_user().default(),
        Format::Standard => return Err(WriteError::NoPlace { components: supervisor }.into()),
        Format::Compacted => in_use | ComponentSet::LEGACY,
    };
    let missing = in_use - host.guest_kernel().max() - ComponentSet::LEGACY;
    if !missing.is_empty() {
        return Err(WriteError::NoPlace { components: missing }.into());
    }
    let layout = Layout::new(format, wanted, host.geometry())?;
    let len = usize::try_from(layout.size_bytes()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len.min(MOST_BYTES)];
    image.write(&layout, &mut bytes)?;
    Ok(bytes)
}

/// No layout of components that an image can hold is larger; memory is not for a hostile leaf 0xD.
const MOST_BYTES: usize = 1 << 24;
