//! Where components lie in both formats at once, which a layout finds once for all images that are written into it.

use crate::initial::used_bytes;
use crate::size::Places;
use crate::{Component, ComponentSet, Format, Geometry};

/// More components than any guest has.
const MOST: usize = 14;

/// An extended component's place in either format.
#[derive(Clone, Copy)]
struct Twin {
    component: Component,
    used_bytes: u32,
    standard: u32,
    compacted: u32,
}

/// The extended components of a layout, by ascending number, with their places in both formats.
#[derive(Clone, Copy)]
pub(crate) struct Twins {
    /// What has a place in the compacted format.
    set: ComponentSet,
    list: [Twin; MOST],
    count: usize,
}

/// Bytes of a component to be copied from one place to another.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) component: Component,
    /// How many of the component's bytes mean something.
    pub(crate) used_bytes: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Twins {
    /// Finds the components of `components` in both formats of `set`, of which they are a part; `None` where there are too
    /// many, or one has no place in the compacted format.
    pub(crate) fn new(components: ComponentSet, set: ComponentSet, geometry: &Geometry) -> Option<Self> {
        let none = Twin { component: Component::X87, used_bytes: 0, standard: 0, compacted: 0 };
        let mut twins = Self { set: set.union(ComponentSet::LEGACY), list: [none; MOST], count: 0 };
        let mut found = ComponentSet::LEGACY;
        for (component, compacted, size_bytes) in Places::new(Format::Compacted, set, geometry) {
            if components.contains(component) {
                let used_bytes = used_bytes(component, size_bytes);
                let standard = geometry.row(component)?.offset_bytes;
                *twins.list.get_mut(twins.count)? = Twin { component, used_bytes, standard, compacted };
                twins.count += 1;
                found.insert(component);
            }
        }
        components.is_subset_of(found).then_some(twins)
    }

    /// Returns what is copied from an image of the same geometry, in which `places` have a place; `None` where the layout does
    /// not know the image's places.
    #[inline]
    pub(crate) fn pieces(
        &self,
        from: Format,
        places: ComponentSet,
        to: Format,
    ) -> Option<impl Iterator<Item = Piece> + use<'_>> {
        // A standard place does not depend on what else is there.
        let is_known = from == Format::Standard || places == self.set;
        let list = self.list.get(..self.count).filter(|_| is_known)?;
        Some(list.iter().map(move |twin| {
            let place = |format| match format {
                Format::Standard => twin.standard,
                Format::Compacted => twin.compacted,
            };
            Piece { component: twin.component, used_bytes: twin.used_bytes, from: place(from), to: place(to) }
        }))
    }
}
