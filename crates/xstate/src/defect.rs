//! What can be wrong with a geometry.
//!
//! No CPU should have a defect; dumps, other hypervisors' policies and hostile input do. A defect is a finding, for the
//! caller to weigh: sizes and layouts can be computed with most of them.

use crate::{Component, ComponentRow, ComponentSet, EXTENDED_START_BYTES, Geometry, Row};

/// One thing wrong with a [`Geometry`]; listed by [`Geometry::defects`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// XCR0's or IA32_XSS's maximum has bit 63, which is no component (SDM vol. 1, 13.4.2).
    #[error("bit 63 is enumerated, which is no component")]
    ReservedBit,
    /// XCR0 and IA32_XSS share no bit (SDM vol. 1, 13.1).
    #[error("{component} is enumerated both for xcr0 and for xss")]
    BothRegisters {
        /// The component.
        component: Component,
    },
    /// The component is enumerated for the other register than in the manuals; see [`COMPONENTS`](crate::COMPONENTS).
    #[error("{component} is enumerated for the wrong one of xcr0 and xss")]
    WrongRegister {
        /// The component.
        component: Component,
    },
    /// The component is enumerated, and its sub-leaf gives it no size.
    #[error("{component} is enumerated without a row")]
    MissingRow {
        /// The component.
        component: Component,
    },
    /// ECX bit 0 of the row contradicts the register that the component is enumerated for.
    #[error("the row of {component} contradicts the register it is enumerated for")]
    WrongKind {
        /// The component.
        component: Component,
    },
    /// The row gives another size than every CPU known to have the component, and no room for more than is used of it.
    #[error("{component} has {size_bytes} bytes, not {expected_bytes}")]
    WrongSize {
        /// The component.
        component: Component,
        /// The size in the row.
        size_bytes: u32,
        /// The size that the manuals give.
        expected_bytes: u32,
    },
    /// A supervisor component has a standard-format offset, although that format never holds it (SDM vol. 1, 13.2).
    #[error("supervisor component {component} has standard-format offset {offset_bytes}")]
    SupervisorOffset {
        /// The component.
        component: Component,
        /// The offset in the row.
        offset_bytes: u32,
    },
    /// The component begins within the legacy region or the header (SDM vol. 1, 13.4).
    #[error("{component} begins at byte {offset_bytes}, before the end of the header")]
    InsideHeader {
        /// The component.
        component: Component,
        /// The offset in the row.
        offset_bytes: u32,
    },
    /// The component ends beyond the size that the CPU reports for all of them.
    #[error("{component} ends at byte {end_bytes}, beyond the reported {reported_bytes}")]
    BeyondMaximum {
        /// The component.
        component: Component,
        /// The first byte after the component.
        end_bytes: u64,
        /// The size in 0xD.0.ECX.
        reported_bytes: u32,
    },
    /// Two components share bytes in the standard format.
    #[error("{component} and {with} overlap")]
    Overlap {
        /// The component with the lower number.
        component: Component,
        /// The component with the higher number.
        with: Component,
    },
}

impl Defect {
    /// Returns the components that cannot be used because of the defect.
    pub(crate) fn unusable(self) -> ComponentSet {
        match self {
            Self::BothRegisters { component }
            | Self::WrongRegister { component }
            | Self::MissingRow { component }
            | Self::WrongKind { component }
            | Self::WrongSize { component, .. }
            | Self::InsideHeader { component, .. } => component.into(),
            Self::Overlap { component, with } => ComponentSet::from(component).with(with),
            Self::BeyondMaximum { component, end_bytes, .. } if end_bytes > u64::from(u32::MAX) => component.into(),
            Self::ReservedBit | Self::SupervisorOffset { .. } | Self::BeyondMaximum { .. } => ComponentSet::EMPTY,
        }
    }
}

impl Geometry {
    /// Iterates over everything that is wrong with this geometry: bit 63 first, then by ascending component.
    ///
    /// ```
    /// use selfsame_xstate::{Component, Defect, Geometry};
    ///
    /// let dump = Geometry::read(|subleaf| if subleaf == 0 { [0x7, 0x240, 0x340, 0] } else { [0; 4] });
    /// assert!(dump.defects().eq([Defect::MissingRow { component: Component::AVX }]));
    /// ```
    pub fn defects(&self) -> impl Iterator<Item = Defect> + '_ {
        let reserved_bit = !self.components().is_subset_of(ComponentSet::ALL);
        reserved_bit
            .then_some(Defect::ReservedBit)
            .into_iter()
            .chain(self.components().iter().flat_map(|component| self.defects_of(component)))
    }

    fn defects_of(&self, component: Component) -> impl Iterator<Item = Defect> + '_ {
        let is_user = self.user().contains(component);
        let is_supervisor = self.supervisor().contains(component);
        let is_misplaced = component.class().is_some_and(|class| class.is_supervisor() == is_user);
        let is_hole = !ComponentSet::LEGACY.contains(component) && self.row(component).is_none();
        [
            (is_user && is_supervisor).then_some(Defect::BothRegisters { component }),
            is_misplaced.then_some(Defect::WrongRegister { component }),
            is_hole.then_some(Defect::MissingRow { component }),
        ]
        .into_iter()
        .flatten()
        .chain(self.row(component).into_iter().flat_map(move |row| self.defects_of_row(component, *row)))
    }

    fn defects_of_row(&self, component: Component, row: Row) -> impl Iterator<Item = Defect> + '_ {
        let Row { size_bytes, offset_bytes, .. } = row;
        let is_user = self.user().contains(component);
        let (end_bytes, reported_bytes) = (row.end_bytes(), self.reported_standard_size());
        let has_room = |known: &&ComponentRow| known.used_bytes.is_some_and(|used_bytes| used_bytes <= size_bytes);
        let expected = component.described().filter(|known| !has_room(known)).and_then(|known| known.size_bytes);
        let expected = expected.filter(|&bytes| bytes != size_bytes);
        [
            (row.is_supervisor == is_user).then_some(Defect::WrongKind { component }),
            expected.map(|expected_bytes| Defect::WrongSize { component, size_bytes, expected_bytes }),
            (!is_user && offset_bytes != 0).then_some(Defect::SupervisorOffset { component, offset_bytes }),
            (is_user && offset_bytes < EXTENDED_START_BYTES)
                .then_some(Defect::InsideHeader { component, offset_bytes }),
            (is_user && end_bytes > u64::from(reported_bytes)).then_some(Defect::BeyondMaximum {
                component,
                end_bytes,
                reported_bytes,
            }),
        ]
        .into_iter()
        .flatten()
        .chain(self.overlaps(component, row))
    }

    /// Iterates over the user components above `component` that share bytes with it.
    fn overlaps(&self, component: Component, row: Row) -> impl Iterator<Item = Defect> + '_ {
        let later = if self.user().contains(component) { self.user() } else { ComponentSet::EMPTY };
        later
            .iter()
            .filter(move |&with| with > component)
            .filter_map(|with| Some((with, *self.row(with)?)))
            .filter(move |&(_, other)| {
                u64::from(row.offset_bytes) < other.end_bytes() && u64::from(other.offset_bytes) < row.end_bytes()
            })
            .map(move |(with, _)| Defect::Overlap { component, with })
    }
}
