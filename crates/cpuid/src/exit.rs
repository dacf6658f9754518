//! The answer to a CPUID exit: the policy's leaf, with the bits that follow the vCPU.

use selfsame_xstate::{Component, Format, Row, size_bytes};

use crate::apic_id::ApicId;
use crate::feature::Kind;
use crate::policy::Policy;
use crate::regs::Regs;
use crate::table::{leaf_0d, leaf_01, leaf_07_0_ecx, leaf_80000001};
use crate::vcpu_view::VcpuView;

const X2APIC: u32 = leaf_01::X2APIC.mask();
const XSAVE: u32 = leaf_01::XSAVE.mask();
const OSXSAVE: u32 = leaf_01::OSXSAVE.mask();
/// In 1.EDX, and on AMD in 80000001.EDX.
const APIC: u32 = leaf_01::APIC.mask();
const PKU: u32 = leaf_07_0_ecx::PKU.mask();
const OSPKE: u32 = leaf_07_0_ecx::OSPKE.mask();
const XSAVEC: u32 = leaf_0d::XSAVEC.mask();
const XSAVES: u32 = leaf_0d::XSAVES.mask();
const TOPOEXT: u32 = leaf_80000001::TOPOEXT.mask();
const SYSCALL: u32 = leaf_80000001::SYSCALL.mask();

impl Policy {
    /// What a CPUID exit answers: `leaf` and `subleaf` are the guest's EAX and ECX.
    ///
    /// The time does not depend on what the policy holds, nothing is allocated, and the CPU is not asked. These follow the
    /// vCPU, each only where the policy has its feature:
    ///
    /// | place | follows | source |
    /// |---|---|---|
    /// | 1.EBX\[31:24\] | the APIC id | SDM vol. 2A, CPUID.01H |
    /// | 1.ECX\[27\], 7.0.ECX\[4\] | CR4.OSXSAVE, CR4.PKE | SDM vol. 2A, CPUID.01H, 07H |
    /// | 1.EDX\[9\], on AMD 80000001.EDX\[9\] too | IA32_APIC_BASE.EN | SDM vol. 3A, 11.4.3; APM vol. 3, E.4.2 |
    /// | 0xB, 0x1F, 80000026 ECX\[7:0\], EDX | the subleaf, the x2APIC id, in every subleaf | SDM vol. 2A, CPUID.0BH; APM vol. 3, E.4.24 |
    /// | 0xD.0.EBX | the standard size of XCR0, which always holds x87 | SDM vol. 1, 13.2 |
    /// | 0xD.1.EBX | the compacted size of XCR0 and, with XSAVES, XSS; 0 with neither XSAVEC nor XSAVES | SDM vol. 1, 13.2 |
    /// | 80000001.EDX\[11\] | SYSCALL, by Intel's manual in 64-bit mode only | SDM vol. 2A, CPUID.80000001H |
    /// | 8000001E.EAX | the APIC id | APM vol. 3, E.4.20 |
    /// | 8000001E.EBX\[7:0\], ECX\[7:0\] | the core and the node, where the policy has a topology | APM vol. 3, E.4.20 |
    ///
    /// All else that tells of a topology is the same for all vCPUs and stands in the policy's leaves:
    /// [`Policy::set_topology`] writes it. Without a topology those leaves answer as they stand, with the ids above.
    ///
    /// A leaf beyond the policy reads zero, but for guests of kind kvm whose vendor is neither AMD nor Hygon: above the
    /// maximum of its range it reads as the highest basic leaf, with the subleaf that was asked for (Linux,
    /// arch/x86/kvm/cpuid.c, get_out_of_range_cpuid_entry).
    ///
    /// ```
    /// use selfsame_cpuid::{ApicId, Kind, Policy, Regs, VcpuView};
    ///
    /// let mut policy = Policy::empty(Kind::Kvm);
    /// policy.leaves.set(0x1, 0, Regs::new(0x00a0_0f11, 0, 1 << 26, 1 << 9))?;
    /// let vcpu = VcpuView { has_osxsave: true, ..VcpuView::new(ApicId::new(5)) };
    /// assert_eq!(policy.cpuid(0x1, 0, &vcpu), Regs::new(0x00a0_0f11, 5 << 24, 3 << 26, 1 << 9));
    /// assert_eq!(policy.cpuid(0x8, 0, &vcpu), Regs::ZERO);
    /// # Ok::<(), selfsame_cpuid::OutsideModel>(())
    /// ```
    pub fn cpuid(&self, leaf: u32, subleaf: u32, vcpu: &VcpuView) -> Regs {
        // What needs more than a row has a function of its own, so that nothing goes on the stack here.
        match leaf {
            0xd => self.cpuid_xsave(subleaf, vcpu),
            0xb | 0x1f | 0x8000_001e | 0x8000_0026 => self.cpuid_topology(leaf, subleaf, vcpu),
            0x8000_0001 if !(vcpu.is_apic_enabled && vcpu.is_in_64_bit_mode) => self.cpuid_80000001(vcpu),
            _ => {
                let regs = self.answer(leaf, subleaf, vcpu);
                if regs.is_zero() { self.redirected(leaf, subleaf, vcpu) } else { regs }
            }
        }
    }

