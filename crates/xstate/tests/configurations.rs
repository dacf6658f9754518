//! The four configurations of a host: numbers of real CPUs, and laws.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use proptest::prelude::*;
use selfsame_xstate::{
    Class, Component, ComponentSet, Configuration, ConfigurationError, Configurations, Format, Geometry, LayoutError,
    SaveMethod, Xcr0Error,
};

mod machines;

/// Max, its size, default, its size.
type Row = (u64, u32, u64, u32);

fn assert_row(configuration: &Configuration, format: Format, (max, max_bytes, default, default_bytes): Row) {
    assert_eq!(configuration.format(), format);
    assert_eq!(configuration.max().bits(), max, "{}", configuration.max());
    assert_eq!(configuration.max_bytes(), max_bytes);
    assert_eq!(configuration.default().bits(), default, "{}", configuration.default());
    assert_eq!(configuration.default_bytes(), default_bytes);
}

#[test]
fn sapphire_rapids_is_as_in_the_documentation() {
    let geometry = machines::sapphire_rapids();
    let host = Configurations::new(&geometry).unwrap();
    assert_eq!(host.method(), SaveMethod::Xsaves);
    assert_row(host.host_kernel(), Format::Compacted, (0x6_1EE7, 10752, 0x2_0EE7, 2560));
    assert_row(host.host_user(), Format::Standard, (0x6_02E7, 11008, 0x2_02E7, 2816));
    assert_row(host.guest_kernel(), Format::Compacted, (0x6_1EE7, 10752, 0x2_1EE7, 2560));
    assert_row(host.guest_user(), Format::Standard, (0x6_02E7, 11008, 0x2_02E7, 2816));
    assert_eq!(host.host_xcr0().bits(), 0x6_02E7);
    assert_eq!(host.supervisor().bits(), 0x1C00);
    assert_eq!(host.host_xss().bits(), 0x9C00, "with LBR, whose buffer is its own");
    assert_eq!(host.task_xfd(ComponentSet::EMPTY).bits(), 1 << 18);
}

#[test]
fn milan_is_as_in_the_documentation() {
    let geometry = machines::milan();
    let host = Configurations::new(&geometry).unwrap();
    assert_row(host.host_kernel(), Format::Compacted, (0x1A07, 880, 0xA07, 856));
    assert_row(host.host_user(), Format::Standard, (0x207, 2440, 0x207, 2440));
    assert_row(host.guest_kernel(), Format::Compacted, (0x1A07, 880, 0x1A07, 880));
    assert_row(host.guest_user(), Format::Standard, (0x207, 2440, 0x207, 2440));
    assert_eq!(host.host_xss().bits(), 0x1800);
    assert_eq!(host.task_xfd(ComponentSet::EMPTY).bits(), 0);
}

#[test]
fn cet_s_is_in_the_hosts_max_and_xss_but_not_in_its_default() {
    for geometry in [machines::milan(), machines::genoa(), machines::sapphire_rapids()] {
        let host = Configurations::new(&geometry).unwrap();
        assert!(host.host_kernel().max().contains(Component::CET_S));
        assert!(host.host_xss().components().contains(Component::CET_S));
        assert!(!host.host_kernel().default().contains(Component::CET_S));
        assert!(host.guest_kernel().default().contains(Component::CET_S));
    }
}

#[test]
fn where_only_xsavec_shows_areas_are_saved_by_xsave_and_no_supervisor_state_is_kept() {
    let geometry = machines::without_xsaves();
    let host = Configurations::new(&geometry).unwrap();
    assert_eq!(host.method(), SaveMethod::Xsave);
    assert_row(host.host_kernel(), Format::Standard, (0x207, 2440, 0x207, 2440));
    assert_eq!(host.host_kernel(), host.host_user());
    assert_eq!(host.guest_kernel(), host.guest_user());
    assert_eq!(host.host_xss().bits(), 0);
}

#[test]
fn a_cpu_without_xsave_keeps_x87_and_sse_by_fxsave() {
    let geometry = machines::nehalem();
    let host = Configurations::new(&geometry).unwrap();
    assert_eq!(host.method(), SaveMethod::Fxsave);
    for configuration in [host.host_kernel(), host.host_user(), host.guest_kernel(), host.guest_user()] {
        assert_row(configuration, Format::Standard, (3, 576, 3, 576));
    }
}

