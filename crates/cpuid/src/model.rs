//! Which leaves and MSRs a policy holds, and where each lies in its memory.
//!
//! Every (leaf, subleaf) of the model is one *slot* of four registers. Slots with named bits or levelled values come
//! first, in the order of their places, so that the loops of levelling and checking run over one short, dense array;
//! slots that are only kept (cache, topology, brand, XSAVE geometry) follow.

use core::ops::RangeInclusive;

/// One leaf of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeafRow {
    /// The leaf's number, EAX of CPUID.
    pub(crate) number: u32,
    /// Whether ECX selects a subleaf.
    pub(crate) is_indexed: bool,
    /// How many subleaves, from 0, hold named bits or levelled values.
    pub(crate) compared: u8,
    /// How many subleaves, from 0, the policy holds in all.
    pub(crate) kept: u8,
}

const fn plain(number: u32, compared: u8) -> LeafRow {
    LeafRow { number, is_indexed: false, compared, kept: 1 }
}

const fn indexed(number: u32, compared: u8, kept: u8) -> LeafRow {
    LeafRow { number, is_indexed: true, compared, kept }
}

/// The leaves of the model, ascending.
///
/// Leaves that no manual gives a meaning to (8, 0xC, 0xE, 0x11, 0x13, 0x80000009, ...) are not here: a policy answers
/// zero for them.
pub(crate) static LEAVES: [LeafRow; LEAF_COUNT] = LEAF_ROWS;

const LEAF_COUNT: usize = 89;

const LEAF_ROWS: [LeafRow; LEAF_COUNT] = [
    plain(0x0, 1),
    plain(0x1, 1),
    plain(0x2, 0),
    plain(0x3, 0),
    indexed(0x4, 0, 8),
    plain(0x5, 1),
    plain(0x6, 1),
    indexed(0x7, 3, 3),
    plain(0x9, 1),
    plain(0xa, 1),
    indexed(0xb, 0, 4),
    indexed(0xd, 2, 63),
    indexed(0xf, 2, 2),
    indexed(0x10, 4, 7),
    indexed(0x12, 2, 8),
    indexed(0x14, 2, 2),
    plain(0x15, 0),
    plain(0x16, 0),
    indexed(0x17, 0, 4),
    indexed(0x18, 0, 16),
    plain(0x19, 1),
    plain(0x1a, 0),
    indexed(0x1b, 0, 4),
    plain(0x1c, 1),
    indexed(0x1d, 2, 2),
    indexed(0x1e, 2, 2),
    indexed(0x1f, 0, 7),
    indexed(0x20, 1, 2),
    plain(0x21, 0),
    indexed(0x23, 6, 6),
    indexed(0x24, 2, 2),
    indexed(0x27, 0, 2),
    indexed(0x28, 0, 7),
    indexed(0x29, 1, 1),
    // Hypervisor leaves: KVM ends at 0x40000001 (0x40000010 with timing information), Hyper-V at 0x4000000c, Xen at
    // 0x40000005; with Viridian, Xen's own range moves to 0x40000100.
    plain(0x4000_0000, 0),
    plain(0x4000_0001, 1),
    plain(0x4000_0002, 0),
    plain(0x4000_0003, 0),
    plain(0x4000_0004, 0),
    plain(0x4000_0005, 0),
    plain(0x4000_0006, 0),
    plain(0x4000_0007, 0),
    plain(0x4000_0008, 0),
    plain(0x4000_0009, 0),
    plain(0x4000_000a, 0),
    plain(0x4000_000b, 0),
    plain(0x4000_000c, 0),
    plain(0x4000_0010, 0),
    plain(0x4000_0100, 0),
    plain(0x4000_0101, 0),
    plain(0x4000_0102, 0),
    plain(0x4000_0103, 0),
    plain(0x4000_0104, 0),
    plain(0x4000_0105, 0),
    plain(0x8000_0000, 1),
    plain(0x8000_0001, 1),
    plain(0x8000_0002, 0),
    plain(0x8000_0003, 0),
    plain(0x8000_0004, 0),
    plain(0x8000_0005, 0),
    plain(0x8000_0006, 0),
    plain(0x8000_0007, 1),
    plain(0x8000_0008, 1),
    plain(0x8000_000a, 1),
    plain(0x8000_0019, 0),
    plain(0x8000_001a, 1),
    plain(0x8000_001b, 1),
    plain(0x8000_001c, 1),
    indexed(0x8000_001d, 0, 8),
    plain(0x8000_001e, 0),
    plain(0x8000_001f, 1),
    indexed(0x8000_0020, 4, 6),
    plain(0x8000_0021, 1),
    plain(0x8000_0022, 1),
    plain(0x8000_0023, 1),
    indexed(0x8000_0026, 1, 5),
    // Transmeta.
    plain(0x8086_0000, 0),
    plain(0x8086_0001, 1),
    plain(0x8086_0002, 0),
    plain(0x8086_0003, 0),
    plain(0x8086_0004, 0),
    plain(0x8086_0005, 0),
    plain(0x8086_0006, 0),
    plain(0x8086_0007, 0),
    // Centaur and Zhaoxin.
    plain(0xc000_0000, 0),
    plain(0xc000_0001, 1),
    plain(0xc000_0002, 0),
    plain(0xc000_0003, 0),
    plain(0xc000_0004, 0),
];

