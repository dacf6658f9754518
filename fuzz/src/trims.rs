//! The words of `cpuid=`.

use selfsame_cpuid::{Kind, Trims};

use crate::{Target, seeds};

/// The target.
pub const TARGET: Target = Target {
    name: "trims",
    run,
    seeds,
    words: &["no-", "pv:", "hvm:", "kvm:", "msr:0000010a=", "00000007.0.ebx=", "0x", ",", "avx512f", "ffffffff"],
    max_len_bytes: 120,
};

/// Reads the text: what is asked for of every kind of guest is asked for of each, and saying it twice changes nothing.
pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(trims) = text.parse::<Trims>() else { return };
    let asked = Kind::ALL.map(|kind| trims.requested(kind));
    let [_, hvm, shadow, _] = asked;
    assert_eq!(hvm, shadow);
    if !text.is_empty() {
        assert_eq!(format!("{text},{text}").parse(), Ok(trims));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let names = seeds::names().into_iter().filter(|name| !name.is_empty());
    let taken = names.map(|name| [b"hvm:no-", &*name, b",", &*name].concat());
    let places = ["no-avx512f,hvm:no-pku,00000007.0.ecx=ffffffff", "msr:0000010a=0x1f,pv:00000001.ecx=0,kvm:no-x2apic"];
    taken.chain(places.map(Into::into)).collect()
}
