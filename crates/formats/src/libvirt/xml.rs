//! XML as libvirt writes it, read tag by tag: nothing is expanded, nothing is kept.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::known_children::blank;
use crate::error::ReadError;

/// libvirt's deepest document has ten levels: what is deeper is not libvirt's.
const MAX_DEPTH: usize = 64;

/// So many ends of tags may be passed before a new reader takes less memory.
const MANY_PASSED: usize = 1024;

/// What comes next in a document.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A tag opens; one that closes itself is followed by its [`Item::Close`].
    Open(Tag<'a>),
    /// The innermost open tag closes.
    Close,
    /// Text between tags, with the five entities of XML and characters by number replaced.
    Text(Cow<'a, str>),
}

/// A tag with its attributes.
#[derive(Debug)]
pub(crate) struct Tag<'a> {
    start: BytesStart<'a>,
    /// Where it begins in the file.
    pub(crate) offset: usize,
}

impl Tag<'_> {
    /// The tag's name.
    pub(crate) fn name(&self) -> &str {
        self.start.name().into_inner()
    }

    /// The value of an attribute; `None` where it is missing or malformed.
    pub(crate) fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        let [value] = self.attributes([name]);
        value
    }

    /// The values of several attributes, found together.
    pub(crate) fn attributes<const N: usize>(&self, names: [&str; N]) -> [Option<Cow<'_, str>>; N] {
        let mut found = [const { None }; N];
        let mut attributes = self.start.attributes();
        // Twice the same attribute: the first counts, and looking for others costs more than the whole tag.
        for attribute in attributes.with_checks(false).flatten() {
            let place = names.iter().zip(&mut found).find(|(name, _)| attribute.key.into_inner() == **name);
            if let Some((_, place @ None)) = place {
                *place = Some(attribute);
            }
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        found.map(|attribute| value_of(attribute?))
    }
}

/// The value of an attribute; `None` where it is malformed.
fn value_of(attribute: Attribute<'_>) -> Option<Cow<'_, str>> {
    if !attribute.value.bytes().any(|byte| matches!(byte, b'&' | b'\t' | b'\r' | b'\n')) {
        return Some(attribute.value);
    }
    let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
    Some(Cow::Owned(value.into_owned()))
}

/// A document, read from its beginning to its end.
pub(crate) struct Xml<'a> {
    bytes: &'a [u8],
    reader: Reader<&'a [u8]>,
    /// Where the reader would have begun, had it read all up to where it is.
    begin: usize,
    /// How often something was passed.
    passed: usize,
    /// The open tags: where the name of each lies.
    path: Vec<Range<usize>>,
    /// A tag that closed itself is still to be closed.
    is_closing: bool,
    /// The last item was a tag, opened or closed: the reader takes whatever follows it.
    is_after_tag: bool,
    /// Up to where lines were counted, and the line there.
    counted: Cell<(usize, usize)>,
}

