//! How guests read their topology, by the algorithms of the manuals: nothing here knows how a policy was made.

use selfsame_cpuid::{Policy, Regs, VcpuView};

/// A vCPU that executes CPUID.
#[derive(Clone, Copy)]
pub(crate) struct Guest<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) vcpu: VcpuView,
}

/// What 0xB and the legacy leaves tell apart: packages, their cores, and threads.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct CoreOfPackage {
    pub(crate) package: u32,
    pub(crate) core: u32,
    pub(crate) thread: u32,
}

/// All five levels.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Seat {
    pub(crate) package: u32,
    pub(crate) die: u32,
    pub(crate) module: u32,
    pub(crate) core: u32,
    pub(crate) thread: u32,
}

/// What leaf 0x8000001E tells of a vCPU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ComputeUnit {
    pub(crate) package: u32,
    pub(crate) die: u32,
    pub(crate) core: u32,
    pub(crate) thread: u32,
}

/// A cache, and the number that all vCPUs that share it have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cache {
    pub(crate) level: u32,
    pub(crate) share_id: u32,
    /// How many APIC ids share it, rounded up to a power of two: the exponent.
    pub(crate) shift: u32,
}

fn round_up_log2(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

fn low(value: u32, bits: u32) -> u32 {
    value & ((1 << bits) - 1)
}

impl Guest<'_> {
    pub(crate) fn cpuid(&self, leaf: u32, subleaf: u32) -> Regs {
        self.policy.cpuid(leaf, subleaf, &self.vcpu)
    }

    pub(crate) fn has_siblings(&self) -> bool {
        self.cpuid(1, 0).edx >> 28 & 1 == 1
    }

    /// Whether leaf 0xB, 0x1F or 0x80000026 is there: within the maximum, and EBX is not 0.
    fn has_levels(&self, leaf: u32) -> bool {
        self.cpuid(leaf & 0x8000_0000, 0).eax >= leaf && self.cpuid(leaf, 0).ebx != 0
    }

    /// The x2APIC id; and the levels of a leaf: type, shift to the next, logical processors.
    fn levels(&self, leaf: u32) -> (u32, impl Iterator<Item = (u32, u32, u32)>) {
        let id = self.cpuid(leaf, 0).edx;
        let rows = (0..).map(move |subleaf| {
            let regs = self.cpuid(leaf, subleaf);
            assert_eq!((regs.ecx & 0xff, regs.edx), (subleaf, id), "leaf {leaf:#x} subleaf {subleaf}");
            (regs.ecx >> 8 & 0xff, regs.eax & 0x1f, regs.ebx & 0xffff)
        });
        (id, rows.take_while(|&(domain, ..)| domain != 0))
    }

    /// SDM vol. 3A, 9.9.4, from leaf 0xB: what is above the last level is the package.
    pub(crate) fn by_leaf_b(&self) -> CoreOfPackage {
        let (id, levels) = self.levels(0xb);
        let (mut smt, mut last) = (0, 0);
        for (domain, shift, _) in levels {
            if domain == 1 {
                smt = shift;
            }
            last = shift;
        }
        CoreOfPackage { package: id >> last, core: low(id, last) >> smt, thread: low(id, smt) }
    }

    /// The same from leaf 0x1F, with all of its levels; `None` where the leaf is not there, and 0xB must do.
    pub(crate) fn by_leaf_1f(&self) -> Option<Seat> {
        if !self.has_levels(0x1f) {
            return None;
        }
        let mut seat = Seat { package: 0, die: 0, module: 0, core: 0, thread: 0 };
        let (id, levels) = self.levels(0x1f);
        let mut below = 0;
        for (domain, shift, _) in levels {
            let number = low(id, shift) >> below;
            match domain {
                1 => seat.thread = number,
                2 => seat.core = number,
                3 => seat.module = number,
                5 => seat.die = number,
                other => unreachable!("no level {other} was asked for"),
            }
            below = shift;
        }
        seat.package = id >> below;
        Some(seat)
    }

    /// SDM vol. 3A, 9.9.3 and 9.9.4, from leaves 1 and 4 and the eight bits of the initial APIC id. Their fields also have
    /// values that stand for more than can be said; the manual sends software to leaf 0xB then.
    pub(crate) fn by_leaves_1_and_4(&self) -> CoreOfPackage {
        let leaf_1 = self.cpuid(1, 0);
        let id = leaf_1.ebx >> 24;
        if !self.has_siblings() {
            return CoreOfPackage { package: id, core: 0, thread: 0 };
        }
        let last = round_up_log2(leaf_1.ebx >> 16 & 0xff);
        let cores = round_up_log2((self.cpuid(4, 0).eax >> 26) + 1);
        let smt = last - cores;
        CoreOfPackage { package: id >> last, core: low(id, last) >> smt, thread: low(id, smt) }
    }

    /// Leaf 4 or 0x8000001D: SDM vol. 2A, CPUID.04H; APM vol. 3, E.4.19.
    pub(crate) fn caches(&self, leaf: u32) -> impl Iterator<Item = Cache> {
        let id = self.cpuid(0xb, 0).edx;
        let rows = (0..8).map(move |subleaf| self.cpuid(leaf, subleaf).eax).take_while(|eax| eax & 0x1f != 0);
        rows.map(move |eax| {
            let shift = round_up_log2((eax >> 14 & 0xfff) + 1);
            Cache { level: eax >> 5 & 7, share_id: id >> shift, shift }
        })
    }

    /// APM vol. 3, E.5.1 and E.5.2: the logical processors of a package by the legacy method and by the extended one, and
    /// the package.
    pub(crate) fn by_leaves_1_and_80000008(&self) -> (u32, u32, u32) {
        let leaf_1 = self.cpuid(1, 0);
        let is_cmp_legacy = self.cpuid(0x8000_0001, 0).ecx >> 1 & 1 == 1;
        assert_eq!(is_cmp_legacy, self.has_siblings());
        let legacy = if self.has_siblings() { leaf_1.ebx >> 16 & 0xff } else { 1 };
        let ecx = self.cpuid(0x8000_0008, 0).ecx;
        let count = (ecx & 0xff) + 1;
        let size = if ecx >> 12 & 0xf != 0 { ecx >> 12 & 0xf } else { round_up_log2(count) };
        (legacy, count, self.cpuid(0xb, 0).edx >> size)
    }

    /// APM vol. 3, E.4.20.
    pub(crate) fn by_leaf_8000001e(&self) -> ComputeUnit {
        let Regs { eax: id, ebx, ecx, .. } = self.cpuid(0x8000_001e, 0);
        let threads = (ebx >> 8 & 0xff) + 1;
        let (nodes, node) = ((ecx >> 8 & 7) + 1, ecx & 0xff);
        ComputeUnit {
            package: node / nodes,
            die: node % nodes,
            core: ebx & 0xff,
            thread: low(id, round_up_log2(threads)),
        }
    }

    /// APM vol. 3, E.4.24; `None` where the leaf is not there.
    pub(crate) fn by_leaf_80000026(&self) -> Option<Seat> {
        if !self.has_levels(0x8000_0026) {
            return None;
        }
        let (id, levels) = self.levels(0x8000_0026);
        let mut shifts = [0; 4];
        for ((domain, shift, _), expected) in levels.zip(1..) {
            assert_eq!(domain, expected);
            shifts[domain as usize - 1] = shift;
        }
        let [core, complex, die, socket] = shifts;
        Some(Seat {
            package: id >> socket,
            die: low(id, socket) >> die,
            module: low(id, die) >> complex,
            core: low(id, complex) >> core,
            thread: low(id, core),
        })
    }

    /// The logical processors that each level of a leaf counts; none where the leaf is not there.
    pub(crate) fn counts(&self, leaf: u32) -> Vec<u32> {
        if self.has_levels(leaf) { self.levels(leaf).1.map(|(.., count)| count).collect() } else { Vec::new() }
    }
}
