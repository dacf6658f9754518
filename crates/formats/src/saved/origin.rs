//! Where the CPU that saved a state keeps components, as far as its file tells.

use std::fmt;

use selfsame_xstate::{Component, ComponentSet, EXTENDED_START_BYTES, Format, Geometry, MxcsrMask, Offsets, Row};

use super::{Saved, SavedFormat, SavedState};
use crate::Finding;

/// The places of the CPU that saved a state, and what tells of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The places.
    pub geometry: Geometry,
    /// Why these.
    pub evidence: Evidence,
    /// What CPUs of the other vendor keep elsewhere in the standard format, where nothing tells whose CPU it was: the image
    /// itself is read right, but a standard image made of it in these places may be another CPU's.
    pub open: ComponentSet,
    /// Why the places may be others, although the file tells these.
    pub doubt: Option<Doubt>,
}

/// Why a state may lie elsewhere than its file tells.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Doubt {
    /// The places are Intel's, and MXCSR_MASK is that of AMD's CPUs.
    MaskOfAmd,
    /// The places of a thread are Intel's by its length, and no kernel wrote it, because MXCSR_MASK is zero.
    Debugger,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaskOfAmd => f.write_str("bit 17 of mxcsr_mask is set, and only AMD CPUs have it"),
            Self::Debugger => f.write_str(
                "mxcsr_mask is zero, so a debugger wrote this: gdb 13 lays threads out as Intel's CPUs do wherever it runs, and \
                 loses what lies elsewhere",
            ),
        }
    }
}

/// What tells where the CPU that saved a state keeps components; the surest comes first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Evidence {
    /// The core dump has a note NT_X86_XSAVE_LAYOUT.
    LayoutNote,
    /// The image is compacted, and such images have one layout on all CPUs.
    Compacted,
    /// The image is exactly as long as this vendor's CPUs make it.
    Length(Offsets),
    /// Only this vendor's CPUs have all of the components.
    Components(Offsets),
    /// MXCSR_MASK has the bits of this vendor's CPUs.
    MxcsrMask(Offsets),
    /// Every CPU that has what is present keeps it in the same places.
    SamePlaces,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LayoutNote => f.write_str("its note NT_X86_XSAVE_LAYOUT"),
            Self::Compacted => f.write_str("its header: compacted images lie alike on all CPUs"),
            Self::Length(offsets) => write!(f, "its length, that of {} CPUs", vendor(*offsets)),
            Self::Components(offsets) => write!(f, "its components, which only {} CPUs have", vendor(*offsets)),
            Self::MxcsrMask(Offsets::Amd) => f.write_str("bit 17 of mxcsr_mask, which only AMD CPUs have"),
            Self::MxcsrMask(Offsets::Intel) => f.write_str("mxcsr_mask, which lacks bit 17 that AMD CPUs have"),
            Self::SamePlaces => f.write_str("what is present: all CPUs keep it in the same places"),
        }
    }
}

const fn vendor(offsets: Offsets) -> &'static str {
    match offsets {
        Offsets::Intel => "Intel",
        Offsets::Amd => "AMD",
    }
}

impl Saved<'_> {
    /// The places of the CPU that saved a state of the file; `None` where two vendors' places are possible.
    ///
    /// All but [`Evidence::LayoutNote`] follow from what each vendor has always done, which nothing promises: whoever knows the
    /// host takes its leaf 0xD instead.
    pub fn origin(&self, state: &SavedState<'_>) -> Option<Origin> {
        let header = state.header()?;
        if header.format() == Format::Compacted {
            return compacted(state, header.places());
        }
        if let Some(geometry) = &self.layout {
            let open = ComponentSet::EMPTY;
            return Some(Origin { geometry: geometry.clone(), evidence: Evidence::LayoutNote, open, doubt: None });
        }
        // The first that some CPU can have: what a record tells may be no value of XCR0.
        let rooms =
            [state.xen.map(|masks| masks.accumulated), state.host_mask(), Some(header.present() & ComponentSet::USER)]
                .into_iter()
                .flatten();
        let can_be =
            |room: &ComponentSet| [Offsets::Intel, Offsets::Amd].iter().any(|&cpu| known(*room, cpu).is_some());
        let room = rooms.map(|room| (room | ComponentSet::LEGACY).with_partners()).find(can_be)?;
        let origin = standard(state, room, header.present())?;
        let doubt = match (origin.evidence, vendor_by_mask(state)) {
            (Evidence::Length(Offsets::Intel) | Evidence::Components(Offsets::Intel), Some(Offsets::Amd)) => {
                Some(Doubt::MaskOfAmd)
            }
            (Evidence::Length(Offsets::Intel), None) if self.format == SavedFormat::LinuxCore => Some(Doubt::Debugger),
            _ => None,
        };
        Some(Origin { doubt, ..origin })
    }
}

