//! What guests are given on a machine, whatever its leaves say: what every dump ends in.

use std::sync::LazyLock;

use selfsame_cpuid::{Check, Host, Kind, Leaves, Trims};

use crate::bytes::Bytes;
use crate::{Target, seeds};

/// The target.
pub const TARGET: Target = Target { name: "host", run, seeds, words: &[], max_len_bytes: 512 };

/// Reads a machine, a kind of guest, who speaks for the machine (its hardware, a hypervisor, a VMM), and leaves to put over
/// the machine's: the policies are possible, and the host accepts its own default.
pub fn run(bytes: &[u8]) {
    static MACHINES: LazyLock<Vec<Leaves>> =
        LazyLock::new(|| seeds::machines().iter().map(|dump| dump.raw().leaves).collect());
    let mut input = Bytes::new(bytes);
    let (machine, view) = (usize::from(input.u8()), usize::from(input.u8()));
    let Some(mut raw) = MACHINES.get(machine % MACHINES.len()).cloned() else { return };
    let kind = Kind::ALL[view % Kind::ALL.len()];
    let host = [Host::from_hardware, Host::from_offered, Host::from_vmm][view / Kind::ALL.len() % 3];
    while !input.is_empty() {
        let (leaf, subleaf) = place(input.u8());
        let registers = [input.u32(), input.u32(), input.u32(), input.u32()];
        // What no policy holds is not a host's.
        let _ = raw.set(leaf, subleaf, registers.into());
    }
    let host = host(&raw, kind, &Trims::NONE);
    for policy in [host.default(), host.max()] {
        policy.verify(|fault| panic!("{}: {fault}", fault.what()));
    }
    assert!(Check::new(host.default(), &host).is_accepted());
}

/// Leaf 0xD first of all, then the first basic and extended leaves.
const fn place(number: u8) -> (u32, u32) {
    let number = number as u32;
    match number {
        0..63 => (0xd, number),
        63..128 => (number - 63, 0),
        128..136 => (0x7, number - 128),
        136..144 => (0x4, number - 136),
        144..254 => (0x8000_0000 + number - 144, 0),
        _ => (0x4000_0000 + number - 254, 0),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let row = |number: u8, registers: [u32; 4]| [&[number], registers.map(u32::to_le_bytes).as_flattened()].concat();
    let rows =
        [row(0, [0x2E7, 0x240, 0xA88, 0]), row(64, [0x806F8, 0, 0x7FFE_F3BF, 0xBFEB_FBFF]), row(128, [2, 0, 0, 0])];
    let changed = (0..12).map(|number| [&[number, number], rows.concat().as_slice()].concat());
    // Machines as they are, but for CET_U, which lies where the standard format has none.
    let misplaced = (0..16).map(|machine| [&[machine, 0], row(11, [16, 0x40, 1, 0]).as_slice()].concat());
    changed.chain(misplaced).collect()
}
