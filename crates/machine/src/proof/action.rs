//! What guests do.

use selfsame_xstate::{Component, ComponentSet};

use crate::proof::home::base_of;
use crate::proof::{Client, Guest, Request, Violation, World};
use crate::{Area, Cr4, Exit, Fault, Hardware, NmCause, Processor, Selector, UdCause, msr};

/// Something that a guest does. Values are the guest's own tags, another each time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Leaves the guest, and asks for nothing.
    Exit,
    /// Writes a component's registers.
    Write(Component),
    /// Puts a component's registers into their initial configuration, with instructions of the component.
    Initialise(Component),
    /// LDMXCSR.
    Mxcsr(u32),
    /// An x87 instruction, which leaves pointers.
    X87 {
        /// Whether it raises an exception that is not masked.
        raises_exception: bool,
    },
    /// XSETBV of a value that the guest may have.
    Xcr0(ComponentSet),
    /// WRMSR of IA32_XSS, with a value that the guest may have.
    Xss(ComponentSet),
    /// WRMSR of IA32_XFD, with a value that the guest may have.
    Xfd(ComponentSet),
    /// WRMSR of IA32_XFD_ERR.
    XfdErr(ComponentSet),
    /// WRMSR, or a hypercall that sets a base.
    Msr(u32),
    /// WRFSBASE or WRGSBASE.
    Base(Selector),
    /// A load of a segment register: a null selector, or one of the segments from
    /// [`FIRST_GUEST_SELECTOR`](crate::proof::FIRST_GUEST_SELECTOR) on.
    Select(Selector, u16),
    /// CLTS, or MOV to CR0 that sets TS.
    TaskSwitched(bool),
    /// MOV to CR4.
    Cr4(Cr4),
    /// MOVs to debug registers, which turn breakpoints on or off; DR6 too, where they do not exit.
    Breakpoints {
        /// Whether they are on.
        are_on: bool,
    },
    /// Takes a #DB, of a breakpoint or of a single step. That of a PV guest is taken by its hypervisor, and so is that of a
    /// guest under VMX whose MOVs to and from debug registers exit: the VMCS has no DR6.
    Debug,
    /// An LDT with this many descriptors.
    Ldt(u16),
    /// XSAVES or XSAVE of the guest's own, and the restore of it: no register changes, but for components that XFD disables,
    /// and what the CPU notes for itself.
    SaveAndRestore,
}

/// Where guests have areas of their own, by number.
const OWN_AREAS: u64 = 0x0000_1000_0000_0000;
/// Large enough for every component.
const OWN_AREA_BYTES: u32 = 1 << 14;

impl<C: Client> World<C> {
    /// Has the guest that a CPU is in do something, and looks at how it ends; if the guest was left for it, also at what the
    /// guest finds when it is entered again.
    ///
    /// # Errors
    ///
    /// The action ended otherwise than on a machine of the guest's own, the hypervisor's code faulted, or the guest finds
    /// something else than its own.
    pub fn act(&mut self, cpu: u16, action: Action) -> Result<(), Violation> {
        let misuse = Violation::Misuse { cpu, what: "the CPU is in no guest" };
        let vcpu = self.running(cpu).ok_or(misuse.clone())?;
        match action {
            Action::Exit => return self.exit_and_enter(cpu),
            Action::Debug => return self.take_debug_exception(cpu, vcpu),
            _ => {}
        }
        let (guest, hardware) = self.guest_and_hardware(vcpu).ok_or(misuse)?;
        if let Some(request) = ask(guest, hardware, action) {
            return self.serve(cpu, &request);
        }
        let expected = on_own_machine(guest, hardware, action);
        let guest = guest.clone();
        let found = self.on(cpu)?.execute(&guest, action);
        match (expected, found) {
            (expected, found) if expected == found => Ok(()),
            // The hypervisor injects the intercepted exception; the guest then finds IA32_XFD_ERR as hardware left it.
            (Err(Fault::DeviceNotAvailable(cause)), Err(Fault::Exit(Exit::DeviceNotAvailable(intercepted))))
                if cause == intercepted =>
            {
                self.inject_nm(cpu, vcpu, action, cause)
            }
            (expected, found) => Err(Violation::Outcome { vcpu, action, expected, found }),
        }
    }
}

impl<C: Client> World<C> {
    fn take_debug_exception(&mut self, cpu: u16, vcpu: usize) -> Result<(), Violation> {
        let Some((guest, _)) = self.guest_and_hardware(vcpu) else { return Ok(()) };
        let (cause, is_pv) = (guest.fresh_half(), guest.shape.kind.is_pv());
        guest.dr6 = cause;
        match self.on(cpu)?.raise_debug_exception(cause) {
            Ok(()) if is_pv => self.exit_and_enter(cpu),
            Ok(()) => Ok(()),
            Err(_) => self.serve(cpu, &Request::DebugException { cause }),
        }
    }

