//! How large an area is: the one place that adds up components, by rows from wherever they are kept.

use crate::{Component, ComponentSet, Components, EXTENDED_START_BYTES, Format, Geometry, LayoutError, Row};

/// Returns the size of an area for `set`, whose rows come from `row`; `None` where the CPU has none. A row of size zero is
/// none.
///
/// For those who keep leaf 0xD in another form than a [`Geometry`](crate::Geometry), a policy for example, and must answer
/// within a CPUID exit: only the rows of `set` are read. The rules are those of [`Layout`](crate::Layout), which is made of
/// this, but for one: supervisor components are the caller's to leave out of a standard set.
///
/// ```
/// use selfsame_xstate::{Component, ComponentSet, Format, Row, size_bytes};
///
/// let avx = |component| (component == Component::AVX).then(|| Row::from_registers([256, 576, 0, 0]));
/// assert_eq!(size_bytes(Format::Standard, ComponentSet::from_bits(7), avx), Ok(0x340));
/// assert!(size_bytes(Format::Standard, ComponentSet::from_bits(0x207), avx).is_err(), "no row for PKRU");
/// ```
///
/// # Errors
///
/// Refuses a set with bit 63, names the first component without a row, or the one that ends beyond 4 GiB.
#[inline]
pub fn size_bytes(
    format: Format,
    set: ComponentSet,
    mut row: impl FnMut(Component) -> Option<Row>,
) -> Result<u32, LayoutError> {
    if !set.is_subset_of(ComponentSet::ALL) {
        return Err(LayoutError::ReservedBit);
    }
    let start = if set.is_empty() { 0 } else { EXTENDED_START_BYTES };
    // In 64 bits 61 components cannot overflow: one look at the end is enough.
    let mut size_bytes = u64::from(start);
    for component in set.minus(ComponentSet::LEGACY) {
        // Taken apart at once: a row that passes through memory costs more than all the rest.
        let Some(Row { size_bytes: len_bytes, offset_bytes, is_aligned64, .. }) = row(component) else {
            return Err(LayoutError::NoRow { component });
        };
        if len_bytes == 0 {
            return Err(LayoutError::NoRow { component });
        }
        let end_bytes = start_bytes(format, offset_bytes, is_aligned64, size_bytes) + u64::from(len_bytes);
        size_bytes = match format {
            Format::Standard => size_bytes.max(end_bytes),
            // It only grows: a comparison would lengthen the chain from one component to the next.
            Format::Compacted => end_bytes,
        };
    }
    match u32::try_from(size_bytes) {
        Ok(size_bytes) => Ok(size_bytes),
        Err(_) => Err(too_large(format, set, row)),
    }
}

/// Where a component begins; `cursor_bytes` is where the compacted components before it end.
#[inline]
fn start_bytes(format: Format, offset_bytes: u32, is_aligned64: bool, cursor_bytes: u64) -> u64 {
    match format {
        Format::Standard => u64::from(offset_bytes),
        // Few are: a branch that the CPU foresees, and no longer chain from one component to the next.
        Format::Compacted if is_aligned64 => aligned64(cursor_bytes),
        Format::Compacted => cursor_bytes,
    }
}

#[cold]
#[inline]
const fn aligned64(bytes: u64) -> u64 {
    (bytes + 63) & !63
}

/// Names the first component that ends beyond 4 GiB.
#[cold]
fn too_large(format: Format, set: ComponentSet, mut row: impl FnMut(Component) -> Option<Row>) -> LayoutError {
    let mut cursor_bytes = u64::from(EXTENDED_START_BYTES);
    for component in set.minus(ComponentSet::LEGACY) {
        let Some(row) = row(component) else { return LayoutError::NoRow { component } };
        let start = start_bytes(format, row.offset_bytes, row.is_aligned64, cursor_bytes);
        cursor_bytes = cursor_bytes.max(start + u64::from(row.size_bytes));
        if cursor_bytes > u64::from(u32::MAX) {
            return LayoutError::TooLarge { component };
        }
    }
    LayoutError::ReservedBit
}

/// The extended components of a set by ascending number, each with its first byte and its size.
///
/// For a set whose size is known: a component without a row is left out.
pub(crate) struct Places<'g> {
    format: Format,
    rest: Components,
    geometry: &'g Geometry,
    cursor_bytes: u64,
}

impl<'g> Places<'g> {
    #[inline]
    pub(crate) fn new(format: Format, set: ComponentSet, geometry: &'g Geometry) -> Self {
        let (rest, cursor_bytes) = (set.minus(ComponentSet::LEGACY).iter(), u64::from(EXTENDED_START_BYTES));
        Self { format, rest, geometry, cursor_bytes }
    }
}

impl Iterator for Places<'_> {
    type Item = (Component, u32, u32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let component = self.rest.next()?;
            let Some(row) = self.geometry.row(component) else { continue };
            let start = start_bytes(self.format, row.offset_bytes, row.is_aligned64, self.cursor_bytes);
            self.cursor_bytes = start + u64::from(row.size_bytes);
            // The size is known, so the start fits too.
            return Some((component, u32::try_from(start).ok()?, row.size_bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;

    /// Sapphire Rapids' leaf 0xD, as far as the sizes below need it.
    fn leaf(subleaf: u32) -> [u32; 4] {
        match subleaf {
            0 => [0x6_02e7, 0x240, 0x2b00, 0],
            1 => [0x1f, 0x240, 0x1800, 0],
            2 => [256, 576, 0, 0],
            5 => [64, 1088, 0, 0],
            6 => [512, 1152, 0, 0],
            7 => [1024, 1664, 0, 0],
            9 => [8, 2688, 0, 0],
            11 => [16, 0, 1, 0],
            12 => [24, 0, 1, 0],
            17 => [64, 2752, 2, 0],
            18 => [8192, 2816, 6, 0],
            _ => [0; 4],
        }
    }

    fn row(component: Component) -> Option<Row> {
        Some(Row::from_registers(leaf(u32::from(component.index())))).filter(|row| row.size_bytes != 0)
    }

    #[test]
    fn sizes_by_rows_are_those_of_the_layout_for_every_set() {
        let geometry = Geometry::read(leaf);
        let components = geometry.components().bits();
        let mut set = components;
        loop {
            let all = ComponentSet::from_bits(set);
            assert_eq!(size_bytes(Format::Compacted, all, row), geometry.compacted_size(all), "{set:#x}");
            let user = all.intersection(geometry.user());
            assert_eq!(size_bytes(Format::Standard, user, row), geometry.standard_size(user), "{set:#x}");
            if set == 0 {
                break;
            }
            set = (set - 1) & components;
        }
    }

    #[test]
    fn recorded_sizes_of_sapphire_rapids_come_out() {
        let size = |format, bits| size_bytes(format, ComponentSet::from_bits(bits), row);
        assert_eq!(size(Format::Standard, 0x6_00e7), Ok(0x2b00));
        assert_eq!(size(Format::Compacted, 0x6_00e7), Ok(10688));
        // openvmm #708: without the alignment it would be 10704.
        assert_eq!(size(Format::Compacted, 0x6_08e7), Ok(10752));
        assert_eq!(size(Format::Compacted, 0x6_1ae7), Ok(10752), "the alignment absorbs PKRU and CET");
    }
}
