//! Laws of sizes and layouts, over geometries that no CPU has.

use proptest::prelude::*;
use selfsame_xstate::{Component, ComponentSet, Format, Geometry, Layout, Offsets};

mod machines;

/// A well-formed geometry: rows for all components of two disjoint random sets, at any offset and of any moderate size.
fn geometries() -> impl Strategy<Value = Geometry> {
    let rows = prop::collection::vec((1u32..20_000, 576u32..100_000, any::<bool>()), 63);
    (any::<u64>(), any::<u64>(), rows).prop_map(|(user, supervisor, rows)| {
        let user = user & ComponentSet::ALL.bits() | 3;
        let supervisor = supervisor & ComponentSet::ALL.bits() & !user;
        let [low, high] = machines::words(user);
        let [supervisor_low, supervisor_high] = machines::words(supervisor);
        Geometry::read(|subleaf| match subleaf {
            0 => [low, 576, u32::MAX, high],
            1 => [0xF, 576, supervisor_low, supervisor_high],
            _ => {
                let (size, offset, is_aligned64) = rows[subleaf as usize];
                let kind = u32::from(supervisor >> subleaf & 1 == 1);
                [size, if kind == 1 { 0 } else { offset }, kind | u32::from(is_aligned64) << 1, 0]
            }
        })
    })
}

/// A geometry of whatever words an attacker chooses, with many of them at the edges.
fn hostile_geometries() -> impl Strategy<Value = Geometry> {
    let word = prop_oneof![any::<u32>(), Just(0), Just(u32::MAX), 0u32..4096, (u32::MAX - 64)..=u32::MAX];
    prop::collection::vec(prop::array::uniform4(word), 63)
        .prop_map(|leaf| Geometry::read(|subleaf| leaf[subleaf as usize]))
}

/// A geometry and a random subset of its components.
fn sets() -> impl Strategy<Value = (Geometry, ComponentSet)> {
    (geometries(), any::<u64>()).prop_map(|(geometry, bits)| {
        let set = geometry.components() & ComponentSet::from_bits(bits);
        (geometry, set)
    })
}

proptest! {
    #[test]
    fn adding_a_user_component_never_shrinks_the_standard_size((geometry, set) in sets()) {
        for component in geometry.user() {
            prop_assert!(geometry.standard_size(set.with(component)).unwrap() >= geometry.standard_size(set).unwrap());
        }
    }

    #[test]
    fn the_standard_size_never_depends_on_supervisor_components((geometry, set) in sets()) {
        for component in geometry.supervisor() {
            prop_assert_eq!(geometry.standard_size(set.with(component)), geometry.standard_size(set));
        }
        prop_assert_eq!(geometry.standard_size(set - geometry.supervisor()), geometry.standard_size(set));
    }

    #[test]
    fn adding_any_component_never_shrinks_the_compacted_size((geometry, set) in sets()) {
        for component in geometry.components() {
            prop_assert!(geometry.compacted_size(set.with(component)).unwrap() >= geometry.compacted_size(set).unwrap());
        }
    }

    #[test]
    fn adding_the_highest_component_strictly_grows_the_compacted_size((geometry, set) in sets()) {
        for component in geometry.components().iter().filter(|&component| component > Component::SSE) {
            if set.last() < Some(component) {
                prop_assert!(geometry.compacted_size(set.with(component)).unwrap() > geometry.compacted_size(set).unwrap());
            }
        }
    }

    #[test]
    fn the_standard_size_is_the_end_of_the_component_that_ends_last((geometry, set) in sets()) {
        let user = set - geometry.supervisor();
        let ends = user.iter().filter_map(|component| geometry.row(component)).map(|row| row.offset_bytes + row.size_bytes);
        let expected = if user.is_empty() { 0 } else { ends.max().unwrap_or(0).max(576) };
        prop_assert_eq!(geometry.standard_size(set), Ok(expected));
    }

    #[test]
    fn compacted_components_ascend_without_overlap_and_end_at_the_size((geometry, set) in sets()) {
        let layout = Layout::new(Format::Compacted, set, &geometry).unwrap();
        let mut end = 576;
        for (component, range) in layout.places().filter(|(component, _)| *component > Component::SSE) {
            let row = geometry.row(component).unwrap();
            let gap = range.start.checked_sub(end).unwrap();
            let is_right = if row.is_aligned64 { gap < 64 && range.start % 64 == 0 } else { gap == 0 };
            prop_assert!(is_right, "{component} at {range:?}");
            prop_assert_eq!(range.end - range.start, row.size_bytes);
            prop_assert_eq!(layout.offset_bytes(component), Some(range.start));
            end = range.end;
        }
        prop_assert_eq!(layout.size_bytes(), if set.is_empty() { 0 } else { end });
    }

    #[test]
    fn each_component_of_the_set_has_a_place_inside_the_area((geometry, set) in sets()) {
        for format in [Format::Standard, Format::Compacted] {
            let layout = Layout::new(format, set, &geometry).unwrap();
            prop_assert_eq!(layout.places().map(|(component, _)| component).collect::<ComponentSet>(), layout.components());
            prop_assert!(layout.places().all(|(_, range)| range.end <= layout.size_bytes()));
            let absent = ComponentSet::ALL - layout.components();
            prop_assert!(absent.iter().all(|component| layout.offset_bytes(component).is_none()));
        }
    }

    #[test]
    fn narrowing_a_geometry_moves_nothing((geometry, set) in sets()) {
        let narrow = geometry.restricted(set);
        prop_assert_eq!(narrow.components(), set);
        prop_assert_eq!(narrow.standard_size(set), geometry.standard_size(set));
        prop_assert_eq!(narrow.compacted_size(set), geometry.compacted_size(set));
        prop_assert_eq!(narrow.conflicts(&geometry, ComponentSet::ALL).count(), 0);
    }

    #[test]
    fn no_leaf_panics(geometry in hostile_geometries(), other in hostile_geometries(), bits in any::<u64>()) {
        let set = ComponentSet::from_bits(bits);
        for geometry in [&geometry, &geometry.completed(Offsets::Intel).0, &geometry.completed(Offsets::Amd).0] {
            for set in [set, set & geometry.components(), geometry.components()] {
                for format in [Format::Standard, Format::Compacted] {
                    if let Ok(layout) = Layout::new(format, set, geometry) {
                        prop_assert!(layout.places().all(|(_, range)| range.end <= layout.size_bytes()));
                        prop_assert_eq!(layout.places().count(), layout.components().iter().count());
                    }
                }
            }
            prop_assert!(geometry.defects().all(|defect| !defect.to_string().is_empty()));
            prop_assert!(geometry.conflicts(&other, set).all(|component| set.contains(component)));
            let closed = geometry.without_holes();
            prop_assert!(closed.holes().is_empty());
            prop_assert!(closed.components().is_subset_of(ComponentSet::ALL));
        }
    }

    #[test]
    fn completing_fills_holes_and_changes_no_row(geometry in hostile_geometries()) {
        for offsets in [Offsets::Intel, Offsets::Amd] {
            let (completed, filled) = geometry.completed(offsets);
            prop_assert!(filled.is_subset_of(geometry.holes()));
            prop_assert_eq!(completed.holes(), geometry.holes() - filled);
            prop_assert_eq!(completed.components(), geometry.components());
            for component in geometry.components() - filled {
                prop_assert_eq!(completed.row(component), geometry.row(component));
            }
        }
    }
}
