//! Every vCPU of every small topology finds its place, by every algorithm of the manuals, from the answers of its exits.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod topology_guest;
mod topology_hosts;

use selfsame_cpuid::{ApicId, Policy, Topology, TopologyCounts, VcpuView};
use topology_guest::{ComputeUnit, CoreOfPackage, Guest, Seat};
use topology_hosts::{amd, faults, intel, topology_fault};

/// Up to four sockets and dies, two modules, 64 cores, three threads.
fn every_small_topology() -> impl Iterator<Item = TopologyCounts> {
    let dies = |sockets| (1..=4).map(move |dies| TopologyCounts { sockets, dies, ..TopologyCounts::ONE });
    let modules = |counts| (1..=2).map(move |modules| TopologyCounts { modules, ..counts });
    let cores = |counts| (1..=64).map(move |cores| TopologyCounts { cores, ..counts });
    let threads = |counts| (1..=3).map(move |threads| TopologyCounts { threads, ..counts });
    (1..=4).flat_map(dies).flat_map(modules).flat_map(cores).flat_map(threads)
}

/// Every place of a tree, in the order of vCPUs.
fn every_seat(counts: TopologyCounts) -> impl Iterator<Item = Seat> {
    let TopologyCounts { sockets, dies, modules, cores, threads } = counts;
    let all = |of: u16| 0..u32::from(of);
    let packages = all(sockets).map(|package| Seat { package, die: 0, module: 0, core: 0, thread: 0 });
    let dies = packages.flat_map(move |seat| all(dies).map(move |die| Seat { die, ..seat }));
    let modules = dies.flat_map(move |seat| all(modules).map(move |module| Seat { module, ..seat }));
    let cores = modules.flat_map(move |seat| all(cores).map(move |core| Seat { core, ..seat }));
    cores.flat_map(move |seat| all(threads).map(move |thread| Seat { thread, ..seat }))
}

/// The numbers that a guest gave to groups of vCPUs, which are taken in the order of vCPUs: a new group has a greater
/// number than all before it.
#[derive(Default)]
struct Groups<T>(Option<T>);

impl<T: Ord + Copy + std::fmt::Debug> Groups<T> {
    #[track_caller]
    fn next(&mut self, is_new: bool, number: T) {
        if let Some(last) = self.0.replace(number) {
            assert!(if is_new { number > last } else { number == last }, "{last:?} {number:?}, new: {is_new}");
        }
    }
}

/// Follows the vCPUs of a tree: which of them begin a core, a module, a die.
struct Walk {
    cores: Groups<(u32, u32)>,
    caches: [Groups<u32>; 5],
    last_id: Option<ApicId>,
}

impl Walk {
    fn new() -> Self {
        Self { cores: Groups(None), caches: [const { Groups(None) }; 5], last_id: None }
    }

    /// What both vendors' guests read.
    fn next(&mut self, guest: &Guest<'_>, seat: Seat, counts: TopologyCounts) {
        let id = guest.vcpu.apic_id;
        assert!(self.last_id.replace(id).is_none_or(|last| last < id), "ids are unique, and ascend");
        let leaf_1 = guest.cpuid(1, 0);
        assert_eq!(leaf_1.ebx >> 24, u32::from(id.initial()));
        assert_eq!(guest.cpuid(0xb, 0).edx, id.x2apic());
        assert_eq!(guest.has_siblings(), threads_of_package(counts) > 1);
        let CoreOfPackage { package, core, thread } = guest.by_leaf_b();
        assert_eq!((package, thread), (seat.package, seat.thread));
        self.cores.next(seat.thread == 0, (package, core));
        // The first two levels are a core's, the third a die's on Intel and a complex's on AMD, the fourth a package's.
        let is_amd = guest.policy.leaves.vendor().is_amd_like();
        let begins_core = seat.thread == 0;
        let begins_module = begins_core && seat.core == 0;
        let begins_die = begins_module && seat.module == 0;
        let begins_package = begins_die && seat.die == 0;
        let leaf = if is_amd { 0x8000_001d } else { 4 };
        let ids = package_bits(counts);
        let mut count = 0;
        for (groups, cache) in self.caches.iter_mut().zip(guest.caches(leaf)) {
            let is_new = match cache.level {
                1 | 2 => begins_core,
                3 if is_amd => begins_module,
                3 => begins_die,
                _ => begins_package,
            };
            groups.next(is_new, cache.share_id);
            assert!(cache.shift <= ids, "no cache is shared beyond its package");
            count += 1;
        }
        assert_eq!(count, 5);
    }
}

fn threads_of_package(counts: TopologyCounts) -> u32 {
    [counts.dies, counts.modules, counts.cores, counts.threads].map(u32::from).iter().product()
}

/// The bits of an APIC id below the package.
fn package_bits(counts: TopologyCounts) -> u32 {
    let bits = |count: u16| u32::from(count).next_power_of_two().trailing_zeros();
    bits(counts.dies) + bits(counts.modules) + bits(counts.cores) + bits(counts.threads)
}

