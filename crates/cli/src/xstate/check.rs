//! `xstate check`: whether a guest with a policy can load an image on a host.

use std::path::Path;

use selfsame_cpuid::Rule;
use selfsame_formats::saved::{RecordFault, Saved, SavedState};
use selfsame_xstate::{
    AreaError, Component, ComponentSet, Configurations, Format, HeaderFault, ImageFault, LoadRefusal, Reader,
    SaveMethod, WriteError, Xcr0Error,
};
use serde::Serialize;

use super::arguments::XstateCheckArguments;
use super::convert::write;
use super::image_file::{HostCpu, ImageFile};
use super::readings::readings;
use crate::Verdict;
use crate::document::read_policy;
use crate::finding::Finding;
use crate::json::{FindingMember, RefusalMember, SCHEMA, SideMember, print_document};
use crate::output_file::{self, Over, Written, is_stdout};
use crate::problem::{Problem, shown};
use crate::show::finding_line;
use crate::terminal::{BAD, GOOD, Page, complain, count, note, print};

#[derive(Debug, Serialize)]
struct CheckDocument {
    schema: u32,
    accepted: bool,
    image: String,
    /// The number of the vCPU or thread.
    number: u32,
    policy: String,
    host: String,
    refusals: Vec<RefusalMember>,
    findings: Vec<FindingMember>,
}

/// What is said of one image.
struct Answer {
    number: u32,
    refusals: Vec<RefusalMember>,
    findings: Vec<Finding>,
}

/// The guest and the host.
struct Asked<'a> {
    file: &'a ImageFile,
    policy: &'a str,
    guest: &'a HostCpu,
    states: ComponentSet,
    host: &'a HostCpu,
    configurations: Configurations<'a>,
}

pub(crate) fn run(arguments: &XstateCheckArguments) -> Result<Verdict, Problem> {
    let inputs =
        [&arguments.file, &arguments.policy].into_iter().chain(&arguments.host).chain(&arguments.image.from_host);
    output_file::guard(arguments.written.as_deref(), Written::Image, Over::forced(arguments.force), inputs, false)?;
    if arguments.written.as_deref().is_some_and(is_stdout) {
        return Err(Problem::ImageBesideAnswer);
    }
    let stored = read_policy(&arguments.policy)?;
    let guest = HostCpu::of_policy("any host that has what the policy has", &arguments.policy, &stored.policy);
    let states = guest.geometry.components() | ComponentSet::LEGACY;
    let file = ImageFile::read(&arguments.file, &arguments.image)?;
    let saved = if arguments.sanitise { file.one_state()?.0 } else { file.saved()? };
    file.note_findings(&saved);
    let host = match &arguments.host {
        Some(path) => HostCpu::load(path)?,
        None => guest.clone(),
    };
    let configurations = host.configurations()?;
    let asked = Asked { file: &file, policy: &stored.name, guest: &guest, states, host: &host, configurations };
    let mut answers = Vec::new();
    for state in &saved.states {
        answers.push(answer(&asked, &saved, state)?);
    }
    if let (Some(path), Some(state)) = (&arguments.written, saved.states.first()) {
        sanitise(&asked, &saved, state, path)?;
    }
    let is_accepted = answers.iter().all(|answer| answer.refusals.is_empty());
    let output = arguments.output;
    if output.json {
        let documents: Vec<CheckDocument> = answers.into_iter().map(|answer| document(&asked, answer)).collect();
        match &documents[..] {
            [document] => print_document(document)?,
            documents => print_document(&documents)?,
        }
    } else if output.quiet {
        print(&line(&saved, &answers))?;
    } else {
        page(&asked, &saved, &answers).print()?;
    }
    Ok(Verdict::of(is_accepted))
}

