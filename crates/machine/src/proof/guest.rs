//! What a guest has put into its registers, and so has to find there.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use selfsame_cpuid::Leaves;
use selfsame_xstate::{Component, ComponentSet};

use crate::proof::{GuestKind, GuestShape, MachineShape, SaveInstructions};
use crate::{
    Carried, Contents, ControlBlock, Controls, Cr4, Fault, Frame, Hardware, NmCause, Owner, Processor, TableRegister,
    Tag, UdCause, Virtualisation, XfdErrUpdate, carried_msrs, msr,
};

/// DR6 and DR7 after RESET (SDM vol. 3, 19.2).
const DR6_RESET: u64 = 0xFFFF_0FF0;
const DR7_RESET: u64 = 0x400;

/// A guest's vCPU: its shape, and what its registers hold as far as the guest can tell.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its number among all vCPUs of the proof, which its tags carry.
    pub number: u16,
    /// What it is.
    pub shape: GuestShape,
    /// What CPUID is to show it.
    pub policy: Leaves,
    /// Its page tables; for an HVM guest those that the hypervisor runs on for it.
    pub cr3: u64,
    /// Where its save area is at first.
    pub area: u64,
    /// Extended state. A component that XCR0 has never had is in its initial state.
    pub contents: Contents,
    /// XCR0.
    pub xcr0: ComponentSet,
    /// IA32_XSS.
    pub xss: ComponentSet,
    /// IA32_XFD.
    pub xfd: ComponentSet,
    /// IA32_XFD_ERR.
    pub xfd_err: ComponentSet,
    /// CR4, as the guest reads it.
    pub cr4: Cr4,
    /// CR0.TS.
    pub is_task_switched: bool,
    /// The MSRs that it owns.
    pub msrs: BTreeMap<u32, u64>,
    /// DS, ES, FS and GS; of PV guests.
    pub selectors: [u16; 4],
    /// Breakpoint addresses.
    pub breakpoints: [u64; 4],
    /// Their masks.
    pub breakpoint_masks: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// How many descriptors its LDT has; of PV guests.
    pub ldt_descriptors: u16,
    /// The pages of its GDT; of PV guests.
    pub gdt_frames: Vec<Frame>,
    /// Whether its MOVs to and from debug registers do not exit any more; of HVM guests.
    pub has_debug_access: bool,
    /// Its VMCS or VMCB.
    pub block: Option<ControlBlock>,
    version: u16,
}

impl Guest {
    /// A vCPU after RESET.
    pub(crate) fn new(number: u16, shape: GuestShape, machine: &MachineShape, hardware: &Hardware) -> Self {
        let owned = owned_msrs(shape.kind, hardware.virtualisation());
        let has_osxsave = machine.save != SaveInstructions::Fxsave;
        let xcr0 = if has_osxsave { ComponentSet::EMPTY.with(Component::X87) } else { ComponentSet::EMPTY };
        let is_hvm = shape.kind == GuestKind::Hvm;
        Self {
            number,
            shape,
            policy: shape.policy(machine),
            cr3: (u64::from(number) + 1) << 24 | u64::from(shape.pcid),
            area: 0xFFFF_9000_0000_0000 + (u64::from(number) << 20),
            contents: Contents::INIT,
            xcr0,
            xss: ComponentSet::EMPTY,
            xfd: ComponentSet::EMPTY,
            xfd_err: ComponentSet::EMPTY,
            cr4: if has_osxsave { Cr4::OSXSAVE } else { Cr4::default() },
            is_task_switched: false,
            msrs: owned.iter().map(|&index| (index, 0)).collect(),
            selectors: [0; 4],
            breakpoints: [0; 4],
            breakpoint_masks: [0; 4],
            dr6: DR6_RESET,
            dr7: DR7_RESET,
            ldt_descriptors: 0,
            gdt_frames: Vec::new(),
            has_debug_access: false,
            block: is_hvm.then(|| control_block(&shape, hardware, has_osxsave)),
            version: 0,
        }
    }

    /// Gives the vCPU another shape, of the same kind.
    pub(crate) fn set_shape(&mut self, shape: GuestShape, machine: &MachineShape, hardware: &Hardware) {
        if let Some(block) = &mut self.block {
            let intercepts_db = block.controls.intercepts_db;
            block.controls = Controls { intercepts_db, ..controls(&shape, hardware.virtualisation()) };
        }
        (self.shape, self.policy) = (shape, shape.policy(machine));
    }

    /// Returns a value of this guest's that nobody has used yet.
    pub fn fresh(&mut self) -> u64 {
        self.version = self.version.wrapping_add(1);
        Tag::new(Owner::Vcpu(self.number), self.version).bits()
    }

    /// The same for registers of 32 bits.
    pub fn fresh_half(&mut self) -> u64 {
        self.version = self.version.wrapping_add(1);
        1 << 30 | u64::from(self.number & 0xFF) << 16 | u64::from(self.version)
    }

