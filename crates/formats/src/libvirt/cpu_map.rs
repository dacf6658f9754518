//! libvirt's own map of models: the directory `src/cpu_map`, as it is installed.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use selfsame_cpuid::{Featureset, Place, Register, Signature, Word};

use super::xml::{Item, Tag, Xml};
use crate::error::ReadError;
use crate::models::{Model, Models};
use crate::scan::{decimal, hexadecimal};
use crate::spelling::qemu_feature as known;

/// Where libvirt installs its map.
pub const CPU_MAP: &str = "/usr/share/libvirt/cpu_map";

/// Why a directory is not taken as libvirt's map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuMapError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not what libvirt writes.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ReadError,
    },
    /// A file is larger than any of libvirt's.
    #[error("{}: larger than {limit_mib} MiB: is it libvirt's?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit_mib: u64,
    },
    /// The map has no x86 model.
    #[error("{}: names no x86 model", path.display())]
    NoModel {
        /// The index.
        path: PathBuf,
    },
}

impl Models {
    /// Reads libvirt's map from `directory`, which has `index.xml` and the files that it names.
    ///
    /// A feature counts by its name, and where nobody knows the name here, by the bits that the map gives it.
    ///
    /// # Errors
    ///
    /// A file that is missing, malformed or far too large, or a map without an x86 model.
    pub fn read_cpu_map(directory: &Path) -> Result<Self, CpuMapError> {
        Self::read_cpu_map_by(directory, read)
    }

    /// Reads libvirt's map as [`Models::read_cpu_map`] does, out of what `read` gives for the paths of its files.
    ///
    /// # Errors
    ///
    /// As [`Models::read_cpu_map`], and those of `read`.
    pub fn read_cpu_map_by(
        directory: &Path,
        read: impl Fn(&Path) -> Result<Vec<u8>, CpuMapError>,
    ) -> Result<Self, CpuMapError> {
        let index = directory.join("index.xml");
        let files = malformed(&index, includes(&read(&index)?))?;
        let mut models = Self::default();
        for file in files {
            let path = directory.join(file);
            let bytes = read(&path)?;
            malformed(&path, models.take_file(&bytes))?;
        }
        if models.iter().next().is_none() { Err(CpuMapError::NoModel { path: index }) } else { Ok(models) }
    }

