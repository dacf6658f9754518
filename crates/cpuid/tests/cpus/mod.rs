//! CPUs that have the features that a test names.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use selfsame_cpuid::{Host, Kind, Leaves, Policy, Regs, Trims, feature};

pub(crate) const INTEL: [u32; 3] = [0x756e_6547, 0x6c65_746e, 0x4965_6e69];
pub(crate) const AMD: [u32; 3] = [0x6874_7541, 0x444d_4163, 0x6974_6e65];

/// A CPU with the named features, of a vendor and with the signature of some server.
pub(crate) fn cpu([ebx, ecx, edx]: [u32; 3], signature: u32, features: &[&str]) -> Leaves {
    let mut leaves = Leaves::new();
    leaves.set(0x0, 0, Regs::new(0x24, ebx, ecx, edx)).unwrap();
    leaves.set(0x1, 0, Regs::new(signature, 0x0000_0800, 0, 0)).unwrap();
    leaves.set(0x7, 0, Regs::new(2, 0, 0, 0)).unwrap();
    leaves.set(0x8000_0000, 0, Regs::new(0x8000_0021, 0, 0, 0)).unwrap();
    leaves.set(0x8000_0008, 0, Regs::new(0x302e, 0, 0, 0)).unwrap();
    for name in features {
        let place = feature(name).unwrap_or_else(|| unreachable!("{name}")).place;
        let text = place.to_string();
        if let Some(msr) = text.strip_prefix("msr:") {
            let (index, bit) = msr.trim_end_matches(']').split_once('[').unwrap();
            let index = u32::from_str_radix(index, 16).unwrap();
            let value = leaves.msr(index).unwrap() | 1 << bit.parse::<u32>().unwrap();
            leaves.set_msr(index, value).unwrap();
            continue;
        }
        let (number, rest) = text.split_once('.').unwrap();
        let number = u32::from_str_radix(number, 16).unwrap();
        let (subleaf, register) = rest.split_once('.').map_or((0, rest), |(s, r)| (s.parse().unwrap(), r));
        let mut regs = leaves.get(number, subleaf);
        let register = match &register[..3] {
            "eax" => &mut regs.eax,
            "ebx" => &mut regs.ebx,
            "ecx" => &mut regs.ecx,
            _ => &mut regs.edx,
        };
        *register |= place.mask();
        leaves.set(number, subleaf, regs).unwrap();
    }
    leaves
}

pub(crate) fn host(leaves: &Leaves, kind: Kind) -> Host {
    Host::from_hardware(leaves, kind, &Trims::NONE)
}

pub(crate) fn has(policy: &Policy, name: &str) -> bool {
    policy.features().contains(feature(name).unwrap().place)
}
