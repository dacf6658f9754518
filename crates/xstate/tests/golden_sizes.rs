//! Sizes and places that hardware, Linux and Xen agree on.

use selfsame_xstate::{Component, ComponentSet, Format, Geometry, Layout, LayoutError};

mod machines;

/// Checks rows of states, standard size and compacted size.
fn assert_sizes(geometry: &Geometry, golden: &[(u64, u32, u32)]) {
    for &(states, standard, compacted) in golden {
        let set = ComponentSet::from_bits(states);
        assert_eq!(geometry.standard_size(set), Ok(standard), "standard size of {set}");
        assert_eq!(geometry.compacted_size(set), Ok(compacted), "compacted size of {set}");
    }
}

#[test]
fn milan_has_the_sizes_that_cooper_measured() {
    assert_sizes(
        &machines::milan(),
        &[
            (0x1, 0x240, 0x240),
            (0x3, 0x240, 0x240),
            (0x7, 0x340, 0x340),
            (0x207, 0x988, 0x348),
            (0xA07, 0x988, 0x358),
            (0x1A07, 0x988, 0x370),
        ],
    );
}

#[test]
fn genoa_has_the_golden_sizes() {
    assert_sizes(
        &machines::genoa(),
        &[(1, 576, 576), (3, 576, 576), (7, 832, 832), (0x207, 2440, 840), (0xE7, 2432, 2432), (0x2E7, 2440, 2440)],
    );
}

#[test]
fn intel_before_amx_has_the_golden_sizes() {
    assert_sizes(
        &machines::skylake(),
        &[
            (1, 576, 576),
            (3, 576, 576),
            (7, 832, 832),
            (0x1F, 1088, 960),
            (0xE7, 2688, 2432),
            (0x2E7, 2696, 2440),
            (0x2FF, 2696, 2568),
        ],
    );
}

#[test]
fn sapphire_rapids_has_the_golden_sizes() {
    assert_sizes(
        &machines::sapphire_rapids(),
        &[
            (0xE7, 2688, 2432),
            (0x2E7, 2696, 2440),
            (0x6_00E7, 0x2B00, 0x29C0),
            (0x6_08E7, 0x2B00, 0x2A00),
            (0x6_18E7, 0x2B00, 0x2A00),
            (0x6_02E7, 0x2B00, 0x2A00),
            (0x6_0AE7, 0x2B00, 0x2A00),
            (0x6_1AE7, 0x2B00, 0x2A00),
        ],
    );
}

#[test]
fn cet_is_not_added_without_the_alignment_of_tile_data() {
    // openvmm issue 708: a guest was told 10704, and its Linux computed 10752.
    let size = machines::sapphire_rapids().compacted_size(ComponentSet::from_bits(0x6_08E7));
    assert_ne!(size, Ok(10704));
    assert_eq!(size, Ok(10752));
}

#[test]
fn xss_0x1800_adds_40_bytes_where_nothing_aligned_follows() {
    let milan = machines::milan();
    let size = |states| milan.compacted_size(ComponentSet::from_bits(states)).unwrap();
    assert_eq!(size(0xA07) - size(0x207), 16);
    assert_eq!(size(0x1A07) - size(0x207), 40);
}

#[test]
fn apx_lies_below_its_number_in_the_standard_format_only() {
    let geometry = machines::with_apx();
    assert_sizes(&geometry, &[(0x8_0007, 1088, 960), (0x8_02E7, 2696, 2568), (0xE_02E7, 0x2B00, 10752 + 128)]);
    let set = ComponentSet::from_bits(0x8_02E7);
    assert_eq!(Layout::new(Format::Standard, set, &geometry).unwrap().offset_bytes(Component::APX), Some(960));
    assert_eq!(Layout::new(Format::Compacted, set, &geometry).unwrap().offset_bytes(Component::APX), Some(2440));
}

#[test]
fn lwp_is_the_last_number_and_not_the_last_byte() {
    let lwp = 1 << 62;
    assert_sizes(&machines::bulldozer(), &[(lwp | 3, 960, 704), (lwp | 7, 960, 960)]);
    // Behind LWP in the standard format, before it in number.
    let geometry = machines::machine(2440, &[(2, 256, 576, 0), (9, 8, 2432, 0), (62, 128, 832, 0)]);
    assert_sizes(&geometry, &[(lwp | 0x207, 2440, 968)]);
}

#[test]
fn pkru_is_at_its_vendors_place() {
    let pkru = ComponentSet::from_bits(0x207);
    for (geometry, offset) in [
        (machines::milan(), 0x980),
        (machines::genoa(), 0x980),
        (machines::skylake(), 0xA80),
        (machines::with_apx(), 0xA80),
    ] {
        let standard = Layout::new(Format::Standard, pkru, &geometry).unwrap();
        assert_eq!(standard.offset_bytes(Component::PKRU), Some(offset));
        assert_eq!(standard.size_bytes(), offset + 8);
        let compacted = Layout::new(Format::Compacted, pkru, &geometry).unwrap();
        assert_eq!(compacted.offset_bytes(Component::PKRU), Some(832));
    }
}

