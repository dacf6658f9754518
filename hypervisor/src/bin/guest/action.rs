//! What a hostile guest tries, and what the CPU makes of it.
#![expect(unsafe_code, reason = "UNSAFETY: tries what should fault, and puts back what does not")]

use core::fmt;
use core::hint::black_box;

use selfsame_hypervisor::attempt::{self, Instruction};
use selfsame_hypervisor::{Fault, guest_ports, msr};
use selfsame_x86::cpuid;
use selfsame_xstate::{
    Component, ComponentSet, Exception, Header, Restore, RestoreInstruction, Xgetbv, Xsetbv, Xss, hardware_fault,
    wrmsr_xss,
};

use crate::area::{Area, put_header, put_mxcsr};
use crate::control::CONTROLS;
use crate::machine::Machine;
use crate::msr_rules::{MsrRule, is_lawful};

/// Bits of CR4.
const OSXSAVE: u64 = 1 << 18;
const PKE: u64 = 1 << 22;

const UNDEFINED: Fault = Fault { vector: 6, error: 0 };
pub(crate) const PROTECTION: Fault = Fault { vector: 13, error: 0 };

/// One thing that is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Xsetbv {
        index: u32,
        value: u64,
    },
    Xgetbv {
        index: u32,
    },
    /// The same with CR4.OSXSAVE clear.
    XsetbvWithoutOsxsave {
        value: u64,
    },
    XgetbvWithoutOsxsave,
    /// WRMSR of IA32_XSS.
    Xss {
        value: u64,
    },
    /// WRMSR of another MSR; the value before is put back.
    Wrmsr {
        rule: &'static MsrRule,
        value: u64,
    },
    Rdmsr {
        rule: &'static MsrRule,
    },
    /// An MSR that no CPU has.
    WrmsrOfNone {
        index: u32,
    },
    RdmsrOfNone {
        index: u32,
    },
    /// Setting a bit of CR4 that the CPU has not.
    Cr4 {
        bit: u32,
    },
    /// A value that the register does not take.
    Register {
        name: &'static str,
        write: unsafe fn(u64) -> Result<(), Fault>,
        value: u64,
    },
    Restore {
        instruction: RestoreInstruction,
        header: Header,
        mxcsr: u32,
        requested: ComponentSet,
    },
    /// XRSTORS of CET state.
    RestoreCet {
        component: Component,
        words: [u64; 3],
    },
    /// XRSTOR of an area that is not aligned.
    RestoreAt {
        offset_bytes: usize,
    },
    Rdpkru {
        ecx: u32,
    },
    Wrpkru {
        ecx: u32,
        edx: u32,
    },
    RdpkruWithoutPke,
    /// An instruction of [`attempt::UNDEFINED`].
    Undefined(&'static Instruction),
    Cpuid {
        leaf: u32,
        subleaf: u32,
    },
    Yield,
}

/// The hostile guest: the registers that its actions change for good.
#[derive(Debug)]
pub(crate) struct Hostile<'m> {
    pub(crate) machine: &'m Machine,
    xcr0: ComponentSet,
    xss: ComponentSet,
    area: Area,
}

impl<'m> Hostile<'m> {
    /// Begins with everything switched on.
    pub(crate) const fn new(machine: &'m Machine) -> Self {
        Self { machine, xcr0: machine.xcr0, xss: machine.xss, area: Area::new() }
    }

    /// What the CPU does, by the rules of the manuals.
    pub(crate) fn expected(&self, action: &Action) -> Result<(), Fault> {
        let machine = self.machine;
        let protection = |is_taken: bool| if is_taken { Ok(()) } else { Err(PROTECTION) };
        match *action {
            Action::Xsetbv { index, value } => {
                let outcome = Xsetbv { index, ..Xsetbv::in_kernel(value) }.judge(machine.xcr0);
                outcome.map(drop).map_err(|fault| of_exception(fault.exception()))
            }
            Action::Xgetbv { index } => {
                let has_xgetbv1 = machine.has("xgetbv1");
                let outcome = Xgetbv { has_osxsave: true, has_xgetbv1, index }.judge();
                outcome.map(drop).map_err(|fault| of_exception(fault.exception()))
            }
            Action::Xss { value } => {
                let permitted = machine.has_xsaves().then_some(machine.geometry.supervisor());
                wrmsr_xss(value, permitted).map(drop).map_err(|_| PROTECTION)
            }
            Action::Wrmsr { rule, value } => protection(rule.is_there(machine) && rule.takes(value, machine)),
            Action::Rdmsr { rule } => protection(rule.is_there(machine)),
            Action::Restore { instruction, ref header, mxcsr, requested } => {
                let restore = Restore {
                    instruction,
                    requested,
                    xcr0: self.xcr0,
                    xss: self.xss,
                    xfd: ComponentSet::EMPTY,
                    mxcsr_mask: machine.mxcsr_mask,
                    has_xsavec: machine.geometry.has_xsavec(),
                };
                match hardware_fault(header, mxcsr, &restore) {
                    None => Ok(()),
                    Some(fault) => Err(Fault { vector: fault.vector(), error: 0 }),
                }
            }
            Action::RestoreCet { component, words } => {
                protection(self.xss.contains(component) && is_lawful(component, words))
            }
            Action::Rdpkru { ecx } => protection(ecx == 0),
            Action::Wrpkru { ecx, edx } => protection(ecx == 0 && edx == 0),
            Action::XsetbvWithoutOsxsave { .. }
            | Action::XgetbvWithoutOsxsave
            | Action::RdpkruWithoutPke
            | Action::Undefined(_) => Err(UNDEFINED),
            Action::WrmsrOfNone { .. }
            | Action::RdmsrOfNone { .. }
            | Action::Cr4 { .. }
            | Action::Register { .. }
            | Action::RestoreAt { .. } => Err(PROTECTION),
            Action::Cpuid { .. } | Action::Yield => Ok(()),
        }
    }

