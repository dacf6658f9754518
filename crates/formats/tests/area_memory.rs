//! What the areas of guests take on real CPUs, by their dumps; the figures of `docs/xstate.md`.
//!
//! `SELFSAME_BLESS=1` rewrites them there.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod corpus_files;

use std::fmt::Write;
use std::path::Path;
use std::sync::OnceLock;

use selfsame_cpuid::{Host, Kind, Leaves, Policy, Trims};
use selfsame_formats::read;
use selfsame_xstate::{Area, Component, ComponentSet, Configurations, Geometry};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/xstate.md");
const BEGIN: &str = "<!-- memory: written by crates/formats/tests/area_memory.rs -->\n";
const END: &str = "<!-- memory: end -->\n";

/// Name and dump of the CPUs in the table.
const CPUS: [(&str, &str); 6] = [
    ("Granite Rapids", "A06D1_GraniteRapids_03"),
    ("Emerald Rapids", "C06F2_EmeraldRapids_01"),
    ("Ice Lake SP", "606A6_ICX_04"),
    ("Cascade Lake SP", "50657_CascadeLakeSP_CPUID3"),
    ("Turin", "B00F21_K20_Turin_01"),
    ("Milan", "A00F11_K19_Milan_02"),
];

/// Name and `cpuid=` words of the policies in the table.
const POLICIES: [(&str, &str); 4] = [
    ("SSE", "no-avx,no-mpx,no-pku,no-amx-tile,no-shstk,no-ibt"),
    ("AVX", "no-avx512f,no-avx10,no-mpx,no-amx-tile"),
    ("AVX-512", "no-amx-tile"),
    ("all", ""),
];

/// Name and leaves of every dump.
fn dumps() -> &'static [(String, Leaves)] {
    static DUMPS: OnceLock<Vec<(String, Leaves)>> = OnceLock::new();
    let raw = |(name, bytes): (String, Vec<u8>)| {
        let leaves = read(&bytes, &name, None).unwrap().raw().leaves;
        (name, leaves)
    };
    DUMPS.get_or_init(|| corpus_files::instlatx64().into_iter().map(raw).collect())
}

fn geometry(raw: &Leaves) -> Geometry {
    raw.geometry().usable(raw.vendor().offsets())
}

fn states(policy: &Policy) -> ComponentSet {
    policy.leaves.xcr0() | policy.leaves.xss()
}

/// The states of a guest that the host makes with these words.
fn states_with(raw: &Leaves, words: &str) -> ComponentSet {
    states(Host::from_hardware(raw, Kind::Kvm, &words.parse::<Trims>().unwrap()).default())
}

/// The area of a running guest: whatever its policy has is enabled.
fn area<'g>(geometry: &'g Geometry, states: ComponentSet) -> Area<'g> {
    Configurations::new(geometry).unwrap().area(states, Component::XTILEDATA.into()).unwrap()
}

#[test]
fn every_dump_has_configurations_with_room_for_its_own_guests() {
    let Some(_) = corpus_files::corpus() else { return };
    let mut areas = 0;
    for (name, raw) in dumps() {
        let geometry = geometry(raw);
        let host = Configurations::new(&geometry).unwrap_or_else(|error| unreachable!("{name}: {error}"));
        for kind in Kind::ALL {
            let guests = Host::from_hardware(raw, kind, &Trims::NONE);
            for policy in [guests.max(), guests.default()] {
                let area = host.area(states(policy), ComponentSet::ALL);
                let area = area.unwrap_or_else(|error| unreachable!("{name}: {error}"));
                assert!(states(policy).is_subset_of(area.components()), "{name}");
                assert!(area.size_bytes() <= host.guest_kernel().max_bytes(), "{name}");
                areas += 1;
            }
        }
    }
    eprintln!("{areas} areas");
    assert!(areas >= 8 * 150);
}

#[test]
fn a_guest_without_amx_pays_no_amx_bytes_on_any_real_amx_host() {
    let Some(_) = corpus_files::corpus() else { return };
    let mut hosts = 0;
    for (name, raw) in dumps() {
        let with = geometry(raw);
        if !ComponentSet::AMX.is_subset_of(with.user()) {
            continue;
        }
        let without = with.restricted(ComponentSet::ALL - ComponentSet::AMX);
        for (_, words) in POLICIES {
            let states = states_with(raw, words) - ComponentSet::AMX;
            assert_eq!(area(&with, states).size_bytes(), area(&without, states).size_bytes(), "{name}");
            assert!(area(&with, states).size_bytes() < 4096, "{name}");
        }
        hosts += 1;
    }
    eprintln!("{hosts} hosts with AMX");
    assert!(hosts >= 3);
}

fn table() -> String {
    let mut out = String::from("| host |");
    for (name, _) in POLICIES {
        let _ = write!(out, " {name} |");
    }
    out += " maximum |\n|---|--:|--:|--:|--:|--:|\n";
    for (name, part) in CPUS {
        let (_, raw) = dumps().iter().find(|(name, _)| name.contains(part)).unwrap();
        let geometry = geometry(raw);
        let _ = write!(out, "| {name} |");
        for (_, words) in POLICIES {
            let _ = write!(out, " {} |", area(&geometry, states_with(raw, words)).size_bytes());
        }
        let _ = writeln!(out, " {} |", geometry.reported_standard_size());
    }
    out
}

#[test]
fn the_documentation_has_these_figures() {
    let Some(_) = corpus_files::corpus() else { return };
    let table = table();
    let text = std::fs::read_to_string(Path::new(FILE)).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("SELFSAME_BLESS").is_some() {
        std::fs::write(FILE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "SELFSAME_BLESS=1 cargo test -p selfsame-formats --test area_memory rewrites it");
}
