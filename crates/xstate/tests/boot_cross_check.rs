//! Computed sizes against what CPUs and hypervisors report.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use proptest::prelude::*;
use selfsame_xstate::{
    Component, ComponentSet, Configurations, Geometry, ReportedSizes, SizeDisagreement, SizeField, Xcr0, Xss,
    cross_check,
};

mod machines;

/// A CPU that reports what the architecture says.
fn right(geometry: &Geometry) -> impl Fn(Xcr0, Xss) -> ReportedSizes {
    |xcr0, xss| ReportedSizes {
        standard_bytes: geometry.standard_size(xcr0.components()).unwrap(),
        compacted_bytes: geometry.compacted_size(xcr0.components() | xss.components()).unwrap(),
    }
}

fn kept(geometry: &Geometry) -> ComponentSet {
    let host = Configurations::new(geometry).unwrap();
    host.host_kernel().max() | host.independent()
}

#[test]
fn real_cpus_agree_in_every_state() {
    for (geometry, states) in [
        (machines::milan(), 8),
        (machines::genoa(), 9),
        (machines::skylake(), 6),
        (machines::bulldozer(), 4),
        (machines::nehalem(), 0),
        (machines::sapphire_rapids(), 14),
    ] {
        let check = cross_check(&geometry, kept(&geometry), right(&geometry)).unwrap();
        assert!(check.is_clean(), "{:?}", check.disagreements().collect::<Vec<_>>());
        assert_eq!(check.states(), states, "{geometry:?}");
    }
}

#[test]
fn xcr0_grows_in_whole_groups_and_xss_next_to_least_and_most_of_it() {
    let geometry = machines::sapphire_rapids();
    let mut seen = Vec::new();
    let report = right(&geometry);
    cross_check(&geometry, kept(&geometry), |xcr0, xss| {
        seen.push((xcr0.bits(), xss.bits()));
        report(xcr0, xss)
    })
    .unwrap();
    let xcr0 = [0x1, 0x3, 0x7, 0xE7, 0x2E7, 0x6_02E7].map(|xcr0| (xcr0, 0));
    let xss = [1, 0x6_02E7].into_iter().flat_map(|xcr0| [0x400, 0xC00, 0x1C00, 0x9C00].map(|xss| (xcr0, xss)));
    assert!(seen.into_iter().eq(xcr0.into_iter().chain(xss)));
}

#[test]
fn a_hypervisor_that_forgets_the_alignment_is_found_out() {
    // openvmm issue 708: components added up without rounding to 64.
    let geometry = machines::sapphire_rapids();
    let check = cross_check(&geometry, kept(&geometry), |xcr0, xss| {
        let all = (xcr0.components() | xss.components()) - ComponentSet::LEGACY;
        let sum: u32 = all.iter().map(|component| geometry.row(component).unwrap().size_bytes).sum();
        ReportedSizes { compacted_bytes: 576 + sum, ..right(&geometry)(xcr0, xss) }
    })
    .unwrap();
    assert!(!check.is_clean());
    let wrong: Vec<SizeDisagreement> = check.disagreements().collect();
    assert!(wrong.iter().all(|wrong| wrong.field == SizeField::Compacted && wrong.xcr0.bits() == 0x6_02E7));
    assert_eq!((wrong[0].computed_bytes, wrong[0].reported_bytes), (10752, 10696));
    assert_eq!(wrong[0].to_string(), "0xd.1.ebx with xcr0 0x602e7 and xss 0x0: 10696 bytes, computed 10752");
}

#[test]
fn a_wrong_supervisor_size_is_found_out_though_an_alignment_hides_it() {
    // CET is 8 bytes too short: next to AMX the size is the same.
    let geometry = machines::sapphire_rapids();
    let check = cross_check(&geometry, kept(&geometry), |xcr0, xss| {
        let right = right(&geometry)(xcr0, xss);
        let is_hidden = xcr0.components().contains(Component::XTILECFG);
        let is_short = !is_hidden && xss.components().contains(Component::CET_U);
        ReportedSizes { compacted_bytes: right.compacted_bytes - if is_short { 8 } else { 0 }, ..right }
    })
    .unwrap();
    assert!(check.disagreements().map(|wrong| (wrong.xcr0.bits(), wrong.xss.bits())).eq([
        (1, 0xC00),
        (1, 0x1C00),
        (1, 0x9C00)
    ]));
}

