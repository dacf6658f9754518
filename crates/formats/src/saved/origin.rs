//! Where the CPU that saved a state keeps components, as far as its file tells.

use std::fmt;

use selfsame_xstate::{
    Component, ComponentSet, EXTENDED_START_BYTES, Format, Geometry, Header, LEGACY_BYTES, MxcsrMask, Offsets, Row,
};

use super::fields::u32_at;
use super::{Saved, SavedState};

/// Where MXCSR_MASK lies (SDM vol. 1, 10.5.1).
const MXCSR_MASK: usize = 28;

/// The places of the CPU that saved a state, and what tells of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The places.
    pub geometry: Geometry,
    /// Why these.
    pub evidence: Evidence,
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
            Self::MxcsrMask(Offsets::Amd) => f.write_str("mxcsr_mask 0x2ffff, which only AMD CPUs have"),
            Self::MxcsrMask(Offsets::Intel) => f.write_str("mxcsr_mask, which has no bit that only AMD CPUs have"),
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
        let header = state.image.get(LEGACY_BYTES as usize..).and_then(|rest| rest.first_chunk());
        let header = Header::from_bytes(header?);
        if header.format() == Format::Compacted {
            return compacted(header.places());
        }
        if let Some(rows) = &self.layout {
            return Some(Origin { geometry: of_rows(rows), evidence: Evidence::LayoutNote });
        }
        let room = state
            .accumulated_xcr0
            .or_else(|| state.host_mask())
            .unwrap_or_else(|| header.present() & ComponentSet::USER);
        standard(state.image, (room | ComponentSet::LEGACY).with_partners(), header.present())
    }
}

/// The known places of a set on a vendor's CPUs, if they have all of it.
fn known(set: ComponentSet, offsets: Offsets) -> Option<Geometry> {
    let user = set & ComponentSet::USER;
    let supervisor = set - user;
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => halves(user),
        // XSAVEC and XSAVES are there: what they write has one layout, whoever has them.
        1 => {
            let [low, _, _, high] = halves(supervisor);
            [0xF, 0, low, high]
        }
        _ => [0; 4],
    });
    let geometry = geometry.usable(offsets);
    (geometry.components() == set).then_some(geometry)
}

/// A mask in EAX and EDX.
fn halves(set: ComponentSet) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h] = set.bits().to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), 0, 0, u32::from_le_bytes([e, f, g, h])]
}

fn compacted(places: ComponentSet) -> Option<Origin> {
    let sized: ComponentSet =
        places.iter().filter(|component| component.described().is_some_and(|row| row.size_bytes.is_some())).collect();
    let sized = (sized | ComponentSet::LEGACY).with_partners();
    let geometry = known(sized, Offsets::Intel).or_else(|| known(sized, Offsets::Amd))?;
    Some(Origin { geometry, evidence: Evidence::Compacted })
}

fn standard(image: &[u8], room: ComponentSet, present: ComponentSet) -> Option<Origin> {
    let origin = |geometry: Geometry, evidence| Some(Origin { geometry, evidence });
    let (intel, amd) = match (known(room, Offsets::Intel), known(room, Offsets::Amd)) {
        (Some(intel), Some(amd)) => (intel, amd),
        (Some(intel), None) => return origin(intel, Evidence::Components(Offsets::Intel)),
        (None, Some(amd)) => return origin(amd, Evidence::Components(Offsets::Amd)),
        (None, None) => return None,
    };
    let fits = |geometry: &Geometry| {
        let size_bytes = geometry.standard_size(room).ok().and_then(|size| usize::try_from(size).ok());
        size_bytes == Some(image.len())
    };
    match (fits(&intel), fits(&amd)) {
        (true, false) => return origin(intel, Evidence::Length(Offsets::Intel)),
        (false, true) => return origin(amd, Evidence::Length(Offsets::Amd)),
        _ => {}
    }
    let same_places = intel.conflicts(&amd, present).next().is_none();
    match u32_at(image, MXCSR_MASK) {
        Some(0) | None => same_places.then_some(Origin { geometry: intel, evidence: Evidence::SamePlaces }),
        Some(mask) if mask == MxcsrMask::AMD.bits() => origin(amd, Evidence::MxcsrMask(Offsets::Amd)),
        Some(_) => origin(intel, Evidence::MxcsrMask(Offsets::Intel)),
    }
}

/// The geometry that a core dump's note tells; what it does not tell, such as the alignment, is as the manuals have it.
fn of_rows(rows: &[(u32, Row)]) -> Geometry {
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
            let [low, _, _, high] = halves(user);
            [low, EXTENDED_START_BYTES, end_bytes, high]
        }
        1 => [0xF, 0, 0, 0],
        _ => row(subleaf).map_or([0; 4], |row| {
            let known = component(subleaf).and_then(Component::described);
            let is_aligned64 = known.and_then(|known| known.is_aligned64).unwrap_or_default();
            Row { is_aligned64, ..row }.registers()
        }),
    });
    geometry.usable(Offsets::Intel)
}
