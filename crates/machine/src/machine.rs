//! A machine: some CPUs of one kind, and their memory.

use alloc::vec::Vec;

use crate::hardware::Hardware;
use crate::memory::{Frame, Memory};
use crate::processor::{LogicalCpu, Processor};

/// CPUs of one kind that share memory.
///
/// ```
/// use selfsame_cpuid::{Leaves, Regs};
/// use selfsame_machine::{Fault, Hardware, Machine, NmCause};
/// use selfsame_xstate::Component;
///
/// let mut machine = Machine::new(Hardware::of(&Leaves::new()), 2);
/// let mut cpu = machine.on(1).ok_or("no second CPU")?;
/// cpu.write_component(Component::SSE, 42)?;
/// cpu.set_task_switched(true)?;
/// assert_eq!(cpu.read_component(Component::SSE), Err(Fault::DeviceNotAvailable(NmCause::TaskSwitched)));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Machine {
    hardware: Hardware,
    memory: Memory,
    cpus: Vec<LogicalCpu>,
}

impl Machine {
    /// Makes a machine whose CPUs are as after RESET, with the hypervisor's address space and nothing mapped in it.
    #[must_use]
    pub fn new(hardware: Hardware, cpus: u16) -> Self {
        let cpus = (0..cpus).map(|number| LogicalCpu::reset(number, &hardware)).collect();
        Self { hardware, memory: Memory::default(), cpus }
    }

    /// What the CPUs have.
    #[must_use]
    pub const fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// The memory.
    pub const fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// The registers of a CPU; `None` if there is no such CPU.
    #[must_use]
    pub fn cpu(&self, number: u16) -> Option<&LogicalCpu> {
        self.cpus.get(usize::from(number))
    }

    /// A CPU at work; `None` if there is no such CPU.
    pub fn on(&mut self, number: u16) -> Option<Processor<'_>> {
        let cpu = self.cpus.get_mut(usize::from(number))?;
        Some(Processor { hardware: &self.hardware, memory: &mut self.memory, cpu })
    }

    /// Tells which pages hold a CPU's own descriptors, for 64-bit and for 32-bit guests: where an implementation of
    /// `selfsame_switch::Cpu` writes the descriptor of an LDT.
    pub fn set_descriptor_pages(&mut self, number: u16, pages: [Frame; 2]) {
        if let Some(cpu) = self.cpus.get_mut(usize::from(number)) {
            cpu.descriptor_pages = Some(pages);
        }
    }

    /// Resets a CPU, as sleep (S3) does: its registers are lost, memory stays.
    pub fn reset(&mut self, number: u16) {
        if let Some(cpu) = self.cpus.get_mut(usize::from(number)) {
            let descriptor_pages = cpu.descriptor_pages;
            *cpu = LogicalCpu { descriptor_pages, ..LogicalCpu::reset(number, &self.hardware) };
        }
    }
}
