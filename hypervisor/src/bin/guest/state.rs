//! Extended state as a round loads it: random contents, and some components left in their initial configuration.

use selfsame_xstate::{
    Component, ComponentSet, Format, Header, Image, ImageFault, LEGACY_BYTES, Layout, LayoutError, MXCSR_INITIAL,
    Reader, SaveMethod,
};
use thiserror::Error;

use crate::area::{Area, put_header, put_mxcsr};
use crate::contents;
use crate::machine::Machine;
use crate::random::Random;

/// Which state rounds load and save, and how.
#[derive(Clone, Debug)]
pub(crate) struct Form<'m> {
    machine: &'m Machine,
    layout: Layout<'m>,
    reader: Reader<'m>,
    /// What is never loaded or saved, because no contents are known for it.
    pub(crate) left_out: ComponentSet,
}

/// Why this machine's state cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub(crate) enum FormError {
    #[error("leaf 0xd: {0}")]
    Layout(#[from] LayoutError),
    #[error("an image of this machine has {bytes} bytes")]
    TooLarge { bytes: u32 },
}

impl<'m> Form<'m> {
    pub(crate) fn new(machine: &'m Machine) -> Result<Self, FormError> {
        let all = machine.components();
        let used = all.intersection(contents::known());
        let layout = Layout::new(machine.method.format(), used, &machine.geometry)?;
        if !Area::has_room_for(&layout) {
            return Err(FormError::TooLarge { bytes: layout.size_bytes() });
        }
        let reader = Reader::new(&machine.geometry, machine.xcr0, machine.xss)
            .with_mxcsr_mask(machine.mxcsr_mask)
            .with_addresses(machine.addresses);
        Ok(Self { machine, layout, reader, left_out: all.minus(used) })
    }

    /// What is loaded and saved: the mask of the instructions.
    pub(crate) const fn components(&self) -> ComponentSet {
        self.layout.components()
    }

    /// Reads what was made, or what the CPU saved.
    pub(crate) fn read<'a>(&self, area: &'a Area) -> Result<Image<'a>, ImageFault>
    where
        'm: 'a,
    {
        self.reader.read(area.bytes())
    }

    /// Makes new state in `area`.
    pub(crate) fn make(&self, area: &mut Area, random: &mut Random) {
        let present = self.random_present(random);
        for (component, place) in self.layout.places() {
            let bytes = area.bytes_mut().get_mut(place.start as usize..place.end as usize).unwrap_or_default();
            if present.contains(component) {
                contents::fill(component, bytes, random, self.machine);
            }
        }
        let is_standard = self.layout.format() == Format::Standard;
        // A standard image has MXCSR whatever else is there (SDM vol. 1, 13.8.1).
        let has_mxcsr = is_standard || present.contains(Component::SSE);
        let mxcsr = if has_mxcsr { contents::mxcsr(random, self.machine) } else { MXCSR_INITIAL };
        put_mxcsr(area, mxcsr);
        put_header(area, &self.header(present));
    }

    /// Prepares `area` for a save: XSAVE keeps bits of the header, and AMD CPUs leave bytes of x87 unwritten.
    pub(crate) fn clear(&self, area: &mut Area) {
        area.bytes_mut().get_mut(..LEGACY_BYTES as usize).unwrap_or_default().fill(0);
        // FXSAVE writes no header.
        let present = match self.machine.method {
            SaveMethod::Fxsave => ComponentSet::LEGACY,
            _ => ComponentSet::EMPTY,
        };
        put_header(area, &Header { xstate_bv: present.bits(), ..Header::default() });
    }

    fn header(&self, present: ComponentSet) -> Header {
        /// Of XCOMP_BV: the image is compacted (SDM vol. 1, 13.4.2).
        const COMPACTED: u64 = 1 << 63;
        let xcomp_bv = match self.layout.format() {
            Format::Standard => 0,
            Format::Compacted => COMPACTED | self.components().bits(),
        };
        Header { xstate_bv: present.bits(), xcomp_bv, ..Header::default() }
    }

    /// Which components get contents; the others are left in their initial configuration.
    fn random_present(&self, random: &mut Random) -> ComponentSet {
        let all = self.components();
        if self.machine.method == SaveMethod::Fxsave {
            return all;
        }
        // Each of them in three of four cases, and now and then everything or nothing.
        let chosen = match random.below(16) {
            0 => ComponentSet::ALL,
            1 => ComponentSet::EMPTY,
            _ => ComponentSet::from_bits(random.next() | random.next()),
        };
        let present = all.intersection(chosen);
        // Tiles hold nothing while none are configured.
        let has_tiles = present.contains(Component::XTILECFG) && self.machine.kept.tile_data;
        if has_tiles { present } else { present.without(Component::XTILEDATA) }
    }
}
