//! Descriptor tables and segment registers (SDM vol. 3, 3.4, 3.5, 5.6; APM vol. 2, 4.5 to 4.8).

use crate::fault::{Fault, GpCause, SelectorCause};
use crate::ledger::{Selector, What};
use crate::memory::{Frame, PAGE_BYTES, Space, Translation};
use crate::msr;
use crate::processor::{Cr4, Processor};

/// GDTR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

impl TableRegister {
    /// The register as one number for the ledger: every canonical address follows from its low 48 bits.
    pub(crate) const fn packed(self) -> u64 {
        self.base << 16 >> 16 | (self.limit as u64) << 48
    }
}

/// A system segment register: LDTR or TR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment {
    /// The selector it was loaded with.
    pub selector: u16,
    /// Linear address of the segment.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u32,
}

/// The TI bit of a selector: it names a descriptor of the LDT.
const TABLE_INDICATOR: u16 = 1 << 2;
/// The bits of a selector that hold the requested privilege level.
const RPL: u16 = 3;
/// S_CET bit 0: shadow stacks are enabled in ring 0.
const SHADOW_STACK_ENABLED: u64 = 1;

/// The fields of a descriptor.
#[derive(Clone, Copy)]
struct Descriptor(u64);

impl Descriptor {
    const fn is_present(self) -> bool {
        self.0 >> 47 & 1 == 1
    }

    const fn dpl(self) -> u16 {
        (self.0 >> 45 & 3) as u16
    }

    /// The type, with the S bit as bit 4: 0x10 and up are code and data.
    const fn kind(self) -> u8 {
        (self.0 >> 40 & 0x1F) as u8
    }

    /// Bit 0 of the type of code and data: the CPU sets it when it loads the segment.
    const ACCESSED: u64 = 1 << 40;

    const fn is_accessed(self) -> bool {
        self.0 & Self::ACCESSED != 0
    }

    const fn is_readable(self) -> bool {
        // Data (bit 3 clear), or code that may be read (bit 1).
        matches!(self.kind(), 0x10..=0x17 | 0x1A | 0x1B | 0x1E | 0x1F)
    }

    /// Whether it is a 64-bit code segment of ring 0, which interrupt gates may name.
    const fn is_hypervisors_code(self) -> bool {
        self.is_present() && self.kind() >= 0x18 && self.0 >> 53 & 1 == 1 && self.dpl() == 0
    }

    const fn base(self) -> u64 {
        self.0 >> 16 & 0xFF_FFFF | (self.0 >> 56) << 24
    }

    #[expect(clippy::cast_possible_truncation, reason = "the limit has 20 bits")]
    const fn limit(self) -> u32 {
        let limit = (self.0 & 0xFFFF | self.0 >> 32 & 0xF_0000) as u32;
        if self.0 >> 55 & 1 == 1 { limit << 12 | 0xFFF } else { limit }
    }
}

const LDT: u8 = 0x02;
const TSS_AVAILABLE: u8 = 0x09;
const TSS_BUSY: u8 = 0x0B;

