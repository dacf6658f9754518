//! The bits of control registers that a policy brings, against what the table gives to guests.

use selfsame_cpuid::{CR4_BITS, ControlBit, EFER_BITS, FEATURES, Kind, Offer, Relation};

/// What a row's reason ties to CR4, as far as guests are given it; OSXSAVE and OSPKE follow CR4, and bring nothing.
#[test]
fn who_is_given_a_mode_may_turn_it_on() {
    let brought = |bits: &'static [ControlBit]| bits.iter().flat_map(|bit| bit.features).copied();
    let cr4: Vec<&str> = brought(&CR4_BITS).collect();
    let own = FEATURES.iter().filter(|row| row.relation != Relation::Dynamic);
    let given = own.filter(|row| Kind::ALL.iter().any(|&kind| row.offer_to(kind) != Offer::Never));
    let told: Vec<&str> = given.filter(|row| row.reason.contains("CR4.")).map(|row| row.name).collect();
    let missing: Vec<&&str> = told.iter().filter(|name| !cr4.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for name in ["lam", "lass", "fred", "shstk", "ibt", "pks", "uintr", "la57"] {
        assert!(cr4.contains(&name), "{name}");
    }
    for name in cr4.into_iter().chain(brought(&EFER_BITS)) {
        assert!(selfsame_cpuid::feature(name).is_some(), "{name}");
    }
    assert!(CR4_BITS.is_sorted_by(|a, b| a.bit < b.bit) && EFER_BITS.is_sorted_by(|a, b| a.bit < b.bit));
}
