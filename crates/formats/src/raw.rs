//! From a dump to the raw leaves of one host: all logical CPUs count.

use std::collections::{BTreeMap, BTreeSet};

use selfsame_cpuid::{Leaves, Regs, What, unite};

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
    /// MSRs that the file has for some CPUs only count for all: tools print them once. A CPU on which reading an MSR
    /// faulted does not have it: it counts as 0 there.
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

/// `KVMKVMKVM`, as EBX, ECX and EDX of leaf 0x40000000 (Linux, Documentation/virt/kvm/x86/cpuid.rst).
const KVM: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];

/// Whether another hypervisor than KVM named itself: what is in leaf 0x40000001 means something else then (Hyper-V: `Hv#1`).
fn is_another_hypervisors(leaves: &Leaves) -> bool {
    let Regs { ebx, ecx, edx, .. } = leaves.get(0x4000_0000, 0);
    ![[0; 3], KVM].contains(&[ebx, ecx, edx])
}

/// One CPU's rows in the dense form; what the model has not goes to `outside`.
fn leaves_of(cpu: &CpuDump, msrs_of_any: &BTreeMap<u32, u64>, outside: &mut BTreeSet<(u32, u32)>) -> Leaves {
    let mut leaves = Leaves::new();
    for (&(leaf, subleaf), &regs) in &cpu.leaves {
        if leaves.set(leaf, subleaf, regs).is_err() && !regs.is_zero() {
            outside.insert((leaf, subleaf));
        }
    }
    if is_another_hypervisors(&leaves) {
        let _ = leaves.set(0x4000_0001, 0, Regs::ZERO);
    }
    for (&index, &value) in msrs_of_any {
        let value = match cpu.msrs.get(&index) {
            Some(Some(own)) => *own,
            Some(None) => 0,
            None => value,
        };
        // Most MSRs of a dump say nothing about features: they are not of the model.
        let _ = leaves.set_msr(index, value);
    }
    leaves.fill_true_controls();
    leaves
}

#[test]
fn an_msr_that_faulted_on_one_cpu_is_not_taken_from_another() {
    let cpu = |number, msrs: &[(u32, Option<u64>)]| {
        let leaves = [((0, 0), Regs::new(7, 0x756e_6547, 0x6c65_746e, 0x4965_6e69))].into();
        CpuDump { leaves, msrs: msrs.iter().copied().collect(), ..CpuDump::new(number) }
    };
    let cpus = vec![cpu(0, &[(0x10a, Some(5))]), cpu(1, &[(0x10a, None)]), cpu(2, &[])];
    let dump = Dump { name: "a".into(), source: crate::Source::Cpuid, context: Vec::new(), cpus, findings: Vec::new() };
    let raw = dump.raw();
    let values: Vec<Vec<_>> = raw.cpus.iter().map(|cpu| cpu.msrs().collect()).collect();
    assert_eq!(values, [vec![(0x10a, 5)], vec![], vec![(0x10a, 5)]]);
}
