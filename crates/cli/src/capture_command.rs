//! `capture`: what this machine is, as a file.

use crate::Verdict;
use crate::args::CaptureArguments;
use crate::problem::Problem;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn run(arguments: &CaptureArguments) -> Result<Verdict, Problem> {
    use crate::output_file;
    use crate::progress::Progress;
    use crate::terminal::{note, print};

    let name = arguments.name.as_deref();
    output_file::guard(
        arguments.file.as_deref(),
        output_file::Written::Capture,
        output_file::Over::forced(arguments.force),
        [],
        false,
    )?;
    let dump = if arguments.kvm {
        crate::capture::kvm(name)
    } else {
        let mut progress: Option<Progress> = None;
        crate::capture::machine(name, &mut |done, total| {
            progress.get_or_insert_with(|| Progress::new("capturing CPUs", total)).reach(done);
        })
    };
    let dump = dump.map_err(|error| Problem::Capture { message: with_causes(&error) })?;
    for finding in &dump.findings {
        note(&finding.to_string());
    }
    let text = selfsame_formats::write_capture(&dump);
    match &arguments.file {
        Some(path) => output_file::write(path, &text)?,
        None => print(&text)?,
    }
    Ok(Verdict::Done)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    message
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn run(_: &CaptureArguments) -> Result<Verdict, Problem> {
    let message = "capture runs on Linux on x86-64 only; `cpuid -r` elsewhere writes a dump that is read as well";
    Err(Problem::Capture { message: message.to_owned() })
}
