//! `xstate show` of a file with saved images: what is in them, where it lies, and who would load them.

use selfsame_formats::saved::{Saved, SavedState, XenMasks};
use selfsame_xstate::{Component, ComponentSet, EXTENDED_START_BYTES, Format, Header, Image, Layout, Reader};
use serde::Serialize;

use super::image_file::{ImageFile, Saver};
use super::readings::{Reading, readings};
use super::{drawing, format_name};
use crate::Verdict;
use crate::args::Output;
use crate::finding::Finding;
use crate::json::{FindingMember, SCHEMA, hex, print_document};
use crate::problem::Problem;
use crate::show::finding_line;
use crate::terminal::{Page, print};

#[derive(Debug, Serialize)]
struct ImagesDocument {
    schema: u32,
    name: String,
    source: &'static str,
    images: Vec<ImageMember>,
    /// What was wrong with the file, and how it was taken.
    findings: Vec<FindingMember>,
}

#[derive(Debug, Serialize)]
struct ImageMember {
    /// The number of the vCPU or thread.
    number: u32,
    bytes: usize,
    /// As many bytes as the CPU writes; nothing where it is not known where components lie.
    whole_bytes: Option<u32>,
    /// What is behind them.
    extra_bytes: Option<usize>,
    format: &'static str,
    xstate_bv: String,
    xcomp_bv: String,
    mxcsr: Option<String>,
    mxcsr_mask: Option<String>,
    /// What Linux wrote of its host into bytes 464 to 471.
    host_mask: Option<String>,
    /// What Xen wrote.
    xcr0: Option<String>,
    accumulated_xcr0: Option<String>,
    /// What tells where the components lie.
    places: String,
    components: Vec<ComponentMember>,
    readings: Vec<Reading>,
    findings: Vec<FindingMember>,
}

#[derive(Debug, Serialize)]
struct ComponentMember {
    name: String,
    index: u8,
    size: u32,
    offset: u32,
    /// `in-use`, `initial` where it is there in its initial configuration, `absent` where only its place is.
    state: &'static str,
}

/// An image as far as it can be read.
struct Shown<'a> {
    state: &'a SavedState<'a>,
    saver: Saver,
    header: Header,
}

pub(super) fn show(file: &ImageFile, output: Output) -> Result<Verdict, Problem> {
    let saved = file.saved()?;
    let findings: Vec<Finding> = saved.findings.iter().map(|finding| Finding::of_dump(finding).loud()).collect();
    let mut shown = Vec::new();
    for state in &saved.states {
        let saver = file.saver(&saved, state)?;
        shown.push(Shown { state, saver, header: state.header().unwrap_or_default() });
    }
    if output.json {
        let images = shown.iter().map(member).collect();
        let (name, source, findings) =
            (file.name(), saved.format.name(), findings.iter().map(FindingMember::of).collect());
        print_document(&ImagesDocument { schema: SCHEMA, name, source, images, findings })?;
    } else if output.quiet {
        print(&shown.iter().map(|shown| line(&file.name(), &saved, shown)).collect::<String>())?;
    } else {
        let mut page = Page::new();
        for finding in &findings {
            finding_line(&mut page, finding);
        }
        for shown in &shown {
            image_page(&mut page, &file.name(), &saved, shown);
        }
        page.print()?;
    }
    Ok(Verdict::Done)
}

impl Shown<'_> {
    fn reader(&self) -> Reader<'_> {
        let cpu = &self.saver.cpu;
        let components = cpu.geometry.components() | ComponentSet::LEGACY;
        Reader::new(&cpu.geometry, components)
            .with_mxcsr_mask(cpu.mxcsr_mask)
            .with_addresses(cpu.addresses)
            .with_cet(cpu.cet)
    }

    /// Why components may lie elsewhere. That no host was named goes without saying here.
    fn doubt(&self) -> impl Iterator<Item = &Finding> {
        self.saver.doubt.iter().filter(|doubt| doubt.is_loud)
    }

    fn readings(&self) -> Vec<Reading> {
        readings(self.state.image, &self.header, &self.reader(), &self.saver.cpu)
    }

    /// A field of the legacy region.
    fn field(&self, offset: usize) -> Option<u32> {
        let field = self.state.image.get(offset..).and_then(|rest| rest.first_chunk());
        field.map(|field| u32::from_le_bytes(*field))
    }
}

fn components(image: &Image<'_>) -> Vec<ComponentMember> {
    let in_use = image.in_use();
    let state = |component: Component| {
        if in_use.contains(component) {
            "in-use"
        } else if image.present().contains(component) {
            "initial"
        } else {
            "absent"
        }
    };
    let member = |(component, place): (Component, std::ops::Range<u32>)| ComponentMember {
        name: component.to_string(),
        index: component.index(),
        size: place.end - place.start,
        offset: place.start,
        state: state(component),
    };
    image.layout().places().map(member).collect()
}

