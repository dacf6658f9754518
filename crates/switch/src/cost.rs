//! What a transition costs: switches played on a [`Trace`], and the states that their writes belong to.

use selfsame_xstate::{ComponentSet, Xcr0, Xss};

use crate::gdt::{CpuTables, Frame, GdtPage};
use crate::{
    AreaAddress, Content, Cpu, CpuId, Cr3, Cr4, DR6_RESET, DR7_RESET, DebugState, DomainId, Extended, GuestXfd,
    GuestXss, Msr, Occupancy, Operation, Own, Platform, REGISTERS, Register, Registers, Segment, Selector, Shown,
    SwitchError, Switcher, Trace, Vcpu, VcpuId, VcpuKind, VcpuName,
};

/// What happens to a CPU between two guests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transition {
    /// Idle time, and the same vCPU again.
    Resume(VcpuKind),
    /// A vCPU on a CPU that has none.
    Arrive(VcpuKind),
    /// One vCPU in place of another.
    Switch(VcpuKind, VcpuKind),
    /// A vCPU taken off, and none in its place.
    Flush(VcpuKind),
}

/// How much two vCPUs have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Likeness {
    /// Equal values in all registers, in those that idle has the CPU's own too; the same number in their domains, and both
    /// were on this CPU before.
    Alike,
    /// Other values in all registers, all features in use; another number; the arriving one was on another CPU last. Where
    /// it comes to a CPU without a vCPU, that one has just been set up, and software has moved the save area.
    Different,
}

/// Plays a transition on `platform` and calls `observe` with what it does to the CPU, from the exit of the leaving vCPU to the
/// exit of the arriving one.
///
/// ```
/// use selfsame_cpuid::Leaves;
/// use selfsame_switch::{VcpuKind, Likeness, PerDomainArea, Platform, Transition, Virtualisation, Visibility, play};
/// use selfsame_xstate::Configurations;
///
/// let raw = Leaves::new();
/// let geometry = raw.geometry();
/// let configurations = Configurations::new(&geometry)?;
/// let per_domain = PerDomainArea::new(0xffff_8200_0000_0000).ok_or("not aligned")?;
/// let platform = Platform::new(&raw, Virtualisation::Vmx, &configurations, Visibility::Emulated, per_domain);
/// let mut writes = 0;
/// play(&platform, Transition::Resume(VcpuKind::Hvm), Likeness::Alike, |operation| writes += u32::from(operation.is_write()))?;
/// assert_eq!(writes, 0, "idle is lazy");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Errors
///
/// None: the vCPUs are where the switches expect them.
pub fn play(
    platform: &Platform,
    transition: Transition,
    likeness: Likeness,
    mut observe: impl FnMut(Operation),
) -> Result<(), SwitchError> {
    let (from, to) = match transition {
        Transition::Resume(kind) | Transition::Arrive(kind) | Transition::Flush(kind) => (kind, kind),
        Transition::Switch(from, to) => (from, to),
    };
    // Shadow stacks of the hypervisor and 32-bit PV guests exclude each other.
    let has_own_stacks = platform.has_supervisor_shadow_stacks() && from != VcpuKind::Pv32 && to != VcpuKind::Pv32;
    let mut a = vcpu(platform, from, FIRST, likeness);
    let mut b = vcpu(platform, to, SECOND, likeness);

    let (elsewhere, here) = (own(SECOND, has_own_stacks), own(FIRST, has_own_stacks));
    let mut other_cpu = Trace::new(|_| ());
    let mut other = Switcher::bring_up(platform, elsewhere, &mut other_cpu);

    // Only what is done between the two guests is told.
    let is_told = core::cell::Cell::new(false);
    let mut cpu = Trace::new(|operation| {
        if is_told.get() {
            observe(operation);
        }
    });
    let mut switcher = Switcher::bring_up(platform, here, &mut cpu);

    match likeness {
        Likeness::Alike => {
            run(&mut switcher, &mut cpu, None, &mut b)?;
            run(&mut switcher, &mut cpu, Some(&mut b), &mut a)?;
            b.residence.release();
        }
        Likeness::Different => {
            run(&mut other, &mut other_cpu, None, &mut b)?;
            other.flush(&mut other_cpu, &mut b)?;
            b.residence.release();
            run(&mut switcher, &mut cpu, None, &mut a)?;
        }
    }
    match transition {
        Transition::Resume(_) => {
            is_told.set(true);
            enter(&mut switcher, &mut cpu, &mut a)
        }
        Transition::Arrive(_) => {
            switcher.flush(&mut cpu, &mut a)?.execute(&mut cpu);
            if likeness == Likeness::Different {
                switcher.set_up_again(&mut cpu)?;
                let area = b.extended.area();
                b.extended.move_area(&b.residence, area)?;
            }
            is_told.set(true);
            run(&mut switcher, &mut cpu, None, &mut b)
        }
        Transition::Switch(..) => {
            is_told.set(true);
            run(&mut switcher, &mut cpu, Some(&mut a), &mut b)
        }
        Transition::Flush(_) => {
            is_told.set(true);
            switcher.flush(&mut cpu, &mut a)?.execute(&mut cpu);
            Ok(())
        }
    }
}

