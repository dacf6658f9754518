//! The segment registers that a switch loads.

/// A segment register that a PV guest can load without an exit, and that keeps its value in the hypervisor.
///
/// CS and SS come and go with IRET.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Segment {
    /// DS.
    Ds,
    /// ES.
    Es,
    /// FS.
    Fs,
    /// GS.
    Gs,
}

impl Segment {
    /// All four, in order.
    pub const ALL: [Self; 4] = [Self::Ds, Self::Es, Self::Fs, Self::Gs];
}

/// What a segment register holds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Selector(u16);

impl Selector {
    /// No segment.
    pub const NULL: Self = Self(0);

    /// Takes any value: it is judged when it is loaded.
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self(value)
    }

    /// Returns the value.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Tells whether it selects nothing: descriptor 0 of the GDT, with any RPL.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 < 4
    }
}

/// Selectors of all four segments.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Selectors([Selector; 4]);

impl Selectors {
    /// No segment anywhere.
    pub const NULL: Self = Self([Selector::NULL; 4]);

    /// Returns a segment's selector.
    #[must_use]
    pub const fn get(&self, segment: Segment) -> Selector {
        self.0[segment as usize]
    }

    /// Sets a segment's selector.
    pub const fn set(&mut self, segment: Segment, selector: Selector) {
        self.0[segment as usize] = selector;
    }
}

/// The fault of a segment load: #GP, #NP or #SS, or #PF on a descriptor that is not mapped. The register is unchanged.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[error("loading {segment:?} with {:#06x} faults", selector.value())]
pub struct SegmentFault {
    /// The register.
    pub segment: Segment,
    /// What it was to hold.
    pub selector: Selector,
}
