//! `xstate show` of a host or a policy: its components, what is kept of them, and where.

use selfsame_xstate::{Component, ComponentSet, Configuration, Configurations, Format, Geometry, Layout, SaveMethod};
use serde::Serialize;

use super::{drawing, format_name, kept};
use crate::Verdict;
use crate::args::Output;
use crate::finding::Finding;
use crate::host::Machine;
use crate::json::{FindingMember, SCHEMA, hex, print_document};
use crate::problem::Problem;
use crate::show::finding_line;
use crate::terminal::{Page, count, print};

#[derive(Debug, Serialize)]
struct HostDocument {
    schema: u32,
    name: String,
    source: String,
    save: String,
    xcr0: String,
    xss: String,
    components: Vec<ComponentMember>,
    /// Nothing where no hypervisor could keep anything by this leaf 0xD.
    configurations: Option<ConfigurationsMember>,
    area: Option<AreaMember>,
    findings: Vec<FindingMember>,
}

#[derive(Debug, Serialize)]
struct ComponentMember {
    name: String,
    index: u8,
    class: Option<&'static str>,
    owner: Option<&'static str>,
    size: u32,
    aligned64: bool,
    xfd: bool,
    /// In the standard format, which supervisor components are not in.
    offset: Option<u32>,
    /// Where everything is in the compacted format.
    compacted_offset: Option<u32>,
}

#[derive(Debug, Serialize)]
struct ConfigurationsMember {
    host_kernel: ConfigurationMember,
    host_user: ConfigurationMember,
    guest_kernel: ConfigurationMember,
    guest_user: ConfigurationMember,
}

#[derive(Debug, Serialize)]
struct ConfigurationMember {
    format: &'static str,
    max: String,
    max_bytes: u32,
    default: String,
    default_bytes: u32,
}

/// What a vCPU's area takes.
#[derive(Debug, Serialize)]
struct AreaMember {
    /// Before the vCPU has a policy.
    minimal_bytes: u32,
    /// With all that guests have without asking.
    default_bytes: u32,
    /// With all that they can have.
    max_bytes: u32,
    /// The standard size of everything in XCR0, which hypervisors allocate for every vCPU today.
    standard_bytes: u32,
}

/// What is shown.
struct Shown<'m> {
    machine: &'m Machine,
    geometry: &'m Geometry,
    findings: Vec<Finding>,
}

pub(super) fn show(machine: &Machine, output: Output) -> Result<Verdict, Problem> {
    let reported = machine.raw().geometry();
    let geometry = kept::geometry(machine)?;
    let configurations = Configurations::new(&geometry);
    let contradiction =
        configurations.err().map(|error| format!("no hypervisor could keep extended state by it: {error}"));
    let reasons = reported.defects().map(|defect| defect.to_string()).chain(contradiction);
    let mut findings: Vec<Finding> = reasons.map(|reason| Finding::malformed("0000000d", reason).loud()).collect();
    let unused = reported.usable(machine.raw().vendor().offsets()).components() - geometry.components();
    if !unused.is_empty() {
        let reason = match SaveMethod::of(&geometry) {
            SaveMethod::Fxsave => "enumerated by leaf 0000000d, but guests get no xsave: they have fxsave only",
            _ => "enumerated by leaf 0000000d, but there is no feature that uses it: it is not kept",
        };
        findings.push(Finding::malformed(unused.to_string(), reason).loud());
    }
    let shown = Shown { machine, geometry: &geometry, findings };
    let configurations = configurations.ok();
    if output.json {
        print_document(&document(&shown, configurations.as_ref()))?;
    } else if output.quiet {
        print(&line(&shown, configurations.as_ref()))?;
    } else {
        page(&shown, configurations.as_ref()).print()?;
    }
    Ok(Verdict::Done)
}

fn area(configurations: &Configurations<'_>) -> Option<AreaMember> {
    let guest = configurations.guest_kernel();
    let bytes = |states, enabled| Some(configurations.area(states, enabled).ok()?.size_bytes());
    Some(AreaMember {
        minimal_bytes: configurations.minimal_area().ok()?.size_bytes(),
        default_bytes: bytes(guest.default(), ComponentSet::EMPTY)?,
        max_bytes: bytes(guest.max(), guest.max())?,
        standard_bytes: configurations.host_user().max_bytes(),
    })
}

fn layout(geometry: &Geometry, format: Format) -> Option<Layout<'_>> {
    Layout::new(format, geometry.components() | ComponentSet::LEGACY, geometry).ok()
}

fn components(geometry: &Geometry) -> Vec<ComponentMember> {
    let [standard, compacted] = [Format::Standard, Format::Compacted].map(|format| layout(geometry, format));
    let offset = |layout: &Option<Layout<'_>>, component| layout.as_ref()?.offset_bytes(component);
    let member = |component: Component| {
        let row = geometry.row(component);
        let known = component.described().and_then(|row| row.size_bytes);
        ComponentMember {
            name: component.to_string(),
            index: component.index(),
            class: component.class().map(|class| class.name()),
            owner: component.owner().map(|owner| owner.name()),
            // x87 and SSE have no row: they are the same everywhere.
            size: row.map(|row| row.size_bytes).or(known).unwrap_or_default(),
            aligned64: row.is_some_and(|row| row.is_aligned64),
            xfd: row.is_some_and(|row| row.has_xfd),
            offset: offset(&standard, component),
            compacted_offset: offset(&compacted, component),
        }
    };
    (geometry.components() | ComponentSet::LEGACY).iter().map(member).collect()
}

