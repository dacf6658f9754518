//! The mutants, by file: each row takes one protection of the context switch away.

use super::Mutant;

const fn mutant(name: &'static str, file: &'static str, text: &'static str, replacement: &'static str) -> Mutant {
    Mutant { name, file, text, replacement }
}

/// Every mutant.
pub(super) const MUTANTS: &[Mutant] = &[
    // The step.
    mutant(
        "xcr0-not-widened",
        "enter.rs",
        "self.shadows.xcr0.update(wide, |value| step.xcr0_wide = Some(value));",
        "let _ = wide;",
    ),
    mutant(
        "xcr0-not-the-guests",
        "enter.rs",
        "self.shadows.xcr0.update(xcr0, |value| step.xcr0_final = Some(value));",
        "let _ = xcr0;",
    ),
    mutant(
        "xcr0-wider-than-needed",
        "enter.rs",
        "let wide = xcr0.filter(|&value| has_all(value)).unwrap_or(self.platform.xcr0);",
        "let wide = self.platform.xcr0;",
    ),
    mutant(
        "xss-not-raised",
        "enter.rs",
        "self.shadows.xss.update(self.platform.xss, |value| step.xss_save = Some(value));",
        "",
    ),
    mutant("xss-not-the-guests", "enter.rs", "self.shadows.xss.update(xss, |value| step.xss_final = Some(value));", ""),
    mutant(
        "software-image-loaded-narrowly",
        "enter.rs",
        "if extended.is_laid_out_by_software() =>",
        "if extended.is_laid_out_by_software() && false =>",
    ),
    mutant(
        "fp-pointers-left",
        "enter.rs",
        "clears_fp_pointers: !self.platform.loads_fp_pointers && load.is_some(),",
        "clears_fp_pointers: false,",
    ),
    mutant(
        "new-components-not-initialised",
        "enter.rs",
        "if leaving == Some(arriving) {",
        "if leaving.is_some_and(|leaving| leaving.name == arriving.name) {",
    ),
    mutant("state-moved-at-every-entry", "enter.rs", "if leaving == Some(arriving) {", "if leaving.is_none() {"),
    // Runs.
    mutant("xfd-err-not-read-back", "enter.rs", "guest.xfd_err = ComponentSet::from_bits(cpu.rdmsr(Msr::XfdErr));", ""),
    mutant("xfd-not-read-back", "enter.rs", "if !guest.is_intercepted {", "if false {"),
    mutant("xfd-left-for-the-host", "enter.rs", "            self.clear_xfd(cpu);\n", ""),
    mutant(
        "xfd-err-not-the-guests",
        "enter.rs",
        "self.shadows.xfd_err.update(guest.xfd_err, |value| self.entry.xfd_err = Some(value));",
        "",
    ),
    mutant(
        "xfd-not-the-guests",
        "enter.rs",
        "self.shadows.xfd.update(guest.xfd, |value| self.entry.xfd = Some(value));",
        "",
    ),
    mutant(
        "nm-by-task-switched-told-as-xfd",
        "device_not_available.rs",
        "if guest_cr0 & Self::TS != 0 {",
        "if false {",
    ),
    mutant("shadow-stack-not-put-back", "enter.rs", "self.entry.pl0_ssp = self.own_pl0_ssp();", ""),
    mutant("shadow-stack-believed-under-hvm", "enter.rs", "self.shadows.pl0_ssp.forget();", ""),
    mutant(
        "task-switched-not-set",
        "enter.rs",
        "self.shadows.has_task_switched.update(true, |_| self.entry.sets_task_switched = true);",
        "",
    ),
    mutant("task-switched-left", "enter.rs", "        self.clear_task_switched(cpu);\n", ""),
    // Extended state of one vCPU.
    mutant(
        "disabled-components-forgotten",
        "extended.rs",
        "self.accumulated = self.accumulated.with(xcr0);",
        "self.accumulated = AccumulatedXcr0::START.with(xcr0);",
    ),
    mutant("pkru-gated-by-xcr0", "extended.rs", "self.ungated = self.ungated.with(Component::PKRU);", ""),
    mutant(
        "pv-takes-the-hypervisors-shadow-stack-along",
        "extended.rs",
        "const PV_OWNED: ComponentSet = Occupant::Pv.owned();",
        "const PV_OWNED: ComponentSet = Occupant::Hvm.owned();",
    ),
    mutant(
        "hvm-loses-its-shadow-stack",
        "extended.rs",
        "const HVM_OWNED: ComponentSet = Occupant::Hvm.owned();",
        "const HVM_OWNED: ComponentSet = Occupant::Pv.owned();",
    ),
    mutant(
        "xss-exiting-bitmap-empty",
        "extended.rs",
        "host.components().minus(guest.components())",
        "host.components().minus(guest.components()).minus(host.components())",
    ),
    // Which registers, and when.
    mutant("no-barrier", "switcher.rs", "cpu.wrmsr(MsrWrite::new(Msr::PredCmd, IBPB));", "let _ = (cpu, IBPB);"),
    mutant(
        "own-registers-not-put-back",
        "switcher.rs",
        "if before.is_none_or(|before| before.occupancy != occupancy) {",
        "if before.is_none() {",
    ),
    mutant(
        "vcpus-registers-not-written",
        "switcher.rs",
        "self.write_vcpus(cpu, to, VCPUS.at(occupancy).minus(BASES));",
        "",
    ),
    mutant(
        "guests-write-not-taken-at-once",
        "switcher.rs",
        "self.write_vcpus(cpu, vcpu, held.intersection(RegisterSet::EMPTY.with(register)));",
        "let _ = (cpu, held);",
    ),
    mutant("shadows-survive-sleep", "switcher.rs", "        self.shadows = Shadows::default();\n", ""),
    mutant(
        "cpu-set-up-under-a-vcpu",
        "switcher.rs",
        "if self.current.is_some() || self.owner.is_some() {",
        "if false {",
    ),
    mutant("cpu-not-claimed", "switcher.rs", "to.residence.claim(self.own.tables.cpu())?;", ""),
    mutant("cr4-not-the-guests", "tables.rs", "Cr4::of_pv(self.own.cr4, to.guest_cr4)", "self.own.cr4"),
    mutant(
        "fsgsbase-behind-the-guests-back",
        "control.rs",
        "const PV: u64 = Self::TSD | Self::DE | Self::FSGSBASE;",
        "const PV: u64 = Self::TSD | Self::DE;",
    ),
    mutant("exit-of-hvm-not-noted", "leave.rs", "self.has_unnoted_exit = true;", ""),
    mutant("live-registers-not-read-back", "leave.rs", "vcpu.registers.set(register, value);", ""),
    mutant(
        "carried-registers-believed",
        "leave.rs",
        "self.shadows.registers[register.index()].found(self.own.registers.get(register));",
        "let _ = register;",
    ),
    mutant("residence-never-ends", "leave.rs", "vcpu.residence.release();", ""),
    mutant("own-registers-not-idles", "leave.rs", "self.write_own(cpu, Occupancy::Idle);", ""),
    mutant(
        "kernel-gs-base-believed-under-vmx",
        "register.rs",
        "\"KERNEL_GS_BASE\" [] [Any Vcpu Live Carried]",
        "\"KERNEL_GS_BASE\" [] [Any Vcpu Vcpu Carried]",
    ),
    mutant(
        "syscall-of-pv-enters-anywhere",
        "register.rs",
        "\"LSTAR\" [] [Any Own Vcpu Carried]",
        "\"LSTAR\" [] [Any Any Vcpu Carried]",
    ),
    mutant(
        "tsc-aux-of-the-last-guest",
        "register.rs",
        "[\"rdtscp\", \"rdpid\"] [Any Vcpu Vcpu Vcpu]",
        "[\"rdtscp\", \"rdpid\"] [Any Any Vcpu Vcpu]",
    ),
    mutant(
        "idle-speculates-as-the-last-guest",
        "register.rs",
        "\"amd-ssbd\"] [Own Vcpu Vcpu Vcpu]",
        "\"amd-ssbd\"] [Any Vcpu Vcpu Vcpu]",
    ),
    // Tables.
    mutant("slot-not-flushed", "tables.rs", "cpu.invlpg(slot);", ""),
    mutant(
        "slot-not-written",
        "tables.rs",
        "to.slot.update(self.own.tables.entry(bitness), |entry| cpu.write_l1(slot, entry))",
        "to.slot.update(self.own.tables.entry(bitness), |_| ())",
    ),
    mutant(
        "slot-written-always",
        "tables.rs",
        "to.slot.update(self.own.tables.entry(bitness), |entry| cpu.write_l1(slot, entry))",
        "{ cpu.write_l1(slot, self.own.tables.entry(bitness)); true }",
    ),
    mutant(
        "slot-of-the-wrong-bitness",
        "vcpu.rs",
        "Self::Pv32 => Some(Bitness::Compat),",
        "Self::Pv32 => Some(Bitness::Native),",
    ),
    mutant("table-taken-away-while-in-use", "tables.rs", "if !is_at_same_base && !is_in_same_domain {", "if false {"),
    mutant("gdt-not-the-guests", "tables.rs", "self.shadows.gdtr.update(gdtr, |gdtr| cpu.lgdt(gdtr));\n\n", "\n"),
    mutant(
        "gdt-loaded-always",
        "tables.rs",
        "self.shadows.gdtr.update(gdtr, |gdtr| cpu.lgdt(gdtr));\n\n",
        "cpu.lgdt(gdtr);\n\n",
    ),
    mutant("gdt-reaches-page-15", "gdt.rs", "pub const LIMIT: u16 = 0xEFFF;", "pub const LIMIT: u16 = 0xFFFF;"),
    mutant(
        "limit-after-a-vmx-exit-believed",
        "leave.rs",
        "self.shadows.gdtr.found(Gdtr::after_vmx_exit(GdtBase::of_cpu(&self.own.tables)));",
        "",
    ),
    mutant("ldt-of-the-last-guest", "tables.rs", "None => cpu.lldt(Selector::NULL),", "None => {}"),
    mutant("ldt-descriptor-not-written", "tables.rs", "cpu.write_ldt_descriptor(bitness, ldt);", ""),
    mutant("ldt-after-an-exit-believed", "leave.rs", "self.shadows.ldtr.found(None);", ""),
    mutant(
        "page-tables-not-the-guests",
        "tables.rs",
        "self.shadows.space.update(space, |space| cpu.write_cr3(space.cr3));",
        "let _ = (cpu, space);",
    ),
    mutant(
        "page-tables-stay-in-use",
        "tables.rs",
        "self.load_space(cpu, AddressSpace { cr3: self.own.cr3, domain: None });",
        "",
    ),
    mutant("changed-tables-not-taken-at-once", "switcher.rs", "        self.put_on_tables(cpu, vcpu);\n", ""),
    // Segments.
    mutant("selectors-not-read-back", "segments.rs", "from.selectors.set(segment, selector);", ""),
    mutant(
        "equal-selectors-not-loaded",
        "segments.rs",
        "let loaded = cpu.load_selector(segment, wanted);",
        "if self.shadows.selectors[segment as usize].holds(wanted) {\n            return Ok(());\n        }\n        let loaded = \
         cpu.load_selector(segment, wanted);",
    ),
    mutant(
        "base-of-a-loaded-segment-believed",
        "segments.rs",
        "        if let Some(base) = base(segment) {\n            self.shadows.registers[base.index()].forget();",
        "        if let Some(base) = base(segment) {\n            let _ = base;",
    ),
    mutant(
        "null-base-believed",
        "segments.rs",
        "if self.platform.clears_null_base { shadow.found(0) } else { shadow.forget() }",
        "shadow.found(0)",
    ),
    mutant("bases-not-read-back", "segments.rs", "from.registers.set(register, base);", ""),
    mutant(
        "bases-read-by-rdmsr",
        "segments.rs",
        "if self.own.cr4.has_fsgsbase() && !self.shadows.cr4.get().is_some_and(Cr4::has_fsgsbase) {",
        "if false {",
    ),
    mutant(
        "bases-of-a-32-bit-guest-believed",
        "segments.rs",
        "BASES.for_each(|register| self.shadows.registers[register.index()].forget());",
        "let _ = BASES;",
    ),
    mutant(
        "selectors-of-pv-under-svm",
        "segments.rs",
        "                    self.load_null(cpu, segment, Selector::NULL);\n                }",
        "                    let _ = segment;\n                }",
    ),
    mutant("selectors-after-an-exit-believed", "leave.rs", "nulls = &Segment::ALL;", ""),
    // Breakpoints.
    mutant(
        "breakpoints-of-the-last-guest",
        "breakpoints.rs",
        "shadow.update(value, |value| cpu.write_debug(register, value));",
        "let _ = (register, value, shadow);",
    ),
    mutant(
        "breakpoints-left-on",
        "breakpoints.rs",
        "        if !is_wanted {\n            self.turn_breakpoints_off(cpu);",
        "        if !is_wanted {",
    ),
    mutant(
        "breakpoint-masks-left",
        "breakpoints.rs",
        "            if self.platform.has_dr_masks {",
        "            if false {",
    ),
    mutant(
        "breakpoint-masks-not-compared",
        "breakpoints.rs",
        "has_addresses && (has_masks || !self.platform.has_dr_masks)",
        "has_addresses && (has_masks || true)",
    ),
    mutant("breakpoints-not-read-back", "breakpoints.rs", "*value = cpu.read_debug(register);", ""),
    mutant("dr6-not-read-back", "breakpoints.rs", "from.debug.dr6 = cpu.read_debug(DebugRegister::Dr6);", ""),
    mutant("dr6-after-a-hit-believed", "leave.rs", "self.shadows.dr6.forget();", ""),
    // CPUID and descriptors.
    mutant(
        "faulting-not-switched",
        "visibility.rs",
        "cpu.wrmsr(MsrWrite::new(msr, rest | u64::from(is_faulting) << control.bit));",
        "let _ = (is_faulting, &cpu, msr, rest);",
    ),
    mutant(
        "faulting-register-overwritten",
        "visibility.rs",
        "let rest = self.own.faulting_register & !(1 << control.bit);",
        "let rest = 0;",
    ),
    mutant(
        "masks-not-switched",
        "visibility.rs",
        "Visibility::Masks(masks) if to.kind() != VcpuKind::Hvm => {",
        "Visibility::Masks(masks) if to.kind() != VcpuKind::Hvm && false => {",
    ),
    mutant(
        "osxsave-not-the-guests",
        "visibility.rs",
        "let has_osxsave = guest_cr4 & Cr4::OSXSAVE != 0 && has_feature(policy, \"xsave\");",
        "let has_osxsave = guest_cr4 | Cr4::OSXSAVE != 0 && has_feature(policy, \"xsave\");",
    ),
    mutant(
        "topology-bits-masked",
        "visibility.rs",
        "raw.word(word) & (bit(\"ht\") | bit(\"x2apic\") | bit(\"cmp-legacy\"))",
        "raw.word(word) & (bit(\"ht\") & bit(\"x2apic\") & bit(\"cmp-legacy\"))",
    ),
    mutant("changed-visibility-not-taken-at-once", "switcher.rs", "        self.show(cpu, vcpu);\n", ""),
    mutant(
        "descriptor-of-ring-0",
        "descriptor.rs",
        "let level = if own_level == 0 { kernel_level } else { own_level };",
        "let _ = kernel_level;\n        let level = own_level;",
    ),
    mutant(
        "descriptor-written-by-the-cpu",
        "descriptor.rs",
        "return Ok(Self(leveled | ACCESSED));",
        "return Ok(Self(leveled));",
    ),
    mutant(
        "descriptor-beyond-the-gdt",
        "descriptor.rs",
        "false if number > 0 && number < self.gdt =>",
        "false if number > 0 && number <= self.gdt =>",
    ),
    mutant(
        "descriptor-beyond-the-ldt",
        "descriptor.rs",
        "true if number < self.ldt =>",
        "true if number <= self.ldt =>",
    ),
];
