//! Contents for components: random, and such as registers take and give back.

use selfsame_xstate::{Component, ComponentSet};

use crate::machine::Machine;
use crate::random::Random;

/// What makes contents of one component, as a CPU would save them.
#[derive(Clone, Copy)]
enum Fill {
    /// Registers that take anything: numbers that all differ, so that what moves is seen.
    Numbers,
    /// Fields, put into zeros.
    Fields(fn(&mut [u8], &mut Random, &Machine)),
}

/// Every component that this program can use; MXCSR is apart.
const FILLS: &[(Component, Fill)] = &[
    (Component::X87, Fill::Fields(x87)),
    (Component::SSE, Fill::Numbers),
    (Component::AVX, Fill::Numbers),
    (Component::BNDREGS, Fill::Numbers),
    (Component::BNDCSR, Fill::Fields(bndcsr)),
    (Component::OPMASK, Fill::Numbers),
    (Component::ZMM_HI256, Fill::Numbers),
    (Component::HI16_ZMM, Fill::Numbers),
    (Component::PKRU, Fill::Fields(pkru)),
    (Component::CET_U, Fill::Fields(cet_u)),
    (Component::CET_S, Fill::Fields(|bytes, random, _| words(bytes, || random.address() & !3))),
    (Component::UINTR, Fill::Fields(uintr)),
    (Component::XTILECFG, Fill::Fields(xtilecfg)),
    (Component::XTILEDATA, Fill::Numbers),
    (Component::APX, Fill::Numbers),
];

/// The components that contents are made for.
pub(crate) fn known() -> ComponentSet {
    FILLS.iter().map(|&(component, _)| component).collect()
}

/// Makes contents for a component; where none are known for it, nothing is written.
pub(crate) fn fill(component: Component, bytes: &mut [u8], random: &mut Random, machine: &Machine) {
    match FILLS.iter().find(|(own, _)| *own == component) {
        Some((_, Fill::Numbers)) => {
            let (mut number, step) = (random.next(), random.next() | 1);
            words(bytes, || {
                number = number.wrapping_add(step);
                number
            });
        }
        Some((_, Fill::Fields(put))) => {
            bytes.fill(0);
            put(bytes, random, machine);
        }
        None => {}
    }
}

/// A value of MXCSR that the CPU takes.
pub(crate) fn mxcsr(random: &mut Random, machine: &Machine) -> u32 {
    random.next_32() & machine.mxcsr_mask.bits()
}

fn words(bytes: &mut [u8], mut next: impl FnMut() -> u64) {
    for word in bytes.as_chunks_mut().0 {
        *word = next().to_le_bytes();
    }
}

/// Writes a little-endian number at `at`.
fn put<const LEN: usize>(bytes: &mut [u8], at: usize, value: [u8; LEN]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}

/// Control, status, tags, pointers and registers (SDM vol. 1, 13.5.1); bytes 24 to 31 are MXCSR's.
fn x87(bytes: &mut [u8], random: &mut Random, machine: &Machine) {
    /// Of the control word: bit 6 is one, bits 7 and 13 to 15 are zero (SDM vol. 1, 8.1.5).
    const CONTROL: (u16, u16) = (0x1f3f, 0x40);
    const EXCEPTIONS: u16 = 0x3f;
    /// Of the status word: ES and B follow from the exceptions (SDM vol. 1, 8.1.3.3).
    const PENDING: u16 = 0x8080;
    const OPCODE: u16 = 0x7ff;

    let [a, b, c, d, e, f, g, _] = random.next().to_le_bytes();
    let control = u16::from_le_bytes([a, b]) & CONTROL.0 | CONTROL.1;
    let status = u16::from_le_bytes([c, d]) & !PENDING;
    let is_pending = status & !control & EXCEPTIONS != 0;
    let status = if is_pending { status | PENDING } else { status };
    put(bytes, 0, control.to_le_bytes());
    put(bytes, 2, status.to_le_bytes());
    put(bytes, 4, [e]);
    if machine.kept.x87_pointers {
        put(bytes, 6, (u16::from_le_bytes([f, g]) & OPCODE).to_le_bytes());
        put(bytes, 8, random.address().to_le_bytes());
        put(bytes, 16, random.address().to_le_bytes());
    }
    for register in bytes.as_chunks_mut::<16>().0.iter_mut().skip(2) {
        put(register, 0, random.next().to_le_bytes());
        put(register, 8, random.next_32().to_le_bytes().first_chunk::<2>().copied().unwrap_or_default());
    }
}

/// BNDCFGU has bits 0 and 1 and the base of a page; BNDSTATUS takes anything.
fn bndcsr(bytes: &mut [u8], random: &mut Random, _: &Machine) {
    put(bytes, 0, (random.address() & !0xffc).to_le_bytes());
    put(bytes, 8, random.next().to_le_bytes());
}

fn pkru(bytes: &mut [u8], random: &mut Random, _: &Machine) {
    put(bytes, 0, random.next_32().to_le_bytes());
}

/// U_CET and PL3_SSP; nothing here runs in ring 3.
fn cet_u(bytes: &mut [u8], random: &mut Random, machine: &Machine) {
    put(bytes, 0, (random.address() & machine.cet_bits).to_le_bytes());
    put(bytes, 8, (random.address() & !3).to_le_bytes());
}

/// The bits that IA32_U_CET and IA32_S_CET have on a CPU (SDM vol. 1, 17.2), of which a random address has some; not
/// SUPPRESS, which excludes TRACKER.
pub(crate) fn cet_bits(has_shadow_stacks: bool, has_branch_tracking: bool) -> u64 {
    /// SH_STK_EN, WR_SHSTK_EN.
    const SHADOW_STACKS: u64 = 0x3;
    /// ENDBR_EN, LEG_IW_EN, NO_TRACK_EN, SUPPRESS_DIS, TRACKER, and the base of the bitmap.
    const TRACKING: u64 = !0xfff | 0x83c;
    let stacks = if has_shadow_stacks { SHADOW_STACKS } else { 0 };
    let tracking = if has_branch_tracking { TRACKING } else { 0 };
    stacks | tracking
}

/// Six registers (SDM vol. 1, 13.5.11): UIHANDLER, UISTACKADJUST, UINV and UITTSZ and UIF, UPIDADDR, UIRR, UITTADDR.
fn uintr(bytes: &mut [u8], random: &mut Random, _: &Machine) {
    /// UITTSZ, UINV, UIF.
    const MISC: u64 = 0x8000_00ff_ffff_ffff;
    put(bytes, 0, random.address().to_le_bytes());
    put(bytes, 8, (random.address() & !6).to_le_bytes());
    put(bytes, 16, (random.next() & MISC).to_le_bytes());
    put(bytes, 24, (random.address() & !0x3f).to_le_bytes());
    put(bytes, 32, random.next().to_le_bytes());
    put(bytes, 40, (random.address() & !0xe).to_le_bytes());
}

/// Palette 1: eight tiles of at most 16 rows of 64 bytes (SDM vol. 2, LDTILECFG).
///
/// A tile has as many rows as a row has bytes: Bochs 3.1 exchanges the two numbers when it saves them.
fn xtilecfg(bytes: &mut [u8], random: &mut Random, _: &Machine) {
    const PALETTE: u8 = 1;
    let [start_row, ..] = random.below(16).to_le_bytes();
    put(bytes, 0, [PALETTE, start_row]);
    for tile in 0..8 {
        let [rows, ..] = random.below(17).to_le_bytes();
        put(bytes, 16 + 2 * tile, [rows, 0]);
        put(bytes, 48 + tile, [rows]);
    }
}