fn run(
    switcher: &mut Switcher<'_>,
    cpu: &mut impl Cpu,
    from: Option<&mut Vcpu>,
    to: &mut Vcpu,
) -> Result<(), SwitchError> {
    let _ = switcher.switch(cpu, from, to)?;
    enter(switcher, cpu, to)
}

fn enter(switcher: &mut Switcher<'_>, cpu: &mut impl Cpu, vcpu: &mut Vcpu) -> Result<(), SwitchError> {
    switcher.enter(vcpu)?.execute(cpu);
    switcher.exited(cpu, vcpu)
}

/// One of two CPUs, and one of two vCPUs.
#[derive(Clone, Copy)]
struct Number(u16);

const FIRST: Number = Number(1);
const SECOND: Number = Number(2);

impl Number {
    /// A value that the other has not.
    const fn value(self) -> u64 {
        self.0 as u64
    }

    const fn area(self) -> AreaAddress {
        constant(AreaAddress::new(self.value() << 16))
    }

    const fn cr3(self) -> Cr3 {
        constant(Cr3::new(self.value() << 32))
    }

    const fn page(self, which: u64) -> GdtPage {
        let number = self.value() << 8 | which;
        constant(GdtPage::new(0xFFFF_FFFF_8000_0000 + number * 0x10_0000, constant(Frame::new(number))))
    }
}

/// Takes what is there by construction.
#[expect(clippy::panic, reason = "the values are constants of this file, and every one of them is tested")]
const fn constant<T: Copy>(value: Option<T>) -> T {
    match value {
        Some(value) => value,
        None => panic!("a constant of this file is out of range"),
    }
}

fn own(number: Number, has_shadow_stacks: bool) -> Own {
    Own {
        tables: CpuTables::new(CpuId::new(number.0), number.page(1), number.page(2)),
        cr3: Number(0x100).cr3(),
        cr4: Cr4::of_hypervisor(Cr4::OSXSAVE | Cr4::FSGSBASE),
        pl0_ssp: has_shadow_stacks.then_some(0xFFFF_FFFF_9000_0FF8 + (number.value() << 12)),
        registers: registers(OWN),
        faulting_register: 0,
    }
}

/// Whose registers they are, beside those of the two vCPUs that differ: the CPU's own, and those of vCPUs that are alike.
const OWN: u64 = 0x100;
const ALIKE: u64 = 0x200;

/// Values that nobody else has.
fn registers(value: u64) -> Registers {
    let mut registers = Registers::RESET;
    for register in Register::ALL {
        registers.set(register, value << 8 | register.index() as u64);
    }
    registers
}

