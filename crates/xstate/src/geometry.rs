//! What one CPU says of its components in CPUID leaf 0xD.
//!
//! The numbers may come from a dump, a guest's policy or a hostile peer: reading accepts anything, arithmetic never
//! overflows, and [`Geometry::defects`] tells afterwards what is wrong.

use core::fmt;

use crate::{Class, Component, ComponentSet, LayoutError, Offsets};

/// Size, place and kind of one extended component, as a sub-leaf of CPUID leaf 0xD gives them (SDM vol. 1, 13.2; APM vol. 3,
/// Fn0000_000D).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Row {
    /// Size of the component: EAX.
    pub size_bytes: u32,
    /// Offset in the standard format, zero for a supervisor component: EBX.
    pub offset_bytes: u32,
    /// Whether the component is enabled in IA32_XSS instead of XCR0: ECX bit 0.
    pub is_supervisor: bool,
    /// Whether the compacted format rounds the component's offset up to 64: ECX bit 1.
    pub is_aligned64: bool,
    /// Whether extended feature disable (XFD) covers the component: ECX bit 2.
    pub has_xfd: bool,
}

impl Row {
    const ABSENT: Self =
        Self { size_bytes: 0, offset_bytes: 0, is_supervisor: false, is_aligned64: false, has_xfd: false };

    /// Reads a sub-leaf's EAX, EBX, ECX and EDX.
    #[must_use]
    #[inline]
    pub const fn from_registers([eax, ebx, ecx, _]: [u32; 4]) -> Self {
        Self {
            size_bytes: eax,
            offset_bytes: ebx,
            is_supervisor: ecx & 1 != 0,
            is_aligned64: ecx & 2 != 0,
            has_xfd: ecx & 4 != 0,
        }
    }

    /// Returns the sub-leaf's EAX, EBX, ECX and EDX; reserved bits are zero.
    #[must_use]
    #[inline]
    pub const fn registers(self) -> [u32; 4] {
        let ecx = self.is_supervisor as u32 | (self.is_aligned64 as u32) << 1 | (self.has_xfd as u32) << 2;
        [self.size_bytes, self.offset_bytes, ecx, 0]
    }

    /// Returns the first byte after the component in the standard format, wide enough never to overflow.
    pub(crate) fn end_bytes(self) -> u64 {
        u64::from(self.offset_bytes) + u64::from(self.size_bytes)
    }

    /// Tells whether there is no component: none has size zero, whatever the other registers say.
    const fn is_absent(self) -> bool {
        self.size_bytes == 0
    }

    /// Tells whether images made by one row are misread by the other.
    fn conflicts_with(self, other: Self) -> bool {
        self.what_moves_bytes() != other.what_moves_bytes()
    }

    /// Returns the row without XFD, and without the offset of a supervisor component, which no format uses.
    const fn what_moves_bytes(self) -> Self {
        let offset_bytes = if self.is_supervisor { 0 } else { self.offset_bytes };
        Self { offset_bytes, has_xfd: false, ..self }
    }
}

/// The components of one CPU and where it keeps them.
///
/// Built by [`Geometry::read`] from leaf 0xD, whole, and never changed; the methods that repair or narrow make another.
#[derive(Clone, Eq, PartialEq)]
pub struct Geometry {
    user: ComponentSet,
    supervisor: ComponentSet,
    reported_standard_bytes: u32,
    has_xsavec: bool,
    has_xsaves: bool,
    /// By component number; the legacy components and those of size zero are all zero.
    rows: [Row; 63],
}

