//! What the hypervisor of a proof has set up before any switch: descriptor tables, shadow stacks and page tables.
//!
//! The tables are those of Xen and of Selfsame: every GDT has 16 pages, of which the hypervisor's is number 14, so that its
//! selectors are the same numbers everywhere. A PV vCPU's GDT lies at an address that depends on its number in its domain.

use alloc::vec::Vec;

use crate::proof::guest::HYPERVISORS_MSRS;
use crate::proof::{Guest, MachineShape, SaveInstructions};
use crate::{
    Carried, Cr4, Fault, Frame, Machine, Memory, Owner, PAGE_BYTES, Space, TableRegister, Tag, carried_msrs, msr,
};

/// Where domains have the tables of their vCPUs: vCPU `n` has its GDT at `n` times 128 KiB.
pub const PER_DOMAIN: u64 = 0xFFFF_8200_0000_0000;
/// The page of every GDT that holds the hypervisor's descriptors.
pub const HYPERVISOR_PAGE: u64 = 14;
/// The limit of every GDT.
pub const GDT_LIMIT: u16 = 0xEFFF;
/// The hypervisor's code segment: what its interrupt gates name.
pub const CODE_SELECTOR: u16 = 0xE008;
/// The task state segment.
pub const TSS_SELECTOR: u16 = 0xE040;
/// The local descriptor table.
pub const LDT_SELECTOR: u16 = 0xE050;
/// A segment whose limit is the number of the CPU.
pub const MARKER_SELECTOR: u16 = 0xE060;

const DEFAULT_TABLES: u64 = 0xFFFF_8300_0000_0000;
const SHADOW_STACKS: u64 = 0xFFFF_8400_0000_0FF8;
const CODE_64: u64 = 0x00AF_9B00_0000_FFFF;
const DATA: u64 = 0x00CF_9300_0000_FFFF;
const CODE_32_RING_1: u64 = 0x00CF_BB00_0000_FFFF;
const AVAILABLE_TSS: u64 = 0x0000_8900_0000_0067;
const MARKER: u64 = 0x0000_9100_0000_0000;
const DATA_RING_3: u64 = 0x0040_F300_0000_FFFF;

/// A page of the hypervisor's descriptors.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorPage {
    /// Where the hypervisor has it mapped.
    pub linear: u64,
    /// The page.
    pub frame: Frame,
}

/// What is one CPU's own.
#[derive(Clone, Debug)]
pub struct Home {
    /// The CPU.
    pub cpu: u16,
    /// Its descriptors for 64-bit guests; also those of its default GDT.
    pub native: DescriptorPage,
    /// Its descriptors for 32-bit guests.
    pub compat: DescriptorPage,
    /// The page tables of idle.
    pub cr3: u64,
    /// CR4 of the hypervisor.
    pub cr4: Cr4,
    /// The hypervisor's shadow stack, if it has one.
    pub pl0_ssp: Option<u64>,
    /// The hypervisor's values of MSRs that guests have values of too, those that the CPUs have.
    pub msrs: Vec<(u32, u64)>,
}

impl Home {
    /// GDTR while no PV vCPU is on the CPU.
    #[must_use]
    pub const fn default_gdtr(&self) -> TableRegister {
        TableRegister { base: self.native.linear - HYPERVISOR_PAGE * PAGE_BYTES, limit: GDT_LIMIT }
    }

    /// The hypervisor's value of an MSR; zero if it has none.
    #[must_use]
    pub fn msr(&self, index: u32) -> u64 {
        self.msrs.iter().find(|(known, _)| *known == index).map_or(0, |(_, value)| *value)
    }

    /// Makes the tables of a CPU.
    pub(crate) fn build(machine: &mut Machine, shape: &MachineShape, cpu: u16, zero: Frame) -> Self {
        let table = DEFAULT_TABLES + u64::from(cpu) * 0x10_0000;
        let native = DescriptorPage {
            linear: table + HYPERVISOR_PAGE * PAGE_BYTES,
            frame: descriptors(machine.memory(), cpu, 0),
        };
        let compat =
            DescriptorPage { linear: table + 0x8_0000, frame: descriptors(machine.memory(), cpu, CODE_32_RING_1) };
        for page in 0..HYPERVISOR_PAGE {
            let read_only = zero.l1_entry() & !0x2;
            machine.memory().set_l1_entry(Space::Hypervisor, table + page * PAGE_BYTES, read_only);
        }
        for page in [native, compat] {
            machine.memory().set_l1_entry(Space::Hypervisor, page.linear, page.frame.l1_entry());
        }
        machine.set_descriptor_pages(cpu, [native.frame, compat.frame]);

        let pl0_ssp = shape.has_cet.then_some(SHADOW_STACKS + u64::from(cpu) * PAGE_BYTES);
        let mut cr4 = Cr4::FSGSBASE;
        if shape.save != SaveInstructions::Fxsave {
            cr4 = cr4.union(Cr4::OSXSAVE);
        }
        if shape.has_cet {
            cr4 = cr4.union(Cr4::CET);
        }
        let mut values: Vec<(u32, u64)> =
            HYPERVISORS_MSRS.into_iter().map(|index| (index, own_value(index, cpu))).collect();
        values.extend([msr::SPEC_CTRL, msr::PQR_ASSOC].map(|index| (index, own_value(index, cpu))));
        let values = values.into_iter().filter(|(index, _)| machine.on(cpu).is_some_and(|cpu| cpu.has_msr(*index)));
        let msrs = values.collect();
        Self { cpu, native, compat, cr3: 0, cr4, pl0_ssp, msrs }
    }

