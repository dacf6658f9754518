//! The switch code under proof.

use selfsame_cpuid::Leaves;
use selfsame_xstate::ComponentSet;

use crate::proof::{GuestShape, Home, MachineShape};
use crate::{Area, Controls, Cr4, Fault, Machine, NmCause};

/// A vCPU that is to be created.
#[derive(Clone, Debug)]
pub struct NewVcpu {
    /// Its number among all vCPUs.
    pub number: usize,
    /// What it is.
    pub shape: GuestShape,
    /// What CPUID is to show it.
    pub policy: Leaves,
    /// Its page tables; for an HVM guest those that the hypervisor runs on for it.
    pub cr3: u64,
    /// Where its save area is to be.
    pub area: u64,
}

/// Something that a guest asks of the hypervisor: an instruction that exits or faults, or a hypercall. It is permitted; what
/// is not is refused before it comes here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// XSETBV.
    Xcr0(ComponentSet),
    /// WRMSR, or a hypercall that sets a base.
    Msr(u32, u64),
    /// MOV to CR4.
    Cr4(Cr4),
    /// CLTS, or MOV to CR0 that sets TS, of a PV guest.
    TaskSwitched(bool),
    /// MOVs to debug registers: the addresses, their masks, DR7.
    Debug {
        /// DR0 to DR3.
        breakpoints: [u64; 4],
        /// Their masks.
        masks: [u64; 4],
        /// DR7.
        dr7: u64,
    },
    /// A #DB that exits, of a guest under VMX whose MOVs to and from debug registers exit too. DR6 does not tell why, and is to
    /// tell the guest once it can read it.
    DebugException {
        /// What DR6 is to say.
        cause: u64,
    },
    /// An LDT with this many descriptors, or none.
    Ldt(u16),
}

/// What software does to a vCPU's saved state.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Edit {
    /// Changes the image in the vCPU's area, as a debugger or a restore does. The proof does it; the switch code only has to
    /// let go of the area first.
    Image,
    /// Moves the area, with its image, to this address: the policy changed, or the guest may use more.
    Move {
        /// Where it is afterwards.
        area: u64,
        /// How large it is then, if not as before.
        capacity_bytes: Option<u32>,
    },
}

/// Switch code that is to be proven: what a hypervisor does, for the machine and guests that a proof chose.
///
/// A proof calls it as hardware and guests would: it brings CPUs up, has them run vCPUs, enters and leaves guests, and looks
/// after each entry at what the guest finds. Every method may use all instructions of [`Processor`](crate::Processor); a fault in the
/// hypervisor's own code is an error of the proof.
pub trait Client: Sized {
    /// Gets ready for a machine.
    fn new(machine: &MachineShape, homes: &[Home]) -> Self;

    /// Sets up a CPU after RESET, which is also what sleep (S3) leaves behind.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    fn bring_up(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault>;

    /// Returns what goes into a new vCPU's area.
    fn create(&mut self, vcpu: NewVcpu) -> Area;

    /// Takes another shape of a vCPU, which runs nowhere: its policy has changed. The kind stays, and there is room in its area.
    fn change(&mut self, vcpu: usize, shape: GuestShape);

    /// Has a CPU, which is outside of guests, run another vCPU than before; `None` is idle.
    ///
    /// The vCPU does not run elsewhere, but its state may still be in the registers of a CPU that is idle now.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    fn switch(&mut self, machine: &mut Machine, cpu: u16, next: Option<usize>) -> Result<(), Fault>;

    /// Does what is left to do right before a CPU enters its vCPU's guest.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    fn enter(&mut self, machine: &mut Machine, cpu: u16, controls: Option<&mut Controls>) -> Result<(), Fault>;

    /// Does what is to be done right after a CPU has left its vCPU's guest.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    fn leave(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault>;

    /// Serves the vCPU that a CPU runs, between [`Client::leave`] and [`Client::enter`].
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    fn serve(&mut self, machine: &mut Machine, cpu: u16, request: &Request) -> Result<(), Fault>;

    /// Gets a vCPU, which runs nowhere, ready for an edit of its area, whose address now it returns. The state has to be there
    /// and in no register.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    fn edit(&mut self, machine: &mut Machine, vcpu: usize, edit: &Edit) -> Result<u64, Fault>;

    /// Tells why the vCPU that a CPU runs took an #NM that its hypervisor intercepts, whose CR0.TS is given. Called after
    /// [`Client::leave`].
    fn cause_of_nm(&mut self, cpu: u16, is_task_switched: bool) -> NmCause;

    /// Gets a CPU, which runs idle, ready for sleep or for firmware: all of vCPUs is in memory afterwards, and the CPU has the
    /// registers that the hypervisor set up.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    fn quiesce(&mut self, machine: &mut Machine, cpu: u16) -> Result<(), Fault>;
}