impl Geometry {
    /// Reads leaf 0xD through `leaf`, which returns EAX, EBX, ECX and EDX of a sub-leaf.
    ///
    /// Asks for sub-leaves 0, 1, and 2 to 62 of the components that the first two enumerate. The closure must answer zeros
    /// where the CPU has no leaf 0xD: Intel CPUs return another leaf's data above the highest one.
    ///
    /// ```
    /// use selfsame_xstate::{Component, ComponentSet, Geometry};
    ///
    /// let geometry = Geometry::read(|subleaf| match subleaf {
    ///     0 => [0x7, 0x240, 0x340, 0],
    ///     2 => [256, 576, 0, 0],
    ///     _ => [0; 4],
    /// });
    /// assert_eq!(geometry.user(), ComponentSet::from_bits(0x7));
    /// assert_eq!(geometry.row(Component::AVX).map(|row| row.offset_bytes), Some(576));
    /// ```
    #[must_use]
    pub fn read(mut leaf: impl FnMut(u32) -> [u32; 4]) -> Self {
        let [user_low, _, reported_standard_bytes, user_high] = leaf(0);
        let [features, _, supervisor_low, supervisor_high] = leaf(1);
        let mut geometry = Self {
            user: ComponentSet::from_halves(user_low, user_high),
            supervisor: ComponentSet::from_halves(supervisor_low, supervisor_high),
            reported_standard_bytes,
            has_xsavec: features & 1 << 1 != 0,
            has_xsaves: features & 1 << 3 != 0,
            rows: [Row::ABSENT; 63],
        };
        for component in geometry.extended() {
            geometry.set_row(component, Row::from_registers(leaf(u32::from(component.index()))));
        }
        geometry
    }

    /// Returns what can be enabled in XCR0: 0xD.0.EDX:EAX.
    #[must_use]
    pub const fn user(&self) -> ComponentSet {
        self.user
    }

    /// Returns what can be enabled in IA32_XSS: 0xD.1.EDX:ECX.
    #[must_use]
    pub const fn supervisor(&self) -> ComponentSet {
        self.supervisor
    }

    /// Returns what can be enabled in either register.
    #[must_use]
    pub const fn components(&self) -> ComponentSet {
        self.user.union(self.supervisor)
    }

    /// Returns the row of an extended component; `None` if it is not enumerated, or if its row has size zero.
    #[must_use]
    pub fn row(&self, component: Component) -> Option<&Row> {
        self.rows.get(usize::from(component.index())).filter(|row| !row.is_absent())
    }

    /// Returns the size that the CPU claims for the standard format of all of [`Geometry::user`]: 0xD.0.ECX.
    ///
    /// Repaired and narrowed geometries keep it: it is what the CPU said, not what follows from the rows.
    #[must_use]
    pub const fn reported_standard_size(&self) -> u32 {
        self.reported_standard_bytes
    }

    /// Tells whether the CPU has XSAVEC: 0xD.1.EAX bit 1.
    #[must_use]
    pub const fn has_xsavec(&self) -> bool {
        self.has_xsavec
    }

    /// Tells whether the CPU has XSAVES and IA32_XSS: 0xD.1.EAX bit 3.
    #[must_use]
    pub const fn has_xsaves(&self) -> bool {
        self.has_xsaves
    }

    /// Tells whether a component belongs to IA32_XSS: by this CPU's enumeration, else by the manuals.
    ///
    /// x87 and SSE never do, even if IA32_XSS is said to have their bits: the legacy region holds them.
    #[must_use]
    pub fn is_supervisor(&self, component: Component) -> bool {
        if ComponentSet::LEGACY.contains(component) {
            return false;
        }
        if self.components().contains(component) {
            return !self.user.contains(component);
        }
        component.class().is_some_and(Class::is_supervisor)
    }

    /// Returns the components of `set` that belong to IA32_XSS; see [`Geometry::is_supervisor`].
    pub(crate) fn supervisor_of(&self, set: ComponentSet) -> ComponentSet {
        let enumerated = self.supervisor.intersection(ComponentSet::ALL).minus(self.user).minus(ComponentSet::LEGACY);
        let others = set.minus(self.components()).iter().filter(|&component| self.is_supervisor(component));
        set.intersection(enumerated).union(others.collect())
    }

    /// Returns the extended components that are enumerated without a row.
    #[must_use]
    pub fn holes(&self) -> ComponentSet {
        self.extended().iter().filter(|&component| self.row(component).is_none()).collect()
    }

    /// Fills the holes from the places that a vendor is known to use, and tells which were filled.
    ///
    /// A missing row is a defect of the dump and not of the CPU. A hole stays where the component is unknown, was never seen
    /// on that vendor's CPUs, is enumerated in the wrong register, or has no fixed size. A place is a vendor's habit and
    /// no promise: [`Geometry::defects`] of the result tells if it contradicts the rest of the dump.
    #[must_use]
    pub fn completed(&self, offsets: Offsets) -> (Self, ComponentSet) {
        let mut geometry = self.clone();
        let mut filled = ComponentSet::EMPTY;
        for component in self.holes() {
            if let Some(row) = self.known_row(component, offsets) {
                geometry.set_row(component, row);
                filled.insert(component);
            }
        }
        (geometry, filled)
    }