    /// What the hypervisor does on a CPU after RESET, before anything about guests.
    pub(crate) fn boot(&self, machine: &mut Machine) -> Result<(), Fault> {
        // A TSS that was busy before sleep would be refused by LTR.
        let tss = usize::from(TSS_SELECTOR & 0xFFF) / 8;
        for frame in [self.native.frame, self.compat.frame] {
            machine.memory().set_descriptor(frame, tss, AVAILABLE_TSS | u64::from(self.cpu) << 16);
        }
        // Whatever was on the shadow stack before sleep is not returned to.
        if let Some(ssp) = self.pl0_ssp {
            machine.memory().insert_shadow_stack(ssp);
        }
        let Some(mut cpu) = machine.on(self.cpu) else { return Ok(()) };
        cpu.set_cr4(self.cr4)?;
        cpu.set_cr3(self.cr3)?;
        cpu.lgdt(self.default_gdtr())?;
        cpu.ltr(TSS_SELECTOR)?;
        if self.pl0_ssp.is_some() {
            cpu.wrmsr(msr::S_CET, 1)?;
        }
        Ok(())
    }

    /// What VM exits put back on the CPU, once it is booted.
    pub(crate) fn host(&self, machine: &mut Machine) -> Option<Carried> {
        let indices = carried_msrs(machine.hardware().virtualisation());
        let mut host = machine.on(self.cpu)?.carried();
        for (index, value) in indices.iter().zip(&mut host.msrs) {
            if let Some((_, own)) = self.msrs.iter().find(|(known, _)| known == index) {
                *value = *own;
            }
        }
        Some(host)
    }
}

/// A value of the hypervisor's for an MSR: as wide as the MSR is, and another on every CPU.
fn own_value(index: u32, cpu: u16) -> u64 {
    match index {
        msr::SFMASK | msr::SYSENTER_CS | msr::SPEC_CTRL => 1 << 29 | u64::from(cpu),
        _ => Tag::new(Owner::Cpu(cpu), (index & 0xFFF) as u16).bits(),
    }
}

/// Makes a page with the hypervisor's descriptors.
fn descriptors(memory: &mut Memory, cpu: u16, ring_1: u64) -> Frame {
    let frame = memory.add_frame();
    let rows = [(1, CODE_64), (2, DATA), (3, ring_1), (12, MARKER | u64::from(cpu))];
    for (index, descriptor) in rows {
        memory.set_descriptor(frame, index, descriptor);
    }
    frame
}

/// Where a PV vCPU's GDT is.
#[must_use]
pub const fn gdt_of(vcpu: u16) -> u64 {
    PER_DOMAIN + ((vcpu as u64) << 17)
}

/// Where a PV vCPU's LDT is.
#[must_use]
pub const fn ldt_of(vcpu: u16) -> u64 {
    gdt_of(vcpu) + (1 << 16)
}

/// The first of the data segments in a guest's GDT that [`base_of`] tells the base of.
pub const FIRST_GUEST_SELECTOR: u16 = 0x43;

/// The base of one of a guest's data segments, by its selector.
#[must_use]
pub fn base_of(guest: u16, selector: u16) -> u64 {
    (u64::from(guest) + 1) << 20 | u64::from(selector & !7) << 4
}

/// Makes the GDT of a PV guest: a page with four data segments for ring 3, and 13 empty ones.
pub(crate) fn build_guest_gdt(memory: &mut Memory, guest: &mut Guest, zero: Frame) {
    let page = memory.add_frame();
    for index in 8..12 {
        let base = base_of(guest.number, index << 3);
        let descriptor = DATA_RING_3 | (base & 0xFF_FFFF) << 16 | (base >> 24) << 56;
        memory.set_descriptor(page, usize::from(index), descriptor);
    }
    let space = Space::Domain(guest.shape.domain);
    guest.gdt_frames = (0..HYPERVISOR_PAGE).map(|at| if at == 0 { page } else { zero }).collect();
    for (at, frame) in (0..).zip(&guest.gdt_frames) {
        let read_only = frame.l1_entry() & !0x2;
        memory.set_l1_entry(space, gdt_of(guest.shape.vcpu) + at * PAGE_BYTES, read_only);
    }
    memory.insert_root(guest.cr3, space);
}
