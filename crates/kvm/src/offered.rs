//! What KVM can give to guests on this host.

use std::collections::BTreeMap;
use std::fmt;

use kvm_bindings::{
    KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, KVM_MAX_MSR_ENTRIES, Msrs, kvm_cpuid_entry2, kvm_msr_entry,
};
use kvm_ioctls::{Cap, Kvm};
use selfsame_cpuid::{Leaves, Regs};

/// What KVM can give to guests on this host: the answers of its system ioctls, unchanged.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Offered {
    /// The rows of `KVM_GET_SUPPORTED_CPUID`: leaf, subleaf where ECX selects one, registers. Ascending, each once.
    pub rows: Vec<(u32, Option<u32>, Regs)>,
    /// The feature MSRs; `None` where KVM lists one and cannot read it.
    pub msrs: BTreeMap<u32, Option<u64>>,
}

impl Offered {
    /// What KVM offers in a leaf, if it has a row of it.
    pub fn get(&self, leaf: u32, subleaf: u32) -> Option<Regs> {
        let is_asked = |row: &&(u32, Option<u32>, Regs)| row.0 == leaf && row.1.is_none_or(|own| own == subleaf);
        self.rows.iter().find(is_asked).map(|row| row.2)
    }

    /// What is offered, as far as policies hold it: leaves and MSRs that the model lacks are left out, and MSRs that KVM cannot
    /// read are zero.
    ///
    /// ```
    /// use selfsame_cpuid::{Host, Kind, Trims};
    /// # use selfsame_kvm::kvm_ioctls::Kvm;
    /// # let Ok(kvm) = Kvm::new() else { return };
    /// let offered = selfsame_kvm::offered(&kvm).unwrap();
    /// let host = Host::from_offered(&offered.leaves(), Kind::Kvm, &Trims::NONE);
    /// assert!(host.default().features().iter().count() > 0);
    /// ```
    pub fn leaves(&self) -> Leaves {
        let mut leaves = Leaves::new();
        for &(leaf, subleaf, regs) in &self.rows {
            let _ = leaves.set(leaf, subleaf.unwrap_or(0), regs);
        }
        for (&index, value) in &self.msrs {
            let _ = leaves.set_msr(index, value.unwrap_or_default());
        }
        leaves.fill_true_controls();
        leaves
    }
}

/// A question to KVM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ioctl {
    /// `KVM_GET_SUPPORTED_CPUID`.
    SupportedCpuid,
    /// `KVM_GET_MSR_FEATURE_INDEX_LIST`.
    FeatureMsrList,
}

impl fmt::Display for Ioctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SupportedCpuid => "KVM_GET_SUPPORTED_CPUID",
            Self::FeatureMsrList => "KVM_GET_MSR_FEATURE_INDEX_LIST",
        })
    }
}

/// Why KVM did not say what it offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferedError {
    /// The kernel refused a question.
    #[error("{ioctl} failed")]
    Refused {
        /// The question.
        ioctl: Ioctl,
        /// The kernel's answer.
        source: kvm_ioctls::Error,
    },
    /// The kernel has a longer list than any kernel known here.
    #[error("{ioctl} has more than {capacity} entries to give")]
    TooLong {
        /// The question.
        ioctl: Ioctl,
        /// What fits in the list.
        capacity: usize,
    },
    /// The kernel refused to read a feature MSR.
    #[error("KVM_GET_MSRS of {index:#x} failed")]
    Msr {
        /// The MSR.
        index: u32,
        /// The kernel's answer.
        source: kvm_ioctls::Error,
    },
}

/// Asks KVM what it can give to guests.
///
/// KVM copies some leaves (APIC IDs, caches, topology) from the CPU that runs the caller, so a caller who compares answers
/// stays on one CPU. State that needs [`request_permission`](crate::request_permission) is there only after it.
///
/// # Errors
///
/// A refused ioctl, with the kernel's errno as its source.
///
/// ```
/// # use selfsame_kvm::kvm_ioctls::Kvm;
/// # let Ok(kvm) = Kvm::new() else { return };
/// let offered = selfsame_kvm::offered(&kvm).unwrap();
/// assert!(offered.get(0, 0).is_some());
/// ```
pub fn offered(kvm: &Kvm) -> Result<Offered, OfferedError> {
    Ok(Offered { rows: rows(kvm)?, msrs: msrs(kvm)? })
}