    /// Leaves the guest for an #NM, asks why it was raised, and enters it again.
    fn inject_nm(&mut self, cpu: u16, vcpu: usize, action: Action, cause: NmCause) -> Result<(), Violation> {
        self.leave_guest(cpu)?;
        let is_task_switched = self.guest(vcpu).is_some_and(|guest| guest.is_task_switched);
        let told = self.client().cause_of_nm(cpu, is_task_switched);
        let is_right = match (cause, told) {
            (NmCause::TaskSwitched, NmCause::TaskSwitched) => true,
            // Earlier ones that the guest has not answered are told as well.
            (NmCause::Disabled(cause), NmCause::Disabled(told)) => cause.is_subset_of(told),
            _ => false,
        };
        if !is_right {
            let [expected, found] = [cause, told].map(|cause| Err(Fault::DeviceNotAvailable(cause)));
            return Err(Violation::Outcome { vcpu, action, expected, found });
        }
        self.enter_guest(cpu)
    }
}

/// Does what the guest needs its hypervisor for to the guest's record, and returns what it asks.
fn ask(guest: &mut Guest, hardware: &Hardware, action: Action) -> Option<Request> {
    let is_pv = guest.shape.kind.is_pv();
    match action {
        Action::Xcr0(xcr0) => {
            guest.xcr0 = xcr0;
            Some(Request::Xcr0(xcr0))
        }
        Action::Xss(xss) => {
            guest.xss = xss;
            Some(Request::Msr(msr::XSS, xss.bits()))
        }
        Action::Xfd(xfd) if !guest.shape.writes_xfd => {
            guest.xfd = xfd;
            Some(Request::Msr(msr::XFD, xfd.bits()))
        }
        Action::Msr(index) if !is_passed_through(guest, index) => {
            let value = value_for(guest, index);
            guest.msrs.insert(index, value);
            Some(Request::Msr(index, value))
        }
        Action::TaskSwitched(is_task_switched) if is_pv => {
            guest.is_task_switched = is_task_switched;
            Some(Request::TaskSwitched(is_task_switched))
        }
        Action::Cr4(cr4) => {
            guest.cr4 = cr4;
            Some(Request::Cr4(cr4))
        }
        Action::Breakpoints { are_on } if !guest.has_debug_access => {
            set_breakpoints(guest, are_on);
            if guest.shape.has_dbext && hardware.has_dbext() {
                guest.breakpoint_masks = [0; 4].map(|_: u8| guest.fresh_half());
            }
            if let Some(block) = &mut guest.block {
                block.controls.intercepts_db = false;
                guest.has_debug_access = true;
            }
            let Guest { breakpoints, breakpoint_masks: masks, dr7, .. } = *guest;
            Some(Request::Debug { breakpoints, masks, dr7 })
        }
        Action::Ldt(descriptors) => {
            guest.ldt_descriptors = descriptors;
            Some(Request::Ldt(descriptors))
        }
        _ => None,
    }
}

/// Every other time the addresses are those that all guests share, so that masks are all that tells them apart.
fn set_breakpoints(guest: &mut Guest, are_on: bool) {
    const SHARED: [u64; 4] = [0x40_1000, 0x40_1008, 0x40_1010, 0x40_1018];
    let own = [0; 4].map(|_: u8| guest.fresh());
    guest.breakpoints = if guest.breakpoints == SHARED { own } else { SHARED };
    guest.dr7 = if are_on { 0x4FF } else { 0x400 };
}

fn is_passed_through(guest: &Guest, index: u32) -> bool {
    guest.block.as_ref().is_some_and(|block| block.controls.passed_through.contains(&index))
}

fn value_for(guest: &mut Guest, index: u32) -> u64 {
    match index {
        msr::SFMASK | msr::SYSENTER_CS | msr::SPEC_CTRL | msr::TSC_AUX | msr::PKRS => guest.fresh_half(),
        _ => guest.fresh(),
    }
}