/// The MSRs of the model: those whose value tells a guest what its CPU can do. Ascending.
pub(crate) static MSRS: [u32; MSR_COUNT] = MSR_ROWS;

/// How many MSRs a policy holds.
pub(crate) const MSR_COUNT: usize = 24;

const MSR_ROWS: [u32; MSR_COUNT] = [
    0xce, 0xcf, 0x10a, 0x345, 0x480, 0x481, 0x482, 0x483, 0x484, 0x485, 0x486, 0x487, 0x488, 0x489, 0x48a, 0x48b,
    0x48c, 0x48d, 0x48e, 0x48f, 0x490, 0x491, 0x492, 0x493,
];

/// Slots with named bits or levelled values: the first ones.
pub(crate) const COMPARED_SLOTS: usize = count_slots(true);

/// All slots of a policy.
pub(crate) const SLOTS: usize = count_slots(false);

/// Words of a [`Featureset`](crate::Featureset): the registers of the compared slots, then each MSR's low and high half.
pub(crate) const WORDS: usize = COMPARED_SLOTS * 4 + MSR_COUNT * 2;

/// The first slot that is only kept: the MSRs lie before it, two to a slot.
pub(crate) const FIRST_KEPT: usize = WORDS / 4;

/// The memory of a policy, in slots: those of the leaves and those that the MSRs fill.
pub(crate) const MEMORY_SLOTS: usize = SLOTS + FIRST_KEPT - COMPARED_SLOTS;

const _: () = assert!(WORDS.is_multiple_of(4));

/// The first word that belongs to an MSR.
pub(crate) const FIRST_MSR_WORD: usize = COMPARED_SLOTS * 4;

const fn count_slots(only_compared: bool) -> usize {
    let mut count = 0;
    let mut i = 0;
    while i < LEAF_COUNT {
        count += if only_compared { LEAF_ROWS[i].compared } else { LEAF_ROWS[i].kept } as usize;
        i += 1;
    }
    count
}

/// Where the slots of one leaf lie.
#[derive(Clone, Copy)]
struct Span {
    number: u32,
    /// The bits of ECX that count: none where ECX selects no subleaf.
    subleaf_mask: u32,
    /// The slot of subleaf 0, for the subleaves that are compared.
    head: u16,
    /// The same for those that are only kept; subleaf 0 is not among them if any is compared.
    tail: u16,
    compared: u8,
    kept: u8,
}