impl Processor<'_> {
    /// LGDT.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0.
    pub fn lgdt(&mut self, gdtr: TableRegister) -> Result<(), Fault> {
        self.check_ring_0()?;
        self.cpu.ledger.record(What::Gdtr, self.cpu.gdtr.packed(), gdtr.packed());
        self.cpu.gdtr = gdtr;
        Ok(())
    }

    /// LLDT.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0, and for a selector that names no LDT; #NP for one that is not present; #PF where the GDT is not
    /// mapped.
    pub fn lldt(&mut self, selector: u16) -> Result<(), Fault> {
        self.check_ring_0()?;
        let before = self.cpu.ldtr.map_or(0, |ldtr| ldtr.selector);
        let ldtr = if is_null(selector) { None } else { Some(self.system_segment(selector, &[LDT])?) };
        self.cpu.ledger.record(What::Ldtr, u64::from(before), u64::from(selector));
        self.cpu.ldtr = ldtr;
        Ok(())
    }

    /// LTR; the descriptor becomes busy.
    ///
    /// # Errors
    ///
    /// As [`Processor::lldt`]; #GP for a TSS that is busy.
    pub fn ltr(&mut self, selector: u16) -> Result<(), Fault> {
        self.check_ring_0()?;
        let tr = self.system_segment(selector, &[TSS_AVAILABLE])?;
        let descriptor = self.fetch(selector)?;
        let busy = descriptor.0 & !(0x1F << 40) | u64::from(TSS_BUSY) << 40;
        self.store_descriptor(self.linear(selector)?, busy)?;
        self.cpu.tr = Some(tr);
        Ok(())
    }

    /// MOV to DS, ES, FS or GS.
    ///
    /// A null selector clears the base on Intel CPUs, and leaves it on AMD CPUs without NullSelectorClearsBase.
    ///
    /// # Errors
    ///
    /// #GP for a descriptor beyond its table, of another kind or privilege; #NP; #PF where the table is not mapped.
    pub fn load_selector(&mut self, register: Selector, selector: u16) -> Result<(), Fault> {
        let base = if is_null(selector) {
            self.hardware.clears_null_base().then_some(0)
        } else {
            let descriptor = self.fetch(selector)?;
            let refuse = |cause| Err(Fault::GeneralProtection(GpCause::Selector { selector, cause }));
            if !descriptor.is_readable() {
                return refuse(SelectorCause::Type);
            }
            if descriptor.dpl() < u16::from(self.cpu.cpl).max(selector & RPL) {
                return refuse(SelectorCause::Privilege);
            }
            if !descriptor.is_present() {
                return Err(Fault::SegmentNotPresent { selector });
            }
            if !descriptor.is_accessed() {
                self.store_descriptor(self.linear(selector)?, descriptor.0 | Descriptor::ACCESSED)?;
            }
            Some(descriptor.base())
        };
        let place = match register {
            Selector::Ds => 0,
            Selector::Es => 1,
            Selector::Fs => 2,
            Selector::Gs => 3,
        };
        if let Some(held) = self.cpu.selectors.get_mut(place) {
            let before = core::mem::replace(held, selector);
            self.cpu.ledger.record(What::Selector(register), u64::from(before), u64::from(selector));
        }
        match (register, base) {
            (Selector::Fs, Some(base)) => self.cpu.msrs.set(self.hardware, msr::FS_BASE, base),
            (Selector::Gs, Some(base)) => self.cpu.msrs.set(self.hardware, msr::GS_BASE, base),
            _ => {}
        }
        Ok(())
    }

    /// INVLPG.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0.
    pub fn invlpg(&mut self, linear: u64) -> Result<(), Fault> {
        self.check_ring_0()?;
        self.cpu.tlb.flush_page(self.cpu.cr3, linear);
        self.cpu.ledger.record(What::Invlpg, linear, linear);
        Ok(())
    }

    /// A store of a descriptor at a linear address, through the TLB.
    ///
    /// # Errors
    ///
    /// #PF where nothing is mapped, or nothing that may be written.
    pub fn store_descriptor(&mut self, linear: u64, descriptor: u64) -> Result<(), Fault> {
        let Translation { frame, is_writable } = self.translate(linear)?;
        if !is_writable {
            return Err(Fault::PageFault { linear });
        }
        let index = index_in_page(linear);
        self.cpu.ledger.record(What::Descriptor, self.memory.descriptor(frame, index), descriptor);
        self.memory.set_descriptor(frame, index, descriptor);
        Ok(())
    }

    /// A store of an L1 entry into the page tables of a space.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0.
    pub fn store_l1_entry(&mut self, space: Space, linear: u64, l1_entry: u64) -> Result<(), Fault> {
        self.check_ring_0()?;
        self.cpu.ledger.record(What::L1Entry, self.memory.l1_entry(space, linear), l1_entry);
        self.memory.set_l1_entry(space, linear, l1_entry);
        Ok(())
    }

    /// IRET to a PV guest in ring `cpl`.
    ///
    /// # Errors
    ///
    /// #CP if the shadow stack in use was pushed by another CPU.
    pub fn enter_pv(&mut self, cpl: u8) -> Result<(), Fault> {
        let (number, ssp) = (self.cpu.number, self.cpu.ssp);
        if self.has_shadow_stack() && ssp != 0 {
            match self.memory.shadow_stack_mut(ssp) {
                Some(pushed_by) if *pushed_by == Some(number) => *pushed_by = None,
                _ => return Err(Fault::ControlProtection { ssp }),
            }
        }
        self.cpu.ssp = 0;
        self.cpu.cpl = cpl;
        Ok(())
    }

    /// Delivers an exception or interrupt of a PV guest to the hypervisor, whose gates name the code segment `selector`.
    ///
    /// # Errors
    ///
    /// #DF where the selector holds no 64-bit code segment for ring 0; #GP where IA32_PL0_SSP points to no free shadow stack
    /// (SDM vol. 3, 6.12.1 and 6.14).
    pub fn exit_pv(&mut self, selector: u16) -> Result<(), Fault> {
        if !self.has_code_segment(selector) {
            return Err(Fault::DoubleFault { selector });
        }
        if self.has_shadow_stack() {
            let (number, ssp) = (self.cpu.number, self.msr(msr::PL0_SSP)?);
            match self.memory.shadow_stack_mut(ssp) {
                Some(pushed_by @ None) => *pushed_by = Some(number),
                _ => return Err(Fault::GeneralProtection(GpCause::ShadowStackToken { ssp })),
            }
            self.cpu.ssp = ssp;
        }
        self.cpu.cpl = 0;
        Ok(())
    }

    /// Forgets every translation of the address space that is loaded and walks it anew, as the CPU may at any time.
    pub fn speculate(&mut self) {
        self.cpu.tlb.load(self.memory, self.cpu.cr3);
    }

    /// The page that an address is translated to, by what the CPU holds.
    ///
    /// # Errors
    ///
    /// #PF where nothing is mapped.
    pub fn frame(&mut self, linear: u64) -> Result<Frame, Fault> {
        Ok(self.translate(linear)?.frame)
    }

    fn translate(&mut self, linear: u64) -> Result<Translation, Fault> {
        self.cpu.tlb.translate(self.memory, self.cpu.cr3, linear).ok_or(Fault::PageFault { linear })
    }

    /// Looks whether an NMI in the hypervisor could be delivered: its gate names the code segment `code`, and its handler
    /// finds out by the limit of `marker` which CPU it is on.
    ///
    /// Both what the CPU holds of translations and what a walk would find have to lead to this CPU's descriptors.
    ///
    /// # Errors
    ///
    /// #DF where one of them does not.
    pub fn deliver_nmi(&self, code: u16, marker: u16) -> Result<(), Fault> {
        let walked = |page| self.memory.walk(self.cpu.cr3, page);
        let held = |page| self.cpu.tlb.held(self.cpu.cr3, page).or_else(|| walked(page));
        if self.finds_itself(code, marker, held) && self.finds_itself(code, marker, walked) {
            Ok(())
        } else {
            Err(Fault::DoubleFault { selector: code })
        }
    }

    fn finds_itself(&self, code: u16, marker: u16, translate: impl Fn(u64) -> Option<Translation>) -> bool {
        let find = |selector| {
            let linear = self.linear(selector).ok()?;
            let frame = translate(linear / PAGE_BYTES)?.frame;
            Some(Descriptor(self.memory.descriptor(frame, index_in_page(linear))))
        };
        let is_this_cpus = |marker: Descriptor| marker.is_present() && marker.limit() == u32::from(self.cpu.number);
        find(code).is_some_and(Descriptor::is_hypervisors_code) && find(marker).is_some_and(is_this_cpus)
    }

    fn has_code_segment(&mut self, selector: u16) -> bool {
        self.fetch(selector).is_ok_and(Descriptor::is_hypervisors_code)
    }

    fn has_shadow_stack(&self) -> bool {
        self.cpu.cr4.contains(Cr4::CET) && self.cpu.msrs.get(msr::S_CET) & SHADOW_STACK_ENABLED != 0
    }

    /// The descriptor that a selector names.
    fn fetch(&mut self, selector: u16) -> Result<Descriptor, Fault> {
        let linear = self.linear(selector)?;
        let frame = self.frame(linear)?;
        Ok(Descriptor(self.memory.descriptor(frame, index_in_page(linear))))
    }

    /// Where the descriptor that a selector names is.
    fn linear(&self, selector: u16) -> Result<u64, Fault> {
        let refuse = |cause| Fault::GeneralProtection(GpCause::Selector { selector, cause });
        let (base, limit) = if selector & TABLE_INDICATOR == 0 {
            (self.cpu.gdtr.base, u32::from(self.cpu.gdtr.limit))
        } else {
            let ldtr = self.cpu.ldtr.ok_or(refuse(SelectorCause::NoLdt))?;
            (ldtr.base, ldtr.limit)
        };
        if u32::from(selector | 7) > limit {
            return Err(refuse(SelectorCause::Limit));
        }
        Ok(base.wrapping_add(u64::from(selector & !7)))
    }

    fn system_segment(&mut self, selector: u16, kinds: &[u8]) -> Result<Segment, Fault> {
        let refuse = |cause| Fault::GeneralProtection(GpCause::Selector { selector, cause });
        if is_null(selector) || selector & TABLE_INDICATOR != 0 {
            return Err(refuse(SelectorCause::Null));
        }
        let low = self.fetch(selector)?;
        if !kinds.contains(&low.kind()) {
            return Err(refuse(SelectorCause::Type));
        }
        if !low.is_present() {
            return Err(Fault::SegmentNotPresent { selector });
        }
        // System descriptors have 16 bytes: the second half holds the upper half of the base.
        let high = self.fetch(selector.saturating_add(8))?;
        Ok(Segment { selector, base: low.base() | high.0 << 32, limit: low.limit() })
    }
}

const fn is_null(selector: u16) -> bool {
    selector & !RPL == 0
}

const fn index_in_page(linear: u64) -> usize {
    (linear % PAGE_BYTES / 8) as usize
}
