//! Page tables, GDT and LDT, put on and taken off.

use crate::gdt::LDT_SELECTOR;
use crate::switcher::{AddressSpace, Switcher};
use crate::{Bitness, Cpu, Cr4, GdtBase, Gdtr, GuestSlot, Ldt, Selector, Vcpu, VcpuKind};

impl Switcher<'_> {
    /// Returns what CR4 holds while `to` is on the CPU.
    pub(crate) const fn cr4_of(&self, to: &Vcpu) -> Cr4 {
        match to.kind() {
            VcpuKind::Pv64 | VcpuKind::Pv32 => Cr4::of_pv(self.own.cr4, to.guest_cr4),
            VcpuKind::Hvm => self.own.cr4,
        }
    }

    /// Loads page tables, GDT and LDT of `to`.
    ///
    /// An NMI may come between any two writes: at every moment the GDT that is loaded is mapped and has this CPU's
    /// descriptors. So slot 14 of the arriving vCPU is right before CR3 brings it, and the table of another vCPU is left for
    /// the default one, which every address space maps, before CR3 takes it away.
    pub(crate) fn put_on_tables(&mut self, cpu: &mut impl Cpu, to: &mut Vcpu) {
        let space = AddressSpace { cr3: to.cr3, domain: Some(to.name().domain()) };
        match to.kind().bitness() {
            None => {
                self.load_default_gdt(cpu);
                self.load_space(cpu, space);
            }
            Some(bitness) => self.put_on_guest_tables(cpu, to, bitness, space),
        }
    }

    fn put_on_guest_tables(&mut self, cpu: &mut impl Cpu, to: &mut Vcpu, bitness: Bitness, space: AddressSpace) {
        let (area, name) = (self.platform.per_domain, to.name());
        let gdtr = Gdtr::new(GdtBase::of_vcpu(area, name.vcpu()));
        let slot = GuestSlot::of_hypervisor(area, name.domain(), name.vcpu());

        let has_new_entry = to.slot.update(self.own.tables.entry(bitness), |entry| cpu.write_l1(slot, entry));
        let is_at_same_base = self.shadows.gdtr.get().is_some_and(|loaded| loaded.base() == gdtr.base());
        let is_in_same_domain = self.shadows.space.get().is_some_and(|loaded| loaded.domain == space.domain);
        if !is_at_same_base && !is_in_same_domain {
            self.load_default_gdt(cpu);
        }
        self.load_space(cpu, space);
        if has_new_entry {
            // The vCPU's domain may have been here while the slot held another CPU's page: the TLB may still have that.
            cpu.invlpg(slot);
        }
        self.shadows.gdtr.update(gdtr, |gdtr| cpu.lgdt(gdtr));

        let ldt = Ldt::of_vcpu(area, name.vcpu(), to.ldt_descriptors);
        self.shadows.ldtr.update(ldt, |ldt| match ldt {
            Some(ldt) => {
                cpu.write_ldt_descriptor(bitness, ldt);
                cpu.lldt(Selector::new(LDT_SELECTOR));
            }
            None => cpu.lldt(Selector::NULL),
        });
    }

    /// Loads what idle has: nothing of any domain is left in use.
    pub(crate) fn take_off_tables(&mut self, cpu: &mut impl Cpu) {
        let gdtr = Gdtr::new(GdtBase::of_cpu(&self.own.tables));
        self.shadows.gdtr.update(gdtr, |gdtr| cpu.lgdt(gdtr));
        self.shadows.ldtr.update(None, |_| cpu.lldt(Selector::NULL));
        self.load_space(cpu, AddressSpace { cr3: self.own.cr3, domain: None });
        self.shadows.cr4.update(self.own.cr4, |cr4| cpu.write_cr4(cr4));
    }

    /// Loads the default table, unless it is loaded with whatever limit: what VM exits leave reaches page 15, which is not
    /// mapped, and only the hypervisor runs on it.
    fn load_default_gdt(&mut self, cpu: &mut impl Cpu) {
        let base = GdtBase::of_cpu(&self.own.tables);
        if self.shadows.gdtr.get().is_none_or(|loaded| loaded.base() != base) {
            self.shadows.gdtr.update(Gdtr::new(base), |gdtr| cpu.lgdt(gdtr));
        }
    }

    fn load_space(&mut self, cpu: &mut impl Cpu, space: AddressSpace) {
        self.shadows.space.update(space, |space| cpu.write_cr3(space.cr3));
    }
}