    /// Does it.
    pub(crate) fn perform(&mut self, action: &Action) -> Result<(), Fault> {
        match *action {
            Action::Xsetbv { index, value } => {
                attempt::xsetbv(index, value)?;
                self.xcr0 = ComponentSet::from_bits(value);
                Ok(())
            }
            Action::Xgetbv { index } => attempt::xgetbv(index).map(drop),
            Action::XsetbvWithoutOsxsave { value } => without(OSXSAVE, || attempt::xsetbv(0, value)),
            Action::XgetbvWithoutOsxsave => without(OSXSAVE, || attempt::xgetbv(0).map(drop)),
            Action::Xss { value } => {
                // SAFETY: it decides what XSAVES saves.
                unsafe { msr::write(Xss::MSR, value) }?;
                self.xss = ComponentSet::from_bits(value);
                Ok(())
            }
            Action::Wrmsr { rule, value } => written_for_a_moment(rule.index, value),
            Action::Rdmsr { rule } => msr::read(rule.index).map(drop),
            Action::WrmsrOfNone { index } => written_for_a_moment(index, 0),
            Action::RdmsrOfNone { index } => msr::read(index).map(drop),
            Action::Cr4 { bit } => {
                let before = attempt::cr4();
                // SAFETY: what it would switch on is off again before anything uses it.
                let outcome = unsafe { attempt::write_cr4(before | 1 << bit) };
                if outcome.is_ok() {
                    // SAFETY: the value before.
                    unsafe { attempt::write_cr4(before) }?;
                }
                outcome
            }
            // SAFETY: no CPU takes the value; one that does has failed the test, and the program ends.
            Action::Register { write, value, .. } => unsafe { write(value) },
            Action::Restore { instruction, header, mxcsr, requested } => {
                put_header(&mut self.area, &header);
                put_mxcsr(&mut self.area, mxcsr);
                let outcome = self.restore(instruction, requested.bits(), 0);
                put_header(&mut self.area, &Header::default());
                outcome
            }
            Action::RestoreCet { component, words } => self.restore_cet(component, words),
            Action::RestoreAt { offset_bytes } => self.restore(RestoreInstruction::Xrstor, 0, offset_bytes),
            Action::Rdpkru { ecx } => attempt::rdpkru(ecx).map(drop),
            Action::Wrpkru { ecx, edx } => attempt::wrpkru(0, ecx, edx),
            Action::RdpkruWithoutPke => without(PKE, || attempt::rdpkru(0).map(drop)),
            Action::Undefined(instruction) => instruction.execute(),
            Action::Cpuid { leaf, subleaf } => {
                black_box(cpuid(leaf, subleaf));
                Ok(())
            }
            Action::Yield => {
                guest_ports::let_others_run();
                Ok(())
            }
        }
    }

    /// Puts everything on again.
    ///
    /// # Errors
    ///
    /// The first fault, where there was none when it was switched on.
    pub(crate) fn end(self) -> Result<(), Fault> {
        if self.xcr0 != self.machine.xcr0 {
            attempt::xsetbv(0, self.machine.xcr0.bits())?;
        }
        if self.xss != self.machine.xss {
            // SAFETY: it decides what XSAVES saves.
            unsafe { msr::write(Xss::MSR, self.machine.xss.bits()) }?;
        }
        Ok(())
    }

    fn restore(&self, instruction: RestoreInstruction, mask: u64, offset_bytes: usize) -> Result<(), Fault> {
        let area = self.area.bytes().as_ptr().wrapping_add(offset_bytes);
        match instruction {
            // SAFETY: the area has room for every component that there is, and its contents are zeros, with which
            // ring 0 runs on.
            RestoreInstruction::Xrstor => unsafe { attempt::xrstor(area, mask) },
            // SAFETY: as above; of CET state, nothing is on in ring 0.
            RestoreInstruction::Xrstors => unsafe { attempt::xrstors(area, mask) },
        }
    }

