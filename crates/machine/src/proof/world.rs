//! A machine with guests and the switch code that runs them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::proof::home::{CODE_SELECTOR, build_guest_gdt};
use crate::proof::{
    Action, Client, Difference, Edit, Guest, GuestKind, GuestShape, Home, MachineShape, NewVcpu, Request,
};
use crate::{Carried, ControlBlock, Fault, Hardware, Machine, Owner, Processor};

/// What a proof found wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An instruction of the hypervisor's faulted.
    #[error("the hypervisor faulted on CPU {cpu}: {fault}")]
    HypervisorFault {
        /// The CPU.
        cpu: u16,
        /// The fault.
        #[source]
        fault: Fault,
    },
    /// A guest finds something else in its registers than it put there.
    #[error("vCPU {vcpu} on CPU {cpu} finds other state than its own: {differences:?}")]
    Found {
        /// The CPU.
        cpu: u16,
        /// The vCPU.
        vcpu: usize,
        /// All that it finds.
        differences: Vec<Difference>,
    },
    /// A CPU that is said to hold nothing of any vCPU does not hold the hypervisor's own.
    #[error("CPU {cpu} holds nothing of any vCPU, but: {differences:?}")]
    IdleFound {
        /// The CPU.
        cpu: u16,
        /// All that it holds otherwise.
        differences: Vec<Difference>,
    },
    /// The image of a vCPU that is on no CPU any more is not what its guest left.
    #[error("the image of vCPU {vcpu} is not its state: {differences:?}")]
    Image {
        /// The vCPU.
        vcpu: usize,
        /// All that differs.
        differences: Vec<Difference>,
    },
    /// There is no area where a vCPU's is said to be.
    #[error("vCPU {vcpu} has no area at {area:#x}")]
    NoArea {
        /// The vCPU.
        vcpu: usize,
        /// The address.
        area: u64,
    },
    /// A guest's instruction ended otherwise than on a machine of its own.
    #[error("vCPU {vcpu} does {action:?}: expected {expected:?}, got {found:?}")]
    Outcome {
        /// The vCPU.
        vcpu: usize,
        /// What it did.
        action: Action,
        /// How it would have ended on a machine of its own.
        expected: Result<(), Fault>,
        /// How it ended.
        found: Result<(), Fault>,
    },
    /// The proof asked for something that cannot be: a CPU or vCPU that there is not, an action in no guest.
    #[error("CPU {cpu}: {what}")]
    Misuse {
        /// The CPU.
        cpu: u16,
        /// What was asked for.
        what: &'static str,
    },
}

/// How a CPU stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Standing {
    vcpu: Option<usize>,
    is_in_guest: bool,
}

/// A machine, its guests, and switch code that takes them on and off its CPUs.
///
/// A world keeps what each guest has put into its registers, and compares it after every entry with what the guest finds.
#[derive(Debug)]
pub struct World<C> {
    shape: MachineShape,
    machine: Machine,
    client: C,
    guests: Vec<Guest>,
    homes: Vec<Home>,
    standings: Vec<Standing>,
    /// What VM exits of VMX put back, by CPU.
    hosts: BTreeMap<u16, Carried>,
}

