//! What leaves say of a guest's topology.
//!
//! A policy with a topology *holds* what all vCPUs read alike: counts, shifts, sharing. An exit adds what is the vCPU's own:
//! APIC, core and node ids. So a policy that is frozen answers what it answered on its first day, whatever is learnt about
//! topologies later.

use crate::apic_id::ApicId;
use crate::leaves::Leaves;
use crate::place::{Place, Register};
use crate::policy::Policy;
use crate::regs::Regs;
use crate::table::{leaf_01, leaf_80000001};
use crate::topology::{Shifts, Topology, TopologyCounts};
use crate::verify::Fault;

impl Policy {
    /// Gives the guest a processor tree, or none, and writes every leaf that tells of it (`docs/topology.md` has them):
    /// the features `ht` and, on AMD and Hygon, `cmp-legacy`; counts in leaves 1, 0xB, 0x1F, 0x80000008, 0x8000001E and
    /// 0x80000026; sharing in leaves 4 and 0x8000001D.
    ///
    /// Highest leaves rise where they must and never fall. With none, the leaves hold no topology and an exit answers APIC
    /// ids only; the features stay.
    ///
    /// What the policy cannot tell of the tree, such as ids beyond 254 without x2APIC, [`Policy::verify`] says.
    ///
    /// ```
    /// use selfsame_cpuid::{Kind, Policy, VcpuView};
    ///
    /// let mut policy = Policy::empty(Kind::Kvm);
    /// let topology = "cores=6,threads=2".parse()?;
    /// policy.set_topology(Some(topology));
    /// let last = VcpuView::new(topology.last_apic_id());
    /// let cores = policy.cpuid(0xb, 1, &last);
    /// assert_eq!((cores.eax, cores.ebx, cores.edx), (4, 12, 11));
    /// # Ok::<(), selfsame_cpuid::TopologyError>(())
    /// ```
    pub fn set_topology(&mut self, topology: Option<Topology>) {
        self.topology = topology;
        match topology {
            None => clear(&mut self.leaves),
            Some(topology) => {
                write_features(&mut self.leaves, &topology);
                write(&mut self.leaves, &topology);
                raise_maxima(&mut self.leaves);
            }
        }
    }

    /// What contradicts the policy's topology, if it has one.
    pub(crate) fn for_each_topology_fault(&self, fault: &mut dyn FnMut(Fault)) {
        let Some(topology) = &self.topology else { return };
        let leaves = &self.leaves;
        for (feature, is_needed) in features(leaves, topology) {
            if leaves.is_set(feature) != is_needed {
                fault(Fault::TopologyFeature { feature, is_needed });
            }
        }
        let last = topology.last_apic_id();
        if !last.fits_xapic() && !leaves.is_set(leaf_01::X2APIC) {
            fault(Fault::ApicIdsWithoutX2apic { last });
        }
        if has_compute_units(leaves) && !fits_compute_units(topology) {
            fault(Fault::TopologyBeyond { leaf: COMPUTE_UNITS });
        }
        let mut settled = leaves.clone();
        write(&mut settled, topology);
        for leaf in TOLD {
            if (0..SUBLEAVES).any(|subleaf| leaves.get(leaf, subleaf) != settled.get(leaf, subleaf)) {
                fault(Fault::TopologyLeaf { leaf });
            }
        }
    }
}

const CACHES: u32 = 0x4;
const LEVELS: u32 = 0xb;
const LEVELS_V2: u32 = 0x1f;
const SIZES: u32 = 0x8000_0008;
const AMD_CACHES: u32 = 0x8000_001d;
const COMPUTE_UNITS: u32 = 0x8000_001e;
const AMD_LEVELS: u32 = 0x8000_0026;

/// The leaves that tell of the topology.
const TOLD: [u32; 8] = [0x1, CACHES, LEVELS, LEVELS_V2, SIZES, AMD_CACHES, COMPUTE_UNITS, AMD_LEVELS];

/// As many as any of them has in the model.
const SUBLEAVES: u32 = 8;