    /// Leaf 0x80000001 where a vendor hides bits of it. Finding out the vendor takes longer than the rest.
    #[inline(never)]
    fn cpuid_80000001(&self, vcpu: &VcpuView) -> Regs {
        let row = self.leaves.known::<0x8000_0001, 0>();
        if row.is_zero() {
            return self.redirected(0x8000_0001, 0, vcpu);
        }
        let vendor = self.leaves.vendor();
        let apic = APIC * u32::from(!vcpu.is_apic_enabled && vendor.is_amd_like());
        let syscall = SYSCALL * u32::from(!vcpu.is_in_64_bit_mode && vendor.is_intel_like());
        Regs { edx: row.edx & !(apic | syscall), ..row }
    }

    #[inline(never)]
    fn cpuid_xsave(&self, subleaf: u32, vcpu: &VcpuView) -> Regs {
        let regs = self.answer_xsave(subleaf, vcpu);
        if regs.is_zero() { self.redirected(0xd, subleaf, vcpu) } else { regs }
    }

    #[inline(never)]
    fn cpuid_topology(&self, leaf: u32, subleaf: u32, vcpu: &VcpuView) -> Regs {
        let regs = self.answer_topology(leaf, subleaf, vcpu);
        if regs.is_zero() { self.redirected(leaf, subleaf, vcpu) } else { regs }
    }

    /// The answer for a leaf without a row.
    #[inline(never)]
    fn redirected(&self, leaf: u32, subleaf: u32, vcpu: &VcpuView) -> Regs {
        if self.kind != Kind::Kvm || !self.is_out_of_range(leaf) {
            return Regs::ZERO;
        }
        // The highest basic leaf is within its range: none of these comes back.
        match self.leaves.known::<0, 0>().eax {
            0xd => self.cpuid_xsave(subleaf, vcpu),
            highest @ (0xb | 0x1f) => self.cpuid_topology(highest, subleaf, vcpu),
            highest @ (0x1 | 0x7) => self.cpuid(highest, subleaf, vcpu),
            highest => self.leaves.get(highest, subleaf),
        }
    }

    /// Whether a leaf is above the maximum of its range, on a CPU that answers the highest basic leaf there.
    #[inline(always)]
    fn is_out_of_range(&self, leaf: u32) -> bool {
        // All but the hypervisors' are found while compiling.
        let first = match leaf {
            0..0x4000_0000 => self.leaves.known::<0, 0>(),
            0x4000_0000..0x5000_0000 => self.leaves.get(leaf & 0xffff_ff00, 0),
            0xc000_0000.. => self.leaves.known::<0xc000_0000, 0>(),
            0x8000_0000.. => self.leaves.known::<0x8000_0000, 0>(),
            0x5000_0000.. => self.leaves.known::<0, 0>(),
        };
        leaf > first.eax && !self.leaves.vendor().is_amd_like()
    }