fn member(shown: &Shown<'_>) -> ImageMember {
    let Shown { state, saver, header } = shown;
    let reader = shown.reader();
    let sanitised = reader.sanitise(state.image).ok();
    let image = sanitised.as_ref().map(|sanitised| sanitised.image());
    let whole_bytes = image.map(whole_bytes);
    let extra = |whole: u32| Some(state.image.len().saturating_sub(usize::try_from(whole).ok()?));
    ImageMember {
        number: state.number,
        bytes: state.image.len(),
        whole_bytes,
        extra_bytes: whole_bytes.and_then(extra),
        format: format_name(header.format()),
        xstate_bv: hex(header.xstate_bv),
        xcomp_bv: hex(header.xcomp_bv),
        mxcsr: shown.field(24).map(|mxcsr| hex(mxcsr.into())),
        mxcsr_mask: shown.field(28).map(|mask| hex(mask.into())),
        host_mask: state.host_mask().map(|mask| hex(mask.bits())),
        xcr0: state.xen.map(|masks| hex(masks.xcr0.bits())),
        accumulated_xcr0: state.xen.map(|masks| hex(masks.accumulated.bits())),
        places: saver.evidence.clone(),
        components: image.map(components).unwrap_or_default(),
        readings: shown.readings(),
        findings: shown.doubt().map(FindingMember::of).collect(),
    }
}

/// As long as the CPU makes such an image, whatever of it is present.
fn whole_bytes(image: &Image<'_>) -> u32 {
    let present = image.layout().size_bytes();
    let whole = match image.format() {
        Format::Standard => image.geometry().standard_size(image.geometry().user()).unwrap_or(present),
        Format::Compacted => present,
    };
    whole.max(EXTENDED_START_BYTES)
}

/// The file, and in it the vCPU or thread.
fn title(name: &str, saved: &Saved<'_>, shown: &Shown<'_>) -> String {
    match saved.format.holder() {
        "image" => name.to_owned(),
        holder => format!("{name}, {holder} {}", shown.state.number),
    }
}

fn line(name: &str, saved: &Saved<'_>, shown: &Shown<'_>) -> String {
    let (title, format) = (title(name, saved, shown), format_name(shown.header.format()));
    let reader = shown.reader();
    let in_use = reader.sanitise(shown.state.image).map(|sanitised| sanitised.image().in_use());
    let in_use = in_use.map(|set| format!(", {set} in use")).unwrap_or_default();
    let refused = |reading: &Reading| (!reading.accepted).then_some(reading.reader);
    let readings = shown.readings();
    let refused: Vec<&str> = readings.iter().filter_map(refused).collect();
    let verdict = if refused.is_empty() { "accepted".to_owned() } else { format!("refused by {}", refused.join(", ")) };
    format!("{title}: {format}, {} bytes{in_use}: {verdict}\n", shown.state.image.len())
}

fn image_page(page: &mut Page, name: &str, saved: &Saved<'_>, shown: &Shown<'_>) {
    let Shown { state, saver, header } = shown;
    let member = member(shown);
    page.heading(title(name, saved, shown));
    page.labelled("file", [saved.format.name()]);
    let extra = match member.extra_bytes {
        None | Some(0) => String::new(),
        Some(extra) => format!(", of which {extra} lie behind it"),
    };
    page.labelled("format", format!("{}, {} bytes{extra}", member.format, member.bytes).split(' '));
    let (present, places) = (header.present(), header.places());
    page.labelled("xstate_bv", format!("{} ({present})", member.xstate_bv).split(' '));
    let compacted = if header.format() == Format::Compacted { format!(" (places: {places})") } else { String::new() };
    page.labelled("xcomp_bv", format!("{}{compacted}", member.xcomp_bv).split(' '));
    if let (Some(mxcsr), Some(mask)) = (&member.mxcsr, &member.mxcsr_mask) {
        page.labelled("mxcsr", format!("{mxcsr}, mask {mask}").split(' '));
    }
    if let Some(mask) = state.host_mask() {
        page.labelled("host's xcr0", format!("{:#x} ({mask}), by bytes 464 to 471", mask.bits()).split(' '));
    }
    if let Some(XenMasks { xcr0, accumulated, .. }) = state.xen {
        let (now, ever) = (xcr0.bits(), accumulated.bits());
        page.labelled("guest's xcr0", format!("{now:#x} ({xcr0}), ever {ever:#x} ({accumulated})").split(' '));
    }
    page.labelled("places by", saver.evidence.split(' '));
    for doubt in shown.doubt() {
        finding_line(page, doubt);
    }
    reading_table(page, &member.readings);
    let reader = shown.reader();
    let Ok(sanitised) = reader.sanitise(state.image) else { return };
    component_table(page, &member.components);
    let layout: Layout<'_> = sanitised.image().layout();
    drawing::draw(page, "What has a place in it", &layout);
    drawing::legend(page, &[&layout]);
}

fn reading_table(page: &mut Page, readings: &[Reading]) {
    page.heading("Who loads it");
    let mut rows = Vec::new();
    for reading in readings {
        let verdict = if reading.accepted { "yes" } else { "no" };
        let mut first = [reading.reader.to_owned(), verdict.to_owned()];
        let reasons = reading.faults.iter().chain(&reading.quirks);
        for reason in reasons {
            let [reader, verdict] = std::mem::take(&mut first);
            rows.push([reader, verdict, reason.name.clone(), reason.reason.clone()]);
        }
        let [reader, verdict] = first;
        if !reader.is_empty() {
            rows.push([reader, verdict, String::new(), String::new()]);
        }
    }
    page.table(["reader", "loads", "rule", "because"], &rows);
}

fn component_table(page: &mut Page, components: &[ComponentMember]) {
    page.heading("Components");
    let row = |member: &ComponentMember| {
        [
            member.index.to_string(),
            member.name.clone(),
            member.state.to_owned(),
            member.offset.to_string(),
            member.size.to_string(),
        ]
    };
    page.table(["#", "component", "state", "at", "bytes"], &components.iter().map(row).collect::<Vec<_>>());
}