impl<C: Client> World<C> {
    /// Makes a world and brings its CPUs up.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    pub fn new(shape: MachineShape, cpus: u16, guests: &[GuestShape]) -> Result<Self, Violation> {
        Self::with_hardware(shape, shape.hardware(), cpus, guests)
    }

    /// The same, with hardware that differs from what the shape says in things that [`Hardware`] lets be chosen.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    pub fn with_hardware(
        shape: MachineShape,
        hardware: Hardware,
        cpus: u16,
        guests: &[GuestShape],
    ) -> Result<Self, Violation> {
        let mut machine = Machine::new(hardware, cpus);
        let zero = machine.memory().add_frame();
        let homes: Vec<Home> = (0..cpus).map(|cpu| Home::build(&mut machine, &shape, cpu, zero)).collect();
        let mut client = C::new(&shape, &homes);

        let guests = (0..).zip(guests).map(|(number, guest)| {
            let mut guest = Guest::new(number, *guest, &shape, machine.hardware());
            let mut cpu = machine.on(0);
            guest.msrs.retain(|index, _| cpu.as_mut().is_some_and(|cpu| cpu.has_msr(*index)));
            if guest.shape.kind.is_pv() {
                build_guest_gdt(machine.memory(), &mut guest, zero);
            }
            let vcpu = NewVcpu {
                number: usize::from(number),
                shape: guest.shape,
                policy: guest.policy.clone(),
                cr3: guest.cr3,
                area: guest.area,
            };
            let area = client.create(vcpu);
            machine.memory().insert_area(guest.area, area);
            guest
        });
        let guests = guests.collect();
        let standings = homes.iter().map(|_| Standing { vcpu: None, is_in_guest: false }).collect();
        let mut world = Self { shape, machine, client, guests, homes, standings, hosts: BTreeMap::new() };
        for cpu in 0..cpus {
            world.bring_up(cpu)?;
        }
        Ok(world)
    }

    /// What the machine is.
    pub const fn shape(&self) -> &MachineShape {
        &self.shape
    }

    /// The machine.
    pub const fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// The switch code.
    pub const fn client(&mut self) -> &mut C {
        &mut self.client
    }

    /// The switch code and the machine, for a test that calls the one on the other.
    pub const fn parts(&mut self) -> (&mut C, &mut Machine) {
        (&mut self.client, &mut self.machine)
    }

    /// What a guest has put into its registers.
    #[must_use]
    pub fn guest(&self, vcpu: usize) -> Option<&Guest> {
        self.guests.get(vcpu)
    }

    /// Gives a guest, which runs nowhere, another shape: its policy has changed. The kind stays.
    pub fn set_shape(&mut self, vcpu: usize, shape: GuestShape) {
        let Some(guest) = self.guests.get_mut(vcpu) else { return };
        guest.set_shape(shape, &self.shape, self.machine.hardware());
        self.client.change(vcpu, shape);
    }

    /// What is one CPU's own.
    #[must_use]
    pub fn home(&self, cpu: u16) -> Option<&Home> {
        self.homes.get(usize::from(cpu))
    }

    /// The vCPU that a CPU runs.
    #[must_use]
    pub fn running(&self, cpu: u16) -> Option<usize> {
        self.standings.get(usize::from(cpu))?.vcpu
    }

    /// Has a CPU run another vCPU than before, up to the first instruction of its guest, and looks at what the guest finds.
    /// Afterwards the CPU's ledger has what the switch did, from after the exit of the vCPU before it to the entry.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted, or the guest finds something else than its own.
    pub fn switch(&mut self, cpu: u16, next: Option<usize>) -> Result<(), Violation> {
        self.change(cpu, next)?;
        self.enter_guest(cpu)
    }

    fn change(&mut self, cpu: u16, next: Option<usize>) -> Result<(), Violation> {
        if next.is_some_and(|next| self.standings.iter().any(|other| other.vcpu == Some(next)))
            && self.running(cpu) != next
        {
            return Err(Violation::Misuse { cpu, what: "the vCPU runs elsewhere" });
        }
        self.leave_guest(cpu)?;
        for number in 0..self.count() {
            self.on(number)?.speculate();
        }
        self.on(cpu)?.clear_ledger();
        if self.running(cpu) != next {
            self.client.switch(&mut self.machine, cpu, next).map_err(|fault| fault_on(cpu, fault))?;
        }
        self.standing(cpu)?.vcpu = next;
        Ok(())
    }

    /// Has a CPU run another vCPU than before, but takes it away again before the first instruction of its guest: something
    /// else is to run. The next switch comes without an entry in between.
    ///
    /// # Errors
    ///
    /// As [`World::switch`].
    pub fn switch_without_entry(&mut self, cpu: u16, next: usize) -> Result<(), Violation> {
        self.change(cpu, Some(next))
    }

    /// Takes a CPU out of its guest and back into it. Afterwards the CPU's ledger has what both ways did.
    ///
    /// # Errors
    ///
    /// As [`World::switch`].
    pub fn exit_and_enter(&mut self, cpu: u16) -> Result<(), Violation> {
        self.on(cpu)?.clear_ledger();
        self.leave_guest(cpu)?;
        self.enter_guest(cpu)
    }

    /// Has the vCPU that a CPU runs ask for something.
    ///
    /// # Errors
    ///
    /// As [`World::switch`].
    pub(crate) fn serve(&mut self, cpu: u16, request: &Request) -> Result<(), Violation> {
        self.leave_guest(cpu)?;
        self.client.serve(&mut self.machine, cpu, request).map_err(|fault| fault_on(cpu, fault))?;
        let vcpu = self.running(cpu);
        let block = vcpu.and_then(|vcpu| self.guests.get_mut(vcpu)).and_then(|guest| guest.block.as_mut());
        match (block, request) {
            (Some(block), Request::Cr4(cr4)) => block.guest.cr4 = *cr4,
            (Some(block), Request::Debug { dr7, .. }) => block.guest.dr7 = *dr7,
            _ => {}
        }
        self.enter_guest(cpu)
    }

    /// Edits the saved state of a vCPU that runs nowhere: its SSE registers get a new value, or its area a new place. Before,
    /// looks whether the image is all of the state.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted, or the state is not in the area that it names.
    pub fn edit(&mut self, vcpu: usize, edit: &Edit) -> Result<(), Violation> {
        if self.standings.iter().any(|standing| standing.vcpu == Some(vcpu)) {
            return Err(Violation::Misuse { cpu: 0, what: "the vCPU runs" });
        }
        let area = self.client.edit(&mut self.machine, vcpu, edit).map_err(|fault| fault_on(0, fault))?;
        let (Some(guest), memory) = (self.guests.get_mut(vcpu), self.machine.memory()) else {
            return Err(Violation::Misuse { cpu: 0, what: "there is no such vCPU" });
        };
        let image = memory.area(area).ok_or(Violation::NoArea { vcpu, area })?;
        let differences = guest.differences_in(image, &self.shape);
        if !differences.is_empty() {
            return Err(Violation::Image { vcpu, differences });
        }
        match *edit {
            Edit::Image => {
                let value = guest.fresh();
                let sse = selfsame_xstate::Component::SSE;
                guest.contents.set(sse, value);
                if let Some(area) = memory.area_mut(area) {
                    area.contents.set(sse, value);
                    area.xstate_bv |= 0b10;
                    area.xcomp_bv |= if area.is_compacted() { 0b10 } else { 0 };
                    // What was not in use has no MXCSR of its own.
                    area.contents.mxcsr = guest.contents.mxcsr;
                }
            }
            Edit::Move { area: new, capacity_bytes } => {
                if let Some(mut image) = memory.remove_area(area) {
                    image.capacity_bytes = capacity_bytes.unwrap_or(image.capacity_bytes);
                    memory.insert_area(new, image);
                }
            }
        }
        Ok(())
    }

    /// Has a CPU, which runs idle, give up what it still holds of vCPUs, and looks at what it holds then.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted, or the CPU holds something else than the hypervisor's own.
    pub fn quiesce(&mut self, cpu: u16) -> Result<(), Violation> {
        if self.running(cpu).is_some() {
            return Err(Violation::Misuse { cpu, what: "the CPU runs a vCPU" });
        }
        self.client.quiesce(&mut self.machine, cpu).map_err(|fault| fault_on(cpu, fault))?;
        let home = self.homes.get(usize::from(cpu));
        let Some((home, mut processor)) = home.zip(self.machine.on(cpu)) else {
            return Err(Violation::Misuse { cpu, what: "there is no such CPU" });
        };
        let differences = processor.idle_differences(home);
        if differences.is_empty() { Ok(()) } else { Err(Violation::IdleFound { cpu, differences }) }
    }

    /// Sleeps (S3): every CPU, which runs idle, loses its registers and is brought up again.
    ///
    /// # Errors
    ///
    /// The hypervisor's code faulted.
    pub fn sleep(&mut self) -> Result<(), Violation> {
        for cpu in 0..self.count() {
            self.quiesce(cpu)?;
        }
        for cpu in 0..self.count() {
            self.machine.reset(cpu);
            self.bring_up(cpu)?;
        }
        Ok(())
    }

    fn bring_up(&mut self, cpu: u16) -> Result<(), Violation> {
        let home = self.homes.get(usize::from(cpu)).ok_or(Violation::Misuse { cpu, what: "there is no such CPU" })?;
        home.boot(&mut self.machine).map_err(|fault| fault_on(cpu, fault))?;
        let host = home.host(&mut self.machine);
        self.hosts.extend(host.map(|host| (cpu, host)));
        self.client.bring_up(&mut self.machine, cpu).map_err(|fault| fault_on(cpu, fault))
    }

    pub(crate) fn leave_guest(&mut self, cpu: u16) -> Result<(), Violation> {
        let Standing { vcpu: Some(vcpu), is_in_guest: true } = *self.standing(cpu)? else { return Ok(()) };
        let (mut processor, block) = self.processor_and_block(cpu, vcpu)?;
        match block {
            Some(block) => processor.vm_exit(block),
            None => processor.exit_pv(CODE_SELECTOR),
        }
        .map_err(|fault| fault_on(cpu, fault))?;
        self.standing(cpu)?.is_in_guest = false;
        self.client.leave(&mut self.machine, cpu).map_err(|fault| fault_on(cpu, fault))
    }

    /// Enters the guest of the vCPU that a CPU runs, if it runs one, and looks at what the guest finds.
    pub(crate) fn enter_guest(&mut self, cpu: u16) -> Result<(), Violation> {
        let Some(vcpu) = self.running(cpu) else { return Ok(()) };
        let host = self.hosts.get(&cpu).cloned();
        let guest = self.guests.get_mut(vcpu).ok_or(Violation::Misuse { cpu, what: "there is no such vCPU" })?;
        let controls = guest.block.as_mut().map(|block| &mut block.controls);
        self.client.enter(&mut self.machine, cpu, controls).map_err(|fault| fault_on(cpu, fault))?;

        let (mut processor, block) = self.processor_and_block(cpu, vcpu)?;
        match block {
            Some(block) => {
                let now = processor.carried();
                block.host = host.map_or(now.clone(), |host| Carried { cr3: now.cr3, cr4: now.cr4, ..host });
                processor.vm_entry(block)
            }
            None => {
                let is_32_bit = self.guests.get(vcpu).is_some_and(|guest| guest.shape.kind == GuestKind::Pv32);
                self.on(cpu)?.enter_pv(if is_32_bit { 1 } else { 3 })
            }
        }
        .map_err(|fault| fault_on(cpu, fault))?;
        self.standing(cpu)?.is_in_guest = true;
        self.check(cpu)?;
        let owner = Owner::Vcpu(u16::try_from(vcpu).unwrap_or(u16::MAX));
        self.on(cpu)?.train_predictor(owner);
        Ok(())
    }

    /// Looks at what the guest finds that a CPU is in.
    ///
    /// # Errors
    ///
    /// The guest finds something else than its own.
    pub fn check(&mut self, cpu: u16) -> Result<(), Violation> {
        let misuse = Violation::Misuse { cpu, what: "the CPU is in no guest" };
        let vcpu = self.running(cpu).ok_or(misuse.clone())?;
        let (Some(guest), Some(home)) = (self.guests.get(vcpu), self.homes.get(usize::from(cpu))) else {
            return Err(misuse);
        };
        let mut processor = self.machine.on(cpu).ok_or(misuse)?;
        let differences = processor.differences(guest, home);
        if differences.is_empty() { Ok(()) } else { Err(Violation::Found { cpu, vcpu, differences }) }
    }

    pub(crate) fn on(&mut self, cpu: u16) -> Result<Processor<'_>, Violation> {
        self.machine.on(cpu).ok_or(Violation::Misuse { cpu, what: "there is no such CPU" })
    }

    pub(crate) fn guest_and_hardware(&mut self, vcpu: usize) -> Option<(&mut Guest, &Hardware)> {
        Some((self.guests.get_mut(vcpu)?, self.machine.hardware()))
    }

    /// A CPU at work and the VMCS or VMCB of a vCPU, if it has one.
    pub(crate) fn processor_and_block(
        &mut self,
        cpu: u16,
        vcpu: usize,
    ) -> Result<(Processor<'_>, Option<&mut ControlBlock>), Violation> {
        let processor = self.machine.on(cpu).ok_or(Violation::Misuse { cpu, what: "there is no such CPU" })?;
        Ok((processor, self.guests.get_mut(vcpu).and_then(|guest| guest.block.as_mut())))
    }

    fn standing(&mut self, cpu: u16) -> Result<&mut Standing, Violation> {
        self.standings.get_mut(usize::from(cpu)).ok_or(Violation::Misuse { cpu, what: "there is no such CPU" })
    }

    fn count(&self) -> u16 {
        u16::try_from(self.homes.len()).unwrap_or(u16::MAX)
    }
}

const fn fault_on(cpu: u16, fault: Fault) -> Violation {
    Violation::HypervisorFault { cpu, fault }
}