    /// Loads one component, which lies first behind the header, alone.
    fn restore_cet(&mut self, component: Component, words: [u64; 3]) -> Result<(), Fault> {
        /// Of XCOMP_BV: the image is compacted (SDM vol. 1, 13.4.2).
        const COMPACTED: u64 = 1 << 63;
        let set = ComponentSet::from(component).bits();
        self.put_behind_header(words);
        put_header(&mut self.area, &Header { xstate_bv: set, xcomp_bv: COMPACTED | set, ..Header::default() });
        let outcome = self.restore(RestoreInstruction::Xrstors, set, 0);
        // The initial configuration for the component, and for later actions.
        put_header(&mut self.area, &Header { xcomp_bv: COMPACTED, ..Header::default() });
        self.put_behind_header([0; 3]);
        if outcome.is_ok() {
            self.restore(RestoreInstruction::Xrstors, set, 0)?;
        }
        put_header(&mut self.area, &Header::default());
        outcome
    }

    fn put_behind_header(&mut self, words: [u64; 3]) {
        let place = self.area.bytes_mut().get_mut(selfsame_xstate::EXTENDED_START_BYTES as usize..);
        for (place, word) in place.unwrap_or_default().as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
    }
}

const fn of_exception(exception: Exception) -> Fault {
    match exception {
        Exception::InvalidOpcode => UNDEFINED,
        Exception::GeneralProtection => PROTECTION,
    }
}

/// Does something while bits of CR4 are clear.
fn without<T>(bits: u64, act: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let before = attempt::cr4();
    // SAFETY: what the bits switch on is used by rounds alone.
    unsafe { attempt::write_cr4(before & !bits) }?;
    let outcome = act();
    // SAFETY: the value before.
    unsafe { attempt::write_cr4(before) }?;
    outcome
}

/// Writes an MSR, and puts back what was in it.
fn written_for_a_moment(index: u32, value: u64) -> Result<(), Fault> {
    let before = msr::read(index);
    // SAFETY: it is one that takes no such value, or one whose values change nothing before the old one is back.
    unsafe { msr::write(index, value) }?;
    if let Ok(before) = before {
        // SAFETY: the value before.
        unsafe { msr::write(index, before) }?;
    }
    Ok(())
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Xsetbv { index, value } => write!(f, "xsetbv of xcr{index} with {value:#x}"),
            Self::Xgetbv { index } => write!(f, "xgetbv of xcr{index}"),
            Self::XsetbvWithoutOsxsave { value } => write!(f, "xsetbv of xcr0 with {value:#x} without cr4.osxsave"),
            Self::XgetbvWithoutOsxsave => f.write_str("xgetbv of xcr0 without cr4.osxsave"),
            Self::Xss { value } => write!(f, "wrmsr of {:08x} (XSS) with {value:#x}", Xss::MSR),
            Self::Wrmsr { rule, value } => write!(f, "wrmsr of {:08x} ({}) with {value:#x}", rule.index, rule.name),
            Self::Rdmsr { rule } => write!(f, "rdmsr of {:08x} ({})", rule.index, rule.name),
            Self::WrmsrOfNone { index } => write!(f, "wrmsr of {index:08x} with 0"),
            Self::RdmsrOfNone { index } => write!(f, "rdmsr of {index:08x}"),
            Self::Cr4 { bit } => match CONTROLS.iter().find(|row| row.bit == bit) {
                Some(row) => write!(f, "setting cr4.{}", row.name),
                None => write!(f, "setting bit {bit} of cr4"),
            },
            Self::Register { name, value, .. } => write!(f, "writing {value:#x} to {name}"),
            Self::Restore { instruction, header, mxcsr, requested } => {
                let name = match instruction {
                    RestoreInstruction::Xrstor => "xrstor",
                    RestoreInstruction::Xrstors => "xrstors",
                };
                let Header { xstate_bv, xcomp_bv, reserved } = header;
                write!(
                    f,
                    "{name} of {:#x} from xstate_bv {xstate_bv:#x}, xcomp_bv {xcomp_bv:#x}, reserved {reserved:x?}, \
                     mxcsr {mxcsr:#x}",
                    requested.bits()
                )
            }
            Self::RestoreCet { component, words } => write!(f, "xrstors of {component} with {words:x?}"),
            Self::RestoreAt { offset_bytes } => write!(f, "xrstor {offset_bytes} bytes behind a multiple of 64"),
            Self::Rdpkru { ecx } => write!(f, "rdpkru with ecx {ecx:#x}"),
            Self::Wrpkru { ecx, edx } => write!(f, "wrpkru with ecx {ecx:#x} and edx {edx:#x}"),
            Self::RdpkruWithoutPke => f.write_str("rdpkru without cr4.pke"),
            Self::Undefined(instruction) => f.write_str(instruction.name),
            Self::Cpuid { leaf, subleaf } => write!(f, "cpuid of {leaf:08x} {subleaf:02x}"),
            Self::Yield => f.write_str("letting others run"),
        }
    }
}
