//! Real machines tell of their topology what a policy with the same topology tells.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod corpus_files;

use std::collections::BTreeSet;

use selfsame_cpuid::{ApicId, Kind, Policy, Regs, Topology, TopologyCounts, VcpuView};
use selfsame_formats::{CpuDump, Dump, read};

/// What a CPU answered; zero where its dump has no row.
fn get(cpu: &CpuDump, leaf: u32, subleaf: u32) -> Regs {
    cpu.get(leaf, subleaf).unwrap_or_default()
}

/// The APIC id that a CPU says it has: all 32 bits where any leaf has them.
fn apic_id(cpu: &CpuDump) -> u32 {
    let compute_unit = cpu.get(0x8000_001e, 0).map(|regs| regs.eax);
    let wide = cpu.get(0xb, 0).filter(|regs| regs.ebx != 0).map(|regs| regs.edx).or(compute_unit);
    wide.unwrap_or(get(cpu, 1, 0).ebx >> 24)
}

/// The tree that a machine's counts describe, if all of its parts are equal and its ids no wider than they must be.
fn topology(dump: &Dump, policy: &Policy) -> Option<Topology> {
    let cpu = &dump.cpus[0];
    let count = |leaf, subleaf| get(cpu, leaf, subleaf).ebx & 0xffff;
    let of_type = |wanted| (0..6).map(|subleaf| get(cpu, 0x1f, subleaf)).find(|regs| regs.ecx >> 8 & 0xff == wanted);
    let (threads, of_module, of_die, of_package);
    if policy.leaves.vendor().is_amd_like() {
        let third_level = (0..8).map(|subleaf| get(cpu, 0x8000_001d, subleaf).eax).find(|eax| eax >> 5 & 7 == 3)?;
        let Regs { ebx, ecx, .. } = get(cpu, 0x8000_001e, 0);
        threads = (ebx >> 8 & 0xff) + 1;
        of_package = (get(cpu, 0x8000_0008, 0).ecx & 0xff) + 1;
        of_module = (third_level >> 14 & 0xfff) + 1;
        of_die = if count(0x8000_0026, 2) != 0 { count(0x8000_0026, 2) } else { of_package / ((ecx >> 8 & 7) + 1) };
    } else {
        threads = count(0xb, 0);
        of_package = count(0xb, 1);
        let end = |domain, else_| of_type(domain).map_or(else_, |regs| regs.ebx & 0xffff);
        of_die = if of_type(5).is_some() { end(3, end(2, 0)) } else { of_package };
        of_module = if of_type(3).is_some() { end(2, 0) } else { of_die };
    }
    let whole = |all: u32, part: u32| {
        all.checked_div(part).filter(|_| all.is_multiple_of(part)).and_then(|count| u16::try_from(count).ok())
    };
    let counts = TopologyCounts {
        sockets: whole(u32::try_from(dump.cpus.len()).unwrap(), of_package)?,
        dies: whole(of_package, of_die)?,
        modules: whole(of_die, of_module)?,
        cores: whole(of_module, threads)?,
        threads: u16::try_from(threads).ok()?,
    };
    let topology = Topology::new(counts).ok()?;
    let ids: BTreeSet<u32> = dump.cpus.iter().map(apic_id).collect();
    let own: BTreeSet<u32> = (0..topology.vcpus()).map(|index| topology.apic_id(index).unwrap().x2apic()).collect();
    let package = if policy.leaves.vendor().is_amd_like() {
        get(cpu, 0x8000_0008, 0).ecx >> 12 & 0xf
    } else {
        get(cpu, 0xb, 1).eax & 0x1f
    };
    let bits = |count: u16| u32::from(count).next_power_of_two().trailing_zeros();
    let least = bits(counts.dies) + bits(counts.modules) + bits(counts.cores) + bits(counts.threads);
    (ids == own && package == least).then_some(topology)
}

/// The policy that has the leaves of one CPU.
fn policy(cpu: &CpuDump) -> Policy {
    let mut policy = Policy::empty(Kind::Hvm);
    for (&(leaf, subleaf), &regs) in &cpu.leaves {
        // A dump has leaves that no policy holds.
        let _ = policy.leaves.set(leaf, subleaf, regs);
    }
    policy
}

#[test]
fn machines_with_the_least_ids_tell_what_is_computed() {
    let mut compared = [0, 0];
    let dumps = corpus_files::instlatx64();
    for (name, bytes) in &dumps {
        let dump = read(bytes, name, None).unwrap();
        let Some(first) = dump.cpus.first() else { continue };
        let Some(topology) = topology(&dump, &policy(first)) else { continue };
        eprintln!("{name}: {topology}");
        for cpu in &dump.cpus {
            let mut policy = policy(cpu);
            let is_amd_like = policy.leaves.vendor().is_amd_like();
            policy.set_topology(Some(topology));
            let vcpu = VcpuView::new(ApicId::new(apic_id(cpu)));
            let both = |leaf, subleaf, mask: [u32; 4]| {
                // Tools leave out rows that end a list.
                let Some(real) = cpu.get(leaf, subleaf) else { return };
                let and = |regs: Regs| std::array::from_fn::<u32, 4, _>(|i| regs.to_array()[i] & mask[i]);
                let (computed, real) = (and(policy.cpuid(leaf, subleaf, &vcpu)), and(real));
                assert_eq!(computed, real, "{name} cpu {} leaf {leaf:08x} subleaf {subleaf}", cpu.number);
            };
            both(0x1, 0, [0, 0xffff_0000, 0, 1 << 28]);
            for leaf in [0xb, 0x1f].into_iter().filter(|&leaf| get(cpu, leaf, 0).ebx != 0) {
                (0..3).for_each(|subleaf| both(leaf, subleaf, [0x1f, 0xffff, 0xff00, u32::MAX]));
            }
            for (leaf, subleaf) in [0x4, 0x8000_001d].into_iter().flat_map(|leaf| (0..5).map(move |n| (leaf, n))) {
                let eax = get(cpu, leaf, subleaf).eax;
                // Several cores share a second level on CPUs of small cores; here each core has its own.
                let is_of_cores = eax >> 5 & 7 == 2 && eax >> 14 & 0xfff >= u32::from(topology.counts().threads);
                both(leaf, subleaf, [if is_of_cores { 0xfc00_0000 } else { 0xffff_c000 }, 0, 0, 0]);
            }
            if is_amd_like {
                both(0x8000_0001, 0, [0, 0, 2, 0]);
                both(0x8000_0008, 0, [0, 0, 0xf0ff, 0]);
                // From Zen 2 on, firmware decides how many nodes the dies of a package make; here each die is one.
                let has_node_per_die = get(cpu, 0x8000_001e, 0).ecx >> 8 & 7 == u32::from(topology.counts().dies) - 1;
                both(0x8000_001e, 0, [u32::MAX, 0xffff, if has_node_per_die { 0x7ff } else { 0 }, 0]);
                if get(cpu, 0x8000_0026, 0).ebx != 0 {
                    (0..4).for_each(|subleaf| both(0x8000_0026, subleaf, [0x1f, 0xffff, 0xffff, u32::MAX]));
                }
            }
        }
        compared[usize::from(policy(first).leaves.vendor().is_amd_like())] += 1;
    }
    eprintln!("{compared:?} machines of Intel's and AMD's kind");
    assert!(dumps.is_empty() || compared[0] >= 7 && compared[1] >= 19);
}
