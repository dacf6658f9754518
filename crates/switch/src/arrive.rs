//! Putting a vCPU on: tables, segments, breakpoints.

use crate::debug::DR7_RESET;
use crate::gdt::LDT_SELECTOR;
use crate::switcher::{AddressSpace, Switched, Switcher};
use crate::{
    Cpu, Cr4, DebugRegister, DrMask, GdtBase, Gdtr, GuestSlot, Kind, Ldt, Msr, MsrWrite, Occupancy, Register, Segment,
    Selector, Vcpu,
};

impl Switcher<'_> {
    /// Returns what CR4 holds while `to` is on the CPU.
    pub(crate) const fn cr4_of(&self, to: &Vcpu) -> Cr4 {
        match to.kind() {
            Kind::Pv64 | Kind::Pv32 => Cr4::of_pv(self.own.cr4, to.guest_cr4),
            Kind::Hvm => self.own.cr4,
        }
    }

    /// Loads page tables, GDT and LDT.
    ///
    /// At every moment the GDT that is loaded is mapped and has this CPU's descriptors: an NMI may come between any two
    /// writes. So slot 14 of the arriving vCPU is right before CR3 brings it, and a table of another vCPU's is left for the
    /// default one, which every address space maps, before CR3 takes it away.
    pub(crate) fn put_on_tables(&mut self, cpu: &mut impl Cpu, to: &mut Vcpu) {
        let space = AddressSpace { cr3: to.cr3, domain: Some(to.name().domain) };
        let Some(bitness) = to.kind().bitness() else {
            self.load_default_gdt(cpu);
            self.load_space(cpu, space);
            return;
        };
        let (area, name) = (self.machine.per_domain, to.name());
        let gdtr = Gdtr::new(GdtBase::of_vcpu(area, name.vcpu));
        let slot = GuestSlot::of_hypervisor(area, name.domain, name.vcpu);
        let entry = self.own.tables.entry(bitness);

        let has_new_entry = to.slot.update(entry, |entry| cpu.write_l1(slot, entry));
        let stays_mapped = self.shadows.gdtr.get().is_some_and(|gdtr_now| gdtr_now.base() == gdtr.base())
            || self.shadows.cr3.get().is_some_and(|now| now.domain == space.domain);
        if !stays_mapped {
            self.load_default_gdt(cpu);
        }
        self.load_space(cpu, space);
        if has_new_entry {
            // Other vCPUs of the domain may have run here while the slot held another CPU's page.
            cpu.invlpg(slot);
        }
        self.shadows.gdtr.update(gdtr, |gdtr| cpu.lgdt(gdtr));

        let ldt = Ldt::of_vcpu(area, name.vcpu, to.ldt_descriptors);
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
        self.turn_breakpoints_off(cpu);
    }

    /// Loads the default table, whatever limit it is loaded with.
    fn load_default_gdt(&mut self, cpu: &mut impl Cpu) {
        let base = GdtBase::of_cpu(&self.own.tables);
        if self.shadows.gdtr.get().is_none_or(|gdtr| gdtr.base() != base) {
            self.shadows.gdtr.update(Gdtr::new(base), |gdtr| cpu.lgdt(gdtr));
        }
    }

    fn load_space(&mut self, cpu: &mut impl Cpu, space: AddressSpace) {
        self.shadows.cr3.update(space, |space| cpu.write_cr3(space.cr3));
    }

    /// Loads the segments of a PV guest, and the bases of a 64-bit one.
    pub(crate) fn put_on_segments(&mut self, cpu: &mut impl Cpu, to: &mut Vcpu) -> Switched {
        let mut switched = Switched::default();
        match to.kind().occupancy(self.machine.virtualisation) {
            Occupancy::Pv => {
                for (segment, fault) in Segment::ALL.into_iter().zip(&mut switched.faults) {
                    let wanted = to.selectors.get(segment);
                    *fault = self.load_segment(cpu, segment, wanted).err();
                    if fault.is_some() {
                        to.selectors.set(segment, Selector::NULL);
                    }
                }
                if to.kind() == Kind::Pv64 {
                    for register in [Register::FsBase, Register::GsBase] {
                        self.write(cpu, register, to.registers.get(register));
                    }
                }
            }
            // #VMEXIT reads the descriptors of DS and ES again, from tables that a PV guest's selectors are not for.
            Occupancy::Svm => {
                for segment in [Segment::Ds, Segment::Es] {
                    self.load_null(cpu, segment);
                }
            }
            Occupancy::Vmx | Occupancy::Idle => {}
        }
        switched
    }

    fn load_segment(
        &mut self,
        cpu: &mut impl Cpu,
        segment: Segment,
        wanted: Selector,
    ) -> Result<(), crate::SegmentFault> {
        if wanted.is_null() {
            self.load_selector(cpu, segment, wanted);
            return Ok(());
        }
        // A selector that is not null always is loaded: the same number selects another descriptor in other tables.
        let loaded = cpu.load_selector(segment, wanted);
        match loaded {
            Ok(()) => {
                self.shadows.selectors[segment as usize].found(wanted);
                self.forget_base(segment);
            }
            Err(_) => self.load_null(cpu, segment),
        }
        loaded
    }

    fn load_null(&mut self, cpu: &mut impl Cpu, segment: Segment) {
        self.load_selector(cpu, segment, Selector::NULL);
    }

    /// Loads a null selector.
    fn load_selector(&mut self, cpu: &mut impl Cpu, segment: Segment, null: Selector) {
        let clears_base = self.machine.clears_null_base;
        let is_written = self.shadows.selectors[segment as usize].update(null, |null| {
            // A null selector is loaded without a look at any table: it does not fault.
            _ = cpu.load_selector(segment, null);
        });
        if is_written && let Some(base) = base_register(segment) {
            let shadow = &mut self.shadows.registers[base.index()];
            if clears_base { shadow.found(0) } else { shadow.forget() }
        }
    }

    fn forget_base(&mut self, segment: Segment) {
        if let Some(base) = base_register(segment) {
            self.shadows.registers[base.index()].forget();
        }
    }

    /// Loads breakpoints, where the guest has some or can see the registers.
    ///
    /// The order is off, addresses and masks, on: no breakpoint is ever a mixture of two guests'. Masks are loaded wherever the
    /// CPU has them: a guest that does not know of them must find them zero (XSA-444).
    pub(crate) fn put_on_debug(&mut self, cpu: &mut impl Cpu, to: &Vcpu) {
        let is_pv = to.kind() != Kind::Hvm;
        let wants_addresses = if is_pv { to.debug.is_active() } else { to.has_debug_access };
        if !wants_addresses {
            self.turn_breakpoints_off(cpu);
            return;
        }
        let dr7 = if is_pv { to.debug.dr7 } else { DR7_RESET };
        if !self.has_debug_of(to) {
            self.turn_breakpoints_off(cpu);
        }
        for (register, (address, shadow)) in
            DebugRegister::ADDRESSES.into_iter().zip(to.debug.addresses.into_iter().zip(&mut self.shadows.dr))
        {
            shadow.update(address, |address| cpu.write_debug(register, address));
        }
        if self.machine.has_dr_masks {
            for (mask, (value, shadow)) in
                DrMask::ALL.into_iter().zip(to.debug.masks.into_iter().zip(&mut self.shadows.dr_masks))
            {
                shadow.update(value, |value| cpu.wrmsr(MsrWrite::new(Msr::DrMask(mask), u64::from(value))));
            }
        }
        if !is_pv && to.kind().occupancy(self.machine.virtualisation) == Occupancy::Vmx {
            self.shadows.dr6.update(to.debug.dr6, |dr6| cpu.write_debug(DebugRegister::Dr6, dr6));
        }
        self.shadows.dr7.update(dr7, |dr7| cpu.write_debug(DebugRegister::Dr7, dr7));
    }

    /// Tells whether addresses and masks are the vCPU's already.
    fn has_debug_of(&self, to: &Vcpu) -> bool {
        let has_addresses = to.debug.addresses.iter().zip(&self.shadows.dr).all(|(&address, dr)| dr.holds(address));
        let has_masks = to.debug.masks.iter().zip(&self.shadows.dr_masks).all(|(&value, mask)| mask.holds(value));
        has_addresses && (has_masks || !self.machine.has_dr_masks)
    }

    fn turn_breakpoints_off(&mut self, cpu: &mut impl Cpu) {
        self.shadows.dr7.update(DR7_RESET, |dr7| cpu.write_debug(DebugRegister::Dr7, dr7));
    }
}

const fn base_register(segment: Segment) -> Option<Register> {
    match segment {
        Segment::Fs => Some(Register::FsBase),
        Segment::Gs => Some(Register::GsBase),
        Segment::Ds | Segment::Es => None,
    }
}
