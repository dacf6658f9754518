//! Random pools of the corpus and their levels, the same in every run.
#![allow(dead_code, reason = "not every test reads every kind")]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use selfsame_cpuid::{Host, Kind, Leaves, Leveller, Policy, Trims};

use crate::corpus_files;

/// The machines of the corpus by vendor: those vendors of which there are several. Empty where there is no corpus.
pub(crate) fn machines() -> &'static [Vec<(String, Leaves)>] {
    static MACHINES: OnceLock<Vec<Vec<(String, Leaves)>>> = OnceLock::new();
    MACHINES.get_or_init(|| {
        let mut by_vendor: BTreeMap<String, Vec<(String, Leaves)>> = BTreeMap::new();
        for (name, bytes) in corpus_files::instlatx64() {
            let raw = selfsame_formats::read(&bytes, &name, None).unwrap().raw().leaves;
            let vendor = raw.vendor_name().to_string();
            // The vendors of QEMU's models.
            if ["GenuineIntel", "AuthenticAMD", "HygonGenuine"].contains(&&*vendor) {
                by_vendor.entry(vendor).or_default().push((name, raw));
            }
        }
        by_vendor.into_values().filter(|machines| machines.len() > 1).collect()
    })
}

/// One pool: its members and their level.
pub(crate) struct Pool<'m> {
    pub(crate) members: Vec<&'m (String, Leaves)>,
    pub(crate) level: Policy,
}

impl Pool<'_> {
    /// What a failure is about.
    pub(crate) fn name(&self) -> String {
        self.members.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(" + ")
    }
}

/// `count` pools of one to five machines of one vendor that have a level for guests of `kind` with long mode.
pub(crate) fn pools(machines: &[Vec<(String, Leaves)>], kind: Kind, count: usize) -> Vec<Pool<'_>> {
    let mut pools = Vec::new();
    // Knuth's linear congruence: which pools these are does not depend on a library's version.
    let mut state = 0x5e1f_5a3e_u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % limit
    };
    while !machines.is_empty() && pools.len() < count {
        let all = &machines[below(machines.len())];
        let members: Vec<_> = (0..=below(5)).map(|_| &all[below(all.len())]).collect();
        let mut leveller = Leveller::new(kind);
        for (name, raw) in &members {
            leveller.add(name, Host::from_hardware(raw, kind, &Trims::NONE).default());
        }
        let long_mode = selfsame_cpuid::feature("lm").unwrap().place;
        if let Ok(level) = leveller.finish()
            && level.features().contains(long_mode)
        {
            pools.push(Pool { members, level });
        }
    }
    pools
}