/// Takes out of `leaves` all that tells of a topology, but for features and highest leaves.
pub(crate) fn clear(leaves: &mut Leaves) {
    leaves.change(0x1, 0, Register::Ebx, |ebx| ebx & 0xff00_ffff);
    leaves.change(SIZES, 0, Register::Ecx, |ecx| ecx & !0xf0ff);
    for subleaf in 0..SUBLEAVES {
        for leaf in [CACHES, AMD_CACHES] {
            leaves.change(leaf, subleaf, Register::Eax, |eax| eax & 0x3fff);
        }
        for leaf in [LEVELS, LEVELS_V2, COMPUTE_UNITS, AMD_LEVELS] {
            // Not every leaf has as many subleaves.
            let _ = leaves.set(leaf, subleaf, Regs::ZERO);
        }
    }
}

/// Whether HTT and, where the vendor has it, CMP_LEGACY stand for this tree: both say that a package has more than one
/// logical processor (SDM vol. 2A, CPUID.01H:EDX; APM vol. 3, E.5.1).
fn features(leaves: &Leaves, topology: &Topology) -> [(Place, bool); 2] {
    let has_siblings = topology.threads_of_package() > 1;
    [(leaf_01::HT, has_siblings), (leaf_80000001::CMP_LEGACY, has_siblings && leaves.vendor().is_amd_like())]
}

fn write_features(leaves: &mut Leaves, topology: &Topology) {
    for (feature, is_needed) in features(leaves, topology) {
        let word = leaves.word_mut(feature.word());
        *word = *word & !feature.mask() | if is_needed { feature.mask() } else { 0 };
    }
}

fn write(leaves: &mut Leaves, topology: &Topology) {
    clear(leaves);
    write_logical_count(leaves, topology);
    write_caches(leaves, topology);
    let Shifts { core, module, die, package } = topology.shifts();
    let TopologyCounts { dies, modules, threads, .. } = topology.counts();
    let of_core = (core, u32::from(threads));
    let of_module = (module, topology.threads_of_module());
    let of_die = (die, topology.threads_of_die());
    let of_package = (package, topology.threads_of_package());
    // SDM vol. 2A, CPUID.0BH: the last level ends at the package.
    write_levels(leaves, LEVELS, [(1, of_core), (2, of_package)]);
    let has_more_levels = dies > 1 || modules > 1;
    let vendor = leaves.vendor();
    if vendor.is_intel_like() && (has_more_levels || leaves.get(0, 0).eax >= LEVELS_V2) {
        // SDM vol. 2A, CPUID.1FH: each level ends where the next one that is there begins.
        let levels = [(1, of_core), (2, of_module), (3, of_die), (5, of_package)];
        write_levels(
            leaves,
            LEVELS_V2,
            levels.into_iter().filter(|(domain, _)| match domain {
                3 => modules > 1,
                5 => dies > 1,
                _ => true,
            }),
        );
    }
    if vendor.is_amd_like() {
        let max = leaves.get(0x8000_0000, 0).eax;
        if max >= SIZES {
            let count = (topology.threads_of_package() - 1).min(0xff);
            leaves.change(SIZES, 0, Register::Ecx, |ecx| ecx | u32::from(package) << 12 | count);
        }
        if has_compute_units(leaves) {
            let (threads, nodes) = ((threads - 1).min(0xff), (dies - 1).min(7));
            let _ = leaves.set(COMPUTE_UNITS, 0, Regs::new(0, u32::from(threads) << 8, u32::from(nodes) << 8, 0));
        }
        if has_more_levels || max >= AMD_LEVELS {
            write_levels(leaves, AMD_LEVELS, [(1, of_core), (2, of_module), (3, of_die), (4, of_package)]);
        }
    }
}

/// Leaf 1 EBX\[23:16\]. On AMD the logical processors of a package, elsewhere the APIC ids that they take; 255 stands for
/// more, as on Knights Landing and Bergamo (APM vol. 3, E.3.2; SDM vol. 2A, CPUID.01H).
fn write_logical_count(leaves: &mut Leaves, topology: &Topology) {
    let count =
        if leaves.vendor().is_amd_like() { topology.threads_of_package() } else { 1 << topology.shifts().package };
    leaves.change(0x1, 0, Register::Ebx, |ebx| ebx | count.min(0xff) << 16);
}

