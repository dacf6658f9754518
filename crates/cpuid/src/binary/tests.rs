//! What the binary form accepts, refuses and gives back.

use super::*;
use crate::leaves::Leaves;
use crate::model::MSRS;
use crate::regs::Regs;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn bytes(leaves: &Leaves) -> (Vec<u8>, Vec<u8>) {
    let frozen = Frozen::new(leaves.clone());
    (frozen.leaf_entries().to_vec(), frozen.msr_entries().to_vec())
}

fn read(leaves: &[u8], msrs: &[u8]) -> Result<Leaves, BinaryError> {
    Stored::read(leaves, msrs).map(|stored| stored.to_leaves())
}

fn entry(words: [u32; 6]) -> [u8; LEAF_ENTRY_BYTES] {
    let mut entry = [0; LEAF_ENTRY_BYTES];
    for (bytes, word) in entry.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    entry
}

fn msr_entry(index: u32, flags: u32, value: u64) -> Vec<u8> {
    [&index.to_le_bytes()[..], &flags.to_le_bytes(), &value.to_le_bytes()].concat()
}

fn defect(entries: &[[u32; 6]]) -> (usize, EntryDefect) {
    match read(&entries.iter().flat_map(|&words| entry(words)).collect::<Vec<_>>(), &[]) {
        Err(BinaryError::Leaf { entry, leaf, subleaf, defect }) => {
            assert_eq!([leaf, subleaf], entries[entry][..2]);
            (entry, defect)
        }
        other => panic!("{other:?}"),
    }
}

/// Leaves with some slots and MSRs set, by the model's own order.
fn some_leaves() -> impl Strategy<Value = Leaves> {
    let rows = prop::collection::vec((0..SLOTS, any::<[u32; 4]>()), 0..48);
    let msrs = prop::collection::vec((0..MSRS.len(), any::<u64>()), 0..12);
    (rows, msrs).prop_map(|(rows, msrs)| {
        let mut leaves = Leaves::new();
        for (slot, regs) in rows {
            leaves.set_slot(usize::from(ORDERED_SLOTS[slot]), regs.into());
        }
        for (at, value) in msrs {
            leaves.set_msr(MSRS[at], value).unwrap();
        }
        leaves
    })
}

fn sample() -> Leaves {
    let mut leaves = Leaves::new();
    leaves.set(0x0, 0, Regs::new(0xd, 0x756e_6547, 0x6c65_746e, 0x4965_6e69)).unwrap();
    leaves.set(0x7, 0, Regs::new(0, 0x219c_07ab, 0, 0)).unwrap();
    leaves.set(0xd, 62, Regs::new(128, 832, 0, 0)).unwrap();
    leaves.set(0x8000_0008, 0, Regs::new(0x3030, 0, 0, 0)).unwrap();
    leaves.set_msr(0x10a, 0x2de9_fdeb).unwrap();
    leaves.set_msr(0x493, 1 << 63).unwrap();
    leaves
}

