//! From a dump to the raw leaves of one host: all logical CPUs count.

use std::collections::{BTreeMap, BTreeSet};

use selfsame_cpuid::{Leaves, Regs, What, unite};

use crate::dump::{CpuDump, Dump};
use crate::findings::Finding;
use crate::ranges;

/// What a host's hardware is, as far as the model of policies goes.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The level of the host's logical CPUs.
    pub leaves: Leaves,
    /// What could not be taken, and where the CPUs differ.
    pub findings: Vec<Finding>,
}

impl Dump {
    /// Unites the dump's logical CPUs into one host: a vCPU runs on any of them.
    ///
    /// MSRs that the file has for some CPUs only count for all: tools print them once. Leaves that no policy holds are
    /// findings.
    pub fn raw(&self) -> Raw {
        let mut findings = Vec::new();
        let msrs = self.msrs_of_any_cpu();
        let mut outside = BTreeSet::new();
        let cpus: Vec<Leaves> = self.cpus.iter().map(|cpu| leaves_of(cpu, &msrs, &mut outside)).collect();
        findings.extend(outside.into_iter().map(|leaf| Finding {
            what: format!("{leaf:08x}"),
            line: None,
            reason: "no policy holds this leaf; it is not given to guests".to_owned(),
        }));
        let leaves = unite(&cpus, |what| findings.push(self.difference(what, &cpus))).unwrap_or_default();
        Raw { leaves, findings }
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

    fn difference(&self, what: What, cpus: &[Leaves]) -> Finding {
        let reason = match what {
            What::Feature(place) => {
                let numbers = self.cpus.iter().zip(cpus).filter(|(_, leaves)| leaves.is_set(place));
                let some: Vec<u32> = numbers.map(|(cpu, _)| cpu.number).collect();
                format!("only {} of {} logical CPUs have it: cpu {}", some.len(), cpus.len(), ranges::format(&some))
            }
            _ => "the logical CPUs differ; what holds on all of them is taken".to_owned(),
        };
        Finding { what: what.to_string(), line: None, reason }
    }
}

/// One CPU's rows in the dense form; leaves outside the model that are not zero go to `outside`.
fn leaves_of(cpu: &CpuDump, msrs_of_any: &BTreeMap<u32, u64>, outside: &mut BTreeSet<u32>) -> Leaves {
    let mut leaves = Leaves::new();
    for (&(leaf, subleaf), &regs) in &cpu.leaves {
        if leaves.set(leaf, subleaf, regs).is_err() && regs != Regs::ZERO {
            outside.insert(leaf);
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
