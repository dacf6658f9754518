//! One logical CPU: its registers, and the instructions that change control registers.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use selfsame_xstate::{Component, ComponentSet, xcr0_faults};

use crate::control_block::Controls;
use crate::extended::{Contents, ExtendedState};
use crate::fault::{Exit, Fault, GpCause, NmCause, UdCause};
use crate::hardware::{Hardware, Virtualisation};
use crate::ledger::{Ledger, Selector, What};
use crate::memory::{Frame, Memory};
use crate::msr::{self, MsrFile};
use crate::segment::{Segment, TableRegister};
use crate::tag::Owner;
use crate::tlb::Tlb;

/// Control register 4, as far as a switch is about it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Cr4(pub u64);

impl Cr4 {
    /// RDTSC is for ring 0 only.
    pub const TSD: Self = Self(1 << 2);
    /// DR4 and DR5 do not exist.
    pub const DE: Self = Self(1 << 3);
    /// RDFSBASE and its kin are enabled.
    pub const FSGSBASE: Self = Self(1 << 16);
    /// XSAVE and its kin, XSETBV and XGETBV are enabled.
    pub const OSXSAVE: Self = Self(1 << 18);
    /// Protection keys for user pages are enabled.
    pub const PKE: Self = Self(1 << 22);
    /// Shadow stacks and indirect branch tracking are enabled.
    pub const CET: Self = Self(1 << 23);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits without those of `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// The registers of one logical CPU.
///
/// They are read here and changed by the instructions of [`Processor`] only.
#[derive(Clone, Debug)]
pub struct LogicalCpu {
    /// Its number in the machine.
    pub number: u16,
    /// The current privilege level.
    pub cpl: u8,
    /// CR0.TS.
    pub is_task_switched: bool,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: Cr4,
    /// XCR0.
    pub xcr0: ComponentSet,
    /// IA32_XSS.
    pub xss: ComponentSet,
    /// IA32_XFD.
    pub xfd: ComponentSet,
    /// IA32_XFD_ERR.
    pub xfd_err: ComponentSet,
    /// GDTR.
    pub gdtr: TableRegister,
    /// LDTR, `None` while it is null.
    pub ldtr: Option<Segment>,
    /// TR, `None` before the first LTR.
    pub tr: Option<Segment>,
    /// DS, ES, FS and GS, by [`Selector`].
    pub selectors: [u16; 4],
    /// DR0 to DR3.
    pub breakpoints: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// The shadow stack pointer of ring 0 while one is pushed.
    pub ssp: u64,
    /// Who has trained the branch predictors since the last IBPB.
    pub predictor: BTreeSet<Owner>,
    /// What was written.
    pub ledger: Ledger,
    /// What the hypervisor's own instructions raised where they cannot report it: faults in an implementation of
    /// `selfsame_switch::Cpu`.
    pub faults: Vec<Fault>,
    pub(crate) descriptor_pages: Option<[Frame; 2]>,
    pub(crate) extended: ExtendedState,
    pub(crate) msrs: MsrFile,
    pub(crate) tlb: Tlb,
    /// The controls of the guest that runs under VMX or SVM.
    pub(crate) controls: Option<Controls>,
}

/// DR7 after RESET and after a VM exit (SDM vol. 3, 28.5.1).
pub(crate) const DR7_RESET: u64 = 0x400;
/// DR6 after RESET.
const DR6_RESET: u64 = 0xFFFF_0FF0;

impl LogicalCpu {
    /// A CPU after RESET, with a hypervisor that has set CR4.OSXSAVE where there is XSAVE.
    pub(crate) fn reset(number: u16, hardware: &Hardware) -> Self {
        Self {
            number,
            cpl: 0,
            is_task_switched: false,
            cr3: 0,
            cr4: Cr4::default(),
            xcr0: ComponentSet::EMPTY.with(Component::X87),
            xss: ComponentSet::EMPTY,
            xfd: ComponentSet::EMPTY,
            xfd_err: ComponentSet::EMPTY,
            gdtr: TableRegister { base: 0, limit: 0xFFFF },
            ldtr: None,
            tr: None,
            selectors: [0; 4],
            breakpoints: [0; 4],
            dr6: DR6_RESET,
            dr7: DR7_RESET,
            ssp: 0,
            predictor: BTreeSet::new(),
            ledger: Ledger::default(),
            faults: Vec::new(),
            descriptor_pages: None,
            extended: ExtendedState::RESET,
            msrs: MsrFile::reset(hardware),
            tlb: Tlb::default(),
            controls: None,
        }
    }

    /// What the CPU holds of extended state, enabled or not.
    #[must_use]
    pub const fn contents(&self) -> &Contents {
        &self.extended.contents
    }

    /// Whether a guest under VMX or SVM runs.
    #[must_use]
    pub const fn is_non_root(&self) -> bool {
        self.controls.is_some()
    }

    pub(crate) fn xss_exiting(&self) -> ComponentSet {
        self.controls.as_ref().map_or(ComponentSet::EMPTY, |controls| controls.xss_exiting)
    }

    pub(crate) fn intercepts_msr(&self, index: u32) -> bool {
        self.controls.as_ref().is_some_and(|controls| !controls.passed_through.contains(&index))
    }
}

/// One logical CPU at work: its registers, and the memory that it shares with the others.
///
/// Each instruction is a method that either does what the manuals say or changes nothing and returns the [`Fault`]. The
/// current privilege level counts: the hypervisor is ring 0 outside of a guest, and a guest is entered with
/// [`Processor::enter_pv`] or [`Processor::vm_entry`].
#[derive(Debug)]
pub struct Processor<'m> {
    pub(crate) hardware: &'m Hardware,
    pub(crate) memory: &'m mut Memory,
    pub(crate) cpu: &'m mut LogicalCpu,
}

impl Processor<'_> {
    /// The registers.
    #[must_use]
    pub const fn registers(&self) -> &LogicalCpu {
        self.cpu
    }

    /// What the CPU has.
    #[must_use]
    pub const fn hardware(&self) -> &Hardware {
        self.hardware
    }

    /// The memory.
    #[must_use]
    pub const fn memory(&mut self) -> &mut Memory {
        self.memory
    }

    /// Empties the ledger.
    pub fn clear_ledger(&mut self) {
        self.cpu.ledger.clear();
    }

    /// XSETBV.
    ///
    /// # Errors
    ///
    /// #UD without XSAVE or with CR4.OSXSAVE clear; #GP outside ring 0, for another register than XCR0, and for a value that
    /// XCR0 cannot have; a VM exit in a guest under VMX or SVM.
    pub fn xsetbv(&mut self, index: u32, value: u64) -> Result<(), Fault> {
        self.check_present(self.hardware.has_xsave())?;
        self.check_osxsave()?;
        self.check_ring_0()?;
        if self.cpu.is_non_root() {
            return Err(Fault::Exit(Exit::Xsetbv));
        }
        if index != 0 {
            return Err(Fault::GeneralProtection(GpCause::NoSuchXcr { index }));
        }
        if let Some(error) = xcr0_faults(value, self.hardware.user()).next() {
            return Err(error.into());
        }
        self.cpu.ledger.record(What::Xcr0, self.cpu.xcr0.bits(), value);
        self.cpu.xcr0 = ComponentSet::from_bits(value);
        Ok(())
    }

    /// XGETBV: 0 reads XCR0, 1 reads what of it is in use.
    ///
    /// # Errors
    ///
    /// #UD as [`Processor::xsetbv`]; #GP for another index.
    pub fn xgetbv(&self, index: u32) -> Result<u64, Fault> {
        self.check_present(self.hardware.has_xsave())?;
        self.check_osxsave()?;
        match index {
            0 => Ok(self.cpu.xcr0.bits()),
            1 => Ok(self.cpu.extended.in_use(self.cpu.xcr0).bits()),
            _ => Err(Fault::GeneralProtection(GpCause::NoSuchXcr { index })),
        }
    }

    /// CLTS, or MOV to CR0 with TS set.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0.
    pub fn set_task_switched(&mut self, is_task_switched: bool) -> Result<(), Fault> {
        self.check_ring_0()?;
        let before = core::mem::replace(&mut self.cpu.is_task_switched, is_task_switched);
        self.cpu.ledger.record(What::TaskSwitched, u64::from(before), u64::from(is_task_switched));
        Ok(())
    }

    /// MOV to CR4.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0, and for bits that the CPU does not have.
    pub fn set_cr4(&mut self, cr4: Cr4) -> Result<(), Fault> {
        self.check_ring_0()?;
        let present = [
            (true, Cr4::TSD.union(Cr4::DE)),
            (self.hardware.has_fsgsbase(), Cr4::FSGSBASE),
            (self.hardware.has_xsave(), Cr4::OSXSAVE),
            (self.hardware.has_pku(), Cr4::PKE),
            (self.hardware.has_cet_ss(), Cr4::CET),
        ];
        let known = present.iter().filter(|(is_present, _)| *is_present);
        let reserved = known.fold(cr4, |rest, (_, bit)| rest.minus(*bit));
        if reserved.0 != 0 {
            return Err(Fault::GeneralProtection(GpCause::ControlRegister { bits: reserved.0 }));
        }
        self.cpu.ledger.record(What::Cr4, self.cpu.cr4.0, cr4.0);
        self.cpu.cr4 = cr4;
        Ok(())
    }

    /// MOV to CR3: loads an address space, and forgets the translations of its process-context identifier.
    ///
    /// The CPU then walks everything that the new space maps, as speculation may at any time: a translation changed afterwards
    /// is stale until INVLPG.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0.
    pub fn set_cr3(&mut self, cr3: u64) -> Result<(), Fault> {
        self.check_ring_0()?;
        self.cpu.ledger.record(What::Cr3, self.cpu.cr3, cr3);
        self.cpu.cr3 = cr3;
        self.cpu.tlb.load(self.memory, cr3);
        Ok(())
    }

    /// MOV to a debug register: 0 to 3, 6 or 7.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0; #UD for another register.
    pub fn set_debug_register(&mut self, number: u8, value: u64) -> Result<(), Fault> {
        self.check_ring_0()?;
        let place = match number {
            0..=3 => self.cpu.breakpoints.get_mut(usize::from(number)),
            6 => Some(&mut self.cpu.dr6),
            7 => Some(&mut self.cpu.dr7),
            _ => None,
        };
        let Some(place) = place else { return Err(Fault::UndefinedOpcode(UdCause::Absent)) };
        let before = core::mem::replace(place, value);
        self.cpu.ledger.record(What::Debug(number), before, value);
        Ok(())
    }

    /// The CPU raises #DB, and tells in DR6 why.
    ///
    /// # Errors
    ///
    /// A VM exit where the hypervisor intercepts #DB. That of VMX leaves DR6 as it was (SDM vol. 3C, 28.1); that of SVM comes
    /// after the write (APM vol. 2, 15.12.2).
    pub fn raise_debug_exception(&mut self, cause: u64) -> Result<(), Fault> {
        let is_intercepted = self.cpu.controls.as_ref().is_some_and(|controls| controls.intercepts_db);
        if !is_intercepted || self.hardware.virtualisation() == Virtualisation::Svm {
            self.cpu.dr6 = cause;
        }
        if is_intercepted { Err(Fault::Exit(Exit::Debug { cause })) } else { Ok(()) }
    }

    /// Reads a component's registers, as the instructions that use them do: XMM by SSE instructions, PKRU by RDPKRU, CET by
    /// RDMSR, and so on.
    ///
    /// # Errors
    ///
    /// #UD where a control register or XCR0 disables the instructions; #NM with CR0.TS set, or under XFD; #GP outside ring 0
    /// for supervisor components.
    pub fn read_component(&mut self, component: Component) -> Result<u64, Fault> {
        self.check_component(component)?;
        Ok(self.cpu.extended.contents.get(component))
    }

    /// Writes a component's registers; zero puts it into its initial configuration.
    ///
    /// # Errors
    ///
    /// As [`Processor::read_component`].
    pub fn write_component(&mut self, component: Component, value: u64) -> Result<(), Fault> {
        self.check_component(component)?;
        let before = self.cpu.extended.contents.get(component);
        if component == Component::PKRU && self.cpu.cpl == 0 && !self.cpu.is_non_root() {
            self.cpu.ledger.record(What::Pkru, before, value);
        }
        self.cpu.extended.write(component, value);
        Ok(())
    }

    /// LDMXCSR.
    ///
    /// # Errors
    ///
    /// #NM with CR0.TS set.
    pub fn ldmxcsr(&mut self, mxcsr: u32) -> Result<(), Fault> {
        self.check_task_switched()?;
        self.cpu.extended.contents.mxcsr = mxcsr;
        self.cpu.extended.modified.insert(Component::SSE);
        Ok(())
    }

    /// An x87 instruction that leaves pointers to itself, and an exception if it raises one that FCW does not mask.
    ///
    /// # Errors
    ///
    /// #NM with CR0.TS set.
    pub fn execute_x87(&mut self, fp_pointers: u64, raises_exception: bool) -> Result<(), Fault> {
        self.check_task_switched()?;
        let state = &mut self.cpu.extended;
        state.contents.fp_pointers = fp_pointers;
        state.set_fp_exception(raises_exception);
        state.modified.insert(Component::X87);
        Ok(())
    }

    /// Whatever `owner` executes trains the branch predictors.
    pub fn train_predictor(&mut self, owner: Owner) {
        self.cpu.predictor.insert(owner);
    }

    /// WRFSBASE and WRGSBASE, in any ring.
    ///
    /// # Errors
    ///
    /// #UD with CR4.FSGSBASE clear; #GP for an address that is not canonical.
    pub fn set_base(&mut self, selector: Selector, base: u64) -> Result<(), Fault> {
        let index = match selector {
            Selector::Fs => msr::FS_BASE,
            Selector::Gs => msr::GS_BASE,
            Selector::Ds | Selector::Es => return Err(Fault::UndefinedOpcode(UdCause::Absent)),
        };
        if !self.cpu.cr4.contains(Cr4::FSGSBASE) {
            return Err(Fault::UndefinedOpcode(UdCause::NoFsgsbase));
        }
        if !msr::canonical(self.hardware, base) {
            return Err(Fault::GeneralProtection(GpCause::MsrValue { index, value: base }));
        }
        self.cpu.ledger.record(What::Base(selector), self.cpu.msrs.get(index), base);
        self.cpu.msrs.set(self.hardware, index, base);
        Ok(())
    }

    fn check_component(&mut self, component: Component) -> Result<(), Fault> {
        let set = ComponentSet::from(component);
        if component == Component::PKRU {
            // RDPKRU and WRPKRU ask CR4 and not XCR0 (SDM vol. 2; XSA-220).
            let is_enabled = self.cpu.cr4.contains(Cr4::PKE);
            return if is_enabled { Ok(()) } else { Err(Fault::UndefinedOpcode(UdCause::NoPke)) };
        }
        if self.hardware.geometry().is_supervisor(component) {
            self.check_present(set.is_subset_of(self.hardware.supervisor()))?;
            return self.check_ring_0();
        }
        if !ComponentSet::LEGACY.contains(component) {
            self.check_osxsave()?;
            if !set.is_subset_of(self.cpu.xcr0) {
                return Err(Fault::UndefinedOpcode(UdCause::NotEnabled(set)));
            }
        }
        self.check_task_switched()?;
        let disabled = set & self.cpu.xfd;
        if disabled.is_empty() { Ok(()) } else { Err(self.raise_disabled(disabled)) }
    }

    /// #NM, or the VM exit of a hypervisor that intercepts it.
    pub(crate) fn raise_not_available(&self, cause: NmCause) -> Fault {
        match &self.cpu.controls {
            Some(controls) if controls.intercepts_nm => Fault::Exit(Exit::DeviceNotAvailable(cause)),
            _ => Fault::DeviceNotAvailable(cause),
        }
    }

    pub(crate) fn check_ring_0(&self) -> Result<(), Fault> {
        if self.cpu.cpl == 0 { Ok(()) } else { Err(Fault::GeneralProtection(GpCause::NotPrivileged)) }
    }

    pub(crate) fn check_present(&self, is_present: bool) -> Result<(), Fault> {
        if is_present { Ok(()) } else { Err(Fault::UndefinedOpcode(UdCause::Absent)) }
    }
}
