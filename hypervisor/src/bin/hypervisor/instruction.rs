//! The little that is decoded of a guest's instructions, for CPUs that do not say it: AMD's decode assists and next RIP
//! are not everywhere.

use crate::guest_memory::GuestMemory;
use crate::virtual_cpu::ModeState;

/// No instruction is longer (SDM vol. 2A, 2.3.11).
const MAX_BYTES: u64 = 15;

/// The prefixes before an opcode, the last of which may be REX.
struct Prefixes {
    len_bytes: u8,
    rex: u8,
}

fn prefixes(mode: &ModeState, memory: &GuestMemory) -> Prefixes {
    let (mut len_bytes, mut rex) = (0, 0);
    while u64::from(len_bytes) < MAX_BYTES {
        match memory.byte(mode.rip.wrapping_add(len_bytes.into()), mode) {
            Some(0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3) => rex = 0,
            Some(byte @ 0x40..=0x4f) if mode.is_64_bit_code => rex = byte,
            _ => break,
        }
        len_bytes += 1;
    }
    Prefixes { len_bytes, rex }
}

/// How long the instruction at RIP is, which is CPUID, RDMSR, WRMSR, XSETBV or HLT.
pub(crate) fn len_bytes(mode: &ModeState, memory: &GuestMemory) -> u8 {
    let Prefixes { len_bytes, .. } = prefixes(mode, memory);
    let byte = |at: u8| memory.byte(mode.rip.wrapping_add(u64::from(len_bytes) + u64::from(at)), mode);
    len_bytes
        + match (byte(0), byte(1)) {
            (Some(0xf4), _) => 1,
            (Some(0x0f), Some(0x01)) => 3,
            _ => 2,
        }
}

/// The number of the general register that the instruction at RIP moves to a control register below CR8, and its length;
/// `None` if it is another instruction.
pub(crate) fn mov_to_cr(number: u8, mode: &ModeState, memory: &GuestMemory) -> Option<(u8, u8)> {
    const REX_R: u8 = 1 << 2;
    const REX_B: u8 = 1 << 0;
    let Prefixes { len_bytes, rex } = prefixes(mode, memory);
    let byte = |at: u8| memory.byte(mode.rip.wrapping_add(u64::from(len_bytes) + u64::from(at)), mode);
    let (0x0f, 0x22, operands) = (byte(0)?, byte(1)?, byte(2)?) else { return None };
    let is_meant = operands >> 3 & 7 == number && rex & REX_R == 0;
    is_meant.then_some((operands & 7 | (rex & REX_B) << 3, len_bytes + 3))
}
