//! What one `<cpu>` element of libvirt says.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use selfsame_cpuid::{Place, Signature};

use super::xml::{Item, Tag, Xml};
use crate::error::ReadError;
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
                return if tag.name() == "cpu" {
                    Self::read(&mut xml, &tag, &mut KnownTags::default())
                } else {
                    Err(xml.line_error(tag.offset, "expected `<cpu>`"))
                };
            }
        }
        Err(ReadError::NoCpu)
    }

    /// Reads the element whose tag was opened last, to its end.
    pub(crate) fn read<'a>(xml: &mut Xml<'a>, tag: &Tag<'_>, tags: &mut KnownTags<'a>) -> Result<Self, ReadError> {
        let mut definition = Self::default();
        definition.take_attributes(xml, tag)?;
        definition.take_children(xml, tags)?;
        Ok(definition)
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
    pub(crate) fn take_children<'a>(&mut self, xml: &mut Xml<'a>, tags: &mut KnownTags<'a>) -> Result<(), ReadError> {
        let mut depth = 1usize;
        while depth > 0 {
            let tag = match xml.next()? {
                None => break,
                Some(Item::Close) => {
                    depth = depth.saturating_sub(1);
                    continue;
                }
                Some(Item::Text(_)) => continue,
                Some(Item::Open(tag)) => tag,
            };
            // What stands deeper describes caches or memory.
            match tag.name() {
                "feature" if depth == 1 => {
                    if self.features.is_empty() {
                        self.features.reserve(FEW_FEATURES);
                    }
                    let end = tags.read(xml.bytes(), tag.offset, &mut self.features);
                    if end > tag.offset {
                        xml.skip_to(end);
                        continue;
                    }
                    self.take_feature(xml, &tag)?;
                    if let (Some(text), Some(wish)) = (xml.bytes().get(tag.offset..xml.offset()), self.features.last())
                    {
                        tags.add(text, wish);
                    }
                    depth += 1;
                }
                "model" if depth == 1 => {
                    if let Some(id) = tag.attribute("vendor_id") {
                        self.vendor_id = id.as_bytes().try_into().ok();
                    }
                    self.model = some(xml.text()?);
                }
                "vendor" if depth == 1 => self.vendor = some(xml.text()?),
                "arch" if depth == 1 => self.architecture = some(xml.text()?),
                "signature" if depth == 1 => {
                    self.signature = signature(&tag);
                    depth += 1;
                }
                "maxphysaddr" if depth == 1 => {
                    let bits = tag.attribute("bits").or_else(|| tag.attribute("limit"));
                    self.physical_bits = bits.and_then(|bits| bits.parse().ok()).filter(|bits| (1..=64).contains(bits));
                    depth += 1;
                }
                _ => depth += 1,
            }
        }
        Ok(())
    }

    fn take_feature(&mut self, xml: &Xml<'_>, tag: &Tag<'_>) -> Result<(), ReadError> {
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
        if self.features.len() >= MANY_FEATURES {
            return Err(xml.line_error(tag.offset, "more features than any CPU has"));
        }
        let feature = match qemu_feature(&name) {
            Some(row) => NamedFeature::Known(row.place),
            None => {
                let line = xml.line(tag.offset);
                NamedFeature::Unknown(Box::new(UnknownFeature { name: name.into_owned(), line }))
            }
        };
        self.features.push((feature, policy));
        Ok(())
    }
}

/// Tags of features that were read before, by their text.
///
/// Every host of a fleet names its features in the same words: to find a tag again is far faster than to read it.
#[derive(Debug, Default)]
pub(crate) struct KnownTags<'a> {
    tags: Vec<KnownTag<'a>>,
    /// Where each stands in the list.
    places: HashMap<&'a [u8], usize, BuildHasherDefault<TagHasher>>,
}

#[derive(Debug)]
struct KnownTag<'a> {
    text: &'a [u8],
    wish: Wish,
    /// What followed it the last time, which mostly follows it again: hosts name their features in the same order.
    next: usize,
}

impl<'a> KnownTags<'a> {
    /// There are fewer features, and who writes each in several ways gains nothing.
    const MANY: usize = 1024;

    /// Reads known tags one after another, from `begin` on; returns where the last of them ends.
    fn read(&mut self, bytes: &[u8], begin: usize, features: &mut Vec<Wish>) -> usize {
        let mut end = begin;
        let mut at = begin;
        let mut last = None;
        while features.len() < MANY_FEATURES
            && let Some(rest) = bytes.get(at..)
            && let Some((place, tag)) = self.find(rest, last)
        {
            features.push(tag.wish.clone());
            last = Some(place);
            end = at + tag.text.len();
            let blank = bytes.get(end..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace());
            at = end + blank.count();
        }
        end
    }

    /// Finds the tag with which `rest` begins, that at `last` before it.
    fn find(&mut self, rest: &[u8], last: Option<usize>) -> Option<(usize, &KnownTag<'a>)> {
        let next = last.and_then(|last| self.tags.get(last)).map(|last| last.next);
        let is_here = |next: &usize| self.tags.get(*next).is_some_and(|next| rest.starts_with(next.text));
        let place = match next.filter(is_here) {
            Some(next) => next,
            None => {
                let close = memchr::memchr(b'>', rest)?;
                let place = *self.places.get(rest.get(..=close)?)?;
                if let Some(last) = last.and_then(|last| self.tags.get_mut(last)) {
                    last.next = place;
                }
                place
            }
        };
        Some((place, self.tags.get(place)?))
    }

    /// Keeps a tag that closes itself. Names that nobody knows are told with their line, and are not kept.
    fn add(&mut self, text: &'a [u8], wish: &Wish) {
        if text.ends_with(b"/>") && matches!(wish.0, NamedFeature::Known(_)) && self.tags.len() < Self::MANY {
            self.places.insert(text, self.tags.len());
            self.tags.push(KnownTag { text, wish: wish.clone(), next: 0 });
        }
    }
}

/// Hashes tags, eight bytes at a time. There are so few that to make them meet gains nobody anything.
#[derive(Debug, Default)]
pub(crate) struct TagHasher(u64);

impl Hasher for TagHasher {
    fn write(&mut self, bytes: &[u8]) {
        /// The fractional part of the golden ratio: what multiplies well.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut add = |word: u64| self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(GOLDEN);
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            add(u64::from_le_bytes(*eight));
        }
        // Some of the last eight bytes count twice.
        match bytes.last_chunk::<8>() {
            Some(last) if !rest.is_empty() => add(u64::from_le_bytes(*last)),
            Some(_) => {}
            None => rest.iter().for_each(|byte| add(u64::from(*byte))),
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
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
    let numbers = tag.attributes(["family", "model", "stepping"]).map(|text| text?.parse::<u16>().ok());
    let [family, model, stepping] = numbers;
    Some(Signature {
        family: family?,
        model: model?.try_into().ok()?,
        stepping: stepping.unwrap_or(0).try_into().ok()?,
    })
}
