//! What is fuzzed: a [`Target`] for each parser that meets untrusted bytes, and for what is made of what they take.
//!
//! A target is a function that panics where a law is broken, with the inputs to begin from. Two programs call it: libFuzzer,
//! by the binaries of `libfuzzer/` (a workspace of their own, because it needs a nightly compiler), and a test on the stable
//! one, for a short while, with inputs that a seeded generator makes of the seeds.
//!
//! Seeds are made of the captures in `fixtures/` and of what the project itself writes.
//!
//! To fuzz another parser, add its module, its row in [`TARGETS`], and its binary.
#![expect(clippy::expect_used, clippy::panic, reason = "a panic is how a fuzzer is told of a broken law")]

mod bytes;
mod check;
mod geometries;
mod law;
mod seeds;

pub mod any_format;
pub mod binary;
pub mod capture;
pub mod cpu_map;
pub mod cpuid_r;
pub mod cpuinfo;
pub mod geometry;
pub mod host;
pub mod image;
pub mod image_conversion;
pub mod image_interface;
pub mod instlatx64;
pub mod kvm_json;
pub mod libvirt_cpu;
pub mod libvirt_cpudata;
pub mod libvirt_guest;
pub mod names;
pub mod place;
pub mod policy;
pub mod qemu_cpu;
pub mod qmp;
pub mod saved;
pub mod topology;
pub mod trims;
pub mod xen_featureset;
pub mod xen_policy;

/// One parser with what is thrown at it.
#[derive(Debug)]
pub struct Target {
    /// The name, which the module and the binary have too.
    pub name: &'static str,
    /// Parses the bytes; panics if a law is broken.
    pub run: fn(&[u8]),
    /// The inputs to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the grammar, to be put into inputs.
    pub words: &'static [&'static str],
    /// How long an input may be: short ones run faster, and what is longer says the same once more.
    pub max_len_bytes: usize,
}

/// Every target; those of the formats of dumps come first.
pub const TARGETS: [&Target; 26] = [
    &capture::TARGET,
    &instlatx64::TARGET,
    &cpuid_r::TARGET,
    &cpuinfo::TARGET,
    &xen_featureset::TARGET,
    &xen_policy::TARGET,
    &qmp::TARGET,
    &kvm_json::TARGET,
    &qemu_cpu::TARGET,
    &libvirt_cpudata::TARGET,
    &libvirt_cpu::TARGET,
    &libvirt_guest::TARGET,
    &cpu_map::TARGET,
    &any_format::TARGET,
    &names::TARGET,
    &policy::TARGET,
    &binary::TARGET,
    &saved::TARGET,
    &topology::TARGET,
    &trims::TARGET,
    &place::TARGET,
    &host::TARGET,
    &geometry::TARGET,
    &image::TARGET,
    &image_conversion::TARGET,
    &image_interface::TARGET,
];