    /// The leaf's row with the bits that follow the vCPU; zero where there is neither.
    ///
    /// Each arm makes its four registers at once, from a row whose place is known while compiling: a row that is first stored
    /// and then changed word by word costs more than all the rest.
    #[inline(always)]
    fn answer(&self, leaf: u32, subleaf: u32, vcpu: &VcpuView) -> Regs {
        match leaf {
            0x1 => {
                let row = self.leaves.known::<0x1, 0>();
                if row.is_zero() {
                    return row;
                }
                let osxsave = OSXSAVE * u32::from(vcpu.has_osxsave && row.ecx & XSAVE != 0);
                let hidden = APIC * u32::from(!vcpu.is_apic_enabled);
                Regs::new(
                    row.eax,
                    row.ebx & 0x00ff_ffff | vcpu.apic_id.x2apic() << 24,
                    row.ecx & !OSXSAVE | osxsave,
                    row.edx & !hidden,
                )
            }
            0x7 if subleaf == 0 => {
                let Regs { eax, ebx, ecx, edx } = self.leaves.known::<0x7, 0>();
                let ospke = OSPKE * u32::from(vcpu.has_pke && ecx & PKU != 0);
                Regs::new(eax, ebx, ecx & !OSPKE | ospke, edx)
            }
            _ => self.leaves.get(leaf, subleaf),
        }
    }

    /// The leaves that hold APIC ids; zero where the policy lacks them.
    #[inline(always)]
    fn answer_topology(&self, leaf: u32, subleaf: u32, vcpu: &VcpuView) -> Regs {
        if leaf == 0x8000_001e {
            let has_topoext = self.leaves.known::<0x8000_0001, 0>().ecx & TOPOEXT != 0;
            return if has_topoext { self.answer_compute_unit(vcpu.apic_id) } else { self.leaves.get(leaf, 0) };
        }
        let row = self.leaves.get(leaf, subleaf);
        if !self.has_levels(leaf) {
            return row;
        }
        Regs { ecx: row.ecx & !0xff | subleaf & 0xff, edx: vcpu.apic_id.x2apic(), ..row }
    }

    /// Whether a topology leaf exists. Leaf 0xB comes with x2APIC, even before it has levels; the others with their levels.
    fn has_levels(&self, leaf: u32) -> bool {
        let has_rows = !self.leaves.get(leaf, 0).is_zero();
        let has_x2apic = || self.leaves.known::<0x1, 0>().ecx & X2APIC != 0;
        has_rows || leaf == 0xb && self.leaves.known::<0, 0>().eax >= leaf && has_x2apic()
    }

    /// Leaf 0x8000001E.
    fn answer_compute_unit(&self, apic_id: ApicId) -> Regs {
        let Regs { ebx, ecx, edx, .. } = self.leaves.known::<0x8000_001e, 0>();
        let Some(topology) = self.topology else { return Regs::new(apic_id.x2apic(), ebx, ecx, edx) };
        let (core, node) = topology.core_and_node(apic_id);
        Regs::new(apic_id.x2apic(), ebx & !0xff | core & 0xff, ecx & !0xff | node & 0xff, edx)
    }

    /// Leaf 0xD. A subleaf whose component the policy lacks is invalid and reads zero (SDM vol. 2A, CPUID.0DH), whatever is
    /// kept there. A vCPU's XCR0 or XSS beyond the policy does not count: the guest was never offered those components.
    #[inline(always)]
    fn answer_xsave(&self, subleaf: u32, vcpu: &VcpuView) -> Regs {
        let (user, supervisor) = (self.leaves.xcr0(), self.leaves.xss());
        let xcr0 = vcpu.xcr0.intersection(user).with(Component::X87);
        match subleaf {
            0 => {
                let row = self.leaves.known::<0xd, 0>();
                if row.is_zero() {
                    return row;
                }
                // ECX is the size of all, to which `verify` holds it. Rows that add up to nothing are refused there, too; until
                // then a guest allocates the largest size.
                let size = if xcr0 == user {
                    row.ecx
                } else {
                    size_bytes(Format::Standard, xcr0, |component| self.xsave_row(component)).unwrap_or(row.ecx)
                };
                Regs { ebx: size, ..row }
            }
            1 => {
                let row = self.leaves.known::<0xd, 1>();
                if row.eax & (XSAVEC | XSAVES) == 0 {
                    return Regs { ebx: 0, ..row };
                }
                let set = if row.eax & XSAVES != 0 { xcr0 | vcpu.xss.intersection(supervisor) } else { xcr0 };
                let size = size_bytes(Format::Compacted, set, |component| self.xsave_row(component));
                Regs { ebx: size.unwrap_or(row.ebx), ..row }
            }
            2..=62 if user.union(supervisor).bits() >> subleaf & 1 == 1 => self.leaves.get(0xd, subleaf),
            _ => Regs::ZERO,
        }
    }