    fn take_file(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        let mut xml = Xml::new(bytes);
        while let Some(item) = xml.next()? {
            let Item::Open(tag) = item else { continue };
            match (xml.parent(), tag.name()) {
                (b"cpus", "vendor") => {
                    if let (Some(name), Some(bytes)) = (tag.attribute("name"), tag.attribute("string"))
                        && let Ok(bytes) = bytes.as_bytes().try_into()
                    {
                        self.add_vendor(&name, bytes);
                    }
                }
                (b"cpus", "feature") => self.take_feature(&mut xml, &tag)?,
                (b"cpus", "model") => self.take_model(&mut xml, &tag)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a feature whose name nobody knows here by its one bit.
    fn take_feature(&mut self, xml: &mut Xml<'_>, tag: &Tag<'_>) -> Result<(), ReadError> {
        let name = named(xml, tag)?;
        let mut bits = Vec::new();
        let depth = xml.depth();
        while let Some(item) = xml.next()? {
            if xml.depth() < depth {
                break;
            }
            if let Item::Open(tag) = item {
                bits.extend(places(&tag));
            }
        }
        if let ([place], None) = (&bits[..], known(&name)) {
            self.add_feature(&name, *place);
        }
        Ok(())
    }

    fn take_model(&mut self, xml: &mut Xml<'_>, tag: &Tag<'_>) -> Result<(), ReadError> {
        let name = named(xml, tag)?;
        let mut model = Model {
            name,
            vendor: None,
            signature: None,
            features: Featureset::EMPTY,
            vmx_apart: Featureset::EMPTY,
            qemu_features: Featureset::EMPTY,
            unknown: Vec::new(),
        };
        let depth = xml.depth();
        while let Some(item) = xml.next()? {
            if xml.depth() < depth {
                break;
            }
            let Item::Open(tag) = item else { continue };
            match tag.name() {
                "model" => {
                    let parent = named(xml, &tag)?;
                    let parent = self.get(&parent).ok_or_else(|| xml.line_error(tag.offset, PARENT))?;
                    model = Model { name: model.name, ..parent.clone() };
                }
                "vendor" => model.vendor = self.vendor(&named(xml, &tag)?),
                "signature" if model.signature.is_none() => model.signature = signature(&tag),
                "feature" => self.take_model_feature(&mut model, xml, &tag)?,
                _ => {}
            }
        }
        model.qemu_features = model.features | model.vmx_apart;
        self.add(model, &[]);
        Ok(())
    }

    fn take_model_feature(&self, model: &mut Model, xml: &Xml<'_>, tag: &Tag<'_>) -> Result<(), ReadError> {
        let name = named(xml, tag)?;
        let is = |attribute| tag.attribute(attribute).is_some_and(|text| text == "yes");
        if is("removed") {
            return Ok(());
        }
        match known(&name).map(|row| row.place).or_else(|| self.feature(&name)) {
            Some(place) if is("added") => model.vmx_apart.insert(place),
            Some(place) => model.features.insert(place),
            None => model.unknown.push(name),
        }
        Ok(())
    }
}

const PARENT: &str = "the map has no such model before this one";

/// The files of x86 that the index names, in its order: models follow those that they are made of.
fn includes(bytes: &[u8]) -> Result<Vec<String>, ReadError> {
    let mut xml = Xml::new(bytes);
    let mut files = Vec::new();
    let mut is_x86 = false;
    while let Some(item) = xml.next()? {
        let Item::Open(tag) = item else { continue };
        match tag.name() {
            "arch" => is_x86 = tag.attribute("name").is_some_and(|name| name == "x86"),
            "include" if is_x86 => {
                let file = tag.attribute("filename").filter(|file| !file.contains(['/', '\\']) && file != "..");
                let file =
                    file.ok_or_else(|| xml.line_error(tag.offset, "expected the name of a file beside this one"))?;
                files.push(file.into_owned());
            }
            _ => {}
        }
    }
    Ok(files)
}

fn named(xml: &Xml<'_>, tag: &Tag<'_>) -> Result<String, ReadError> {
    let name = tag.attribute("name").filter(|name| !name.is_empty());
    name.map(std::borrow::Cow::into_owned).ok_or_else(|| xml.line_error(tag.offset, "expected a name='...'"))
}

/// Family and model, and the least of the steppings.
fn signature(tag: &Tag<'_>) -> Option<Signature> {
    let stepping = tag.attribute("stepping");
    let stepping = stepping.as_deref().and_then(|text| text.split(['-', ',']).next()).unwrap_or("0");
    Some(Signature {
        family: decimal(&tag.attribute("family")?)?,
        model: decimal(&tag.attribute("model")?)?,
        stepping: decimal(stepping)?,
    })
}

/// The bits that a `<cpuid>` or `<msr>` of the map sets.
fn places(tag: &Tag<'_>) -> Vec<Place> {
    let number = |name| hex(&tag.attribute(name)?);
    let mut places = Vec::new();
    for register in Register::ALL {
        let Some(mask) = number(register.name()) else { continue };
        for bit in (0..32u8).filter(|bit| mask >> bit & 1 == 1) {
            places.extend(match tag.name() {
                "cpuid" => number("eax_in")
                    .and_then(|leaf| Word::find(leaf, number("ecx_in").unwrap_or(0), register))
                    .and_then(|word| Place::new(word, bit)),
                "msr" => {
                    let bit = if register == Register::Edx { bit + 32 } else { bit };
                    number("index").and_then(|index| format!("msr:{index:08x}[{bit}]").parse().ok())
                }
                _ => None,
            });
        }
    }
    places
}

fn hex(text: &str) -> Option<u32> {
    hexadecimal(text.strip_prefix("0x")?)?.try_into().ok()
}

fn read(path: &Path) -> Result<Vec<u8>, CpuMapError> {
    /// libvirt's largest file is 40 KiB.
    const LIMIT_MIB: u64 = 4;
    let mut bytes = Vec::new();
    let limit = LIMIT_MIB << 20;
    let read = std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|source| CpuMapError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > limit {
        return Err(CpuMapError::TooLarge { path: path.to_owned(), limit_mib: LIMIT_MIB });
    }
    Ok(bytes)
}

fn malformed<T>(path: &Path, result: Result<T, ReadError>) -> Result<T, CpuMapError> {
    result.map_err(|source| CpuMapError::Malformed { path: path.to_owned(), source })
}
