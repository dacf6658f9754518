//! VM entry and VM exit: the VMCS of VMX and the VMCB of SVM, as far as they carry state across.

use alloc::vec::Vec;

use selfsame_xstate::ComponentSet;

use crate::fault::Fault;
use crate::hardware::Virtualisation;
use crate::ledger::Selector;
use crate::msr;
use crate::processor::{Cr4, DR7_RESET, LogicalCpu, Processor};
use crate::segment::{Segment, TableRegister};

/// What VM entry and VM exit put into a CPU.
///
/// For SVM this is what VMRUN and VMLOAD load together, because every hypervisor executes the two together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Carried {
    /// CR0.TS.
    pub is_task_switched: bool,
    /// CR3; a guest's own is behind nested paging and does not count.
    pub cr3: u64,
    /// CR4.
    pub cr4: Cr4,
    /// GDTR.
    pub gdtr: TableRegister,
    /// LDTR.
    pub ldtr: Option<Segment>,
    /// TR.
    pub tr: Option<Segment>,
    /// DS, ES, FS and GS.
    pub selectors: [u16; 4],
    /// DR6; only SVM carries it, and only the guest's.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// The MSRs of [`carried_msrs`], in order.
    pub msrs: Vec<u64>,
}

/// The MSRs that VM entry and VM exit change (SDM vol. 3, 27.3.2, 28.5.1), or VMRUN, VMLOAD and their opposites (APM vol. 2,
/// 15.5.1, 15.5.2).
#[must_use]
pub const fn carried_msrs(virtualisation: Virtualisation) -> &'static [u32] {
    match virtualisation {
        Virtualisation::Vmx => &[
            msr::FS_BASE,
            msr::GS_BASE,
            msr::SYSENTER_CS,
            msr::SYSENTER_ESP,
            msr::SYSENTER_EIP,
            msr::S_CET,
            msr::INTERRUPT_SSP_TABLE,
        ],
        Virtualisation::Svm => &[
            msr::FS_BASE,
            msr::GS_BASE,
            msr::SYSENTER_CS,
            msr::SYSENTER_ESP,
            msr::SYSENTER_EIP,
            msr::S_CET,
            msr::INTERRUPT_SSP_TABLE,
            msr::KERNEL_GS_BASE,
            msr::STAR,
            msr::LSTAR,
            msr::CSTAR,
            msr::SFMASK,
        ],
    }
}

/// What makes a guest exit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Controls {
    /// The XSS-exiting bitmap (VMX): XSAVES and XRSTORS of these components exit.
    pub xss_exiting: ComponentSet,
    /// The MSRs that the guest reads and writes itself; all others exit.
    pub passed_through: Vec<u32>,
    /// Whether #NM exits.
    pub intercepts_nm: bool,
    /// Whether #DB exits.
    pub intercepts_db: bool,
}

/// A VMCS or VMCB.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ControlBlock {
    /// What the guest has of its own.
    pub guest: Carried,
    /// What VM exit puts back: software's choice, in the VMCS or in what it executes VMLOAD of. What SVM saves at VMRUN instead
    /// (CR0, CR3, CR4, GDTR, DS and ES) is overwritten there.
    pub host: Carried,
    /// What makes the guest exit.
    pub controls: Controls,
}

impl Processor<'_> {
    /// What VM exit would have to put back into this CPU as it is: what software writes into the host part of a VMCS.
    #[must_use]
    pub fn carried(&self) -> Carried {
        let LogicalCpu { is_task_switched, cr3, cr4, gdtr, ldtr, tr, selectors, dr6, dr7, .. } = *self.cpu;
        let msrs = self.carried_msrs().iter().map(|&index| self.cpu.msrs.get(index)).collect();
        Carried { is_task_switched, cr3, cr4, gdtr, ldtr, tr, selectors, dr6, dr7, msrs }
    }

    /// VMLAUNCH or VMRESUME; VMLOAD and VMRUN.
    ///
    /// # Errors
    ///
    /// #GP outside ring 0.
    pub fn vm_entry(&mut self, block: &mut ControlBlock) -> Result<(), Fault> {
        self.check_ring_0()?;
        if self.hardware.virtualisation() == Virtualisation::Svm {
            let LogicalCpu { is_task_switched, cr3, cr4, gdtr, selectors: [ds, es, ..], .. } = *self.cpu;
            let [_, _, fs, gs] = block.host.selectors;
            let selectors = [ds, es, fs, gs];
            block.host = Carried { is_task_switched, cr3, cr4, gdtr, selectors, ..block.host.clone() };
        }
        let cr3 = self.cpu.cr3;
        self.put(&block.guest);
        self.cpu.cr3 = cr3;
        if self.hardware.virtualisation() == Virtualisation::Svm {
            self.cpu.dr6 = block.guest.dr6;
        }
        self.cpu.controls = Some(block.controls.clone());
        Ok(())
    }

    /// A VM exit, in any ring of the guest; #VMEXIT, VMSAVE, and VMLOAD of the host's.
    ///
    /// VMX puts 0xFFFF into the limit of GDTR, 0x67 into that of TR and null into LDTR (SDM vol. 3, 28.5.2); both put DR7 into
    /// its initial state. Nothing else changes: XCR0, IA32_XSS, XFD, extended state, the other MSRs and DR0 to DR6 stay the
    /// guest's.
    ///
    /// # Errors
    ///
    /// #GP, #NP or #PF where SVM reads the descriptors of the hypervisor's DS and ES anew and does not find them: on a CPU, it
    /// shuts down.
    pub fn vm_exit(&mut self, block: &mut ControlBlock) -> Result<(), Fault> {
        block.guest = Carried { cr3: block.guest.cr3, ..self.carried() };
        self.cpu.controls = None;
        self.cpu.cpl = 0;
        let mut host = block.host.clone();
        host.dr7 = DR7_RESET;
        if self.hardware.virtualisation() == Virtualisation::Vmx {
            host.gdtr.limit = 0xFFFF;
            host.ldtr = None;
            host.tr = host.tr.map(|tr| Segment { limit: 0x67, ..tr });
        }
        self.put(&host);
        if self.hardware.virtualisation() == Virtualisation::Svm {
            for (register, selector) in [Selector::Ds, Selector::Es].into_iter().zip(host.selectors) {
                self.load_selector(register, selector)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, carried: &Carried) {
        self.cpu.is_task_switched = carried.is_task_switched;
        self.cpu.cr3 = carried.cr3;
        self.cpu.cr4 = carried.cr4;
        self.cpu.gdtr = carried.gdtr;
        self.cpu.ldtr = carried.ldtr;
        self.cpu.tr = carried.tr;
        self.cpu.selectors = carried.selectors;
        self.cpu.dr7 = carried.dr7;
        for (&index, &value) in self.carried_msrs().iter().zip(&carried.msrs) {
            self.cpu.msrs.set(self.hardware, index, value);
        }
    }

    fn carried_msrs(&self) -> &'static [u32] {
        carried_msrs(self.hardware.virtualisation())
    }
}
