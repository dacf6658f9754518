//! Where descriptor tables lie: every table is 16 pages, of which the hypervisor's is number 14.
//!
//! A PV guest has 14 pages of descriptors of its own. The hypervisor's follow in page 14, so that its selectors are the same
//! numbers in every table, and the limit ends there: page 15 can never be reached and is never mapped. Which page of the
//! hypervisor's lies in slot 14 depends on the CPU (its TSS and LDT are in it) and on the guest's bitness.
//!
//! | table | base | pages 0–13 | page 14 |
//! |---|---|---|---|
//! | default: idle and HVM | the CPU's native page − 0xE000 | one zero page, shared, read-only | the CPU's native page |
//! | a PV vCPU's | by the number of the vCPU in its domain | the guest's, read-only | this CPU's native or compat page |
//!
//! A selector that strays into the zero page finds a descriptor that is not present: #GP or #NP instead of whatever the last
//! guest had there.

use crate::{CpuId, DomainId, VcpuId};

/// The number of the page with the hypervisor's descriptors.
pub const HYPERVISOR_PAGE: u8 = 14;
/// How many descriptors a PV guest can have.
pub const GUEST_DESCRIPTORS: u16 = 7168;
/// The selector of the hypervisor's first descriptor.
pub const FIRST_HYPERVISOR_SELECTOR: u16 = 0xE000;
/// The limit of every table that the hypervisor loads: the last byte of page 14.
pub const LIMIT: u16 = 0xEFFF;
/// What a VM exit of VMX leaves as the limit (SDM vol. 3C, 28.5.2).
pub const LIMIT_AFTER_VMX_EXIT: u16 = 0xFFFF;
/// The selector of the LDT, in the table of every CPU.
pub const LDT_SELECTOR: u16 = 0xE050;
/// The selector whose limit is the number of the CPU.
pub const CPU_MARKER_SELECTOR: u16 = 0xE060;

const PAGE_BYTES: u64 = 4096;

/// Where the kernel maps what each domain has for itself: the tables of its vCPUs, at addresses that depend only on the
/// number of the vCPU. Every domain has its own mappings there, so that the same address is another table after CR3 changes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PerDomainArea {
    start: u64,
}

impl PerDomainArea {
    /// How far the tables of two vCPUs are apart: 64 KiB of GDT and 64 KiB of LDT.
    const VCPU_BYTES: u64 = 1 << 17;
    const LDT_OFFSET: u64 = 1 << 16;

    /// Takes the linear address of the area, in the upper half and aligned to 1 GiB: 8192 vCPUs fill exactly that.
    #[must_use]
    pub const fn new(start: u64) -> Option<Self> {
        if start >= 0xFFFF_8000_0000_0000 && start.is_multiple_of(1 << 30) { Some(Self { start }) } else { None }
    }

    const fn gdt(self, vcpu: VcpuId) -> u64 {
        self.start + vcpu.number() as u64 * Self::VCPU_BYTES
    }

    const fn ldt(self, vcpu: VcpuId) -> u64 {
        self.gdt(vcpu) + Self::LDT_OFFSET
    }
}

/// The linear address of a global descriptor table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct GdtBase(u64);

impl GdtBase {
    /// Returns the base of a PV vCPU's table.
    #[must_use]
    pub const fn of_vcpu(area: PerDomainArea, vcpu: VcpuId) -> Self {
        Self(area.gdt(vcpu))
    }

    /// Returns the base of a CPU's default table.
    #[must_use]
    pub const fn of_cpu(tables: &CpuTables) -> Self {
        Self(tables.native.linear.wrapping_sub(FIRST_HYPERVISOR_SELECTOR as u64))
    }

    /// Returns the address.
    #[must_use]
    pub const fn linear(self) -> u64 {
        self.0
    }
}

/// What LGDT loads.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Gdtr {
    base: GdtBase,
    limit: u16,
}

impl Gdtr {
    /// Takes a table with the limit that the hypervisor loads, [`LIMIT`].
    #[must_use]
    pub const fn new(base: GdtBase) -> Self {
        Self { base, limit: LIMIT }
    }

    /// Returns what a VM exit of VMX makes of HOST_GDTR_BASE: the limit is not the one that was loaded.
    #[must_use]
    pub const fn after_vmx_exit(base: GdtBase) -> Self {
        Self { base, limit: LIMIT_AFTER_VMX_EXIT }
    }

    /// Returns the table's base.
    #[must_use]
    pub const fn base(self) -> GdtBase {
        self.base
    }

    /// Returns the offset of the table's last byte.
    #[must_use]
    pub const fn limit(self) -> u16 {
        self.limit
    }
}

/// What LLDT loads, in 64-bit mode: the segment that its descriptor describes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ldt {
    base: u64,
    limit: u16,
}

impl Ldt {
    /// Returns the LDT of a PV vCPU with this many descriptors, 1 to 8192; `None` for none: the selector is null then.
    #[must_use]
    pub const fn of_vcpu(area: PerDomainArea, vcpu: VcpuId, descriptors: u16) -> Option<Self> {
        if descriptors == 0 || descriptors > 8192 {
            return None;
        }
        Some(Self { base: area.ldt(vcpu), limit: (descriptors - 1) * 8 + 7 })
    }

