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
        let reader = Reader::new(&machine.geometry, machine.xcr0 | machine.xss)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Checksum;
    use crate::compare::compare;
    use crate::kept::Kept;
    use selfsame_cpuid::Leaves;
    use selfsame_xstate::{Geometry, LinearAddresses, MxcsrMask};

    /// Leaf 0xD of Sapphire Rapids with user interrupts, and with the features of `features`.
    fn machine(features: u32) -> Machine {
        let geometry = Geometry::read(|subleaf| match subleaf {
            0 => [0x6_02e7, 11008, 11008, 0],
            1 => [features, 0, 0x5800, 0],
            2 => [256, 576, 0, 0],
            5 => [64, 1088, 0, 0],
            6 => [512, 1152, 0, 0],
            7 => [1024, 1664, 0, 0],
            9 => [8, 2688, 0, 0],
            11 => [16, 0, 1, 0],
            12 => [24, 0, 1, 0],
            14 => [48, 0, 1, 0],
            17 => [64, 2752, 2, 0],
            18 => [8192, 2816, 6, 0],
            _ => [0; 4],
        });
        let method = SaveMethod::of(&geometry);
        Machine {
            leaves: Leaves::new(),
            method,
            xcr0: geometry.user(),
            xss: if method == SaveMethod::Xsaves { geometry.supervisor() } else { ComponentSet::EMPTY },
            geometry,
            has_ungated_pkru: false,
            mxcsr_mask: MxcsrMask::COMMON,
            addresses: LinearAddresses::Bits48,
            kept: Kept { x87_pointers: true, tile_data: true },
            cet_bits: contents::cet_bits(true, true),
            is_tcg: false,
        }
    }

    const FEATURES: [u32; 2] = [0xf, 0];

    #[test]
    fn what_is_made_is_what_a_cpu_saves() {
        for features in FEATURES {
            let machine = machine(features);
            let form = Form::new(&machine).unwrap();
            assert_eq!(form.components(), machine.components());
            let (mut area, mut random) = (Area::new(), Random::new(1));
            let mut in_use = ComponentSet::EMPTY;
            for _ in 0..1000 {
                form.make(&mut area, &mut random);
                in_use = in_use.union(form.read(&area).unwrap().in_use());
            }
            assert_eq!(in_use, machine.components(), "each is in use now and then");
        }
    }

    #[test]
    fn every_byte_that_means_something_is_compared() {
        for features in FEATURES {
            let machine = machine(features);
            let form = Form::new(&machine).unwrap();
            let (mut area, mut random) = (Area::new(), Random::new(1));
            while area.header().present() != machine.components() {
                form.make(&mut area, &mut random);
            }
            let expected = form.read(&area).unwrap();
            for (component, place) in form.layout.places() {
                let used_bytes =
                    component.described().and_then(|row| row.used_bytes).unwrap_or(place.end - place.start);
                for at in place.start..place.start + used_bytes {
                    let mut changed = area.clone();
                    changed.bytes_mut()[at as usize] ^= 1;
                    // What no CPU saves is refused before it is compared; the mask of MXCSR is no state.
                    let Ok(found) = form.read(&changed) else { continue };
                    let outcome = compare(form.components(), &expected, &found, &mut Checksum::new());
                    assert_eq!(outcome.is_ok(), (28..32).contains(&at), "{component}, byte {at}");
                }
            }
        }
    }

    #[test]
    fn differences_are_told_by_register() {
        let machine = machine(0xf);
        let form = Form::new(&machine).unwrap();
        let (mut area, mut random) = (Area::new(), Random::new(1));
        while area.header().present() != machine.components() {
            form.make(&mut area, &mut random);
        }
        let told = |component, at_bytes: u32| {
            let mut changed = area.clone();
            let start = form.layout.offset_bytes(component).unwrap();
            changed.bytes_mut()[(start + at_bytes) as usize] ^= 1;
            let found = form.read(&changed).unwrap();
            let expected = form.read(&area).unwrap();
            let difference = compare(form.components(), &expected, &found, &mut Checksum::new()).unwrap_err();
            let text = difference.to_string();
            text.split(": expected").next().unwrap().to_owned()
        };
        assert_eq!(told(Component::SSE, 3 * 16 + 8), "sse (xmm3, byte 8)");
        assert_eq!(told(Component::X87, 32 + 16), "x87 (st1, byte 0)");
        assert_eq!(told(Component::X87, 8), "x87 (byte 8)");
        assert_eq!(told(Component::HI16_ZMM, 64 + 56), "hi16-zmm (zmm17, byte 56)");
        assert_eq!(told(Component::XTILEDATA, 1024), "xtiledata (tmm1, byte 0)");
        assert_eq!(told(Component::PKRU, 0), "pkru (byte 0)");
    }

    #[test]
    fn what_is_not_in_use_any_more_is_a_difference() {
        let machine = machine(0xf);
        let form = Form::new(&machine).unwrap();
        let (mut area, mut random) = (Area::new(), Random::new(1));
        while area.header().present() != machine.components() {
            form.make(&mut area, &mut random);
        }
        let expected = form.read(&area).unwrap();
        for component in form.components() {
            let mut changed = area.clone();
            put_header(&mut changed, &form.header(machine.components().without(component)));
            let found = form.read(&changed).unwrap();
            let forward = compare(form.components(), &expected, &found, &mut Checksum::new());
            let backward = compare(form.components(), &found, &expected, &mut Checksum::new());
            assert!(forward.is_err() && backward.is_err(), "{component}");
        }
    }
}
