//! Into a guest and out of it again: the step, XFD, CR0.TS.

use selfsame_xstate::{ComponentSet, SaveMethod, Xcr0, Xss};

use crate::switcher::{StateOwner, Switcher};
use crate::{Cpu, Entry, GuestXss, Kind, Msr, MsrWrite, Vcpu, XstateStep};

impl Switcher<'_> {
    /// Returns what is left to do before the vCPU that is on the CPU runs.
    ///
    /// Extended state is moved here: if the registers hold another vCPU's, if the guest enabled components that it never had,
    /// and not otherwise. XFD is the host's, zero, until the step has run; the guest's XFD and XFD_ERR go in last.
    pub fn enter(&mut self, vcpu: &Vcpu) -> Entry {
        if let Some(current) = &mut self.current {
            debug_assert!(current.name == vcpu.name(), "another vcpu is on this cpu");
            current.has_run = true;
        }
        let extended = &vcpu.extended;
        let arriving = StateOwner {
            name: vcpu.name(),
            is_hvm: vcpu.kind() == Kind::Hvm,
            area: extended.area(),
            mask: extended.mask(vcpu.kind(), self.machine.supervisor),
        };
        let leaving = self.owner.replace(arriving);
        let xss = match (vcpu.kind(), extended.xss()) {
            (Kind::Hvm, GuestXss::Own(xss)) => xss,
            (Kind::Hvm, GuestXss::Hosts) | (Kind::Pv64 | Kind::Pv32, _) => self.machine.xss,
        };
        let (save, load) = if leaving == Some(arriving) { (None, None) } else { (leaving, Some(arriving)) };
        let step = self.step(save, load, Some(extended.xcr0()), xss);

        if load.is_some_and(|owner| owner.is_hvm) {
            // Whatever its area had; and while it runs it writes the register at will.
            self.shadows.pl0_ssp.forget();
        }
        let mut entry = Entry {
            step,
            releases: leaving.map(|owner| owner.name).filter(|&name| name != arriving.name),
            pl0_ssp: if arriving.is_hvm { None } else { self.own_pl0_ssp() },
            sets_task_switched: !arriving.is_hvm && vcpu.has_task_switched,
            ..Entry::default()
        };
        if let Some(guest) = extended.xfd().filter(|_| arriving.is_hvm) {
            self.shadows.xfd_err.update(guest.xfd_err, |value| entry.xfd_err = Some(value));
            self.shadows.xfd.update(guest.xfd, |value| entry.xfd = Some(value));
        }
        entry
    }

    /// Takes back what the guest leaves in XFD, XFD_ERR and CR0.TS. Called at every exit, before the vCPU's extended state is
    /// looked at or moved.
    pub fn exited(&mut self, cpu: &mut impl Cpu, vcpu: &mut Vcpu) {
        let is_hvm = vcpu.kind() == Kind::Hvm;
        if !is_hvm && vcpu.has_task_switched {
            cpu.clear_task_switched();
        }
        if is_hvm && let Some(guest) = vcpu.extended.xfd_mut() {
            guest.xfd_err = ComponentSet::from_bits(cpu.rdmsr(Msr::XfdErr));
            if !guest.is_intercepted {
                guest.xfd = ComponentSet::from_bits(cpu.rdmsr(Msr::Xfd));
            }
            self.shadows.xfd_err.found(guest.xfd_err);
            self.shadows.xfd.found(guest.xfd);
            self.clear_xfd(cpu);
        }
    }

    /// Puts the host's zeros into XFD_ERR and XFD, in this order.
    pub(crate) fn clear_xfd(&mut self, cpu: &mut impl Cpu) {
        if !self.machine.has_xfd {
            return;
        }
        let zero = ComponentSet::EMPTY;
        self.shadows.xfd_err.update(zero, |value| cpu.wrmsr(MsrWrite::new(Msr::XfdErr, value.bits())));
        self.shadows.xfd.update(zero, |value| cpu.wrmsr(MsrWrite::new(Msr::Xfd, value.bits())));
    }

    /// Returns what saves the state in the registers and puts nobody's there.
    pub(crate) fn save_owner(&mut self) -> Entry {
        let leaving = self.owner.take();
        Entry {
            step: self.step(leaving, None, None, self.machine.xss),
            releases: leaving.map(|owner| owner.name),
            pl0_ssp: self.own_pl0_ssp(),
            ..Entry::default()
        }
    }

    fn own_pl0_ssp(&mut self) -> Option<u64> {
        let own = self.own.pl0_ssp?;
        self.shadows.pl0_ssp.update(own, |_| ()).then_some(own)
    }

    /// Plans a move of extended state, `None` if nothing is to be done.
    ///
    /// XCR0 is written before it only if the masks need more than it has. If the arriving vCPU's own value has enough, that
    /// one is written, and nothing after. XSS is written before only if the masks need more than the leaving vCPU's.
    fn step(
        &mut self,
        save: Option<StateOwner>,
        load: Option<StateOwner>,
        xcr0: Option<Xcr0>,
        xss: Xss,
    ) -> Option<XstateStep> {
        let mask = |owner: Option<StateOwner>| owner.map_or(ComponentSet::EMPTY, |owner| owner.mask);
        let needed = mask(save) | mask(load);
        let mut step = XstateStep {
            method: self.machine.method,
            clears_fp_pointers: !self.machine.loads_fp_pointers && load.is_some(),
            save_area: save.map(|owner| owner.area),
            save_mask: mask(save),
            load_area: load.map(|owner| owner.area),
            load_mask: mask(load),
            xcr0_wide: None,
            xcr0_final: None,
            xss_save: None,
            xss_final: None,
        };
        if self.machine.method != SaveMethod::Fxsave {
            let user = needed & self.machine.xcr0.components();
            let has_all = |value: Xcr0| user.is_subset_of(value.components());
            if !user.is_empty() && !self.shadows.xcr0.get().is_some_and(has_all) {
                let wide = xcr0.filter(|&value| has_all(value)).unwrap_or(self.machine.xcr0);
                self.shadows.xcr0.update(wide, |value| step.xcr0_wide = Some(value));
            }
            if let Some(xcr0) = xcr0 {
                self.shadows.xcr0.update(xcr0, |value| step.xcr0_final = Some(value));
            }
        }
        if self.machine.method == SaveMethod::Xsaves {
            let supervisor = needed & self.machine.supervisor;
            if !self.shadows.xss.get().is_some_and(|value| supervisor.is_subset_of(value.components())) {
                self.shadows.xss.update(self.machine.xss, |value| step.xss_save = Some(value));
            }
            self.shadows.xss.update(xss, |value| step.xss_final = Some(value));
        }
        let is_idle = save.is_none() && load.is_none() && step.xcr0_final.is_none() && step.xss_final.is_none();
        (!is_idle).then_some(step)
    }
}
