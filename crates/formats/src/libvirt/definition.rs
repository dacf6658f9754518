//! What one `<cpu>` element of libvirt says.

use selfsame_cpuid::{Place, Signature};

use super::known_children::KnownChildren;
use super::xml::{Item, Tag, Xml};
use crate::error::ReadError;
use crate::scan::decimal;
use crate::spelling::qemu_feature;

/// What one `<cpu>` says: the CPU of a host, or that of a guest.
///
/// ```
/// use selfsame_formats::libvirt::{CpuDefinition, Match};
///
/// let text = b"<cpu match='strict'><model>Nehalem</model><feature name='vmx' policy='disable'/></cpu>";
/// let definition = CpuDefinition::parse(text)?;
/// assert_eq!(definition.matching, Match::Strict);
/// assert_eq!(definition.model.as_deref(), Some("Nehalem"));
/// # Ok::<(), selfsame_formats::ReadError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CpuDefinition {
    /// `mode`: where the CPU of a guest comes from.
    pub mode: Mode,
    /// `match`: how well a host must fit.
    pub matching: Match,
    /// `<arch>`.
    pub architecture: Option<String>,
    /// `<model>`: the name of a model.
    pub model: Option<String>,
    /// `<vendor>`, in libvirt's short form.
    pub vendor: Option<String>,
    /// `vendor_id` of `<model>`: twelve bytes that the guest sees as its vendor.
    pub vendor_id: Option<[u8; 12]>,
    /// `<signature>`.
    pub signature: Option<Signature>,
    /// `<maxphysaddr>`: the width of physical addresses.
    pub physical_bits: Option<u8>,
    /// The `<feature>` elements, in their order.
    pub features: Vec<Wish>,
}

/// A `<feature>`: what it names and what is to be done about it.
pub type Wish = (NamedFeature, FeaturePolicy);

/// Where the CPU of a guest comes from.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// The element says all of it: `custom`, or the CPU of a host.
    #[default]
    Custom,
    /// `host-model`: the host's, named when the guest starts.
    HostModel,
    /// `host-passthrough`: whatever the host has.
    HostPassthrough,
    /// `maximum`: whatever the hypervisor can give.
    Maximum,
}

impl Mode {
    /// The mode's name in XML.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::HostModel => "host-model",
            Self::HostPassthrough => "host-passthrough",
            Self::Maximum => "maximum",
        }
    }
}

/// How well a host must fit a guest's CPU.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Match {
    /// The host may have more, and the guest sees that too.
    Minimum,
    /// The host may have more, and the guest does not see it.
    #[default]
    Exact,
    /// The host must have exactly this.
    Strict,
}

/// What is to be done about a feature.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FeaturePolicy {
    /// The guest has it even if the host has not.
    Force,
    /// The guest has it, and the host must have it.
    Require,
    /// The guest has it where the host has it.
    Optional,
    /// The guest does not have it.
    Disable,
    /// The guest does not have it, and the host must not have it.
    Forbid,
}

/// A feature as the element names it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum NamedFeature {
    /// A feature of the table, by its place.
    Known(Place),
    /// A name that nobody knows here.
    Unknown(Box<UnknownFeature>),
}

/// A name that nobody knows here.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UnknownFeature {
    /// The name.
    pub name: String,
    /// The line that has it.
    pub line: usize,
}

