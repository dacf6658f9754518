//! A guest: one vCPU, its memory, its policy, and what it does at its exits.

mod msrs;

use selfsame_cpuid::{ApicId, Policy, Rule, VcpuView, What};
use selfsame_hypervisor::pages::Pages;
use selfsame_hypervisor::{EmbedError, Fault, Lock, Outcome, embed_parameters, guest_ports};
use selfsame_switch::{
    AreaAddress, Cpu, Cr3, DomainId, Extended, GuestXss, Shown, StillResident, SwitchError, Switcher, Vcpu, VcpuId,
    VcpuKind, VcpuName,
};
use selfsame_xstate::{
    AccumulatedXcr0, Area, AreaError, AreaMemoryError, Class, ComponentSet, Exception, LinearAddresses, ResizeError,
    Xcr0Refusal, Xsetbv,
};
use thiserror::Error;

use self::msrs::pass_msrs;
use crate::context::Registers;
use crate::control_registers::{is_legal_cr0, is_legal_cr4};
use crate::exit::{Exit, PortAccess};
use crate::guest_memory::GuestMemory;
use crate::machine::{Machine, has};
use crate::parameters::{Change, GuestParameters, trims};
use crate::say::say;
use crate::virtual_cpu::{Capabilities, ControlBlock};

/// How many guests there may be.
pub(crate) const MAX_GUESTS: usize = 4;

/// The guests, by number.
pub(crate) static GUESTS: [Lock<Option<Guest>>; MAX_GUESTS] = [const { Lock::new(None) }; MAX_GUESTS];

/// A guest with one vCPU.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    pub(crate) vcpu: Vcpu,
    pub(crate) registers: Registers,
    pub(crate) memory: GuestMemory,
    pub(crate) control: ControlBlock,
    pub(crate) capabilities: Capabilities,
    /// What the save area has room for, and its memory.
    description: Area<'static>,
    area: Pages,
    permitted: Permitted,
    /// The values of [`CET`], under SVM.
    cet: [u64; 2],
    /// The policies that are still to come.
    changes: [Option<Change>; 4],
    /// The CPU that it waits for.
    pub(crate) home: usize,
    /// How many turns it had since it came to its home.
    pub(crate) turns_here: u32,
    /// How many turns it had.
    pub(crate) turns: u32,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) progress: u64,
    /// How often it came to reach components that it never had: its state is moved then, without a switch.
    pub(crate) widened: u64,
    line: Line,
}

/// What the guest may have in XCR0, in IA32_XSS, and in registers that hold addresses; there is no IA32_XSS without XSAVES.
#[derive(Clone, Copy, Debug)]
struct Permitted {
    xcr0: ComponentSet,
    xss: Option<ComponentSet>,
    addresses: LinearAddresses,
}

impl Permitted {
    fn of(machine: &Machine, area: &Area<'_>, policy: &Policy) -> Self {
        let leaves = &policy.leaves;
        let xss = machine.configurations.permitted_xss(states(policy)) & leaves.xss();
        Self {
            xcr0: area.permitted_xcr0() & leaves.xcr0(),
            xss: has(leaves, "xsaves").then_some(xss),
            addresses: if has(leaves, "la57") { LinearAddresses::Bits57 } else { LinearAddresses::Bits48 },
        }
    }
}

fn states(policy: &Policy) -> ComponentSet {
    policy.leaves.xcr0() | policy.leaves.xss()
}

/// What the save area of a guest with this policy holds: without XFD in it, the guest has what it may use from the start.
fn describe_area(machine: &Machine, policy: &Policy) -> Result<Area<'static>, AreaError> {
    let has_xfd = has(&policy.leaves, "xfd");
    let enabled = if has_xfd { ComponentSet::EMPTY } else { Class::UserDynamic.components() & states(policy) };
    machine.configurations.area(states(policy), enabled)
}

/// What the guest has written to its serial port since the last end of a line.
#[derive(Debug)]
struct Line {
    text: [u8; 200],
    len: usize,
}

