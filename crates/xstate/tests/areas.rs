//! Save areas: what they hold, and what becomes of the bytes when they change.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use proptest::prelude::*;
use selfsame_xstate::{
    AccumulatedXcr0, Area, AreaError, AreaMemoryError, AreaMut, Component, ComponentSet, Configurations, Format,
    Geometry, Layout, Occupant, ResizeError, Xcr0,
};

mod machines;

const POISON: u8 = 0xAA;

/// Memory as the last owner left it.
#[repr(align(64))]
struct Memory([u8; 16 * 1024]);

impl Memory {
    fn poisoned() -> Box<Self> {
        Box::new(Self([POISON; 16 * 1024]))
    }
}

fn set(bits: u64) -> ComponentSet {
    ComponentSet::from_bits(bits)
}

fn servers() -> [Geometry; 6] {
    [
        machines::sapphire_rapids(),
        machines::with_apx(),
        machines::milan(),
        machines::genoa(),
        machines::without_xsaves(),
        machines::nehalem(),
    ]
}

/// Saves as the instruction does: `present` of `saved`, each byte of a component its number plus its place.
fn save(area: &mut AreaMut<'_>, saved: ComponentSet, present: ComponentSet) {
    let description = *area.area();
    let (format, geometry) = (description.layout().format(), description.layout().geometry());
    let layout = Layout::new(format, saved, geometry).unwrap();
    let bytes = area.bytes_mut();
    for (component, range) in layout.places().filter(|(component, _)| present.contains(*component)) {
        for (i, byte) in bytes[range.start as usize..range.end as usize].iter_mut().enumerate() {
            *byte = content(component, i);
        }
    }
    bytes[512..520].copy_from_slice(&present.bits().to_le_bytes());
    if format == Format::Compacted {
        bytes[520..528].copy_from_slice(&(saved.bits() | 1 << 63).to_le_bytes());
    }
}

fn content(component: Component, at: usize) -> u8 {
    (usize::from(component.index()) * 37 + at * 3 + 1).to_le_bytes()[0]
}

/// The bytes that an area in its initial state has, with the header of `present`.
fn initial(area: &Area<'_>, present: ComponentSet) -> Vec<u8> {
    let mut memory = Memory::poisoned();
    let mut bytes = area.init(&mut memory.0).unwrap().bytes().to_vec();
    bytes[512..520].copy_from_slice(&present.bits().to_le_bytes());
    bytes
}

#[test]
fn an_area_holds_what_the_formula_says_for_every_policy() {
    let geometry = machines::sapphire_rapids();
    let host = Configurations::new(&geometry).unwrap();
    let everything = host.guest_kernel().max();
    let mut states = everything.bits();
    loop {
        for enabled in [ComponentSet::EMPTY, Component::XTILEDATA.into(), set(u64::MAX)] {
            let area = host.area(set(states), enabled).unwrap();
            for component in ComponentSet::ALL {
                let is_needed = match component.index() {
                    0 | 1 | 10..=12 => true,
                    18 => set(states).contains(component) && enabled.contains(component),
                    _ => set(states).contains(component),
                };
                assert_eq!(area.components().contains(component), is_needed, "{component} for {states:#x}");
            }
            assert_eq!(Ok(area.size_bytes()), geometry.compacted_size(area.components()));
        }
        if states == 0 {
            break;
        }
        states = (states - 1) & everything.bits();
    }
}

#[test]
fn a_guest_without_amx_pays_no_amx_bytes_on_an_amx_host() {
    let (with, without) = (machines::sapphire_rapids(), machines::sapphire_rapids());
    let without = without.restricted(ComponentSet::ALL - ComponentSet::AMX);
    let size = |geometry| {
        let host = Configurations::new(geometry).unwrap();
        host.area(set(0x1AE7), Component::XTILEDATA.into()).unwrap().size_bytes()
    };
    assert_eq!(size(&with), size(&without));
    assert_eq!(size(&with), 2488);
}

#[test]
fn areas_of_sapphire_rapids_are_as_in_the_documentation() {
    let geometry = machines::sapphire_rapids();
    let host = Configurations::new(&geometry).unwrap();
    let size = |states, enabled| host.area(set(states), set(enabled)).unwrap().size_bytes();
    assert_eq!(host.minimal_area().unwrap().size_bytes(), 624);
    assert_eq!(size(0x3, 0), 624);
    assert_eq!(size(0x207, 0), 888);
    assert_eq!(size(0x2E7, 0), 2488);
    assert_eq!(size(0x6_02E7, 0), 2560, "XTILECFG is there before XTILEDATA is enabled");
    assert_eq!(size(0x6_02E7, 1 << 18), 10752);
    assert_eq!(geometry.reported_standard_size(), 11008);
}