    #[inline(always)]
    fn xsave_row(&self, component: Component) -> Option<Row> {
        let regs = self.leaves.state_row(component);
        // A component without a size has no row.
        if regs.eax == 0 { None } else { Some(Row::from_registers(regs.to_array())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_xstate::ComponentSet;
    use std::vec::Vec;

    const INTEL: Regs = Regs::new(0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69);
    const AMD: Regs = Regs::new(0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65);
    /// Sapphire Rapids' leaf 0xD.
    const XSAVE: [(u32, Regs); 12] = [
        (0, Regs::new(0x6_02e7, 0x2b00, 0x2b00, 0)),
        (1, Regs::new(0x1f, 0x2a00, 0x1800, 0)),
        (2, Regs::new(256, 576, 0, 0)),
        (5, Regs::new(64, 1088, 0, 0)),
        (6, Regs::new(512, 1152, 0, 0)),
        (7, Regs::new(1024, 1664, 0, 0)),
        (9, Regs::new(8, 2688, 0, 0)),
        (11, Regs::new(16, 0, 1, 0)),
        (12, Regs::new(24, 0, 1, 0)),
        (17, Regs::new(64, 2752, 2, 0)),
        (18, Regs::new(8192, 2816, 6, 0)),
        // A hole: stale data of a component that is not offered.
        (3, Regs::new(64, 960, 0, 0)),
    ];

    fn policy(kind: Kind, leaf_0: Regs) -> Policy {
        let mut policy = Policy::empty(kind);
        let mut set = |leaf, subleaf, regs| policy.leaves.set(leaf, subleaf, regs).unwrap();
        set(0x0, 0, leaf_0);
        set(0x1, 0, Regs::new(0x000c_06f2, 0xff10_0800, !OSXSAVE, u32::MAX));
        set(0x7, 0, Regs::new(2, 1, PKU, 1));
        for (subleaf, regs) in XSAVE {
            set(0xd, subleaf, regs);
        }
        set(0x4000_0000, 0, Regs::new(0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d));
        set(0x4000_0001, 0, Regs::new(0x0100_7efb, 0, 0, 0));
        set(0x8000_0000, 0, Regs::new(0x8000_001f, 0, 0, 0));
        set(0x8000_0001, 0, Regs::new(1, 1, TOPOEXT, u32::MAX));
        policy
    }

    fn with_bits(xcr0: u64, xss: u64) -> VcpuView {
        VcpuView { xcr0: ComponentSet::from_bits(xcr0), xss: ComponentSet::from_bits(xss), ..VcpuView::RESET }
    }

    fn every_subset(of: u64) -> impl Iterator<Item = u64> {
        let mut next = Some(of);
        core::iter::from_fn(move || {
            let set = next?;
            next = if set == 0 { None } else { Some((set - 1) & of) };
            Some(set)
        })
    }

    #[test]
    fn osxsave_and_ospke_follow_cr4_where_the_policy_has_the_feature() {
        let mut policy = policy(Kind::Kvm, INTEL);
        for (has_osxsave, has_pke) in [(false, false), (true, false), (false, true), (true, true)] {
            let vcpu = VcpuView { has_osxsave, has_pke, ..VcpuView::RESET };
            assert_eq!(policy.cpuid(0x1, 0, &vcpu).ecx & OSXSAVE != 0, has_osxsave);
            assert_eq!(policy.cpuid(0x7, 0, &vcpu).ecx & OSPKE != 0, has_pke);
        }
        let all = VcpuView { has_osxsave: true, has_pke: true, ..VcpuView::RESET };
        policy.leaves.set(0x1, 0, Regs::new(1, 0, OSXSAVE, 0)).unwrap();
        policy.leaves.set(0x7, 0, Regs::new(0, 1, OSPKE, 0)).unwrap();
        assert_eq!(policy.cpuid(0x1, 0, &all).ecx, 0, "without XSAVE, and whatever the row says");
        assert_eq!(policy.cpuid(0x7, 0, &all).ecx, 0, "without PKU, and whatever the row says");
    }

    #[test]
    fn apic_ids_are_the_vcpus_own() {
        let mut policy = policy(Kind::Hvm, Regs { eax: 0x1f, ..AMD });
        policy.leaves.set(0x8000_001e, 0, Regs::new(0xdead, 0x100, 0, 0)).unwrap();
        policy.leaves.set(0xb, 0, Regs::new(1, 2, 0x1ff, 0xdead)).unwrap();
        let vcpu = VcpuView::new(ApicId::new(0x1_0203));
        assert_eq!(policy.cpuid(0x1, 0, &vcpu).ebx, 0x0310_0800);
        assert_eq!(policy.cpuid(0xb, 0, &vcpu), Regs::new(1, 2, 0x100, 0x1_0203));
        assert_eq!(policy.cpuid(0xb, 0x1_0007, &vcpu), Regs::new(0, 0, 7, 0x1_0203), "an undefined subleaf");
        assert_eq!(policy.cpuid(0x8000_001e, 0, &vcpu), Regs::new(0x1_0203, 0x100, 0, 0));
        assert_eq!(policy.cpuid(0x1f, 0, &vcpu), Regs::ZERO, "the policy has none");
    }

    #[test]
    fn leaf_b_comes_with_x2apic_and_within_the_maximum() {
        let answer = |leaf_1_ecx, max| {
            let mut policy = Policy::empty(Kind::Hvm);
            policy.leaves.set(0, 0, Regs { eax: max, ..AMD }).unwrap();
            policy.leaves.set(1, 0, Regs::new(1, 0, leaf_1_ecx, 0)).unwrap();
            policy.cpuid(0xb, 1, &VcpuView::new(ApicId::new(6)))
        };
        assert_eq!(answer(X2APIC, 0xd), Regs::new(0, 0, 1, 6));
        assert_eq!(answer(X2APIC, 0xa), Regs::ZERO);
        assert_eq!(answer(0, 0xd), Regs::ZERO);
    }

    #[test]
    fn the_apic_bit_follows_apic_base_and_its_copy_on_amd_only() {
        let vcpu = VcpuView { is_apic_enabled: false, is_in_64_bit_mode: true, ..VcpuView::RESET };
        for (leaf_0, copy) in [(INTEL, APIC), (AMD, 0)] {
            let policy = policy(Kind::Kvm, leaf_0);
            assert_eq!(policy.cpuid(0x1, 0, &vcpu).edx, !APIC);
            assert_eq!(policy.cpuid(0x1, 0, &VcpuView::RESET).edx, u32::MAX);
            assert_eq!(policy.cpuid(0x8000_0001, 0, &vcpu).edx & APIC, copy);
        }
    }

    #[test]
    fn syscall_hides_outside_64_bit_mode_by_intels_manual_only() {
        let vcpu = VcpuView { is_in_64_bit_mode: true, ..VcpuView::RESET };
        for (leaf_0, outside) in [(INTEL, 0), (AMD, SYSCALL)] {
            let policy = policy(Kind::Kvm, leaf_0);
            assert_eq!(policy.cpuid(0x8000_0001, 0, &vcpu).edx & SYSCALL, SYSCALL);
            assert_eq!(policy.cpuid(0x8000_0001, 0, &VcpuView::RESET).edx & SYSCALL, outside);
        }
    }

    #[test]
    fn xsave_sizes_are_the_layout_engines_for_every_xcr0_and_xss_of_the_policy() {
        let policy = policy(Kind::Kvm, INTEL);
        let geometry = policy.leaves.geometry();
        for xcr0 in every_subset(policy.leaves.xcr0().bits()) {
            for xss in every_subset(policy.leaves.xss().bits()) {
                let vcpu = with_bits(xcr0, xss);
                let legal = ComponentSet::from_bits(xcr0 | 1);
                let all = legal | ComponentSet::from_bits(xss);
                assert_eq!(policy.cpuid(0xd, 0, &vcpu).ebx, geometry.standard_size(legal).unwrap(), "{xcr0:#x}");
                assert_eq!(
                    policy.cpuid(0xd, 1, &vcpu).ebx,
                    geometry.compacted_size(all).unwrap(),
                    "{xcr0:#x} {xss:#x}"
                );
            }
        }
    }

    #[test]
    fn xcr0_before_the_first_xsetbv_takes_576_bytes() {
        // Xen reports 0 there (its recorded XCR0 is still 0).
        let policy = policy(Kind::Hvm, INTEL);
        for xcr0 in [0, 1] {
            assert_eq!(policy.cpuid(0xd, 0, &with_bits(xcr0, 0)).ebx, 0x240);
            assert_eq!(policy.cpuid(0xd, 1, &with_bits(xcr0, 0)).ebx, 0x240);
        }
    }

    #[test]
    fn the_compacted_size_needs_xsavec_or_xsaves_and_xss_needs_xsaves() {
        let mut policy = policy(Kind::Pv, INTEL);
        let vcpu = with_bits(7, 0x1800);
        // Linux PV needs the size even when only XSAVEC is visible.
        for (features, size) in [(0, 0), (XSAVEC, 832), (XSAVES, 872), (XSAVEC | XSAVES, 872)] {
            policy.leaves.set(0xd, 1, Regs::new(features | 1, 0x2a00, 0x1800, 0)).unwrap();
            assert_eq!(policy.cpuid(0xd, 1, &vcpu).ebx, size);
        }
    }

    #[test]
    fn components_that_the_policy_lacks_neither_count_nor_have_a_row() {
        let policy = policy(Kind::Kvm, INTEL);
        assert_eq!(policy.cpuid(0xd, 0, &with_bits(0xf | 1 << 62, 0)).ebx, 0x340);
        assert_eq!(policy.cpuid(0xd, 3, &VcpuView::RESET), Regs::ZERO, "a hole");
        assert_eq!(policy.cpuid(0xd, 9, &VcpuView::RESET), Regs::new(8, 2688, 0, 0));
        for subleaf in [63, 64, 65, u32::MAX] {
            assert_eq!(policy.cpuid(0xd, subleaf, &VcpuView::RESET), Regs::ZERO);
        }
    }

    #[test]
    fn a_component_without_a_row_gives_the_largest_size() {
        let mut policy = policy(Kind::Kvm, INTEL);
        policy.leaves.set(0xd, 9, Regs::ZERO).unwrap();
        assert_eq!(policy.cpuid(0xd, 0, &with_bits(0x207, 0)).ebx, 0x2b00);
        assert_eq!(policy.cpuid(0xd, 1, &with_bits(0x207, 0)).ebx, 0x2a00);
    }

    /// Every (leaf, subleaf) below 0x1000 in each range that the policy has no row for.
    fn outside(policy: &Policy) -> impl Iterator<Item = (u32, u32)> {
        let starts = [0, 0x2000_0000, 0x4000_0000, 0x8000_0000, 0x8086_0000, 0xc000_0000, 0xffff_f000];
        let leaves = starts.into_iter().flat_map(|start| start..=start + 0xfff);
        let all = leaves.flat_map(|leaf| [0, 1, 2, 3, 7, 62, 63, 0xff, u32::MAX].map(|subleaf| (leaf, subleaf)));
        all.filter(|&(leaf, subleaf)| {
            let is_dynamic = leaf == 0xb || leaf == 0x8000_001e;
            let is_hole = (leaf, subleaf) == (0xd, 3);
            !is_dynamic && (is_hole || policy.leaves.get(leaf, subleaf).is_zero())
        })
    }

    #[test]
    fn outside_the_policy_amd_guests_and_xen_kinds_read_zero() {
        let vcpu = VcpuView { has_osxsave: true, has_pke: true, ..VcpuView::new(ApicId::new(9)) };
        let cases =
            [(Kind::Kvm, AMD), (Kind::Hvm, AMD), (Kind::Hvm, INTEL), (Kind::HvmShadow, INTEL), (Kind::Pv, INTEL)];
        for (kind, leaf_0) in cases {
            let policy = policy(kind, leaf_0);
            for (leaf, subleaf) in outside(&policy) {
                assert_eq!(policy.cpuid(leaf, subleaf, &vcpu), Regs::ZERO, "{kind:?} {leaf:#x} {subleaf:#x}");
            }
        }
    }

    #[test]
    fn subleaves_of_leaf_d_read_zero_for_every_number_up_to_0x1000() {
        let policy = policy(Kind::Kvm, AMD);
        let read: Vec<u32> = (0..0x1000).filter(|&n| !policy.cpuid(0xd, n, &VcpuView::RESET).is_zero()).collect();
        assert_eq!(read, [0, 1, 2, 5, 6, 7, 9, 11, 12, 17, 18]);
    }

    #[test]
    fn kvm_answers_intel_guests_the_highest_basic_leaf_above_each_maximum() {
        let mut policy = policy(Kind::Kvm, INTEL);
        let last = Regs::new(0x834, 0xed8, 0x64, 0);
        policy.leaves.set(0x16, 0, last).unwrap();
        let vcpu = VcpuView::RESET;
        for leaf in
            [0x17, 0x3fff_ffff, 0x4000_0002, 0x4000_0100, 0x5000_0000, 0x8000_0020, 0x8086_0000, 0xc000_0000, u32::MAX]
        {
            assert_eq!(policy.cpuid(leaf, 5, &vcpu), last, "{leaf:#x}");
        }
        for leaf in [0x2, 0x3, 0x15, 0x8000_0002, 0x8000_001f] {
            assert_eq!(policy.cpuid(leaf, 0, &vcpu), Regs::ZERO, "{leaf:#x} is within its range");
        }
    }

    #[test]
    fn the_highest_basic_leaf_is_answered_with_the_subleaf_asked_for_and_its_dynamic_bits() {
        let mut policy = policy(Kind::Kvm, Regs { eax: 0xb, ..INTEL });
        policy.leaves.set(0xb, 1, Regs::new(4, 8, 0x201, 0)).unwrap();
        let vcpu = VcpuView { has_pke: true, ..VcpuView::new(ApicId::new(0x77)) };
        assert_eq!(policy.cpuid(0x8000_0020, 1, &vcpu), Regs::new(4, 8, 0x201, 0x77));
        assert_eq!(policy.cpuid(0x8000_0020, 9, &vcpu), Regs::new(0, 0, 9, 0x77));
        policy.leaves.set(0, 0, Regs { eax: 0x7, ..INTEL }).unwrap();
        assert_eq!(policy.cpuid(0x20, 0, &vcpu), Regs::new(2, 1, PKU | OSPKE, 1));
        assert_eq!(policy.cpuid(0x20, 1, &vcpu), Regs::ZERO);
    }

    #[test]
    fn an_empty_policy_answers_zero_to_everything() {
        let all =
            VcpuView { has_osxsave: true, has_pke: true, is_in_64_bit_mode: true, ..with_bits(u64::MAX, u64::MAX) };
        for kind in Kind::ALL {
            let policy = Policy::empty(kind);
            for (leaf, subleaf) in outside(&policy).chain([(0xb, 0), (0x8000_001e, 0)]) {
                assert_eq!(policy.cpuid(leaf, subleaf, &all), Regs::ZERO, "{leaf:#x} {subleaf:#x}");
            }
        }
    }

    #[test]
    fn a_maximum_that_is_no_basic_leaf_ends_after_one_step() {
        let policy = policy(Kind::Kvm, Regs { eax: u32::MAX, ..INTEL });
        assert_eq!(policy.cpuid(0xc000_0000, 0, &VcpuView::RESET), Regs::ZERO);
    }
}