fn document(shown: &Shown<'_>, configurations: Option<&Configurations<'_>>) -> HostDocument {
    let Shown { machine, geometry, findings } = shown;
    let member = |configuration: &Configuration| ConfigurationMember {
        format: format_name(configuration.format()),
        max: hex(configuration.max().bits()),
        max_bytes: configuration.max_bytes(),
        default: hex(configuration.default().bits()),
        default_bytes: configuration.default_bytes(),
    };
    HostDocument {
        schema: SCHEMA,
        name: machine.name.clone(),
        source: machine.source(),
        save: SaveMethod::of(geometry).to_string(),
        xcr0: hex(geometry.user().bits()),
        xss: hex(geometry.supervisor().bits()),
        components: components(geometry),
        configurations: configurations.map(|all| ConfigurationsMember {
            host_kernel: member(all.host_kernel()),
            host_user: member(all.host_user()),
            guest_kernel: member(all.guest_kernel()),
            guest_user: member(all.guest_user()),
        }),
        area: configurations.and_then(area),
        findings: findings.iter().map(FindingMember::of).collect(),
    }
}

fn line(shown: &Shown<'_>, configurations: Option<&Configurations<'_>>) -> String {
    let Shown { machine, geometry, findings } = shown;
    let (name, states) = (&machine.name, geometry.components() | ComponentSet::LEGACY);
    let Some(area) = configurations.and_then(area) else {
        return format!("{name}: {}\n", findings.iter().map(|finding| &*finding.reason).collect::<Vec<_>>().join("; "));
    };
    let AreaMember { minimal_bytes, max_bytes, standard_bytes, .. } = area;
    let (states, save) = (count(states.count() as usize, "component"), SaveMethod::of(geometry));
    format!("{name}: {states}, {save}, {minimal_bytes} to {max_bytes} bytes a vCPU (standard {standard_bytes})\n")
}

fn page(shown: &Shown<'_>, configurations: Option<&Configurations<'_>>) -> Page {
    let Shown { machine, geometry, findings } = shown;
    let mut page = Page::new();
    page.heading(&machine.name);
    page.labelled("cpu", machine.cpu().split(' '));
    crate::show::states(&mut page, &machine.raw());
    page.labelled("saved by", [SaveMethod::of(geometry).to_string().as_str()]);
    for finding in findings {
        finding_line(&mut page, finding);
    }
    component_table(&mut page, geometry);
    if let Some(configurations) = configurations {
        configuration_table(&mut page, configurations);
        if let Some(area) = area(configurations) {
            areas(&mut page, &area);
        }
    }
    let layouts = [Format::Standard, Format::Compacted].map(|format| layout(geometry, format));
    let layouts: Vec<&Layout<'_>> = layouts.iter().flatten().collect();
    for layout in &layouts {
        drawing::draw(&mut page, &format!("The {} format with everything", format_name(layout.format())), layout);
    }
    drawing::legend(&mut page, &layouts);
    page
}

fn component_table(page: &mut Page, geometry: &Geometry) {
    page.heading("Components");
    let number = |offset: Option<u32>| offset.map(|offset| offset.to_string()).unwrap_or_default();
    let rows = components(geometry).into_iter().map(|member| {
        [
            member.index.to_string(),
            member.name,
            member.class.unwrap_or("?").to_owned(),
            member.owner.unwrap_or("?").to_owned(),
            member.size.to_string(),
            if member.aligned64 { "64" } else { "" }.to_owned(),
            number(member.offset),
            number(member.compacted_offset),
            if member.xfd { "yes" } else { "" }.to_owned(),
        ]
    });
    let header = ["#", "component", "class", "owner", "bytes", "aligned", "standard", "compacted", "xfd"];
    page.table(header, &rows.collect::<Vec<_>>());
}

fn configuration_table(page: &mut Page, configurations: &Configurations<'_>) {
    page.heading("Configurations");
    let row = |name: &str, configuration: &Configuration| {
        let set = |set: ComponentSet| format!("{:#x}", set.bits());
        [
            name.to_owned(),
            format_name(configuration.format()).to_owned(),
            set(configuration.max()),
            configuration.max_bytes().to_string(),
            set(configuration.default()),
            configuration.default_bytes().to_string(),
        ]
    };
    let rows = [
        row("host kernel", configurations.host_kernel()),
        row("host user", configurations.host_user()),
        row("guest kernel", configurations.guest_kernel()),
        row("guest user", configurations.guest_user()),
    ];
    page.table(["", "format", "max", "bytes", "default", "bytes"], &rows);
}

fn areas(page: &mut Page, area: &AreaMember) {
    page.heading("Bytes of a vCPU's area");
    let row = |name: &str, bytes: u32| [name.to_owned(), bytes.to_string()];
    let mut rows = vec![
        row("before it has a policy", area.minimal_bytes),
        row("with all that guests have without asking", area.default_bytes),
    ];
    if area.max_bytes != area.default_bytes {
        rows.push(row("with what they have to ask for, too", area.max_bytes));
    }
    rows.push(row("everything in the standard format, for comparison", area.standard_bytes));
    page.table(["", "bytes"], &rows);
}