/// Why a guest cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum GuestError {
    #[error("no memory is left")]
    NoMemory,
    #[error("the guest's image is not one")]
    BadImage,
    #[error(transparent)]
    Parameters(#[from] EmbedError),
    #[error("its cpuid= words: {0}")]
    Trims(#[from] selfsame_cpuid::TrimError),
    #[error("its policy: {0}")]
    Policy(#[from] selfsame_cpuid::text::TextError),
    #[error("its policy is not for this machine: {refusals} reasons, the first: {what} by rule {rule}")]
    Refused { refusals: usize, what: What, rule: Rule },
    #[error("its policy has {name}, which this hypervisor does not make where the CPU lacks it")]
    NotMade { name: &'static str },
    #[error("its save area: {0}")]
    Area(#[from] AreaError),
    #[error("its save area: {0}")]
    AreaMemory(#[from] AreaMemoryError),
    #[error("its xcr0: {0}")]
    Xcr0(#[from] Xcr0Refusal),
    #[error("its save area: {0}")]
    Resize(#[from] ResizeError),
    #[error(transparent)]
    StillResident(#[from] StillResident),
}

/// What becomes of a guest's turn after an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The guest goes on.
    GoesOn,
    /// Another vCPU's turn comes.
    Ends,
}

impl Guest {
    /// Makes a guest that has not run.
    pub(crate) fn new(
        machine: &Machine,
        image: &[u8],
        parameters: &GuestParameters,
        number: u16,
        home: usize,
    ) -> Result<Self, GuestError> {
        let policy = match parameters.policy() {
            Some(policy) => machine.accepted(policy?)?,
            None => machine.policy(&trims(parameters.trims)?),
        };
        let description = describe_area(machine, &policy)?;
        let mut area = Pages::for_bytes(description.size_bytes() as usize).ok_or(GuestError::NoMemory)?;
        description.init(area.bytes_mut())?;
        let address = AreaAddress::new(area.address()).ok_or(GuestError::NoMemory)?;

        let mut memory = GuestMemory::new().ok_or(GuestError::NoMemory)?;
        let (entry, program) = memory.load(image).ok_or(GuestError::BadImage)?;
        embed_parameters(program, parameters.words)?;
        let capabilities = Capabilities::of(&policy.leaves);
        let virtualisation = machine.platform.virtualisation;
        let control = ControlBlock::new(virtualisation, &mut memory, entry.address, number);
        let mut control = control.ok_or(GuestError::NoMemory)?;
        pass_msrs(&mut control, virtualisation, &policy, &capabilities);

        let vcpu = VcpuId::new(0).ok_or(GuestError::NoMemory)?;
        let name = VcpuName::new(DomainId::new(number + 1), vcpu);
        let cr3 = Cr3::new(own_cr3()).ok_or(GuestError::NoMemory)?;
        Ok(Self {
            name: parameters.name,
            vcpu: Vcpu::new(name, VcpuKind::Hvm, Extended::new(address), cr3, Shown::default()),
            registers: Registers::default(),
            memory,
            control,
            capabilities,
            area,
            permitted: Permitted::of(machine, &description, &policy),
            description,
            cet: [0; 2],
            changes: parameters.changes,
            policy,
            home,
            turns_here: 0,
            turns: 0,
            outcome: None,
            progress: 0,
            widened: 0,
            line: Line { text: [0; 200], len: 0 },
        })
    }

    /// How many bytes its save area has.
    pub(crate) fn area_bytes(&self) -> u32 {
        self.description.size_bytes()
    }

    /// Tells whether another policy is due.
    pub(crate) fn is_change_due(&self) -> bool {
        self.changes.iter().flatten().any(|change| change.turns <= self.turns)
    }

    /// Gives the guest the policy that is due, with a save area for it. It is on no CPU.
    pub(crate) fn take_change(&mut self, machine: &Machine) {
        let due = self.changes.iter_mut().find(|change| change.is_some_and(|change| change.turns <= self.turns));
        let Some(change) = due.and_then(Option::take) else { return };
        match self.change(machine, change.trims) {
            Ok(()) => say!("guest {}: another policy, save area {} bytes", self.name, self.area_bytes()),
            Err(error) => say!("guest {}: no other policy: {error}", self.name),
        }
    }

    fn change(&mut self, machine: &Machine, words: &str) -> Result<(), GuestError> {
        let policy = machine.policy(&trims(words)?);
        let description = describe_area(machine, &policy)?;
        let mut area = Pages::for_bytes(description.size_bytes() as usize).ok_or(GuestError::NoMemory)?;
        let address = AreaAddress::new(area.address()).ok_or(GuestError::NoMemory)?;
        let enabled = self.vcpu.extended.accumulated() & machine.platform.xcr0.components();
        let accumulated = AccumulatedXcr0::new(enabled.bits(), enabled)?;
        self.description.open(self.area.bytes_mut())?.resize_into(&description, area.bytes_mut(), accumulated)?;
        self.vcpu.extended.move_area(&self.vcpu.residence, address)?;
        self.capabilities = Capabilities::of(&policy.leaves);
        pass_msrs(&mut self.control, machine.platform.virtualisation, &policy, &self.capabilities);
        self.permitted = Permitted::of(machine, &description, &policy);
        (self.description, self.area, self.policy) = (description, area, policy);
        Ok(())
    }

    /// Ends the guest. `words` say why, if it did not end by itself.
    pub(crate) fn end(&mut self, outcome: Outcome, words: &str) {
        if self.line.len > 0 {
            self.write_byte(b'\n');
        }
        if !words.is_empty() {
            say!("{}: {words}", self.name);
        }
        self.outcome = Some(outcome);
    }

    fn write_byte(&mut self, byte: u8) {
        if byte != b'\n'
            && let Some(place) = self.line.text.get_mut(self.line.len)
        {
            *place = byte;
            self.line.len += 1;
            return;
        }
        let text = self.line.text.get(..self.line.len).unwrap_or_default();
        say!("{}: {}", self.name, core::str::from_utf8(text).unwrap_or("?"));
        self.line.len = 0;
    }

    /// Does what an exit asks for.
    pub(crate) fn handle(
        &mut self,
        exit: Exit,
        switcher: &mut Switcher<'_>,
        cpu: &mut impl Cpu,
    ) -> Result<Turn, SwitchError> {
        match exit {
            Exit::Cpuid => self.cpuid(),
            Exit::ReadMsr => match self.read_msr() {
                Some(value) => {
                    self.registers.set_edx_eax(value);
                    self.go_on();
                }
                None => self.control.raise(PROTECTION),
            },
            Exit::WriteMsr => match self.write_msr(switcher, cpu) {
                Some(()) => self.go_on(),
                None => self.control.raise(PROTECTION),
            },
            Exit::Xsetbv => self.xsetbv(),
            Exit::WriteCr0 { value, len_bytes } => {
                if is_legal_cr0(value, &self.control.mode()) {
                    self.control.set_cr0(value);
                    self.control.advance(len_bytes);
                } else {
                    self.control.raise(PROTECTION);
                }
            }
            Exit::WriteCr4 { value, len_bytes } => {
                if value & !self.capabilities.cr4_bits == 0 && is_legal_cr4(value, &self.control.mode()) {
                    self.control.set_cr4(value);
                    if value & PKE != 0 {
                        self.reach(Extended::reach_pkru);
                    }
                    self.control.advance(len_bytes);
                } else {
                    self.control.raise(PROTECTION);
                }
            }
            Exit::DebugRegister => {
                switcher.grant_debug_access(cpu, &mut self.vcpu)?;
                self.control.grant_debug_registers();
            }
            Exit::DebugException { cause } => {
                self.vcpu.debug.dr6 = selfsame_switch::DR6_RESET | cause;
                self.control.raise(Fault { vector: 1, error: 0 });
            }
            Exit::Undefined => self.control.raise(UNDEFINED),
            Exit::Port(access) => return Ok(self.port(access)),
            Exit::Hlt => {
                self.end(Outcome::Failure, "halted");
                return Ok(Turn::Ends);
            }
            Exit::Interrupt { .. } => return Ok(Turn::Ends),
            Exit::Shutdown | Exit::NoMemory { .. } | Exit::Other { .. } => {
                let rip = self.control.mode().rip;
                say!("{}: {exit:x?} at {rip:#x}, progress {}", self.name, self.progress);
                self.end(Outcome::Failure, "");
                return Ok(Turn::Ends);
            }
        }
        Ok(Turn::GoesOn)
    }

    fn go_on(&mut self) {
        let len_bytes = self.control.instruction_len_bytes(&self.memory);
        self.control.advance(len_bytes);
    }

    fn cpuid(&mut self) {
        let mode = self.control.mode();
        let extended = &self.vcpu.extended;
        let view = VcpuView {
            apic_id: ApicId::ZERO,
            xcr0: extended.xcr0().components(),
            xss: match extended.xss() {
                GuestXss::Own(xss) => xss.components(),
                GuestXss::Hosts => ComponentSet::EMPTY,
            },
            has_osxsave: mode.cr4 & OSXSAVE != 0,
            has_pke: mode.cr4 & PKE != 0,
            is_apic_enabled: true,
            is_in_64_bit_mode: mode.is_64_bit_code,
        };
        let regs = self.policy.cpuid(low(self.registers.rax), low(self.registers.rcx), &view);
        self.registers.rax = regs.eax.into();
        self.registers.rbx = regs.ebx.into();
        self.registers.rcx = regs.ecx.into();
        self.registers.rdx = regs.edx.into();
        self.go_on();
    }

    fn xsetbv(&mut self) {
        let mode = self.control.mode();
        let xsetbv = Xsetbv {
            has_osxsave: mode.cr4 & OSXSAVE != 0,
            cpl: mode.cpl,
            index: low(self.registers.rcx),
            value: self.registers.edx_eax(),
        };
        match xsetbv.judge(self.permitted.xcr0) {
            Ok(xcr0) => {
                self.reach(|extended| extended.xsetbv(xcr0));
                self.go_on();
            }
            Err(fault) => self.control.raise(match fault.exception() {
                Exception::InvalidOpcode => UNDEFINED,
                Exception::GeneralProtection => PROTECTION,
            }),
        }
    }

    /// Lets the guest reach extended state; its state is moved at the next entry if that is more than it ever reached.
    fn reach(&mut self, reach: impl FnOnce(&mut Extended)) {
        let before = self.vcpu.extended.accumulated();
        reach(&mut self.vcpu.extended);
        self.widened += u64::from(self.vcpu.extended.accumulated() != before);
    }

    fn port(&mut self, access: PortAccess) -> Turn {
        const SERIAL: u16 = 0x3f8;
        const SERIAL_STATUS: u16 = SERIAL + 5;
        /// A byte can be given, and the last one has left.
        const IS_READY: u64 = 0x60;
        /// As the base ends a program (QEMU's device), and how it says that it went well.
        const EXIT: u16 = 0xf4;
        const WENT_WELL: u64 = 0x10;
        let PortAccess { port, width, is_in, len_bytes } = access;
        let value = self.registers.rax & width.mask();
        self.control.advance(len_bytes);
        if is_in {
            let read = if port == SERIAL_STATUS { IS_READY } else { width.mask() };
            // A 32-bit register that is written is extended (SDM vol. 1, 3.4.1.1).
            let kept = if width.mask() == u64::from(u32::MAX) { 0 } else { self.registers.rax & !width.mask() };
            self.registers.rax = kept | read & width.mask();
            return Turn::GoesOn;
        }
        match port {
            SERIAL => self.write_byte(value.to_le_bytes()[0]),
            guest_ports::YIELD => return Turn::Ends,
            guest_ports::PROGRESS => self.progress = value,
            EXIT => {
                let outcome = if value == WENT_WELL { Outcome::Success } else { Outcome::Failure };
                self.end(outcome, "");
                return Turn::Ends;
            }
            _ => {}
        }
        Turn::GoesOn
    }
}

/// Of CR4.
const OSXSAVE: u64 = 1 << 18;
const PKE: u64 = 1 << 22;

const UNDEFINED: Fault = Fault { vector: 6, error: 0 };
const PROTECTION: Fault = Fault { vector: 13, error: 0 };

/// EAX of RAX.
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn low(value: u64) -> u32 {
    value as u32
}

/// The page tables that the hypervisor runs on, whichever guest is loaded.
pub(crate) fn own_cr3() -> u64 {
    let cr3: u64;
    #[expect(unsafe_code, reason = "UNSAFETY: reads CR3")]
    // SAFETY: reading CR3 in ring 0 changes nothing.
    unsafe {
        core::arch::asm!("mov {}, cr3", out(reg) cr3, options(nomem, nostack, preserves_flags));
    }
    cr3
}