/// Both lists are asked for at full length at once, so E2BIG has nothing left to grow to.
fn refused(ioctl: Ioctl, capacity: usize) -> impl Fn(kvm_ioctls::Error) -> OfferedError {
    move |source| match source.errno() {
        libc::E2BIG => OfferedError::TooLong { ioctl, capacity },
        _ => OfferedError::Refused { ioctl, source },
    }
}

fn rows(kvm: &Kvm) -> Result<Vec<(u32, Option<u32>, Regs)>, OfferedError> {
    let cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(refused(Ioctl::SupportedCpuid, KVM_MAX_CPUID_ENTRIES))?;
    let mut rows: Vec<_> = cpuid.as_slice().iter().map(row).collect();
    // Kernels before 5.8 give leaf 2 once for each of its stateful reads; the sort is stable and the first is kept.
    rows.sort_by_key(|&(leaf, subleaf, _)| (leaf, subleaf));
    rows.dedup_by_key(|&mut (leaf, subleaf, _)| (leaf, subleaf));
    Ok(rows)
}

/// The leaf of an entry, its subleaf where ECX selects one, and its registers.
pub(crate) fn row(entry: &kvm_cpuid_entry2) -> (u32, Option<u32>, Regs) {
    let is_indexed = entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX != 0;
    let regs = Regs::new(entry.eax, entry.ebx, entry.ecx, entry.edx);
    (entry.function, is_indexed.then_some(entry.index), regs)
}

fn msrs(kvm: &Kvm) -> Result<BTreeMap<u32, Option<u64>>, OfferedError> {
    if !kvm.check_extension(Cap::GetMsrFeatures) {
        return Ok(BTreeMap::new());
    }
    let list = kvm.get_msr_feature_index_list().map_err(refused(Ioctl::FeatureMsrList, KVM_MAX_MSR_ENTRIES))?;
    list.as_slice().iter().map(|&index| Ok((index, msr(kvm, index)?))).collect()
}

/// Reads one at a time: KVM_GET_MSRS ends at the first that it cannot read.
fn msr(kvm: &Kvm, index: u32) -> Result<Option<u64>, OfferedError> {
    let entry = kvm_msr_entry { index, ..kvm_msr_entry::default() };
    // A list of one is never too long for the wrapper.
    let Ok(mut msrs) = Msrs::from_entries(&[entry]) else { return Ok(None) };
    let read = kvm.get_msrs(&mut msrs).map_err(|source| OfferedError::Msr { index, source })?;
    Ok(msrs.as_slice().first().filter(|_| read == 1).map(|entry| entry.data))
}

#[cfg(test)]
mod tests {
    use std::io::{Write, stderr};

    use super::*;

    fn kvm() -> Option<Kvm> {
        let kvm = Kvm::new();
        if let Err(error) = &kvm {
            // Not `eprintln`: the harness keeps what a passing test prints.
            let _ = writeln!(stderr(), "SKIPPED: /dev/kvm cannot be opened here: {error}");
        }
        kvm.ok()
    }

    #[test]
    fn this_kvm_offers_ascending_rows_each_once() {
        let Some(kvm) = kvm() else { return };
        let offered = offered(&kvm).unwrap();
        eprintln!("{} rows, {} msrs", offered.rows.len(), offered.msrs.len());
        assert!(offered.get(0, 0).is_some() && offered.get(1, 0).is_some());
        assert!(offered.rows.windows(2).all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1)));
    }

    #[test]
    fn a_list_without_room_is_told_from_a_refusal() {
        let refused = refused(Ioctl::SupportedCpuid, 256);
        assert_eq!(
            refused(kvm_ioctls::Error::new(libc::E2BIG)).to_string(),
            "KVM_GET_SUPPORTED_CPUID has more than 256 entries to give"
        );
        assert!(
            matches!(refused(kvm_ioctls::Error::new(libc::ENOTTY)), OfferedError::Refused { source, .. } if source.errno() == libc::ENOTTY)
        );
    }

    #[test]
    fn another_device_than_kvm_is_refused_by_ioctl() {
        let null = Kvm::new_with_path(c"/dev/null").unwrap();
        let error = offered(&null).unwrap_err();
        assert_eq!(error.to_string(), "KVM_GET_SUPPORTED_CPUID failed");
        assert!(std::error::Error::source(&error).is_some());
    }
}
