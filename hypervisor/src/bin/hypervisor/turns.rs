//! One CPU's turns: which vCPU runs next, how it comes, and how it goes.
#![expect(unsafe_code, reason = "UNSAFETY: runs guests")]

use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use selfsame_hypervisor::apic::{end_interrupt, interrupt, start_timer};
use selfsame_hypervisor::{Cpu, Lock, MAX_CPUS, Outcome, set_cr4};
use selfsame_switch::{
    Bitness, CpuTables, Cr3, Cr4, GuestSlot, Own, Register, Registers as SwitchedRegisters, SwitchError, Switcher,
};
use selfsame_x86::{DescriptorTables, Orders, Ring0};
use selfsame_xstate::SaveMethod;

use crate::context::{Context, SseRegisters};
use crate::counts::Counted;
use crate::entry::do_orders;
use crate::exit::Exit;
use crate::guest::{GUESTS, Guest, MAX_GUESTS, Turn, own_cr3};
use crate::machine::{CR4_OSXSAVE, Machine, has};
use crate::say::say;
use crate::tally::{Case, Tally};
use crate::virtual_cpu::CpuControl;

/// What every CPU is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) machine: Machine,
    pub(crate) tables: [Option<CpuTables>; MAX_CPUS],
    pub(crate) timer_ticks: u32,
    pub(crate) turns_before_move: u32,
    pub(crate) cpus: usize,
}

/// What a CPU has done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) exits: u64,
    pub(crate) tally: Tally,
}

impl Report {
    const EMPTY: Self = Self { exits: 0, tally: Tally::EMPTY };
}

/// Whether another CPU waits for a vCPU that this one has.
static IS_FLUSH_WANTED: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];
/// Which guest it waits for.
static WANTED: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];
/// What each CPU has done, when it is done.
pub(crate) static REPORTS: [Lock<Option<Report>>; MAX_CPUS] = [const { Lock::new(None) }; MAX_CPUS];
/// Whether a guest failed: the others stop.
pub(crate) static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// There are only HVM guests, which have no tables of their own.
#[derive(Debug)]
struct NoGuestTables;

impl DescriptorTables for NoGuestTables {
    fn l1_entry(&mut self, _: GuestSlot) -> *mut u64 {
        ptr::null_mut()
    }

    fn hypervisor_page(&mut self, _: Bitness) -> *mut [u64; 512] {
        ptr::null_mut()
    }
}

/// A CPU that runs guests.
struct Runner {
    index: usize,
    plan: &'static Plan,
    cpu: Counted<Ring0<NoGuestTables>>,
    switcher: Switcher<'static>,
    control: CpuControl,
    sse: SseRegisters,
    context: Context,
    /// The guest that is on the CPU, as far as this CPU knows.
    current: Option<usize>,
    report: Report,
}

/// Runs guests until none is left.
pub(crate) fn run(cpu: &'static Cpu, plan: &'static Plan) {
    let index = cpu.index();
    match Runner::bring_up(cpu, plan) {
        Some(mut runner) => {
            start_timer(plan.timer_ticks);
            if let Err(error) = runner.take_turns() {
                say!("cpu {index}: {error}");
                HAS_FAILED.store(true, Ordering::Relaxed);
            }
            finish(index, &runner.report);
        }
        None => {
            say!("cpu {index}: it cannot run guests");
            HAS_FAILED.store(true, Ordering::Relaxed);
            finish(index, &Report::EMPTY);
        }
    }
}

fn finish(index: usize, report: &Report) {
    if let Some(place) = REPORTS.get(index) {
        *place.lock() = Some(*report);
    }
}