#[test]
fn the_empty_set_needs_no_area() {
    assert_sizes(&machines::genoa(), &[(0, 0, 0)]);
}

#[test]
fn supervisor_components_alone_need_no_standard_area() {
    assert_sizes(&machines::genoa(), &[(0x800, 0, 592), (0x1800, 0, 616)]);
}

#[test]
fn supervisor_components_have_no_standard_place() {
    let geometry = machines::genoa();
    let set = ComponentSet::from_bits(0x1A07);
    let standard = Layout::new(Format::Standard, set, &geometry).unwrap();
    assert_eq!(standard.components(), ComponentSet::from_bits(0x207));
    assert_eq!(standard.offset_bytes(Component::CET_U), None);
    let compacted = Layout::new(Format::Compacted, set, &geometry).unwrap();
    assert_eq!(compacted.range_bytes(Component::CET_U), Some(840..856));
    assert_eq!(compacted.range_bytes(Component::CET_S), Some(856..880));
}

#[test]
fn legacy_components_share_the_legacy_region() {
    let geometry = machines::genoa();
    for format in [Format::Standard, Format::Compacted] {
        let layout = Layout::new(format, ComponentSet::LEGACY, &geometry).unwrap();
        assert!(layout.places().eq([(Component::X87, 0..160), (Component::SSE, 160..416)]));
        assert_eq!(layout.size_bytes(), 576);
    }
}

#[test]
fn a_component_without_a_row_is_named() {
    let milan = machines::milan();
    let refused = LayoutError::NoRow { component: Component::OPMASK };
    assert_eq!(milan.standard_size(ComponentSet::from_bits(0xE7)), Err(refused));
    assert_eq!(milan.compacted_size(ComponentSet::from_bits(0xE7)), Err(refused));
    assert_eq!(refused.to_string(), "leaf 0xd has no row for opmask");
}

#[test]
fn a_supervisor_component_that_the_cpu_lacks_matters_to_the_compacted_format_only() {
    let skylake = machines::skylake();
    let set = ComponentSet::from_bits(0x807);
    assert_eq!(skylake.standard_size(set), Ok(832));
    assert_eq!(skylake.compacted_size(set), Err(LayoutError::NoRow { component: Component::CET_U }));
}

#[test]
fn bit_63_has_no_layout_even_where_leaf_0xd_gives_it_to_xss() {
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [3, 576, 576, 0],
        1 => [0xF, 576, 0, 1 << 31],
        _ => [0; 4],
    });
    let set = ComponentSet::from_bits(1 << 63 | 3);
    assert_eq!(geometry.standard_size(set), Err(LayoutError::ReservedBit));
    assert_eq!(geometry.compacted_size(set), Err(LayoutError::ReservedBit));
}

#[test]
fn bit_63_has_no_layout() {
    let set = ComponentSet::from_bits(1 << 63 | 3);
    assert_eq!(machines::milan().standard_size(set), Err(LayoutError::ReservedBit));
    assert_eq!(machines::milan().compacted_size(set), Err(LayoutError::ReservedBit));
}

#[test]
fn an_area_beyond_4_gib_is_refused() {
    let geometry = machines::machine(0, &[(2, u32::MAX, 576, 0), (3, 1, u32::MAX - 1, 0), (17, 1, u32::MAX, 2)]);
    let too_large = |component| Err(LayoutError::TooLarge { component });
    assert_eq!(geometry.standard_size(ComponentSet::from_bits(0x7)), too_large(Component::AVX));
    assert_eq!(geometry.compacted_size(ComponentSet::from_bits(0x7)), too_large(Component::AVX));
    assert_eq!(geometry.standard_size(ComponentSet::from_bits(0xB)), Ok(u32::MAX));
    assert_eq!(geometry.standard_size(ComponentSet::from_bits(0x2_0003)), too_large(Component::XTILECFG));
    // Rounding up is what overflows here.
    let geometry = machines::machine(0, &[(2, u32::MAX - 577, 576, 0), (17, 1, 0, 2)]);
    assert_eq!(geometry.compacted_size(ComponentSet::from_bits(0x2_0007)), too_large(Component::XTILECFG));
}

#[test]
fn every_known_machine_is_free_of_defects_and_as_large_as_it_reports() {
    for geometry in [
        machines::milan(),
        machines::genoa(),
        machines::skylake(),
        machines::sapphire_rapids(),
        machines::with_apx(),
        machines::bulldozer(),
    ] {
        assert_eq!(geometry.defects().collect::<Vec<_>>(), []);
        assert!(geometry.holes().is_empty());
        assert_eq!(geometry.standard_size(geometry.user()), Ok(geometry.reported_standard_size()));
    }
}