/// Judges one image.
fn answer(asked: &Asked<'_>, saved: &Saved<'_>, state: &SavedState<'_>) -> Result<Answer, Problem> {
    let saver = asked.file.saver(saved, state)?;
    let reader = reader(asked, &saver.cpu);
    let mut refusals: Vec<RefusalMember> =
        reader.load_refusals(state.image, &asked.configurations).map(|refusal| member(&refusal)).collect();
    if SaveMethod::of(&asked.guest.geometry) != SaveMethod::Fxsave
        && asked.configurations.method() == SaveMethod::Fxsave
    {
        let reason = "the policy has xsave, and the host gives guests no state beyond fxsave";
        refusals.push(refusal("xsave".to_owned(), Rule::NotOnHost, reason.to_owned()));
    }
    refusals.extend(state.record_faults(&asked.host.geometry, asked.states).iter().map(record_member));
    refusals.extend(moved(state, &saver.cpu, asked.host));
    let mut findings: Vec<Finding> =
        saver.doubt.into_iter().map(|doubt| Finding { rule: Rule::Layout, ..doubt }).collect();
    let header = state.header().unwrap_or_default();
    let kvm = readings(state.image, &header, &reader, asked.host).into_iter().filter(|reading| reading.reader == "kvm");
    for fault in kvm.flat_map(|reading| reading.faults.into_iter().chain(reading.quirks)) {
        findings.push(Finding { rule: Rule::Layout, ..Finding::malformed("KVM_SET_XSAVE", fault.reason) });
    }
    Ok(Answer { number: state.number, refusals, findings })
}

/// Refuses a standard image that has something in other places than the host; a compacted one tells its places itself.
fn moved(state: &SavedState<'_>, saver: &HostCpu, host: &HostCpu) -> Option<RefusalMember> {
    let header = state.header().unwrap_or_default();
    let place = |cpu: &HostCpu, component| cpu.geometry.row(component).map(|row| (row.offset_bytes, row.size_bytes));
    let is_moved = |component: &Component| match (place(saver, *component), place(host, *component)) {
        (Some(here), Some(there)) => here != there,
        // What one of them has no place for is refused as that.
        _ => false,
    };
    let moved: ComponentSet = header.present().iter().filter(is_moved).collect();
    if header.format() == Format::Compacted || moved.is_empty() {
        return None;
    }
    let places = "lies elsewhere on the host, which would load other bytes: `selfsame xstate convert --host` moves it";
    Some(refusal(moved.to_string(), Rule::Layout, places.to_owned()))
}

/// What the guest may have, in the places of the CPU that saved it, on behalf of the host's.
fn reader<'g>(asked: &Asked<'_>, saver: &'g HostCpu) -> Reader<'g> {
    let host = asked.host;
    Reader::new(&saver.geometry, asked.states)
        .with_mxcsr_mask(host.mxcsr_mask)
        .with_addresses(host.addresses)
        // On every host that the guest may run on there is as much of it.
        .with_cet(asked.guest.cet)
}

/// A refusal in the words of the library.
fn member(refusal: &LoadRefusal) -> RefusalMember {
    let (what, rule) = match refusal {
        LoadRefusal::Image(fault) => (what(fault), Rule::Malformed),
        LoadRefusal::Area(AreaError::NotOnHost { components }) => (components.to_string(), Rule::NotOnHost),
        LoadRefusal::Misfit(WriteError::NoPlace { components }) => (components.to_string(), Rule::NotOnHost),
        LoadRefusal::Misfit(WriteError::SizeDiffers { component, .. } | WriteError::Overlap { component }) => {
            (component.to_string(), Rule::Layout)
        }
        _ => ("area".to_owned(), Rule::Layout),
    };
    self::refusal(what, rule, refusal.to_string())
}

/// A refusal for which Xen does not restore a vCPU.
fn record_member(fault: &RecordFault) -> RefusalMember {
    let what = match fault {
        RecordFault::Xcr0(Xcr0Error::Unsupported { unsupported: components, .. })
        | RecordFault::Accumulated(Xcr0Error::Unsupported { unsupported: components, .. })
        | RecordFault::NeverEnabled { components }
        | RecordFault::NotAccumulated { components } => components.to_string(),
        RecordFault::Xcr0(_) | RecordFault::Accumulated(_) => "xcr0".to_owned(),
        RecordFault::Compacted | RecordFault::CompactionBits { .. } | RecordFault::ReservedBytes => "header".to_owned(),
        _ => "record".to_owned(),
    };
    let rule = match fault {
        // Sound where it was saved, perhaps.
        RecordFault::TooShort { .. } | RecordFault::TooLong { .. } | RecordFault::Tail { .. } => Rule::Layout,
        _ => Rule::Malformed,
    };
    refusal(what, rule, fault.to_string())
}