impl Runner {
    fn bring_up(cpu: &'static Cpu, plan: &'static Plan) -> Option<Self> {
        let machine = &plan.machine;
        let tables = *plan.tables.get(cpu.index())?;
        let tables = tables?;
        if machine.configurations.method() != SaveMethod::Fxsave {
            set_cr4(CR4_OSXSAVE).ok()?;
        }
        let has_fsgsbase = has(machine.raw, "fsgsbase");
        if has_fsgsbase {
            set_cr4(selfsame_hypervisor::Cr4::FsGsBase).ok()?;
        }
        if machine.platform.virtualisation == selfsame_switch::Virtualisation::Vmx {
            set_cr4(selfsame_hypervisor::Cr4::Vmxe).ok()?;
        }
        let mut registers = SwitchedRegisters::RESET;
        registers.set(Register::GsBase, ptr::from_ref(cpu).addr() as u64);
        let own = Own {
            tables,
            cr3: Cr3::new(own_cr3())?,
            cr4: Cr4::of_hypervisor(own_cr4()),
            pl0_ssp: machine.platform.has_supervisor_shadow_stacks().then_some(own_pl0_ssp(cpu)),
            registers,
            faulting_register: 0,
        };
        // SAFETY: this is ring 0, on this CPU alone; tables and areas stay where they are, and the platform is this machine's.
        let ring0 = unsafe { Ring0::new(NoGuestTables, has_fsgsbase) };
        let mut counted = Counted::new(ring0);
        let switcher = Switcher::bring_up(machine.platform, own, &mut counted);
        counted.log.clear();
        let control = CpuControl::turn_on(machine.platform.virtualisation, cpu, &tables)?;
        Some(Self {
            index: cpu.index(),
            plan,
            cpu: counted,
            switcher,
            control,
            sse: SseRegisters::RESET,
            context: Context::new(),
            current: None,
            report: Report::EMPTY,
        })
    }

    fn take_turns(&mut self) -> Result<(), SwitchError> {
        let mut last = 0;
        while !HAS_FAILED.load(Ordering::Relaxed) {
            self.give_up_wanted()?;
            let next = (1..=MAX_GUESTS).map(|step| (last + step) % MAX_GUESTS).find(|&number| self.is_ready(number));
            match next {
                Some(number) => {
                    last = number;
                    self.take_turn(number)?;
                }
                None if are_all_done() => break,
                // Nothing is called: the last vCPU stays as it is.
                None => wait_for_interrupt(),
            }
        }
        self.give_up_current()
    }

    fn is_ready(&self, number: usize) -> bool {
        let Some(guest) = GUESTS.get(number) else { return false };
        guest.lock().as_ref().is_some_and(|guest| guest.home == self.index && guest.outcome.is_none())
    }

    /// Brings a guest to memory whose policy is about to change.
    fn prepare_change(&mut self, number: usize) -> Result<(), SwitchError> {
        let is_due = |guest: &Lock<Option<Guest>>| guest.lock().as_ref().is_some_and(Guest::is_change_due);
        if self.current == Some(number) && GUESTS.get(number).is_some_and(is_due) {
            self.give_up_current()?;
        }
        Ok(())
    }

