//! Whose content a component's registers have.

use crate::ComponentSet;
use crate::component::{ComponentRow, TABLE};

/// Whose content a component's registers have: a column of [`COMPONENTS`](crate::COMPONENTS).
///
/// A switch of vCPUs saves and loads what the leaving and the arriving vCPU own, and nothing else.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Owner {
    /// The vCPU's whose state is loaded, whatever its kind.
    Vcpu,
    /// The vCPU's if it is an HVM one; this CPU's hypervisor's otherwise.
    ///
    /// Ring 0 of an HVM guest has shadow stacks of its own. A PV guest has no ring 0, and idle runs in the hypervisor: the
    /// shadow stacks in these registers are those of the hypervisor on this CPU, which must not move to another.
    HvmVcpu,
    /// This CPU's: it stays when vCPUs come and go.
    Cpu,
}

impl Owner {
    /// Returns the owner in words of the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vcpu => "vcpu",
            Self::HvmVcpu => "hvm-vcpu",
            Self::Cpu => "cpu",
        }
    }
}

/// What a CPU runs, as far as the owners of extended state can tell.
///
/// ```
/// use selfsame_xstate::{Component, ComponentSet, Occupant};
///
/// assert!(Occupant::Hvm.owned().contains(Component::CET_S));
/// assert!(!Occupant::Pv.owned().contains(Component::CET_S));
/// assert_eq!(Occupant::Idle.owned(), ComponentSet::EMPTY);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Occupant {
    /// A vCPU whose guest has all rings (VMX or SVM).
    Hvm,
    /// A vCPU whose guest runs its kernel outside of ring 0.
    Pv,
    /// No vCPU. Idle owns nothing, so that nothing of it is kept and it has no [`Area`](crate::Area).
    Idle,
}

impl Occupant {
    /// Returns the components whose registers have the occupant's content while it runs.
    #[must_use]
    pub const fn owned(self) -> ComponentSet {
        let mut set = ComponentSet::EMPTY;
        let mut rest: &[ComponentRow] = &TABLE;
        while let [row, tail @ ..] = rest {
            if self.owns(row.owner) {
                set = set.with(row.component);
            }
            rest = tail;
        }
        set
    }

    const fn owns(self, owner: Owner) -> bool {
        match (self, owner) {
            (Self::Hvm, Owner::Vcpu | Owner::HvmVcpu) | (Self::Pv, Owner::Vcpu) => true,
            (Self::Pv, Owner::HvmVcpu) | (Self::Idle, _) | (_, Owner::Cpu) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{COMPONENTS, Class, Component};

    #[test]
    fn cet_s_is_all_that_hvm_owns_beyond_pv() {
        assert_eq!(Occupant::Hvm.owned() - Occupant::Pv.owned(), Component::CET_S.into());
        assert!(Occupant::Pv.owned().is_subset_of(Occupant::Hvm.owned()));
    }

    #[test]
    fn idle_owns_nothing_and_so_needs_no_area() {
        assert_eq!(Occupant::Idle.owned(), ComponentSet::EMPTY);
    }

    #[test]
    fn every_user_component_is_the_vcpus() {
        let user = Class::User.components() | Class::UserDynamic.components();
        assert!(user.is_subset_of(Occupant::Pv.owned()));
    }

    #[test]
    fn what_belongs_to_the_cpu_is_never_kept_in_an_area() {
        for row in COMPONENTS.iter().filter(|row| row.owner == Owner::Cpu) {
            assert!(matches!(row.class, Class::Independent | Class::Unsupported), "{}", row.name);
        }
    }
}