impl<'a> Xml<'a> {
    /// Begins at the beginning of a file.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            reader: reader(bytes),
            begin: 0,
            passed: 0,
            path: Vec::new(),
            is_closing: false,
            is_after_tag: false,
            counted: Cell::new((0, 1)),
        }
    }

    /// Where the next item begins.
    pub(crate) fn offset(&self) -> usize {
        self.begin.saturating_add(self.position())
    }

    /// The name of the tag around the one that was opened last.
    pub(crate) fn parent(&self) -> &'a [u8] {
        let name = self.path.len().checked_sub(2).and_then(|at| self.path.get(at)).cloned();
        name.and_then(|name| self.bytes.get(name)).unwrap_or_default()
    }

    /// How many tags are open.
    pub(crate) fn depth(&self) -> usize {
        self.path.len()
    }

    /// Closes the tag that was opened last and goes on at `offset`, the end of its element.
    pub(crate) fn skip_to(&mut self, offset: usize) {
        self.pass(offset);
        self.path.pop();
        self.is_closing = false;
    }

    /// The line of a place in the file.
    pub(crate) fn line(&self, offset: usize) -> usize {
        // Places are asked for in the order of the file, mostly: who counts from the beginning each time never ends.
        let (from, lines) = Some(self.counted.get()).filter(|(counted, _)| *counted <= offset).unwrap_or((0, 1));
        let passed = self.bytes.get(from..offset).unwrap_or_default();
        let line = lines + memchr::memchr_iter(b'\n', passed).count();
        self.counted.set((offset, line));
        line
    }

    /// The bytes of the file.
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the next item begins, behind white space, if it can be passed: not right after text, where the reader goes on
    /// with markup, nor while a tag that closed itself is still to be closed.
    pub(crate) fn next_sibling(&self) -> Option<usize> {
        let offset = self.offset();
        let rest = self.bytes.get(offset..).filter(|_| self.is_after_tag && !self.is_closing)?;
        Some(offset + blank(rest))
    }

    /// Goes on at `offset`, which must be right after an element at [`Xml::next_sibling`] or others that follow it, beside the
    /// last one.
    pub(crate) fn pass(&mut self, offset: usize) {
        let offset = offset.min(self.bytes.len());
        let rest = self.bytes.get(offset..).unwrap_or_default();
        self.passed += 1;
        // The reader keeps the name of each tag whose end it does not see: it is begun anew before they are many.
        if self.passed.is_multiple_of(MANY_PASSED) {
            self.reader = reader(rest);
        }
        *self.reader.get_mut() = rest;
        self.begin = offset.saturating_sub(self.position());
    }

    /// How much the reader has read.
    fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    /// The next item; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// What is not well-formed, or nested deeper than any document of libvirt.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'a>>, ReadError> {
        if std::mem::take(&mut self.is_closing) {
            self.path.pop();
            return Ok(Some(Item::Close));
        }
        loop {
            let offset = self.offset();
            let event = self.reader.read_event().map_err(|error| self.malformed(&error, offset))?;
            self.is_after_tag = matches!(event, Event::Start(_) | Event::Empty(_) | Event::End(_));
            return match event {
                Event::Start(start) => self.open(start, "<>"),
                Event::Empty(start) => {
                    self.is_closing = true;
                    self.open(start, "</>")
                }
                Event::End(end) => {
                    let open = self.path.pop().and_then(|name| self.bytes.get(name)).unwrap_or_default();
                    let is_same = end.name().into_inner().as_bytes() == open;
                    is_same.then_some(Some(Item::Close)).ok_or_else(|| self.line_error(offset, NOT_WELL_FORMED))
                }
                Event::Text(text) => Ok(Some(Item::Text(text.into_inner()))),
                Event::CData(text) => Ok(Some(Item::Text(text.into_inner()))),
                Event::GeneralRef(entity) => {
                    let text = format!("&{};", &*entity);
                    let text = quick_xml::escape::unescape(&text).map_err(|_| self.line_error(offset, ENTITY))?;
                    Ok(Some(Item::Text(Cow::Owned(text.into_owned()))))
                }
                Event::Eof if !self.path.is_empty() => Err(ReadError::CutOff { line: self.line(offset) }),
                Event::Eof => Ok(None),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
            };
        }
    }

    /// Reads the text of the tag that was opened last, to its end; what stands in tags within does not count.
    ///
    /// # Errors
    ///
    /// As [`Xml::next`].
    pub(crate) fn text(&mut self) -> Result<String, ReadError> {
        if let Some(text) = self.plain_text() {
            return Ok(text.to_owned());
        }
        let mut content = String::new();
        let depth = self.path.len();
        while self.path.len() >= depth {
            match self.next()? {
                Some(Item::Text(text)) if self.path.len() == depth => content.push_str(&text),
                Some(_) => {}
                None => break,
            }
        }
        Ok(content)
    }

    /// Passes the tag that was opened last if nothing but text is in it, and returns that: nearly always it is so, and
    /// faster than event by event. What the reader would trim, replace or refuse is left to it.
    fn plain_text(&mut self) -> Option<&'a str> {
        let name = self.bytes.get(self.path.last().filter(|_| !self.is_closing)?.clone())?;
        let rest = self.bytes.get(self.offset()..)?;
        let (text, end) = rest.split_at_checked(memchr::memchr3(b'<', b'&', b'\r', rest)?)?;
        let after = end.strip_prefix(b"</")?.strip_prefix(name)?.strip_prefix(b">")?;
        let text = str::from_utf8(text).ok().filter(|text| text.trim() == *text)?;
        self.skip_to(self.bytes.len().saturating_sub(after.len()));
        Some(text)
    }

    /// Opens a tag that was just read, `brackets` around it; white space may stand before it.
    fn open(&mut self, start: BytesStart<'a>, brackets: &str) -> Result<Option<Item<'a>>, ReadError> {
        let offset = self.offset().saturating_sub(start.len()).saturating_sub(brackets.len());
        if self.path.len() >= MAX_DEPTH {
            return Err(self.line_error(offset, "nested deeper than any document of libvirt"));
        }
        // The name follows the `<`.
        let name = offset.saturating_add(1);
        self.path.push(name..name.saturating_add(start.name().into_inner().len()));
        Ok(Some(Item::Open(Tag { start, offset })))
    }

    /// An error of the reader about an item that begins at `item`, after white space.
    fn malformed(&self, error: &quick_xml::Error, item: usize) -> ReadError {
        use quick_xml::Error as E;
        let rest = self.bytes.get(item..).unwrap_or_default();
        let item = self.bytes.len().saturating_sub(rest.trim_ascii_start().len());
        // The reader does not say where text is not UTF-8.
        let said = usize::try_from(self.reader.error_position()).unwrap_or(usize::MAX);
        let offset = self.begin.saturating_add(said).max(item);
        match error {
            E::Syntax(_) => ReadError::CutOff { line: self.line(offset) },
            E::Encoding(_) => self.line_error(offset, "not UTF-8: convert the file"),
            _ => self.line_error(offset, NOT_WELL_FORMED),
        }
    }

    /// An error about a place in the file.
    pub(crate) fn line_error(&self, offset: usize, reason: &'static str) -> ReadError {
        ReadError::Line { line: self.line(offset), reason }
    }
}

const NOT_WELL_FORMED: &str = "not well-formed XML";
const ENTITY: &str = "an entity that XML does not know by itself: entities are not expanded here";

fn reader(bytes: &[u8]) -> Reader<&[u8]> {
    let mut reader = Reader::from_reader(bytes);
    let config = reader.config_mut();
    config.trim_text(true);
    // A reader that begins within the document meets the ends of tags that it did not see open.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    reader
}

#[test]
fn bytes_that_are_not_utf_8_are_told_with_the_line_of_their_item() {
    let lines = b"<hosts>\n<cpu><arch>x86_64</arch><model>Nehalem</model>\n</cpu>\n<cpu \xff/>\n</hosts>";
    let mut xml = Xml::new(lines);
    let mut texts = 0;
    let refused = loop {
        match xml.next() {
            Ok(Some(Item::Open(tag))) if matches!(tag.name(), "arch" | "model") => {
                texts += usize::from(xml.text().is_ok());
            }
            Ok(Some(_)) => {}
            other => break other.err(),
        }
    };
    assert_eq!((texts, refused), (2, Some(ReadError::Line { line: 4, reason: "not UTF-8: convert the file" })));
}
