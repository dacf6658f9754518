//! How many sockets, dies, modules, cores and threads a guest has.

use core::fmt;
use core::str::FromStr;

/// The shape of a guest's processor tree: each count is per instance of the level above it, at least 1.
///
/// ```
/// use selfsame_cpuid::Topology;
///
/// let topology: Topology = "sockets=2 cores=8 threads=2".parse()?;
/// assert_eq!((topology.dies, topology.threads), (1, 2));
/// assert_eq!(topology.to_string(), "sockets=2 cores=8 threads=2");
/// # Ok::<(), selfsame_cpuid::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct Topology {
    /// Packages.
    pub sockets: u16,
    /// Dies of a package.
    pub dies: u16,
    /// Modules of a die.
    pub modules: u16,
    /// Cores of a module.
    pub cores: u16,
    /// Threads of a core.
    pub threads: u16,
}

impl Topology {
    /// One thread on one core.
    pub const ONE: Self = Self { sockets: 1, dies: 1, modules: 1, cores: 1, threads: 1 };

    fn levels(&self) -> [(&'static str, u16); 5] {
        [
            ("sockets", self.sockets),
            ("dies", self.dies),
            ("modules", self.modules),
            ("cores", self.cores),
            ("threads", self.threads),
        ]
    }
}

/// Why a text is not a [`Topology`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Not `KEY=NUMBER`, or a key that is no level, or a level twice.
    #[error("expected sockets=N dies=N modules=N cores=N threads=N, each at most once")]
    Malformed,
    /// A count is zero or above 65535.
    #[error("every count is from 1 to 65535")]
    OutOfRange,
}

impl FromStr for Topology {
    type Err = TopologyError;

    /// Reads `KEY=NUMBER` pairs, separated by spaces or commas; a level that is not named counts 1.
    fn from_str(text: &str) -> Result<Self, TopologyError> {
        let mut topology = Self { sockets: 0, dies: 0, modules: 0, cores: 0, threads: 0 };
        for pair in text.split([' ', ',']).filter(|pair| !pair.is_empty()) {
            let (key, number) = pair.split_once('=').ok_or(TopologyError::Malformed)?;
            let level = match key {
                "sockets" => &mut topology.sockets,
                "dies" => &mut topology.dies,
                "modules" => &mut topology.modules,
                "cores" => &mut topology.cores,
                "threads" => &mut topology.threads,
                _ => return Err(TopologyError::Malformed),
            };
            if *level != 0 || number.starts_with('+') {
                return Err(TopologyError::Malformed);
            }
            *level = number.parse().map_err(|_| TopologyError::OutOfRange)?;
            if *level == 0 {
                return Err(TopologyError::OutOfRange);
            }
        }
        for level in [
            &mut topology.sockets,
            &mut topology.dies,
            &mut topology.modules,
            &mut topology.cores,
            &mut topology.threads,
        ] {
            *level = (*level).max(1);
        }
        Ok(topology)
    }
}

impl fmt::Display for Topology {
    /// Writes sockets, cores and threads, and the levels between where they are more than one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, count) in self.levels() {
            if count > 1 || !matches!(name, "dies" | "modules") {
                write!(f, "{separator}{name}={count}")?;
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
        ] {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), text);
        }
        assert_eq!("".parse(), Ok(Topology::ONE));
        assert_eq!("sockets=2,dies=2".parse::<Topology>().unwrap().dies, 2);
    }

    #[test]
    fn impossible_topologies_are_refused() {
        for text in ["sockets=0", "sockets=65536", "sockets=-1", "cores=2 cores=2", "clusters=2", "cores"] {
            assert!(text.parse::<Topology>().is_err(), "{text}");
        }
    }
}