impl CpuDefinition {
    /// Reads a file whose outermost element is one `<cpu>`.
    ///
    /// # Errors
    ///
    /// What is not well-formed, no `<cpu>` or has attributes that libvirt does not know.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut xml = Xml::new(bytes);
        while let Some(item) = xml.next()? {
            if let Item::Open(tag) = item {
                if tag.name() != "cpu" {
                    return Err(xml.line_error(tag.offset, "expected `<cpu>`"));
                }
                let mut definition = Self::default();
                definition.read(&mut xml, &tag, &mut KnownChildren::default())?;
                return Ok(definition);
            }
        }
        Err(ReadError::NoCpu)
    }

    /// Reads the element whose tag was opened last, to its end, into the memory of another.
    pub(crate) fn read<'a>(
        &mut self,
        xml: &mut Xml<'a>,
        tag: &Tag<'_>,
        known: &mut KnownChildren<'a>,
    ) -> Result<(), ReadError> {
        self.clear();
        self.take_attributes(xml, tag)?;
        self.take_children(xml, known)
    }

    /// Forgets what an element said, and keeps the memory of its features.
    fn clear(&mut self) {
        let mut features = std::mem::take(&mut self.features);
        features.clear();
        *self = Self { features, ..Self::default() };
    }

    fn take_attributes(&mut self, xml: &Xml<'_>, tag: &Tag<'_>) -> Result<(), ReadError> {
        self.mode = match tag.attribute("mode").as_deref() {
            None | Some("custom") => Mode::Custom,
            Some("host-model") => Mode::HostModel,
            Some("host-passthrough") => Mode::HostPassthrough,
            Some("maximum") => Mode::Maximum,
            Some(_) => return Err(xml.line_error(tag.offset, MODE)),
        };
        self.matching = match tag.attribute("match").as_deref() {
            None | Some("exact") => Match::Exact,
            Some("minimum") => Match::Minimum,
            Some("strict") => Match::Strict,
            Some(_) => return Err(xml.line_error(tag.offset, "expected match='minimum', 'exact' or 'strict'")),
        };
        Ok(())
    }

    /// Reads the children of the tag that was opened last, to its end.
    pub(crate) fn take_children<'a>(
        &mut self,
        xml: &mut Xml<'a>,
        known: &mut KnownChildren<'a>,
    ) -> Result<(), ReadError> {
        loop {
            known.read(xml, self);
            let tag = match xml.next()? {
                None | Some(Item::Close) => return Ok(()),
                Some(Item::Text(_)) => continue,
                Some(Item::Open(tag)) => tag,
            };
            let child = Child::read(xml, &tag)?;
            if !self.has_room_for(&child) {
                return Err(xml.line_error(tag.offset, "more features than any CPU has"));
            }
            if let Some(text) = xml.bytes().get(tag.offset..xml.offset()) {
                known.add(text, &child);
            }
            self.take(&child);
        }
    }

    /// Whether there is room for what a child says.
    #[inline]
    pub(crate) fn has_room_for(&self, child: &Child) -> bool {
        !matches!(child, Child::Feature(_)) || self.features.len() < MANY_FEATURES
    }

    /// Takes what a child says.
    #[inline]
    pub(crate) fn take(&mut self, child: &Child) {
        match child {
            Child::Feature((feature, policy)) => {
                if self.features.is_empty() {
                    self.features.reserve(FEW_FEATURES);
                }
                self.features.push((feature.clone(), *policy));
            }
            Child::Model { name, vendor_id } => (self.model, self.vendor_id) = (name.clone(), *vendor_id),
            Child::Vendor(vendor) => self.vendor.clone_from(vendor),
            Child::Architecture(architecture) => self.architecture.clone_from(architecture),
            Child::Signature(signature) => self.signature = *signature,
            Child::PhysicalBits(bits) => self.physical_bits = *bits,
            Child::Nothing => {}
        }
    }
}

/// What a child of the element says.
#[derive(Clone, Debug)]
pub(crate) enum Child {
    Feature(Wish),
    Model {
        name: Option<String>,
        vendor_id: Option<[u8; 12]>,
    },
    Vendor(Option<String>),
    Architecture(Option<String>),
    Signature(Option<Signature>),
    PhysicalBits(Option<u8>),
    /// Nothing of the CPU: clocks, caches, memory.
    Nothing,
}

impl Child {
    /// Reads the tag that was opened last, to its end.
    fn read(xml: &mut Xml<'_>, tag: &Tag<'_>) -> Result<Self, ReadError> {
        let child = match tag.name() {
            "feature" => Self::Feature(wish(xml, tag)?),
            "signature" => Self::Signature(signature(tag)),
            "maxphysaddr" => {
                let bits = tag.attribute("bits").or_else(|| tag.attribute("limit"));
                let bits = bits.and_then(|bits| decimal(&bits));
                Self::PhysicalBits(bits.filter(|bits| (1..=64).contains(bits)))
            }
            "model" => {
                let vendor_id = tag.attribute("vendor_id").and_then(|id| id.as_bytes().try_into().ok());
                return Ok(Self::Model { name: some(xml.text()?), vendor_id });
            }
            "vendor" => return Ok(Self::Vendor(some(xml.text()?))),
            "arch" => return Ok(Self::Architecture(some(xml.text()?))),
            _ => Self::Nothing,
        };
        // What stands deeper describes caches or memory.
        xml.text()?;
        Ok(child)
    }
}

fn wish(xml: &Xml<'_>, tag: &Tag<'_>) -> Result<Wish, ReadError> {
    let name = tag.attribute("name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| xml.line_error(tag.offset, "expected `<feature name='...'/>`"))?;
    let policy = match tag.attribute("policy").as_deref() {
        None | Some("require") => FeaturePolicy::Require,
        Some("force") => FeaturePolicy::Force,
        Some("optional") => FeaturePolicy::Optional,
        Some("disable") => FeaturePolicy::Disable,
        Some("forbid") => FeaturePolicy::Forbid,
        Some(_) => return Err(xml.line_error(tag.offset, POLICY)),
    };
    let feature = match qemu_feature(&name) {
        Some(row) => NamedFeature::Known(row.place),
        None => {
            let line = xml.line(tag.offset);
            NamedFeature::Unknown(Box::new(UnknownFeature { name: name.into_owned(), line }))
        }
    };
    Ok((feature, policy))
}

/// Most hosts name fewer features.
const FEW_FEATURES: usize = 64;

/// No CPU has so many features.
const MANY_FEATURES: usize = 4096;

const MODE: &str = "expected mode='custom', 'host-model', 'host-passthrough' or 'maximum'";
const POLICY: &str = "expected policy='force', 'require', 'optional', 'disable' or 'forbid'";

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn signature(tag: &Tag<'_>) -> Option<Signature> {
    let numbers = tag.attributes(["family", "model", "stepping"]).map(|text| decimal::<u16>(&text?));
    let [family, model, stepping] = numbers;
    Some(Signature {
        family: family?,
        model: model?.try_into().ok()?,
        stepping: stepping.unwrap_or(0).try_into().ok()?,
    })
}
