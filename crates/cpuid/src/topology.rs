//! How many sockets, dies, modules, cores and threads a guest has, and where in that tree each vCPU is.

use core::fmt;
use core::str::FromStr;

use crate::apic_id::ApicId;

/// How many of each level there are in one instance of the level above it.
///
/// ```
/// use selfsame_cpuid::{TopologyCounts, Topology};
///
/// let topology = Topology::new(TopologyCounts { sockets: 2, cores: 6, ..TopologyCounts::ONE })?;
/// assert_eq!(topology.vcpus(), 12);
/// # Ok::<(), selfsame_cpuid::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct TopologyCounts {
    /// Packages.
    pub sockets: u16,
    /// Dies of a package. On AMD also the nodes of leaf 0x8000001E.
    pub dies: u16,
    /// Modules of a die; on AMD core complexes.
    pub modules: u16,
    /// Cores of a module.
    pub cores: u16,
    /// Threads of a core.
    pub threads: u16,
}

impl TopologyCounts {
    /// One thread on one core.
    pub const ONE: Self = Self { sockets: 1, dies: 1, modules: 1, cores: 1, threads: 1 };

    const fn levels(&self) -> [(TopologyLevel, u16); 5] {
        [
            (TopologyLevel::Sockets, self.sockets),
            (TopologyLevel::Dies, self.dies),
            (TopologyLevel::Modules, self.modules),
            (TopologyLevel::Cores, self.cores),
            (TopologyLevel::Threads, self.threads),
        ]
    }

    const fn of(&mut self, level: TopologyLevel) -> &mut u16 {
        match level {
            TopologyLevel::Sockets => &mut self.sockets,
            TopologyLevel::Dies => &mut self.dies,
            TopologyLevel::Modules => &mut self.modules,
            TopologyLevel::Cores => &mut self.cores,
            TopologyLevel::Threads => &mut self.threads,
        }
    }
}

/// One level of a [`Topology`]; prints as its key in files and on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum TopologyLevel {
    /// Packages.
    Sockets,
    /// Dies.
    Dies,
    /// Modules.
    Modules,
    /// Cores.
    Cores,
    /// Threads.
    Threads,
}

impl TopologyLevel {
    /// All levels, the widest first.
    pub const ALL: [Self; 5] = [Self::Sockets, Self::Dies, Self::Modules, Self::Cores, Self::Threads];

    /// The key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Dies => "dies",
            Self::Modules => "modules",
            Self::Cores => "cores",
            Self::Threads => "threads",
        }
    }
}

impl fmt::Display for TopologyLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a vCPU is: the number of each level, from 0, within the level above it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct VcpuPosition {
    /// The package.
    pub socket: u16,
    /// The die of the package.
    pub die: u16,
    /// The module of the die.
    pub module: u16,
    /// The core of the module.
    pub core: u16,
    /// The thread of the core.
    pub thread: u16,
}

/// The shape of a guest's processor tree, and the fields of its APIC ids.
///
/// vCPUs are numbered thread by thread, then core by core. An APIC id has a field for each level, the thread's lowest, as
/// wide as the greatest number of its level needs; counts that are no powers of two leave ids unused (SDM vol. 3A, 9.9.1;
/// APM vol. 3, E.5).
///
/// ```
/// use selfsame_cpuid::{ApicId, Topology};
///
/// let topology: Topology = "sockets=2 cores=6 threads=2".parse()?;
/// assert_eq!(topology.vcpus(), 24);
/// assert_eq!(topology.apic_id(11), Some(ApicId::new(11)));
/// assert_eq!(topology.apic_id(12), Some(ApicId::new(16)), "a package has ids for eight cores");
/// assert_eq!(topology.index_of(ApicId::new(16)), Some(12));
/// assert_eq!(topology.index_of(ApicId::new(12)), None);
/// assert_eq!(topology.to_string(), "sockets=2 cores=6 threads=2");
/// # Ok::<(), selfsame_cpuid::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct Topology {
    counts: TopologyCounts,
    shifts: Shifts,
}

/// How far an APIC id is shifted to the right until only the number of the core is left, of the module and so on, each
/// counted over the whole machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(crate) struct Shifts {
    pub(crate) core: u8,
    pub(crate) module: u8,
    pub(crate) die: u8,
    pub(crate) package: u8,
}

/// The widest that the ids of one package may be: the four bits of leaf 0x80000008 ECX\[15:12\] say no more, and the
/// counts of leaf 0xB have 16. With 16 bits of sockets, an id has 31 bits at most.
const MAX_PACKAGE_BITS: u8 = 15;

impl Topology {
    /// One thread on one core.
    pub const ONE: Self =
        Self { counts: TopologyCounts::ONE, shifts: Shifts { core: 0, module: 0, die: 0, package: 0 } };