proptest! {
    #[test]
    fn leaves_are_read_back_as_they_were_written(leaves in some_leaves()) {
        let (rows, msrs) = bytes(&leaves);
        prop_assert_eq!(read(&rows, &msrs), Ok(leaves));
    }

    #[test]
    fn what_is_written_are_the_rows_in_their_order(leaves in some_leaves()) {
        let (rows, _) = bytes(&leaves);
        let expected: Vec<u8> = leaves
            .rows()
            .flat_map(|(leaf, subleaf, regs)| {
                entry([leaf, subleaf.unwrap_or(NO_SUBLEAF), regs.eax, regs.ebx, regs.ecx, regs.edx])
            })
            .collect();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn every_leaf_is_found_where_it_lies(leaves in some_leaves()) {
        let (rows, msrs) = bytes(&leaves);
        let stored = Stored::read(&rows, &msrs).unwrap();
        for (leaf, subleaf) in KEYS.iter().copied().map(halves) {
            prop_assert_eq!(stored.get(leaf, subleaf), leaves.get(leaf, subleaf));
        }
        prop_assert_eq!(stored.get(0x8, 0), Regs::ZERO);
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_form_of_what_they_give(
        rows in prop::collection::vec(any::<u8>(), 0..100),
        msrs in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        if let Ok(leaves) = read(&rows, &msrs) {
            prop_assert_eq!(bytes(&leaves), (rows, msrs));
        }
    }

    #[test]
    fn known_leaves_in_any_order_are_refused_or_are_their_form(
        picks in prop::collection::vec((0..SLOTS, 0u32..3), 0..8),
    ) {
        let rows: Vec<u8> = picks
            .iter()
            .flat_map(|&(at, eax)| {
                let (leaf, subleaf) = halves(KEYS[at]);
                entry([leaf, subleaf, eax, 0, 0, 0])
            })
            .collect();
        let is_canonical = picks.is_sorted_by(|a, b| a.0 < b.0) && picks.iter().all(|pick| pick.1 != 0);
        prop_assert_eq!(read(&rows, &[]).is_ok(), is_canonical);
    }
}

#[test]
fn every_changed_bit_is_refused_or_gives_other_leaves() {
    let leaves = sample();
    let (rows, msrs) = bytes(&leaves);
    for bit in 0..rows.len() * 8 {
        let mut changed = rows.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(read(&changed, &msrs), Ok(leaves.clone()), "{bit}");
    }
    for bit in 0..msrs.len() * 8 {
        let mut changed = msrs.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(read(&rows, &changed), Ok(leaves.clone()), "{bit}");
    }
}

#[test]
fn every_truncation_within_an_entry_is_refused() {
    let (rows, msrs) = bytes(&sample());
    for len_bytes in 0..rows.len() {
        let is_whole = len_bytes % LEAF_ENTRY_BYTES == 0;
        assert_eq!(read(&rows[..len_bytes], &msrs).is_ok(), is_whole);
    }
    for len_bytes in 0..msrs.len() {
        let refused = Err(BinaryError::Length { len_bytes, entry_bytes: MSR_ENTRY_BYTES });
        let read = read(&rows, &msrs[..len_bytes]);
        assert!(if len_bytes % MSR_ENTRY_BYTES == 0 { read.is_ok() } else { read == refused });
    }
}

#[test]
fn short_buffers_are_told_the_size_that_is_needed() {
    let leaves = sample();
    for len in 0..4 * LEAF_ENTRY_BYTES {
        let needed = Err(BinaryError::TooSmall { needed_bytes: 4 * LEAF_ENTRY_BYTES });
        assert_eq!(Frozen::new(leaves.clone()).write_leaves(&mut vec![0; len]), needed);
    }
    assert_eq!(Frozen::new(leaves.clone()).write_msrs(&mut [0; 31]), Err(BinaryError::TooSmall { needed_bytes: 32 }));
    assert_eq!(Frozen::new(leaves.clone()).write_leaves(&mut [0; 1000]), Ok(96), "a longer buffer is no matter");
}

#[test]
fn a_second_form_of_a_policy_is_refused() {
    use EntryDefect::*;
    let known = [7, 0, 1, 0, 0, 0];
    assert_eq!(defect(&[known, known]), (1, Unordered), "a duplicate");
    assert_eq!(defect(&[[7, 1, 1, 0, 0, 0], known]), (1, Unordered));
    assert_eq!(defect(&[known, [7, 1, 0, 0, 0, 0]]), (1, Zero));
    assert_eq!(defect(&[[7, NO_SUBLEAF, 1, 0, 0, 0]]), (0, WrongForm));
}

#[test]
fn places_that_xen_refuses_are_refused() {
    use EntryDefect::*;
    // xen.md D1: subleaf 0 where ECX selects none, and what is out of bounds; here by this crate's bounds.
    for leaf in [0x0, 0x4000_0000, 0x4000_0100, 0x8000_0000] {
        assert_eq!(defect(&[[leaf, 0, 1, 0, 0, 0]]), (0, WrongForm), "{leaf:#x}");
    }
    for (leaf, subleaf) in [(0xe, NO_SUBLEAF), (0x4, 8), (0x7, 3), (0xb, 4), (0xd, 63), (0x8000_0024, NO_SUBLEAF)] {
        assert_eq!(defect(&[[leaf, subleaf, 1, 0, 0, 0]]), (0, OutsideModel), "{leaf:#x}");
    }
}

#[test]
fn msrs_are_read_as_strictly_as_leaves() {
    let defect = |entries: &[Vec<u8>]| match read(&[], &entries.concat()) {
        Err(BinaryError::Msr { entry, defect, .. }) => (entry, defect),
        other => panic!("{other:?}"),
    };
    let known = msr_entry(0xce, 0, 1 << 31);
    assert_eq!(defect(&[msr_entry(0xdead_c0de, 0, 1)]), (0, EntryDefect::OutsideModel));
    assert_eq!(defect(&[msr_entry(0xce, 1, 1)]), (0, EntryDefect::Flags));
    assert_eq!(defect(&[known.clone(), msr_entry(0x10a, 0, 0)]), (1, EntryDefect::Zero));
    assert_eq!(defect(&[known.clone(), known.clone()]), (1, EntryDefect::Unordered));
    assert_eq!(defect(&[msr_entry(u32::MAX, 0, 1), known]), (0, EntryDefect::OutsideModel));
}