#[test]
fn methods_are_never_xsavec_or_xsaveopt() {
    let method = |features: u32| {
        let geometry = Geometry::read(|subleaf| match subleaf {
            0 => [0x3, 576, 576, 0],
            1 => [features, 576, 0, 0],
            _ => [0; 4],
        });
        SaveMethod::of(&geometry).to_string()
    };
    for features in 0..32 {
        assert_eq!(method(features), if features & 1 << 3 != 0 { "xsaves" } else { "xsave" }, "{features:#b}");
    }
}

#[test]
fn what_the_table_calls_unsupported_or_does_not_know_is_in_no_configuration() {
    let unknown = (42, 64, 4096, 0);
    let rows =
        [(2, 256, 576, 0), (8, 128, 0, 1), (13, 8, 0, 1), (14, 48, 0, 1), (16, 8, 0, 1), (43, 64, 0, 1), unknown];
    let geometry = machines::machine(4160, &rows);
    let host = Configurations::new(&geometry).unwrap();
    assert_row(host.guest_kernel(), Format::Compacted, (7, 832, 7, 832));
    assert_eq!(host.host_xss().bits(), 0);
}

#[test]
fn a_cpu_that_cannot_be_kept_is_refused_with_the_reason() {
    let no_sse = Geometry::read(|subleaf| if subleaf == 0 { [0x1, 576, 576, 0] } else { [0; 4] });
    assert_eq!(Configurations::new(&no_sse), Err(ConfigurationError::NoLegacy { missing: Component::SSE.into() }));

    let no_row = Geometry::read(|subleaf| if subleaf == 0 { [0x7, 576, 832, 0] } else { [0; 4] });
    let error = LayoutError::NoRow { component: Component::AVX };
    assert_eq!(Configurations::new(&no_row), Err(ConfigurationError::Layout(error)));

    // Linux disables XSAVE on such a CPU.
    let apx_and_mpx = machines::machine(1088, &[(3, 64, 960, 0), (4, 64, 1024, 0), (19, 128, 960, 0)]);
    let Err(ConfigurationError::IllegalXcr0(refusal)) = Configurations::new(&apx_and_mpx) else { panic!("accepted") };
    assert!(refusal.faults().eq([Xcr0Error::ApxWithMpx { value: 0x8_001B }]));
    assert_eq!(refusal.to_string(), "xcr0 0x8001b has both apx and mpx");
}

#[test]
fn a_narrowed_geometry_makes_narrower_configurations() {
    let whole = machines::sapphire_rapids();
    let without_cet = whole.restricted(ComponentSet::ALL - ComponentSet::from_bits(0x1800));
    let host = Configurations::new(&without_cet).unwrap();
    assert_eq!(host.supervisor(), Component::PASID.into());
    assert_row(host.guest_kernel(), Format::Compacted, (0x6_06E7, 10752, 0x2_06E7, 2560));
}

#[test]
fn half_of_amx_is_refused() {
    let half = machines::sapphire_rapids().restricted(ComponentSet::ALL.without(Component::XTILEDATA));
    assert!(matches!(Configurations::new(&half), Err(ConfigurationError::IllegalXcr0(_))));
}

/// The smallest sets of components that can be added to a CPU: user groups that XSETBV takes, and supervisor components.
const GROUPS: [u64; 17] = [
    1 << 2,
    0b11 << 3,
    0b111 << 5,
    1 << 9,
    0b11 << 17,
    1 << 19,
    1 << 62,
    1 << 42,
    1 << 8,
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 13,
    1 << 14,
    1 << 15,
    1 << 16,
    1 << 43,
];
const SUPERVISOR: u64 = 0x801_FD00 | 1 << 43;

/// A CPU with x87, SSE and the chosen groups; what XSETBV refuses together is left out.
fn cpu(chosen: u32, rows: &[(u32, u32, bool, bool)]) -> Geometry {
    let mut set = 3;
    for group in GROUPS.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1).map(|(_, group)| group) {
        set |= group;
    }
    if set & 1 << 2 == 0 {
        set &= !(0b111 << 5);
    }
    if set & 0b11 << 3 != 0 {
        set &= !(1 << 19);
    }
    let ([low, high], [supervisor_low, supervisor_high]) =
        (machines::words(set & !SUPERVISOR), machines::words(set & SUPERVISOR));
    Geometry::read(|subleaf| match subleaf {
        0 => [low, 576, u32::MAX, high],
        1 => [0x1F, 576, supervisor_low, supervisor_high],
        _ => {
            let (size, offset, is_aligned64, has_xfd) = rows[subleaf as usize];
            let is_supervisor = SUPERVISOR >> subleaf & 1 == 1;
            let offset = if is_supervisor { 0 } else { offset };
            [size, offset, u32::from(is_supervisor) | u32::from(is_aligned64) << 1 | u32::from(has_xfd) << 2, 0]
        }
    })
}