    /// Returns the value that [`Guest::fresh`] returned last.
    pub(crate) const fn last(&self) -> u64 {
        Tag::new(Owner::Vcpu(self.number), self.version).bits()
    }

    /// Tells whether breakpoints are on.
    #[must_use]
    pub const fn has_breakpoints(&self) -> bool {
        self.dr7 & 0xFF != 0
    }

    /// What an instruction that uses the component does to the guest on a machine of its own.
    ///
    /// # Errors
    ///
    /// The fault that it raises; IA32_XFD_ERR is changed as the machine's hardware does it.
    pub fn use_component(&mut self, component: Component, hardware: &Hardware) -> Result<(), Fault> {
        let set = ComponentSet::from(component);
        if component == Component::PKRU {
            let is_enabled = self.cr4.contains(Cr4::PKE) && self.shape.kind == GuestKind::Hvm;
            return if is_enabled { Ok(()) } else { Err(Fault::UndefinedOpcode(UdCause::NoPke)) };
        }
        if matches!(component, Component::CET_U | Component::CET_S) {
            // RDMSR and WRMSR ask neither IA32_XSS nor CR4.
            return if self.shape.has_cet { Ok(()) } else { Err(Fault::UndefinedOpcode(UdCause::Absent)) };
        }
        if !ComponentSet::LEGACY.contains(component) {
            // CR4.OSXSAVE is set in hardware, whatever the guest reads there.
            if self.shape.kind == GuestKind::Hvm && !self.cr4.contains(Cr4::OSXSAVE) {
                return Err(Fault::UndefinedOpcode(UdCause::NoOsxsave));
            }
            if !set.is_subset_of(self.xcr0) {
                return Err(Fault::UndefinedOpcode(UdCause::NotEnabled(set)));
            }
        }
        if self.is_task_switched {
            return Err(Fault::DeviceNotAvailable(NmCause::TaskSwitched));
        }
        let disabled = set & self.xfd;
        if disabled.is_empty() {
            return Ok(());
        }
        self.xfd_err = match hardware.xfd_err_update() {
            XfdErrUpdate::Added => self.xfd_err | disabled,
            XfdErrUpdate::Loaded => disabled,
        };
        Err(Fault::DeviceNotAvailable(NmCause::Disabled(disabled)))
    }
}

/// The MSRs that a guest of this kind has of its own.
#[must_use]
pub fn owned_msrs(kind: GuestKind, virtualisation: Virtualisation) -> Vec<u32> {
    let mut owned =
        Vec::from([msr::FS_BASE, msr::GS_BASE, msr::KERNEL_GS_BASE, msr::TSC_AUX, msr::SPEC_CTRL, msr::PQR_ASSOC]);
    if kind == GuestKind::Hvm {
        owned.extend([msr::STAR, msr::LSTAR, msr::CSTAR, msr::SFMASK]);
        owned.extend(carried_msrs(virtualisation));
        if virtualisation == Virtualisation::Vmx {
            owned.push(msr::PKRS);
        }
    }
    owned
}

/// The MSRs that a PV guest depends on the hypervisor for: SYSCALL and SYSENTER enter it.
pub(crate) const HYPERVISORS_MSRS: [u32; 7] =
    [msr::STAR, msr::LSTAR, msr::CSTAR, msr::SFMASK, msr::SYSENTER_CS, msr::SYSENTER_ESP, msr::SYSENTER_EIP];

fn control_block(shape: &GuestShape, hardware: &Hardware, has_osxsave: bool) -> ControlBlock {
    let virtualisation = hardware.virtualisation();
    let carried = Carried {
        is_task_switched: false,
        cr3: 0,
        cr4: if has_osxsave { Cr4::OSXSAVE } else { Cr4::default() },
        gdtr: TableRegister { base: 0, limit: 0xFFFF },
        ldtr: None,
        tr: None,
        selectors: [0; 4],
        dr6: DR6_RESET,
        dr7: DR7_RESET,
        msrs: carried_msrs(virtualisation).iter().map(|_| 0).collect(),
    };
    ControlBlock { guest: carried.clone(), host: carried, controls: controls(shape, virtualisation) }
}

fn controls(shape: &GuestShape, virtualisation: Virtualisation) -> Controls {
    let mut passed_through: Vec<u32> = carried_msrs(virtualisation).to_vec();
    passed_through.push(msr::KERNEL_GS_BASE);
    if shape.has_cet {
        passed_through.extend([msr::U_CET, msr::PL0_SSP]);
    }
    if shape.has_amx {
        passed_through.push(msr::XFD_ERR);
        if shape.writes_xfd {
            passed_through.push(msr::XFD);
        }
    }
    let intercepts_db = virtualisation == Virtualisation::Vmx;
    Controls { passed_through, intercepts_nm: shape.intercepts_nm, intercepts_db, ..Controls::default() }
}

impl Processor<'_> {
    /// Whether the CPU has the MSR.
    pub(crate) fn has_msr(&self, index: u32) -> bool {
        self.msr(index).is_ok()
    }
}