#[test]
fn a_stale_maximum_is_found_out() {
    // 0xD.0.ECX of another machine, as templates leave it that mask AMX.
    let mut rows = vec![(2, 256, 0x240, 0), (9, 8, 0xA80, 0)];
    rows.extend(machines::CET);
    let geometry = machines::machine(0x2B00, &rows);
    let check = cross_check(&geometry, kept(&geometry), right(&geometry)).unwrap();
    let wrong = check.disagreements().map(|wrong| (wrong.field, wrong.computed_bytes, wrong.reported_bytes));
    assert!(wrong.eq([(SizeField::Maximum, 2696, 0x2B00)]));
}

#[test]
fn a_compacted_size_without_compaction_is_found_out() {
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [0x7, 576, 832, 0],
        2 => [256, 576, 0, 0],
        _ => [0; 4],
    });
    let report = |compacted_bytes| {
        let check = cross_check(&geometry, geometry.user(), |xcr0, xss| ReportedSizes {
            compacted_bytes,
            ..right(&geometry)(xcr0, xss)
        });
        check.unwrap().disagreements().count()
    };
    assert_eq!(report(0), 0);
    assert_eq!(report(576), 3);
}

#[test]
fn every_wrong_answer_is_kept() {
    let mut geometry_rows = Vec::new();
    for row in &selfsame_xstate::COMPONENTS[2..] {
        let index = u32::from(row.component.index());
        let is_supervisor = row.class.is_supervisor();
        // No CPU has APX and MPX; one that has everything else has the most states.
        if row.component != Component::APX {
            geometry_rows.push((index, 64, if is_supervisor { 0 } else { 576 + 64 * index }, u32::from(is_supervisor)));
        }
    }
    let geometry = machines::machine(1, &geometry_rows);
    let none = ReportedSizes { standard_bytes: 0, compacted_bytes: 0 };
    let check = cross_check(&geometry, ComponentSet::ALL, |_, _| none).unwrap();
    assert_eq!(check.disagreements().count(), 1 + 2 * check.states());
    assert!(check.states() >= 24, "{}", check.states());
}

proptest! {
    #[test]
    fn whatever_a_cpu_reports_every_wrong_answer_is_kept(wrong in prop::collection::vec(any::<[bool; 2]>(), 32)) {
        let geometry = machines::sapphire_rapids();
        let mut asked = 0;
        let mut expected = 0;
        let check = cross_check(&geometry, ComponentSet::ALL, |xcr0, xss| {
            let [standard, compacted] = wrong[asked];
            asked += 1;
            expected += usize::from(standard) + usize::from(compacted);
            let right = right(&geometry)(xcr0, xss);
            ReportedSizes {
                standard_bytes: right.standard_bytes + u32::from(standard),
                compacted_bytes: right.compacted_bytes + u32::from(compacted),
            }
        })
        .unwrap();
        prop_assert_eq!(check.states(), asked);
        prop_assert_eq!(check.disagreements().count(), expected);
    }

    #[test]
    fn no_leaf_panics(words in prop::collection::vec(any::<[u32; 4]>(), 63), enabled in any::<u64>(), said in any::<[u32; 2]>()) {
        let geometry = Geometry::read(|subleaf| words[subleaf as usize]);
        let [standard_bytes, compacted_bytes] = said;
        let report = |_, _| ReportedSizes { standard_bytes, compacted_bytes };
        if let Ok(check) = cross_check(&geometry, ComponentSet::from_bits(enabled), report) {
            prop_assert!(check.disagreements().count() <= 1 + 2 * check.states());
        }
    }
}
