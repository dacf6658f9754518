//! Binary policies.

use selfsame_cpuid::{Frozen, Kind, LEAF_ENTRY_BYTES, Stored};

use crate::{Target, seeds};

/// The target.
pub const TARGET: Target = Target { name: "binary", run, seeds, words: &["\0\0\0\0"], max_len_bytes: 2048 };

/// Reads as many leaves as the first byte says, then MSRs: what is taken is the one form of what it says.
pub fn run(bytes: &[u8]) {
    let Some((&count, bytes)) = bytes.split_first() else { return };
    let (leaves, msrs) = bytes.split_at(bytes.len().min(usize::from(count) * LEAF_ENTRY_BYTES));
    let Ok(stored) = Stored::read(leaves, msrs) else { return };
    let read = stored.to_leaves();
    for (leaf, subleaf, regs) in read.rows() {
        assert_eq!(stored.get(leaf, subleaf.unwrap_or(0)), regs);
    }
    let frozen = Frozen::new(read);
    assert_eq!((frozen.leaf_entries(), frozen.msr_entries()), (leaves, msrs));
}

fn seeds() -> Vec<Vec<u8>> {
    let policies = seeds::policies(Kind::Kvm).into_iter().map(|policy| Frozen::new(policy.leaves));
    let bytes = policies.filter_map(|frozen| {
        let count = u8::try_from(frozen.leaf_entries().len() / LEAF_ENTRY_BYTES).ok()?;
        Some([&[count], frozen.leaf_entries(), frozen.msr_entries()].concat())
    });
    bytes.collect()
}
