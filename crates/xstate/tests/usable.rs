//! What is left of a leaf 0xD that says anything at all.

use proptest::prelude::*;
use selfsame_xstate::{Component, ComponentSet, Defect, Format, Geometry, LayoutError, Offsets, Row, size_bytes};

mod machines;

fn is_harmless(defect: &Defect) -> bool {
    matches!(defect, Defect::BeyondMaximum { end_bytes, .. } if u32::try_from(*end_bytes).is_ok())
}

/// Words that are mostly what CPUs say, so that the sets are not empty after all.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        prop::sample::select(vec![0, 1, 2, 8, 16, 24, 64, 256, 512, 576, 960, 1024, 2432, 8192, 0x8000_0000]),
        (0..64u32).prop_map(|n| n * 64 + 576),
    ]
}

fn geometry() -> impl Strategy<Value = Geometry> {
    let heads = prop::collection::vec(any::<[u32; 4]>(), 2);
    let row = (word(), word(), 0..8u32).prop_map(|(eax, ebx, ecx)| [eax, ebx, ecx, 0]);
    (heads, prop::collection::vec(row, 63)).prop_map(|(heads, rows)| {
        Geometry::read(|subleaf| match subleaf {
            0 | 1 => heads[subleaf as usize],
            _ => rows[subleaf as usize],
        })
    })
}

proptest! {
    #[test]
    fn whatever_leaf_0xd_says_the_usable_part_has_no_defect_that_counts(geometry in geometry()) {
        for offsets in [Offsets::Intel, Offsets::Amd] {
            let usable = geometry.usable(offsets);
            prop_assert_eq!(usable.defects().find(|defect| !is_harmless(defect)), None);
            prop_assert_eq!(&usable.usable(offsets), &usable);
            prop_assert!(usable.components().is_subset_of(geometry.components()));
            prop_assert!(usable.standard_size(usable.user()).is_ok());
            prop_assert!(usable.compacted_size(usable.components()).is_ok());
        }
    }
}

#[test]
fn the_usable_part_of_a_real_machine_is_all_of_it() {
    for (geometry, offsets) in [
        (machines::genoa(), Offsets::Amd),
        (machines::bulldozer(), Offsets::Amd),
        (machines::skylake(), Offsets::Intel),
        (machines::sapphire_rapids(), Offsets::Intel),
    ] {
        assert_eq!(geometry.usable(offsets), geometry);
    }
}

#[test]
fn an_offset_of_a_supervisor_component_costs_nothing() {
    let sound = machines::milan();
    let rows = [(2, 256, 0x240, 0), (9, 8, 0x980, 0), (11, 16, 0x40, 1), (12, 24, 0, 1)];
    let stale = machines::machine(0x988, &rows);
    assert!(stale.defects().eq([Defect::SupervisorOffset { component: Component::CET_U, offset_bytes: 0x40 }]));
    assert_eq!(stale.usable(Offsets::Amd), sound);
    assert_eq!(stale.conflicts(&sound, ComponentSet::ALL).count(), 0);
}

#[test]
fn a_row_of_size_zero_is_no_row() {
    let hole = Geometry::read(|subleaf| match subleaf {
        0 => [0x7, 576, 832, 0],
        2 => [0, 576, 4, 0],
        _ => [0; 4],
    });
    assert_eq!((hole.row(Component::AVX), hole.holes()), (None, Component::AVX.into()));
    assert!(hole.defects().eq([Defect::MissingRow { component: Component::AVX }]));
    assert_eq!(hole.usable(Offsets::Intel).row(Component::AVX).map(|row| row.size_bytes), Some(256));
    let none = |_| Some(Row::from_registers([0, 576, 0, 0]));
    let no_row = Err(LayoutError::NoRow { component: Component::AVX });
    assert_eq!(size_bytes(Format::Standard, Component::AVX.into(), none), no_row);
}

#[test]
fn x87_and_sse_are_never_supervisor_components() {
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [0x3, 576, 576, 0],
        1 => [0xF, 576, 0x3, 0],
        _ => [0; 4],
    });
    assert!(!geometry.is_supervisor(Component::X87) && !geometry.is_supervisor(Component::SSE));
    let xss_only = Geometry::read(|subleaf| if subleaf == 1 { [0xF, 576, 0x3, 0] } else { [0; 4] });
    assert!(!xss_only.is_supervisor(Component::X87) && !xss_only.is_supervisor(Component::SSE));
    let usable = geometry.usable(Offsets::Amd);
    assert_eq!((usable.user(), usable.supervisor()), (ComponentSet::LEGACY, ComponentSet::EMPTY));
}

#[test]
fn supervisor_components_that_no_area_can_hold_are_dropped() {
    let [low, high] = [1 << 20 | 1 << 21, 0];
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [0x3, 576, 576, 0],
        1 => [0xF, 576, low, high],
        _ => [0x8000_0000, 0, 1, 0],
    });
    let kept = geometry.usable(Offsets::Intel).supervisor();
    assert_eq!(kept, Component::new(20).unwrap().into());
}