#[test]
fn areas_of_milan_are_as_in_the_documentation() {
    let geometry = machines::milan();
    let host = Configurations::new(&geometry).unwrap();
    let size = |states| host.area(set(states), ComponentSet::EMPTY).unwrap().size_bytes();
    assert_eq!(host.minimal_area().unwrap().size_bytes(), 616);
    assert_eq!(size(0x7), 872);
    assert_eq!(size(0x207), 880);
    assert_eq!(size(0x1A07), 880);
}

#[test]
fn a_policy_of_another_host_is_refused_with_all_that_is_missing() {
    let geometry = machines::milan();
    let host = Configurations::new(&geometry).unwrap();
    let refused = host.area(set(0x6_02E7), ComponentSet::EMPTY).unwrap_err();
    assert_eq!(refused, AreaError::NotOnHost { components: set(0x6_00E0) });
    let text = refused.to_string();
    assert!(text.contains("opmask|zmm-hi256|hi16-zmm|xtilecfg|xtiledata"), "{text}");
    // PT is on Sapphire Rapids, but nobody keeps it; LBR is kept in a buffer of its own.
    let geometry = machines::sapphire_rapids();
    let host = Configurations::new(&geometry).unwrap();
    assert_eq!(host.area(set(0x103), set(0)), Err(AreaError::NotOnHost { components: set(0x100) }));
    assert_eq!(host.area(set(0x8003), set(0)).unwrap().components(), set(0x1C03));
}

#[test]
fn a_cpu_without_xsave_keeps_any_policy_of_its_own() {
    let geometry = machines::nehalem();
    let host = Configurations::new(&geometry).unwrap();
    for states in [0, 1, 3] {
        assert_eq!(host.area(set(states), set(0)).unwrap().size_bytes(), 576);
    }
}

#[test]
fn xcr0_is_permitted_as_far_as_there_is_room() {
    let geometry = machines::sapphire_rapids();
    let host = Configurations::new(&geometry).unwrap();
    let permitted = |states, enabled| host.area(set(states), set(enabled)).unwrap().permitted_xcr0();
    let accepts = |value, permitted| Xcr0::new(value, permitted).is_ok();
    assert_eq!(permitted(0x1AE7, 0), set(0x2E7));
    assert!(accepts(0x2E7, permitted(0x6_02E7, 0)) && !accepts(0x6_02E7, permitted(0x6_02E7, 0)));
    assert!(accepts(0x6_02E7, permitted(0x6_02E7, 1 << 18)));
    assert_eq!(host.permitted_xss(set(0x6_1AE7)), set(0x1800));
    assert_eq!(host.permitted_xss(set(0x6_02E7)), ComponentSet::EMPTY);
}

#[test]
fn idle_owns_nothing_that_an_area_could_hold() {
    for geometry in servers() {
        let host = Configurations::new(&geometry).unwrap();
        let everything = host.guest_kernel().max();
        assert_eq!(Occupant::Idle.owned() & everything, ComponentSet::EMPTY);
        assert_eq!(Occupant::Hvm.owned() & everything, everything, "{everything}");
        assert_eq!(Occupant::Pv.owned() & everything, everything.without(Component::CET_S));
    }
}

#[test]
fn a_fresh_area_has_no_byte_of_its_memorys_last_owner() {
    for geometry in servers() {
        let host = Configurations::new(&geometry).unwrap();
        let area = host.area(host.guest_kernel().max(), set(u64::MAX)).unwrap();
        let mut memory = Memory::poisoned();
        let len = area.size_bytes() as usize;
        let fresh = area.init(&mut memory.0).unwrap();
        let expected = |at: usize| match (area.layout().format(), at) {
            (_, 0) => 0x7F,
            (_, 1) => 0x03,
            (_, 24) => 0x80,
            (_, 25) => 0x1F,
            (Format::Standard, 512) if area.method() == selfsame_xstate::SaveMethod::Fxsave => 3,
            (Format::Compacted, 520..528) => (area.components().bits() | 1 << 63).to_le_bytes()[at - 520],
            _ => 0,
        };
        assert_eq!(fresh.bytes().len(), len);
        assert!(fresh.bytes().iter().enumerate().all(|(at, &byte)| byte == expected(at)));
        assert!(memory.0[len..].iter().all(|&byte| byte == POISON), "memory beyond the area is not the area's");
        assert_eq!(area.open(&mut memory.0).unwrap().bytes().len(), len);
    }
}

