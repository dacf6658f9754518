//! Which actions are tried: every class of illegal values first, then random ones.
#![expect(unsafe_code, reason = "UNSAFETY: names functions that write control registers")]

use selfsame_hypervisor::{Fault, attempt, msr};
use selfsame_xstate::{Component, ComponentSet, Header, MXCSR_INITIAL, RestoreInstruction};

use crate::action::Action;
use crate::control::CONTROLS;
use crate::machine::Machine;
use crate::msr_rules::{MSR_RULES, MsrRule, Takes};
use crate::random::Random;

/// Of XCOMP_BV: the image is compacted (SDM vol. 1, 13.4.2).
const COMPACTED: u64 = 1 << 63;
const EFER: u32 = 0xc000_0080;
/// Not an address, with four levels or five.
const NO_ADDRESS: u64 = 1 << 62;

/// MSRs that no CPU has: outside of every range that the manuals define.
const NO_MSRS: [u32; 6] = [0x2000, 0x1234_5678, 0x3fff_ffff, 0x8000_0000, 0xc000_1000, 0xdead_beef];

/// Yields every class of illegal values, and legal ones beside them.
pub(crate) fn fixed(machine: &Machine, mut each: impl FnMut(Action)) {
    for instruction in &attempt::UNDEFINED {
        each(Action::Undefined(instruction));
    }
    if !machine.is_tcg {
        registers(machine, &mut each);
    }
    for bit in 0..u64::BITS {
        if is_unknown_control(machine, bit) {
            each(Action::Cr4 { bit });
        }
    }
    for index in NO_MSRS {
        each(Action::RdmsrOfNone { index });
        each(Action::WrmsrOfNone { index });
    }
    for rule in &MSR_RULES {
        each(Action::Rdmsr { rule });
        for value in values(rule, machine) {
            each(Action::Wrmsr { rule, value });
        }
    }
    if machine.has_xsave() {
        masks(machine, &mut each);
        headers(machine, &mut each);
    }
    protection_keys(machine, &mut each);
}

/// XCR0 and IA32_XSS: every bit alone, every bit too much, every bit missing.
fn masks(machine: &Machine, each: &mut impl FnMut(Action)) {
    let (xcr0, xss) = (machine.xcr0.bits(), machine.xss.bits());
    for value in [0, xcr0].into_iter().chain((0..64).flat_map(|bit| around(xcr0, bit))) {
        each(Action::Xsetbv { index: 0, value });
    }
    for index in [1, 2, 0x1000, u32::MAX] {
        each(Action::Xsetbv { index, value: xcr0 });
        each(Action::Xgetbv { index });
    }
    each(Action::Xgetbv { index: 0 });
    each(Action::XsetbvWithoutOsxsave { value: xcr0 });
    each(Action::XsetbvWithoutOsxsave { value: 0 });
    each(Action::XgetbvWithoutOsxsave);
    for value in [0, xss].into_iter().chain((0..64).flat_map(|bit| around(xss, bit))) {
        each(Action::Xss { value });
    }
    each(Action::Xsetbv { index: 0, value: xcr0 });
    each(Action::Xss { value: xss });
}

/// Headers in both forms: every bit of both words, every reserved word, every bit of MXCSR.
fn headers(machine: &Machine, each: &mut impl FnMut(Action)) {
    let requested = machine.components();
    let mut instructions = [Some(RestoreInstruction::Xrstor), None];
    if machine.has_xsaves() {
        instructions[1] = Some(RestoreInstruction::Xrstors);
    }
    for instruction in instructions.into_iter().flatten() {
        let mut restore = |header, mxcsr| each(Action::Restore { instruction, header, mxcsr, requested });
        let standard = Header { xstate_bv: 3, ..Header::default() };
        let compacted = Header { xstate_bv: 3, xcomp_bv: COMPACTED | 3, ..Header::default() };
        for header in [Header::default(), standard, compacted] {
            restore(header, MXCSR_INITIAL);
            for bit in 0..64 {
                restore(Header { xstate_bv: header.xstate_bv ^ 1 << bit, ..header }, MXCSR_INITIAL);
                restore(Header { xcomp_bv: header.xcomp_bv ^ 1 << bit, ..header }, MXCSR_INITIAL);
                let both =
                    Header { xstate_bv: header.xstate_bv ^ 1 << bit, xcomp_bv: header.xcomp_bv ^ 1 << bit, ..header };
                restore(both, MXCSR_INITIAL);
            }
            for word in 0..6 {
                let mut reserved = [0; 6];
                if let Some(word) = reserved.get_mut(word) {
                    *word = 1;
                }
                restore(Header { reserved, ..header }, MXCSR_INITIAL);
            }
            for bit in 0..32 {
                restore(header, MXCSR_INITIAL ^ 1 << bit);
            }
        }
    }
    for offset_bytes in [1, 16, 32] {
        each(Action::RestoreAt { offset_bytes });
    }
    for component in [Component::CET_U, Component::CET_S] {
        if machine.xss.contains(component) {
            for words in [[0; 3], [0x40, 0, 0], [0xc00, 0, 0], [NO_ADDRESS, 0, 0], [0, 2, 0], [0, NO_ADDRESS, 0]] {
                each(Action::RestoreCet { component, words });
            }
        }
    }
}

