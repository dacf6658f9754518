//! libvirt's XML: what its hosts and guests say of their CPUs, its raw test dumps, and its map of models.

mod compare;
mod cpu_map;
mod cpudata;
mod definition;
mod expand;
mod known_children;
mod read;
mod xml;

pub use compare::{Comparison, Fit, GuestError, Obstacle, compare};
pub use cpu_map::{CPU_MAP, CpuMapError};
pub use definition::{CpuDefinition, FeaturePolicy, Match, Mode, NamedFeature, UnknownFeature, Wish};

pub(crate) use cpudata::read as read_cpudata;
pub(crate) use read::read as read_cpus;