/// The known places of a set on a vendor's CPUs, if they have all of it.
pub(super) fn known(set: ComponentSet, offsets: Offsets) -> Option<Geometry> {
    let user = set & ComponentSet::USER;
    let supervisor = set - user;
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => {
            let (low, high) = user.halves();
            [low, 0, 0, high]
        }
        // XSAVEC and XSAVES are there: what they write has one layout, whoever has them.
        1 => {
            let (low, high) = supervisor.halves();
            [0xF, 0, low, high]
        }
        _ => [0; 4],
    });
    let geometry = geometry.usable(offsets);
    (geometry.components() == set).then_some(geometry)
}

/// What of a set has the same size on every CPU that has it.
pub(super) fn sized(set: ComponentSet) -> ComponentSet {
    set.iter().filter(|component| component.described().is_some_and(|row| row.size_bytes.is_some())).collect()
}

fn compacted(state: &SavedState<'_>, places: ComponentSet) -> Option<Origin> {
    let sized = (sized(places) | ComponentSet::LEGACY).with_partners();
    let origin = |geometry: Geometry, open| Some(Origin { geometry, evidence: Evidence::Compacted, open, doubt: None });
    match (known(sized, Offsets::Intel), known(sized, Offsets::Amd)) {
        (Some(intel), Some(amd)) => match vendor_by_mask(state) {
            Some(Offsets::Intel) => origin(intel, ComponentSet::EMPTY),
            Some(Offsets::Amd) => origin(amd, ComponentSet::EMPTY),
            None => {
                let open = intel.conflicts(&amd, sized).collect();
                origin(intel, open)
            }
        },
        (one, other) => origin(one.or(other)?, ComponentSet::EMPTY),
    }
}

fn standard(state: &SavedState<'_>, room: ComponentSet, present: ComponentSet) -> Option<Origin> {
    let origin =
        |geometry: Geometry, evidence| Some(Origin { geometry, evidence, open: ComponentSet::EMPTY, doubt: None });
    let (intel, amd) = match (known(room, Offsets::Intel), known(room, Offsets::Amd)) {
        (Some(intel), Some(amd)) => (intel, amd),
        (Some(intel), None) => return origin(intel, Evidence::Components(Offsets::Intel)),
        (None, Some(amd)) => return origin(amd, Evidence::Components(Offsets::Amd)),
        (None, None) => return None,
    };
    let fits = |geometry: &Geometry| {
        let size_bytes = geometry.standard_size(room).ok().and_then(|size| usize::try_from(size).ok());
        size_bytes == Some(state.image.len())
    };
    match (fits(&intel), fits(&amd)) {
        (true, false) => return origin(intel, Evidence::Length(Offsets::Intel)),
        (false, true) => return origin(amd, Evidence::Length(Offsets::Amd)),
        _ => {}
    }
    match vendor_by_mask(state) {
        Some(Offsets::Intel) => origin(intel, Evidence::MxcsrMask(Offsets::Intel)),
        Some(Offsets::Amd) => origin(amd, Evidence::MxcsrMask(Offsets::Amd)),
        None => {
            let open: ComponentSet = intel.conflicts(&amd, room).collect();
            let same_places = (open & present).is_empty();
            same_places.then_some(Origin { geometry: intel, evidence: Evidence::SamePlaces, open, doubt: None })
        }
    }
}

/// Whose CPU wrote MXCSR_MASK.
fn vendor_by_mask(state: &SavedState<'_>) -> Option<Offsets> {
    let mask = state.mxcsr_mask()?;
    Some(if mask == MxcsrMask::AMD { Offsets::Amd } else { Offsets::Intel })
}

/// The geometry that a core dump's note tells, as far as it can be, and what is wrong with it. What it does not tell, such as
/// the alignment, is as the manuals have it.
pub(super) fn of_rows(rows: &[(u32, Row)]) -> (Geometry, Vec<Finding>) {
    let row = |subleaf: u32| rows.iter().find(|(number, _)| *number == subleaf).map(|(_, row)| *row);
    let component = |number: u32| u8::try_from(number).ok().and_then(Component::new);
    let user =
        rows.iter().filter_map(|(number, _)| component(*number)).collect::<ComponentSet>() | ComponentSet::LEGACY;
    let end_bytes = rows
        .iter()
        .map(|(_, row)| row.offset_bytes.saturating_add(row.size_bytes))
        .fold(EXTENDED_START_BYTES, u32::max);
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => {
            let (low, high) = user.halves();
            [low, EXTENDED_START_BYTES, end_bytes, high]
        }
        1 => [0xF, 0, 0, 0],
        _ => row(subleaf).map_or([0; 4], |row| {
            let known = component(subleaf).and_then(Component::described);
            let is_aligned64 = known.and_then(|known| known.is_aligned64).unwrap_or_default();
            Row { is_aligned64, ..row }.registers()
        }),
    });
    let finding = |reason| Finding { what: "NT_X86_XSAVE_LAYOUT".to_owned(), line: None, reason };
    let strange = rows.iter().find(|(number, _)| component(*number).is_none());
    let strange = strange.map(|(number, _)| format!("component {number} has a row, and there is none of that number"));
    let defects = geometry.defects().map(|defect| defect.to_string());
    let findings = defects.chain(strange).map(finding).collect();
    (geometry.usable(Offsets::Intel), findings)
}