/// An index of a table that is built while compiling.
#[expect(clippy::cast_possible_truncation, reason = "asserted, and evaluated while compiling")]
pub(crate) const fn small(value: usize) -> u16 {
    assert!(value <= u16::MAX as usize);
    value as u16
}

/// How many bits of a product tell the places of [`DIRECTORY`] apart. Where a new row finds no [`MULTIPLIER`], the compiler says
/// that it takes too long: one bit more is easy to find one for.
const DIRECTORY_BITS: u32 = 8;

/// Gives every leaf of the model a place of its own in [`DIRECTORY`], by the high bits of a product; leaf 0 the first one.
#[inline(always)]
const fn spread(leaf: u32, multiplier: u32) -> usize {
    (leaf.wrapping_mul(multiplier) >> (u32::BITS - DIRECTORY_BITS)) as usize
}

/// The first multiplier of a sequence of odd ones that keeps the leaves apart.
const MULTIPLIER: u32 = {
    // Both are multiples of the golden ratio, which spreads neighbours as far as can be.
    let mut multiplier = 0x9e37_79b9_u32;
    while !is_collision_free(multiplier) {
        multiplier = multiplier.wrapping_add(0x3c6e_f372);
    }
    multiplier
};

const fn is_collision_free(multiplier: u32) -> bool {
    let mut taken = [0u64; (1 << DIRECTORY_BITS) / 64];
    let mut i = 0;
    while i < LEAF_COUNT {
        let place = spread(LEAF_ROWS[i].number, multiplier);
        let bit = 1 << (place % 64);
        if taken[place / 64] & bit != 0 {
            return false;
        }
        taken[place / 64] |= bit;
        i += 1;
    }
    true
}

/// The leaves of the model by [`spread`]. The places that no leaf has say leaf 0, which is never looked for there.
static DIRECTORY: [Span; 1 << DIRECTORY_BITS] = {
    let mut spans = [Span { number: 0, subleaf_mask: 0, head: 0, tail: 0, compared: 0, kept: 0 }; 1 << DIRECTORY_BITS];
    let (mut head, mut tail) = (0, FIRST_KEPT);
    let mut i = 0;
    while i < LEAF_COUNT {
        let row = LEAF_ROWS[i];
        assert!(row.compared <= row.kept && (row.is_indexed || row.kept == 1));
        assert!(i == 0 || LEAF_ROWS[i - 1].number < row.number);
        spans[spread(row.number, MULTIPLIER)] = Span {
            number: row.number,
            subleaf_mask: if row.is_indexed { u32::MAX } else { 0 },
            head: small(head),
            tail: small(tail - row.compared as usize),
            compared: row.compared,
            kept: row.kept,
        };
        head += row.compared as usize;
        tail += (row.kept - row.compared) as usize;
        i += 1;
    }
    spans
};

/// Finds a leaf's row in the model. Constant time.
#[inline(always)]
const fn span(leaf: u32) -> Option<&'static Span> {
    let span = &DIRECTORY[spread(leaf, MULTIPLIER)];
    if span.number == leaf { Some(span) } else { None }
}

/// Whether the model holds `leaf`, and whether ECX selects a subleaf in it.
pub(crate) const fn indexing(leaf: u32) -> Option<bool> {
    match span(leaf) {
        Some(span) => Some(span.subleaf_mask != 0),
        None => None,
    }
}

/// The slot of `leaf` and `subleaf`; the subleaf of a leaf without any is ignored, as the CPU ignores ECX.
#[inline(always)]
pub(crate) const fn slot(leaf: u32, subleaf: u32) -> Option<usize> {
    let Some(span) = span(leaf) else { return None };
    let subleaf = subleaf & span.subleaf_mask;
    if subleaf >= span.kept as u32 {
        return None;
    }
    let first = if subleaf < span.compared as u32 { span.head } else { span.tail };
    Some(first as usize + subleaf as usize)
}

