//! Images for the tests: random states as a CPU, or somebody else, might have written them.
#![allow(dead_code, reason = "each test file uses some of it")]

use selfsame_xstate::{Component, ComponentSet, Format, Geometry, Header, Layout, MXCSR_INITIAL};

/// A stream of words that follows from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Words(u64);

impl Words {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.next().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn u16(&mut self) -> u16 {
        let [a, b, ..] = self.next().to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// A number from 1 to `most`.
    fn up_to(&mut self, most: u8) -> u8 {
        let [byte, ..] = self.next().to_le_bytes();
        1 + byte % most
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// A random subset.
    pub(crate) fn subset(&mut self, set: ComponentSet) -> ComponentSet {
        set & ComponentSet::from_bits(self.next())
    }
}

/// What CPUs may differ in when they save the same state.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// Each component is its initial configuration or random, present or not as it should be, and all else is zero.
    Clean,
    /// Garbage lies wherever nothing is said: gaps, absent components, software's bytes. Some components are present although
    /// they are in their initial configuration.
    Dirty,
}

/// Writes an image of `set` with random contents; `None` where `set` has no layout.
///
/// Contents are lawful: registers that refuse values get others.
pub(crate) fn random_image(
    geometry: &Geometry,
    format: Format,
    set: ComponentSet,
    style: Style,
    words: &mut Words,
) -> Option<Vec<u8>> {
    let layout = Layout::new(format, set | ComponentSet::LEGACY, geometry).ok()?;
    let mut bytes = vec![0; layout.size_bytes().max(576) as usize];
    if matches!(style, Style::Dirty) {
        words.fill(&mut bytes);
    }
    let mut present = words.subset(layout.components());
    let mxcsr = if words.once_in(2) { MXCSR_INITIAL } else { u32::from(words.u16()) };
    if mxcsr != MXCSR_INITIAL {
        present = present.with(Component::SSE);
    }
    // x87 first: its bytes surround MXCSR.
    for component in present {
        let range = layout.range_bytes(component)?;
        let bytes = &mut bytes[range.start as usize..range.end as usize];
        bytes.fill(0);
        match style {
            Style::Dirty if words.once_in(4) => set_initial(component, bytes),
            _ => set_random(component, bytes, words),
        }
    }
    let junk = if matches!(style, Style::Dirty) { 0x2_FFFF } else { 0 };
    bytes[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    bytes[28..32].copy_from_slice(&u32::to_le_bytes(junk));
    let xcomp_bv = match format {
        Format::Standard => 0,
        Format::Compacted => layout.components().bits() | 1 << 63,
    };
    let header = Header { xstate_bv: present.bits(), xcomp_bv, reserved: [0; 6] };
    bytes[512..576].copy_from_slice(&header.to_bytes());
    Some(bytes)
}

fn set_initial(component: Component, bytes: &mut [u8]) {
    match component {
        Component::X87 => bytes[..2].copy_from_slice(&0x37Fu16.to_le_bytes()),
        Component::HDC => bytes[0] = 1,
        Component::HWP => bytes[..4].copy_from_slice(&0x8000_FF01u32.to_le_bytes()),
        _ => {}
    }
}

/// Random contents that registers take and that are not the initial configuration.
fn set_random(component: Component, bytes: &mut [u8], words: &mut Words) {
    let word = |value: u64| value.to_le_bytes();
    match component {
        Component::X87 => {
            words.fill(bytes);
            // As a CPU writes them: no reserved bit, no exception pending, and then no pointers, which some CPUs forget.
            bytes[..24].fill(0);
            bytes[..2].copy_from_slice(&(words.u16() & 0x1F00 | 0x7F).to_le_bytes());
            bytes[2..4].copy_from_slice(&(words.u16() & 0x7F7F).to_le_bytes());
            bytes[4] = words.up_to(0xFF);
            for register in bytes[32..].chunks_mut(16) {
                register[10..].fill(0);
            }
            bytes[24..32].fill(0);
        }
        Component::BNDCSR => bytes[..8].copy_from_slice(&word(0x7FFF_1234_5003)),
        // Key 0 stays open: it is that of the code that runs the tests.
        Component::PKRU => bytes[..4].copy_from_slice(&(words.u32() & !3 | 4).to_le_bytes()),
        Component::PASID => bytes[..8].copy_from_slice(&word(words.next() & 0xF_FFFF | 0x8000_0000)),
        Component::CET_U | Component::CET_S => {
            for stack in bytes.as_chunks_mut().0 {
                *stack = word(words.next() & 0x7FFF_FFFF_F000 | 0x18);
            }
            if component == Component::CET_U {
                bytes[..8].copy_from_slice(&word(words.next() & 0x3F | 1));
            }
        }
        Component::XTILECFG => {
            bytes[0] = 1;
            for tile in 0..8 {
                bytes[16 + 2 * tile] = words.up_to(64);
                bytes[48 + tile] = words.up_to(16);
            }
        }
        _ => {
            words.fill(bytes);
            // Registers that are used last lie at the end.
            if words.once_in(3) {
                let (start, _) = bytes.split_at_mut(bytes.len() / 2);
                start.fill(0);
            }
            let last = bytes.len() - 1;
            bytes[last] |= 2;
        }
    }
}

/// Every subset of `components` that XCR0 or IA32_XSS may hold, x87 and SSE included: those that XSETBV takes, with every
/// choice of supervisor components.
pub(crate) fn legal_sets(geometry: &Geometry) -> impl Iterator<Item = ComponentSet> + use<> {
    let (user, supervisor) = (geometry.user(), geometry.supervisor());
    subsets(user)
        .filter(move |set| selfsame_xstate::xcr0_faults(set.bits(), user).next().is_none())
        .filter(|set| ComponentSet::LEGACY.is_subset_of(*set))
        .flat_map(move |xcr0| subsets(supervisor).map(move |xss| xcr0 | xss))
}

/// Every subset of a set.
pub(crate) fn subsets(set: ComponentSet) -> impl Iterator<Item = ComponentSet> {
    let all = set.bits() & ComponentSet::ALL.bits();
    std::iter::successors(Some(all), move |subset| subset.checked_sub(1).map(|less| less & all))
        .map(ComponentSet::from_bits)
}