fn cpus() -> impl Strategy<Value = Geometry> {
    let rows = prop::collection::vec((1u32..20_000, 576u32..100_000, any::<bool>(), any::<bool>()), 63);
    (0..1u32 << GROUPS.len(), rows).prop_map(|(chosen, rows)| cpu(chosen, &rows))
}

/// Every law of one CPU's configurations.
fn assert_laws(geometry: &Geometry) {
    let host = Configurations::new(geometry).unwrap();
    let all = [host.host_kernel(), host.host_user(), host.guest_kernel(), host.guest_user()];
    for configuration in all {
        assert!(configuration.default().is_subset_of(configuration.max()));
        assert!(configuration.default_bytes() <= configuration.max_bytes());
        let size = |set| match configuration.format() {
            Format::Standard => geometry.standard_size(set),
            Format::Compacted => geometry.compacted_size(set),
        };
        assert_eq!(size(configuration.max()), Ok(configuration.max_bytes()));
        assert_eq!(size(configuration.default()), Ok(configuration.default_bytes()));
        assert!(ComponentSet::LEGACY.is_subset_of(configuration.default()));
    }
    for (user, kernel) in [(host.host_user(), host.host_kernel()), (host.guest_user(), host.guest_kernel())] {
        assert!(user.max().is_subset_of(kernel.max()));
        assert!(user.default().is_subset_of(kernel.default()));
        assert_eq!(kernel.max() - user.max(), host.supervisor());
    }
    // Host and guest differ in the default only, and there by the kernel-dynamic components only.
    let (dynamic, kernel_dynamic) = (Class::UserDynamic.components(), Class::KernelDynamic.components());
    assert_eq!(host.host_kernel().max(), host.guest_kernel().max());
    assert_eq!(host.host_user(), host.guest_user());
    assert_eq!(host.guest_kernel().max() - host.guest_kernel().default(), host.guest_kernel().max() & dynamic);
    assert_eq!(
        host.guest_kernel().default() - host.host_kernel().default(),
        host.guest_kernel().max() & kernel_dynamic
    );
    assert!((host.host_kernel().max() & host.independent()).is_empty());
    assert_eq!(host.host_xss().components(), host.supervisor() | host.independent());
    assert_eq!(host.host_xcr0().components(), host.host_user().max());
}

#[test]
fn the_laws_hold_on_every_part_of_sapphire_rapids() {
    let whole = machines::sapphire_rapids();
    for chosen in 0..1u32 << GROUPS.len() {
        let set =
            GROUPS.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1).fold(3, |set, (_, group)| set | group);
        let set = if set & 1 << 2 == 0 { set & !(0b111 << 5) } else { set };
        assert_laws(&whole.restricted(ComponentSet::from_bits(set)));
    }
}

proptest! {
    #[test]
    fn the_laws_hold_on_any_cpu(geometry in cpus()) {
        assert_laws(&geometry);
    }

    #[test]
    fn user_configurations_do_not_depend_on_supervisor_components(geometry in cpus()) {
        let user_only = geometry.restricted(geometry.user());
        let (with, without) = (Configurations::new(&geometry).unwrap(), Configurations::new(&user_only).unwrap());
        prop_assert_eq!(with.host_user(), without.host_user());
        prop_assert_eq!(with.guest_user(), without.guest_user());
    }

    #[test]
    fn defaults_do_not_depend_on_user_dynamic_components(geometry in cpus()) {
        let small = geometry.restricted(ComponentSet::ALL - ComponentSet::AMX);
        let (with, without) = (Configurations::new(&geometry).unwrap(), Configurations::new(&small).unwrap());
        let tile_config = ComponentSet::from(Component::XTILECFG);
        for (with, without) in [
            (with.host_kernel(), without.host_kernel()),
            (with.host_user(), without.host_user()),
            (with.guest_kernel(), without.guest_kernel()),
            (with.guest_user(), without.guest_user()),
        ] {
            prop_assert_eq!(with.default() - tile_config, without.default());
        }
    }

    #[test]
    fn the_tasks_xfd_is_the_default_without_what_is_enabled(geometry in cpus(), enabled in any::<u64>()) {
        let host = Configurations::new(&geometry).unwrap();
        let (armed, enabled) = (host.task_xfd(ComponentSet::EMPTY).components(), ComponentSet::from_bits(enabled));
        prop_assert!(armed.is_subset_of(Class::UserDynamic.components() & geometry.xfd()));
        prop_assert_eq!(host.task_xfd(enabled).components(), armed - enabled);
    }
}
