//! Children of `<cpu>` elements that were read before.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::definition::{Child, CpuDefinition, NamedFeature};
use super::xml::Xml;

/// Children that were read before, by their text.
///
/// Every host of a fleet says the same in the same words: to find an element again is far faster than to read it.
#[derive(Debug, Default)]
pub(crate) struct KnownChildren<'a> {
    children: Vec<KnownChild<'a>>,
    /// Where each stands in the list.
    places: HashMap<&'a [u8], usize, BuildHasherDefault<TextHasher>>,
}

#[derive(Debug)]
struct KnownChild<'a> {
    text: &'a [u8],
    child: Child,
    /// What followed each child the last time in an element of this model: it mostly follows it again.
    next: Vec<usize>,
}

/// Where a reader is in an element: the place of the child before, and that of the model.
#[derive(Clone, Copy, Default)]
struct Place {
    last: usize,
    model: usize,
}

impl<'a> KnownChildren<'a> {
    /// There are fewer features and models, and who writes each in several ways gains nothing.
    const MANY: usize = 2048;

    /// Takes known children one after another, as long as they come.
    pub(crate) fn read(&mut self, xml: &mut Xml<'a>, definition: &mut CpuDefinition) {
        let Some(begin) = xml.next_sibling() else { return };
        let (mut at, mut end, mut place) = (begin, begin, Place::default());
        while let Some(rest) = xml.bytes().get(at..)
            && let Some(found) = self.find(rest, place)
            && let Some(KnownChild { text, child, .. }) = self.children.get(found)
            && definition.has_room_for(child)
        {
            definition.take(child);
            place.last = found;
            if matches!(child, Child::Model { .. }) {
                place.model = found;
            }
            end = at + text.len();
            at = end + blank(xml.bytes().get(end..).unwrap_or_default());
        }
        if end > begin {
            xml.pass(end);
        }
    }

    /// Finds the element with which `rest` begins.
    fn find(&mut self, rest: &[u8], Place { last, model }: Place) -> Option<usize> {
        let next = self.children.get(model)?.next.get(last);
        if let Some(&next) = next
            && self.children.get(next).is_some_and(|next| rest.starts_with(next.text))
        {
            return Some(next);
        }
        let found = *self.places.get(rest.get(..length(rest)?)?)?;
        let count = self.children.len();
        if let Some(KnownChild { next, .. }) = self.children.get_mut(model) {
            next.resize(count, 0);
            if let Some(next) = next.get_mut(last) {
                *next = found;
            }
        }
        Some(found)
    }

    /// Keeps an element. Names that nobody knows are told with their line, and clocks are each host's own: they are not kept.
    pub(crate) fn add(&mut self, text: &'a [u8], child: &Child) {
        let is_alike = !matches!(child, Child::Nothing | Child::Feature((NamedFeature::Unknown(_), _)));
        if is_alike && self.children.len() < Self::MANY {
            self.places.insert(text, self.children.len());
            self.children.push(KnownChild { text, child: child.clone(), next: Vec::new() });
        }
    }
}

/// How long the element is with which `rest` begins, if it has no elements in it.
fn length(rest: &[u8]) -> Option<usize> {
    let open = memchr::memchr(b'>', rest)? + 1;
    let (tag, rest) = rest.split_at_checked(open)?;
    if tag.ends_with(b"/>") {
        return Some(open);
    }
    Some(open + memchr::memchr(b'>', rest)? + 1)
}

/// How much white space `rest` begins with.
pub(crate) fn blank(rest: &[u8]) -> usize {
    rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Hashes texts, eight bytes at a time. There are so few that to make them meet gains nobody anything.
#[derive(Debug, Default)]
pub(crate) struct TextHasher(u64);

impl Hasher for TextHasher {
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
