//! Holes, repairs, defects and conflicts of geometries.

use selfsame_xstate::{COMPONENTS, Component, ComponentSet, Defect, Format, Geometry, Layout, Offsets, Row};

mod machines;

/// The machine as a dump that lost the rows of `lost`.
fn dump_without(geometry: &Geometry, lost: u64) -> Geometry {
    let [low, high] = machines::words(geometry.user().bits());
    let [supervisor_low, supervisor_high] = machines::words(geometry.supervisor().bits());
    Geometry::read(|subleaf| match subleaf {
        0 => [low, 576, geometry.reported_standard_size(), high],
        1 => [0xF, 576, supervisor_low, supervisor_high],
        _ if lost >> subleaf & 1 == 1 => [0; 4],
        _ => {
            let component = geometry.components().iter().find(|component| u32::from(component.index()) == subleaf);
            component.and_then(|component| geometry.row(component)).map_or([0; 4], |row| row.registers())
        }
    })
}

#[test]
fn only_enumerated_subleaves_are_read() {
    let mut asked = Vec::new();
    let geometry = Geometry::read(|subleaf| {
        asked.push(subleaf);
        match subleaf {
            0 => [0x207, 0, 0, 0x4000_0000],
            1 => [0, 0, 0x800, 0],
            _ => [1, 1, 1, 1],
        }
    });
    assert_eq!(asked, [0, 1, 2, 9, 11, 62]);
    assert_eq!(geometry.row(Component::OPMASK), None);
    assert_eq!(geometry.row(Component::X87), None);
}

#[test]
fn a_cpu_without_xsave_has_an_empty_geometry() {
    let geometry = Geometry::read(|_| [0; 4]);
    assert!(geometry.components().is_empty());
    assert_eq!(geometry.defects().count(), 0);
    assert!(!geometry.has_xsavec() && !geometry.has_xsaves());
    // FXSAVE's registers are there all the same.
    assert_eq!(geometry.standard_size(ComponentSet::LEGACY), Ok(576));
}

#[test]
fn xsavec_without_xsaves_is_seen() {
    let geometry = Geometry::read(|subleaf| if subleaf == 1 { [0b0111, 0, 0, 0] } else { [0; 4] });
    assert!(geometry.has_xsavec());
    assert!(!geometry.has_xsaves());
}

#[test]
fn rows_survive_the_way_through_registers() {
    for registers in [[8192, 2816, 6, 0], [16, 0, 1, 0], [808, 0, 3, 0], [0; 4]] {
        assert_eq!(Row::from_registers(registers).registers(), registers);
    }
    assert_eq!(Row::from_registers([1, 2, !0, !0]).registers(), [1, 2, 7, 0]);
}

#[test]
fn each_vendors_dump_is_completed_to_what_it_was() {
    for (geometry, offsets) in [
        (machines::milan(), Offsets::Amd),
        (machines::genoa(), Offsets::Amd),
        (machines::bulldozer(), Offsets::Amd),
        (machines::skylake().restricted(ComponentSet::from_bits(0x2FF)), Offsets::Intel),
        (machines::with_apx().restricted(ComponentSet::from_bits(0xE_5AE7)), Offsets::Intel),
    ] {
        let dump = dump_without(&geometry, u64::MAX);
        let lost = geometry.components().minus(ComponentSet::LEGACY);
        assert_eq!(dump.holes(), lost);
        assert!(dump.defects().eq(lost.iter().map(|component| Defect::MissingRow { component })));
        assert_eq!(dump.completed(offsets), (geometry, lost));
    }
}

#[test]
fn a_completed_geometry_keeps_what_the_dump_had() {
    let genoa = machines::genoa();
    let dump = dump_without(&genoa, 1 << 9);
    assert_eq!(dump.holes(), Component::PKRU.into());
    assert_eq!(dump.completed(Offsets::Amd), (genoa.clone(), Component::PKRU.into()));
    assert_eq!(genoa.completed(Offsets::Intel), (genoa, ComponentSet::EMPTY));
}

#[test]
fn the_wrong_vendors_places_show_as_defects() {
    let (wrong, filled) = dump_without(&machines::genoa(), 1 << 9).completed(Offsets::Intel);
    assert_eq!(filled, Component::PKRU.into());
    assert!(wrong.defects().eq([Defect::BeyondMaximum {
        component: Component::PKRU,
        end_bytes: 0xA88,
        reported_bytes: 0x988
    }]));
}

#[test]
fn unknown_foreign_and_unsized_components_stay_holes() {
    // LBR has no fixed size, 42 is unknown, no AMD CPU is known to have AMX.
    let dump = Geometry::read(|subleaf| match subleaf {
        0 => [0x2_0007, 576, 0x2B00, 1 << 10],
        1 => [0xF, 576, 0x8900, 0],
        _ => [0; 4],
    });
    let (geometry, filled) = dump.completed(Offsets::Amd);
    assert_eq!(filled, ComponentSet::from_bits(0x904));
    assert_eq!(geometry.holes(), ComponentSet::from_bits(1 << 42 | 0x2_8000));
    let closed = geometry.without_holes();
    assert_eq!(closed.components(), ComponentSet::from_bits(0x907));
    assert_eq!(closed.defects().count(), 0);
    assert_eq!(closed.compacted_size(closed.components()), Ok(832 + 128 + 16));
}