#[test]
fn memory_that_cannot_be_an_area_is_refused() {
    let geometry = machines::milan();
    let host = Configurations::new(&geometry).unwrap();
    let area = host.minimal_area().unwrap();
    let mut memory = Memory::poisoned();
    assert_eq!(
        area.init(&mut memory.0[..615]).unwrap_err(),
        AreaMemoryError::TooSmall { needed_bytes: 616, given_bytes: 615 }
    );
    assert!(area.init(&mut memory.0[..616]).is_ok());
    for at in 1..64 {
        assert!(matches!(area.init(&mut memory.0[at..]), Err(AreaMemoryError::Misaligned { .. })));
    }
    assert_eq!(
        area.open(&mut Memory::poisoned().0).unwrap_err(),
        AreaMemoryError::Header { xstate_bv: 0xAAAA_AAAA_AAAA_AAAA, xcomp_bv: 0xAAAA_AAAA_AAAA_AAAA }
    );
}

#[test]
fn headers_that_no_save_leaves_behind_are_refused() {
    let header = |geometry: &Geometry, xstate_bv: u64, xcomp_bv: u64| {
        let host = Configurations::new(geometry).unwrap();
        let area = host.area(set(0x7), set(0)).unwrap();
        let mut memory = Memory::poisoned();
        area.init(&mut memory.0).unwrap();
        memory.0[512..520].copy_from_slice(&xstate_bv.to_le_bytes());
        memory.0[520..528].copy_from_slice(&xcomp_bv.to_le_bytes());
        area.open(&mut memory.0).is_ok()
    };
    let compacted = machines::milan();
    assert!(header(&compacted, 7, 1 << 63 | 7) && header(&compacted, 0x1800, 1 << 63 | 0x1807));
    assert!(header(&compacted, 0, 1 << 63), "XSAVES of nothing");
    assert!(!header(&compacted, 7, 7) && !header(&compacted, 7, 0), "standard");
    assert!(!header(&compacted, 7, 1 << 63 | 3), "a component without a place");
    assert!(!header(&compacted, 7, 1 << 63 | 0x207), "PKRU is beyond the area");
    let standard = machines::without_xsaves();
    assert!(header(&standard, 7, 0));
    assert!(!header(&standard, 7, 1 << 63 | 7) && !header(&standard, 7, 1) && !header(&standard, 0x207, 0));
}

#[test]
fn shrinking_below_what_was_used_is_refused_naming_it() {
    let geometry = machines::sapphire_rapids();
    let host = Configurations::new(&geometry).unwrap();
    let large = host.area(set(0x6_02E7), Component::XTILEDATA.into()).unwrap();
    let (mut old, mut new) = (Memory::poisoned(), Memory::poisoned());
    let area = large.init(&mut old.0).unwrap();
    let used = AccumulatedXcr0::START.with(Xcr0::new(0x6_02E7, large.permitted_xcr0()).unwrap());
    for (states, components) in [(0x6_0207, 0xE0), (0x2E7, 0x6_0000), (0x6_00E7, 0x200), (0x3, 0x6_02E4)] {
        let small = host.area(set(states), Component::XTILEDATA.into()).unwrap();
        let refused = area.resize_into(&small, &mut new.0, used).unwrap_err();
        assert_eq!(refused, ResizeError::StillNeeded { components: set(components) });
    }
    // The same after the guest has switched all of it off again: the registers may still have it.
    let used = used.with(Xcr0::RESET);
    let refused = area.resize_into(&host.minimal_area().unwrap(), &mut new.0, used).unwrap_err();
    assert_eq!(refused, ResizeError::StillNeeded { components: set(0x6_02E4) });
    assert!(refused.to_string().contains("avx|opmask|zmm-hi256|hi16-zmm|pkru|xtilecfg|xtiledata"), "{refused}");
    assert!(new.0.iter().all(|&byte| byte == POISON), "a refusal writes nothing");
    assert!(area.resize_into(&host.minimal_area().unwrap(), &mut new.0, AccumulatedXcr0::START).is_ok());
}