fn vcpu(platform: &Platform, kind: VcpuKind, number: Number, likeness: Likeness) -> Vcpu {
    let is_alike = likeness == Likeness::Alike;
    let vcpu = constant(VcpuId::new(if is_alike { 0 } else { number.0 }));
    let name = VcpuName::new(DomainId::new(number.0), vcpu);
    let mut extended = Extended::new(number.area());
    extended.set_xss(GuestXss::Own(platform.xss));
    if is_alike {
        extended.xsetbv(platform.xcr0);
    } else {
        extended = in_use(platform, extended, kind, number);
    }
    let shown = Shown { is_faulting: is_alike && kind != VcpuKind::Hvm, ..Shown::default() };
    let mut vcpu = Vcpu::new(name, kind, extended, number.cr3(), shown);
    vcpu.guest_cr4 = Cr4::FSGSBASE;
    vcpu.registers = registers(if is_alike { ALIKE } else { number.value() });
    if is_alike {
        let own = registers(OWN);
        for row in REGISTERS.iter().filter(|row| row.content(Occupancy::Idle) == Content::Own) {
            vcpu.registers.set(row.register, own.get(row.register));
        }
    }
    if !is_alike {
        vcpu.shown = Shown { is_faulting: number.0 == SECOND.0, masks: [number.value(); 4] };
        vcpu.guest_cr4 = 0;
        vcpu.has_task_switched = true;
        vcpu.ldt_descriptors = number.0;
        for segment in Segment::ALL {
            vcpu.selectors.set(segment, Selector::new(number.0 << 3 | 3));
        }
        vcpu = vcpu.with_debug(breakpoints(number));
    }
    vcpu
}

/// Two guests that have each had all there is, of which neither has enough of it enabled now for both.
fn in_use(platform: &Platform, mut extended: Extended, kind: VcpuKind, number: Number) -> Extended {
    extended.xsetbv(platform.xcr0);
    let small = if number.0 == FIRST.0 { 0x1 } else { 0x3 };
    if let Ok(xcr0) = Xcr0::new(small, platform.xcr0.components()) {
        extended.xsetbv(xcr0);
    }
    // One guest has nothing of what the host has, the other the component with the lowest number.
    let lowest = platform.xss.bits() & platform.xss.bits().wrapping_neg();
    let own = if number.0 == FIRST.0 { 0 } else { lowest };
    if let Ok(xss) = Xss::new(own, platform.xss.components()) {
        extended.set_xss(GuestXss::Own(xss));
    }
    let tiles = platform.xcr0.components().intersection(ComponentSet::AMX);
    if platform.has_xfd && kind == VcpuKind::Hvm {
        extended = extended.with_xfd(GuestXfd { xfd: tiles, xfd_err: tiles, is_intercepted: false });
    }
    extended
}

fn breakpoints(number: Number) -> DebugState {
    let first = number.value() << 12;
    DebugState {
        addresses: [first, first + 8, first + 16, first + 24],
        masks: [u32::from(number.0); 4],
        dr6: DR6_RESET | number.value(),
        dr7: DR7_RESET | 0x55,
    }
}

/// A state that is switched beside the registers of [`REGISTERS`](crate::REGISTERS).
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Its name.
    pub name: &'static str,
    /// When it is left out, or only written.
    pub reason: &'static str,
    writes: fn(&Operation) -> bool,
}

impl State {
    /// Tells whether an operation writes the state.
    #[must_use]
    pub fn is_written_by(&self, operation: &Operation) -> bool {
        (self.writes)(operation)
    }
}

fn is_write_of(operation: &Operation, is: fn(Msr) -> bool) -> bool {
    matches!(operation, Operation::Wrmsr(write) if is(write.msr()))
}

