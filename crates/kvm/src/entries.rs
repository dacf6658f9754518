//! Policies as KVM takes them.

use std::collections::BTreeSet;

use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};
use selfsame_cpuid::{ApicId, Policy, VcpuView};

/// What `KVM_SET_CPUID2` takes for a vCPU with this APIC id, so that its guest sees the policy. Ascending, each once; what reads
/// zero has no entry.
///
/// The entries are what [`Policy::cpuid`] answers after reset, but with SYSCALL, which Intel's CPUs hide outside of 64-bit mode
/// and KVM never does. KVM keeps what follows the registers from then on: OSXSAVE, OSPKE, the bit of an enabled APIC, and both
/// sizes in leaf 0xD. MSRs are no entries: `KVM_SET_MSRS` takes them.
///
/// KVM refuses a policy with components that the process has no permission for
/// ([`request_permission`](crate::request_permission)).
///
/// ```
/// use selfsame_cpuid::{ApicId, Kind, Policy, Regs};
///
/// let mut policy = Policy::empty(Kind::Kvm);
/// policy.leaves.set(0x1, 0, Regs::new(0x00a0_0f11, 0, 0, 1 << 9))?;
/// policy.leaves.set(0x7, 0, Regs::new(0, 1 << 5, 0, 0))?;
/// let [one, seven] = selfsame_kvm::entries(&policy, ApicId::new(3))[..] else { unreachable!() };
/// assert_eq!((one.function, one.flags, one.ebx), (0x1, 0, 3 << 24));
/// assert_eq!((seven.function, seven.index, seven.flags, seven.ebx), (0x7, 0, 1, 1 << 5));
/// # Ok::<(), selfsame_cpuid::OutsideModel>(())
/// ```
pub fn entries(policy: &Policy, apic_id: ApicId) -> Vec<kvm_cpuid_entry2> {
    let vcpu = VcpuView { is_in_64_bit_mode: true, ..VcpuView::new(apic_id) };
    let mut keys: BTreeSet<_> = policy.leaves.rows().map(|(leaf, subleaf, _)| (leaf, subleaf)).collect();
    if policy.leaves.get(0, 0).eax >= 0xb {
        // It has the vCPU's id even where the policy has no topology; KVM takes the id for all subleaves from the second.
        keys.extend([(0xb, Some(0)), (0xb, Some(1))]);
    }
    // So has this one, whose row may be zero: TOPOEXT alone makes it answer.
    keys.insert((0x8000_001e, None));
    let answers =
        keys.into_iter().map(|(leaf, subleaf)| (leaf, subleaf, policy.cpuid(leaf, subleaf.unwrap_or(0), &vcpu)));
    let entries = answers.filter(|(_, _, regs)| !regs.is_zero()).map(|(leaf, subleaf, regs)| kvm_cpuid_entry2 {
        function: leaf,
        index: subleaf.unwrap_or(0),
        flags: if subleaf.is_some() { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } else { 0 },
        eax: regs.eax,
        ebx: regs.ebx,
        ecx: regs.ecx,
        edx: regs.edx,
        ..kvm_cpuid_entry2::default()
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
    use proptest::prelude::*;
    use selfsame_cpuid::{Kind, Leaves, Regs};

    use super::*;
    use crate::Offered;
    use crate::offered::row;

    /// Every leaf and subleaf that policies hold.
    fn places() -> impl Iterator<Item = (u32, u32)> {
        let ranges = [0..0x40, 0x4000_0000..0x4000_0120, 0x8000_0000..0x8000_0040, 0x8086_0000..0x8086_0010];
        let leaves = ranges.into_iter().flatten().chain(0xc000_0000..0xc000_0010);
        let places = leaves.flat_map(|leaf| (0..63).map(move |subleaf| (leaf, subleaf)));
        places.filter(|&(leaf, subleaf)| Leaves::new().set(leaf, subleaf, Regs::ZERO).is_ok())
    }

    /// A policy whose maxima are those of the model.
    fn policy(mut word: impl FnMut() -> u32) -> Policy {
        let mut policy = Policy::empty(Kind::Kvm);
        for (leaf, subleaf) in places() {
            let highest = match leaf {
                0 => 0x3f,
                0x4000_0000 => 0x4000_0110,
                0x8000_0000 => 0x8000_003f,
                0xc000_0000 => 0xc000_000f,
                _ => word(),
            };
            policy.leaves.set(leaf, subleaf, Regs::new(highest, word(), word(), word())).unwrap();
        }
        policy
    }

    #[test]
    fn the_largest_policy_is_not_too_large_for_kvm() {
        let entries = entries(&policy(|| u32::MAX), ApicId::new(1));
        assert!(entries.len() <= KVM_MAX_CPUID_ENTRIES, "{}", entries.len());
    }

    /// What KVM answers from its entries, but for what it makes itself (arch/x86/kvm/cpuid.c, cpuid_entry2_find).
    fn answer(entries: &[kvm_cpuid_entry2], leaf: u32, subleaf: u32) -> Regs {
        let is_it = |entry: &&kvm_cpuid_entry2| {
            entry.function == leaf && (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX == 0 || entry.index == subleaf)
        };
        let found = entries.iter().find(is_it);
        found.map_or(Regs::ZERO, |entry| Regs::new(entry.eax, entry.ebx, entry.ecx, entry.edx))
    }

    #[test]
    fn compute_units_reach_kvm_although_their_row_is_zero() {
        let mut policy = Policy::empty(Kind::Kvm);
        let mut set = |leaf, regs| policy.leaves.set(leaf, 0, regs).unwrap();
        set(0, Regs::new(1, 0x6874_7541, 0x444d_4163, 0x6974_6e65));
        set(0x8000_0000, Regs::new(0x8000_001e, 0, 0, 0));
        set(0x8000_0001, Regs::new(0, 0, 1 << 22, 0));
        for id in [0, 7, 300] {
            let expected = policy.cpuid(0x8000_001e, 0, &VcpuView::new(ApicId::new(id)));
            assert_eq!(expected.eax, id);
            assert_eq!(answer(&entries(&policy, ApicId::new(id)), 0x8000_001e, 0), expected);
        }
    }

    proptest! {
        #[test]
        fn entries_answer_as_their_policy_does(words in prop::collection::vec(any::<u32>(), 64), id in any::<u32>()) {
            let mut words = words.into_iter().cycle().zip(0u32..);
            let mut policy = policy(|| words.next().map_or(0, |(word, at)| word.rotate_left(at / 64)));
            for topology in [None, Some("sockets=2,cores=3,threads=2".parse().unwrap())] {
                policy.set_topology(topology);
                let apic_id = ApicId::new(id);
                let list = entries(&policy, apic_id);
                let rows: Vec<_> = list.iter().map(row).collect();
                prop_assert!(rows.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
                for (leaf, subleaf) in places().filter(|&(leaf, subleaf)| leaf != 0xb || subleaf < 2) {
                    let vcpu = VcpuView { is_in_64_bit_mode: true, ..VcpuView::new(apic_id) };
                    prop_assert_eq!(answer(&list, leaf, subleaf), policy.cpuid(leaf, subleaf, &vcpu), "{:x}", leaf);
                }
                let read = Policy { leaves: Offered { rows, ..Offered::default() }.leaves(), ..policy.clone() };
                let vcpu = VcpuView { is_in_64_bit_mode: true, ..VcpuView::new(apic_id) };
                for (leaf, subleaf) in places() {
                    prop_assert_eq!(read.cpuid(leaf, subleaf, &vcpu), policy.cpuid(leaf, subleaf, &vcpu));
                }
                prop_assert_eq!(entries(&read, apic_id), list);
            }
        }
    }

    #[test]
    fn what_no_policy_holds_is_left_out_of_an_offer() {
        let rows = vec![(0x7, Some(0), Regs::new(0, 1, 0, 0)), (0x8, None, Regs::new(1, 2, 3, 4))];
        let msrs = [(0x10a, Some(5)), (0x48b, None), (0xdead, Some(1))].into();
        let leaves = Offered { rows, msrs }.leaves();
        assert!(leaves.rows().eq([(0x7, Some(0), Regs::new(0, 1, 0, 0))]));
        assert!(leaves.msrs().eq([(0x10a, 5)]));
    }
}
