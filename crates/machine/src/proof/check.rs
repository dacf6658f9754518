//! What a guest finds, compared with what it has put there.

use alloc::vec::Vec;

use selfsame_cpuid::{MaskingMsr, Register, Word, WordSource};
use selfsame_xstate::{Component, ComponentSet};

use crate::processor::DR7_RESET;
use crate::proof::guest::HYPERVISORS_MSRS;
use crate::proof::home::{GDT_LIMIT, HYPERVISOR_PAGE, base_of, gdt_of, ldt_of};
use crate::proof::{Guest, GuestKind, Home, MachineShape};
use crate::{Area, Cr4, Fault, GpCause, MXCSR_INIT, Owner, PAGE_BYTES, Processor, Selector, TableRegister, Tag, msr};

/// Something that a guest can find out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Item {
    /// The registers of a component.
    Component(Component),
    /// MXCSR.
    Mxcsr,
    /// The x87 instruction and data pointers.
    FpPointers,
    /// XCR0.
    Xcr0,
    /// IA32_XSS, as XSAVES takes it.
    Xss,
    /// CR0.TS.
    TaskSwitched,
    /// CR3.
    Cr3,
    /// CR4.
    Cr4,
    /// An MSR.
    Msr(u32),
    /// A segment register.
    Selector(Selector),
    /// DR0 to DR3.
    Breakpoint(u8),
    /// The address mask of a breakpoint.
    BreakpointMask(u8),
    /// DR6.
    Dr6,
    /// DR7.
    Dr7,
    /// GDTR: base in the low 48 bits, limit above.
    Gdtr,
    /// A page of the GDT: the number of its frame.
    GdtPage(u8),
    /// LDTR: base in the low 48 bits, limit above.
    Ldtr,
    /// A word of CPUID; of 0.eax, whether it faults outside ring 0.
    Cpuid(Word),
    /// How many others have trained the branch predictors.
    Predictor,
}

/// Something that a guest finds otherwise than it should.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Difference {
    /// What it is.
    pub item: Item,
    /// What should be there.
    pub expected: u64,
    /// What is there.
    pub found: u64,
}

/// A collection of differences under way.
#[derive(Default)]
struct Comparison(Vec<Difference>);

impl Comparison {
    fn expect(&mut self, item: Item, expected: u64, found: u64) {
        if expected != found {
            self.0.push(Difference { item, expected, found });
        }
    }
}

impl Guest {
    /// Compares an image that is said to hold all of the guest's extended state with what the guest put into its registers.
    pub(crate) fn differences_in(&self, image: &Area, machine: &MachineShape) -> Vec<Difference> {
        let mut comparison = Comparison::default();
        for component in self.shape.user(machine) | self.shape.supervisor() {
            let found = if image.in_use().contains(component) { image.contents.get(component) } else { 0 };
            comparison.expect(Item::Component(component), self.contents.get(component), found);
        }
        let has_mxcsr = !image.is_compacted() || image.in_use().contains(Component::SSE);
        let mxcsr = if has_mxcsr { image.contents.mxcsr } else { MXCSR_INIT };
        comparison.expect(Item::Mxcsr, u64::from(self.contents.mxcsr), u64::from(mxcsr));
        comparison.0
    }
}

