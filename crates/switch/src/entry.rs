//! The way into a guest and the way out of it.

use selfsame_xstate::ComponentSet;

use crate::{Cpu, Msr, MsrWrite, VcpuName, XstateStep};

/// What is left to do before a guest runs: data, because a hypervisor whose own code uses SSE does it in assembly, after it
/// has put the guest's XMM registers and MXCSR back.
///
/// It is done in the order of the methods; [`Entry::execute`] does it where Rust does not use SSE, and in a model. What is
/// `None` is left out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use = "the guest must not run before this is done"]
pub struct Entry {
    pub(crate) step: Option<XstateStep>,
    pub(crate) releases: Option<VcpuName>,
    pub(crate) pl0_ssp: Option<u64>,
    pub(crate) xfd_err: Option<ComponentSet>,
    pub(crate) xfd: Option<ComponentSet>,
    pub(crate) sets_task_switched: bool,
}

impl Entry {
    /// Returns the move of extended state.
    #[must_use]
    pub const fn step(&self) -> Option<&XstateStep> {
        self.step.as_ref()
    }

    /// Returns the vCPU whose [`Residence`](crate::Residence) ends when the step has run.
    #[must_use]
    pub const fn releases(&self) -> Option<VcpuName> {
        self.releases
    }

    /// Returns what goes into IA32_PL0_SSP: this CPU's own, when an HVM guest's has been saved from there.
    #[must_use]
    pub const fn pl0_ssp(&self) -> Option<u64> {
        self.pl0_ssp
    }

    /// Returns what goes into IA32_XFD_ERR.
    #[must_use]
    pub const fn xfd_err(&self) -> Option<ComponentSet> {
        self.xfd_err
    }

    /// Returns what goes into IA32_XFD, which has been zero until here: the step needs that.
    #[must_use]
    pub const fn xfd(&self) -> Option<ComponentSet> {
        self.xfd
    }

    /// Tells whether CR0.TS is set, last of all.
    #[must_use]
    pub const fn sets_task_switched(&self) -> bool {
        self.sets_task_switched
    }

    /// Does it. Then the residence of [`Entry::releases`] ends.
    pub fn execute(&self, cpu: &mut impl Cpu) {
        if let Some(step) = &self.step {
            cpu.xstate_step(step);
        }
        if let Some(pl0_ssp) = self.pl0_ssp {
            cpu.wrmsr(MsrWrite::new(Msr::Pl0Ssp, pl0_ssp));
        }
        if let Some(xfd_err) = self.xfd_err {
            cpu.wrmsr(MsrWrite::new(Msr::XfdErr, xfd_err.bits()));
        }
        if let Some(xfd) = self.xfd {
            cpu.wrmsr(MsrWrite::new(Msr::Xfd, xfd.bits()));
        }
        if self.sets_task_switched {
            cpu.set_task_switched();
        }
    }
}