fn guests(policy: &Policy) -> impl Iterator<Item = (Guest<'_>, Seat)> {
    let topology = policy.topology.unwrap();
    let vcpus = (0..topology.vcpus()).map(move |index| VcpuView::new(topology.apic_id(index).unwrap()));
    assert_eq!(every_seat(topology.counts()).count(), topology.vcpus() as usize);
    vcpus.map(move |vcpu| Guest { policy, vcpu }).zip(every_seat(topology.counts()))
}

#[test]
fn every_guest_on_intel_reads_its_place() {
    let base = intel();
    let mut told_by_legacy = 0;
    for counts in every_small_topology() {
        let mut policy = base.clone();
        policy.set_topology(Some(Topology::new(counts).unwrap()));
        assert_eq!(faults(&policy), [], "{counts:?}");
        let TopologyCounts { dies, modules, cores, threads, .. } = counts;
        let has_more_levels = dies > 1 || modules > 1;
        let (ids, core_ids) = (package_bits(counts), package_bits(TopologyCounts { threads: 1, ..counts }));
        let is_legacy_enough = ids <= 8 && core_ids <= 6;
        let mut walk = Walk::new();
        for (guest, seat) in guests(&policy) {
            walk.next(&guest, seat, counts);
            assert_eq!(guest.by_leaf_1f(), has_more_levels.then_some(seat), "{counts:?}");
            if is_legacy_enough && guest.vcpu.apic_id.x2apic() <= 0xff {
                assert_eq!(guest.by_leaves_1_and_4(), guest.by_leaf_b(), "{counts:?} {seat:?}");
                told_by_legacy += 1;
            }
        }
        let (guest, _) = guests(&policy).next().unwrap();
        let all = threads_of_package(counts);
        let [of_core, of_module] = [u32::from(threads), u32::from(threads) * u32::from(cores)];
        let of_die = of_module * u32::from(modules);
        assert_eq!(guest.counts(0xb), [of_core, all]);
        let expected: &[u32] = match (modules > 1, dies > 1) {
            (false, false) => &[],
            (true, false) => &[of_core, of_module, all],
            (false, true) => &[of_core, of_die, all],
            (true, true) => &[of_core, of_module, of_die, all],
        };
        assert_eq!(guest.counts(0x1f), expected);
    }
    assert!(told_by_legacy > 100_000, "{told_by_legacy}");
}

#[test]
fn every_guest_on_amd_reads_its_place() {
    let base = amd();
    let mut without_compute_units = 0;
    for counts in every_small_topology() {
        let mut policy = base.clone();
        policy.set_topology(Some(Topology::new(counts).unwrap()));
        let TopologyCounts { dies, modules, cores, threads, .. } = counts;
        let has_more_levels = dies > 1 || modules > 1;
        let (ids, core_ids) = (package_bits(counts), package_bits(TopologyCounts { threads: 1, ..counts }));
        // Eight bits have no room for the cores of a package then, and verify says so.
        let has_compute_units = core_ids <= 8;
        let expected = if has_compute_units { vec![] } else { topology_fault("leaf 8000001e") };
        assert_eq!(faults(&policy), expected, "{counts:?}");
        without_compute_units += u32::from(!has_compute_units);
        let all = threads_of_package(counts);
        let mut walk = Walk::new();
        let mut cores_of_1e = Groups::default();
        for (guest, seat) in guests(&policy) {
            walk.next(&guest, seat, counts);
            let (legacy, count, package) = guest.by_leaves_1_and_80000008();
            assert_eq!((legacy, count, package), (all.min(255), all.min(256), seat.package), "{counts:?}");
            assert_eq!(guest.cpuid(0x8000_0008, 0).ecx >> 12, ids);
            assert_eq!(guest.by_leaf_80000026(), has_more_levels.then_some(seat), "{counts:?}");
            if has_compute_units {
                let ComputeUnit { package, die, core, thread } = guest.by_leaf_8000001e();
                assert_eq!((package, die, thread), (seat.package, seat.die, seat.thread), "{counts:?}");
                assert_eq!(guest.cpuid(0x8000_001e, 0).eax, guest.vcpu.apic_id.x2apic());
                cores_of_1e.next(seat.thread == 0, (package, core));
            }
        }
        let (guest, _) = guests(&policy).next().unwrap();
        let [of_core, of_module] = [u32::from(threads), u32::from(threads) * u32::from(cores)];
        let of_die = of_module * u32::from(modules);
        assert_eq!(guest.counts(0xb), [of_core, all]);
        let expected: &[u32] = if has_more_levels { &[of_core, of_module, of_die, all] } else { &[] };
        assert_eq!(guest.counts(0x8000_0026), expected);
    }
    assert!(without_compute_units > 0);
}