/// The place of `index` among the MSRs of the model.
pub(crate) const fn msr_slot(index: u32) -> Option<usize> {
    match index {
        0xce => Some(0),
        0xcf => Some(1),
        0x10a => Some(2),
        0x345 => Some(3),
        0x480..=0x493 => Some(index as usize - 0x480 + 4),
        _ => None,
    }
}

/// The leaf and subleaf of a compared slot.
pub(crate) fn compared(slot: usize) -> (u32, Option<u32>) {
    COMPARED.get(slot).copied().unwrap_or((0, None))
}

/// The leaf and subleaf of each compared slot.
pub(crate) static COMPARED: [(u32, Option<u32>); COMPARED_SLOTS] = {
    let mut compared = [(0, None); COMPARED_SLOTS];
    let (mut slot, mut i) = (0, 0);
    while i < LEAF_COUNT {
        let mut subleaf = 0;
        while subleaf < LEAF_ROWS[i].compared as u32 {
            compared[slot] = (LEAF_ROWS[i].number, if LEAF_ROWS[i].is_indexed { Some(subleaf) } else { None });
            slot += 1;
            subleaf += 1;
        }
        i += 1;
    }
    compared
};

/// All (leaf, subleaf or `None`, slot) of the model, ascending by leaf and subleaf.
pub(crate) fn slots() -> impl Iterator<Item = (u32, Option<u32>, usize)> {
    slots_in(0..=u32::MAX)
}

/// Those of some leaves.
pub(crate) fn slots_in(leaves: RangeInclusive<u32>) -> impl DoubleEndedIterator<Item = (u32, Option<u32>, usize)> {
    let begin = ALL_SLOTS.partition_point(|(leaf, _, _)| leaf < leaves.start());
    let end = ALL_SLOTS.partition_point(|(leaf, _, _)| leaf <= leaves.end());
    let slots = ALL_SLOTS.get(begin..end).unwrap_or_default();
    slots.iter().map(|&(leaf, subleaf, slot)| (leaf, subleaf, usize::from(slot)))
}

static ALL_SLOTS: [(u32, Option<u32>, u16); SLOTS] = {
    let mut all = [(0, None, 0); SLOTS];
    let (mut at, mut i) = (0, 0);
    while i < LEAF_COUNT {
        let mut subleaf = 0;
        while subleaf < LEAF_ROWS[i].kept as u32 {
            let Some(slot) = slot(LEAF_ROWS[i].number, subleaf) else { unreachable!() };
            all[at] = (LEAF_ROWS[i].number, if LEAF_ROWS[i].is_indexed { Some(subleaf) } else { None }, small(slot));
            at += 1;
            subleaf += 1;
        }
        i += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_reached_exactly_once() {
        let mut seen = [0u8; MEMORY_SLOTS];
        for (_, _, slot) in slots() {
            seen[slot] += 1;
        }
        assert_eq!(seen.iter().filter(|&&count| count == 1).count(), SLOTS);
    }

    #[test]
    fn compared_slots_are_in_the_order_of_their_places() {
        let compared = slots().filter(|(_, _, slot)| *slot < COMPARED_SLOTS);
        assert!(compared.map(|(_, _, slot)| slot).eq(0..COMPARED_SLOTS));
    }

    #[test]
    fn every_msr_is_found_where_it_lies() {
        for (slot, &index) in MSRS.iter().enumerate() {
            assert_eq!(msr_slot(index), Some(slot));
        }
        assert_eq!(msr_slot(0x494), None);
    }

    #[test]
    fn leaves_outside_the_model_have_no_slot() {
        for leaf in [0x8, 0x30, 0x2000_0000, 0x4000_0011, 0x4000_0106, 0x8000_0028, 0x8086_0008, 0xc000_0005, u32::MAX]
        {
            assert_eq!(slot(leaf, 0), None, "{leaf:#x}");
        }
        assert_eq!(slot(0x7, 3), None);
        assert!(slot(0x1, 77).is_some(), "ECX is ignored where it selects nothing");
    }
}