fn protection_keys(machine: &Machine, each: &mut impl FnMut(Action)) {
    if !machine.has("pku") {
        return;
    }
    each(Action::RdpkruWithoutPke);
    for ecx in [0, 1, u32::MAX] {
        each(Action::Rdpkru { ecx });
        for edx in [0, 1, u32::MAX] {
            each(Action::Wrpkru { ecx, edx });
        }
    }
}

/// Values that control and debug registers do not take in 64-bit mode (SDM vol. 3A, 2.5 and 17.2; APM vol. 2, 3.1).
///
/// QEMU's interpreter takes some of them, and does what they say.
fn registers(machine: &Machine, each: &mut impl FnMut(Action)) {
    const PE: u64 = 1 << 0;
    const WP: u64 = 1 << 16;
    const NW: u64 = 1 << 29;
    const PG: u64 = 1 << 31;
    const PAE: u64 = 1 << 5;
    const CET: u64 = 1 << 23;
    const LME: u64 = 1 << 8;
    const SVME: u64 = 1 << 12;
    let (cr0, cr4) = (attempt::cr0(), attempt::cr4());
    let mut write = |name, write, value| each(Action::Register { name, write, value });
    for value in [cr0 & !PE, cr0 & !PG, cr0 & !(PE | PG), cr0 | NW, cr0 | 1 << 32, cr0 | 1 << 63] {
        write("cr0", attempt::write_cr0, value);
    }
    if cr4 & CET != 0 {
        write("cr0", attempt::write_cr0, cr0 & !WP);
    }
    write("cr4", attempt::write_cr4, cr4 & !PAE);
    for value in [16, 1 << 32, 1 << 63] {
        write("cr8", attempt::write_cr8, value);
    }
    for value in [1 << 32, 1 << 63] {
        write("dr6", attempt::write_dr6, attempt::dr6() | value);
        write("dr7", attempt::write_dr7, attempt::dr7() | value);
    }
    // Every CPU in 64-bit mode has it.
    let efer = msr::read(EFER).unwrap_or(0);
    write("efer", write_efer, efer & !LME);
    for bit in (1..8).chain([9]).chain(32..64) {
        write("efer", write_efer, efer | 1 << bit);
    }
    if !machine.has("svm") {
        write("efer", write_efer, efer | SVME);
    }
}

/// Writes EFER.
///
/// # Safety
///
/// As for [`attempt::write_cr4`].
unsafe fn write_efer(value: u64) -> Result<(), Fault> {
    // SAFETY: the caller's.
    unsafe { msr::write(EFER, value) }
}

/// Whether CR4 does not take the bit: it is reserved, or the CPU has none of the features that bring it.
///
/// None is tried on QEMU's interpreter, which raises no fault, but leaves a guest that it does not run.
fn is_unknown_control(machine: &Machine, bit: u32) -> bool {
    /// Bits that every CPU in 64-bit mode has, or that only add restrictions.
    const BASIC: u64 = 0x7ff;
    match CONTROLS.iter().find(|row| row.bit == bit) {
        _ if machine.is_tcg => false,
        Some(row) => !machine.has_any(row.features),
        None => BASIC >> bit & 1 == 0,
    }
}

/// A value with one bit alone, changed, and missing.
fn around(all: u64, bit: u32) -> [u64; 3] {
    [1 << bit, all ^ 1 << bit, all & !(1 << bit)]
}

/// Values for an MSR: such as it takes, and such as it does not; none that switches something on in ring 0.
fn values(rule: &MsrRule, machine: &Machine) -> impl Iterator<Item = u64> + use<> {
    const LAST_ADDRESS: u64 = 0x7fff_ffff_fffc;
    let is_there = rule.is_there(machine);
    let values = match rule.takes {
        Takes::Addresses => [0, LAST_ADDRESS, !LAST_ADDRESS & !3, NO_ADDRESS, 1 << 63],
        // No key is closed that has pages of this program.
        Takes::Low => [0, 0xffff_fffc, 1 << 32, 1 << 63, !3],
        Takes::Cet if is_there => [0, 0x40, 0x200, 0xc00, NO_ADDRESS],
        Takes::Stacks => [0, LAST_ADDRESS, 1, 2, NO_ADDRESS],
        Takes::Xfd | Takes::XfdErr => [0, 1, 1 << 17, 1 << 18, 1 << 63],
        Takes::Cet | Takes::Zero => [0; 5],
    };
    // Equal values are tried once.
    (0..values.len()).filter(move |&at| !values[..at].contains(&values[at])).map(move |at| values[at])
}