#[test]
fn a_component_in_the_wrong_register_is_not_completed() {
    let dump = Geometry::read(|subleaf| match subleaf {
        0 => [0x803, 576, 576, 0],
        1 => [0xF, 576, 0x200, 0],
        _ => [0; 4],
    });
    for offsets in [Offsets::Intel, Offsets::Amd] {
        assert_eq!(dump.completed(offsets).1, ComponentSet::EMPTY);
    }
    let (pkru, cet_u) = (Component::PKRU, Component::CET_U);
    assert!(dump.defects().eq([
        Defect::WrongRegister { component: pkru },
        Defect::MissingRow { component: pkru },
        Defect::WrongRegister { component: cet_u },
        Defect::MissingRow { component: cet_u },
    ]));
}

#[test]
fn every_offset_of_the_table_is_free_of_overlaps_for_its_vendor() {
    for offsets in [Offsets::Intel, Offsets::Amd] {
        // LWP on AMD and APX on Intel lie where other components of the vendor do; no CPU has both.
        let exclusive = ComponentSet::from(Component::LWP).with(Component::APX);
        let user = COMPONENTS
            .iter()
            .filter(|known| !known.class.is_supervisor() && known.offset_bytes(offsets).is_some())
            .map(|known| known.component)
            .collect::<ComponentSet>()
            .minus(exclusive);
        let low = u32::try_from(user.bits()).unwrap();
        let dump = Geometry::read(|subleaf| if subleaf == 0 { [low, 576, 0x2B00, 0] } else { [0; 4] });
        let (geometry, _) = dump.completed(offsets);
        assert_eq!(geometry.defects().collect::<Vec<_>>(), []);
    }
}

#[test]
fn every_kind_of_defect_is_found() {
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [0x7F, 576, 1000, 1 << 31],
        1 => [0xF, 576, 0x1804, 0],
        2 => [256, 576, 0, 0],  // in both registers
        3 => [64, 800, 0, 0],   // overlaps AVX
        4 => [64, 500, 0, 0],   // begins in the header
        5 => [128, 900, 0, 0],  // twice the size, ends beyond the maximum
        6 => [512, 4096, 1, 0], // says that it is a supervisor component
        11 => [16, 2048, 1, 0], // has an offset
        _ => [0; 4],
    });
    let of = |index| Component::new(index).unwrap();
    let found = geometry.defects().collect::<Vec<_>>();
    let expected = [
        Defect::ReservedBit,
        Defect::BothRegisters { component: of(2) },
        Defect::Overlap { component: of(2), with: of(3) },
        Defect::InsideHeader { component: of(4), offset_bytes: 500 },
        Defect::WrongSize { component: of(5), size_bytes: 128, expected_bytes: 64 },
        Defect::BeyondMaximum { component: of(5), end_bytes: 1028, reported_bytes: 1000 },
        Defect::WrongKind { component: of(6) },
        Defect::BeyondMaximum { component: of(6), end_bytes: 4608, reported_bytes: 1000 },
        Defect::SupervisorOffset { component: of(11), offset_bytes: 2048 },
        Defect::MissingRow { component: of(12) },
    ];
    assert_eq!(found, expected);
    assert_eq!(found[4].to_string(), "opmask has 128 bytes, not 64");
}

#[test]
fn apx_and_mpx_on_one_cpu_overlap() {
    let geometry = machines::machine(1088, &[(2, 256, 576, 0), (3, 64, 960, 0), (4, 64, 1024, 0), (19, 128, 960, 0)]);
    assert!(geometry.defects().eq([
        Defect::Overlap { component: Component::BNDREGS, with: Component::APX },
        Defect::Overlap { component: Component::BNDCSR, with: Component::APX },
    ]));
}

#[test]
fn vendors_conflict_in_pkru_and_avx512_and_nowhere_else() {
    let (amd, intel) = (machines::genoa(), machines::sapphire_rapids());
    let shared = amd.components() & intel.components();
    assert_eq!(amd.conflicts(&intel, shared).collect::<ComponentSet>(), ComponentSet::from_bits(0x2E0));
    assert_eq!(intel.conflicts(&amd, shared).collect::<ComponentSet>(), ComponentSet::from_bits(0x2E0));
    assert_eq!(amd.conflicts(&intel, ComponentSet::from_bits(0x1807)).count(), 0);
    // A component that one side lacks is no conflict.
    assert_eq!(machines::milan().conflicts(&amd, ComponentSet::ALL).count(), 0);
}

#[test]
fn size_alignment_and_kind_conflict_and_xfd_does_not() {
    let base = machines::machine(0, &[(20, 64, 4096, 0)]);
    let of = |row| machines::machine(0, &[row]);
    for other in [of((20, 128, 4096, 0)), of((20, 64, 8192, 0)), of((20, 64, 4096, 2)), of((20, 64, 4096, 1))] {
        assert!(base.conflicts(&other, ComponentSet::ALL).eq(Component::new(20)));
    }
    assert_eq!(base.conflicts(&of((20, 64, 4096, 4)), ComponentSet::ALL).count(), 0);
}

#[test]
fn a_restricted_geometry_has_nothing_else_and_moves_nothing() {
    let whole = machines::sapphire_rapids();
    let set = ComponentSet::from_bits(0x2E7);
    let part = whole.restricted(set);
    assert_eq!(part.components(), set);
    assert_eq!(part.row(Component::XTILEDATA), None);
    assert_eq!(part.standard_size(set), Ok(0xA88));
    assert_eq!(part.reported_standard_size(), 0x2B00);
    assert_eq!(part.restricted(ComponentSet::ALL), part);
    let (one, other) = (Layout::new(Format::Standard, set, &whole), Layout::new(Format::Standard, set, &part));
    assert!(one.unwrap().places().eq(other.unwrap().places()));
}

#[test]
fn debug_output_shows_present_rows_only() {
    let text = format!("{:?}", machines::milan());
    assert!(text.contains("Component(9: pkru): Row { size_bytes: 8"), "{text}");
    assert!(!text.contains("opmask"), "{text}");
}