/// Does an action to the guest's record as it would go on a machine of its own.
fn on_own_machine(guest: &mut Guest, hardware: &Hardware, action: Action) -> Result<(), Fault> {
    match action {
        Action::Write(component) => {
            let value = guest.fresh();
            guest.use_component(component, hardware)?;
            guest.contents.set(component, value);
        }
        Action::Initialise(component) => {
            guest.use_component(component, hardware)?;
            guest.contents.set(component, 0);
        }
        Action::Mxcsr(mxcsr) => {
            guest.use_component(Component::SSE, hardware)?;
            guest.contents.mxcsr = mxcsr;
        }
        Action::X87 { raises_exception } => {
            let pointers = guest.fresh();
            guest.use_component(Component::X87, hardware)?;
            guest.contents.fp_pointers = pointers;
            guest.contents.has_fp_exception = raises_exception;
            guest.contents.is_es_set = raises_exception;
        }
        Action::Xfd(xfd) => guest.xfd = xfd,
        Action::XfdErr(xfd_err) => guest.xfd_err = xfd_err,
        Action::Msr(index) => {
            let value = value_for(guest, index);
            guest.msrs.insert(index, value);
        }
        Action::Base(register) => {
            let value = guest.fresh();
            if !guest.cr4.contains(Cr4::FSGSBASE) {
                return Err(Fault::UndefinedOpcode(UdCause::NoFsgsbase));
            }
            guest.msrs.insert(base_register(register), value);
        }
        Action::Select(register, selector) => {
            if let Some(place) = guest.selectors.get_mut(register as usize) {
                *place = selector;
            }
            let base = if selector > 3 {
                Some(base_of(guest.number, selector))
            } else {
                hardware.clears_null_base().then_some(0)
            };
            if let (Selector::Fs | Selector::Gs, Some(base)) = (register, base) {
                guest.msrs.insert(base_register(register), base);
            }
        }
        Action::TaskSwitched(is_task_switched) => guest.is_task_switched = is_task_switched,
        Action::Breakpoints { are_on } => {
            set_breakpoints(guest, are_on);
            guest.dr6 = guest.fresh_half();
        }
        Action::SaveAndRestore => {
            if hardware.has_xsave() && !guest.cr4.contains(Cr4::OSXSAVE) && !guest.shape.kind.is_pv() {
                return Err(Fault::UndefinedOpcode(UdCause::NoOsxsave));
            }
            if guest.is_task_switched {
                return Err(Fault::DeviceNotAvailable(NmCause::TaskSwitched));
            }
            for component in guest.xcr0 & guest.xfd {
                guest.contents.set(component, 0);
            }
        }
        _ => {}
    }
    Ok(())
}

impl Processor<'_> {
    /// Does an action in the guest that the CPU is in, whose record says already how it is to be.
    fn execute(&mut self, guest: &Guest, action: Action) -> Result<(), Fault> {
        let value_of = |index| guest.msrs.get(&index).copied().unwrap_or_default();
        match action {
            Action::Write(component) => self.write_state(component, guest.last()),
            Action::Initialise(component) => self.write_state(component, 0),
            Action::Mxcsr(mxcsr) => self.ldmxcsr(mxcsr),
            Action::X87 { raises_exception } => self.execute_x87(guest.last(), raises_exception),
            Action::Xfd(xfd) => self.wrmsr(msr::XFD, xfd.bits()),
            Action::XfdErr(xfd_err) => self.wrmsr(msr::XFD_ERR, xfd_err.bits()),
            Action::Msr(index) => self.wrmsr(index, value_of(index)),
            Action::Base(register) => self.set_base(register, guest.last()),
            Action::Select(register, selector) => self.load_selector(register, selector),
            Action::TaskSwitched(is_task_switched) => self.set_task_switched(is_task_switched),
            Action::Breakpoints { .. } => {
                for (number, address) in (0..).zip(guest.breakpoints) {
                    self.set_debug_register(number, address)?;
                }
                self.set_debug_register(6, guest.dr6)?;
                self.set_debug_register(7, guest.dr7)
            }
            Action::SaveAndRestore => self.save_and_restore(guest),
            _ => Ok(()),
        }
    }

    fn write_state(&mut self, component: Component, value: u64) -> Result<(), Fault> {
        match component {
            Component::CET_U => self.wrmsr(msr::U_CET, value),
            Component::CET_S => self.wrmsr(msr::PL0_SSP, value),
            _ => self.write_component(component, value),
        }
    }

    fn save_and_restore(&mut self, guest: &Guest) -> Result<(), Fault> {
        let own = OWN_AREAS + (u64::from(guest.number) << 20);
        let mask = (guest.xcr0 | guest.xss).bits();
        if self.memory().area(own).is_none() {
            self.memory().insert_area(own, Area::new(OWN_AREA_BYTES));
        }
        if !self.hardware.has_xsave() {
            self.fxsave(own)?;
            self.fxrstor(own)
        } else if self.hardware.has_xsaves() && self.cpu.cpl == 0 {
            self.xsaves(own, mask)?;
            self.xrstors(own, mask)
        } else {
            // XSAVE leaves bits alone that XCR0 does not have any more, and XRSTOR would refuse them.
            if let Some(area) = self.memory().area_mut(own) {
                area.xstate_bv &= mask;
            }
            self.xsave(own, mask)?;
            self.xrstor(own, mask)
        }
    }
}

const fn base_register(register: Selector) -> u32 {
    if matches!(register, Selector::Fs) { msr::FS_BASE } else { msr::GS_BASE }
}