    /// Gives a guest its turn, if its state is here or in memory.
    fn take_turn(&mut self, number: usize) -> Result<(), SwitchError> {
        self.prepare_change(number)?;
        let Some(mut guard) = GUESTS.get(number).map(Lock::lock) else { return Ok(()) };
        let Some(guest) = guard.as_mut() else { return Ok(()) };
        if let Some(holder) = guest.vcpu.residence.cpu().map(|cpu| usize::from(cpu.number()))
            && holder != self.index
        {
            drop(guard);
            ask_for(number, holder);
            return Ok(());
        }
        if guest.is_change_due() {
            guest.take_change(&self.plan.machine);
        }
        let begin = ticks();
        let case = match self.current {
            Some(current) if current == number => Case::Resume,
            Some(_) => Case::Switch,
            None => Case::Arrive,
        };
        let mut released = None;
        if case != Case::Resume {
            match self.current.and_then(|current| GUESTS.get(current)) {
                Some(from) => {
                    let mut from = from.lock();
                    let from = from.as_mut();
                    if let Some(from) = from {
                        _ = self.switcher.switch(&mut self.cpu, Some(&mut from.vcpu), &mut guest.vcpu)?;
                        from.control.unload_from(&mut self.control);
                        // It outlives the lock: no guest is ever taken out of its place.
                        released = Some(from.vcpu.residence.as_ptr());
                    }
                }
                None => _ = self.switcher.switch(&mut self.cpu, None, &mut guest.vcpu)?,
            }
            guest.put_on_cet();
            self.current = Some(number);
        }
        self.run_turn(guest, case, begin, released)?;
        guest.turns += 1;
        guest.turns_here += 1;
        if self.plan.turns_before_move > 0 && guest.turns_here >= self.plan.turns_before_move {
            guest.turns_here = 0;
            guest.home = (guest.home + 1) % self.plan.cpus;
        }
        if guest.outcome == Some(Outcome::Failure) {
            say!(
                "{}: failed on cpu {} at progress {}, after {} switches",
                guest.name,
                self.index,
                guest.progress,
                self.report.tally.switches()
            );
            HAS_FAILED.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Runs the guest that is on the CPU until its turn ends. `case` is how it came, since `begin`.
    fn run_turn(
        &mut self,
        guest: &mut Guest,
        mut case: Case,
        begin: u64,
        mut released: Option<NonNull<u32>>,
    ) -> Result<(), SwitchError> {
        loop {
            let entry = self.switcher.enter(&guest.vcpu)?;
            self.context.orders = Orders::new(entry, None).releasing(released.take());
            self.context.sse = &raw mut self.sse;
            if matches!(case, Case::Switch | Case::Arrive) {
                self.report.tally.add_ticks(case, ticks() - begin);
            }
            self.cpu.enters(entry);
            let Guest { control, registers, memory, capabilities, vcpu, .. } = guest;
            let exit = control.run(&mut self.control, &mut self.context, registers, memory, capabilities);
            self.switcher.exited(&mut self.cpu, vcpu)?;
            self.report.exits += 1;
            self.report.tally.add(case, &mut self.cpu.log);
            match exit {
                Exit::Interrupt { is_acknowledged: true } => end_interrupt(),
                Exit::Interrupt { is_acknowledged: false } => take_interrupt(),
                _ => {}
            }
            case = if exit.asks_for_switched_state() { Case::Asked } else { Case::Resume };
            if guest.handle(exit, &mut self.switcher, &mut self.cpu)? == Turn::Ends {
                return Ok(());
            }
        }
    }

    /// Brings the vCPU to memory that another CPU waits for, if this one has it.
    fn give_up_wanted(&mut self) -> Result<(), SwitchError> {
        let Some(is_wanted) = IS_FLUSH_WANTED.get(self.index) else { return Ok(()) };
        if !is_wanted.swap(false, Ordering::Acquire) {
            return Ok(());
        }
        let wanted = WANTED.get(self.index).map(|wanted| wanted.load(Ordering::Relaxed));
        if wanted == self.current { self.give_up_current() } else { Ok(()) }
    }

    /// Brings the vCPU that is on this CPU to memory.
    fn give_up_current(&mut self) -> Result<(), SwitchError> {
        let Some(mut guard) = self.current.take().and_then(|number| GUESTS.get(number)).map(Lock::lock) else {
            return Ok(());
        };
        let Some(guest) = guard.as_mut() else { return Ok(()) };
        if guest.vcpu.residence.cpu().is_none_or(|cpu| usize::from(cpu.number()) != self.index) {
            return Ok(());
        }
        let begin = ticks();
        let entry = self.switcher.flush(&mut self.cpu, &mut guest.vcpu)?;
        self.cpu.enters(entry);
        self.context.orders = Orders::new(entry, Some(&guest.vcpu.residence));
        self.context.sse = &raw mut self.sse;
        guest.control.unload_from(&mut self.control);
        // SAFETY: the orders are of this CPU's switcher, the SSE registers those of the state's owner, and the residence is of
        // a guest that is locked here.
        unsafe { do_orders(&self.context) };
        self.report.tally.add(Case::Flush, &mut self.cpu.log);
        self.report.tally.add_ticks(Case::Flush, ticks() - begin);
        Ok(())
    }
}

fn are_all_done() -> bool {
    GUESTS.iter().all(|guest| guest.lock().as_ref().is_none_or(|guest| guest.outcome.is_some()))
}

/// Asks a CPU for a vCPU that it has.
fn ask_for(number: usize, holder: usize) {
    if let (Some(is_wanted), Some(wanted)) = (IS_FLUSH_WANTED.get(holder), WANTED.get(holder)) {
        wanted.store(number, Ordering::Relaxed);
        is_wanted.store(true, Ordering::Release);
        interrupt(u8::try_from(holder).unwrap_or_default());
    }
    core::hint::spin_loop();
}

fn ticks() -> u64 {
    // SAFETY: every CPU with 64-bit mode has the instruction.
    unsafe { _rdtsc() }
}

/// Takes the interrupt that is pending: nothing else is done with interrupts on.
fn take_interrupt() {
    // SAFETY: `traps.s` ends it and comes back; it runs on a stack of its own.
    unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

/// Waits for an interrupt, and takes it.
fn wait_for_interrupt() {
    // SAFETY: as above.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// What IA32_PL0_SSP holds while no guest's is there: an address of this CPU's own. Nothing uses it, since CR4.CET is clear.
fn own_pl0_ssp(cpu: &'static Cpu) -> u64 {
    ptr::from_ref(cpu).addr() as u64 & !7
}

fn own_cr4() -> u64 {
    let cr4: u64;
    // SAFETY: reading CR4 in ring 0 changes nothing.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) };
    cr4
}