    /// The tree with these counts.
    ///
    /// # Errors
    ///
    /// A count is zero, or a package has more APIC ids than leaves can tell.
    pub const fn new(counts: TopologyCounts) -> Result<Self, TopologyError> {
        let levels = counts.levels();
        let mut i = 0;
        while i < levels.len() {
            if levels[i].1 == 0 {
                return Err(TopologyError::OutOfRange { level: levels[i].0 });
            }
            i += 1;
        }
        let core = width_bits(counts.threads);
        let module = core + width_bits(counts.cores);
        let die = module + width_bits(counts.modules);
        let package = die + width_bits(counts.dies);
        if package > MAX_PACKAGE_BITS {
            return Err(TopologyError::TooWide { bits: package });
        }
        Ok(Self { counts, shifts: Shifts { core, module, die, package } })
    }

    /// How many there are of each level.
    pub const fn counts(&self) -> TopologyCounts {
        self.counts
    }

    /// How many vCPUs there are.
    pub const fn vcpus(&self) -> u32 {
        self.counts.sockets as u32 * self.threads_of_package()
    }

    /// The APIC id of the vCPU `index`, from 0; `None` beyond the last.
    pub fn apic_id(&self, index: u32) -> Option<ApicId> {
        let VcpuPosition { socket, die, module, core, thread } = self.position(index)?;
        let Shifts { core: at_core, module: at_module, die: at_die, package } = self.shifts;
        let fields = [(socket, package), (die, at_die), (module, at_module), (core, at_core), (thread, 0)];
        Some(ApicId::new(fields.into_iter().fold(0, |id, (number, shift)| id | u32::from(number) << shift)))
    }

    /// The greatest APIC id.
    pub fn last_apic_id(&self) -> ApicId {
        self.apic_id(self.vcpus() - 1).unwrap_or_default()
    }

    /// Where the vCPU `index` is; `None` beyond the last.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of 16 bits")]
    pub const fn position(&self, index: u32) -> Option<VcpuPosition> {
        if index >= self.vcpus() {
            return None;
        }
        let TopologyCounts { dies, modules, cores, threads, .. } = self.counts;
        let of_cores = index / threads as u32;
        let of_modules = of_cores / cores as u32;
        let of_dies = of_modules / modules as u32;
        Some(VcpuPosition {
            socket: (of_dies / dies as u32) as u16,
            die: (of_dies % dies as u32) as u16,
            module: (of_modules % modules as u32) as u16,
            core: (of_cores % cores as u32) as u16,
            thread: (index % threads as u32) as u16,
        })
    }

    /// Where the vCPU with this APIC id is; `None` where no vCPU has it.
    pub fn position_of(&self, apic_id: ApicId) -> Option<VcpuPosition> {
        let Shifts { core: at_core, module: at_module, die: at_die, package } = self.shifts;
        let mut rest = apic_id.x2apic();
        let mut field = |width_bits: u8, count: u16| {
            let number = rest & ((1 << width_bits) - 1);
            rest >>= width_bits;
            u16::try_from(number).ok().filter(|&number| number < count)
        };
        let thread = field(at_core, self.counts.threads)?;
        let core = field(at_module - at_core, self.counts.cores)?;
        let module = field(at_die - at_module, self.counts.modules)?;
        let die = field(package - at_die, self.counts.dies)?;
        let socket = u16::try_from(rest).ok().filter(|&socket| socket < self.counts.sockets)?;
        Some(VcpuPosition { socket, die, module, core, thread })
    }

    /// The vCPU with this APIC id; `None` where none has it.
    pub fn index_of(&self, apic_id: ApicId) -> Option<u32> {
        let VcpuPosition { socket, die, module, core, thread } = self.position_of(apic_id)?;
        let TopologyCounts { dies, modules, cores, threads, .. } = self.counts;
        let levels = [(die, dies), (module, modules), (core, cores), (thread, threads)];
        Some(
            levels
                .into_iter()
                .fold(u32::from(socket), |index, (number, count)| index * u32::from(count) + u32::from(number)),
        )
    }

    pub(crate) const fn shifts(&self) -> Shifts {
        self.shifts
    }

    pub(crate) const fn threads_of_module(&self) -> u32 {
        self.counts.cores as u32 * self.counts.threads as u32
    }

    pub(crate) const fn threads_of_die(&self) -> u32 {
        self.counts.modules as u32 * self.threads_of_module()
    }

    pub(crate) const fn threads_of_package(&self) -> u32 {
        self.counts.dies as u32 * self.threads_of_die()
    }
}

/// The bits that the numbers from 0 to `count` - 1 need.
#[expect(clippy::cast_possible_truncation, reason = "at most 16")]
const fn width_bits(count: u16) -> u8 {
    (u16::BITS - (count - 1).leading_zeros()) as u8
}