impl Processor<'_> {
    /// Compares everything that `guest`, which this CPU is in, can find out with what it is to find.
    pub(crate) fn differences(&mut self, guest: &Guest, home: &Home) -> Vec<Difference> {
        let mut comparison = Comparison::default();
        self.compare_extended(&mut comparison, guest);
        self.compare_msrs(&mut comparison, guest);
        self.compare_breakpoints(&mut comparison, guest);
        let others = self.cpu.predictor.iter().filter(|owner| **owner != Owner::Vcpu(guest.number)).count();
        comparison.expect(Item::Predictor, 0, others as u64);
        if self.has_msr(msr::HWCR) {
            let rest = self.cpu.msrs.get(msr::HWCR) & !FAULTING_IN_HWCR;
            comparison.expect(Item::Msr(msr::HWCR), msr::HWCR_RESET, rest);
        }
        if guest.shape.kind == GuestKind::Hvm {
            comparison.expect(Item::Cpuid(FIRST_WORD), 0, u64::from(self.is_faulting_on()));
        } else {
            self.compare_control(&mut comparison, guest, home);
            self.compare_tables(&mut comparison, guest, home);
            self.compare_segments(&mut comparison, guest);
            self.compare_cpuid(&mut comparison, guest);
        }
        comparison.0
    }

    /// Compares what a CPU holds whose hypervisor says that it holds nothing of any vCPU with what the hypervisor set up.
    pub(crate) fn idle_differences(&mut self, home: &Home) -> Vec<Difference> {
        let mut comparison = Comparison::default();
        comparison.expect(Item::Gdtr, home.default_gdtr().packed(), self.cpu.gdtr.packed());
        comparison.expect(Item::Ldtr, 0, self.cpu.ldtr.map_or(0, |ldtr| ldtr.base));
        comparison.expect(Item::Cr3, home.cr3, self.cpu.cr3);
        comparison.expect(Item::Cr4, home.cr4.0, self.cpu.cr4.0);
        comparison.expect(Item::TaskSwitched, 0, u64::from(self.cpu.is_task_switched));
        comparison.expect(Item::Dr7, DR7_RESET, self.cpu.dr7);
        comparison.expect(Item::Msr(msr::XFD), 0, self.cpu.xfd.bits());
        comparison.expect(Item::Msr(msr::XFD_ERR), 0, self.cpu.xfd_err.bits());
        for index in [msr::SPEC_CTRL, msr::PQR_ASSOC] {
            comparison.expect(Item::Msr(index), home.msr(index), self.cpu.msrs.get(index));
        }
        if let Some(ssp) = home.pl0_ssp {
            comparison.expect(Item::Msr(msr::PL0_SSP), ssp, self.cpu.contents().get(Component::CET_S));
        }
        comparison.0
    }

    fn compare_extended(&mut self, comparison: &mut Comparison, guest: &Guest) {
        for component in self.reachable(guest) {
            let found = self.cpu.contents().get(component);
            comparison.expect(Item::Component(component), guest.contents.get(component), found);
        }
        let (expected, found) = (&guest.contents, self.cpu.contents());
        comparison.expect(Item::Mxcsr, u64::from(expected.mxcsr), u64::from(found.mxcsr));
        // Without an exception pending, some CPUs never restore the pointers: then they must only not be another guest's.
        let is_lost = self.hardware.keeps_fp_error_pointers() && !expected.has_fp_exception;
        let is_foreign = |owner| matches!(owner, Owner::Vcpu(number) if number != guest.number);
        if !is_lost || Tag::read(found.fp_pointers).map(Tag::owner).is_some_and(is_foreign) {
            comparison.expect(Item::FpPointers, expected.fp_pointers, found.fp_pointers);
        }
        if self.hardware.has_xsave() {
            comparison.expect(Item::Xcr0, guest.xcr0.bits(), self.cpu.xcr0.bits());
        }
        if guest.shape.kind == GuestKind::Hvm {
            let found = self.cpu.xss - self.cpu.xss_exiting();
            comparison.expect(Item::Xss, guest.xss.bits(), found.bits());
        }
        if self.hardware.has_xfd() {
            comparison.expect(Item::Msr(msr::XFD), guest.xfd.bits(), self.cpu.xfd.bits());
            if !guest.shape.xfd().is_empty() {
                comparison.expect(Item::Msr(msr::XFD_ERR), guest.xfd_err.bits(), self.cpu.xfd_err.bits());
            }
        }
    }

    /// The components whose registers the guest reaches, or that act on it.
    fn reachable(&self, guest: &Guest) -> ComponentSet {
        let mut reachable = ComponentSet::LEGACY | guest.xcr0;
        match guest.shape.kind {
            GuestKind::Hvm => {
                if guest.cr4.contains(Cr4::PKE) {
                    reachable.insert(Component::PKRU);
                }
                if guest.shape.has_cet {
                    reachable = reachable.with(Component::CET_U).with(Component::CET_S);
                }
            }
            GuestKind::Pv64 | GuestKind::Pv32 => {
                if self.cpu.cr4.contains(Cr4::CET) && self.hardware.supervisor().contains(Component::CET_U) {
                    reachable.insert(Component::CET_U);
                }
            }
        }
        reachable
    }

    fn compare_msrs(&mut self, comparison: &mut Comparison, guest: &Guest) {
        for (&index, &expected) in &guest.msrs {
            // The bases of a 32-bit guest are those of its segments.
            let is_base = matches!(index, msr::FS_BASE | msr::GS_BASE) && guest.shape.kind == GuestKind::Pv32;
            if !is_base {
                comparison.expect(Item::Msr(index), expected, self.cpu.msrs.get(index));
            }
        }
    }

    fn compare_breakpoints(&mut self, comparison: &mut Comparison, guest: &Guest) {
        comparison.expect(Item::Dr7, guest.dr7, self.cpu.dr7);
        if guest.has_debug_access {
            comparison.expect(Item::Dr6, guest.dr6, self.cpu.dr6);
        }
        if !guest.has_breakpoints() {
            return;
        }
        for (number, (&expected, &found)) in (0..).zip(guest.breakpoints.iter().zip(&self.cpu.breakpoints)) {
            comparison.expect(Item::Breakpoint(number), expected, found);
        }
        if self.hardware.has_dbext() {
            let masks = msr::DR_ADDRESS_MASKS.into_iter().zip(guest.breakpoint_masks);
            for (number, (index, expected)) in (0..).zip(masks) {
                comparison.expect(Item::BreakpointMask(number), expected, self.cpu.msrs.get(index));
            }
        }
    }

    fn compare_control(&mut self, comparison: &mut Comparison, guest: &Guest, home: &Home) {
        let chosen = Cr4::TSD.union(Cr4::DE).union(Cr4::FSGSBASE);
        let cr4 = home.cr4.minus(chosen).0 | guest.cr4.0 & chosen.0;
        comparison.expect(Item::Cr4, cr4, self.cpu.cr4.0);
        comparison.expect(Item::Cr3, guest.cr3, self.cpu.cr3);
        comparison.expect(Item::TaskSwitched, u64::from(guest.is_task_switched), u64::from(self.cpu.is_task_switched));
        for index in HYPERVISORS_MSRS {
            comparison.expect(Item::Msr(index), home.msr(index), self.cpu.msrs.get(index));
        }
        if let Some(ssp) = home.pl0_ssp {
            comparison.expect(Item::Msr(msr::PL0_SSP), ssp, self.cpu.contents().get(Component::CET_S));
        }
    }

    fn compare_tables(&mut self, comparison: &mut Comparison, guest: &Guest, home: &Home) {
        let base = gdt_of(guest.shape.vcpu);
        let gdtr = TableRegister { base, limit: GDT_LIMIT };
        comparison.expect(Item::Gdtr, gdtr.packed(), self.cpu.gdtr.packed());
        let hypervisors = if guest.shape.kind == GuestKind::Pv32 { home.compat } else { home.native };
        let frames = guest.gdt_frames.iter().copied().chain([hypervisors.frame]);
        for (page, expected) in (0..=HYPERVISOR_PAGE).zip(frames) {
            let found = self.frame(base + page * PAGE_BYTES).map_or(0, crate::Frame::number);
            let page = u8::try_from(page).unwrap_or(u8::MAX);
            comparison.expect(Item::GdtPage(page), expected.number(), found);
        }
        let limit = guest.ldt_descriptors.wrapping_mul(8).wrapping_sub(1);
        let expected = TableRegister { base: ldt_of(guest.shape.vcpu), limit };
        let expected = if guest.ldt_descriptors == 0 { 0 } else { expected.packed() };
        let found = self.cpu.ldtr.map_or(0, |ldtr| {
            TableRegister { base: ldtr.base, limit: u16::try_from(ldtr.limit).unwrap_or(0) }.packed()
        });
        comparison.expect(Item::Ldtr, expected, found);
    }

    fn compare_segments(&mut self, comparison: &mut Comparison, guest: &Guest) {
        let held = self.cpu.selectors;
        for (register, (expected, found)) in Selector::ALL.into_iter().zip(guest.selectors.into_iter().zip(held)) {
            comparison.expect(Item::Selector(register), u64::from(expected), u64::from(found));
            let base = match register {
                Selector::Fs => msr::FS_BASE,
                Selector::Gs => msr::GS_BASE,
                Selector::Ds | Selector::Es => continue,
            };
            if guest.shape.kind == GuestKind::Pv32 && expected > 3 {
                comparison.expect(Item::Msr(base), base_of(guest.number, expected), self.cpu.msrs.get(base));
            }
        }
    }

    fn compare_cpuid(&mut self, comparison: &mut Comparison, guest: &Guest) {
        if self.hardware.faulting().is_some() {
            let is_faulting = matches!(self.cpuid(0, 0), Err(Fault::GeneralProtection(GpCause::CpuidFaulting)));
            comparison.expect(Item::Cpuid(FIRST_WORD), 1, u64::from(is_faulting));
            return;
        }
        for word in self.hardware.masks().iter().flat_map(MaskingMsr::words) {
            let WordSource::Cpuid { leaf, subleaf, register } = word.source() else { continue };
            let found = self.cpuid(leaf, subleaf.unwrap_or(0)).map_or(u64::MAX, |answer| answer.get(register).into());
            let kept = self.hardware.leaves().word(word) & kept_bits(leaf, register);
            let mut expected = guest.policy.word(word) | kept;
            if leaf == 1 && register == Register::Ecx && guest.cr4.contains(Cr4::OSXSAVE) {
                expected |= 1 << 27;
            }
            comparison.expect(Item::Cpuid(word), expected.into(), found);
        }
    }
}

/// Bits that stay the machine's, because leaves that no mask covers mean something else without them: X2APIC, HTT and
/// CMP_LEGACY.
const fn kept_bits(leaf: u32, register: Register) -> u32 {
    match (leaf, register) {
        (1, Register::Ecx) => 1 << 21,
        (1, Register::Edx) => 1 << 28,
        (0x8000_0001, Register::Ecx) => 1 << 1,
        _ => 0,
    }
}

/// The bit of HWCR that switches CPUID faulting on; the others are nobody's business.
const FAULTING_IN_HWCR: u64 = 1 << 35;

/// The first word of all: 0.eax.
const FIRST_WORD: Word = match Word::find(0, 0, Register::Eax) {
    Some(word) => word,
    None => unreachable!(),
};