#[test]
fn state_that_is_there_is_never_dropped_even_if_it_was_never_counted() {
    let geometry = machines::milan();
    let host = Configurations::new(&geometry).unwrap();
    let large = host.area(set(0x207), set(0)).unwrap();
    let (mut old, mut new) = (Memory::poisoned(), Memory::poisoned());
    let mut area = large.init(&mut old.0).unwrap();
    save(&mut area, set(0x1A07), Component::PKRU.into());
    let refused = area.resize_into(&host.minimal_area().unwrap(), &mut new.0, AccumulatedXcr0::START).unwrap_err();
    assert_eq!(refused, ResizeError::StillNeeded { components: Component::PKRU.into() });
}

#[test]
fn areas_of_different_hosts_do_not_become_each_other() {
    let (milan, hidden, skylake) = (machines::milan(), machines::without_xsaves(), machines::skylake());
    let area = |geometry| Configurations::new(geometry).unwrap().area(set(0x207), set(0)).unwrap();
    let (mut old, mut new) = (Memory::poisoned(), Memory::poisoned());
    let mut here = area(&milan).init(&mut old.0).unwrap();
    save(&mut here, set(0x207), set(0x207));
    let to = |there: &Area<'_>, new: &mut Memory| here.resize_into(there, &mut new.0, AccumulatedXcr0::START).err();
    assert!(matches!(to(&area(&hidden), &mut new), Some(ResizeError::OtherMethod { .. })));
    let elsewhere = ResizeError::OtherGeometry { component: Component::PKRU };
    assert_eq!(to(&area(&skylake), &mut new), Some(elsewhere));
}

#[test]
fn mxcsr_follows_sse_in_compacted_areas_and_always_in_standard_ones() {
    for (geometry, present, is_kept) in [
        (machines::milan(), set(0b001), false),
        (machines::milan(), set(0b100), false),
        (machines::milan(), set(0b010), true),
        (machines::milan(), set(0b011), true),
        (machines::without_xsaves(), set(0b000), true),
        (machines::without_xsaves(), set(0b100), true),
        (machines::nehalem(), set(0b011), true),
    ] {
        let host = Configurations::new(&geometry).unwrap();
        let (mut old, mut new) = (Memory::poisoned(), Memory::poisoned());
        let area = host.area(present, set(0)).unwrap();
        let mut area = area.init(&mut old.0).unwrap();
        save(&mut area, present, present);
        area.bytes_mut()[24..28].copy_from_slice(&0x3F80_u32.to_le_bytes());
        let resized = area.resize_into(area.area(), &mut new.0, AccumulatedXcr0::START).unwrap();
        let mxcsr: [u8; 4] = resized.bytes()[24..28].try_into().unwrap();
        assert_eq!(u32::from_le_bytes(mxcsr), if is_kept { 0x3F80 } else { 0x1F80 }, "{present} by {}", host.method());
    }
}

#[test]
fn an_fxsave_area_keeps_its_bytes_whatever_its_header() {
    let geometry = machines::nehalem();
    let host = Configurations::new(&geometry).unwrap();
    let (mut old, mut new) = (Memory::poisoned(), Memory::poisoned());
    let mut area = host.minimal_area().unwrap().init(&mut old.0).unwrap();
    for (at, byte) in area.bytes_mut()[..416].iter_mut().enumerate() {
        *byte = content(Component::X87, at);
    }
    let resized = area.resize_into(&host.area(set(3), set(0)).unwrap(), &mut new.0, AccumulatedXcr0::START).unwrap();
    assert_eq!(resized.bytes()[..416], area.bytes()[..416]);
    assert_eq!(resized.present(), ComponentSet::LEGACY);
}

/// A host, two policies with what is enabled, what was used, and what is there of it.
fn moves() -> impl Strategy<Value = (usize, [(u64, u64); 2], u64, u64)> {
    let policy = || (any::<u64>(), any::<u64>());
    (0..servers().len(), [policy(), policy()], any::<u64>(), any::<u64>())
}

