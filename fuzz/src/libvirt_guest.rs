//! A guest's `<cpu>`, held against a host.

use std::sync::LazyLock;

use selfsame_cpuid::{Host, Kind, Trims};
use selfsame_formats::Models;
use selfsame_formats::libvirt::{CpuDefinition, Fit, compare};

use crate::libvirt_cpu::{WORDS, elements};
use crate::{Target, seeds};

/// The target.
pub const TARGET: Target = Target { name: "libvirt_guest", run, seeds: elements, words: WORDS, max_len_bytes: 1024 };

/// Reads the bytes; a guest whose CPU is known does not fit exactly if something is in its way.
pub fn run(bytes: &[u8]) {
    static HOST: LazyLock<Host> = LazyLock::new(|| {
        let machine = seeds::machines().pop().expect("a machine");
        Host::from_hardware(&machine.raw().leaves, Kind::Kvm, &Trims::NONE)
    });
    let Ok(definition) = CpuDefinition::parse(bytes) else { return };
    let Ok(comparison) = compare(&HOST, &definition, Models::known()) else { return };
    assert_eq!(comparison.fit == Fit::Incompatible, !comparison.obstacles.is_empty());
}
