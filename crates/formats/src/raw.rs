//! From a dump to the raw leaves of one host: all logical CPUs count.

use std::collections::{BTreeMap, BTreeSet};

use selfsame_cpuid::{Leaves, What, unite};

use crate::dump::{CpuDump, Dump};

/// What a host's hardware is, as far as the model of policies goes.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The level of the host's logical CPUs.
    pub leaves: Leaves,
    /// Each logical CPU, in the dump's order.
    pub cpus: Vec<Leaves>,
    /// What the logical CPUs do not agree on.
    pub differences: Vec<What>,
    /// The leaves and subleaves that are not zero and that no policy holds.
    pub outside: BTreeSet<(u32, u32)>,
    /// The MSRs whose values the dump has.
    pub msrs: BTreeSet<u32>,
}

impl Dump {
    /// Unites the dump's logical CPUs into one host: a vCPU runs on any of them.
    ///
    /// MSRs that the file has for some CPUs only count for all: tools print them once.
    pub fn raw(&self) -> Raw {
        let msrs = self.msrs_of_any_cpu();
        let mut outside = BTreeSet::new();
        let cpus: Vec<Leaves> = self.cpus.iter().map(|cpu| leaves_of(cpu, &msrs, &mut outside)).collect();
        let mut differences = Vec::new();
        let leaves = unite(&cpus, |what| differences.push(what)).unwrap_or_default();
        Raw { leaves, cpus, differences, outside, msrs: msrs.into_keys().collect() }
    }

    fn msrs_of_any_cpu(&self) -> BTreeMap<u32, u64> {
        let mut msrs = BTreeMap::new();
        for (&index, value) in self.cpus.iter().flat_map(|cpu| &cpu.msrs) {
            if let Some(value) = value {
                msrs.entry(index).or_insert(*value);
            }
        }
        msrs
    }
}

/// One CPU's rows in the dense form; what the model has not goes to `outside`.
fn leaves_of(cpu: &CpuDump, msrs_of_any: &BTreeMap<u32, u64>, outside: &mut BTreeSet<(u32, u32)>) -> Leaves {
    let mut leaves = Leaves::new();
    for (&(leaf, subleaf), &regs) in &cpu.leaves {
        if leaves.set(leaf, subleaf, regs).is_err() && !regs.is_zero() {
            outside.insert((leaf, subleaf));
        }
    }
    for (&index, &value) in msrs_of_any {
        let value = cpu.msrs.get(&index).copied().flatten().unwrap_or(value);
        // Most MSRs of a dump say nothing about features: they are not of the model.
        let _ = leaves.set_msr(index, value);
    }
    leaves.fill_true_controls();
    leaves
}
