//! The `<cpu>` elements of a file: of `virsh capabilities`, `virsh domcapabilities`, `virsh dumpxml`, or any number of
//! them one after another, as `virsh cpu-baseline` takes them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use memchr::memmem::Finder;
use selfsame_cpuid::Signature;

use super::definition::{CpuDefinition, Mode};
use super::known_children::{KnownChildren, TextHasher};
use super::xml::{Item, Tag, Xml};
use crate::by_name::NamedCpu;
use crate::detect::Format;
use crate::dump::{Dump, Source};
use crate::error::ReadError;
use crate::findings::Findings;
use crate::machines::{Machines, Said};
use crate::models::Models;
use crate::named::{About, NamedMachine, Rooms};
use crate::spelling::Spelling;

/// Reads the machines of a file; those of which it says the same are one.
pub(crate) fn read(bytes: &[u8], models: &Models) -> Result<Vec<Machines>, ReadError> {
    let mut reader = Reader {
        bytes,
        models,
        end: Finder::new(b"</cpu>"),
        machines: Vec::new(),
        by_text: HashMap::default(),
        strangers: 0,
        children: KnownChildren::default(),
        rooms: Rooms::new(),
        abouts: HashMap::new(),
        by_said: HashMap::new(),
        scratch: CpuDefinition::default(),
        first: None,
        count: 0,
        name: None,
        context: Vec::new(),
    };
    reader.document(&mut Xml::new(bytes))?;
    if let [machines] = &mut reader.machines[..] {
        machines.definition = reader.first.map(Box::new);
    }
    if reader.machines.is_empty() { Err(ReadError::NoCpuElement) } else { Ok(reader.machines) }
}

/// Where there are more texts than this, or as many hosts after one another without a text that was there before, hosts have
/// something of their own in theirs, and to look for the same is vain.
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
    by_text: HashMap<Text<'a>, usize, BuildHasherDefault<TextHasher>>,
    /// How many elements after one another had a text of their own.
    strangers: usize,
    /// What elements say, by the text of each child.
    children: KnownChildren<'a>,
    /// Which state has a place.
    rooms: Rooms,
    /// What many elements say alike, by a hash of it.
    abouts: HashMap<u64, KnownAbout>,
    /// Machines by a hash of what the element says, which leaves out topology, microcode and clocks.
    by_said: HashMap<u64, usize>,
    /// What the last element says: room for the next.
    scratch: CpuDefinition,
    /// What the first element says.
    first: Option<CpuDefinition>,
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
        if self.strangers < MANY_TEXTS
            && let Some(length) = self.end.find(rest).map(|at| at.saturating_add(self.end.needle().len()))
            && let Some(&machines) = rest.get(..length).and_then(|text| self.by_text.get(&Text(text)))
        {
            self.strangers = 0;
            self.join(machines);
            xml.skip_to(begin.saturating_add(length));
            return Ok(());
        }
        self.strangers += 1;
        let mut definition = std::mem::take(&mut self.scratch);
        definition.read(xml, tag, &mut self.children)?;
        let machines = self.take(|| xml.line(begin), &definition)?;
        self.scratch = definition;
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
                definition.take_children(xml, &mut self.children)?;
                let architecture = self.context.iter().find(|(key, _)| key == "arch");
                definition.architecture = architecture.map(|(_, value)| value.clone());
                self.take(|| line, &definition)?;
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

    /// Takes what an element says: of a machine like others, or of one that is like no other.
    fn take(&mut self, line: impl Fn() -> usize, definition: &CpuDefinition) -> Result<usize, ReadError> {
        let said = self.said(definition);
        let said = said.map_err(|error| ReadError::Element { line: line(), error: Box::new(error) })?;
        self.first.get_or_insert_with(|| definition.clone());
        if let Said::Names(named) = &said {
            let hash = BuildHasherDefault::<TextHasher>::default().hash_one(named.features());
            let known = self.by_said.get(&hash).copied();
            let is_same = |at: &usize| matches!(self.machines.get(*at), Some(Machines { said: Said::Names(other), .. }) if named.is_same(other));
            if let Some(at) = known.filter(is_same) {
                self.join(at);
                return Ok(at);
            }
            self.by_said.insert(hash, self.machines.len());
        }
        self.count += 1;
        let mut machines = Machines::of(said);
        machines.add(self.count, self.name.take());
        self.machines.push(machines);
        Ok(self.machines.len() - 1)
    }

    fn said(&mut self, definition: &CpuDefinition) -> Result<Said, ReadError> {
        let mut findings = Findings::default();
        let about = self.about(definition)?;
        let features = definition.cpu_features(self.models, &mut findings)?;
        let findings = findings.into_vec();
        if let Some(named) = NamedMachine::new(&about, &features, findings.clone(), &mut self.rooms) {
            return Ok(Said::Names(named));
        }
        let mut all = Findings::default();
        for finding in about.findings.iter().cloned().chain(findings) {
            all.note(finding.what, finding.line, finding.reason);
        }
        let mut cpu = NamedCpu::new(Spelling::Qemu, about.identity.clone());
        cpu.add_all(&features);
        let cpu = cpu.finish(0, &mut all)?;
        let source = Source::Converted(Format::LibvirtCpu);
        let context = about.context.clone();
        let findings = all.into_vec();
        Ok(Said::Dump(Box::new(Dump { name: String::new(), source, context, cpus: vec![cpu], findings })))
    }

    fn about(&mut self, definition: &CpuDefinition) -> Result<Arc<About>, ReadError> {
        let context = self.context.len();
        let key = AboutKey::of(definition, context);
        let hash = BuildHasherDefault::<TextHasher>::default().hash_one(&key);
        if let Some(known) = self.abouts.get(&hash)
            && AboutKey::of(&known.definition, known.context) == key
        {
            return Ok(Arc::clone(&known.about));
        }
        let about = Arc::new(definition.about(self.models, &self.context)?);
        let definition = CpuDefinition { features: Vec::new(), ..definition.clone() };
        self.abouts.insert(hash, KnownAbout { definition, context, about: Arc::clone(&about) });
        Ok(about)
    }
}

/// What elements say alike, with one of those that say it.
struct KnownAbout {
    definition: CpuDefinition,
    context: usize,
    about: Arc<About>,
}

/// What elements must have in common for everything but their features to be the same.
#[derive(Eq, Hash, PartialEq)]
struct AboutKey<'k> {
    model: Option<&'k str>,
    vendor: Option<&'k str>,
    vendor_id: Option<[u8; 12]>,
    signature: Option<Signature>,
    physical_bits: Option<u8>,
    architecture: Option<&'k str>,
    mode: Mode,
    /// How much of the context there was.
    context: usize,
}

impl<'k> AboutKey<'k> {
    fn of(definition: &'k CpuDefinition, context: usize) -> Self {
        Self {
            model: definition.model.as_deref(),
            vendor: definition.vendor.as_deref(),
            vendor_id: definition.vendor_id,
            signature: definition.signature,
            physical_bits: definition.physical_bits,
            architecture: definition.architecture.as_deref(),
            mode: definition.mode,
            context,
        }
    }
}
