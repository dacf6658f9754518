//! What was expected and what was found: the first difference, by name.

use core::fmt;

use selfsame_hypervisor::Fault;
use selfsame_xstate::{Component, ComponentSet, Image};
use thiserror::Error;

use crate::checksum::Checksum;

/// A register that does not hold what it should.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
pub(crate) enum Difference {
    #[error("{place}: expected {expected:#x}, found {found:#x}")]
    Value { place: Place, expected: u64, found: u64 },
    #[error("{component}: expected its initial configuration, found it in use")]
    InUse { component: Component },
    #[error("{place}: its access faults with {fault}")]
    Fault { place: Place, fault: Fault },
    #[error("{component}: expected it in use, found its initial configuration")]
    Initial { component: Component },
}

/// Where a difference is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// A register outside extended state.
    Register(&'static str),
    /// A model-specific register.
    Msr(u32, &'static str),
    /// Eight bytes of a component.
    Component { component: Component, at_bytes: usize },
}

impl Difference {
    /// # Errors
    ///
    /// That the two differ.
    pub(crate) const fn check(place: Place, expected: u64, found: u64) -> Result<(), Self> {
        if expected == found { Ok(()) } else { Err(Self::Value { place, expected, found }) }
    }
}

/// Compares the components of `set` in two images, and adds what was found to the checksum.
///
/// # Errors
///
/// The first difference.
pub(crate) fn compare(
    set: ComponentSet,
    expected: &Image<'_>,
    found: &Image<'_>,
    checksum: &mut Checksum,
) -> Result<(), Difference> {
    Difference::check(Place::Register("mxcsr"), expected.mxcsr().into(), found.mxcsr().into())?;
    checksum.add(found.mxcsr().into());
    let (expected_in_use, found_in_use) = (expected.in_use(), found.in_use());
    for component in set {
        match (expected_in_use.contains(component), found_in_use.contains(component)) {
            (false, false) => {}
            (false, true) => return Err(Difference::InUse { component }),
            (true, false) => return Err(Difference::Initial { component }),
            // SSE may be in use for MXCSR alone.
            (true, true) => {
                compare_bytes(component, expected.component(component), found.component(component), checksum)?;
            }
        }
    }
    Ok(())
}

fn compare_bytes(
    component: Component,
    expected: Option<&[u8]>,
    found: Option<&[u8]>,
    checksum: &mut Checksum,
) -> Result<(), Difference> {
    let (expected, found) = (used(component, expected), used(component, found));
    let words = expected.len().max(found.len()).div_ceil(8);
    for index in 0..words {
        // MXCSR and its mask are not x87's (SDM vol. 1, 13.5.1).
        if component == Component::X87 && index == 3 {
            continue;
        }
        let (expected, found) = (word(expected, index), word(found, index));
        checksum.add(found);
        Difference::check(Place::Component { component, at_bytes: 8 * index }, expected, found)?;
    }
    Ok(())
}

/// The bytes that mean something.
fn used(component: Component, bytes: Option<&[u8]>) -> &[u8] {
    let bytes = bytes.unwrap_or_default();
    let used_bytes = component.described().and_then(|row| row.used_bytes);
    used_bytes.and_then(|used_bytes| bytes.get(..used_bytes as usize)).unwrap_or(bytes)
}

/// Eight bytes, or those that there are and zeros.
fn word(bytes: &[u8], index: usize) -> u64 {
    let rest = bytes.get(8 * index..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Register(name) => f.write_str(name),
            Self::Msr(index, name) => write!(f, "msr {index:08x} ({name})"),
            Self::Component { component, at_bytes } => {
                write!(f, "{component} (")?;
                match registers(component) {
                    Some(Registers { name, first, first_at_bytes, bytes }) if at_bytes >= first_at_bytes => {
                        let at_bytes = at_bytes - first_at_bytes;
                        write!(f, "{name}{}, byte {}", first + at_bytes / bytes, at_bytes % bytes)?;
                    }
                    _ => write!(f, "byte {at_bytes}")?,
                }
                f.write_str(")")
            }
        }
    }
}

/// Registers of one kind in a component, one behind the other.
struct Registers {
    name: &'static str,
    first: usize,
    first_at_bytes: usize,
    bytes: usize,
}

/// The registers of a component, where it has several of one kind (SDM vol. 1, 13.5).
fn registers(component: Component) -> Option<Registers> {
    let (name, first, first_at_bytes, bytes) = match component {
        Component::X87 => ("st", 0, 32, 16),
        Component::SSE => ("xmm", 0, 0, 16),
        Component::AVX => ("high half of ymm", 0, 0, 16),
        Component::BNDREGS => ("bnd", 0, 0, 16),
        Component::OPMASK => ("k", 0, 0, 8),
        Component::ZMM_HI256 => ("high half of zmm", 0, 0, 32),
        Component::HI16_ZMM => ("zmm", 16, 0, 64),
        Component::XTILEDATA => ("tmm", 0, 0, 1024),
        Component::APX => ("r", 16, 0, 8),
        _ => return None,
    };
    Some(Registers { name, first, first_at_bytes, bytes })
}
