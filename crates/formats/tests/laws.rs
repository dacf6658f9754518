//! The laws of levelling, over random pools of real machines, for every kind of guest.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod corpus_files;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::*;
use selfsame_cpuid::{Check, FEATURES, Featureset, Host, Kind, Leaves, Leveller, Offer, Policy, Relation, Trims, Word};
use selfsame_xstate::Geometry;

/// A real machine as guests of every kind meet it.
struct Machine {
    name: String,
    raw: Leaves,
    hosts: [Host; 4],
}

/// The machines of the corpus by vendor; only vendors with several. Empty where there is no corpus.
fn machines() -> &'static [Vec<Machine>] {
    static MACHINES: OnceLock<Vec<Vec<Machine>>> = OnceLock::new();
    MACHINES.get_or_init(|| {
        let mut by_vendor: BTreeMap<String, Vec<Machine>> = BTreeMap::new();
        for (name, bytes) in corpus_files::instlatx64() {
            let raw = selfsame_formats::read(&bytes, &name, None).unwrap().raw().leaves;
            let hosts = Kind::ALL.map(|kind| Host::from_hardware(&raw, kind, &Trims::NONE));
            by_vendor.entry(raw.vendor_name().to_string()).or_default().push(Machine { name, raw, hosts });
        }
        by_vendor.into_values().filter(|machines| machines.len() > 1).collect()
    })
}

fn level<'a>(members: impl IntoIterator<Item = &'a Machine>, kind: Kind) -> Option<Policy> {
    let mut leveller = Leveller::new(kind);
    for member in members {
        leveller.add(&member.name, member.hosts[kind as usize].default());
    }
    leveller.finish().ok()
}

/// The features of one relation whose offer to guests of `kind` is among `offers`.
fn places(relation: Relation, kind: Kind, offers: &[Offer]) -> Featureset {
    let rows = FEATURES.iter().filter(|row| row.relation == relation && offers.contains(&row.offer_to(kind)));
    rows.map(|row| row.place).collect()
}

const ALL_OFFERS: [Offer; 5] = [Offer::Hardware, Offer::Made, Offer::Anywhere, Offer::Request, Offer::Never];

fn names(set: Featureset) -> Vec<&'static str> {
    set.iter().filter_map(|place| Some(selfsame_cpuid::feature_at(place)?.name)).collect()
}

/// A pool of one vendor: which vendor, which of its machines, and one machine more.
fn pools() -> impl Strategy<Value = (usize, Vec<usize>, usize)> {
    (0..machines().len().max(1)).prop_flat_map(|vendor| {
        let count = machines().get(vendor).map_or(1, Vec::len);
        (Just(vendor), prop::collection::vec(0..count, 1..6), 0..count)
    })
}

proptest! {
    // Each case is a pool for all four kinds: 10,400 in all.
    #![proptest_config(ProptestConfig { cases: 2_600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn levelling_obeys_its_laws((vendor, members, extra) in pools()) {
        let Some(all) = machines().get(vendor) else { return Ok(()) };
        let pool: Vec<&Machine> = members.iter().map(|&i| &all[i]).collect();
        for kind in Kind::ALL {
            let Some(result) = level(pool.iter().copied(), kind) else { continue };
            let set = result.features();

            let reversed = level(pool.iter().rev().copied(), kind);
            prop_assert!(reversed.as_ref() == Some(&result), "commutative, {kind}");
            let twice = level(pool.iter().chain(&pool).copied(), kind);
            prop_assert!(twice.as_ref() == Some(&result), "idempotent, {kind}");

            let (left, right) = pool.split_at(pool.len() / 2);
            if let (Some(a), Some(b)) = (level(left.iter().copied(), kind), level(right.iter().copied(), kind)) {
                let first = |half: &[&Machine]| half.iter().map(|m| m.name.clone()).min().unwrap_or_default();
                let (name_a, name_b) = (first(left), first(right));
                let mut leveller = Leveller::new(kind);
                leveller.add(&name_a, &a);
                leveller.add(&name_b, &b);
                let of_levels = leveller.finish().ok();
                let of_levels = of_levels.as_ref().map(without_descriptions);
                prop_assert!(of_levels == Some(without_descriptions(&result)), "associative, {kind}");
            }

            for (guest, host) in pool.iter().zip(pool.iter().skip(1)) {
                let check = Check::new(guest.hosts[kind as usize].default(), &host.hosts[kind as usize]);
                let mut count = 0;
                check.refusals(|_| count += 1);
                prop_assert_eq!(check.is_accepted(), count == 0, "{} on {}, {}", guest.name, host.name, kind);
            }
            for member in &pool {
                let check = Check::new(&result, &member.hosts[kind as usize]);
                let mut refusals = Vec::new();
                check.refusals(|refusal| refusals.push(format!("{} {}", refusal.what, refusal.rule)));
                prop_assert!(refusals.is_empty() && check.is_accepted(), "{} refuses its {kind} level: {refusals:?}", member.name);
            }
            let mut faults = Vec::new();
            result.verify(|fault| faults.push(format!("{}: {fault}", fault.what())));
            prop_assert!(faults.is_empty(), "{kind}: {faults:?}");

            if let Some(larger) = level(pool.iter().copied().chain([&all[extra]]), kind) {
                let gained = (larger.features() - set) & places(Relation::All, kind, &ALL_OFFERS);
                prop_assert!(gained.is_empty(), "{kind} gains {:?} by {}", names(gained), all[extra].name);
                let lost = (set - larger.features()) & places(Relation::Any, kind, &[Offer::Anywhere]);
                prop_assert!(is_told_otherwise(&larger, lost), "{kind} loses {:?} by {}", names(lost), all[extra].name);
            }
        }
    }
}

