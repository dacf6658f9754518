//! `xstate convert`: an image in the other format, or as another host keeps it.

use selfsame_xstate::{
    Component, ComponentSet, Configurations, Format, Image, InterfaceError, Layout, Reader, WriteError,
};

use super::arguments::XstateConvertArguments;
use super::format_name;
use super::image_file::{HostCpu, ImageFile};
use crate::Verdict;
use crate::output_file::{self, Over, Written, is_stdout};
use crate::problem::{Problem, shown};
use crate::terminal::{complain, note, print};

pub(crate) fn run(arguments: &XstateConvertArguments) -> Result<Verdict, Problem> {
    let inputs = std::iter::once(&arguments.file).chain(&arguments.host).chain(&arguments.image.from_host);
    output_file::guard(Some(&arguments.written), Written::Image, Over::forced(arguments.force), inputs, false)?;
    let file = ImageFile::read(&arguments.file, &arguments.image)?;
    let (saved, state) = file.one_state()?;
    let saver = file.saver(&saved, &state)?;
    file.note_findings(&saved);
    if let Some(doubt) = saver.doubt.as_ref().filter(|doubt| doubt.is_loud) {
        note(&format!("{}: {}: {}", shown(file.path()), doubt.what, doubt.reason));
    }
    let named = arguments.host.as_deref().map(HostCpu::load).transpose()?;
    let host = named.as_ref().unwrap_or(&*saver.cpu);

    // MXCSR, addresses and CET have to be lawful where the image is going.
    let allowed = saver.cpu.geometry.components() | ComponentSet::LEGACY;
    let reader = Reader::new(&saver.cpu.geometry, allowed)
        .with_mxcsr_mask(host.mxcsr_mask)
        .with_addresses(host.addresses)
        .with_cet(host.cet);
    let refused = |reasons: Vec<String>| {
        complain(&format!("{}: refused: {}", shown(file.path()), reasons.join("; ")));
        Ok(Verdict::Refused)
    };
    let Ok(image) = reader.read(state.image) else {
        return refused(reader.faults(state.image).map(|fault| fault.to_string()).collect());
    };
    let host = match (named, arguments.to) {
        (Some(host), _) => host,
        (None, Format::Standard) => saver.as_host(file.path(), image.in_use())?,
        (None, Format::Compacted) => (*saver.cpu).clone(),
    };
    let bytes = match write(&image, arguments.to, &host.configurations()?) {
        Ok(bytes) => bytes,
        Err(error) => return refused(vec![error.to_string()]),
    };
    output_file::write_bytes(&arguments.written, &bytes)?;
    if !is_stdout(&arguments.written) {
        let (path, format, in_use) = (shown(&arguments.written), format_name(arguments.to), image.in_use());
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
    let is_supervisor = |component: &Component| host.geometry().is_supervisor(*component);
    let supervisor: ComponentSet = in_use.iter().filter(is_supervisor).collect();
    if format == Format::Standard && !supervisor.is_empty() {
        // A layout would leave out what has no place in its format.
        return Err(WriteError::NoPlace { components: supervisor }.into());
    }
    let wanted = match format {
        Format::Standard => in_use | host.guest_user().default(),
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