proptest! {
    #[test]
    fn areas_grow_with_policy_and_enabled((at, [one, two], _, _) in moves()) {
        let geometry = &servers()[at];
        let host = Configurations::new(geometry).unwrap();
        let everything = host.guest_kernel().max();
        let area = |states: u64, enabled: u64| host.area(set(states) & everything, set(enabled)).unwrap();
        let (small, large) = (area(one.0 & two.0, one.1 & two.1), area(one.0, one.1));
        prop_assert!(small.components().is_subset_of(large.components()));
        prop_assert!(small.size_bytes() <= large.size_bytes());
        let minimal = host.minimal_area().unwrap();
        prop_assert!(minimal.components().is_subset_of(small.components()));
        prop_assert!(minimal.size_bytes() <= small.size_bytes());
        prop_assert!(large.size_bytes() <= host.guest_kernel().max_bytes());
    }

    #[test]
    fn resizing_keeps_what_is_there_and_nothing_else((at, [one, two], used, present) in moves()) {
        let geometry = &servers()[at];
        let host = Configurations::new(geometry).unwrap();
        let everything = host.guest_kernel().max();
        let area = |(states, enabled): (u64, u64)| host.area(set(states) & everything, set(enabled)).unwrap();
        let (from, to) = (area(one), area(two));
        // Saved: what a vCPU with this history and all supervisor state has; present: any part of that.
        let saved = (set(used) & from.components()) | ComponentSet::LEGACY | host.supervisor();
        let present = if at == 5 { ComponentSet::LEGACY } else { set(present) & saved };
        let (mut old, mut new) = (Memory::poisoned(), Memory::poisoned());
        let mut area = from.init(&mut old.0).unwrap();
        save(&mut area, saved, present);
        let before = area.bytes().to_vec();

        match area.resize_into(&to, &mut new.0, AccumulatedXcr0::START) {
            Err(ResizeError::StillNeeded { components }) => {
                prop_assert_eq!(components, present - to.components());
                prop_assert!(!components.is_empty());
            }
            Err(other) => prop_assert!(false, "{other}"),
            Ok(resized) => {
                prop_assert!(present.is_subset_of(to.components()));
                prop_assert_eq!(resized.present(), present);
                // Put the initial state where the components are, and nothing must be left of the difference.
                let (mut got, expected) = (resized.bytes().to_vec(), initial(&to, present));
                for (component, range) in to.layout().places().filter(|(component, _)| present.contains(*component)) {
                    for i in range.start as usize..range.end as usize {
                        let is_mxcsr = (24..32).contains(&i);
                        prop_assert!(is_mxcsr || got[i] == content(component, i - range.start as usize));
                        got[i] = expected[i];
                    }
                }
                got[24..32].copy_from_slice(&expected[24..32]);
                prop_assert_eq!(got, expected);
            }
        }
        prop_assert_eq!(area.bytes(), &before[..]);
    }

    #[test]
    fn growing_and_shrinking_back_is_the_identity((at, [one, two], used, present) in moves()) {
        let geometry = &servers()[at];
        let host = Configurations::new(geometry).unwrap();
        let everything = host.guest_kernel().max();
        let small = host.area(set(one.0) & everything, set(one.1)).unwrap();
        let large = host.area((set(one.0) | set(two.0)) & everything, set(one.1) | set(two.1)).unwrap();
        let saved = (set(used) & small.components()) | ComponentSet::LEGACY | host.supervisor();
        let present = if at == 5 { ComponentSet::LEGACY } else { set(present) & saved };
        let mut memories = [Memory::poisoned(), Memory::poisoned(), Memory::poisoned(), Memory::poisoned()];
        let [a, b, c, d] = &mut memories;
        let mut first = small.init(&mut a.0).unwrap();
        save(&mut first, saved, present);
        // Once in its own place, so that what the instruction left between components is gone.
        let canonical = first.resize_into(&small, &mut b.0, AccumulatedXcr0::START).unwrap();
        let grown = canonical.resize_into(&large, &mut c.0, AccumulatedXcr0::START).unwrap();
        let back = grown.resize_into(&small, &mut d.0, AccumulatedXcr0::START).unwrap();
        prop_assert_eq!(back.bytes(), canonical.bytes());
    }

    #[test]
    fn no_bytes_panic(at in 0..servers().len(), bytes in prop::collection::vec(any::<u8>(), 600), header in any::<[u64; 2]>()) {
        let geometry = &servers()[at];
        let host = Configurations::new(geometry).unwrap();
        let area = host.area(host.guest_kernel().max(), set(u64::MAX)).unwrap();
        let (mut old, mut new) = (Memory::poisoned(), Memory::poisoned());
        old.0[..600].copy_from_slice(&bytes);
        let _ = area.open(&mut old.0);
        for header in [header, header.map(|word| word & area.components().bits()), [0; 2]] {
            let mut hostile = area.init(&mut old.0).unwrap();
            hostile.bytes_mut()[512..520].copy_from_slice(&header[0].to_le_bytes());
            hostile.bytes_mut()[520..528].copy_from_slice(&header[1].to_le_bytes());
            if let Ok(resized) = hostile.resize_into(&area, &mut new.0, AccumulatedXcr0::START) {
                prop_assert!(resized.present().is_subset_of(area.components()));
            }
        }
    }
}
