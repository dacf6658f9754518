//! What emulators do otherwise than the manuals say.

use selfsame_hypervisor::Fault;
use selfsame_xstate::MxcsrMask;

use crate::action::Action;
use crate::machine::Machine;

/// One way in which an emulator deviates.
struct Deviation {
    /// Whether the machine may be that emulator.
    may_be: fn(&Machine) -> bool,
    /// The actions that it is about.
    is_about: fn(&Action) -> bool,
    /// What comes of them.
    found: Result<(), Fault>,
    #[expect(dead_code, reason = "read by people")]
    reason: &'static str,
}

const DEVIATIONS: &[Deviation] = &[
    Deviation {
        may_be: |machine| machine.is_tcg,
        is_about: |action| {
            matches!(
                action,
                Action::Rdmsr { .. }
                    | Action::RdmsrOfNone { .. }
                    | Action::Wrmsr { .. }
                    | Action::WrmsrOfNone { .. }
                    | Action::Xss { .. }
            )
        },
        found: Ok(()),
        reason: "QEMU's interpreter reads zero from MSRs that it does not know, and takes what is written",
    },
    Deviation {
        may_be: |machine| machine.is_tcg,
        is_about: |action| matches!(action, Action::Restore { mxcsr, .. } if !MxcsrMask::COMMON.allows(*mxcsr)),
        found: Ok(()),
        reason: "QEMU's interpreter loads MXCSR with bits that it has not",
    },
    Deviation {
        may_be: |_| true,
        is_about: |action| matches!(action, Action::Wrmsr { rule, .. } if rule.name == "PKRS"),
        found: Ok(()),
        reason: "Bochs 3.1 drops the upper half of IA32_PKRS, which is reserved",
    },
    Deviation {
        may_be: |_| true,
        is_about: |action| {
            const BIT_63: u64 = 1 << 63;
            matches!(action, Action::Restore { header, .. } if header.xstate_bv & header.xcomp_bv & BIT_63 != 0)
        },
        found: Ok(()),
        reason: "Bochs 3.1 takes bit 63 of XSTATE_BV for a component that bit 63 of XCOMP_BV gives a place to",
    },
];

/// Whether an outcome that the rules do not foresee is a known deviation.
pub(crate) fn is_known(action: &Action, found: Result<(), Fault>, machine: &Machine) -> bool {
    DEVIATIONS
        .iter()
        .any(|deviation| (deviation.may_be)(machine) && (deviation.is_about)(action) && deviation.found == found)
}
