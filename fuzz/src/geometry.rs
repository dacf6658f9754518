//! Leaf 0xD, whatever it says.

use std::fmt::Write as _;

use selfsame_xstate::{Format, Geometry, Layout, Offsets};

use crate::Target;
use crate::bytes::Bytes;

/// The target.
pub const TARGET: Target = Target { name: "geometry", run, seeds, words: &[], max_len_bytes: 1024 };

/// Reads subleaves 0 and 1, then a row for each component: the usable part has both layouts, and is all of itself.
pub fn run(bytes: &[u8]) {
    let mut input = Bytes::new(bytes);
    let geometry = Geometry::read(|_| [input.u32(), input.u32(), input.u32(), input.u32()]);
    let mut text = String::new();
    for defect in geometry.defects() {
        text.clear();
        assert!(write!(text, "{defect}").is_ok() && !text.is_empty());
    }
    for offsets in [Offsets::Intel, Offsets::Amd] {
        let usable = geometry.usable(offsets);
        assert!(usable.components().is_subset_of(geometry.components()));
        assert_eq!(usable.usable(offsets), usable);
        for (format, set) in [(Format::Standard, usable.user()), (Format::Compacted, usable.components())] {
            let layout = Layout::new(format, set, &usable).expect("a usable geometry has a layout");
            for (component, place) in layout.places() {
                assert!(set.contains(component) && place.start < place.end && place.end <= layout.size_bytes());
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let leaf_0xd = |rows: &[[u32; 4]]| rows.as_flattened().iter().flat_map(|word| word.to_le_bytes()).collect();
    let heads = |user, supervisor| [[user, 576, 0, 0], [0xF, 576, supervisor, 0]];
    let [one, two] = heads(0x207, 0x1800);
    let rows = [one, two, [256, 576, 0, 0], [8, 0xA80, 0, 0], [16, 0, 1, 0], [24, 0, 1, 0]];
    let [one, two] = heads(0x6_0007, 0x8000_0000);
    let strange = [one, two, [256, 576, 0, 0], [64, 0xAC0, 2, 0], [8192, 0xB00, 6, 0], [u32::MAX - 63, 0, 1, 0]];
    vec![leaf_0xd(&rows), leaf_0xd(&strange), leaf_0xd(&[one, two])]
}
