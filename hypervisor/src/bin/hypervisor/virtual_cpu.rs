//! What guests need of a CPU, whichever vendor's it is.

use selfsame_cpuid::Leaves;
use selfsame_hypervisor::{Cpu, Fault};
use selfsame_switch::{CpuTables, Virtualisation};

use crate::context::{Context, Registers};
use crate::exit::Exit;
use crate::guest_memory::GuestMemory;
use crate::machine::has;
use crate::svm::{Svm, SvmCpu};
use crate::vmx::{Vmx, VmxCpu};

/// The control block of a vCPU.
#[derive(Debug)]
pub(crate) enum ControlBlock {
    Svm(Svm),
    Vmx(Vmx),
}

/// What a CPU needs to run guests.
#[derive(Debug)]
pub(crate) enum CpuControl {
    Svm(SvmCpu),
    Vmx(VmxCpu),
}

/// In which mode a guest is, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModeState {
    pub(crate) rip: u64,
    pub(crate) cr0: u64,
    pub(crate) cr3: u64,
    /// As the guest sees it.
    pub(crate) cr4: u64,
    pub(crate) efer: u64,
    pub(crate) cpl: u8,
    /// EFER.LMA and CS.L.
    pub(crate) is_64_bit_code: bool,
}

/// What a guest's CPU has, as far as its control block goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities {
    /// The bits of CR4 that its policy brings.
    pub(crate) cr4_bits: u64,
    pub(crate) has_rdtscp: bool,
    pub(crate) has_invpcid: bool,
    pub(crate) has_xsaves: bool,
    pub(crate) has_cet: bool,
}

impl Capabilities {
    /// What a policy's features bring.
    pub(crate) fn of(leaves: &Leaves) -> Self {
        Self {
            cr4_bits: leaves.cr4_bits(),
            has_rdtscp: has(leaves, "rdtscp"),
            has_invpcid: has(leaves, "invpcid"),
            has_xsaves: has(leaves, "xsaves"),
            has_cet: has(leaves, "shstk") || has(leaves, "ibt"),
        }
    }
}

impl CpuControl {
    /// Turns virtualisation on, on the CPU that this runs on.
    pub(crate) fn turn_on(virtualisation: Virtualisation, cpu: &'static Cpu, tables: &CpuTables) -> Option<Self> {
        Some(match virtualisation {
            Virtualisation::Svm => Self::Svm(SvmCpu::turn_on()?),
            Virtualisation::Vmx => Self::Vmx(VmxCpu::turn_on(cpu, tables)?),
        })
    }
}

macro_rules! dispatch {
    ($self:expr, $block:ident => $call:expr) => {
        match $self {
            Self::Svm($block) => $call,
            Self::Vmx($block) => $call,
        }
    };
}

impl ControlBlock {
    /// A vCPU that begins at `start` in 32-bit protected mode without paging, and sees `memory`.
    pub(crate) fn new(
        virtualisation: Virtualisation,
        memory: &mut GuestMemory,
        start: u32,
        number: u16,
    ) -> Option<Self> {
        Some(match virtualisation {
            Virtualisation::Svm => Self::Svm(Svm::new(memory, start, number)?),
            Virtualisation::Vmx => Self::Vmx(Vmx::new(memory, start)?),
        })
    }

    /// Lets the guest reach an MSR without an exit.
    pub(crate) fn pass_msr(&mut self, number: u32) {
        dispatch!(self, block => block.pass_msr(number));
    }

    /// Takes the vCPU off the CPU that it was on: another may load it.
    pub(crate) fn unload_from(&mut self, own: &mut CpuControl) {
        if let (Self::Vmx(block), CpuControl::Vmx(own)) = (self, own) {
            block.unload_from(own);
        }
    }

    /// Runs the guest until it exits.
    pub(crate) fn run(
        &mut self,
        own: &mut CpuControl,
        context: &mut Context,
        registers: &mut Registers,
        memory: &GuestMemory,
        capabilities: &Capabilities,
    ) -> Exit {
        match (self, own) {
            (Self::Svm(block), CpuControl::Svm(own)) => block.run(own, context, registers, memory),
            (Self::Vmx(block), CpuControl::Vmx(own)) => block.run(own, context, registers, capabilities),
            _ => Exit::Other { code: u64::MAX, detail: 0 },
        }
    }

    pub(crate) fn mode(&self) -> ModeState {
        dispatch!(self, block => block.mode())
    }

    /// Goes on behind the instruction that exited.
    pub(crate) fn advance(&mut self, len_bytes: u8) {
        dispatch!(self, block => block.advance(len_bytes));
    }

    /// How long the instruction is that exited: CPUID, RDMSR, WRMSR, XSETBV or HLT.
    pub(crate) fn instruction_len_bytes(&self, memory: &GuestMemory) -> u8 {
        match self {
            Self::Svm(block) => block.instruction_len_bytes(memory),
            Self::Vmx(block) => block.instruction_len_bytes(),
        }
    }

    /// Raises an exception when the guest goes on.
    pub(crate) fn raise(&mut self, fault: Fault) {
        dispatch!(self, block => block.raise(fault));
    }

    /// Takes a value that is legal. VMX lets no guest write another, and writes itself.
    pub(crate) fn set_cr0(&mut self, value: u64) {
        if let Self::Svm(block) = self {
            block.set_cr0(value);
        }
    }

    pub(crate) fn set_cr4(&mut self, value: u64) {
        dispatch!(self, block => block.set_cr4(value));
    }

    pub(crate) fn set_efer(&mut self, value: u64) {
        dispatch!(self, block => block.set_efer(value));
    }

    /// Takes the value of IA32_S_CET (0) or IA32_INTERRUPT_SSP_TABLE_ADDR (1), under SVM.
    pub(crate) fn set_cet(&mut self, place: usize, value: u64) {
        if let Self::Svm(block) = self {
            block.set_cet(place, value);
        }
    }

    /// Lets the guest's MOVs to and from debug registers not exit any more.
    pub(crate) fn grant_debug_registers(&mut self) {
        dispatch!(self, block => block.grant_debug_registers());
    }
}
