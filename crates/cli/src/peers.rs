//! What Xen and KVM write between two guests today: counts, read from their sources.
//!
//! Xen is master of 2026-08-20 (c447b7308b): `context_switch`, `__context_switch` and what they call. KVM is that of Linux
//! 7.3-rc7: `kvm_load_guest_fpu` and what is loaded before each entry and put back after each exit. What is not known is
//! `None`, which is not the same as zero.

use selfsame_switch::{Transition, VcpuKind, Virtualisation};

/// Least and most.
pub(crate) type Range = (usize, usize);

/// A transition as a peer sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    from: Option<VcpuKind>,
    to: Option<VcpuKind>,
    virtualisation: Virtualisation,
    /// How many masking MSRs there are; `None` where CPUID faults.
    masks: Option<usize>,
}

impl Turn {
    pub(crate) const fn new(transition: Transition, virtualisation: Virtualisation, masks: Option<usize>) -> Self {
        let (from, to) = match transition {
            Transition::Resume(kind) => (Some(kind), Some(kind)),
            Transition::Arrive(kind) => (None, Some(kind)),
            Transition::Switch(from, to) => (Some(from), Some(to)),
            Transition::Flush(kind) => (Some(kind), None),
        };
        Self { from, to, virtualisation, masks }
    }

    /// Counts what Xen writes of a state or register, by the names of `selfsame-switch`.
    pub(crate) fn xen(&self, name: &str) -> Option<Range> {
        let has = |side: Option<VcpuKind>| usize::from(side.is_some());
        let is_pv = |side: Option<VcpuKind>| usize::from(matches!(side, Some(VcpuKind::Pv64 | VcpuKind::Pv32)));
        let is_vmx = |side: Option<VcpuKind>| {
            usize::from(side == Some(VcpuKind::Hvm) && self.virtualisation == Virtualisation::Vmx)
        };
        let (from, to) = (self.from, self.to);
        let always = |count| Some((count, count));
        let at_most = |count| Some((0, count));
        match name {
            // Twice around the save, once for the arriving vCPU, twice around the load.
            "XCR0" => at_most(2 * has(from) + 3 * has(to)),
            // Only ever zero; shadow stacks and XFD are not given to guests.
            "XSS" | "PL0_SSP" | "XFD" | "XFD_ERR" | "CSTAR" | "SYSENTER_CS" | "SYSENTER_ESP" | "SYSENTER_EIP" => {
                always(0)
            }
            "save" => always(has(from)),
            "load" => always(has(to)),
            // CLTS before the save, and again set for a PV guest that has it.
            "CR0.TS" => Some((has(from), has(from) + is_pv(to))),
            "slot 14" => always(is_pv(to)),
            "INVLPG" => always(0),
            "GDTR" => match is_pv(from) + is_pv(to) {
                2 => at_most(2),
                one_or_none => always(one_or_none),
            },
            "CR3" => always(1),
            "CR4" => at_most(2),
            // LLDT(0), or the descriptor and LLDT: for every PV vCPU.
            "LDT" => Some((is_pv(to), 2 * is_pv(to))),
            "DS ES FS GS" => always(4 * is_pv(to)),
            "FS_BASE" | "GS_BASE" => always(is_pv(to)),
            "KERNEL_GS_BASE" => always(is_pv(to) + is_vmx(to)),
            // The host's in every "from", the guest's in every "to", without a look at what is there.
            "STAR" | "LSTAR" | "SFMASK" => always(is_vmx(from) + is_vmx(to)),
            "TSC_AUX" => at_most(has(to)),
            "PKRS" => at_most(is_vmx(to)),
            "PQR_ASSOC" => at_most(1),
            "CPUID" => at_most(has(to) * self.masks.unwrap_or(1)),
            "IBPB" => always(has(to)),
            _ => None,
        }
    }

    /// Counts what KVM writes of a state or register. It has no PV guests, and no vCPU is ever idle.
    pub(crate) fn kvm(&self, name: &str) -> Option<Range> {
        if (self.from, self.to) != (Some(VcpuKind::Hvm), Some(VcpuKind::Hvm)) {
            return None;
        }
        match name {
            // The guest's before the entry and the host's after the exit, each time that they differ.
            "XCR0" | "XSS" => Some((0, 2)),
            "save" | "load" => Some((1, 1)),
            "XFD" => Some((0, 1)),
            "XFD_ERR" => Some((0, 2)),
            _ => None,
        }
    }

    /// Counts the RDMSRs of Xen.
    pub(crate) fn xen_reads(&self) -> Range {
        // HWCR is read in every switch, where CPUID faults by its bit.
        let is_read = self.virtualisation == Virtualisation::Svm && self.masks.is_none() && self.to.is_some();
        (usize::from(is_read), usize::from(is_read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_switch::{REGISTERS, STATES};

    fn names() -> impl Iterator<Item = &'static str> {
        STATES.iter().map(|state| state.name).chain(REGISTERS.iter().map(|row| row.name))
    }

    fn turns() -> Vec<Turn> {
        let kinds = [VcpuKind::Pv64, VcpuKind::Pv32, VcpuKind::Hvm];
        let mut turns = Vec::new();
        for virtualisation in [Virtualisation::Vmx, Virtualisation::Svm] {
            for from in kinds {
                turns.push(Turn::new(Transition::Arrive(from), virtualisation, None));
                turns.push(Turn::new(Transition::Flush(from), virtualisation, None));
                turns.extend(kinds.map(|to| Turn::new(Transition::Switch(from, to), virtualisation, Some(3))));
            }
        }
        turns
    }

    #[test]
    fn every_fact_is_of_a_state_that_there_is() {
        let known: Vec<&str> = names().filter(|name| turns().iter().any(|turn| turn.xen(name).is_some())).collect();
        let unknown: Vec<&str> = names().filter(|name| !known.contains(name)).collect();
        assert_eq!(unknown, ["DR0-7", "DR masks", "SPEC_CTRL"], "what the sources were not read for");
        assert_eq!(Turn::new(Transition::Resume(VcpuKind::Hvm), Virtualisation::Vmx, None).xen("no such state"), None);
    }

    #[test]
    fn least_is_never_more_than_most() {
        for turn in turns() {
            for (least, most) in names().flat_map(|name| [turn.xen(name), turn.kvm(name)]).flatten() {
                assert!(least <= most, "{turn:?}");
            }
        }
    }

    #[test]
    fn kvm_runs_hvm_guests_only() {
        for turn in turns() {
            let is_hvm = (turn.from, turn.to) == (Some(VcpuKind::Hvm), Some(VcpuKind::Hvm));
            assert_eq!(names().any(|name| turn.kvm(name).is_some()), is_hvm);
        }
    }
}