/// Who shares a cache is told by how many APIC ids do, a power of two: readers round up to one and cut the id there (SDM
/// vol. 2A, CPUID.04H; APM vol. 3, E.4.19).
fn write_caches(leaves: &mut Leaves, topology: &Topology) {
    let Shifts { core, module, die, package } = topology.shifts();
    let is_amd_like = leaves.vendor().is_amd_like();
    // What six and twelve bits have room for; beyond it leaf 0xB is the one that knows.
    let cores_of_package = (1 << (package - core)).min(64) - 1;
    for (leaf, cores) in [(CACHES, cores_of_package), (AMD_CACHES, 0)] {
        for subleaf in 0..SUBLEAVES {
            leaves.change(leaf, subleaf, Register::Eax, |eax| {
                let shared_below = match (eax & 0x1f, eax >> 5 & 7) {
                    (0, _) => return eax,
                    (_, 1 | 2) => core,
                    (_, 3) if is_amd_like => module,
                    (_, 3) => die,
                    _ => package,
                };
                let ids: u32 = (1 << shared_below).min(0x1000) - 1;
                eax | cores << 26 | ids << 14
            });
        }
    }
}

/// Writes the rows of a leaf of levels: each has its type, the shift that leads beyond it, and its logical processors.
fn write_levels(leaves: &mut Leaves, leaf: u32, levels: impl IntoIterator<Item = (u32, (u8, u32))>) {
    for (subleaf, (domain, (shift, count))) in (0..).zip(levels) {
        // The model has as many subleaves as there are levels, and one more.
        let _ = leaves.set(leaf, subleaf, Regs::new(shift.into(), count, domain << 8 | subleaf, 0));
    }
}

/// Makes the highest leaves cover those that tell of the tree.
fn raise_maxima(leaves: &mut Leaves) {
    let has = |leaf| !leaves.get(leaf, 0).is_zero();
    let basic = if has(LEVELS_V2) { LEVELS_V2 } else { LEVELS };
    // One die and one thread make a row of leaf 0x8000001E that is zero but for the vCPU's ids.
    let extended = match (has(AMD_LEVELS), has_compute_units(leaves)) {
        (true, _) => AMD_LEVELS,
        (false, true) => COMPUTE_UNITS,
        (false, false) => 0,
    };
    leaves.change(0, 0, Register::Eax, |eax| eax.max(basic));
    leaves.change(0x8000_0000, 0, Register::Eax, |eax| eax.max(extended));
}

/// Whether leaf 0x8000001E tells of compute units.
fn has_compute_units(leaves: &Leaves) -> bool {
    leaves.vendor().is_amd_like() && leaves.is_set(leaf_80000001::TOPOEXT)
}

/// Whether leaf 0x8000001E has room: eight bits for the threads of a core, the cores of a package and all nodes, three for
/// the nodes of a package (APM vol. 3, E.4.20).
fn fits_compute_units(topology: &Topology) -> bool {
    let TopologyCounts { sockets, dies, threads, .. } = topology.counts();
    let Shifts { core, package, .. } = topology.shifts();
    threads <= 256 && package - core <= 8 && dies <= 8 && u32::from(sockets) * u32::from(dies) <= 256
}

impl Topology {
    /// What leaf 0x8000001E calls a vCPU's core, and its node: the number of the core among the ids of its package, and of
    /// the die in the machine. Both are as AMD's CPUs number them: cores with gaps, nodes without.
    pub(crate) fn core_and_node(&self, apic_id: ApicId) -> (u32, u32) {
        let Shifts { core, die, package, .. } = self.shifts();
        let id = apic_id.x2apic();
        let within = id & ((1 << package) - 1);
        (within >> core, (id >> package) * u32::from(self.counts().dies) + (within >> die))
    }
}