fn refusal(what: String, rule: Rule, reason: String) -> RefusalMember {
    let nothing = SideMember::Nothing(());
    RefusalMember { what, rule: rule.name(), guest: nothing.clone(), host: nothing, reason }
}

/// What of an image is refused.
fn what(fault: &ImageFault) -> String {
    match fault {
        ImageFault::Header(
            HeaderFault::NotEnabled { components }
            | HeaderFault::Supervisor { components }
            | HeaderFault::PlaceNotEnabled { components }
            | HeaderFault::NoPlace { components },
        )
        | ImageFault::Unlawful { components } => components.to_string(),
        ImageFault::Header(_) => "header".to_owned(),
        ImageFault::Mxcsr { .. } => "mxcsr".to_owned(),
        _ => "image".to_owned(),
    }
}

/// Writes the nearest image that can be loaded, if there is one.
fn sanitise(asked: &Asked<'_>, saved: &Saved<'_>, state: &SavedState<'_>, path: &Path) -> Result<(), Problem> {
    let saver = asked.file.saver(saved, state)?;
    let reader = reader(asked, &saver.cpu);
    let refused = |reason: String| complain(&format!("{}: not written: {reason}", shown(path)));
    let sanitised = match reader.sanitise(state.image) {
        Ok(sanitised) => sanitised,
        Err(fault) => {
            refused(fault.to_string());
            return Ok(());
        }
    };
    let image = sanitised.image();
    match write(image, image.format(), &asked.configurations) {
        Ok(bytes) => {
            output_file::write_bytes(path, &bytes)?;
            let mended = count(sanitised.mended().count(), "fault");
            note(&format!("{}: {} bytes, {mended} mended, {} in use", shown(path), bytes.len(), image.in_use()));
        }
        Err(error) => refused(error.to_string()),
    }
    Ok(())
}

fn document(asked: &Asked<'_>, answer: Answer) -> CheckDocument {
    CheckDocument {
        schema: SCHEMA,
        accepted: answer.refusals.is_empty(),
        image: asked.file.name(),
        number: answer.number,
        policy: asked.policy.to_owned(),
        host: asked.host.name.clone(),
        refusals: answer.refusals,
        findings: answer.findings.iter().map(FindingMember::of).collect(),
    }
}

/// One line for all images, as `check` has it for hosts.
fn line(saved: &Saved<'_>, answers: &[Answer]) -> String {
    let reasons = |answer: &Answer| count(answer.refusals.len(), "reason");
    let refused: Vec<&Answer> = answers.iter().filter(|answer| !answer.refusals.is_empty()).collect();
    match (answers, &refused[..]) {
        (_, []) => "accepted\n".to_owned(),
        ([_], [answer]) => format!("refused: {}\n", reasons(answer)),
        _ => {
            let list: Vec<String> =
                refused.iter().map(|answer| format!("{} ({})", answer.number, reasons(answer))).collect();
            format!("refused: {} {}\n", saved.format.holder(), list.join(", "))
        }
    }
}

fn page(asked: &Asked<'_>, saved: &Saved<'_>, answers: &[Answer]) -> Page {
    let mut page = Page::new();
    for answer in answers {
        let name = match saved.format.holder() {
            "image" => asked.file.name(),
            holder => format!("{holder} {} of {}", answer.number, asked.file.name()),
        };
        let (policy, host) = (asked.policy, &asked.host.name);
        if answer.refusals.is_empty() {
            page.prose(&format!("{GOOD}Accepted{GOOD:#}: a guest with {policy} can load {name} on {host}"));
        } else {
            page.prose(&format!("{BAD}Refused{BAD:#}: a guest with {policy} cannot load {name} on {host}"));
            page.line("");
            let row = |refusal: &RefusalMember| [refusal.what.clone(), refusal.rule.to_owned(), refusal.reason.clone()];
            page.table(["what", "rule", "because"], &answer.refusals.iter().map(row).collect::<Vec<_>>());
        }
        if !answer.findings.is_empty() {
            page.line("");
        }
        for finding in &answer.findings {
            finding_line(&mut page, finding);
        }
    }
    page
}
