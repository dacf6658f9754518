//! Into a guest and out of it again: the step, XFD, CR0.TS.

use selfsame_xstate::{Component, ComponentSet, SaveMethod, Xcr0, Xss};

use crate::switcher::{StateOwner, SwitchError, Switcher};
use crate::{Cpu, Entry, Extended, GuestXss, Msr, MsrWrite, Vcpu, VcpuKind, XstateStep};

impl Switcher<'_> {
    /// Returns what is left to do before the vCPU that is on the CPU runs. It must be executed, and it stays in the switcher
    /// until the next entry, for assembly to find.
    ///
    /// Extended state is moved here: if the registers hold another vCPU's, or if the guest enabled components that it never
    /// had. XFD is the host's, zero, until the step has run; the guest's XFD_ERR and XFD go in last.
    ///
    /// # Errors
    ///
    /// Refuses a vCPU that is not on this CPU.
    #[inline]
    pub fn enter(&mut self, vcpu: &Vcpu) -> Result<&Entry, SwitchError> {
        self.check_current(Some(vcpu))?;
        if let Some(current) = &mut self.current {
            current.has_run = true;
        }
        let (extended, is_hvm) = (&vcpu.extended, vcpu.kind() == VcpuKind::Hvm);
        let mask = extended.mask(vcpu.kind(), self.platform.supervisor);
        let arriving = StateOwner { name: vcpu.name(), area: extended.area(), mask };
        let leaving = self.owner.replace(arriving);
        let (save, load) = if leaving == Some(arriving) { (None, None) } else { (leaving, Some(arriving)) };
        let xss = match extended.xss() {
            GuestXss::Own(xss) if is_hvm => xss,
            GuestXss::Own(_) | GuestXss::Hosts => self.platform.xss,
        };
        let image = if load.is_some() { self.components_of_image(extended) } else { ComponentSet::EMPTY };
        let step = self.step(save, load, image, Some(extended.xcr0()), xss);
        self.entry = Entry {
            step,
            releases: leaving.map(|owner| owner.name).filter(|&name| name != arriving.name),
            ..Entry::default()
        };
        if mask.contains(Component::CET_S) {
            // Its own comes with its area, and it writes it at will.
            self.shadows.pl0_ssp.forget();
        }
        if is_hvm {
            if let Some(guest) = extended.xfd() {
                self.shadows.xfd_err.update(guest.xfd_err, |value| self.entry.xfd_err = Some(value));
                self.shadows.xfd.update(guest.xfd, |value| self.entry.xfd = Some(value));
            }
        } else {
            self.entry.pl0_ssp = self.own_pl0_ssp();
            if vcpu.has_task_switched {
                self.shadows.has_task_switched.update(true, |_| self.entry.sets_task_switched = true);
            }
        }
        Ok(&self.entry)
    }

    /// Takes back what the guest leaves in CR0.TS, XFD_ERR and XFD. Called at every exit, before the vCPU's extended state is
    /// looked at or moved.
    ///
    /// A hypervisor whose own code uses SSE clears CR0.TS before it gets here; its
    /// [`Cpu::clear_task_switched`] does nothing.
    ///
    /// # Errors
    ///
    /// Refuses a vCPU that is not on this CPU.
    #[inline]
    pub fn exited(&mut self, cpu: &mut impl Cpu, vcpu: &mut Vcpu) -> Result<(), SwitchError> {
        self.check_current(Some(vcpu))?;
        vcpu.extended.loaded();
        self.clear_task_switched(cpu);
        if vcpu.kind() == VcpuKind::Hvm
            && let Some(guest) = vcpu.extended.xfd_mut()
        {
            guest.xfd_err = ComponentSet::from_bits(cpu.rdmsr(Msr::XfdErr));
            if !guest.is_intercepted {
                guest.xfd = ComponentSet::from_bits(cpu.rdmsr(Msr::Xfd));
            }
            self.shadows.xfd_err.found(guest.xfd_err);
            self.shadows.xfd.found(guest.xfd);
            self.clear_xfd(cpu);
        }
        Ok(())
    }

    pub(crate) fn clear_task_switched(&mut self, cpu: &mut impl Cpu) {
        self.shadows.has_task_switched.update(false, |_| cpu.clear_task_switched());
    }

    /// Puts the host's zeros into XFD_ERR and XFD, in this order.
    pub(crate) fn clear_xfd(&mut self, cpu: &mut impl Cpu) {
        if !self.platform.has_xfd {
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
            step: self.step(leaving, None, ComponentSet::EMPTY, None, self.platform.xss),
            releases: leaving.map(|owner| owner.name),
            pl0_ssp: self.own_pl0_ssp(),
            ..Entry::default()
        }
    }

    /// Returns this CPU's own value of IA32_PL0_SSP, if the hypervisor has one and it is not there.
    pub(crate) fn own_pl0_ssp(&mut self) -> Option<u64> {
        let own = self.own.pl0_ssp?;
        self.shadows.pl0_ssp.update(own, |_| ()).then_some(own)
    }

    /// Returns what has to be enabled for the load of a vCPU's image, beside what is loaded.
    ///
    /// XRSTORS raises #GP if XCOMP_BV names more than XCR0 and IA32_XSS have, whatever is in use and whatever the mask is
    /// (SDM vol. 1, 13.12). What the CPU saved names what was saved, and no less is loaded; what software laid out may name all
    /// that the area has room for.
    const fn components_of_image(&self, extended: &Extended) -> ComponentSet {
        match self.platform.method {
            SaveMethod::Xsaves if extended.is_laid_out_by_software() => {
                self.platform.xcr0.components().union(self.platform.supervisor)
            }
            SaveMethod::Xsaves | SaveMethod::Xsave | SaveMethod::Fxsave => ComponentSet::EMPTY,
        }
    }

    /// Plans a move of extended state, `None` if nothing is to be done.
    ///
    /// `image` is what the arriving vCPU's image needs beside the masks. XCR0 is written before the move only if it lacks some
    /// of what is needed; if the arriving vCPU's own value has all of it, that one is written, and nothing after. XSS likewise.
    #[inline]
    fn step(
        &mut self,
        save: Option<StateOwner>,
        load: Option<StateOwner>,
        image: ComponentSet,
        xcr0: Option<Xcr0>,
        xss: Xss,
    ) -> Option<XstateStep> {
        let mask = |owner: Option<StateOwner>| owner.map_or(ComponentSet::EMPTY, |owner| owner.mask);
        let needed = mask(save) | mask(load) | image;
        let mut step = XstateStep {
            method: self.platform.method,
            clears_fp_pointers: !self.platform.loads_fp_pointers && load.is_some(),
            save_area: save.map(|owner| owner.area),
            save_mask: mask(save),
            load_area: load.map(|owner| owner.area),
            load_mask: mask(load),
            xcr0_wide: None,
            xcr0_final: None,
            xss_save: None,
            xss_final: None,
        };
        if self.platform.method != SaveMethod::Fxsave {
            let user = needed & self.platform.xcr0.components();
            let has_all = |value: Xcr0| user.is_subset_of(value.components());
            if !user.is_empty() && !self.shadows.xcr0.get().is_some_and(has_all) {
                let wide = xcr0.filter(|&value| has_all(value)).unwrap_or(self.platform.xcr0);
                self.shadows.xcr0.update(wide, |value| step.xcr0_wide = Some(value));
            }
            if let Some(xcr0) = xcr0 {
                self.shadows.xcr0.update(xcr0, |value| step.xcr0_final = Some(value));
            }
        }
        if self.platform.method == SaveMethod::Xsaves {
            let supervisor = needed & self.platform.supervisor;
            if !self.shadows.xss.get().is_some_and(|value| supervisor.is_subset_of(value.components())) {
                self.shadows.xss.update(self.platform.xss, |value| step.xss_save = Some(value));
            }
            self.shadows.xss.update(xss, |value| step.xss_final = Some(value));
        }
        let is_idle = save.is_none() && load.is_none() && step.xcr0_final.is_none() && step.xss_final.is_none();
        (!is_idle).then_some(step)
    }
}