    /// Drops what has no row: the holes, and bit 63.
    #[must_use]
    pub fn without_holes(&self) -> Self {
        self.restricted(ComponentSet::ALL.minus(self.holes()))
    }

    /// Returns what a guest can be given of this geometry, whatever leaf 0xD says: completed with the vendor's known rows,
    /// then without every component that cannot be used.
    ///
    /// A component is dropped from both sets if it has no row, if register, kind or size are wrong, if it lies within the
    /// header or over another component (both go), or if it ends beyond 4 GiB in either format. x87 and SSE are dropped
    /// from IA32_XSS only; bit 63 is dropped. A component's partners (the rest of AVX-512, for example) stay. Supervisor
    /// components have offset zero: the standard format never holds them, so whatever a dump says is no reason to lose one.
    #[must_use]
    pub fn usable(&self, offsets: Offsets) -> Self {
        let (mut geometry, _) = self.completed(offsets);
        geometry.user &= ComponentSet::ALL;
        geometry.supervisor &= ComponentSet::ALL - ComponentSet::LEGACY;
        let mut unusable = ComponentSet::EMPTY;
        for defect in geometry.defects() {
            unusable |= defect.unusable();
        }
        let mut geometry = geometry.restricted(ComponentSet::ALL.minus(unusable));
        for component in geometry.supervisor {
            if let Some(&row) = geometry.row(component) {
                geometry.set_row(component, Row { offset_bytes: 0, ..row });
            }
        }
        // Supervisor components have no offset that would bound them: only the sum of all tells.
        while let Err(LayoutError::TooLarge { component }) = geometry.compacted_size(geometry.components()) {
            geometry = geometry.restricted(ComponentSet::ALL.without(component));
        }
        geometry
    }

    /// Keeps only the components of `set`.
    #[must_use]
    pub fn restricted(&self, set: ComponentSet) -> Self {
        let mut geometry = self.clone();
        geometry.user &= set;
        geometry.supervisor &= set;
        for component in self.extended().minus(set) {
            geometry.set_row(component, Row::ABSENT);
        }
        geometry
    }

    /// Iterates over the components of `set` that two CPUs place differently: size, offset, alignment or kind.
    ///
    /// A component without a row on either side does not conflict: it cannot be used there at all, which is another finding.
    pub fn conflicts<'g>(&'g self, other: &'g Self, set: ComponentSet) -> impl Iterator<Item = Component> + 'g {
        set.iter().filter(move |&component| match (self.row(component), other.row(component)) {
            (Some(one), Some(another)) => one.conflicts_with(*another),
            _ => false,
        })
    }

    /// Returns the enumerated components that live outside the legacy region.
    pub(crate) const fn extended(&self) -> ComponentSet {
        self.components().minus(ComponentSet::LEGACY)
    }

    fn set_row(&mut self, component: Component, row: Row) {
        if let Some(place) = self.rows.get_mut(usize::from(component.index())) {
            *place = if row.is_absent() { Row::ABSENT } else { row };
        }
    }

    fn known_row(&self, component: Component, offsets: Offsets) -> Option<Row> {
        let known = component.described()?;
        let is_supervisor = known.class.is_supervisor();
        if is_supervisor != self.is_supervisor(component) {
            return None;
        }
        Some(Row {
            size_bytes: known.size_bytes?,
            offset_bytes: if is_supervisor { 0 } else { known.offset_bytes(offsets)? },
            is_supervisor,
            is_aligned64: known.is_aligned64?,
            // XFD was made for what is too large to give to everyone (SDM vol. 1, 13.14).
            has_xfd: known.class == Class::UserDynamic,
        })
    }
}

impl fmt::Debug for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Rows<'g>(&'g Geometry);

        impl fmt::Debug for Rows<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let present = self.0.extended().into_iter().filter_map(|c| Some((c, self.0.row(c)?)));
                f.debug_map().entries(present).finish()
            }
        }

        f.debug_struct("Geometry")
            .field("user", &self.user)
            .field("supervisor", &self.supervisor)
            .field("reported_standard_bytes", &self.reported_standard_bytes)
            .field("has_xsavec", &self.has_xsavec)
            .field("has_xsaves", &self.has_xsaves)
            .field("rows", &Rows(self))
            .finish()
    }
}