/// What is switched beside the registers of [`REGISTERS`](crate::REGISTERS). Every write belongs to one state or register.
pub static STATES: [State; 19] = [
    State {
        name: "XCR0",
        reason: "before the move only if it lacks a component of a mask; after it only if it is not the vCPU's own yet",
        writes: |operation| matches!(operation, Operation::Xsetbv(_)),
    },
    State {
        name: "XSS",
        reason: "up only if the leaving guest's lacks a component of a mask; down only if the arriving guest's is not there",
        writes: |operation| is_write_of(operation, |msr| msr == Msr::Xss),
    },
    State {
        name: "save",
        reason: "only if another vCPU's state comes, or the vCPU leaves; the CPU leaves out what is initial or unchanged",
        writes: |operation| matches!(operation, Operation::Save(..)),
    },
    State {
        name: "load",
        reason: "only if the registers hold another vCPU's state, or the guest enabled what it never had",
        writes: |operation| matches!(operation, Operation::Load(..) | Operation::ClearFpPointers),
    },
    State {
        name: "PL0_SSP",
        reason: "only once an HVM guest's has been saved from there, and the hypervisor has shadow stacks",
        writes: |operation| is_write_of(operation, |msr| msr == Msr::Pl0Ssp),
    },
    State {
        name: "XFD_ERR",
        reason: "guests with XFD only: the guest's if it is not zero, and zero again at its exit",
        writes: |operation| is_write_of(operation, |msr| msr == Msr::XfdErr),
    },
    State {
        name: "XFD",
        reason: "guests with XFD only: the guest's if it is not zero, and zero again at its exit",
        writes: |operation| is_write_of(operation, |msr| msr == Msr::Xfd),
    },
    State {
        name: "CR0.TS",
        reason: "only for a PV guest that has it set: it goes in last and comes out first",
        writes: |operation| matches!(operation, Operation::SetTaskSwitched | Operation::ClearTaskSwitched),
    },
    State {
        name: "slot 14",
        reason: "it still has this CPU's page of this bitness, since the vCPU was here last",
        writes: |operation| matches!(operation, Operation::L1(..)),
    },
    State {
        name: "INVLPG",
        reason: "only after a write of slot 14",
        writes: |operation| matches!(operation, Operation::Invlpg(_)),
    },
    State {
        name: "GDTR",
        reason: "same base and limit: vCPUs of one number, HVM after HVM; two where the default table bridges CR3",
        writes: |operation| matches!(operation, Operation::Lgdt(_)),
    },
    State {
        name: "CR3",
        reason: "the same page tables of the same domain",
        writes: |operation| matches!(operation, Operation::Cr3(_)),
    },
    State {
        name: "CR4",
        reason: "the same value; two between PV guests without FSGSBASE, whose bases are read with it (XSA-293)",
        writes: |operation| matches!(operation, Operation::Cr4(_)),
    },
    State {
        name: "LDT",
        reason: "the same address and limit; no descriptor for none; under HVM LDTR stays, and a VM exit makes it null",
        writes: |operation| matches!(operation, Operation::Lldt(_) | Operation::LdtDescriptor(..)),
    },
    State {
        name: "DS ES FS GS",
        reason: "null and null before; others select another descriptor in other tables; #VMEXIT needs null DS and ES",
        writes: |operation| matches!(operation, Operation::LoadSelector(..)),
    },
    State {
        name: "DR0-7",
        reason: "no breakpoint is on and the guest does not see the registers: DR7 is switched off, and no more",
        writes: |operation| matches!(operation, Operation::WriteDebug(..)),
    },
    State {
        name: "DR masks",
        reason: "with the addresses, wherever the CPU has them, known to the guest or not (XSA-444)",
        writes: |operation| is_write_of(operation, |msr| matches!(msr, Msr::DrMask(_))),
    },
    State {
        name: "CPUID",
        reason: "equal guests; masks stay under HVM, whose CPUID exits; faulting is a guest's own choice there",
        writes: |operation| {
            is_write_of(operation, |msr| matches!(msr, Msr::MiscFeaturesEnables | Msr::Hwcr | Msr::CpuidMask(_)))
        },
    },
    State {
        name: "IBPB",
        reason: "never for a vCPU that comes, whoever was here before (XSA-479); one that never left needs none",
        writes: |operation| is_write_of(operation, |msr| msr == Msr::PredCmd),
    },
];