    /// Returns the linear address.
    #[must_use]
    pub const fn base(self) -> u64 {
        self.base
    }

    /// Returns the offset of the last byte.
    #[must_use]
    pub const fn limit(self) -> u16 {
        self.limit
    }
}

/// For which descriptors of ring 1 and ring 3 a hypervisor's page is made: those of 64-bit or of 32-bit guests. Descriptors
/// of ring 0 are at the same places in both, as interrupts arrive on either.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Bitness {
    /// 64-bit guests; also the page of the default table.
    Native,
    /// 32-bit guests.
    Compat,
}

/// The number of a page of physical memory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Frame(u64);

impl Frame {
    /// Takes a number below 2^40: physical addresses have at most 52 bits.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number < 1 << 40 { Some(Self(number)) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// An entry of a lowest-level page table.
///
/// None is ever global: what CR3 changes must leave the TLB with it. None is ever executable or reachable by guests.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct L1Entry(u64);

impl L1Entry {
    /// Present, accessed, dirty; not executable.
    const READ_ONLY: u64 = 1 << 63 | 0x61;
    const WRITABLE: u64 = Self::READ_ONLY | 0x2;

    /// Maps one of the hypervisor's pages of descriptors. The CPU writes to it: LTR marks the TSS busy.
    #[must_use]
    pub const fn of_hypervisor_page(frame: Frame) -> Self {
        Self(frame.0 << 12 | Self::WRITABLE)
    }

    /// Maps a page of descriptors that were audited, or the zero page: read-only.
    #[must_use]
    pub const fn of_guest_page(frame: Frame) -> Self {
        Self(frame.0 << 12 | Self::READ_ONLY)
    }

    /// Returns the entry's bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the page that is mapped.
    #[must_use]
    pub const fn frame(self) -> Frame {
        Frame(self.0 >> 12 & ((1 << 40) - 1))
    }
}

/// One of the hypervisor's two pages of descriptors on one CPU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GdtPage {
    linear: u64,
    entry: L1Entry,
}

impl GdtPage {
    /// Takes a page at a linear address of the upper half, aligned to a page.
    #[must_use]
    pub const fn new(linear: u64, frame: Frame) -> Option<Self> {
        if linear >= 0xFFFF_8000_0000_0000 && linear.is_multiple_of(PAGE_BYTES) {
            Some(Self { linear, entry: L1Entry::of_hypervisor_page(frame) })
        } else {
            None
        }
    }
}

/// The hypervisor's descriptors on one CPU, with the entries that map them into the tables of guests.
///
/// Made at the bring-up of the CPU, so that a switch only compares and copies an entry. The boot CPU's are made after the
/// hypervisor has relocated itself: the frames are others then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CpuTables {
    cpu: CpuId,
    native: GdtPage,
    compat: GdtPage,
}

impl CpuTables {
    /// Takes the two pages of a CPU.
    #[must_use]
    pub const fn new(cpu: CpuId, native: GdtPage, compat: GdtPage) -> Self {
        Self { cpu, native, compat }
    }

    /// Returns whose tables they are.
    #[must_use]
    pub const fn cpu(&self) -> CpuId {
        self.cpu
    }

    /// Returns the entry that slot 14 of a guest has while its vCPU is on this CPU.
    #[must_use]
    pub const fn entry(&self, bitness: Bitness) -> L1Entry {
        match bitness {
            Bitness::Native => self.native.entry,
            Bitness::Compat => self.compat.entry,
        }
    }
}

/// One of the 15 mapped pages of a PV vCPU's table. There is no value for page 15.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct GuestSlot {
    domain: DomainId,
    vcpu: VcpuId,
    page: u8,
    linear: u64,
}

impl GuestSlot {
    /// Returns slot 14, where the hypervisor's page goes.
    #[must_use]
    pub const fn of_hypervisor(area: PerDomainArea, domain: DomainId, vcpu: VcpuId) -> Self {
        Self::at(area, domain, vcpu, HYPERVISOR_PAGE)
    }

    /// Returns one of slots 0 to 13, where the guest's pages go.
    #[must_use]
    pub const fn of_guest(area: PerDomainArea, domain: DomainId, vcpu: VcpuId, page: u8) -> Option<Self> {
        if page < HYPERVISOR_PAGE { Some(Self::at(area, domain, vcpu, page)) } else { None }
    }

    const fn at(area: PerDomainArea, domain: DomainId, vcpu: VcpuId, page: u8) -> Self {
        Self { domain, vcpu, page, linear: area.gdt(vcpu) + page as u64 * PAGE_BYTES }
    }

    /// Returns the domain in whose page tables the slot is.
    #[must_use]
    pub const fn domain(self) -> DomainId {
        self.domain
    }

    /// Returns the vCPU whose table it belongs to.
    #[must_use]
    pub const fn vcpu(self) -> VcpuId {
        self.vcpu
    }

    /// Returns the number of the page in the table, 0 to 14.
    #[must_use]
    pub const fn page(self) -> u8 {
        self.page
    }

    /// Returns the linear address that the slot maps: what INVLPG takes.
    #[must_use]
    pub const fn linear(self) -> u64 {
        self.linear
    }
}