/// All words but the highest leaves, and the save areas: what describes is one host's, and a level has no host's name.
fn without_descriptions(policy: &Policy) -> (Vec<(Word, u32)>, Geometry) {
    let words = Word::all().map(|word| (word, policy.leaves.word(word)));
    let is_maximum = |word: Word| matches!(word.to_string().as_str(), "00000000.eax" | "80000000.eax");
    (words.filter(|&(word, _)| !is_maximum(word)).collect(), policy.leaves.geometry())
}

/// RSBA and RRSBA are one warning in two words; all warnings of MSR 0x10A are silent where a pool hides the MSR, and those
/// of leaf 0xA, which events not to count, where there is no leaf 0xA.
fn is_told_otherwise(level: &Policy, lost: Featureset) -> bool {
    let has_pmu = level.leaves.get(0xa, 0).eax & 0xff != 0;
    let lost: Featureset = lost.iter().filter(|place| has_pmu || !place.to_string().starts_with("0000000a")).collect();
    let has = |name| selfsame_cpuid::feature(name).is_some_and(|row| level.features().contains(row.place));
    names(lost).iter().all(|name| match *name {
        "rsba" | "rrsba" => has("rsba") || has("rrsba") || !has("arch-capabilities"),
        "fb-clear" | "rfds-clear" => !has("arch-capabilities"),
        _ => false,
    })
}

#[test]
fn every_default_is_within_its_maximum() {
    for machine in machines().iter().flatten() {
        for host in &machine.hosts {
            let mut refusals = Vec::new();
            Check::new(host.default(), host).refusals(|refusal| refusals.push(refusal.what.to_string()));
            assert!(refusals.is_empty(), "{} {}: {refusals:?}", machine.name, host.kind());
            let beyond = host.default().features() - host.max().features();
            assert!(beyond.is_empty(), "{} {}: {:?}", machine.name, host.kind(), names(beyond));
        }
    }
}

/// What PV guests have and HVM guests have not, each with its reason.
const PV_BEYOND_HVM: [&str; 0] = [];

#[test]
fn pv_is_within_hvm_but_for_named_exceptions() {
    for machine in machines().iter().flatten() {
        let [_, hvm, _, pv] = &machine.hosts;
        for (pv, hvm) in [(pv.max(), hvm.max()), (pv.default(), hvm.default())] {
            let beyond = names(pv.features() - hvm.features());
            assert!(beyond.iter().all(|name| PV_BEYOND_HVM.contains(name)), "{}: {beyond:?}", machine.name);
        }
    }
}

#[test]
fn all_machines_of_a_vendor_accept_their_level() {
    for pool in machines() {
        for kind in Kind::ALL {
            let Some(result) = level(pool, kind) else { continue };
            for machine in pool {
                assert!(Check::new(&result, &machine.hosts[kind as usize]).is_accepted(), "{}", machine.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_dump_claims_the_policies_are_possible(
        rows in prop::collection::vec((0u32..90, any::<[u32; 4]>()), 1..40),
        which in any::<prop::sample::Index>(),
    ) {
        let all: Vec<&Machine> = machines().iter().flatten().collect();
        let Some(machine) = (!all.is_empty()).then(|| which.get(&all)) else { return Ok(()) };
        let (name, mut raw) = (&machine.name, machine.raw.clone());
        // Hostile words over a real machine: first of all in leaf 0xD.
        for (at, registers) in rows {
            let (leaf, subleaf) = match at {
                0..63 => (0xd, at),
                63..70 => (at - 62, 0),
                _ => (0x8000_0000 + at - 69, 0),
            };
            let _ = raw.set(leaf, subleaf, registers.into());
        }
        for kind in Kind::ALL {
            let host = Host::from_hardware(&raw, kind, &Trims::NONE);
            for policy in [host.default(), host.max()] {
                let mut faults = Vec::new();
                policy.verify(|fault| faults.push(format!("{}: {fault}", fault.what())));
                prop_assert!(faults.is_empty(), "{name} {kind}: {faults:?}");
            }
            prop_assert!(Check::new(host.default(), &host).is_accepted());
        }
    }
}