/// Why a text or some counts are not a [`Topology`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Not `KEY=NUMBER`, or a key that is no level.
    #[error("expected sockets=N,dies=N,modules=N,cores=N,threads=N; what is left out counts 1")]
    Malformed,
    /// A level twice.
    #[error("{level} is there twice")]
    Repeated {
        /// The level.
        level: TopologyLevel,
    },
    /// A count is no number, zero or above 65535.
    #[error("{level} must be a number from 1 to 65535")]
    OutOfRange {
        /// The level.
        level: TopologyLevel,
    },
    /// The APIC ids of one package do not fit the leaves that tell of them.
    #[error(
        "the apic ids of one socket take {bits} bits, each count rounded up to a power of two; {MAX_PACKAGE_BITS} is the most"
    )]
    TooWide {
        /// What they take.
        bits: u8,
    },
}

impl FromStr for Topology {
    type Err = TopologyError;

    /// Reads `KEY=NUMBER` pairs, separated by spaces or commas; a level that is not named counts 1.
    fn from_str(text: &str) -> Result<Self, TopologyError> {
        let mut counts = TopologyCounts { sockets: 0, dies: 0, modules: 0, cores: 0, threads: 0 };
        for pair in text.split([' ', ',']) {
            let (key, number) = pair.split_once('=').ok_or(TopologyError::Malformed)?;
            let level =
                TopologyLevel::ALL.into_iter().find(|level| level.name() == key).ok_or(TopologyError::Malformed)?;
            if *counts.of(level) != 0 {
                return Err(TopologyError::Repeated { level });
            }
            let count = number.parse().ok().filter(|&count| count != 0 && !number.starts_with('+'));
            *counts.of(level) = count.ok_or(TopologyError::OutOfRange { level })?;
        }
        for level in TopologyLevel::ALL {
            *counts.of(level) = (*counts.of(level)).max(1);
        }
        Self::new(counts)
    }
}

impl fmt::Display for Topology {
    /// Writes sockets, cores and threads, and the levels between where they are more than one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (level, count) in self.counts.levels() {
            if count > 1 || !matches!(level, TopologyLevel::Dies | TopologyLevel::Modules) {
                write!(f, "{separator}{level}={count}")?;
                separator = " ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn topologies_are_read_back_as_they_are_written() {
        for text in [
            "sockets=1 cores=1 threads=1",
            "sockets=2 dies=3 cores=8 threads=2",
            "sockets=1 modules=4 cores=1 threads=1",
            "sockets=65535 cores=32768 threads=1",
        ] {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), text);
        }
        assert_eq!("sockets=1".parse(), Ok(Topology::ONE));
        assert_eq!("threads=2,dies=2".parse::<Topology>().unwrap().to_string(), "sockets=1 dies=2 cores=1 threads=2");
    }

    #[test]
    fn impossible_topologies_are_refused_by_the_level_that_is_wrong() {
        let cases = [
            ("", TopologyError::Malformed),
            ("cores", TopologyError::Malformed),
            ("clusters=2", TopologyError::Malformed),
            ("cores=2,,threads=2", TopologyError::Malformed),
            ("sockets=0", TopologyError::OutOfRange { level: TopologyLevel::Sockets }),
            ("sockets=65536", TopologyError::OutOfRange { level: TopologyLevel::Sockets }),
            ("dies=-1", TopologyError::OutOfRange { level: TopologyLevel::Dies }),
            ("modules=+1", TopologyError::OutOfRange { level: TopologyLevel::Modules }),
            ("threads=3x", TopologyError::OutOfRange { level: TopologyLevel::Threads }),
            ("cores=2 cores=2", TopologyError::Repeated { level: TopologyLevel::Cores }),
            ("cores=32769", TopologyError::TooWide { bits: 16 }),
            ("dies=3,modules=3,cores=65,threads=129", TopologyError::TooWide { bits: 19 }),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Topology>(), Err(error), "{text}");
        }
        let none = TopologyCounts { cores: 0, ..TopologyCounts::ONE };
        assert_eq!(Topology::new(none), Err(TopologyError::OutOfRange { level: TopologyLevel::Cores }));
    }

    #[test]
    fn ids_beyond_the_tree_have_no_vcpu() {
        let topology: Topology = "sockets=2,dies=3,cores=5,threads=3".parse().unwrap();
        assert_eq!(topology.apic_id(topology.vcpus()), None);
        assert_eq!(topology.position(u32::MAX), None);
        assert_eq!(topology.index_of(topology.last_apic_id()), Some(89));
        // A fourth thread, a sixth core, a fourth die, a third socket, and the address of all.
        for id in [3, 5 << 2, 3 << 5, 2 << 7, 0x8000_0000, u32::MAX] {
            assert_eq!(topology.index_of(ApicId::new(id)), None, "{id:#x}");
        }
    }
}
