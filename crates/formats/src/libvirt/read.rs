//! The `<cpu>` elements of a file: of `virsh capabilities`, `virsh domcapabilities`, `virsh dumpxml`, or any number of
//! them one after another, as `virsh cpu-baseline` takes them.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use memchr::memmem::Finder;

use super::definition::{Blocks, CpuDefinition};
use super::xml::{Item, Tag, Xml};
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::machines::Machines;
use crate::models::Models;

/// Reads the machines of a file; those of which it says the same are one.
pub(crate) fn read(bytes: &[u8], models: &Models) -> Result<Vec<Machines>, ReadError> {
    let mut reader = Reader {
        bytes,
        models,
        end: Finder::new(b"</cpu>"),
        machines: Vec::new(),
        by_text: HashMap::new(),
        blocks: Blocks::default(),
        by_definition: HashMap::new(),
        count: 0,
        name: None,
        context: Vec::new(),
    };
    reader.document(&mut Xml::new(bytes))?;
    for (definition, at) in reader.by_definition {
        if let Some(machines) = reader.machines.get_mut(at) {
            machines.definition = Some(definition);
        }
    }
    if reader.machines.is_empty() { Err(ReadError::NoCpuElement) } else { Ok(reader.machines) }
}

/// Where there are more texts than this, hosts have something of their own in theirs, and to look for the same is vain.
const MANY_TEXTS: usize = 256;

/// The text of an element. Its end and its length tell it from others well enough.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Text<'a>(&'a [u8]);

impl Hash for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        const END_BYTES: usize = 64;
        self.0.len().hash(state);
        self.0.last_chunk::<END_BYTES>().hash(state);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    models: &'a Models,
    end: Finder<'static>,
    machines: Vec<Machines>,
    /// Which of them an element is, by its whole text: hosts of a fleet are mostly the same, letter for letter.
    by_text: HashMap<Text<'a>, usize>,
    /// Rows of features by their text.
    blocks: Blocks<'a>,
    /// Machines by what the element says, which leaves out topology, microcode and clocks.
    by_definition: HashMap<CpuDefinition, usize>,
    /// How many elements there were.
    count: usize,
    /// The name of the domain around the element.
    name: Option<String>,
    /// What else the document says.
    context: Vec<(String, String)>,
}

impl<'a> Reader<'a> {
    fn document(&mut self, xml: &mut Xml<'a>) -> Result<(), ReadError> {
        while let Some(item) = xml.next()? {
            let Item::Open(tag) = item else { continue };
            match (xml.parent(), tag.name()) {
                (b"domain", "name") => self.name = Some(xml.text()?),
                (b"domainCapabilities", key @ ("arch" | "machine" | "path")) => {
                    let key = key.to_owned();
                    let value = xml.text()?;
                    self.context.push((key, value));
                }
                (b"domainCapabilities", "cpu") => self.host_model(xml)?,
                // The topology of capabilities numbers its CPUs.
                (_, "cpu") if tag.attribute("id").is_none() => self.element(xml, &tag)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn element(&mut self, xml: &mut Xml<'a>, tag: &Tag<'a>) -> Result<(), ReadError> {
        let begin = tag.offset;
        let rest = self.bytes.get(begin..).unwrap_or_default();
        if let Some(length) = self.end.find(rest).map(|at| at.saturating_add(self.end.needle().len()))
            && let Some(&machines) = rest.get(..length).and_then(|text| self.by_text.get(&Text(text)))
        {
            self.join(machines);
            xml.skip_to(begin.saturating_add(length));
            return Ok(());
        }
        let definition = CpuDefinition::read(xml, tag, &mut self.blocks)?;
        let machines = match self.by_definition.get(&definition) {
            Some(&machines) => {
                self.join(machines);
                machines
            }
            None => {
                let machines = self.begin(|| xml.line(begin), &definition)?;
                self.by_definition.insert(definition, machines);
                machines
            }
        };
        if let Some(text) = self.bytes.get(begin..xml.offset()).filter(|_| self.by_text.len() < MANY_TEXTS) {
            self.by_text.insert(Text(text), machines);
        }
        Ok(())
    }

    /// Reads the `<cpu>` of domain capabilities: of its modes, `host-model` is what this host offers.
    fn host_model(&mut self, xml: &mut Xml<'a>) -> Result<(), ReadError> {
        let line = xml.line(xml.offset());
        let depth = xml.depth();
        while let Some(item) = xml.next()? {
            if xml.depth() < depth {
                break;
            }
            let Item::Open(tag) = item else { continue };
            let is = |name, value| tag.attribute(name).is_some_and(|text| text == value);
            if tag.name() == "mode" && is("name", "host-model") && is("supported", "yes") {
                let mut definition = CpuDefinition::default();
                definition.take_children(xml, &mut self.blocks)?;
                let architecture = self.context.iter().find(|(key, _)| key == "arch");
                definition.architecture = architecture.map(|(_, value)| value.clone());
                let machines = self.begin(|| line, &definition)?;
                self.by_definition.insert(definition, machines);
                return Ok(());
            }
        }
        Err(ReadError::Line { line, reason: "the hypervisor has no <mode name='host-model' supported='yes'>" })
    }

    /// Counts one more machine of which everything is known already.
    fn join(&mut self, machines: usize) {
        self.count += 1;
        let name = self.name.take();
        if let Some(machines) = self.machines.get_mut(machines) {
            machines.add(self.count, name);
        }
    }

    /// Begins a machine that is like no other.
    fn begin(&mut self, line: impl Fn() -> usize, definition: &CpuDefinition) -> Result<usize, ReadError> {
        let mut findings = Findings::default();
        let cpu = definition.cpu(self.models, &mut findings);
        let cpu = cpu.map_err(|error| ReadError::Element { line: line(), error: Box::new(error) })?;
        let source = Source::Converted(Format::LibvirtCpu);
        let mut context = self.context.clone();
        context.extend(definition.model.iter().map(|model| ("model".to_owned(), model.clone())));
        let dump = Dump { name: String::new(), source, context, cpus: vec![cpu], findings: findings.into_vec() };
        self.count += 1;
        let mut machines = Machines::of(dump);
        machines.add(self.count, self.name.take());
        self.machines.push(machines);
        Ok(self.machines.len() - 1)
    }
}