/// Something that is tried now and then.
pub(crate) fn random(machine: &Machine, random: &mut Random) -> Action {
    let has_xsave = machine.has_xsave();
    match random.below(16) {
        0..3 if has_xsave => Action::Xsetbv { index: 0, value: near(machine.xcr0.bits(), random) },
        3 if has_xsave => Action::Xsetbv { index: random.next_32() >> random.below(32), value: machine.xcr0.bits() },
        4 if has_xsave => Action::Xgetbv { index: random.next_32() >> random.below(32) },
        5..7 if machine.has_xsaves() => Action::Xss { value: near(machine.xss.bits(), random) },
        7..11 if has_xsave => restore(machine, random),
        11 => Action::Cpuid { leaf: random_leaf(random), subleaf: random.next_32() >> random.below(32) },
        12 => Action::Yield,
        13 => match random.of(&MSR_RULES) {
            Some(rule) => Action::Rdmsr { rule },
            None => Action::Yield,
        },
        14 => random_write(machine, random),
        _ => random_fixed(machine, random),
    }
}

/// A header that is almost right, with anything wrong in it now and then.
fn restore(machine: &Machine, random: &mut Random) -> Action {
    let all = machine.components().bits();
    let is_xrstors = machine.has_xsaves() && random.is_one_of(2);
    let instruction = if is_xrstors { RestoreInstruction::Xrstors } else { RestoreInstruction::Xrstor };
    let places = all & random.next();
    let is_compacted = is_xrstors || random.is_one_of(2);
    let mut header = Header {
        xstate_bv: places & random.next(),
        xcomp_bv: if is_compacted { COMPACTED | places } else { 0 },
        ..Header::default()
    };
    let mut mxcsr = MXCSR_INITIAL;
    match random.below(12) {
        0 => header.xstate_bv ^= 1 << random.below(64),
        1 => header.xcomp_bv ^= 1 << random.below(64),
        2 => header.xcomp_bv ^= COMPACTED,
        3 => {
            let bit = 1 << random.below(64);
            if let Some(word) = usize::try_from(random.below(6)).ok().and_then(|at| header.reserved.get_mut(at)) {
                *word = bit;
            }
        }
        4 => mxcsr ^= 1 << random.below(32),
        _ => {}
    }
    let requested = if random.is_one_of(2) { all } else { all & random.next() };
    Action::Restore { instruction, header, mxcsr, requested: ComponentSet::from_bits(requested) }
}

/// A value that a register might take: some of what it has, and now and then a bit more.
fn near(all: u64, random: &mut Random) -> u64 {
    let value = match random.below(4) {
        0 => all,
        1 => all & (random.next() | random.next()),
        _ => all & random.next() | 1,
    };
    if random.is_one_of(3) { value ^ 1 << random.below(64) } else { value }
}

fn random_leaf(random: &mut Random) -> u32 {
    let at = random.next_32() & 0x3f;
    match random.below(5) {
        0 => 0x4000_0000 | at,
        1 => 0x8000_0000 | at,
        2 => random.next_32(),
        _ => at,
    }
}

fn random_write(machine: &Machine, random: &mut Random) -> Action {
    let Some(rule) = random.of(&MSR_RULES) else { return Action::Yield };
    let at = usize::try_from(random.below(5)).unwrap_or(0);
    values(rule, machine).nth(at).map_or(Action::Rdmsr { rule }, |value| Action::Wrmsr { rule, value })
}

/// One of those that are always tried.
fn random_fixed(machine: &Machine, random: &mut Random) -> Action {
    match random.below(5) {
        0 => match random.of(&attempt::UNDEFINED) {
            Some(instruction) => Action::Undefined(instruction),
            None => Action::Yield,
        },
        1 => {
            // Between the ranges that the manuals define.
            let index = 0x2000 + random.next_32() % 0x1000_0000;
            if random.is_one_of(2) { Action::RdmsrOfNone { index } } else { Action::WrmsrOfNone { index } }
        }
        2 => {
            let [bit, ..] = random.below(64).to_le_bytes();
            let bit = u32::from(bit);
            if is_unknown_control(machine, bit) { Action::Cr4 { bit } } else { Action::Yield }
        }
        3 if machine.has("pku") => Action::Wrpkru { ecx: random.next_32() & 1, edx: random.next_32() & 1 },
        _ if machine.has_xsave() => Action::XgetbvWithoutOsxsave,
        _ => Action::Yield,
    }
}
